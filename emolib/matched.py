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
from .spec import FITTED, TRAINING, RunSpec

COLUMNS = [
    "table", "dataset", "method", "metric", "mean", "std", "ci_low", "ci_high", "runs",
    "minus_maiafa", "minus_low", "minus_high", "p_value", "parameters", "macs",
    "pictures_per_second", "run_ids",
]  # fmt: skip
SYSTEM = {
    "model",
    "mai",
    "afa",
    "readings",
    "width",
    "dropout",
    "detector",
    "fold",
    "seed",
}  # may differ


def same_protocol(spec: RunSpec, ours: RunSpec) -> bool:
    """Whether a system's run has maiafa's backbone, data and training, as far as it has them."""
    free = set(SYSTEM)
    if spec.model in FITTED:
        free |= {*TRAINING, "init", "pretrain"}
    if spec.backbone is None:
        free |= {"backbone", "init", "pretrain"}
    theirs, own = spec.to_dict(), ours.to_dict()
    return all(theirs[k] == own[k] for k in own if k not in free)


def table(runs: pd.DataFrame, groups: dict, statistics, folder: Path) -> pd.DataFrame:
    """The matched table, empty where no trained system shares maiafa's protocol.

    runs: the study's (`tables._read_runs`); groups: {set: maiafa's runs on it}; statistics: (runs,
    metric) → mean, std, interval. minus_…: the mean difference to maiafa over the folds both have
    and Student's 95% interval over them (folds share training pictures: somewhat too narrow);
    p_value: McNemar's exact test on their pooled test pictures (for recall: the positive ones).
    """
    rows = []
    for dataset, ours in groups.items():
        spec = ours["spec"].iloc[0]
        theirs = [s.model != "maiafa" and same_protocol(s, spec) for s in runs["spec"]]
        there = runs[np.array(theirs, bool)]
        trained = [s for s in there["spec"] if s.model not in FITTED and s.backbone]
        if not trained:
            continue
        for method, group in [("maiafa", ours), *there.groupby("method", sort=False)]:
            for metric in ("accuracy", "recall"):
                row = {"table": "matched", "dataset": dataset, "method": method, "metric": metric}
                row |= statistics(group, metric)
                if method != "maiafa":
                    row |= _against(group, ours, metric, folder)
                row |= {k: group[k].median() for k in ("parameters", "macs", "pictures_per_second")}
                rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _against(group: pd.DataFrame, ours: pd.DataFrame, metric: str, folder: Path) -> dict:
    """The difference to maiafa on common folds and seeds."""
    key = [g["spec"].map(lambda s: (s.fold, s.seed)) for g in (group, ours)]
    pairs = pd.merge(
        group.assign(key=key[0])[["key", "id", metric]],
        ours.assign(key=key[1])[["key", "id", metric]], on="key",
    )  # fmt: skip
    differences = (pairs[f"{metric}_x"] - pairs[f"{metric}_y"]).dropna().to_numpy(float)
    nothing = dict.fromkeys(("minus_maiafa", "minus_low", "minus_high", "p_value"), float("nan"))
    if not len(differences):
        return nothing
    low, high = float("nan"), float("nan")
    if len(differences) > 1:
        half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
        low, high = differences.mean() - half, differences.mean() + half
    theirs, own = (_right(pairs[c], metric, folder) for c in ("id_x", "id_y"))
    if list(theirs.index) != list(own.index):
        raise ValueError(f"{folder}: {pairs['id_x'][0]} and {pairs['id_y'][0]} have other pictures")
    only = [(theirs & ~own).sum(), (own & ~theirs).sum()]
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
