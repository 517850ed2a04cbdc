"""Tables 7, 8 and 9 beside the paper's, as differences too, and what Table 9's systems cost."""

from functools import partial
from operator import itemgetter

import numpy as np
import pandas as pd

from ..spec.published import published
from ..spec.run_spec import RunSpec
from ..spec.sets import BOTH, DATASETS, PAPERS, SETS
from ..spec.systems import CLIP, UNPUBLISHED, system_of
from . import comparison, pages, plots
from .comparison import DEFAULT, Row, tidy_rows
from .frame import COST, StudyRuns, drawn_data
from .rows import check_one_setting, runs_by_row
from .table import TABLE_COLUMNS, Table, contradicts_itself, run_ids

METRICS = {7: ("accuracy",), 8: ("accuracy", "recall"), 9: ("accuracy", "recall")}
SCORES = ["balanced_accuracy", "f1", "auroc", "recall_negative", "ece"]
KEYS = ["dataset", "method", "metric"]
# what the classifier of Table 7's row sees, by `readings.without_afa`
WITHOUT_AFA = {"gated": "which classifies ECA(O4)", "region": "which classifies D⊗F"}
FEW = " Over two folds an interval means little: it can have no width, or be the whole scale."
NADEAU_BENGIO = {"t_low": "nb_low", "t_high": "nb_high"}  # names where no mean has them too
DIFFERENCES_COLUMNS = [
    *("table", *KEYS),
    *(NADEAU_BENGIO.get(column, column) for column in comparison.PAIR_COLUMNS),
    *comparison.VERDICT_COLUMNS,
    *("published", "smallest", "smallest_paired", "run_ids"),
]


def numbered_rows(number: int, study: StudyRuns, tables: dict) -> pd.DataFrame:
    """Table 7, 8 or 9, also of what has no run: the sets in the paper's table, and those that the
    paper does not know with our rows alone."""
    paper, rows = published(number), []
    for dataset in DATASETS:
        methods = [*paper.loc[paper["dataset"] == dataset, "method"]]
        ours = study.own[study.own["dataset"] == dataset]
        groups = runs_by_row(number, ours)
        if methods or not SETS[dataset].in_paper:
            methods += groups
        if number == 9 and dataset == PAPERS[-1]:  # the systems that have no number in the paper
            methods += UNPUBLISHED
        for method in dict.fromkeys(methods):
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


def difference_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """A row for each table, set, method and metric that has runs beside its default's, and for both
    small sets together."""
    found = []
    for number, default in DEFAULT.items():
        papers, rows = [*published(number)["method"].unique()], []
        for dataset in DATASETS:
            groups = runs_by_row(number, study.own[study.own["dataset"] == dataset])
            own = groups.pop(default, study.own[:0])
            for method in dict.fromkeys([*papers, *groups]):  # in the paper's order, then the rest
                runs = groups.get(method, own[:0])
                if len(own) and len(runs):
                    ids = ";".join([*runs["id"], *own["id"]])
                    rows.append(Row(dataset, method, runs, own, {"run_ids": ids}))
        found += comparison.beside_the_papers(tidy_rows(number, rows, METRICS[number]), number)
    return comparison.with_verdicts(
        comparison.with_both_sets(found), DIFFERENCES_COLUMNS, NADEAU_BENGIO
    )


def numbered_page(number: int, tables: dict, runs: pd.DataFrame) -> list[str]:
    """The page of Table 7, 8 or 9: one line a set and method, ours beside the paper's."""
    table, lines = tables[number], []
    if drawn_data(runs):
        lines += ["The paper's numbers are on the real sets and stand here for shape only.", ""]
    compared = tables.get("differences", pd.DataFrame(columns=["table", "verdict", *KEYS]))
    compared = compared[
        (compared["table"] == number) & comparison.not_told_apart(compared["verdict"])
    ]
    unclear, cells = compared.set_index(KEYS).index, table.set_index(KEYS).to_dict("index")

    def ours(row, metric: str) -> str:
        key = row["dataset"], row["method"], metric
        return pages.score(cells[key]) + pages.NOISE * (key in unclear)

    def papers(row, metric: str) -> str:
        return pages.number("published", ".2f")(cells[row["dataset"], row["method"], metric])

    columns = [pages.SET, pages.METHOD]
    for metric in METRICS[number]:
        columns.append((f"{metric} (95% interval)", partial(ours, metric=metric)))
        columns.append((f"paper's {metric}", partial(papers, metric=metric)))
    columns.append(pages.runs_column(runs))
    rows = table[table["metric"] == METRICS[number][0]]
    if number == 9:
        specs = dict(zip(runs["id"], runs["spec"], strict=True))
        columns += [("trained", lambda row: _trained(row, specs)), *pages.COSTS]
        rows = rows.merge(tables["costs"][["dataset", "method", *COST]], "left")
    lines += pages.markdown_table(columns, rows.to_dict("records")) + pages.fewer_folds(table, runs)
    how = pages.HOW + " Empty: no run."
    if len(unclear):
        how += f" {pages.NOISE.strip()}: cannot be told from `{DEFAULT[number]}` (differences.md)."
    if (table["runs"] == 2).any():
        how += FEW
    notes = [how, *(note(table, runs) for note in NOTES[number])]
    return lines + [line for note in notes if note for line in ("", note)]


def _read_as(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What the row without AFA is taken to be: the paper can be read in two ways."""
    ids = table.loc[table["method"] == "without_afa", "run_ids"].dropna()
    mine = runs["id"].isin({run for cell in ids for run in run_ids(cell)})
    found = dict.fromkeys(spec.readings.without_afa for spec in runs.loc[mine, "spec"])
    if not found:
        return ""
    what = " and ".join(f"`{reading}`, {WITHOUT_AFA[reading]}" for reading in found)
    return f"`without_afa` is read as {what}. The paper can be read in two ways (notebook 06)."


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


def _same_spec(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    """On which sets the rows of Table 8 are the same spec, "" if on none."""
    ours = runs[[s.model == "maiafa" for s in runs["spec"]]]
    staged = ours.groupby("dataset")["spec"].agg(lambda s: any(x.stages for x in s))
    plain = [d for d in staged.index if SETS[d].fine_tuned and not staged[d]]
    said = f"`normal` is empty on {', '.join(plain)}: these runs have no set-to-set stage, so that "
    return (said + "`normal` and `without_transfer` are the same spec.") * bool(plain)


def _trained_how(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    return f"Trained: backbone; epochs on this set, and before it. {pages.COSTS_SAID}"


def _without_tower(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What the rows of CLIP lack that have no run on any set, "" if there are none."""
    ran = table.groupby("method", sort=False)["runs"].any()
    clips = [m for m in UNPUBLISHED if system_of(m).backbone == CLIP]
    names = " and ".join(f"`{m}`" for m in clips if not ran.get(m, True))
    said = f"{names}: empty. CLIP's tower has to be there, `{CLIP}.safetensors` in the folder that "
    return (said + "`weights` names.") * bool(names)


# below a table, of the table and its runs
NOTES = {7: (_read_as,), 8: (_same_spec,), 9: (_trained_how, _without_tower)}


def differences_page(tables: dict, runs: pd.DataFrame) -> list[str]:
    """One line a comparison, with what may be said of it; a part for each of the tables."""
    lines, smallest = [], partial(pages.number, how=".2f", before="±")
    named = {new: old for old, new in NADEAU_BENGIO.items()}
    for number, rows in tables["differences"].rename(columns=named).groupby("table"):
        columns: list[pages.Column] = [
            pages.SET,
            pages.METHOD,
            ("metric", itemgetter("metric")),
            *pages.minus(DEFAULT[number]),
            pages.runs_column(runs),
            ("seeds", pages.number("seeds", ".0f")),
            ("differ", pages.number("discordance", ".1f", after="%")),
            pages.MARGIN,
            pages.VERDICT,
            ("paper's difference", pages.number("published", "+.2f")),
            ("smallest that the paper's test could show", smallest("smallest")),
            ("on the same pictures", smallest("smallest_paired")),
        ]
        rows = pages.markdown_table(columns, rows.to_dict("records"))
        lines += [f"## {TABLES[number].title}", "", *rows, ""]
    return [
        *lines,
        "Points, on the folds and seeds that both have. " + pages.TESTS + " Smallest: how "
        "far two systems of about the paper's accuracy have to be apart to be told apart "
        "with 80% power at 5% on as many test pictures as the paper had: each on pictures of "
        "its own; and both on the same ones, if they differ on as many of them as ours do "
        f"(“differ”). `{BOTH}`: both sets, weighted by their pictures; no verdict where the "
        "sets disagree.",
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
    same = np.allclose(table["difference"], minus, atol=2e-3, equal_nan=True)
    return None if same else "has differences that are not mean minus published"


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
    "differences": Table(
        "differences",
        DIFFERENCES_COLUMNS,
        difference_rows,
        "Differences: what MAI, AFA and pre-training on FI change, and other systems",
        differences_page,
        lambda tables, title: plots.draw_differences(tables["differences"], title),
    ),
}
