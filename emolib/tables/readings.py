"""The open readings, measured: each taken alone against the default, on the same folds and seeds.

Their runs are kept in <study>/readings, apart from the tables' own, which have one setting a row.
"""

import math

import pandas as pd

from ..spec.run_spec import RunSpec
from . import differences

READINGS_COLUMNS = [
    "table",
    "dataset",
    "method",
    "metric",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "runs",
    *differences.PAIR_COLUMNS,
    *differences.VERDICT,
    "published",
    "smallest",
    "parameters",
    "macs",
    "seconds",
    "run_ids",
    "nb_low",
    "nb_high",
    "smallest_paired",
]
READINGS_FOLDER = "readings"  # the folder in a study
RANDOM_FOLDS, CHOSEN = "random folds", "epoch chosen on the test pictures"
NOT_A_READING = ("fold", "seed", "pretrain")  # what runs of one row may differ in, or follows


def name_of(spec: RunSpec, default: RunSpec) -> str:
    """What differs from `default`, as "gate=fused" or "without_afa, without_afa=region"."""
    mine, theirs = spec.to_dict(), default.to_dict()
    parts = [] if spec.method == "normal" else [spec.method]
    for key, value in mine["readings"].items():
        if value != theirs["readings"][key]:
            parts.append(f"{key}={value}")
    skipped = {"mai", "afa", "readings", *NOT_A_READING}
    differs = [k for k, v in mine.items() if k not in skipped and v != theirs[k]]
    parts += [RANDOM_FOLDS if k == "official" else f"{k}={mine[k]}" for k in differs]
    return ", ".join(parts) or "normal"


def _order(name: str) -> tuple:
    """The default first, then Table 7's, then what differs in one thing, in more."""
    return name != "normal", not name.startswith("without_"), name.count(","), name


def readings_table(
    runs: pd.DataFrame, normal: dict[str, pd.DataFrame], statistics, published
) -> pd.DataFrame:
    """A row for each reading, set and metric; empty where there is nothing but the default.

    runs: those of <study>/readings and of the study; normal: {set: the study's default runs};
    statistics: (runs, metric) → mean, std, interval; published: Table 7. `published` is the paper's
    own difference where it has the row.
    """
    paper = published.set_index(["dataset", "method", "metric"])["published"]
    rows = []
    for dataset, own in normal.items():
        default = own["spec"].iloc[0]
        there = runs[
            [
                (s.model, s.dataset, s.grouped) == ("maiafa", dataset, default.grouped)
                for s in runs["spec"]
            ]
        ]
        names = [name_of(s, default) for s in there["spec"]]
        if set(names) <= {"normal"}:
            continue
        groups = dict(sorted(there.groupby(names, sort=False), key=lambda g: _order(g[0])))
        stopped = [g for name, g in groups.items() if name.startswith("epochs=")]
        if stopped:
            groups[CHOSEN] = _best_epochs(pd.concat([own, *stopped]))
        for name, group in groups.items():
            for metric in ("accuracy", "recall"):
                row = {"table": "readings", "dataset": dataset, "method": name, "metric": metric}
                row |= statistics(group, metric) | dict(differences.NOTHING)
                if name != "normal":
                    row |= differences.paired(group, own, metric)
                if name == CHOSEN:  # it cannot be worse: nothing to test
                    row |= dict.fromkeys(("p", "p_t", "p_mcnemar"), float("nan"))
                methods = ("normal", name.partition(",")[0])
                row |= differences.papers_own(paper, dataset, methods, metric, row)
                row |= {k: group[k].median() for k in ("parameters", "macs", "seconds")}
                rows.append(row | {"published": row["published"] if name != "normal" else math.nan})
    if not rows:
        return pd.DataFrame(columns=READINGS_COLUMNS)
    frame = differences.with_verdicts(differences.with_both_sets(rows))[READINGS_COLUMNS]
    frame.loc[frame["method"] == CHOSEN, "verdict"] = "what such a choice adds"
    return frame


def _best_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each fold and seed with several runs the one whose test accuracy is highest, of equal ones
    the longest."""
    keys = pd.DataFrame([(s.fold, s.seed, s.epochs) for s in runs["spec"]], runs.index)
    order = runs.assign(fold=keys[0], seed=keys[1], epochs=keys[2])
    order = order[order.duplicated(["fold", "seed"], keep=False)]
    order = order.sort_values(["accuracy", "epochs"]).drop_duplicates(["fold", "seed"], keep="last")
    return order.sort_values(["seed", "fold"])[runs.columns]
