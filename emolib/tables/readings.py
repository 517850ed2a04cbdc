"""The open readings, measured: each taken alone against the default, on the same folds and seeds.

Their runs are kept in <study>/readings, apart from the tables' own, which have one setting a row.
"""

import math

import pandas as pd

from ..spec.run_spec import RunSpec
from . import pages, plots
from .comparison import (
    PAIR_COLUMNS,
    VERDICT_COLUMNS,
    Row,
    beside_the_papers,
    tidy_rows,
    with_both_sets,
    with_verdicts,
)
from .frame import READINGS_FOLDER, StudyRuns
from .rows import default_runs
from .table import Table

READINGS_COLUMNS = [
    *("table", "dataset", "method", "metric", "mean", "std", "ci_low", "ci_high", "runs"),
    *PAIR_COLUMNS,
    *VERDICT_COLUMNS,
    *("published", "smallest", "parameters", "macs", "seconds"),
    *("run_ids", "nb_low", "nb_high", "smallest_paired"),
]
RANDOM_FOLDS, CHOSEN = "random folds", "epoch chosen on the test pictures"
SKIPPED = {"mai", "afa", "readings", "fold", "seed", "pretrain"}  # said otherwise, or may differ


def name_of(spec: RunSpec, default: RunSpec) -> str:
    """What differs from `default`, as "gate=fused" or "without_afa, without_afa=region"."""
    mine, theirs = spec.to_dict(), default.to_dict()
    parts = [] if spec.method == "normal" else [spec.method]
    readings = theirs["readings"]
    parts += [f"{k}={v}" for k, v in mine["readings"].items() if v != readings[k]]
    differs = [k for k, v in mine.items() if k not in SKIPPED and v != theirs[k]]
    parts += [RANDOM_FOLDS if k == "official" else f"{k}={mine[k]}" for k in differs]
    return ", ".join(parts) or "normal"


def _order(name: str) -> tuple:
    """The default first, then Table 7's, then what differs in one thing, in more."""
    return name != "normal", not name.startswith("without_"), name.count(","), name


def readings_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """A row for each reading, set and metric. Empty if there is nothing but the default."""
    if study.readings.empty:
        return pd.DataFrame(columns=READINGS_COLUMNS)
    runs, rows = study.together("own", "readings"), []
    for dataset, own in default_runs(study.own).items():
        default = own["spec"].iloc[0]
        ours = ("maiafa", dataset, default.grouped)
        there = runs[[(s.model, s.dataset, s.grouped) == ours for s in runs["spec"]]]
        names = [name_of(s, default) for s in there["spec"]]
        if set(names) <= {"normal"}:
            continue
        groups = dict(sorted(there.groupby(names, sort=False), key=lambda g: _order(g[0])))
        stopped = [g for name, g in groups.items() if name.startswith("epochs=")]
        if stopped:
            groups[CHOSEN] = _best_epochs(pd.concat([own, *stopped]))
        for name, group in groups.items():
            costs = group[["parameters", "macs", "seconds"]].median().to_dict()
            rows.append(Row(dataset, name, group, None if name == "normal" else own, costs))
    found = tidy_rows("readings", rows)
    for row in found:
        if row["method"] == CHOSEN:  # it cannot be worse: nothing to test
            row |= dict.fromkeys(("p", "p_t", "p_mcnemar"), math.nan)
    frame = with_verdicts(with_both_sets(beside_the_papers(found, 7)), READINGS_COLUMNS)
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


def readings_page(tables: dict, runs: pd.DataFrame) -> list[str]:
    """One line a reading, what may be said of it last."""
    columns: list[pages.Column] = [
        pages.SET,
        ("reading", lambda row: row["method"]),
        pages.ACCURACY,
        *pages.minus("normal"),
        pages.RECALL,
        pages.runs_column(runs),
        ("seeds", lambda row: f"{row['seeds']:.0f}" if row["seeds"] else ""),
        pages.MARGIN,
        *pages.COSTS[:2],
        ("seconds", pages.number("seconds", ".0f")),
        ("paper's", pages.number("published", "+.2f")),
        pages.VERDICT,
    ]
    return [
        *pages.markdown_table(columns, pages.line_a_method(tables["readings"]).to_dict("records")),
        "",
        f"{pages.HOW} Minus normal: on the {pages.COMMON} {pages.TESTS} Paper's: its "
        "own difference in Table 7. Seconds: of a training, not always on an idle machine.",
    ]


READINGS = Table(
    READINGS_FOLDER,
    READINGS_COLUMNS,
    readings_rows,
    "Readings: each open reading alone, against the default",
    readings_page,
    lambda tables, title: plots.draw_differences(tables["readings"], title),
    recall_interval=False,
)
