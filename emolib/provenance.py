"""Whether what lies in a results folder follows from what it says it comes from.

Metrics are computed again from predictions, tables and pages from runs; specs, folds, fingerprints
and checksums are held against each other.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from . import pages, tables
from .datasets import open_dataset
from .files import read_csv, read_json, sha256
from .run_checks import CHECKS, absolute
from .run_folder import SEALED, is_complete, read_spec

RUN_FILES = {*SEALED, "environment.json", "metrics.json"}
NOT_KEPT = {"model.safetensors"}  # what a repository may leave out of a run
ELSEWHERE = {"runs", "data", "manifests", "slurm"}  # looked at on its own, or not ours to judge
UNFINISHED = {"checkpoint.pt", "failed.txt", "lock"}


@dataclass(frozen=True)
class Finding:
    """What was found of one file (relative to the results root). status: "ok", "wrong", or
    "unchecked" where what it comes from is not there."""

    file: str
    status: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.why or self.status}"


def verify(results_root, data_root="") -> list[Finding]:
    """What is wrong in `results_root`: each file that does not follow from the others, and why;
    empty where nothing is. `findings` says of every file what was found.

    data_root: also holds the fingerprints of the sets there against the runs'. Raises
    FileNotFoundError where there is no such folder.
    """
    return [f for f in findings(results_root, data_root) if f.status == "wrong"]


def findings(results_root, data_root="") -> list[Finding]:
    """One `Finding` or more for each file of runs and tables below `results_root`."""
    root, found = Path(results_root), []
    if not root.is_dir():
        raise FileNotFoundError(f"{results_root!r}: there is no such folder")

    def say(file: Path, status: str, why: str = "") -> None:
        found.append(Finding(file.relative_to(root).as_posix(), status, why))

    for file in sorted((root / "published").glob("table*.csv")):
        _check(say, file, partial(_published, file))
    folders = {f.parent for f in root.rglob("runs") if f.is_dir()}
    folders |= {f.parent for f in root.rglob("table7.csv") if f.parent != root / "published"}
    for folder in sorted(folders):
        runs = {}
        for run in sorted(p for p in (folder / "runs").glob("*") if p.is_dir()):
            if is_complete(run):
                runs |= _run(say, run)
            elif any(run.iterdir()):
                say(run, "unchecked", "not complete")
        _against_each_other(say, runs, data_root)
        _tables(say, folder)
    known = {f.file for f in found}
    for file in sorted(root.rglob("*")):
        inside = set(file.relative_to(root).parts[:-1]) & ELSEWHERE
        if file.is_file() and not inside and file.relative_to(root).as_posix() not in known:
            _other(say, file)
    return found


def _other(say, file: Path) -> None:
    """A file that no run and no table makes."""
    if file.suffix == ".ipynb":
        try:
            cells = read_json(file)["cells"]
            states = [
                c["metadata"]["papermill"]["status"] for c in cells if c["cell_type"] == "code"
            ]
        except (ValueError, KeyError, TypeError) as error:
            return say(file, "wrong", f"is no executed notebook ({error})")
        if set(states) != {"completed"}:
            return say(file, "wrong", "was not executed to its end")
    if file.name.startswith("."):
        return say(file, "wrong", "was left by a process that was killed while writing; remove it")
    say(file, "unchecked", "a measurement or a text, which no file here gives")


def _check(say, file: Path, check) -> None:
    """Says "ok", or what `check()` returns or raises as wrong."""
    try:
        why = check()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        why = f"not readable as what it should be ({type(error).__name__}: {error})"
    say(file, "wrong" if why else "ok", " ".join(str(why or "").split())[:500])


def _run(say, folder: Path) -> dict:
    """Checks a complete run by itself; {folder: (spec, environment, predictions)} where it can be
    read."""
    there = {p.name for p in folder.iterdir()}
    for name in sorted(RUN_FILES - NOT_KEPT - there):
        say(folder / name, "wrong", "is missing")
    for name in sorted(there - RUN_FILES - UNFINISHED):
        say(folder / name, "wrong", "is no file of a run")
    if RUN_FILES - NOT_KEPT - there:
        return {}
    try:
        sealed = read_json(folder / "environment.json").get("files", {})
    except (ValueError, AttributeError):
        sealed = {}

    def wrong(name):
        if name in sealed and sha256(folder / name) != sealed[name]:
            return "is not the file that the run wrote (its SHA-256 in environment.json is another)"
        if name not in CHECKS:
            return None
        return absolute((folder / name).read_text("utf-8", "replace")) or CHECKS[name](folder)

    for name in sorted(RUN_FILES & there):
        _check(say, folder / name, partial(wrong, name))
    try:
        environment = read_json(folder / "environment.json")
        return {
            folder: (
                read_spec(folder / "spec.json"),
                environment,
                read_csv(folder / "predictions.csv"),
            )
        }
    except (OSError, ValueError):
        return {}


def _published(file: Path):
    number = int(re.sub(r"\D", "", file.stem))
    if not _same(pd.read_csv(file), tables.published(number)):
        return f"is not the paper's Table {number} as emolib has it"


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


def _against_each_other(say, runs: dict, data_root) -> None:
    """The runs of one study: the same data; the same test pictures of a fold, other folds' apart;
    the start of one the end of another."""
    data, folds = {}, defaultdict(dict)
    for folder, (spec, environment, frame) in runs.items():
        wrong = partial(say, folder / "environment.json", "wrong")
        first, known = data.setdefault(spec.dataset, (folder, environment.get("data")))
        if known != environment.get("data"):
            wrong(f"is on {environment.get('data')}, {first.name} on {known}")
        start, before = environment.get("started_from"), spec.predecessor()
        if start and start["run"] != (before and before.id):
            wrong(f"started from {start['run']}, spec.json says {before and before.id}")
        elif start:
            weights = folder.parent / start["run"] / "model.safetensors"
            if weights.exists() and sha256(weights) != start["weights"]:
                wrong(f"started from other weights than {start['run']} has now")
        pictures = dict(zip(frame["path"].astype(str), frame["label"], strict=True))
        of = folds[spec.dataset, spec.split_seed, spec.grouped]
        other, there = of.setdefault(spec.fold, (folder, pictures))
        if there != pictures:
            why = f"has other test pictures or labels than {other.name}, which is of the same fold"
            say(folder / "predictions.csv", "wrong", why)
    for of in folds.values():
        seen = {}
        for folder, pictures in of.values():
            both = next((p for p in pictures if p in seen), None)
            if both:
                why = f"tests {both!r}, as {seen[both].name} does, which is of another fold"
                say(folder / "predictions.csv", "wrong", why)
            seen |= dict.fromkeys(pictures, folder)
    for dataset, (folder, known) in data.items() if data_root else ():
        if (Path(data_root) / dataset).is_dir():
            there = open_dataset(dataset, data_root, **runs[folder][0].data_options)
            found = there.fingerprint()
            if there.demo == known["demo"] and found != known["fingerprint"]:
                why = f"is on {known}; {dataset} in data_root has the fingerprint {found}"
                say(folder / "environment.json", "wrong", why)


def _tables(say, folder: Path) -> None:
    """A study's tables against its runs, and the pages and figures against the tables."""
    there = {n: folder / f"{pages.stem(n)}.csv" for n in (7, 8, 9, "costs", "matched")}
    there = {n: file for n, file in there.items() if file.exists()}
    frames = {}
    for number, file in there.items():
        try:
            frames[number] = pd.read_csv(file, keep_default_na=True)
            ids = frames[number]["run_ids"].dropna().astype(str)
        except (ValueError, KeyError) as error:
            say(file, "wrong", f"not readable as a table ({error})")
            return
        frames[number].attrs["ids"] = {i for cell in ids for i in cell.split(";")}
    ids = set().union(*(frame.attrs["ids"] for frame in frames.values()))
    absent = sorted(i for i in ids if not is_complete(folder / "runs" / i))
    made, runs, demo = {}, None, None
    if ids and not absent:
        try:
            made, runs, demo = tables.of_study(folder, ids)
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(folder / "runs", "wrong", f"its tables cannot be built again: {error}")
    for number, file in there.items():
        if number in made:
            again = made[number].replace({"run_ids": {"": None}})
            same = _same(frames[number], again)
            say(file, "ok" if same else "wrong", "" if same else "does not follow from its runs")
        else:
            gone = f"{len(absent)} of its runs are not here" if absent else "its runs do not build"
            why = gone if len(absent) < len(ids) else _by_itself(number, frames[number])
            say(file, "wrong" if why else "unchecked", why or gone)
        if number != "costs":
            _check(say, file.with_suffix(".png"), partial(_figure, file))
            text = made and partial(pages.to_markdown, number, made[number], demo, runs,
                                    made["costs"])  # fmt: skip
            _page(say, file.with_suffix(".md"), text, folder)


def _by_itself(number, frame: pd.DataFrame) -> str | None:
    """What contradicts itself in a table whose runs are not there."""
    if number == "costs":
        return None
    ids = frame["run_ids"].fillna("").astype(str)
    if (frame["runs"] != ids.map(lambda cell: len(cell.split(";")) if cell else 0)).any():
        return "has another number of runs than of run ids"
    rows = frame[frame["runs"] > 0]
    between = rows["mean"].between(rows["ci_low"] - 1e-3, rows["ci_high"] + 1e-3)
    if not (between | rows["ci_low"].isna()).all():
        return "has a mean outside its own interval"
    if number == "matched":
        return None
    paper = tables.published(number).set_index(["dataset", "method", "metric"])["published"]
    rows = frame.set_index(["dataset", "method", "metric"])["published"]
    if not np.allclose(rows, paper.reindex(rows.index), equal_nan=True):
        return "has other published numbers than the paper"
    if not np.allclose(
        frame["difference"], frame["mean"] - frame["published"], atol=2e-3, equal_nan=True
    ):
        return "has differences that are not mean minus published"
    return None


def _figure(file: Path):
    with Image.open(file.with_suffix(".png")) as image:
        source = image.text.get("Source", "")
    if source != f"{file.name} sha256:{sha256(file)}":
        return f"was drawn from another {file.name} ({source or 'it does not say from which'})"


def _page(say, file: Path, text, folder: Path) -> None:
    """A Markdown page: the text that its table gives, but for the runs it says are missing."""
    if not file.exists():
        return say(file, "wrong", "is missing")
    lines = file.read_text("utf-8").splitlines()
    named = [line for line in lines if line.startswith(pages.MISSING)]
    for run in re.findall("`([^`]+)`", " ".join(named)):
        if is_complete(folder / "runs" / run):
            return say(file, "wrong", f"says that {run} is not complete; it is now")
    if not text:
        return say(file, "unchecked", "its table's runs are not here")
    there = "\n".join(line for line in lines if line not in named).rstrip()
    same = there == text().rstrip()
    say(file, "ok" if same else "wrong", "" if same else "is not its table's text")
