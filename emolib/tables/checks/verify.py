"""Whether what lies in a results folder follows from what it says it comes from: metrics from
predictions, tables and pages from runs; specs, folds, fingerprints and checksums from each other.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ...base.files import content, read_csv, read_json
from ...base.run_folder import SEALED, differ, is_complete, read_spec, weights_of
from ...data import audit, predictions
from ...data.datasets import Dataset, open_dataset
from ...data.manifest import manifest
from .. import leaderboard, report
from ..frame import APART, twin_pairs
from . import table_checks, task_checks
from .run_checks import RUN_CHECKS, judged, unsaid

RUN_FILES = {*SEALED, "environment.json", "metrics.json"}
NOT_KEPT = {"model.safetensors"}  # what a repository may leave out of a run
UNFINISHED = {"checkpoint.pt", "failed.txt", "lock"}
ELSEWHERE = ("runs", "data", "manifests", "slurm")  # of a study: looked at on its own, or not ours
HALF_WRITTEN = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # as `files.whole_file` names what it writes to
Said = tuple[Path, str, str]  # a file, its status, and why


@dataclass(frozen=True)
class Finding:
    """What was found of one file."""

    file: str  # relative to the results root
    status: str  # "ok", "wrong", or "unchecked" where what it comes from is not there
    why: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.why or self.status}"


def verify(results_root, data_root="") -> list[Finding]:
    """Each file in `results_root` that does not follow from the others, and why.

    data_root: also holds the sets there against the runs' fingerprints, test pictures and labels.
    Raises FileNotFoundError where there is no such folder, and what `open_dataset` raises.
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
        say(file, *judged(partial(table_checks.check_published, file)))
    folders = {f.parent for f in root.rglob("runs") if f.is_dir()}
    folders |= {f.parent for f in root.rglob("table[789].*")} - {root / "published"}
    of_study: dict[Path, dict] = {}
    for folder in sorted(folders):
        runs: dict = {}
        of_study[folder] = runs
        for run in sorted(p for p in (folder / "runs").glob("*") if p.is_dir()):
            if is_complete(run):
                runs |= _run(say, run)
            elif any(run.iterdir()):
                say(run, "unchecked", "not complete")
        # a study's folders of other questions come after it
        main = of_study.get(folder.parent, {}) if folder.name in APART else {}
        checks = [_against_each_other(runs), _starts(runs, main)]
        if data_root:
            checks.append(_against_data(runs, data_root))
        checks += [table_checks.check_tables(folder), task_checks.check_tasks(folder)]
        for file, status, why in chain(*checks):
            say(file, status, why)
        if data_root and (file := folder / audit.FILE).exists():
            say(file, *judged(partial(_audited, file, runs, data_root)))
    bad = {f.file for f in found if f.status != "ok"}  # by itself a file may have been ok
    found = [f for f in found if f.status != "ok" or f.file not in bad]
    page = root / "REPORT.md"
    if page.exists():
        quoted = {f.relative_to(root).as_posix() for f in report.quoted(root)}
        unknown = sorted(f.file for f in found if f.status == "unchecked" and f.file in quoted)
        status, why = judged(partial(report.outdated, root))
        if status == "ok" and unknown:
            status = "unchecked"
            why = f"rests on {len(unknown)} files that cannot be checked, as {unknown[0]}"
        say(page, status, why)
    if (root / leaderboard.FOLDER / leaderboard.CSV).exists():
        for file, why in _leaderboard(root):
            say(file, "wrong" if why else "ok", why)
    known = {f.file for f in found}
    skipped = {folder / name for folder in folders for name in ELSEWHERE}
    for file in sorted(root.rglob("*")):
        seen = file.relative_to(root).as_posix() in known or skipped & {*file.parents}
        if file.is_file() and not seen:
            say(file, *_other(file))
    return found


def _leaderboard(root: Path) -> list[tuple[Path, str]]:
    """What `leaderboard.board_findings` says, or why it cannot be made."""
    try:
        return list(leaderboard.board_findings(root))
    except (ValueError, OSError) as error:
        return [(root / leaderboard.FOLDER / leaderboard.CSV, str(error))]


def _other(file: Path) -> tuple[str, str]:
    """Of a file that no run and no table makes."""
    if file.suffix == ".ipynb":
        notebook = read_json(file)
        if "papermill" in notebook.get("metadata", {}):
            cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
            if any(c["metadata"]["papermill"]["status"] != "completed" for c in cells):
                return "wrong", "was not executed to its end"
    if HALF_WRITTEN.fullmatch(file.name):
        return "wrong", "was left by a process that was killed while writing; remove it"
    return "unchecked", "a measurement or a text, which no file here gives"


def _run(say, folder: Path) -> dict:
    """Checks a complete run by itself; {folder: (spec, environment, predictions)} where nothing is
    wrong with these."""
    there = {p.name for p in folder.iterdir()}
    for name in sorted(RUN_FILES - NOT_KEPT - there):
        say(folder / name, "wrong", "is missing")
    for name in sorted(there - RUN_FILES - UNFINISHED):
        if not name.startswith(".") or HALF_WRITTEN.fullmatch(name):
            say(folder / name, "wrong", "is no file of a run")
    if RUN_FILES - NOT_KEPT - there:
        return {}

    def wrong(name):
        sealed = read_json(folder / "environment.json").get("files", {})
        if name in sealed and content(folder / name) != sealed[name]:
            return "is not the file that the run wrote (its SHA-256 in environment.json is another)"
        return RUN_CHECKS[name](folder) if name in RUN_CHECKS else None

    readers = {"spec.json": read_spec, "environment.json": read_json, "predictions.csv": read_csv}
    said = {name: judged(partial(wrong, name)) for name in RUN_FILES & there}
    for name, status in said.items():
        say(folder / name, *status)
    if any(said[name][0] == "wrong" for name in readers):
        return {}
    return {folder: tuple(read(folder / name) for name, read in readers.items())}


def _against_each_other(runs: dict) -> Iterator[Said]:
    """What is wrong among the runs of one study: they have the same data, emotions and downloaded
    weights, and the same test pictures of a fold, which no other fold has."""
    seen: dict[tuple, tuple[Path, Any]] = {}

    def other(folder: Path, value, *key) -> tuple[Path, Any] | None:
        """The first run that says something of `key`, and what, if that is not `value`."""
        first, known = seen.setdefault(key, (folder, value)) if value else (folder, value)
        return (first, known) if known != value else None

    for folder, (spec, environment, frame) in runs.items():
        file, data = folder / "environment.json", environment["data"]
        if found := other(folder, data, "data", spec.dataset):
            yield file, "wrong", f"is on {data}, {found[0].name} on {found[1]}"
        targets = environment.get("targets")
        if found := other(folder, targets, "targets", spec.dataset, *spec.data_options.values()):
            yield file, "wrong", f"learnt other targets of {spec.dataset} than {found[0].name}"
        if found := other(folder, environment.get("emotions"), "emotions", spec.dataset):
            yield file, "wrong", f"learnt other emotions of {spec.dataset} than {found[0].name}"
        network = (spec.model, spec.backbone, spec.readings.levels)
        if found := other(folder, environment.get("weights_sha256"), "download", network):
            why = f"started from another download of timm's weights than {found[0].name}"
            yield file, "wrong", why
        pictures = predictions.known_of(frame)
        split = (*spec.data_options.values(), spec.dataset, spec.split_seed)
        split += (spec.grouped, spec.official)
        if found := other(folder, pictures, "fold", split, spec.fold):
            why = (
                f"has other test pictures or labels than {found[0].name}, which is of the same fold"
            )
            yield folder / "predictions.csv", "wrong", why
    tested: dict[tuple, dict[str, Path]] = defaultdict(dict)
    for (what, *key), (folder, pictures) in seen.items():
        if what == "fold":
            others = tested[key[0]]
            if both := next((p for p in pictures if p in others), None):
                why = f"tests {both!r}, as {others[both].name} does, which is of another fold"
                yield folder / "predictions.csv", "wrong", why
            others |= dict.fromkeys(pictures, folder)


def _starts(runs: dict, main: dict) -> Iterator[Said]:
    """Of each run whether it says what it rests on, whether its predecessor is known and the same,
    and so with the run of its name in the study `main`, whose folder this is in."""
    # of two of one name the study's own
    places = {folder.name: folder for folder in [*runs, *main]}
    for folder, (spec, environment, _) in runs.items():
        file, start = folder / "environment.json", environment.get("started_from")
        there = places[folder.name]
        if there != folder and (what := differ(folder, there)):
            yield file, "wrong", f"has other {what} than the run of that name in the study"
        if what := unsaid(spec, environment):
            yield file, "unchecked", f"does not say {what.format('it')}"
        if not spec.stages or not start:
            continue
        now = weights_of(places[start["run"]]) if start["run"] in places else None
        if now and now != start["weights"]:
            yield file, "wrong", f"started from other weights than {start['run']} has now"
        elif not now:
            yield file, "unchecked", f"{start['run']}, which it started from, is not known here"


def _audited(file: Path, runs: dict, data_root) -> tuple[str, str]:
    """A study's audit: its pairs of twins within a set, which the tables count as one picture,
    against those of the pictures in `data_root` that the runs were on."""
    found = twin_pairs(file)
    columns = [found[c].astype(str) for c in ("dataset", "finding", "path", "other_path")]
    there = {(name, kind, frozenset(pair)) for name, kind, *pair in zip(*columns, strict=True)}
    checked: list[str] = []
    for spec, environment, _ in runs.values():
        if spec.dataset in checked or not (Path(data_root) / spec.dataset).is_dir():
            continue
        data = open_dataset(spec.dataset, data_root, **spec.data_options)
        if data.fingerprint() != environment["data"]["fingerprint"]:
            continue  # said of the runs
        now = set()
        for pair in audit.twins(manifest(data)).itertuples():
            kind = "identical" if pair.identical else "near-twin"
            now.add((data.name, kind, frozenset([data.names[pair.a], data.names[pair.b]])))
        its = {pair for pair in there if pair[0] == data.name}
        if its != now:
            more, fewer = len(its - now), len(now - its)
            why = f"has {more} pairs of twins within {data.name} that its pictures are not, and "
            return "wrong", f"{why}lacks {fewer} that they are"
        checked.append(data.name)
    if not checked:
        return "unchecked", "the pictures that it is about are not here"
    sets = ", ".join(checked)
    return "unchecked", f"its twins within {sets} are the pictures'; nothing looks at the rest"


def _against_data(runs: dict, data_root) -> Iterator[Said]:
    """What is wrong where the sets in `data_root` are not what was run on."""
    opened: dict[tuple, Dataset] = {}

    def there(spec, known: dict):
        """The run's set; None where it is not there, or where real pictures are and the run was on
        drawn ones, or the other way round, which is another question."""
        if not (Path(data_root) / spec.dataset).is_dir():
            return None
        key = (spec.dataset, *spec.data_options.values())
        if key not in opened:
            opened[key] = open_dataset(spec.dataset, data_root, **spec.data_options)
        return opened[key] if opened[key].demo == known["demo"] else None

    for folder, (spec, environment, frame) in runs.items():
        file = folder / "environment.json"
        before, start = spec.predecessor(), environment.get("started_from") or {}
        while before and (kept := start.get("identity")):  # older runs do not say
            data, start = there(before, kept["data"]), kept.get("started_from", {})
            if data and data.fingerprint() != kept["data"]["fingerprint"]:
                why = f"started from {before.id}, which was on {kept['data']}; {before.dataset} in "
                why += f"data_root has the fingerprint {data.fingerprint()}"
                yield file, "wrong", why
            before = before.predecessor()
        known = environment["data"]
        try:
            data = there(spec, known)
        except ValueError as error:  # of a task: the set no longer has what it learnt
            if spec.task == "polarity":
                raise
            yield file, "wrong", str(error)
            continue
        if data is None:
            continue
        if environment.get("emotions", data.emotions_hash()) != data.emotions_hash():
            yield file, "wrong", f"learnt other emotions than {spec.dataset} has"
        if environment.get("targets") != data.targets_hash():
            yield file, "wrong", f"learnt other targets than {spec.dataset} has"
        if data.fingerprint() != known["fingerprint"]:
            why = f"is on {known}; {spec.dataset} in data_root has the fingerprint "
            yield file, "wrong", why + data.fingerprint()
        elif not spec.grouped:
            train, test = data.folds(spec.split_seed, official=spec.official)[spec.fold]
            if not predictions.same_known(data, test, frame):
                why = "has other test pictures or labels than the set"
                yield folder / "predictions.csv", "wrong", why
            learnt = data.part(train, spec.share, spec.split_seed)
            said = {} if spec.apart else environment.get("constant", {})
            if said and not predictions.same_answer(said, predictions.constant_of(data, learnt)):
                yield file, "wrong", "has a constant answer that its training pictures do not give"
