"""Eq. 11 and 12, what the paper leaves out, calibration, and Wilson's interval of one run."""

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint


def scores(labels, p_positive) -> dict:
    """Accuracy (Eq. 11) and recall of the positive class (Eq. 12), in percent, and n.

    labels: 1 positive, 0 negative; p_positive: probabilities, positive from 0.5 on. Recall is
    None where no label is positive.
    """
    labels = np.asarray(labels)
    predicted = (np.asarray(p_positive) >= 0.5).astype(int)
    accuracy = float(100 * sk.accuracy_score(labels, predicted))
    recall = float(100 * sk.recall_score(labels, predicted)) if labels.any() else None
    return {"accuracy": accuracy, "recall": recall, "n": len(labels)}


def more_scores(labels, p_positive) -> dict:
    """What the paper leaves out, in percent: balanced accuracy, F1 of the positive class, AUROC,
    the recall of the negative class, and the expected calibration error of p_positive in ten bins
    (Naeini et al., AAAI 2015). None where a class is absent and the number undefined.
    """
    from torchmetrics.functional.classification import binary_calibration_error

    labels, p = np.asarray(labels), np.asarray(p_positive, float)
    predicted, both = (p >= 0.5).astype(int), len(set(labels.tolist())) == 2
    # of the negative and the positive class
    _, recall, f1, pictures = sk.precision_recall_fscore_support(
        labels, predicted, labels=[0, 1], zero_division=0
    )
    found = {
        "balanced_accuracy": recall.mean() if both else None,
        "f1": f1[1] if pictures[1] else None,
        "auroc": sk.roc_auc_score(labels, p) if both else None,
        "recall_negative": recall[0] if pictures[0] else None,
        "ece": float(binary_calibration_error(torch.tensor(p), torch.tensor(labels), n_bins=10)),
    }
    return {name: None if v is None else 100 * float(v) for name, v in found.items()}


def calibration_error(labels, p_positive, bins: int = 10) -> float:
    """Expected calibration error in percent: how far p_positive is from the share of positive
    pictures, on average over `bins` of equally many pictures (Nguyen & O'Connor, EMNLP 2015)."""
    labels, p = np.asarray(labels, float), np.asarray(p_positive, float)
    parts = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    gaps = [abs(labels[part].sum() - p[part].sum()) for part in parts]
    return 100 * float(sum(gaps)) / len(p)


def fitted_temperature(labels, p_positive, least: float = 0.05) -> float:
    """What to divide the logits by, so that the log loss of p_positive is least (Guo et al., ICML
    2017). Of pictures that the network has not learnt; between `least` and 20. A temperature below
    1 makes a network surer."""
    labels, logits = np.asarray(labels), _logits(p_positive)

    def loss(log_temperature: float) -> float:
        return sk.log_loss(labels, expit(logits * math.exp(-log_temperature)), labels=[0, 1])

    bounds = (math.log(least), math.log(20))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def tempered(p_positive, temperature: float) -> np.ndarray:
    """p_positive where the logits are divided by `temperature`."""
    return expit(_logits(p_positive) / temperature)


def cross_tempered(labels, p_positive, folds, least: float = 0.05) -> np.ndarray:
    """p_positive of test pictures, those of each fold by the temperature fitted on the others':
    how well calibrated a network is by the temperature of all. folds: each picture's number, two
    different ones at least. least: as in `fitted_temperature`."""
    labels, folds = np.asarray(labels), np.asarray(folds)
    p = np.array(p_positive, float)
    found = p.copy()
    for fold in np.unique(folds):
        mine = folds == fold
        heat = fitted_temperature(labels[~mine], p[~mine], least)
        found[mine] = tempered(p[mine], heat)
    return found


def _logits(p_positive) -> np.ndarray:
    return logit(np.clip(np.asarray(p_positive, float), 1e-12, 1 - 1e-12))


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of test pictures, in percent; (nan, nan) of none."""
    if not trials:
        return float("nan"), float("nan")
    low, high = proportion_confint(successes, trials, method="wilson")
    return 100 * float(low), 100 * float(high)
