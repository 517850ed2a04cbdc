"""Trainings in processes that are not this one's: torchrun's on one run, SLURM's with one each."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed

from ..base import devices, parallel, progress
from ..base.files import write_json
from ..base.run_folder import has_weights, read_spec
from ..spec.run_spec import RunSpec
from . import lifeline
from .check import check_runs
from .run import train_run
from .task import Places

JOB_CORES = 8  # at most, of a job on a GPU: they read pictures
SLURM_MINUTES = 240  # a job's limit where SBATCH_TIMELIMIT says nothing; it goes on in the next


class NoCluster(RuntimeError):
    """No SLURM takes jobs here."""


def torchrun(spec: RunSpec, places: Places, processes: int) -> str:
    """Trains one run in several processes (`parallel`), two of them on CPUs unless told; "" or
    what went wrong."""
    on_gpus = devices.pick_device(places.device).type == "cuda"
    processes = processes or (torch.cuda.device_count() if on_gpus else 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.json"
        write_json(file, spec.to_dict())
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "emolib.worker", str(file)),
            *("--data-root", str(places.data_root), "--study-folder", str(places.study)),
            *("--weights", places.weights, "--device", places.device),
        ]
        # a session of its own, so that an interrupt reaches it once, by way of the lines below
        agent = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {lifeline.VARIABLE: str(os.getpid())},
        )
        try:
            _, said = agent.communicate()
        except BaseException:
            agent.terminate()  # it ends the processes that it started
            agent.wait()
            raise
    return f"torchrun ended with {agent.returncode}\n{said[-4000:]}" if agent.returncode else ""


def slurm(stage: list[RunSpec], places: Places) -> dict[RunSpec, str]:
    """Submits one job a run and waits for all; the runs that failed, with what went wrong."""
    try:
        import submitit
    except ImportError as error:
        raise NoCluster("executor='slurm' needs submitit: pip install submitit") from error
    try:
        executor = submitit.AutoExecutor(
            places.study / "slurm", cluster="slurm", slurm_max_num_timeout=1_000_000
        )
    except RuntimeError as error:
        raise NoCluster(
            f"executor='slurm': {error} There is no SLURM on this machine; take executor='local', "
            "or start from a login node"
        ) from error
    places = replace(
        places,
        data_root=places.data_root.resolve(),
        study=places.study.resolve(),
        weights=str(Path(places.weights).resolve()) if places.weights else "",
    )
    jobs: list[tuple] = []
    for dataset in dict.fromkeys(spec.dataset for spec in stage):  # one array for each
        group = [spec for spec in stage if spec.dataset == dataset]
        threads = devices.cpu_threads(dataset)
        if any(name.startswith(("SBATCH_GRES", "SBATCH_GPUS")) for name in os.environ):
            threads = min(threads, JOB_CORES)
        executor.update_parameters(name="emolib", timeout_min=SLURM_MINUTES, cpus_per_task=threads)
        try:
            submitted = executor.submit_array([SlurmJob(spec, places, threads) for spec in group])
        except submitit.core.utils.FailedJobError as error:
            raise NoCluster(f"executor='slurm': sbatch refuses the jobs: {error}") from error
        jobs += zip(group, submitted, strict=True)
    failed = {}
    for spec, job in progress.bar(jobs, "jobs"):
        folder, why = places.folder(spec), None
        while not job.done() and not has_weights(folder):
            time.sleep(1)
        for _ in range(60):  # a shared folder may show the files later than the job's end
            if has_weights(folder) or (why := job.exception()):
                break
            time.sleep(1)
        if not has_weights(folder):
            why = why or "it ended without an error and without a result"
            failed[spec] = f"job {job.job_id}: {why}"
    return failed


class SlurmJob:
    """One run as a SLURM job. Pre-empted or out of time it is queued again and goes on there."""

    def __init__(self, spec: RunSpec, places: Places, threads: int):
        self.spec, self.places, self.threads = spec, places, threads

    def __call__(self) -> None:
        # SLURM's signal reaches the processes that read pictures too; it is not meant for them
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        os.environ["EMOLIB_THREADS"] = str(self.threads)
        train_run(self.spec, self.places, with_weights=True)

    def checkpoint(self):
        """What submitit calls on pre-emption: the same again; the run goes on by itself."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def worker(words=None) -> None:
    """What `python -m emolib.worker` does: trains one run, or goes on with it."""
    parser = argparse.ArgumentParser(description=worker.__doc__)
    parser.add_argument("spec", help="JSON file with the RunSpec")
    parser.add_argument("--data-root", required=True, help="folder that holds fi/, twitter1/, …")
    parser.add_argument("--study-folder", required=True, help="folder of the study's results")
    parser.add_argument("--weights", default="", help="file of the backbone's ImageNet weights")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    if lifeline.VARIABLE in os.environ:
        lifeline.tie(int(os.environ[lifeline.VARIABLE]))
    device = parallel.start(chosen.device) or chosen.device
    places = Places(Path(chosen.data_root), Path(chosen.study_folder), chosen.weights, str(device))
    spec = read_spec(chosen.spec)
    check_runs([spec], places)
    result = train_run(spec, places, with_weights=True)
    if parallel.Ranks.here().first:
        print(result.folder, result.metrics)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
