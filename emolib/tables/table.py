"""The record of one table: all that building, writing and checking it needs to know."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from .frame import StudyRuns

TABLE_COLUMNS = (
    "table dataset method metric mean std ci_low ci_high runs published difference run_ids nb_low "
    "nb_high"
).split()


@dataclass(frozen=True)
class Table:
    """A new table is one file with one of these, and its line in `study_tables.TABLES`."""

    stem: str  # its files' name without suffix
    columns: list[str]
    # its rows, from the study's runs and the tables before it; empty: the study does not have it
    rows: Callable[[StudyRuns, dict], pd.DataFrame]
    title: str = ""  # "": a table without a page and a figure
    # its page under the title: the study's tables, their runs → lines of Markdown
    page: Callable[[dict, pd.DataFrame], list[str]] = lambda tables, runs: []
    # its figure: the study's tables, the title
    draw: Callable[[dict, str], Figure] = lambda tables, title: Figure()
    # what is wrong with it, seen without its runs
    check: Callable[[pd.DataFrame], str | None] = lambda frame: None
    recall_interval: bool = True  # its page has recall's interval too


def contradicts_itself(frame: pd.DataFrame) -> str | None:
    """What contradicts itself in a table of means, seen without its runs."""
    if (frame["runs"] != frame["run_ids"].map(lambda cell: len(run_ids(cell)))).any():
        return "has another number of runs than of run ids"
    rows = frame[frame["runs"] > 0]
    between = rows["mean"].between(rows["ci_low"] - 1e-3, rows["ci_high"] + 1e-3)
    if not (between | rows["ci_low"].isna()).all():
        return "has a mean outside its own interval"
    return None


def run_ids(cell: str) -> list[str]:
    """The runs that a cell of `run_ids` names."""
    return cell.split(";") if cell else []
