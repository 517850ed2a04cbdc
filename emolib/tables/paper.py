"""Tables 7, 8 and 9 beside the paper's numbers, and what the systems of Table 9 cost and score."""

from functools import partial

import numpy as np
import pandas as pd

from ..spec.published import published
from ..spec.run_spec import RunSpec
from ..spec.sets import DATASETS, PAPERS, SETS
from ..spec.systems import CLIP, UNPUBLISHED, system_of
from . import plots
from .frame import COST, StudyRuns, drawn_data, read_runs
from .pages import (
    COSTS,
    COSTS_SAID,
    HOW,
    METHOD,
    NOISE,
    SET,
    Column,
    fewer_folds,
    markdown_table,
    marked,
    runs_column,
    score,
    shown,
)
from .pairs import DEFAULT, Row, tidy_rows
from .rows import check_one_setting, runs_by_row, statistics
from .table import TABLE_COLUMNS, Table, contradicts_itself, run_ids
from .verdicts import not_told_apart

METRICS = {7: ("accuracy",), 8: ("accuracy", "recall"), 9: ("accuracy", "recall")}
SCORES = ["balanced_accuracy", "f1", "auroc", "recall_negative", "ece"]
KEYS = ["dataset", "method", "metric"]
__all__ = ["marked", "published", "read_runs", "statistics"]  # for who asks for them here


def __getattr__(name: str):
    """`build` and `tables_of_study`, which are in `study_tables`, for who asks for them here."""
    from . import study_tables

    if name in ("build", "tables_of_study", "title", "missing"):
        return getattr(study_tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def numbered_rows(number: int, study: StudyRuns, tables: dict) -> pd.DataFrame:
    """Table 7, 8 or 9, with a row also for what has no run. A set that the paper's table leaves out
    is left out, but for sets that the paper does not know: they have our rows alone."""
    paper, rows = published(number), []
    for dataset in DATASETS:
        methods = list(dict.fromkeys(paper.loc[paper["dataset"] == dataset, "method"]))
        ours = study.own[study.own["dataset"] == dataset]
        groups = runs_by_row(number, ours)
        if methods or not SETS[dataset].in_paper:
            methods = list(dict.fromkeys([*methods, *groups]))
        if number == 9 and dataset == PAPERS[-1]:  # the systems that have no number in the paper
            methods = list(dict.fromkeys([*methods, *UNPUBLISHED]))
        for method in methods:
            group = groups.get(method, ours.iloc[:0])
            check_one_setting(study.folder, group)
            rows.append(Row(dataset, method, group))
    table = pd.DataFrame(tidy_rows(number, rows, METRICS[number]))
    table = table.join(paper.set_index(KEYS)["published"], on=KEYS)
    table["difference"] = table["mean"] - table["published"]
    return table[TABLE_COLUMNS]


def _that_ran(tables: dict) -> pd.DataFrame:
    """One line for each row of Table 9 that has runs."""
    return tables[9][(tables[9]["metric"] == "accuracy") & (tables[9]["runs"] > 0)]


def score_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """What the paper leaves out (`metrics.more_scores`), of each row of Table 9 that has run."""
    runs = study.own.set_index("id", drop=False)
    rows = [
        Row(row.dataset, row.method, runs.loc[run_ids(row.run_ids)].reset_index(drop=True))
        for row in _that_ran(tables).itertuples()
    ]
    return pd.DataFrame(tidy_rows("scores", rows, SCORES), columns=TABLES["scores"].columns)


def cost_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """What each row of Table 9 that has run costs: medians over its runs."""
    rows, costs = _that_ran(tables), study.own.set_index("id")[COST]
    found = [costs.loc[run_ids(cell)].median().to_dict() for cell in rows["run_ids"]]
    medians = pd.DataFrame(found, index=rows.index, columns=COST)
    return rows[["dataset", "method", "run_ids"]].join(medians)[TABLES["costs"].columns]


def numbered_page(number: int, tables: dict, runs: pd.DataFrame) -> list[str]:
    """The page of Table 7, 8 or 9: one line a set and method, ours beside the paper's."""
    table, lines = tables[number], []
    if drawn_data(runs):
        lines += ["The paper's numbers are on the real sets and stand here for shape only.", ""]
    found = table.assign(unclear=False)
    if "differences" in tables:
        compared = tables["differences"]
        compared = compared[compared["table"] == number].set_index(KEYS)["verdict"]
        found["unclear"] = not_told_apart(table.join(compared, on=KEYS)["verdict"])
    by_metric = found.set_index(KEYS).to_dict("index")

    def columns_of(metric: str) -> list[Column]:
        def ours(row) -> str:
            cell = by_metric[row["dataset"], row["method"], metric]
            return score(cell) + NOISE * cell["unclear"]

        def papers(row) -> str:
            return shown(by_metric[row["dataset"], row["method"], metric]["published"], ".2f")

        return [(f"{metric} (95% interval)", ours), (f"paper's {metric}", papers)]

    columns = [SET, METHOD, *(c for metric in METRICS[number] for c in columns_of(metric))]
    columns.append(runs_column(runs))
    rows = table[table["metric"] == METRICS[number][0]]
    if number == 9:
        specs = dict(zip(runs["id"], runs["spec"], strict=True))
        columns += [("trained", lambda row: _trained(row, specs)), *COSTS]
        rows = rows.merge(tables["costs"][["dataset", "method", *COST]], "left")
    lines += markdown_table(columns, rows.to_dict("records")) + fewer_folds(table, runs)
    few = " Over two folds an interval means little: it can have no width, or be the whole scale."
    legend = f" {NOISE.strip()}: cannot be told from `{DEFAULT[number]}` (differences.md)."
    few = legend * bool(found["unclear"].any()) + few * bool((table["runs"] == 2).any())
    lines += ["", HOW + " Empty: no run." + few]
    if number == 8:
        lines += _same_spec(runs)
    if number == 9:
        lines += ["", f"Trained: backbone; epochs on this set, and before it. {COSTS_SAID}"]
        lines += _without_tower(table)
    return lines


def _trained(row, specs: dict[str, RunSpec]) -> str:
    """On which backbone a row's runs were trained, how long, and how long on which sets before."""
    if not row["runs"]:
        return ""
    spec = specs[run_ids(row["run_ids"])[0]]
    stages, before = [], spec.predecessor()
    while before:
        stages.append(f"{before.epochs} on {before.dataset}")
        before = before.predecessor()
    own = "fitted" if system_of(spec.model).fitted else f"{spec.epochs} epochs"
    after = f" after {', '.join(stages)}" if stages else ""
    return f"{spec.backbone or 'no backbone'}; {own}{after}"


def _same_spec(runs: pd.DataFrame) -> list[str]:
    """Lines that say on which sets the rows of Table 8 are the same spec."""
    ours = runs[[s.model == "maiafa" for s in runs["spec"]]]
    staged = ours.groupby("dataset")["spec"].agg(lambda s: any(x.stages for x in s))
    plain = [d for d in staged.index if SETS[d].fine_tuned and not staged[d]]
    if not plain:
        return []
    return [
        "",
        f"`normal` is empty on {', '.join(plain)}: these runs have no set-to-set stage, "
        "so that `normal` and `without_transfer` are the same spec.",
    ]


def _without_tower(table: pd.DataFrame) -> list[str]:
    """Lines that name the rows of CLIP that have no run on any set."""
    ran = table.groupby("method", sort=False)["runs"].any()
    names = [
        f"`{m}`" for m in UNPUBLISHED if system_of(m).backbone == CLIP and not ran.get(m, True)
    ]
    if not names:
        return []
    return [
        "",
        f"{' and '.join(names)}: empty. CLIP's tower has to be there, `{CLIP}.safetensors` in "
        "the folder that `weights` names.",
    ]


def _differs_from_paper(number: int, table: pd.DataFrame) -> str | None:
    """What contradicts itself, or the paper, in Table 7, 8 or 9 whose runs are not there."""
    if why := contradicts_itself(table):
        return why
    known = published(number).set_index(KEYS)["published"]
    rows = table.set_index(KEYS)["published"]
    if not np.allclose(rows, known.reindex(rows.index), equal_nan=True):
        return "has other published numbers than the paper"
    minus = table["mean"] - table["published"]
    if not np.allclose(table["difference"], minus, atol=2e-3, equal_nan=True):
        return "has differences that are not mean minus published"
    return None


def _numbered(number: int, title: str) -> Table:
    return Table(
        f"table{number}",
        TABLE_COLUMNS,
        partial(numbered_rows, number),
        f"Table {number}: {title}",
        partial(numbered_page, number),
        lambda tables, title: plots.draw_table(tables[number], title, tables.get("differences")),
        partial(_differs_from_paper, number),
    )


TABLES: dict[int | str, Table] = {
    7: _numbered(7, "what MAI and AFA contribute"),
    8: _numbered(8, "with and without transfer learning"),
    9: _numbered(9, "comparison with other methods"),
    "costs": Table("table9_costs", ["dataset", "method", *COST, "run_ids"], cost_rows),
    "scores": Table(
        "scores", [c for c in TABLE_COLUMNS if c not in ("published", "difference")], score_rows
    ),
}
