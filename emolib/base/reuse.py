"""Whether a complete run folder holds the run asked for, and how it serves other runs.

A run is used again only if its spec, pictures, split and weights are the present ones. Where only
the weights of a complete run are gone and it is trained again, that is done in AGAIN, a folder in
it: what was there stays until the new one is whole (`take_again`). `lend` links runs into another
study.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from ..spec.run_spec import RunSpec
from . import run_folder
from .files import read_json

INSTEAD = "take another study name, or remove that folder"
# What some runs do not say (older ones; systems that learn no emotions), and where an identity has
# it. Nothing is known then and nothing refused.
UNTOLD = {"split into training and test": "split", "set of emotions": "emotions"}
UNTOLD["set of targets"] = "targets"


def check_same(folder: Path, spec: RunSpec, identity: dict) -> None:
    """Raises ValueError naming the difference where a complete run is not the one asked for."""
    there = read_json(folder / "environment.json")
    refuse_another(folder, run_folder.read_spec(folder / "spec.json"), there, spec, identity)


def check_start(folder: Path, before: Path) -> None:
    """Raises ValueError where a complete run started from another training than that in the folder
    `before`, or from other weights than that one has now. Where a hash is missing, nothing is known
    and nothing raised."""
    start = run_folder.start_of(folder)
    if start and start["run"] != before.name:
        asked = f"what is asked for starts from {before.name}"
        raise ValueError(f"{folder} started from {start['run']}, and {asked}; {INSTEAD}")
    now = run_folder.weights_of(before) if start else None
    if now and now != start["weights"]:
        which = f"({start['weights'][:16]} there, {now[:16]} now)"
        other = f"other weights than {before.name} has now {which}"
        raise ValueError(f"{folder} started from {other}; {INSTEAD}")


def refuse_another(who, spec_there: RunSpec, there: dict, spec: RunSpec, here: dict) -> None:
    """Raises ValueError naming the first thing in which what `who` was made with differs from what
    would be used now. who: the folder, or words that end with a run's name. there, here: the
    identities of the two (`Task.identity`)."""
    old, new = _told(spec_there, there), _told(spec, here)
    for what, now in new.items():
        if what in UNTOLD and old[what] is None:
            continue
        if what not in old or old[what] != now:
            both = f"{old.get(what)!r} there, {now!r} now"
            raise ValueError(f"{who} was made with another {what}: {both}; {INSTEAD}")


def _told(spec: RunSpec, identity: dict) -> dict:
    """All that a run is made with, under the words that name it in an error."""
    start = identity.get("started_from", {})  # its own identity follows from these two
    return {
        **{f"setting {name}": value for name, value in spec.to_dict().items()},
        **{f"data {name}": value for name, value in identity["data"].items()},
        "ImageNet weights": identity["weights"],
        **{name: identity.get(key) for name, key in UNTOLD.items()},
        # a checkpoint's: its start may have been trained again since, and have other weights
        **{f"start: {name}": start[name] for name in ("run", "weights") if name in start},
    }


def take_again(folder: Path) -> None:
    """Takes over what a training again, in AGAIN, has left whole. Nothing happens without one.

    If the new weights are those that the old files were made with, they are put beside these, else
    all new files replace the old ones. After a kill the next call goes on from there. Raises
    ValueError where other runs of the study started from the old weights; the old files then stay.
    """
    new = folder / run_folder.AGAIN
    # a process was killed below, among the files that take their places
    begun = run_folder.is_complete(new) and not run_folder.is_complete(folder)
    replaced = begun
    if run_folder.has_weights(new) and not begun:
        old, now = run_folder.sealed(folder), run_folder.sealed(new)
        replaced = old != now
        if not replaced:
            os.replace(new / "model.safetensors", folder / "model.safetensors")
        elif others := _other_starts(folder, old, now):
            _discard(new)
            raise ValueError(
                f"{folder}: its weights were not kept, and trained again on this machine they "
                f"have other bits than before. The old result stays, because {len(others)} "
                f"runs of the study rest on it ({', '.join(others)}); take another study name"
            )
    if replaced:
        (folder / "metrics.json").unlink(missing_ok=True)
        for name in (*run_folder.SEALED, "environment.json", "metrics.json"):
            if (new / name).exists():
                os.replace(new / name, folder / name)
    if run_folder.has_weights(folder):
        _discard(new)
        (folder / "failed.txt").unlink(missing_ok=True)


def _discard(new: Path) -> None:
    (new / "metrics.json").unlink(missing_ok=True)  # half of it is not to be taken for all
    shutil.rmtree(new, ignore_errors=True)


def _other_starts(folder: Path, old: str | None, new: str | None) -> list[str]:
    """The runs that would not go with weights `new` (a SHA-256) of the run in `folder`: they
    started from others, or are that run with others. Looked at are the study, and the studies in it
    and around it. old: the weights that the run had, where they are known; a run that does not say
    what it started from had these."""
    study = folder.parent.parent
    studies = [study, *study.glob("*")]
    if (study.parent / "runs").is_dir():
        studies += [study.parent, *study.parent.glob("*")]
    found = set()
    runs = {run for one in studies for run in (one / "runs").glob("*")} - {folder}
    for run in filter(run_folder.is_complete, runs):
        start = run_folder.start_of(run)
        if run.name == folder.name:
            start = {"run": run.name, "weights": run_folder.sealed(run)}
        elif not start and (before := run_folder.read_spec(run / "spec.json").predecessor()):
            start = {"run": before.id, "weights": old}
        if start.get("run") == folder.name and start["weights"] not in (None, new):
            found.add(run.name)
    return sorted(found)


def lend(specs, study: Path, other: Path) -> None:
    """Links the runs that `specs` start from and that are complete in `study` into the study
    `other`, so that they are not trained there again. Raises ValueError where `other` has another
    run of that name, as one that was lent before `study` trained it anew."""
    for spec in {s.predecessor() for s in specs if s.stages}:
        there, here = (folder / "runs" / spec.id for folder in (study, other))
        if not run_folder.is_complete(there):
            continue
        if run_folder.is_complete(here) and (what := run_folder.differ(here, there)):
            raise ValueError(
                f"{here} has other {what} than {there} has now; remove it and the runs beside it "
                "that started from it, or take another study name"
            )
        if not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=other) as part:
                apart = shutil.ignore_patterns(run_folder.AGAIN)
                shutil.copytree(there, Path(part, spec.id), ignore=apart, copy_function=_link)
                with contextlib.suppress(OSError):  # another process was faster
                    (Path(part) / spec.id).rename(here)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
