"""Does everything work on this machine's GPU? Each check says so, with its figures.

    python -m emolib.gpu_check [--only NAMES] [--results DIR]

Writes DIR/gpu/<card>-<date>.json, a list of {check, ok, seconds, figures}, anew after each check,
and the same as a table beside it. With --only the names are part of the files' name, so that a
whole check of the same day stays. Takes about 7 minutes, on drawn pictures and random weights.
Exit code 0: all is well; 1: a check failed, or there is no GPU that torch can use; 2: wrong words.
"""

import argparse
import contextlib
import datetime
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from .base import devices, run_folder
from .base.files import write_json, write_text
from .spec.values import named
from .tables.pages import grid
from .training.gpu_checks import networks, trainings
from .training.gpu_checks.shared import Here


def this_machine(here: Here) -> dict:
    """What the card, its driver and torch are."""
    card = torch.cuda.get_device_properties(here.device)
    asked = "driver_version,clocks.max.sm,clocks.max.memory,power.limit,compute_mode"
    words, said = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", "-i", "0"], ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
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


CHECKS = {
    "machine": this_machine,
    "entry_points": trainings.entry_points,
    "steps": networks.steps,
    "input_paths": networks.input_paths,
    "host_syncs": networks.host_syncs,
    "same_bits": trainings.same_bits,
    "full_memory": trainings.full_memory,
    "faults": trainings.faults,
    "side_by_side": trainings.side_by_side,
    "paper_step": networks.paper_step,
    "checkpoint": trainings.checkpoint,
}


def run_them(names, here: Here, file: Path) -> list[dict]:
    """Does the checks of these names and writes `file`, and the table beside it, after each."""
    rows = []
    for name in names:
        started = time.perf_counter()
        try:
            figures, ok = CHECKS[name](here), True
        except Exception as error:
            text = " ".join(str(error).split()).replace(str(here.folder), "…")
            figures, ok = {"error": f"{type(error).__name__}: {text[:400]}"}, False
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"check": name, "ok": ok, "seconds": seconds, "figures": figures})
        devices.give_back(here.device)
        write_json(file, rows)
        write_text(file.with_suffix(".md"), as_table(rows))
        print(f"{name}: {'ok' if ok else figures['error']} ({seconds} s)", flush=True)
    return rows


def as_table(rows: list[dict]) -> str:
    """The checks for people, as Markdown."""
    cells = []
    for row in rows:
        said = "; ".join(f"{name} {value}" for name, value in row["figures"].items())
        ok, said = "yes" if row["ok"] else "**no**", said.replace("|", "\\|")
        cells.append([row["check"], ok, row["seconds"], said])
    return "\n".join(grid(["check", "ok", "seconds", "figures"], cells)) + "\n"


def main(words=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m emolib.gpu_check", description="does everything work on this GPU?"
    )
    parser.add_argument("--only", default="", metavar="NAMES", help=", ".join(CHECKS))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    chosen = parser.parse_args(words)
    try:
        names = named("--only", chosen.only, CHECKS)
    except ValueError as error:
        parser.error(str(error))
    if not torch.cuda.is_available():
        why = devices.unusable_gpu() or "torch sees no GPU, and there is no NVIDIA driver here"
        print(f"gpu-check: {why}", file=sys.stderr)
        return 1
    device = torch.device("cuda", 0)
    card = re.sub(r"[^A-Za-z0-9]+", "-", torch.cuda.get_device_name(device)).strip("-")
    tail = "".join(f"-{name}" for name in names)
    file = chosen.results / "gpu" / f"{card}-{datetime.date.today()}{tail}.json"
    with tempfile.TemporaryDirectory(prefix="emolib-gpu-") as folder:
        here = Here(device, Path(folder), chosen.results)
        rows = run_them(names or list(CHECKS), here, file)
    print(f"\n{as_table(rows)}\nwritten to {file}")
    return int(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
