"""Whether tasks.csv, its page and its figure follow from the study's runs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from ...base.files import read_csv
from ...base.run_folder import is_complete
from .. import tasks
from ..table import run_ids
from .run_checks import judged
from .table_checks import figure_of


def check_tasks(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, status, why) for each of the study's files of tasks, as in `verify.Finding`."""
    file = folder / f"{tasks.STEM}.csv"
    if not file.exists():
        return
    try:
        named = {run for cell in read_csv(file)["run_ids"] for run in run_ids(cell)}
    except Exception as error:  # whatever a damaged file makes pandas raise
        yield file, "wrong", f"not readable as a table ({' '.join(str(error).split())})"
        return
    if absent := [run for run in named if not is_complete(folder / "runs" / run)]:
        yield file, "unchecked", f"{len(absent)} of its runs are not here"
        return
    yield file, *judged(partial(_table, folder, file, named))
    yield file.with_suffix(".md"), *judged(partial(_page, folder, file))
    yield file.with_suffix(".png"), *judged(partial(figure_of, file))


def _table(folder: Path, file: Path, named: set[str]) -> str | None:
    try:
        made = tasks.task_table(folder, named)
        pd.testing.assert_frame_equal(read_csv(file), made, check_dtype=False, rtol=1e-4, atol=1e-6)
    except AssertionError:
        return "does not follow from its runs"
    return None


def _page(folder: Path, file: Path) -> str | None:
    wanted = tasks.task_page(folder, read_csv(file))
    same = file.with_suffix(".md").read_text(encoding="utf-8") == wanted
    return None if same else "is not what its table gives"
