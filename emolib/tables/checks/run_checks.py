"""What may be wrong with the files of one complete run, each by itself.

Each check takes the run's folder and returns a sentence, or None. It raises what reading raises.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...base.files import read_csv, read_json
from ...base.run_folder import read_spec
from ...data import predictions, tasks
from ...spec.run_spec import RunSpec
from ...spec.schedules import rate
from ...spec.sets import SETS
from ...spec.systems import system_of

ABSOLUTE = re.compile(r"(file:|~?/|[A-Za-z]:[\\/])")


def judged(check) -> tuple[str, str]:
    """(status, why) of a file: what `check()` returns, or "ok" or "wrong" where that is None or a
    sentence. Also "wrong" with what it raises: a damaged file may make its readers raise anything.
    """
    try:
        said = check() or ("ok", "")
    except Exception as error:
        said = f"not readable as what it should be ({type(error).__name__}: {error})"
    return said if isinstance(said, tuple) else ("wrong", " ".join(said.split())[:500])


def _absolute(value) -> bool:
    """Whether there is an absolute path among JSON's texts."""
    if isinstance(value, dict):
        return any(map(_absolute, value.values()))
    if isinstance(value, list):
        return any(map(_absolute, value))
    return isinstance(value, str) and bool(ABSOLUTE.match(value))


def _spec(folder: Path) -> str | None:
    run = read_spec(folder / "spec.json").id
    return f"its run is called {run}" if run != folder.name else None


def _environment(folder: Path) -> str | None:
    found, spec = read_json(folder / "environment.json"), read_spec(folder / "spec.json")
    if _absolute(found):
        return "holds an absolute path"
    data, start, before = found["data"], found.get("started_from"), spec.predecessor()
    if start and before and before.apart and start["run"] == replace(before, apart=()).id:
        return (
            f"started from {start['run']}, which saw near-twins of its test pictures, as was so "
            "before these were left out; remove it and run it again"
        )
    if start and start["run"] != (before and before.id):
        return f"started from {start['run']}, spec.json says {before and before.id}"
    if data["name"] != spec.dataset:
        return f"is of {data['name']}, spec.json of {spec.dataset}"
    if not re.fullmatch("[0-9a-f]{16}", data["fingerprint"]) or not isinstance(data["demo"], bool):
        return f"has no fingerprint of the data: {data}"
    if found["weights"].startswith("scratch") != spec.init.endswith("scratch"):
        return f"started from {found['weights']}, spec.json says {spec.init}"
    if "constant" in found:
        frame = read_csv(folder / "predictions.csv")
        return predictions.wrong_constant(frame, found["constant"]) or None
    return None


def unsaid(spec: RunSpec, environment: dict) -> str:
    """What the run rests on and, being from before it was kept, does not say: "which … {} …", with
    a place for "it" or "they". "" where nothing is missing."""
    if spec.stages and not environment.get("started_from"):
        return "which weights {} started from"
    learns = system_of(spec.model).uses_emotions and SETS[spec.dataset].emotions
    if learns and "emotions" not in environment:
        return "which emotions {} learnt"
    downloaded = spec.init == "imagenet" and environment["weights"].startswith("timm:")
    if downloaded and "weights_sha256" not in environment:
        return "which download of timm's weights {} started from"
    return ""


def _history(folder: Path) -> str | None:
    spec, frame = read_spec(folder / "spec.json"), read_csv(folder / "history.csv")
    rates = [rate(part, n + 0.5) for part in spec.phases for n in range(part.epochs)]  # half-way
    if frame["epoch"].tolist() != list(range(1, len(rates) + 1)):
        return f"has the epochs {frame['epoch'].tolist()}, spec.json asks for {len(rates)}"
    if system_of(spec.model).fitted:
        return None
    if not np.allclose(frame["lr"], rates, rtol=1e-4, atol=0):
        return "has other learning rates than spec.json asks for"
    if not np.isfinite(frame["train_loss"]).all():
        return "has a loss that is no number"
    return None


def _predictions(folder: Path) -> str | None:
    frame, task = read_csv(folder / "predictions.csv"), read_spec(folder / "spec.json").task
    if wrong := predictions.wrong_columns(task, frame) or predictions.wrong_values(task, frame):
        return wrong
    if frame["path"].duplicated().any():
        return f"has {frame['path'][frame['path'].duplicated()].iloc[0]!r} twice"
    outside = frame["path"].astype(str).map(lambda p: p.startswith("/") or ".." in p.split("/"))
    if outside.any():
        return "names a picture outside its set"
    return None


def _metrics(folder: Path) -> str | None:
    frame, found = read_csv(folder / "predictions.csv"), read_json(folder / "metrics.json")
    expected = tasks.TASKS[read_spec(folder / "spec.json").task].scores(frame)
    for name in expected | found:
        a, b = found.get(name, ""), expected.get(name, "")
        near = (
            isinstance(a, (int, float)) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(1, b)
        )
        if a != b and not near:
            return f"{name}: {found.get(name)} there, {expected.get(name)} from predictions.csv"
    return None


RUN_CHECKS = {
    "spec.json": _spec,
    "environment.json": _environment,
    "history.csv": _history,
    "predictions.csv": _predictions,
    "metrics.json": _metrics,
}
