"""What a mean or a difference of runs may be worth: two intervals, tests, sample sizes.

Two intervals answer two questions.

- **Over pictures** (Bayle, Bayle, Janson & Mackey, NeurIPS 2020; the main one): how would *these
  trained networks* do on other pictures of the kind? It takes pictures as independent (near-twins
  count as one) and training as stable. Of several seeds each picture's answers are averaged, and
  the seeds' own variance is added.
- **Over folds** (Nadeau & Bengio, Machine Learning 52, 2003; the cautious one): how would *the
  method* do, trained again on other pictures? Folds share training pictures, so that the variance
  s²/k of their k numbers is corrected to (1/k + n_test/n_train)·s².

Paired comparisons can be less stable than either system alone (Bayle, Janson & Mackey 2025), and
the first interval is then too narrow. `tests/levels.py` simulates how often each finds a difference
where there is none (`results/levels.csv`); `pictures_decide` says where the first one keeps 7%.
"""

import bisect
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import NormalIndPower

ALPHA, POWER = 0.05, 0.8
NEVER = 100, 100_000  # seeds that nobody will train, pictures that nobody will label
UNSTABLE = 100 / 3  # percent of pictures on which two systems differ
SEEDS = 3  # from so many on a verdict may speak of a method rather than of its trained networks


@dataclass(frozen=True)
class Mean:
    """A mean with the two parts of its standard error, in the values' unit."""

    value: float
    pictures: float  # the error that other test pictures would bring
    seeds: float  # that other seeds would bring, 0 where there is one
    freedom: float  # Student's degrees of freedom (`welch`)

    @property
    def error(self) -> float:
        return math.hypot(self.pictures, self.seeds)

    def interval(self, level: float = 1 - ALPHA) -> tuple[float, float]:
        half = stats.t.ppf((1 + level) / 2, self.freedom) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Of a true value of 0."""
        if self.error == 0:  # the same in every fold
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))

    @property
    def margin(self) -> float:
        """The smallest m for which two one-sided tests at 5% say that the true value lies within
        ±m: the farther end of the 90% interval."""
        return max(map(abs, self.interval(1 - 2 * ALPHA)))


def over_pictures(values, weights=None, clusters=None) -> Mean:
    """The mean of `values`, pictures × seeds, and its error (Bayle et al. 2020, all pairs).

    values: percent. weights: of each picture, equal unless given. clusters: pictures of one count
    as one; the error is nan for fewer than two. It is never below that of one more picture with
    another answer: an interval of no width would claim certainty.
    """
    values = np.asarray(values, float).reshape(len(values), -1)
    n, count = values.shape
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    clusters = np.unique(np.arange(n) if clusters is None else clusters, return_inverse=True)[1]
    means = np.average(values, axis=0, weights=weights)
    apart = len(np.unique(clusters))
    if apart < 2:
        return Mean(float(means.mean()), math.nan, math.nan, math.nan)
    model = WLS(values.mean(1), np.ones(n), weights=weights)
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    pictures = max(float(fitted.bse[0]), 100 / (apart + 2))
    seeds = float(means.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0
    return Mean(float(means.mean()), pictures, seeds, welch((pictures, apart), (seeds, count)))


def welch(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of independent parts (Welch & Satterthwaite). parts: (its error,
    of how many values it is). A part without error has no say."""
    some = [(error, count) for error, count in parts if error > 0]
    total = sum(error**2 for error, _ in some)
    return total**2 / sum(error**4 / (count - 1) for error, count in some) if some else math.inf


def pictures_decide(seeds: int, discordance: float) -> bool:
    """Whether the interval over pictures can be trusted alone: in at most 7% of the cases it finds
    a difference that is not there. If not, the wider of the two has to exclude 0 as well.

    discordance: percent of the pictures on which the two systems differ. One seed does not show
    what training adds. No number of seeds shows how unstable systems, such as trees, change with
    their training pictures. These differ on 38% of the pictures and more; the limit is a third.
    """
    return seeds > 1 and discordance < UNSTABLE


def over_folds(values, ratio: float) -> Mean:
    """The mean of `values`, one a fold, and its corrected error (Nadeau & Bengio 2003). ratio:
    n_test / n_train. nan for fewer than two."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return Mean(float(values.mean()) if len(values) else math.nan, *[math.nan] * 3)
    error = float(np.std(values, ddof=1) * math.sqrt(1 / len(values) + ratio))
    return Mean(float(values.mean()), error, 0.0, len(values) - 1)


def stratified(means: list[Mean], weights) -> Mean:
    """The weighted mean of independent means without seeds of their own."""
    shares = np.asarray(weights, float) / np.sum(weights)
    parts = [(w * m.error, m.freedom + 1) for w, m in zip(shares, means, strict=True)]
    error = math.hypot(*(error for error, _ in parts))
    return Mean(float(shares @ [m.value for m in means]), error, 0.0, welch(*parts))


def interval(values, ratio: float) -> tuple[float, float]:
    """The 95% interval of `over_folds`."""
    return over_folds(values, ratio).interval()


def over_runs(values, seeds) -> dict:
    """{"mean", "low", "high", "over"}: the mean of one number a run, its 95% interval, and in words
    over what that is. seeds: the seed of each run.

    Runs of one seed share their start and training pictures. So of several seeds it is Student's t
    over their means; of one seed the corrected t over its folds, with the paper's 1 picture tested
    for 4 trained on; of one run nan.
    """
    values, seeds = np.asarray(values, float), np.asarray(seeds)
    means = np.array([values[seeds == seed].mean() for seed in np.unique(seeds)])
    if len(means) > 1:
        (low, high), over = interval(means, 0), f"{len(means)} seeds"
    elif len(values) > 1:
        (low, high), over = interval(values, 1 / 4), f"{len(values)} folds"
    else:
        low, high, over = math.nan, math.nan, "one run: no interval"
    return {"mean": float(means.mean()), "low": low, "high": high, "over": over}


def mcnemar_test(right, other_right) -> float:
    """McNemar's exact p of two systems on the same pictures, True where each is right."""
    right, other_right = np.asarray(right, bool), np.asarray(other_right, bool)
    only = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return float(mcnemar([[0, only[0]], [only[1], 0]], exact=True).pvalue) if sum(only) else 1.0


def holm(p_values) -> np.ndarray:
    """p corrected for their number (Holm); nan stays, and does not count. By hand, because
    statsmodels' own collects garbage at each call: 0.4 s with a study in memory."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]  # nan sorts last
    corrected = np.full(len(p_values), math.nan)
    corrected[order] = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(corrected[order]), 1)
    return corrected


def needed(found: Mean, seeds: int, pictures: int, alpha: float) -> tuple[int | None, int | None]:
    """(seeds, pictures) that it would take to tell a mean from 0, if it and its spread stay: at the
    level `alpha`, with 80% power. found: the mean over so many seeds and pictures.

    More seeds if these are enough, else more pictures. (None, None) if `NEVER` of neither is.
    """

    def enough(s: int, n: int) -> bool:
        by_pictures = found.pictures * math.sqrt(pictures / n)
        by_seeds = found.seeds * math.sqrt(seeds / s)
        freedom = welch((by_pictures, n), (by_seeds, s))
        reached = abs(found.value) / math.hypot(by_pictures, by_seeds)
        return reached >= stats.t.isf(alpha / 2, freedom) + stats.t.isf(1 - POWER, freedom)

    def first(least: int, most: int, does) -> int:
        return least + bisect.bisect_left(range(least, most), True, key=does)

    if found.seeds and enough(NEVER[0], pictures):
        return first(seeds + 1, NEVER[0], lambda s: enough(s, pictures)), pictures
    if enough(seeds, NEVER[1]):
        return seeds, first(pictures + 1, NEVER[1], lambda n: enough(seeds, n))
    return None, None


def smallest_difference(accuracy: float, pictures: int) -> float:
    """In points: how much better than `accuracy` (percent) another system would have to be, each on
    so many pictures of its own, to be found so with 80% power at 5%. nan where 100% would not do.
    """
    h = NormalIndPower().solve_power(None, pictures, ALPHA, POWER)
    # Cohen's h is a difference of arcsines: 2·asin√p
    angle = math.asin(math.sqrt(accuracy / 100)) + h / 2
    return 100 * math.sin(angle) ** 2 - accuracy if angle < math.pi / 2 else math.nan


def smallest_paired_difference(discordance: float, pictures: int) -> float:
    """The same of two systems tested on the *same* pictures that differ on a share `discordance` of
    them (McNemar's test; Miettinen 1968). nan where all of it on one side would not do."""
    a, b = stats.norm.isf(ALPHA / 2), stats.norm.isf(1 - POWER)
    # n·δ² = (a·√ψ + b·√(ψ − δ²))², solved for √((ψ − δ²)/ψ), which is none where n < a²
    root = (math.sqrt(pictures * max(pictures + b**2 - a**2, 0)) - a * b) / (pictures + b**2)
    square = discordance * (a + b * max(root, 0)) ** 2 / pictures
    return 100 * math.sqrt(square) if square <= discordance**2 else math.nan
