"""Which runs are one row of a table, and the row's mean with its two intervals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..base.metrics import wilson
from ..spec.sets import DATASETS
from ..spec.systems import system_of
from . import significance
from .significance import Mean


def runs_by_row(number: int, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{row: its runs} of Table 7, 8 or 9, of the runs on one set.

    If the set has runs with a set-to-set stage, those are the study's own. The same without it are
    Table 8's second row. Runs on leakage-free folds count only if there are no others.
    """
    if runs.empty:
        return {}
    papers = ~runs["spec"].map(lambda s: s.grouped)
    runs = runs[papers] if papers.any() else runs
    network, staged = runs["spec"].map(lambda s: s.model == "maiafa"), staged_ones(runs)
    if number == 8:
        normal = network & (runs["method"] == "normal")
        return {"normal": runs[normal & staged], "without_transfer": runs[normal & ~staged]}
    own = runs[network & staged if (network & staged).any() else network]
    if number == 7:
        return dict(list(own.groupby("method")))
    groups = {method: one_kind(group) for method, group in runs[~network].groupby("method")}
    normal = own[own["method"] == "normal"]
    return groups | ({"maiafa": normal} if len(normal) else {})


def staged_ones(runs: pd.DataFrame) -> pd.Series:
    """Of each run whether it was trained on another set before."""
    return runs["spec"].map(lambda s: bool(s.stages))


def default_runs(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{set: the runs of our network there}: what other systems and readings are held against."""
    found = {d: runs_by_row(9, runs[runs["dataset"] == d]).get("maiafa") for d in DATASETS}
    return {dataset: own for dataset, own in found.items() if own is not None}


def one_kind(group: pd.DataFrame) -> pd.DataFrame:
    """Of a rival's runs those that are its row of Table 9: on its own backbone if there are such,
    and with a set-to-set stage if there are such (the others are what those start from)."""
    own = group["spec"].map(lambda s: s.backbone == system_of(s.model).backbone)
    group = group[own] if own.any() else group
    staged = staged_ones(group)
    return group[staged] if staged.any() else group


def check_one_setting(folder: Path, group: pd.DataFrame) -> None:
    """Raises ValueError if the runs of one row differ in more than fold and seed."""
    known: dict[str, tuple[str, Any]] = {}
    for run in group.itertuples():
        settings = replace(run.spec, fold=0, seed=0).to_dict() | {"weights": run.weights}
        hashes = {name: getattr(run, name) for name in ("weights_sha256", "emotions")}
        settings |= {name: value for name, value in hashes.items() if isinstance(value, str)}
        for key, value in settings.items():
            first, its = known.setdefault(key, (run.id, value))
            if its != value:
                raise ValueError(
                    f"{folder}: {first} and {run.id} are one row of the tables but differ in "
                    f"{key} ({its!r} and {value!r}); give each setting its own study"
                )


def untrained(runs: pd.DataFrame) -> pd.Series:
    """Of each run whether all its answers are one class: it has not trained."""
    return runs["answers"].map(lambda frame: frame["predicted"].nunique() < 2).astype(bool)


def _of_class(labels: pd.Series, label: int) -> np.ndarray:
    mine = labels.to_numpy() == label
    return mine / max(mine.sum(), 1)


# What each test picture of a run counts in the run's metric.
WEIGHTS = {
    "accuracy": lambda labels: np.full(len(labels), 1 / len(labels)),
    "recall": lambda labels: _of_class(labels, 1),
    "recall_negative": lambda labels: _of_class(labels, 0),
    "balanced_accuracy": lambda labels: (_of_class(labels, 1) + _of_class(labels, 0)) / 2,
}
PICTURE = ["fold", "path", "cluster", "weight"]  # of `answers`; its other columns are seeds


def answers(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The test pictures of `runs`, each fold and seed once: a row each. metric: one of `WEIGHTS`.

    Columns: fold, path, cluster (near-twins share one), weight (of the picture in the mean over
    folds) and one for each seed: 100 where its answer was right, else 0. Pictures that the metric
    leaves out are not there. Nor are seeds that tested fewer pictures than others.
    """
    weight, parts = WEIGHTS[metric], []
    for run in runs.itertuples():
        of_fold = {"fold": run.spec.fold, "seed": run.spec.seed}
        parts.append(run.answers.assign(**of_fold, weight=weight(run.answers["label"])))
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["weight"] > 0]
    wide = frame.pivot_table("right", PICTURE, "seed", sort=False).sort_index(axis=1)
    most = wide.notna().sum().idxmax()  # of equals the lowest seed
    wide = wide[wide[most].notna()].dropna(axis=1)
    return (100 * wide).reset_index().rename_axis(None, axis=1)


def mean_over_pictures(frame: pd.DataFrame) -> Mean:
    """`significance.over_pictures` of what `answers` gives, or of a difference of two such."""
    return significance.over_pictures(
        frame.drop(columns=PICTURE), frame["weight"], frame["cluster"].astype(str)
    )


def one_a_fold(runs: pd.DataFrame, values) -> np.ndarray:
    """One number a fold, its mean over seeds, which share their folds' pictures."""
    folds = [spec.fold for spec in runs["spec"]]
    return pd.Series(np.asarray(values, float)).groupby(folds).mean().dropna().to_numpy()


def statistics(group: pd.DataFrame, metric: str) -> dict:
    """Mean and standard deviation over the runs of a row, in percent, with two 95% intervals.

    ci_low, ci_high: over pictures (`significance`), Wilson's if there is one run. nb_low, nb_high:
    over folds. A metric that is no mean over pictures has the second interval in both places.
    """
    bounds = ("ci_low", "ci_high", "nb_low", "nb_high")
    values = group[metric].dropna() if len(group) else pd.Series(dtype=float)
    if not len(values):
        return dict.fromkeys(("mean", "std", *bounds), float("nan")) | {"runs": 0, "run_ids": ""}
    there = group.loc[values.index]
    folds = significance.over_folds(one_a_fold(there, values), there["ratio"].mean())
    shift = values.mean() - folds.value
    nb_low, nb_high = (bound + shift for bound in folds.interval())
    if len(values) == 1:
        right = answers(there, metric).iloc[:, -1] > 0 if metric in ("accuracy", "recall") else []
        low, high = wilson(int(sum(right)), len(right))
    elif metric in WEIGHTS:
        mean = mean_over_pictures(answers(there, metric))
        low, high = (bound + values.mean() - mean.value for bound in mean.interval())
    else:
        low, high = nb_low, nb_high
    found = np.clip([low, high, nb_low, nb_high], 0, 100).tolist()
    return {
        "mean": values.mean(),
        "std": values.std(),
        **dict(zip(bounds, found, strict=True)),
        "runs": len(values),
        "run_ids": ";".join(group["id"]),
    }
