"""Checks of a GPU: what the card, its driver and torch are."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import torch

from ...base import devices, run_folder
from .shared import Here


def this_machine(here: Here) -> dict:
    """What the card, its driver and torch are."""
    card = torch.cuda.get_device_properties(here.device)
    asked = "driver_version,clocks.max.sm,clocks.max.memory,power.limit,compute_mode"
    said = _output("nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", "-i", "0")
    processes = [p.info["name"] or "" for p in psutil.process_iter(["name"])]
    mps = any(name.startswith("nvidia-cuda-mps") for name in processes)
    compilers = filter(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))
    about = run_folder.environment(here.device)
    return {
        "card": card.name,
        "multiprocessors": card.multi_processor_count,
        "memory_gb": round(card.total_memory / 1e9, 1),
        "free_gb": round(torch.cuda.mem_get_info(here.device)[0] / 1e9, 1),
        "gpus": torch.cuda.device_count(),
        **dict(zip(asked.split(","), map(str.strip, said.split(",")), strict=False)),
        **devices.gpu_facts(here.device),
        "mps": "running" if mps else "not running",
        "triton": "there" if importlib.util.find_spec("triton") else "none",
        "c_compiler": Path(next(compilers, "none")).name,
        **{name: value for name, value in about.items() if not isinstance(value, dict)},
    }


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
