"""What a run computes on: the device, its name, a CPU's threads and memory."""

import contextlib
import ctypes
import gc
import os
import platform
from pathlib import Path

import joblib
import torch

# As torch's deterministic mode asks for on GPUs; it looks at a process's first multiplication.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
AT_ONCE = 4  # runs side by side on a CPU or a GPU, at most
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def pick_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then Apple's GPU, then the CPU. Raises ValueError for one not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device={name!r} is not there: {str(error).splitlines()[0]}") from error


def every_device(name: str) -> list[str]:
    """The devices that runs may be spread over: all GPUs for "auto" and "cuda", else the one."""
    device = pick_device(name)
    if device.type == "cuda" and name in ("auto", "cuda"):
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [str(device)]


def cpu_threads(dataset: str) -> int:
    """Threads of a training on a CPU. They change the last bits of its result, so their number
    follows from the set and the machine, never from what else is running.

    FI's trainings, which others wait for, take all cores; those of folds share them out, because
    small batches gain little from a second one. EMOLIB_THREADS overrules both.
    """
    chosen = os.environ.get("EMOLIB_THREADS", "")
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise ValueError(f"EMOLIB_THREADS={chosen!r}: must be a whole number above 0")
        return int(chosen)
    cores = joblib.cpu_count()
    return cores if dataset == "fi" else max(1, cores // min(AT_ONCE, cores))


@contextlib.contextmanager
def threads(count: int):
    """torch's threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(wanted: bool):
    """Inside the block the same computation gives the same bits again on the same machine: torch
    takes no other algorithms, and RuntimeError of torch's names an operation that has none."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and none is read
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def keep_freed_memory() -> None:
    """Has glibc keep what was freed instead of giving it back to the system and asking again: each
    step uses the same hundreds of megabytes, and fresh pages cost up to half of a CPU step.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def machine(device: torch.device) -> str:
    """The device in words, a CPU's number of threads included."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return f"{cpu}, {torch.get_num_threads()} threads"


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def give_back(device: torch.device) -> None:
    """Hands GPU memory that nothing uses back, for the processes beside this one."""
    if device.type == "cuda":
        gc.collect()  # what a traceback or a cycle still holds
        torch.cuda.empty_cache()
