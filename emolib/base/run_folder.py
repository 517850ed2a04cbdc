"""The run folder: what a run leaves behind, and whether it is the run asked for.

A folder is complete exactly when metrics.json is there, which is written last. Every file is
whole or absent. checkpoint.pt holds the last epoch that was kept of an unfinished run, failed.txt
why it was left. Where only the weights of a complete run are gone and it is trained again, that is
done in AGAIN, a folder in it: what was there stays until the new one is whole.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from ..spec.run_spec import RunSpec
from . import devices
from .files import (
    content,
    read_csv,
    read_json,
    sha256,
    whole_file,
    write_csv,
    write_json,
    write_text,
)
from .metrics import scores
from .parallel import Ranks

SEALED = ("spec.json", "history.csv", "predictions.csv", "model.safetensors")
AGAIN = ".again"
DEPENDS_ON = ("data", "split", "weights", "emotions", "weights_sha256", "started_from")
INSTEAD = "take another study name, or remove that folder"


class Busy(RuntimeError):
    """Another process is training this run."""


@dataclass(frozen=True)
class RunResult:
    """A complete run, read from its folder."""

    spec: RunSpec
    folder: Path
    metrics: dict  # accuracy, recall in percent; n
    reused: bool = False

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        return read_csv(self.folder / "predictions.csv")


def read_run(folder: Path, reused: bool = False) -> RunResult:
    """A complete run from its folder."""
    return RunResult(
        read_spec(folder / "spec.json"), folder, read_json(folder / "metrics.json"), reused
    )


def read_spec(file: Path) -> RunSpec:
    """The RunSpec in a spec.json, whoever wrote it. ValueError that names the file where it holds
    none."""
    values = read_json(file)
    try:
        return RunSpec.from_dict(values)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{file}: not a RunSpec ({str(error)[:300]})") from error


def is_complete(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def write_run(folder, data, test, p_positive, history, model, facts: dict, device) -> None:
    """The run folder's files, metrics.json last. facts: what else environment.json is to say; it
    also gets each other file's SHA-256, which `verify` holds against them."""
    tensors = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    with whole_file(folder / "model.safetensors") as part:
        save_file(tensors, part, metadata={"format": "pt"})
    write_csv(folder / "history.csv", pd.DataFrame(history))
    predictions = pd.DataFrame(
        {
            "path": [data.names[i] for i in test],
            "label": data.labels[test],
            "p_positive": p_positive,
        }
    )
    write_csv(folder / "predictions.csv", predictions)
    files = {name: sha256(folder / name) for name in SEALED}
    write_json(folder / "environment.json", environment(device) | facts | {"files": files})
    predictions = read_csv(folder / "predictions.csv")  # what readers of the folder will see
    write_json(folder / "metrics.json", scores(predictions["label"], predictions["p_positive"]))
    for left in ("checkpoint.pt", "failed.txt"):
        (folder / left).unlink(missing_ok=True)


def take_again(folder: Path) -> None:
    """Where a run was trained again to its end (in AGAIN), its weights come to the old files if
    they are the ones that these were made with; else, where no other run of the study says that it
    started from the old ones, all its files take their place. Goes on where a kill has left it.

    Raises ValueError, and the old ones stay, where others started from other weights.
    """
    new = folder / AGAIN
    moved = not is_complete(folder)  # a process was killed below, with the weights moved or not
    if is_complete(new) and (moved or (new / "model.safetensors").exists()):
        hashes = None if moved else (sealed(folder), sealed(new))
        if hashes and hashes[0] == hashes[1]:
            os.replace(new / "model.safetensors", folder / "model.safetensors")
        else:
            if hashes and (others := _other_starts(folder, *hashes)):
                _discard(new)
                raise ValueError(
                    f"{folder}: its weights were not kept, and trained again on this machine they "
                    f"have other bits than before. The old result stays, because {len(others)} "
                    f"runs of the study rest on it ({', '.join(others)}); take another study name"
                )
            (folder / "metrics.json").unlink(missing_ok=True)
            for name in (*SEALED, "environment.json", "metrics.json"):
                if (new / name).exists():
                    os.replace(new / name, folder / name)
    if is_complete(folder) and (folder / "model.safetensors").exists():
        _discard(new)
        (folder / "failed.txt").unlink(missing_ok=True)


def _discard(new: Path) -> None:
    (new / "metrics.json").unlink(missing_ok=True)  # half of it is not to be taken for all
    shutil.rmtree(new, ignore_errors=True)


def _other_starts(folder: Path, old: str | None, new: str) -> list[str]:
    """The runs of the study, and of those in it or around it, that would not go with weights `new`
    (a SHA-256) of the run in `folder`: they started from others, or are that run with others. old:
    the weights that it had, where known; who does not say what it started from had these."""
    study = folder.parent.parent
    studies = [study, *study.glob("*")]
    if (study.parent / "runs").is_dir():
        studies += [study.parent, *study.parent.glob("*")]
    found = set()
    for run in {run for one in studies for run in (one / "runs").glob("*")} - {folder}:
        if not is_complete(run):
            continue
        if run.name == folder.name:
            name, weights = run.name, sealed(run)
        elif start := start_of(run):
            name, weights = start["run"], start["weights"]
        else:
            before = read_spec(run / "spec.json").predecessor()
            name, weights = before and before.id, old
        if name == folder.name and weights not in (None, new):
            found.add(run.name)
    return sorted(found)


def start_of(folder: Path) -> dict:
    """What a complete run says it started from; empty where that is nothing, or not known."""
    return read_json(folder / "environment.json").get("started_from") or {}


def identity_of(folder: Path) -> dict:
    """What a complete run says it depended on besides its spec."""
    facts = read_json(folder / "environment.json")
    return {name: facts[name] for name in DEPENDS_ON if name in facts}


def sealed(folder: Path) -> str | None:
    """SHA-256 of a complete run's weights as it wrote them; None of a run from before that was
    kept, and where there is no complete run."""
    if not is_complete(folder):
        return None
    return read_json(folder / "environment.json").get("files", {}).get("model.safetensors")


def weights_of(folder: Path) -> str | None:
    """SHA-256 of a complete run's weights: of the file or, where that was not kept, `sealed`."""
    file = folder / "model.safetensors"
    return content(file) if file.exists() and is_complete(folder) else sealed(folder)


def differ(a: Path, b: Path) -> str:
    """In what two complete runs of one name are not the same run, "" where they are: "weights",
    where both are known, or "predictions"."""
    weights = {sealed(a), sealed(b)} - {None}
    if len(weights) > 1:
        return "weights"
    same = content(a / "predictions.csv") == content(b / "predictions.csv")
    return "" if same else "predictions"


def record_failure(folder: Path) -> None:
    """Writes the error being handled into failed.txt, which goes when the run is complete."""
    text = traceback.format_exc().encode("utf-8", "backslashreplace").decode()
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        write_text(folder / "failed.txt", text)


def check_same(folder: Path, spec: RunSpec, identity: dict) -> None:
    """Raises ValueError naming the difference where a complete run is not the one asked for."""
    _compare(
        folder,
        read_json(folder / "spec.json"),
        read_json(folder / "environment.json"),
        spec,
        identity,
    )


def check_rests(folder: Path, before: RunSpec, kept: dict, here: dict) -> None:
    """Raises ValueError naming the difference where the run `before`, from which the complete one
    in `folder` started, depended on something else (`kept`) than it would now (`here`)."""
    spec = before.to_dict()
    _compare(f"{folder} started from {before.id}, which", spec, kept, before, here)


def check_start(folder: Path, before: Path) -> None:
    """Raises ValueError where a complete run started from another training than that in the folder
    `before`, or from other weights than that one has now. Where a hash is missing, because the run
    is from before it was kept or `before` is not there, nothing is known and nothing raised."""
    start = start_of(folder)
    if start and start["run"] != before.name:
        raise ValueError(
            f"{folder} started from {start['run']}, and what is asked for starts from "
            f"{before.name}; {INSTEAD}"
        )
    now = weights_of(before) if start else None
    if now and now != start["weights"]:
        raise ValueError(
            f"{folder} started from other weights than {before.name} has now "
            f"({start['weights'][:16]} there, {now[:16]} now); {INSTEAD}"
        )


def save_checkpoint(
    folder: Path, spec: RunSpec, identity: dict, device: torch.device, state: dict
) -> None:
    """Keeps `state`, a training after some epoch. identity: what it depends on besides its spec."""
    about = {"identity": identity, "spec": spec.to_dict(), "machine": _machine(device)}
    with whole_file(folder / "checkpoint.pt") as part, open(part, "wb") as out:
        torch.save(state | about, out)


def checkpoint_seconds() -> float:
    """EMOLIB_CHECKPOINT_SECONDS: how long a training goes on, at least, between two epochs that it
    keeps; the last is always kept. Writing one takes a second or so, as long as an epoch on a GPU.
    Raises ValueError where it is no number of seconds."""
    text = os.environ.get("EMOLIB_CHECKPOINT_SECONDS", "60")
    try:
        seconds = float(text)
        if not seconds >= 0:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"EMOLIB_CHECKPOINT_SECONDS={text!r}: must be a number of seconds, 0 for every epoch"
        ) from None
    return seconds


def load_checkpoint(
    folder: Path, spec: RunSpec, identity: dict, device: torch.device
) -> dict | None:
    """The last epoch that was kept of an interrupted run, or None. ValueError where it was another
    run's, and for a file that `save_checkpoint` has not written: nothing but tensors and plain
    values is read. A warning where it was made on another machine, whose last bits may be others.
    """
    file = folder / "checkpoint.pt"
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        spec_there, there, machine = (state.pop(k) for k in ("spec", "identity", "machine"))
        if missing := {"model", "optimizer", "schedule", "history", "best"} - set(state):
            raise KeyError(*missing)
        RunSpec.from_dict(spec_there)
        if not {"data", "split", "weights"} <= set(there) or not isinstance(there["data"], dict):
            raise TypeError("it does not say what it depends on")
    except Exception as error:  # whatever a stranger's file makes the readers raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(
            f"{file}: not a checkpoint of emolib's ({reason}); remove it, and the run starts anew"
        ) from error
    _compare(folder, spec_there, there, spec, identity)
    here = _machine(device)
    if device.type == "cuda":  # its bits do not follow from the host's threads
        del here["threads"]
    if others := {k: f"{machine.get(k)} → {here[k]}" for k in here if machine.get(k) != here[k]}:
        warnings.warn(
            f"{spec.id} goes on elsewhere ({', '.join(f'{k} {v}' for k, v in others.items())}): "
            "its last bits may be others than if it had gone on there",
            stacklevel=2,
        )
    return state


def _compare(who, spec_there: dict, there: dict, spec: RunSpec, here: dict) -> None:
    """who: the folder, or words that end with a run's name. identities, `there` and `here`:
    {"data": {…}, "split": "…", "weights": "…"}."""
    start = here.get("started_from", {})  # "identity", which older ones lack, follows from these
    start = {key: start[key] for key in ("run", "weights") if key in start}
    spec_there = RunSpec.from_dict(spec_there).to_dict()  # an older one lacks later fields
    for what, old, new in (
        ("setting ", spec_there, spec.to_dict()),
        ("data ", there["data"], here["data"]),
        ("ImageNet weights ", {"": there["weights"]}, {"": here["weights"]}),
        # runs from before it was kept have none
        (
            "split into training and test",
            {"": there.get("split", here["split"])},
            {"": here["split"]},
        ),
        # of a system that learns them
        (
            "set of emotions",
            {"": there.get("emotions", here.get("emotions"))},
            {"": here.get("emotions")},
        ),
        # of a checkpoint: one that was trained again since may have other weights
        ("start: ", there.get("started_from", {}), start),
    ):
        for key in new:
            if key not in old or old[key] != new[key]:
                raise ValueError(
                    f"{who} was made with another {what}{key}: {old.get(key)!r} there, "
                    f"{new[key]!r} now; {INSTEAD}"
                )


def _machine(device: torch.device) -> dict:
    """What the last bits of a result depend on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processes": Ranks.here().size,
        "torch": version("torch"),
    }


def environment(device: torch.device) -> dict:
    """What a result depends on besides its spec; no absolute path."""
    here = Path(__file__).parents[1]  # the package

    def git(*words):
        try:
            return subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    status = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy", "pillow")},
        "platform": f"{sys.platform} {platform.machine()}",
        **{k: v for k, v in _machine(device).items() if k != "torch"},
        **({"gpu": devices.gpu_facts(device)} if device.type == "cuda" else {}),
        "cores": os.cpu_count(),
    }


def lend(specs, study: Path, other: Path) -> None:
    """Links the runs that `specs` start from and that are complete in `study` into the study
    `other`, so that they are not trained there again.

    Raises ValueError where `other` has another run of that name, as one that was lent before
    `study` trained it anew: what started from it is of another start.
    """
    for spec in {s.predecessor() for s in specs if s.stages}:
        there, here = (folder / "runs" / spec.id for folder in (study, other))
        if is_complete(there) and is_complete(here) and (what := differ(here, there)):
            raise ValueError(
                f"{here} has other {what} than {there} has now; remove it and the runs beside it "
                "that started from it, or take another study name"
            )
        if is_complete(there) and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=other) as part:
                shutil.copytree(
                    there,
                    Path(part) / spec.id,
                    copy_function=_link,
                    ignore=shutil.ignore_patterns(AGAIN),
                )
                with contextlib.suppress(OSError):  # another process was faster
                    (Path(part) / spec.id).rename(here)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
