"""Eq. 11 and 12, what the paper leaves out, and Wilson's interval of one run."""

import numpy as np
import torch
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
    found = {
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted) if both else None,
        "f1": sk.f1_score(labels, predicted, zero_division=0) if labels.any() else None,
        "auroc": sk.roc_auc_score(labels, p) if both else None,
        "recall_negative": sk.recall_score(1 - labels, 1 - predicted) if not labels.all() else None,
        "ece": float(binary_calibration_error(torch.tensor(p), torch.tensor(labels), n_bins=10)),
    }
    return {name: None if v is None else 100 * float(v) for name, v in found.items()}


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of test pictures, in percent; (nan, nan) of none."""
    if not trials:
        return float("nan"), float("nan")
    low, high = proportion_confint(successes, trials, method="wilson")
    return 100 * float(low), 100 * float(high)
