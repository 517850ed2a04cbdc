"""results/reliability.csv: a row for each kind of ill treatment, with how often it was survived."""

import os
import platform
import subprocess
import time
from pathlib import Path

import pandas as pd

from emolib.base.files import write_csv

COLUMNS = [
    "check",
    "trials",
    "passed",
    "failed",
    "seconds",
    "seed",
    "peak_mb",
    "machine",
    "commit",
    "date",
]


def record(path, check: str, trials: int, failed: int, seconds: float, seed: int, peak_mb=None):
    """Puts the row of `check` in place of its earlier one."""
    path, commit = Path(path), ["git", "rev-parse", "--short", "HEAD"]
    row = {
        "check": check,
        "trials": trials,
        "passed": trials - failed,
        "failed": failed,
        "seconds": round(seconds),
        "seed": seed,
        "peak_mb": peak_mb,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": subprocess.run(
            commit, cwd=Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }
    old = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    rows = [*old[old["check"] != check].to_dict("records"), row]
    write_csv(path, pd.DataFrame(rows, columns=COLUMNS).sort_values("check", kind="stable"))
