"""What a difference between runs may be worth: intervals, paired tests, sample sizes.

Folds share their training pictures, so the spread over them understates how much a mean would
move with other data. Nadeau & Bengio (2003, Machine Learning 52) correct its variance from s²/k to
(1/k + n_test/n_train)·s²; over repeated folds k counts all of them (Bouckaert & Frank, PAKDD 2004).
"""

import bisect
import math

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestPower

ALPHA, POWER = 0.05, 0.8
MOST = 1000  # runs: where the search for more power ends


def standard_error(values, ratio: float) -> float:
    """Of the mean of `values` over folds (and seeds), corrected. ratio: n_test / n_train. nan for
    fewer than two."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return math.nan
    return float(np.std(values, ddof=1) * math.sqrt(1 / len(values) + ratio))


def interval(values, ratio: float) -> tuple[float, float]:
    """The 95% interval of the mean by the corrected Student's t; (nan, nan) for fewer than two."""
    values = np.asarray(values, float)
    half = stats.t.ppf(1 - ALPHA / 2, max(1, len(values) - 1)) * standard_error(values, ratio)
    return float(values.mean() - half), float(values.mean() + half)


def over_runs(values, seeds, ratio: float = 0.25) -> dict:
    """{"mean", "low", "high", "over"} of a number that each run has, `seeds` saying whose it is.

    Runs of one seed share their start and training pictures. Several seeds: the mean of each one's
    folds, then Student's t over seeds. One seed: the corrected t over its folds. One run: its
    value, and `over` says that there is no interval.
    """
    values, seeds = np.asarray(values, float), np.asarray(seeds)
    means = np.array([values[seeds == seed].mean() for seed in np.unique(seeds)])
    if len(means) > 1:
        (low, high), over = interval(means, 0), f"{len(means)} seeds"
    elif len(values) > 1:
        (low, high), over = interval(values, ratio), f"{len(values)} folds"
    else:
        low, high, over = math.nan, math.nan, "one run: no interval"
    return {"mean": float(means.mean()), "low": low, "high": high, "over": over}


def t_test(differences, ratio: float) -> float:
    """The corrected resampled t-test: p of paired differences whose true mean is 0. 1 where all are
    0, nan for fewer than two."""
    differences = np.asarray(differences, float)
    error = standard_error(differences, ratio)
    if not differences.any():
        return 1.0 if len(differences) > 1 else math.nan
    if error == 0:
        return 0.0  # the same difference in every fold
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1))


def mcnemar_test(right, other_right) -> float:
    """McNemar's exact p: two systems on the same pictures, True where each is right. 1 where they
    never differ."""
    right, other_right = np.asarray(right, bool), np.asarray(other_right, bool)
    only = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return float(mcnemar([[0, only[0]], [only[1], 0]], exact=True).pvalue) if sum(only) else 1.0


def holm(p_values) -> np.ndarray:
    """p corrected for their number (Holm); nan stays, and does not count."""
    p_values = np.asarray(p_values, float)
    corrected = np.full(len(p_values), math.nan)
    known = ~np.isnan(p_values)
    if known.any():
        corrected[known] = multipletests(p_values[known], ALPHA, "holm")[1]
    return corrected


def runs_needed(differences, ratio: float) -> float:
    """How many folds × seeds it would take to tell the mean of these differences from 0 with 80%
    power, if their spread stays: inf where no number would, because the pictures that folds share
    do not become more."""
    differences = np.asarray(differences, float)
    spread, mean = np.std(differences, ddof=1), abs(differences.mean())
    if not spread:
        return 2 if mean else math.inf

    def enough(k: int) -> bool:
        effect = mean / spread / math.sqrt(1 + k * ratio)  # per run: what shared pictures leave
        return not TTestPower().power(effect, k, ALPHA) < POWER  # nan where it is almost 1

    k = 2 + bisect.bisect_left(range(2, MOST), True, key=enough)  # more runs, more power
    return k if k < MOST else math.inf


def smallest_difference(accuracy: float, pictures: int) -> float:
    """In points: how much better than `accuracy` (percent) another system would have to be on as
    many test pictures, each system on pictures of its own, to be found so with 80% power at 5%.
    nan where even 100% would not do."""
    h = NormalIndPower().solve_power(None, pictures, ALPHA, POWER)
    # Cohen's h is a difference of arcsines: 2·asin√p
    angle = math.asin(math.sqrt(accuracy / 100)) + h / 2
    return 100 * math.sin(angle) ** 2 - accuracy if angle < math.pi / 2 else math.nan
