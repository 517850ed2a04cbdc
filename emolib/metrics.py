"""Eq. 11 and 12, their intervals, and how far D agrees with known regions."""

import numpy as np
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from . import significance


def scores(labels, p_positive) -> dict:
    """Accuracy (Eq. 11) and recall of the positive class (Eq. 12), in percent, and n.

    labels: 1 positive, 0 negative; p_positive: probabilities, positive from 0.5 on. Recall is
    None where no label is positive.
    """
    labels = np.asarray(labels)
    predicted = (np.asarray(p_positive) >= 0.5).astype(int)
    recall = 100 * recall_score(labels, predicted) if labels.any() else None
    return {
        "accuracy": float(100 * accuracy_score(labels, predicted)),
        "recall": None if recall is None else float(recall),
        "n": int(len(labels)),
    }


def interval(
    values, successes: int | None = None, trials: int | None = None, ratio: float = 0.25
) -> tuple:
    """A 95% interval of a mean of percentages, cut at 0 and 100.

    Several runs: Student's t over their values, corrected for the training pictures that they share
    (`significance`; ratio: test to training pictures, 1 to 4 in five folds). One run: Wilson's
    interval of its `successes` out of `trials` test pictures. (nan, nan) where neither can be had.
    """
    values = np.asarray(values, dtype=float)
    if len(values) > 1:
        low, high = significance.interval(values, ratio)
    elif trials:
        low, high = (100 * b for b in proportion_confint(successes, trials, method="wilson"))
    else:
        return float("nan"), float("nan")
    return float(max(low, 0)), float(min(high, 100))


def region_auc(D, regions) -> float:
    """Chance that D is higher at a position inside the regions than outside: AUC, 0.5 is chance.

    D, regions: arrays of the same shape; positions with regions > 0.5 are inside. nan where all
    or none are.
    """
    inside = np.asarray(regions).ravel() > 0.5
    if inside.all() or not inside.any():
        return float("nan")
    return float(roc_auc_score(inside, np.asarray(D).ravel()))
