"""How often two equally good systems are told apart, by each interval of `tables.significance`.

    python tests/levels.py --trials 1000 --results results/levels.csv

Each trial draws labelled points, trains two systems of the same expected error on five folds and
from several seeds, and asks whether each 95% interval of their difference excludes 0: over
pictures, over folds, both. Training pictures are shared by folds and by seeds, as in a study. A
right method says yes in 5%. "covers" is how often the interval over pictures, of one seed, holds
the difference of the trained systems themselves on fresh points: 95% where training is stable.

The systems: `modules`, heads on shared features with random features of their own, wide or narrow,
which is what the variants of a network are; `seeds`, the same twice, with other random numbers;
`networks`, each on features of its own; `trees`, unstable ones; and two without random numbers,
`ridge`, which is stable, and `neighbours`, which is not.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from emolib.base.files import write_csv
from emolib.tables import significance

FOLDS, FEATURES, FRESH = 5, 10, 3000
ONE, OTHER, BOTH = slice(0, FEATURES), slice(FEATURES, None), slice(None)


def draw(count: int, rng):
    labels = rng.random(count) < 0.5
    return rng.normal(size=(count, 2 * FEATURES)) + np.where(labels, 0.32, -0.32)[:, None], labels


def ridge(x, labels, z, rng, penalty: float = 1.0):
    x, z = (np.c_[part, np.ones(len(part))] for part in (x, z))
    square = x.T @ x + penalty * np.eye(x.shape[1])
    return z @ np.linalg.solve(square, x.T @ (2.0 * labels - 1)) > 0


def neighbours(x, labels, z, rng):
    return labels[((z**2).sum(1)[:, None] - 2 * z @ x.T + (x**2).sum(1)).argmin(1)]


def trees(x, labels, z, rng):
    seed = int(rng.integers(1 << 31))
    return DecisionTreeClassifier(max_features=3, random_state=seed).fit(x, labels).predict(z)


def head(width: int, columns: slice, whole: bool = True):
    """A ridge classifier on the features and `width` random ones of some columns; not whole: on the
    random ones alone."""

    def fit(x, labels, z, rng):
        W, b = rng.normal(size=(FEATURES, width)), rng.normal(size=width)
        x, z = (
            np.c_[part if whole else part[:, :0], np.maximum(part[:, columns] @ W + b, 0)]
            for part in (x, z)
        )
        return ridge(x, labels, z, rng, penalty=5.0)

    return fit


def on(learner, columns: slice):
    return lambda x, labels, z, rng: learner(x[:, columns], labels, z[:, columns], rng)


# name: two systems of the same expected error
CASES = {
    "ridge": (on(ridge, ONE), on(ridge, OTHER)),
    "neighbours": (on(neighbours, ONE), on(neighbours, OTHER)),
    "narrow modules": (head(20, ONE), head(20, OTHER)),
    "modules": (head(60, ONE), head(60, OTHER)),
    "seeds": (head(60, ONE), head(60, ONE)),
    "networks": (head(60, ONE, whole=False), head(60, OTHER, whole=False)),
    "trees": (on(trees, ONE), on(trees, OTHER)),
}
WITHOUT_SEEDS = ("ridge", "neighbours")  # several seeds of these are one


@threadpool_limits.wrap(limits=1)  # small matrices: threads cost more than they give
def trial(systems, count: int, seeds: int, rng) -> dict:
    """Whether each interval excludes 0, the half width of each in points, the share of points on
    which the systems differ, and whether the first holds the truth about these systems."""
    (x, labels), (fresh, truth) = draw(count, rng), draw(FRESH, rng)
    parts = np.array_split(rng.permutation(count), FOLDS)
    apart, folds, fresh_apart = np.zeros((count, seeds)), np.zeros((seeds, FOLDS)), 0.0
    for seed in range(seeds):
        for fold, test in enumerate(parts):
            train = np.setdiff1d(np.arange(count), test)
            seen, wanted = np.r_[x[test], fresh], np.r_[labels[test], truth]
            right = [100.0 * (s(x[train], labels[train], seen, rng) == wanted) for s in systems]
            difference = right[0] - right[1]
            apart[test, seed] = difference[: len(test)]
            folds[seed, fold] = difference[: len(test)].mean()
            fresh_apart += difference[len(test) :].mean() / FOLDS / seeds
    pictures = significance.over_pictures(apart)
    over_folds = significance.over_folds(folds.mean(0), 1 / (FOLDS - 1))
    return {
        "pictures": pictures.p < 0.05,
        "folds": over_folds.p < 0.05,
        "both": pictures.p < 0.05 and over_folds.p < 0.05,
        "covers": abs(pictures.value - fresh_apart) <= stats.norm.isf(0.025) * pictures.pictures,
        "half_pictures": (pictures.interval()[1] - pictures.interval()[0]) / 2,
        "half_folds": (over_folds.interval()[1] - over_folds.interval()[0]) / 2,
        "discordance": 100 * (apart != 0).mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="levels of the two intervals")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--count", type=int, default=1265, help="labelled points, Twitter I's")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 5])
    parser.add_argument("--systems", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--results", type=Path, required=True)
    chosen = parser.parse_args()
    rows = []
    for number, (name, systems) in enumerate(CASES.items()):
        if name not in chosen.systems:
            continue
        matters = name not in WITHOUT_SEEDS
        for seeds in chosen.seeds if matters else [1]:
            rng, started = np.random.default_rng([seeds, number]), time.perf_counter()
            found = pd.DataFrame(
                [trial(systems, chosen.count, seeds, rng) for _ in range(chosen.trials)]
            ).mean()
            error = math.sqrt(0.05 * 0.95 / chosen.trials)
            rows.append(
                {
                    "systems": name,
                    "seeds_matter": matters,
                    "seeds": seeds,
                    "trials": chosen.trials,
                    "points": chosen.count,
                    **found,
                    "error": error,
                }
            )
            print(rows[-1], f"{time.perf_counter() - started:.0f} s", flush=True)
            write_csv(chosen.results, pd.DataFrame(rows))


if __name__ == "__main__":
    main()
