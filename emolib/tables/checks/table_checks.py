"""What may be wrong with a study's tables, pages and figures."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ...base.files import read_json, sha256
from ...base.run_folder import is_complete, read_spec, weights_of
from ...spec.published import published
from .. import pages
from ..frame import APART, place_of_run
from ..study_tables import TABLES, page_text, tables_of_study
from ..table import Table, run_ids
from . import source_checks
from .run_checks import judged, unsaid

WORDS = {"table", "dataset", "method", "metric", "run_ids", "verdict", "decides"}  # columns of text


def check_tables(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, status, why) for each file of the study's tables, as in `verify.Finding`."""
    frames = {}
    for name, table in TABLES.items():
        file = folder / f"{table.stem}.csv"
        if file.exists():
            try:
                frames[name] = _read(file, table)
            except Exception as error:  # whatever a damaged file makes pandas raise
                yield file, "wrong", f"not readable as a table ({' '.join(str(error).split())})"
        elif table.title:
            for left in filter(Path.exists, map(file.with_suffix, (".md", ".png"))):
                yield left, "wrong", f"there is no {file.name} that it could come from"
    ids = {run for frame in frames.values() for run in _runs_of(frame)}
    absent = sorted(i for i in ids if not is_complete(place_of_run(folder, i)))
    made: dict = {}
    runs = pd.DataFrame()
    if ids and not absent:
        try:
            made, runs = tables_of_study(folder, ids)
        except Exception as error:
            yield folder / "runs", "wrong", f"its tables cannot be built again: {error}"
    for name, frame in frames.items():
        table, text = TABLES[name], None
        file = folder / f"{table.stem}.csv"
        if name in made:
            wrong = None if _same(frame, made[name]) else "does not follow from its runs"
            unknown = _unknown(frame, runs, folder)
            text = page_text(name, made, runs) if table.title else None
        else:
            gone = f"{len(absent)} of its runs are not here" if absent else "its runs do not build"
            wrong = gone if len(absent) < len(ids) else table.check(frame)
            unknown = gone
        good = ("unchecked", unknown) if unknown else ("ok", "")
        yield file, *(("wrong", wrong) if wrong else good)
        checks: dict = {".png": partial(figure_of, file)}
        checks[".md"] = partial(_page, file, frame, text, table, folder)
        for suffix, check in checks.items() if table.title else ():
            there = file.with_suffix(suffix)
            said = judged(check) if there.exists() else ("wrong", "is missing")
            yield there, *(good if suffix == ".md" and said[0] == "ok" else said)
    yield from source_checks.check_sources(folder)


def _runs_of(frame: pd.DataFrame) -> set[str]:
    return {run for cell in frame["run_ids"] for run in run_ids(cell)}


def _unknown(frame: pd.DataFrame, runs: pd.DataFrame, study: Path) -> str:
    """Why a table that follows from its runs is still not known to be right, or ""."""
    folders = runs.loc[runs["id"].isin(_runs_of(frame)), "folder"]
    whys = Counter(_rests(run, study) for run in folders)
    del whys[""]
    return "; ".join(f"{count} of its runs {why}" for why, count in whys.items())


def _rests(run: Path, study: Path, verb: str = "do", who: str = "they") -> str:
    """What is not known of what a complete run rests on, to be said after "runs"; "" if nothing."""
    spec, environment = read_spec(run / "spec.json"), read_json(run / "environment.json")
    if what := unsaid(spec, environment):
        return f"{verb} not say {what.format(who)}"
    if not spec.stages:
        return ""
    name = environment["started_from"]["run"]
    before = place_of_run(study, name)
    if study.name in APART and not is_complete(before):
        before = place_of_run(study.parent, name)
    if weights_of(before) is None:
        return "started from one that is not known here"
    why = _rests(before, study, "does", "it")
    return why and f"started from one that {why}"


def _read(file: Path, table: Table) -> pd.DataFrame:
    """The table in a file. ValueError where it lacks a column or has text for a number."""
    frame = pd.read_csv(file)
    if lacks := set(table.columns) - set(frame.columns):
        raise ValueError(f"without {', '.join(sorted(lacks))}")
    for column in {"run_ids", "verdict", "decides"} & set(frame.columns):
        frame[column] = frame[column].astype(object).fillna("").astype(str)
    return frame.astype({c: float for c in frame.columns if c not in WORDS})


def check_published(file: Path) -> str | None:
    """What is wrong with a copy of the paper's table."""
    number = int(re.sub(r"\D", "", file.stem))
    same = _same(pd.read_csv(file), published(number))
    return None if same else f"is not the paper's Table {number} as emolib has it"


def _same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Equal as they would be written: text exactly, numbers to the six digits of a CSV file."""
    if list(a.columns) != list(b.columns) or len(a) != len(b):
        return False
    for column in a.columns:
        x, y = a[column], b[column]
        if pd.api.types.is_numeric_dtype(x) and pd.api.types.is_numeric_dtype(y):
            if not np.allclose(x.astype(float), y.astype(float), 1e-5, 1e-9, equal_nan=True):
                return False
        elif x.fillna("").astype(str).tolist() != y.fillna("").astype(str).tolist():
            return False
    return True


def figure_of(file: Path) -> str | None:
    """What is wrong with the .png beside a table: only the label that says which table was drawn;
    nobody looks at the picture."""
    with Image.open(file.with_suffix(".png")) as image:
        image.load()  # to its end
        source = image.info.get("Source", "")
    if source == f"{file.name} sha256:{sha256(file)}":
        return None
    return f"was drawn from another {file.name} ({source or 'it does not say from which'})"


def _page(
    file: Path, frame: pd.DataFrame, text: str | None, table: Table, folder: Path
) -> str | tuple[str, str] | None:
    """The page against `text`, but for the runs that it says are missing. Without a text, each
    line's numbers against the table's."""
    lines = file.with_suffix(".md").read_text("utf-8").splitlines()
    named = [line for line in lines if line.startswith(pages.MISSING)]
    for run in re.findall("`([^`]+)`", " ".join(named)):
        if is_complete(place_of_run(folder, run)):
            return f"says that {run} is not complete; it is now"
    if text is not None:
        same = "\n".join(line for line in lines if line not in named).rstrip() == text.rstrip()
        return None if same else "is not its table's text"
    if not table.recall_interval:
        frame = frame[frame["metric"] == "accuracy"]
    for _, row in frame.iterrows():
        start = f"| {row['dataset']} | {row['method']} |"
        if "share" in row:
            start += f" {row['share']:.0%} |"
        found = [c.strip() for x in lines if x.startswith(start) for c in x.split("|")]
        cells = {cell.removesuffix(pages.NOISE) for cell in found}
        said = pages.score(row) if "mean" in row else pages.difference(row)
        if said not in cells:
            return f"has other numbers for {row['method']} on {row['dataset']}"
    return "unchecked", "its table's runs are not here; its numbers are the table's"
