"""The run folder: what a run leaves behind, written and read.

A folder is complete exactly when metrics.json is there, which is written last. Every file is whole
or absent. An unfinished run has checkpoint.pt, the last epoch that was kept (`checkpoints`), and
failed.txt, which says why it was left. Whether a folder holds the run asked for is `reuse`'s.
"""

import contextlib
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from ..spec.run_spec import RunSpec
from . import devices, files
from .files import content, read_csv, read_json, write_csv, write_json
from .parallel import Ranks

SEALED = ("spec.json", "history.csv", "predictions.csv", "model.safetensors")
AGAIN = ".again"  # a folder in a complete run's, where it is trained again for its weights
DEPENDS_ON = ("data", "split", "weights", "emotions", "targets", "weights_sha256", "started_from")


class Busy(RuntimeError):
    """Another process is training this run."""


@dataclass(frozen=True)
class RunResult:
    """A complete run, read from its folder."""

    spec: RunSpec
    folder: Path
    metrics: dict  # accuracy, recall in percent; n; of other tasks their own
    reused: bool = False

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        return read_csv(self.folder / "predictions.csv")


def read_run(folder: Path, reused: bool = False) -> RunResult:
    """A complete run from its folder."""
    spec, metrics = read_spec(folder / "spec.json"), read_json(folder / "metrics.json")
    return RunResult(spec, folder, metrics, reused)


def read_spec(file: Path) -> RunSpec:
    """The RunSpec in a spec.json, whoever wrote it. ValueError names the file where it has none."""
    values = read_json(file)
    try:
        return RunSpec.from_dict(values)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{file}: not a RunSpec ({str(error)[:300]})") from error


def is_complete(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


def has_weights(folder: Path) -> bool:
    """Whether the run is complete and its weights are kept, so that others can start from it."""
    return is_complete(folder) and (folder / "model.safetensors").exists()


def write_run(
    folder,
    predictions: pd.DataFrame,
    scores: Callable[[pd.DataFrame], dict],
    history,
    model,
    facts: dict,
    device,
) -> None:
    """The run folder's files, metrics.json last, which is what `scores` makes of predictions.csv.
    facts: what else environment.json is to say; it also gets each other file's SHA-256, which
    `verify` holds against them."""
    tensors = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    with files.whole_file(folder / "model.safetensors") as part:
        save_file(tensors, part, metadata={"format": "pt"})
    write_csv(folder / "history.csv", pd.DataFrame(history))
    write_csv(folder / "predictions.csv", predictions)
    hashes = {name: files.sha256(folder / name) for name in SEALED}
    write_json(folder / "environment.json", environment(device) | facts | {"files": hashes})
    seen = read_csv(folder / "predictions.csv")  # by readers of the folder
    write_json(folder / "metrics.json", scores(seen))
    for left in ("checkpoint.pt", "failed.txt"):
        (folder / left).unlink(missing_ok=True)


def record_failure(folder: Path) -> None:
    """Writes the error being handled into failed.txt, which goes when the run is complete."""
    text = traceback.format_exc().encode("utf-8", "backslashreplace").decode()
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        files.write_text(folder / "failed.txt", text)


def start_of(folder: Path) -> dict:
    """What a complete run says it started from; empty where that is nothing, or not known."""
    return read_json(folder / "environment.json").get("started_from") or {}


def identity_of(folder: Path) -> dict:
    """What a complete run says it depended on besides its spec."""
    facts = read_json(folder / "environment.json")
    return {name: facts[name] for name in DEPENDS_ON if name in facts}


def classes_of(folder: Path) -> tuple[str, ...]:
    """What the answers of a complete run are of; of polarity where it does not say."""
    said = read_json(folder / "environment.json").get("classes", ("negative", "positive"))
    return tuple(said)


def sealed(folder: Path) -> str | None:
    """SHA-256 of a complete run's weights as it wrote them; None where that is not known."""
    if not is_complete(folder):
        return None
    return read_json(folder / "environment.json").get("files", {}).get("model.safetensors")


def weights_of(folder: Path) -> str | None:
    """SHA-256 of a complete run's weights: of the file or, where that was not kept, `sealed`."""
    return content(folder / "model.safetensors") if has_weights(folder) else sealed(folder)


def differ(a: Path, b: Path) -> str:
    """In what two complete runs of one name are not the same run, "" where they are: "weights",
    where both are known, or "predictions"."""
    if len({sealed(a), sealed(b)} - {None}) > 1:
        return "weights"
    same = content(a / "predictions.csv") == content(b / "predictions.csv")
    return "" if same else "predictions"


def computed_on(device: torch.device) -> dict:
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
        how: dict = {"capture_output": True, "text": True, "check": True, "timeout": 20}
        try:
            return subprocess.run(["git", *words], cwd=here, **how).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    status = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy", "pillow")},
        "platform": f"{sys.platform} {platform.machine()}",
        **{k: v for k, v in computed_on(device).items() if k != "torch"},
        **({"gpu": devices.gpu_facts(device)} if device.type == "cuda" else {}),
        "cores": os.cpu_count(),
    }
