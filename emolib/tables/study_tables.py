"""All tables of a study, from run folders alone: built, and written with their pages and figures.

A table is one tidy row a data set, method and metric, in percent. `mean` is empty without a run.
"""

import warnings
from pathlib import Path

import pandas as pd

from ..base.files import write_csv, write_text
from ..spec.published import published
from . import matched, pages, paper, plots, readings, tasks, transfer
from .frame import complete_runs, drawn_data, missing, read_study, studies_in
from .table import Table

# Each is built from the study's runs and the tables before it.
TABLES: dict[int | str, Table] = {
    **paper.TABLES,
    "matched": matched.MATCHED,
    "readings": readings.READINGS,
    "transfer": transfer.TRANSFER,
}


def build(
    results_root, study: str | None = None, specs=None, reasons=None
) -> dict[str, dict[int | str, pd.DataFrame]]:
    """Writes the tables of each study in `results_root`, and the paper's to published/ there.

    A table of `TABLES` is a .csv, a .md and a .png; "costs" and "scores" are a .csv alone. The
    tables after Table 9 are there if the study has runs for them. So is `tasks.write_tasks`'s of
    runs beyond polarity; a study that has these alone gets no other.

    study: only this one. specs: only these runs of it; without, all that are complete. reasons:
    {run id: why it is missing}, where that is known better than from its folder.

    Returns {study: {7: table, 8: table, 9: table, "costs": …, "matched": …}}. Each page names the
    runs that were asked for, or begun, and are not complete, with the reason; a warning names those
    of them that are not in `reasons`.

    Raises ValueError if a study holds runs on different data under one set's name, drawn and real
    data together, or one method with different settings; FileNotFoundError without a complete run.
    """
    wanted = None if specs is None else {spec.id for spec in specs}
    root, built = Path(results_root), dict[str, dict[int | str, pd.DataFrame]]()
    for folder in [root / study] if study else studies_in(root):
        if tasks.has_tasks(folder):
            tasks.write_tasks(folder)
            if not complete_runs(folder, ("polarity",)):
                built[folder.relative_to(root).as_posix()] = {}
                continue
        tables, runs = tables_of_study(folder, wanted)
        absent = missing(folder, wanted)
        known = {run: why for run, why in (reasons or {}).items() if run in absent}
        if unknown := {run: why for run, why in absent.items() if run not in known}:
            warnings.warn(f"{folder.name}: {pages.missing_line(unknown)}", stacklevel=2)
        absent |= known
        for name, table in tables.items():
            write_csv(folder / f"{TABLES[name].stem}.csv", table)
            if TABLES[name].title:
                write_page(folder, name, tables, runs, absent)
        built[folder.relative_to(root).as_posix()] = tables
    for number in (1, 5, 6, 7, 8, 9):
        write_csv(root / "published" / f"table{number}.csv", published(number))
    return built


def tables_of_study(folder: Path, ids=None) -> tuple[dict[int | str, pd.DataFrame], pd.DataFrame]:
    """({name: table} of those in `TABLES` that the study has; the runs that they come from). ids:
    of these runs only. Raises what `build` does."""
    study = read_study(folder, ids)
    tables: dict[int | str, pd.DataFrame] = {}
    for name, table in TABLES.items():
        found = table.rows(study, tables)
        if len(found) or not table.title or name in (7, 8, 9):
            tables[name] = found
    return tables, study.together()


def title(name: int | str, demo: bool) -> str:
    """A table's title. demo: whether it is of drawn data."""
    return pages.marked(TABLES[name].title, demo)


def page_text(name: int | str, tables: dict, runs: pd.DataFrame) -> str:
    """The page of one of a study's tables. tables, runs: as `tables_of_study` gives them."""
    lines = [f"# {title(name, drawn_data(runs))}", "", *TABLES[name].page(tables, runs), ""]
    return "\n".join(lines)


def write_page(
    folder: Path, name: int | str, tables: dict, runs: pd.DataFrame, absent: dict[str, str]
) -> None:
    """Writes a table's page and figure beside its CSV."""
    text = page_text(name, tables, runs)
    if absent:
        text += f"\n{pages.missing_line(absent)}\n"
    file = folder / f"{TABLES[name].stem}.csv"
    write_text(file.with_suffix(".md"), text)
    figure = TABLES[name].draw(tables, title(name, drawn_data(runs)))
    plots.save_beside(file, figure)
