"""The matched table: every system on maiafa's backbone, pictures, folds, seeds and budget.

Table 9 mixes backbones and training; here the head is what differs. Each row is compared with
maiafa's on the folds and seeds that both have.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from .files import read_csv
from .spec import TRAINING, RunSpec
from .systems import FITTED

COLUMNS = [
    "table", "dataset", "method", "metric", "mean", "std", "ci_low", "ci_high", "runs",
    "minus_maiafa", "minus_low", "minus_high", "p_value", "parameters", "macs",
    "pictures_per_second", "run_ids",
]  # fmt: skip
SYSTEM = {"model", "mai", "afa", "readings", "width", "dropout", "fold", "seed"}  # may differ


def same_protocol(spec: RunSpec, ours: RunSpec) -> bool:
    """Whether a system's run has maiafa's backbone, data and training, as far as it has them."""
    free = set(SYSTEM)
    if spec.model in FITTED:
        free |= {*TRAINING, "pretrain"}
        if spec.model != "frozen_probe":
            free.add("init")
    if spec.backbone is None:
        free |= {"backbone", "init", "pretrain"}
    theirs, own = spec.to_dict(), ours.to_dict()
    return all(theirs[k] == own[k] for k in own if k not in free)


def table(runs: pd.DataFrame, ours: dict, rows_of, statistics, folder: Path) -> pd.DataFrame:
    """The matched table, empty where no trained system shares maiafa's protocol.

    runs: the study's (`tables._read_runs`); ours: {set: maiafa's runs on it}; rows_of: a method's
    runs → those of its row, checked to have one setting; statistics: (runs, metric) → mean, std,
    interval. minus_…: the mean difference to maiafa over the folds both have, seeds averaged, and
    Student's 95% interval over them (folds share training pictures: somewhat too narrow); p_value:
    McNemar's exact test on the test pictures of those folds, of the lowest seed both have (for
    recall: the positive ones).
    """
    rows = []
    for dataset, own in ours.items():
        spec = own["spec"].iloc[0]
        weights = own["weights"].iloc[0]
        there = runs[np.array([
            s.model != "maiafa" and same_protocol(s, spec)
            and (s.backbone is None or w == weights)
            for s, w in zip(runs["spec"], runs["weights"], strict=True)
        ], bool)]  # fmt: skip
        if not any(s.model not in FITTED and s.backbone for s in there["spec"]):
            continue
        others = [(m, rows_of(g)) for m, g in there.groupby("method", sort=False)]
        for method, group in [("maiafa", own), *others]:
            for metric in ("accuracy", "recall"):
                row = {"table": "matched", "dataset": dataset, "method": method, "metric": metric}
                row |= statistics(group, metric)
                if method != "maiafa":
                    row |= _against(group, own, metric, folder)
                row |= {k: group[k].median() for k in ("parameters", "macs", "pictures_per_second")}
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _against(group: pd.DataFrame, ours: pd.DataFrame, metric: str, folder: Path) -> dict:
    """The difference to maiafa on common folds and seeds."""
    theirs, own = (
        g.assign(fold=[s.fold for s in g["spec"]], seed=[s.seed for s in g["spec"]])
        for g in (group, ours)
    )
    columns = ["fold", "seed", "id", metric]
    pairs = pd.merge(theirs[columns], own[columns], on=["fold", "seed"]).dropna()
    if pairs.empty:
        return dict.fromkeys(("minus_maiafa", "minus_low", "minus_high", "p_value"), float("nan"))
    pairs["minus"] = (pairs[f"{metric}_x"] - pairs[f"{metric}_y"]).astype(float)
    differences = pairs.groupby("fold")["minus"].mean().to_numpy()
    low = high = float("nan")
    if len(differences) > 1:
        half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
        low, high = differences.mean() - half, differences.mean() + half
    once = pairs[pairs["seed"] == pairs["seed"].min()]
    right, ours_right = (_right(once[c], metric, folder) for c in ("id_x", "id_y"))
    if list(right.index) != list(ours_right.index):
        raise ValueError(f"{folder}: {once['id_x'].iloc[0]} and {once['id_y'].iloc[0]} were tested "
                         "on different pictures")  # fmt: skip
    only = [int((right & ~ours_right).sum()), int((ours_right & ~right).sum())]
    p = mcnemar([[0, only[0]], [only[1], 0]], exact=True).pvalue if sum(only) else 1.0
    return {
        "minus_maiafa": differences.mean(),
        "minus_low": low,
        "minus_high": high,
        "p_value": float(p),
    }


def _right(ids, metric: str, folder: Path) -> pd.Series:
    """Whether each test picture of the runs is classified right; for recall the positive ones."""
    frames = [read_csv(folder / "runs" / i / "predictions.csv") for i in ids]
    frame = pd.concat(frames, keys=range(len(frames)))
    if metric == "recall":
        frame = frame[frame["label"] == 1]
    right = (frame["p_positive"] >= 0.5) == (frame["label"] == 1)
    return pd.Series(np.asarray(right), index=frame["path"])
