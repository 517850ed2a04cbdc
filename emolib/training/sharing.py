"""How many runs fit side by side, and on which devices."""

import contextlib

import joblib
import psutil
import torch

from ..base import devices
from ..spec.run_spec import RunSpec
from . import cost
from .task import Places


def share_devices(stage: list[RunSpec], places: Places) -> list[tuple[list[RunSpec], list[str]]]:
    """A stage's runs in groups that may go side by side, and for each group its slots: the devices,
    each as often as it takes a run at the same time.

    A CPU takes runs with the same number of threads, as many as it has cores for. A GPU takes as
    many as its memory holds, by the measured need of the largest. Neither takes more than
    RUNS_AT_ONCE. A GPU that does not say how much memory it has gets none while another does.
    """
    names = devices.every_device(places.device)
    on_cpu = names == ["cpu"]
    by_threads: dict[int, list[RunSpec]] = {}
    for spec in stage:
        by_threads.setdefault(devices.cpu_threads(spec.dataset) if on_cpu else 1, []).append(spec)
    found = []
    for threads, group in by_threads.items():
        most = 1 if names[0].startswith("mps") else min(devices.RUNS_AT_ONCE, len(group))
        if on_cpu:
            most = min(most, joblib.cpu_count() // threads)
        answer = names
        if most > 1:
            free = _memory_of(names)
            answer = list(free) or names
            most = min(most, _room(group, free))
        found.append((group, (answer * max(1, most))[: len(group)]))
    return found


def _memory_of(names: list[str]) -> dict[str, float]:
    """The bytes free on each device that tells. One that is full or has failed may not."""
    free = {}
    for name in names:
        with contextlib.suppress(RuntimeError, MemoryError):
            free[name] = _free_memory(name)
    return free


def _room(group: list[RunSpec], free: dict[str, float]) -> int:
    """How many of the runs fit into a device's memory at once. 1 where that cannot be found out, as
    on a GPU that is full or has failed: the runs themselves will say what is wrong."""
    if not free:
        return 1
    first = next(iter(free))
    try:
        need = max(cost.measure(spec, first).memory for spec in group)
        return int(min(free.values()) // need)
    except (RuntimeError, MemoryError):
        pass
    devices.give_back(first)  # here, where the error holds its tensors no more
    return 1


def _free_memory(device: str) -> float:
    """Bytes for trainings: on a GPU less what their packs may take (`batches.loader`)."""
    if device.startswith("cuda"):
        return 0.6 * torch.cuda.mem_get_info(device)[0]
    return 0.9 * psutil.virtual_memory().available
