"""The SLURM executor on a real SLURM: bash tests/slurm.sh .venv/bin/python tests/check_slurm.py

Three trainings with the one they start from are submitted as jobs. One is pre-empted by the signal
that a cluster sends, one is queued again by force, in the middle of their training; all must end
with the very files of an undisturbed run on this machine. Then a job that is cancelled must be
named. Needs root and fuser (Debian: psmisc).
"""

import filecmp
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from trees import make_fi, make_twitter

import emolib

SAME = ("model.safetensors", "predictions.csv", "metrics.json", "spec.json")


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return found


def job_of(folder: Path) -> str:
    """The id of the job that trains in `folder`, by the process that holds its lock."""
    (pid,) = shell(f"fuser {folder / 'lock'} 2>/dev/null").split()
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    values = dict(e.decode().partition("=")[::2] for e in environment)
    array = values.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{values['SLURM_ARRAY_TASK_ID']}" if array else values["SLURM_JOB_ID"]


def disturb(folders, done):
    """USR2 to the first run's job, `scontrol requeue` for the second's, in mid-training."""
    for folder, command in zip(
        folders, ("scancel --signal=USR2", "scontrol requeue"), strict=False
    ):
        wait_for(f"{folder.name} to train", (folder / "checkpoint.pt").exists)
        job = job_of(folder)
        shell(f"{command} {job}")
        done.append(f"{command} {job}")


def main():
    root = Path(tempfile.mkdtemp())
    os.environ |= {"EMOLIB_THREADS": "1", "EMOLIB_CACHE": str(root / "cache")}
    os.environ["EMOLIB_CHECKPOINT_SECONDS"] = "0"
    make_fi(root, each=5)
    make_twitter(root)
    first = emolib.RunSpec(
        "twitter1",
        backbone="resnet10t",
        width=128,
        image_size=32,
        epochs=60,
        batch_size=8,
        lr=0.01,
        init="fi:scratch",
        pretrain={"fi.epochs": 2},
    )
    specs = [replace(first, fold=fold) for fold in range(3)]
    runs, done = root / "slurm/runs", []
    interrupter = threading.Thread(target=disturb, args=([runs / s.id for s in specs], done))
    interrupter.start()
    started = time.monotonic()
    results = emolib.run_all(specs, root, root, study="slurm", device="cpu", executor="slurm")
    interrupter.join()
    print(f"{len(results)} runs by SLURM in {time.monotonic() - started:.0f} s; disturbed: {done}")
    assert len(done) == 2
    history = shell("sacct -n -X -D --format=JobID,State,Elapsed")
    print(history)
    assert history.count("REQUEUED") == 2, "both disturbed jobs were to start again"
    for result in results:
        here = emolib.run(result.spec, root, root, study="here", device="cpu").folder
        equal, different, missing = filecmp.cmpfiles(here, result.folder, SAME, shallow=False)
        assert sorted(equal) == sorted(SAME), (different, missing)
    print("the same files as of undisturbed runs on this machine:", ", ".join(SAME))

    spec = replace(first, seed=1, epochs=1000, init="scratch", pretrain=())
    folder = runs / spec.id

    def cancel():
        wait_for("the next run to train", (folder / "checkpoint.pt").exists)
        shell(f"scancel {job_of(folder)}")

    threading.Thread(target=cancel).start()
    try:
        emolib.run_all([spec], root, root, study="slurm", device="cpu", executor="slurm")
    except RuntimeError as error:
        assert spec.id in str(error) and "CANCELLED" in str(error), error
        print("a cancelled job is named:", str(error).splitlines()[1][:120])
    else:
        raise AssertionError("a cancelled job went unnoticed")
    print("slurm: 2 passed, 0 failed")


if __name__ == "__main__":
    main()
