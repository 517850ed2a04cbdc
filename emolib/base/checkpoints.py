"""An unfinished run's checkpoint.pt: the last epoch that was kept."""

import contextlib
import os
import warnings
from pathlib import Path

import torch

from ..spec.run_spec import RunSpec
from .files import whole_file
from .reuse import refuse_another
from .run_folder import computed_on


def save_checkpoint(
    folder: Path, spec: RunSpec, identity: dict, device: torch.device, state: dict
) -> None:
    """Keeps `state`, a training after some epoch. identity: what it depends on besides its spec."""
    about = {"identity": identity, "spec": spec.to_dict(), "machine": computed_on(device)}
    with whole_file(folder / "checkpoint.pt") as part, open(part, "wb") as out:
        torch.save(state | about, out)


def checkpoint_seconds() -> float:
    """EMOLIB_CHECKPOINT_SECONDS: the least time between two epochs that a training keeps. Writing
    one takes about a second, as long as an epoch on a GPU; the last is always kept. Raises
    ValueError where it is no number of seconds."""
    text = os.environ.get("EMOLIB_CHECKPOINT_SECONDS", "60")
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    wanted = "must be a number of seconds, 0 for every epoch"
    raise ValueError(f"EMOLIB_CHECKPOINT_SECONDS={text!r}: {wanted}")


def load_checkpoint(
    folder: Path, spec: RunSpec, identity: dict, device: torch.device
) -> dict | None:
    """The last epoch that was kept of an interrupted run, or None. Raises ValueError where it was
    another run's, and for a file that `save_checkpoint` has not written: nothing but tensors and
    plain values is read. Warns where it was made on another machine."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        spec_there, there, machine = (state.pop(k) for k in ("spec", "identity", "machine"))
        if missing := {"model", "optimizer", "history", "best"} - set(state):
            raise KeyError(*missing)
        RunSpec.from_dict(spec_there)
        if not {"data", "split", "weights"} <= set(there) or not isinstance(there["data"], dict):
            raise TypeError("it does not say what it depends on")
    except Exception as error:  # whatever a stranger's file makes the readers raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        wrong = f"not a checkpoint of emolib's ({reason})"
        raise ValueError(f"{file}: {wrong}; remove it, and the run starts anew") from error
    refuse_another(folder, RunSpec.from_dict(spec_there), there, spec, identity)
    here = computed_on(device)
    if device.type == "cuda":  # its bits do not follow from the host's threads
        del here["threads"]
    if others := [f"{k} {machine.get(k)} → {here[k]}" for k in here if machine.get(k) != here[k]]:
        elsewhere = f"{spec.id} goes on elsewhere ({', '.join(others)})"
        what = "its last bits may be others than if it had gone on there"
        warnings.warn(f"{elsewhere}: {what}", stacklevel=2)
    return state
