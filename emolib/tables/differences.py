"""Tables 7 to 9 as differences to their default, ours with its tests beside the paper's."""

import pandas as pd

from ..spec.published import published
from ..spec.sets import BOTH, DATASETS
from . import paper, plots
from .frame import StudyRuns
from .pages import MARGIN, METHOD, SET, TESTS, VERDICT, Column, markdown_table, minus, runs_column
from .pages import shown as _shown
from .pairs import DEFAULT, PAIR_COLUMNS, Row, beside_the_papers, tidy_rows, with_both_sets
from .rows import runs_by_row
from .table import Table
from .verdicts import VERDICT_COLUMNS, with_verdicts

NADEAU_BENGIO = {"t_low": "nb_low", "t_high": "nb_high"}  # names where no mean has them too
DIFFERENCES_COLUMNS = [
    *("table", "dataset", "method", "metric"),
    *(NADEAU_BENGIO.get(column, column) for column in PAIR_COLUMNS),
    *VERDICT_COLUMNS,
    *("published", "smallest", "smallest_paired", "run_ids"),
]


def difference_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """A row for each table, set, method and metric that has runs beside its default's, and for both
    small sets together."""
    found = []
    for number, default in DEFAULT.items():
        # in the paper's order, then the rest
        order = {m: i for i, m in enumerate(dict.fromkeys(published(number)["method"]))}
        rows = []
        for dataset in DATASETS:
            groups = runs_by_row(number, study.own[study.own["dataset"] == dataset])
            own = groups.pop(default, study.own[:0])
            for method in sorted(groups, key=lambda m: order.get(m, len(order))):
                if len(own) and len(runs := groups[method]):
                    ids = ";".join([*runs["id"], *own["id"]])
                    rows.append(Row(dataset, method, runs, own, {"run_ids": ids}))
        found += beside_the_papers(tidy_rows(number, rows, paper.METRICS[number]), number)
    return with_verdicts(with_both_sets(found), DIFFERENCES_COLUMNS, NADEAU_BENGIO)


def _smallest(name: str):
    return lambda row: _shown(row[name], "+.2f").replace("+", "±")


def differences_page(tables: dict, runs: pd.DataFrame) -> list[str]:
    """One line a comparison, with what may be said of it; a part for each of the tables."""
    lines = []
    named = {new: old for old, new in NADEAU_BENGIO.items()}
    for number, rows in tables["differences"].rename(columns=named).groupby("table"):
        columns: list[Column] = [
            SET,
            METHOD,
            ("metric", lambda row: row["metric"]),
            *minus(DEFAULT[number]),
            runs_column(runs),
            ("seeds", lambda row: f"{row['seeds']:.0f}"),
            (
                "differ",
                lambda row: _shown(row["discordance"], ".1f") and f"{row['discordance']:.1f}%",
            ),
            MARGIN,
            VERDICT,
            ("paper's difference", lambda row: _shown(row["published"], "+.2f")),
            ("smallest that the paper's test could show", _smallest("smallest")),
            ("on the same pictures", _smallest("smallest_paired")),
        ]
        rows = markdown_table(columns, rows.to_dict("records"))
        lines += [f"## {paper.TABLES[number].title}", "", *rows, ""]
    return [
        *lines,
        "Points, on the folds and seeds that both have. " + TESTS + " Smallest: how "
        "far two systems of about the paper's accuracy have to be apart to be told apart "
        "with 80% power at 5% on as many test pictures as the paper had: each on pictures of "
        "its own; and both on the same ones, if they differ on as many of them as ours do "
        f"(“differ”). `{BOTH}`: both sets, weighted by their pictures; no verdict where the "
        "sets disagree.",
    ]


TABLE = Table(
    "differences",
    DIFFERENCES_COLUMNS,
    difference_rows,
    "Differences: what MAI, AFA and pre-training on FI change, and other systems",
    differences_page,
    lambda tables, title: plots.draw_differences(tables["differences"], title),
)
