"""The pages of tables in Markdown: their cells, their columns and the texts that they share."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import pandas as pd

from ..spec.sets import SETS, SMALL
from .rows import untrained
from .table import run_ids

Column = tuple[str, Callable[[Any], str]]  # a heading, and a row's cell under it
NOISE = " ≈"  # behind a number that cannot be told from the default's
MISSING = "Without runs that are not complete:"  # how a page's line of them begins
_NAMED = 8  # of the runs missing for one reason
HOW = (
    "Percent: the mean over the runs, in brackets its 95% interval over test pictures (Bayle et "
    "al. 2020; of one run Wilson's). It says how these trained networks would do on other pictures "
    "of the kind; several seeds add their own variance. `nb_low` and `nb_high` in the CSV are the "
    "cautious interval, over folds (Nadeau & Bengio 2003): how the method would do, trained again "
    "on other pictures. Where there is an `audit.csv` (notebook 01), near-twins count as one "
    "picture in the intervals of several runs. "
    "Not trained: all answers of a run are one class."
)
TESTS = (
    "In brackets the interval over test pictures; “over folds” is the cautious one. p (Holm): of "
    "the first, corrected for the number of comparisons in its table, set and metric. p (McNemar): "
    "exact, on the test pictures of the lowest common seed, uncorrected. Margin: how far apart the "
    "two can be at most, in points (two one-sided tests at 5%). **Verdict**: better or worse where "
    "p (Holm) is below 0.05 and, with one seed or where two systems differ on a third of the "
    "pictures, the interval over folds excludes 0 too: the first alone would find too much there "
    "(`results/levels.csv`). A part or a reading of the network needs three seeds for any verdict. "
    "“It takes 3 seeds”: these networks differ, which one seed cannot say of the methods. “About N "
    "pictures”: the test set is too small, at the level that Holm's correction applies, with 80% "
    "power, if the difference and its spread stay."
)
COMMON = (
    "folds and seeds that both have, so that it need not be the difference of the two accuracies."
)
COSTS_SAID = (
    "Parameters and multiply-adds a picture (torch's count) in millions; pictures a second from "
    "file to probability, decoding and boxes included, on a GPU or on one core of a CPU. Each "
    "system's model card is the docstring of its file in `emolib/network/rivals/`."
)


def marked(text: str, demo: bool) -> str:
    """A title that says where the data are drawn ones."""
    return text + " — DEMO DATA: drawn pictures stand in for the real sets" * demo


def grid(heads: Sequence[str], rows: Iterable[Iterable]) -> list[str]:
    """The lines of a Markdown table: the headings, then a line a row of cells."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def markdown_table(columns: Sequence[Column], rows: Iterable) -> list[str]:
    """`grid` of what the columns' functions make of each row."""
    heads = [heading for heading, _ in columns]
    return grid(heads, ([cell(row) for _, cell in columns] for row in rows))


def number(column: str, how: str, before: str = "", after: str = "", unit: float = 1):
    """A cell with the number in a column, as `how` formats it; "" if there is none."""

    def cell(row) -> str:
        value = row[column]
        return "" if pd.isna(value) else f"{before}{value / unit:{how}}{after}"

    return cell


def score(row) -> str:
    """A mean with its interval, as the pages write it; "" without runs."""
    if pd.isna(row["mean"]):
        return ""
    return f"{row['mean']:.2f} ({row['ci_low']:.1f}–{row['ci_high']:.1f})"


def difference(row) -> str:
    """A difference with its interval, as the pages write it; "" where there is none."""
    if pd.isna(row["difference"]):
        return ""
    bounds = "" if pd.isna(row["low"]) else f" ({row['low']:+.1f} to {row['high']:+.1f})"
    return f"{row['difference']:+.2f}{bounds}"


def p_value(column: str):
    """A cell with the p value in a column; "" if there is none."""
    known = number(column, ".3f")
    return lambda row: "< 0.001" if row[column] < 0.001 else known(row)


def _over_folds(row) -> str:
    low, high = row["t_low"], row["t_high"]
    return "" if pd.isna(low) else f"{low:+.1f} to {high:+.1f}"


SET: Column = ("data set", itemgetter("dataset"))
METHOD: Column = ("method", itemgetter("method"))
ACCURACY: Column = ("accuracy (95% interval)", score)
RECALL: Column = ("recall", number("recall", ".2f"))
MARGIN: Column = ("margin", number("margin", ".1f"))
VERDICT: Column = ("verdict", itemgetter("verdict"))
COSTS: list[Column] = [
    ("parameters (M)", number("parameters", ",.1f", unit=1e6)),
    ("MACs (M)", number("macs", ",.1f", unit=1e6)),
    ("pictures a second", number("pictures_per_second", ".0f")),
]


def minus(default: str) -> list[Column]:
    """The columns of a difference to the row `default`, with its intervals and tests."""
    return [
        (f"minus {default} (95% interval)", difference),
        ("over folds", _over_folds),
        ("p (Holm)", p_value("p_holm")),
        ("p (McNemar)", p_value("p_mcnemar")),
    ]


def runs_column(runs: pd.DataFrame) -> Column:
    """How many runs (of a row of differences: pairs) a row has, and how many have not trained."""
    flat = set(runs["id"][untrained(runs)])

    def cell(row) -> str:
        if pd.isna(row.get("runs")):
            count, gone = row["pairs"], row["untrained"]
        else:
            count, gone = row["runs"], len(flat & set(run_ids(row["run_ids"])))
        return f"{count:.0f}" + f", {gone:.0f} of them not trained" * bool(gone)

    return "runs", cell


def line_a_method(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of accuracy, with the mean of the recall as one more column."""
    keys = [key for key in ("dataset", "method", "share") if key in table]
    recall = table[table["metric"] == "recall"].set_index(keys)["mean"].rename("recall")
    return table[table["metric"] == "accuracy"].join(recall, on=keys)


def missing_line(missing: dict[str, str]) -> str:
    """The runs by the reason why they are missing; of many, the first and how many more."""
    parts = []
    for why in dict.fromkeys(missing.values()):
        runs = [f"`{run}`" for run, reason in missing.items() if reason == why]
        more = f" and {len(runs) - _NAMED} more" * (len(runs) > _NAMED)
        parts.append(f"{', '.join(runs[:_NAMED])}{more} ({why})")
    return f"{MISSING} {'; '.join(parts)}"


def so_many(number: int, what: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{number} {what}{'s' * (number != 1)}"


def fewer_folds(table: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """A line that names the rows over fewer folds than their set has (the small sets), and over the
    split that others use in place of folds."""
    spec = {run.id: run.spec for run in runs.itertuples()}
    few: dict[str, dict[str, None]] = {}
    for row in table[(table["runs"] > 0) & table["dataset"].isin(SMALL)].itertuples():
        mine = [spec[run] for run in run_ids(row.run_ids)]
        count, folds = len({one.fold for one in mine}), SETS[row.dataset].folds
        usual = any(one.split == "usual" for one in mine)
        if count < folds:
            what = "the usual split alone" if usual else f"{count} of {folds}"
            few.setdefault(f"{row.dataset}, {what}", {})[f"`{row.method}`"] = None
    parts = [f"{what}: {', '.join(rows)}" for what, rows in few.items()]
    return ["", f"Fewer folds than the set has: {'; '.join(parts)}."] if parts else []
