"""What a run computes on: the device, its name, a CPU's threads and memory."""

import contextlib
import ctypes
import functools
import gc
import os
import platform
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import torch

from ..spec.sets import SETS

# As torch's deterministic mode asks for on GPUs; it looks at a process's first multiplication.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
RUNS_AT_ONCE = 4  # runs side by side on a CPU or a GPU, at most
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
NEEDED = {"12": 525, "13": 580}  # the oldest driver for a torch of this CUDA, NVIDIA's numbers
DRIVER = Path("/proc/driver/nvidia/version")
# What torch, cuBLAS and cuDNN say where memory ran out; the last four also on a GPU that is full.
MEMORY = re.compile(
    "out of memory|ALLOC_FAILED|DefaultCPUAllocator|CUBLAS_STATUS_NOT_INITIALIZED|"
    "CUDNN_STATUS_NOT_INITIALIZED|CUDNN_STATUS_INTERNAL_ERROR|unable to find an engine",
    re.IGNORECASE,
)


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto": CUDA, else Apple's GPU, else the CPU.

    A GPU has its number, and none of its memory is taken. Raises ValueError for a device that is
    not there. "auto" warns where there is a GPU that torch cannot use.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        if why := unusable_gpu():
            warnings.warn(f"training on the CPU: {why}", stacklevel=2)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type != "cuda":
            return torch.zeros((), device=device).device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(f"device={name!r} is not there: {str(error).splitlines()[0]}") from error
    if not torch.cuda.is_available():
        raise ValueError(f"device={name!r} is not there: {unusable_gpu() or _torchs_reason()}")
    index, count = device.index, torch.cuda.device_count()
    index = torch.cuda.current_device() if index is None else index
    if index >= count:
        raise ValueError(f"device={name!r} is not there: torch sees {count} GPU{'s' * (count > 1)}")
    return torch.device("cuda", index)


def every_device(name: str) -> list[str]:
    """The devices that runs may be spread over: all GPUs for "auto" and "cuda", else the one."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [str(pick_device(name))]


def unusable_gpu() -> str:
    """Why torch cannot use the NVIDIA GPU whose driver is here, and what to do; "" where there is
    no driver or the user has hidden the GPUs."""
    driver = nvidia_driver()
    if not driver or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    cuda = torch.version.cuda
    what = f"there is an NVIDIA driver ({driver}), but torch {torch.__version__} sees no GPU"
    if cuda is None:
        return f"{what}: it was built without CUDA; install a torch with CUDA"
    needed = NEEDED.get(cuda.partition(".")[0], 0)
    if int(driver.partition(".")[0]) < needed:
        advice = "update the driver, or install a torch for an older CUDA"
        return f"{what}: CUDA {cuda} needs driver {needed} or newer; {advice}"
    return f"{what}: {_torchs_reason()} (nvidia-smi shows what the driver sees)"


@functools.cache
def nvidia_driver() -> str:
    """The version of this machine's NVIDIA driver, such as "580.65.06", or ""."""
    text = ""
    if DRIVER.exists():
        text = DRIVER.read_text().partition("\n")[0]
    elif shutil.which("nvidia-smi"):  # Windows, and Linux inside it
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            text = subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
    return next(iter(re.findall(r"\b\d{3,}\.[\d.]+", text)), "")


def _torchs_reason() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "torch sees no GPU"


def gpu_facts(device: torch.device) -> dict:
    """What else a result on a GPU follows from: driver, CUDA, cuDNN, the GPU's capability and what
    is computed in TF32."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return {
        "driver": nvidia_driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "capability": "{}.{}".format(*torch.cuda.get_device_capability(device)),
        "fp32_convolutions": convolutions.fp32_precision,
        "fp32_products": torch.backends.cuda.matmul.fp32_precision,
    }


@contextlib.contextmanager
def tf32_in_convolutions():
    """Inside the block a GPU's float32 convolutions round their inputs to TF32 (10 bits), and its
    matrix products do not.

    This is torch's default, set so that a result does not follow from the caller's settings. TF32
    makes convolutions, nearly all of a training's time, several times quicker. Products are little
    of it, and the head's folded sums need their bits. Without a GPU nothing happens.
    """
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    products = torch.backends.cuda.matmul
    with flag(convolutions, "fp32_precision", "tf32"), flag(products, "fp32_precision", "ieee"):
        yield


def cpu_threads(dataset: str = "") -> int:
    """Threads of a training on a CPU. They change the last bits of its result, so that a run's
    number follows from the set and the machine, never from what else is running.

    A training on FI takes all cores, because others wait for it. Trainings on folds share them,
    because several side by side get more done. "": a training by itself takes what torch has, all
    cores where nobody says otherwise. EMOLIB_THREADS overrules all three.
    """
    if chosen := os.environ.get("EMOLIB_THREADS", ""):
        if not chosen.isdecimal() or int(chosen) < 1:
            raise ValueError(f"EMOLIB_THREADS={chosen!r}: must be a whole number above 0")
        return int(chosen)
    if not dataset:
        return torch.get_num_threads()
    cores = joblib.cpu_count()
    return cores if SETS[dataset].folds == 1 else max(1, cores // min(RUNS_AT_ONCE, cores))


@contextlib.contextmanager
def changed(read: Callable, write: Callable, value):
    """Inside the block a setting is `value`; read gives what it is, write(value) sets it."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def flag(owner, name: str, value):
    """The owner's attribute is `value` inside the block."""
    return changed(lambda: getattr(owner, name), lambda was: setattr(owner, name, was), value)


def threads(count: int):
    """torch's threads inside the block."""
    return changed(torch.get_num_threads, torch.set_num_threads, count)


def deterministic(wanted: bool):
    """Inside the block the same computation gives the same bits again on the same machine. torch
    takes only such algorithms and raises RuntimeError for an operation that has none."""
    # costs time, and none is read
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, wanted
    )


def keep_freed_memory() -> None:
    """Makes glibc keep memory that was freed: each step uses the same hundreds of megabytes again,
    and fresh pages from the system cost up to half of a CPU step."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def machine(device: torch.device) -> str:
    """The device in words, a CPU's number of threads included."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: *(.+)", info.read_text() if info.exists() else "", re.M)
    cpu = next(iter(models), platform.processor() or platform.machine())
    return f"{cpu.strip()}, {torch.get_num_threads()} threads"


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def give_back(device: torch.device | str) -> None:
    """Gives GPU memory that nothing uses to the processes beside this one. On a GPU in an error
    state nothing happens."""
    if torch.device(device).type == "cuda":
        gc.collect()  # what a traceback or a cycle still holds
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, a GPU without room for a context included."""
    torchs = isinstance(error, RuntimeError) and MEMORY.search(str(error)) is not None
    return torchs or isinstance(error, MemoryError)


def spoilt(device: torch.device | str) -> str:
    """Why this process can no longer use the GPU, or "". After an error inside a kernel, such as an
    index out of range, all that the process asks of the GPU fails too."""
    if torch.device(device).type != "cuda":
        return ""
    try:
        torch.zeros((), device=device)
        torch.cuda.synchronize(device)
    except (RuntimeError, AssertionError) as error:
        return "" if ran_out_of_memory(error) else str(error).splitlines()[0]
    return ""


def autocast(precision: str, device: torch.device):
    """bf16 where `precision` says so: no loss scaling, weights and their update stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def on(device, extras: dict) -> dict:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in extras.items()}
