"""Whether tasks.csv, its page and its figure follow from the study's runs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from ...base.files import read_csv
from .. import tasks
from .run_checks import judged
from .table_checks import figure_of


def check_tasks(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, status, why) for each of the study's files of tasks, as in `verify.Finding`."""
    file = folder / f"{tasks.STEM}.csv"
    if not file.exists():
        return
    if not tasks.has_tasks(folder):
        yield file, "unchecked", "its runs are not here"
        return
    yield file, *judged(partial(_table, folder, file))
    yield file.with_suffix(".md"), *judged(partial(_page, folder, file))
    yield file.with_suffix(".png"), *judged(partial(figure_of, file))


def _table(folder: Path, file: Path) -> str | None:
    try:
        made = tasks.task_table(folder)
        pd.testing.assert_frame_equal(read_csv(file), made, check_dtype=False, rtol=1e-4, atol=1e-6)
    except AssertionError:
        return "does not follow from its runs"
    return None


def _page(folder: Path, file: Path) -> str | None:
    wanted = tasks.task_page(folder, read_csv(file))
    same = file.with_suffix(".md").read_text(encoding="utf-8") == wanted
    return None if same else "is not what its table gives"
