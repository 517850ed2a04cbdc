"""Many runs: which have to wait for which, how many fit side by side, and who trains them.

Executors: "local" trains on this machine, as many at once as its cores or its GPUs' memory take;
"torchrun" (or "torchrun:4") gives one training at a time to several processes, one a GPU; "slurm"
submits each training as a job of the cluster this runs on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import filelock
import joblib
import psutil
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from . import cost, devices, progress
from .files import write_json
from .run_folder import RunResult, is_complete
from .runs import Places, check, train
from .spec import RunSpec

EXECUTORS = ("local", "torchrun", "slurm")
SLURM_MINUTES = 240  # a job's limit where SBATCH_TIMELIMIT says nothing; it goes on in the next


def run_all(
    specs,
    data_root,
    results_root,
    study: str = "demo",
    weights="",
    device: str = "auto",
    executor: str = "local",
) -> list[RunResult]:
    """`run` for many; equal specs once, results in the order given.

    All are checked (data, folds, network, weights) before the first is trained. executor: see
    above. Out of memory, fewer are trained at once; what was finished stays finished. Raises
    ValueError for an unknown executor, RuntimeError where SLURM or torchrun is not there or ends
    with an error, naming the run.
    """
    name, processes = parse_executor(executor)
    specs = list(specs)
    places = Places.of(data_root, results_root, study, weights, device)
    check(specs, places)
    started, trained = time.perf_counter(), 0
    for stage in stages(specs, places):
        trained += len(stage)
        if name == "slurm":
            _slurm(stage, places)
        elif name == "torchrun":
            for spec in progress.bar(stage, "runs"):
                _torchrun(spec, places, processes)
        else:
            for group, slots in groups(stage, places):
                fewer_at_once(group, slots, lambda todo, at: _side_by_side(todo, places, at))
    results = {spec: train(spec, places) for spec in dict.fromkeys(specs)}
    print(
        f"{len(results)} in all: {trained} trained (with those they start from), "
        f"{time.perf_counter() - started:.0f} s"
    )
    return [results[spec] for spec in specs]


def stages(specs, places: Places, look: bool = True) -> list[list[RunSpec]]:
    """The runs to train, in groups that need only runs of earlier groups. look=False: all of them,
    whatever is there."""
    depth = {}

    def visit(spec, needed):
        """Depth of the run's group; 0 where nothing is to be done for it."""
        there = look and is_complete(places.folder(spec))
        if there and (not needed or (places.folder(spec) / "model.safetensors").exists()):
            return 0
        before = spec.predecessor()
        depth[spec] = 1 + (visit(before, needed=True) if before else 0)
        return depth[spec]

    for spec in specs:
        visit(spec, needed=False)
    return [[s for s in depth if depth[s] == d] for d in sorted(set(depth.values()))]


def groups(stage: list[RunSpec], places: Places) -> list[tuple[list[RunSpec], list[str]]]:
    """A stage's runs that may go side by side, and the device of each of them that does.

    On CPUs runs with the same number of threads, as many as there are cores for; on a GPU as many
    as its memory holds, by the measured need of the largest; never more than AT_ONCE on one.
    """
    names = devices.every_device(places.device)
    on_cpu = names == ["cpu"]
    by_threads = {}
    for spec in stage:
        by_threads.setdefault(devices.cpu_threads(spec.dataset) if on_cpu else 1, []).append(spec)
    found = []
    for threads, group in by_threads.items():
        most = min(devices.AT_ONCE, len(group))
        if on_cpu:
            most = min(most, joblib.cpu_count() // threads)
        if most > 1 and names[0] != "mps":
            need = max(cost.measure(spec, names[0]).memory for spec in group)
            most = min(most, int(_free_memory(names[0]) // need))
        found.append((group, (names * max(1, most))[: len(group)]))
    return found


def fewer_at_once(specs: list[RunSpec], slots: list[str], attempt) -> None:
    """`attempt(specs, slots)` returns those that ran out of memory; they are tried again, half as
    many at once, until one alone does not fit either: MemoryError.
    """
    while left := attempt(specs, slots):
        if len(slots) == len(set(slots)):
            raise MemoryError(
                f"{left[0].id} does not fit into the memory of {slots[0]} on its own; lower "
                f"batch_size (now {left[0].batch_size}) or image_size (now {left[0].image_size})"
            )
        alone = list(dict.fromkeys(slots))
        slots = alone * max(1, len(slots) // len(alone) // 2)
        print(f"out of memory: {len(left)} runs are tried again, {len(slots)} at once")
        specs = left


def _side_by_side(specs: list[RunSpec], places: Places, slots: list[str]) -> list[RunSpec]:
    """Trains them, one in each slot at any time; returns those that ran out of memory."""
    if len(slots) == 1:
        done = (_train_here(spec, replace(places, device=slots[0])) for spec in specs)
        return [spec for spec in progress.bar(done, "runs", total=len(specs)) if spec]
    with (
        tempfile.TemporaryDirectory() as locks,
        joblib.parallel_config("loky", n_jobs=len(slots), inner_max_num_threads=1),
    ):
        todo = joblib.Parallel(return_as="generator_unordered")(
            joblib.delayed(_train_in_slot)(spec, places, slots, Path(locks)) for spec in specs
        )
        try:
            return [spec for spec in progress.bar(todo, "runs", total=len(specs)) if spec]
        except TerminatedWorkerError:  # as the system does to a process when memory is gone
            return [spec for spec in specs if not is_complete(places.folder(spec))]


def _train_in_slot(spec: RunSpec, places: Places, slots: list[str], locks: Path):
    """As many workers as slots: each holds a free one's lock while it trains on its device."""
    for number, device in enumerate(slots):
        with contextlib.suppress(filelock.Timeout):
            with filelock.FileLock(locks / str(number), blocking=False):
                return _train_here(spec, replace(places, device=device))
    raise RuntimeError("more workers than slots")


def _train_here(spec: RunSpec, places: Places) -> RunSpec | None:
    """None, or the spec where it ran out of memory."""
    try:
        train(spec, places, with_weights=True)
    except (MemoryError, torch.OutOfMemoryError):
        pass
    except RuntimeError as error:  # of which the CPU's allocator has no kind of its own
        if "DefaultCPUAllocator" not in str(error):
            raise
    else:
        return None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return spec


def _free_memory(device: str) -> float:
    """Bytes for trainings: on a GPU less what their packs may take (`pipeline.loader`)."""
    if device.startswith("cuda"):
        return 0.6 * torch.cuda.mem_get_info(device)[0]
    return 0.9 * psutil.virtual_memory().available


def parse_executor(text: str) -> tuple[str, int]:
    """The executor's name and its number of processes (0: one a GPU). ValueError for another."""
    name, colon, number = text.partition(":")
    if name not in EXECUTORS or (colon and (name != "torchrun" or not number.isdecimal())):
        raise ValueError(f"executor={text!r}: one of {', '.join(EXECUTORS)}, torchrun:4")
    return name, int(number or 0)


def _torchrun(spec: RunSpec, places: Places, processes: int) -> None:
    """Trains one run in several processes (`parallel`), two of them on CPUs unless told."""
    processes = processes or torch.cuda.device_count() or 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.json"
        write_json(file, spec.to_dict())
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "emolib.worker", str(file)),
            *("--data-root", str(places.data_root), "--study-folder", str(places.study)),
            *("--weights", places.weights, "--device", places.device),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{spec.id}: torchrun ended with {done.returncode}\n{done.stderr[-4000:]}"
        )


def _slurm(stage: list[RunSpec], places: Places) -> None:
    """Submits one job a run and waits for all; RuntimeError names those that failed."""
    try:
        import submitit
    except ImportError as error:
        raise RuntimeError("executor='slurm' needs submitit: pip install submitit") from error
    try:
        executor = submitit.AutoExecutor(
            places.study / "slurm", cluster="slurm", slurm_max_num_timeout=1_000_000
        )
    except RuntimeError as error:
        raise RuntimeError(
            f"executor='slurm': {error} There is no SLURM on this machine; take executor='local', "
            "or start from a login node"
        ) from error
    threads = {spec: devices.cpu_threads(spec.dataset) for spec in stage}
    executor.update_parameters(
        name="emolib", timeout_min=SLURM_MINUTES, cpus_per_task=max(threads.values())
    )
    places = replace(
        places, data_root=places.data_root.resolve(), study=places.study.resolve(),
        weights=str(Path(places.weights).resolve()) if places.weights else "",
    )  # fmt: skip
    jobs = executor.submit_array([Job(spec, places, threads[spec]) for spec in stage])
    failed = []
    for spec, job in progress.bar(zip(stage, jobs, strict=True), "jobs", total=len(stage)):
        while not job.done() and not is_complete(places.folder(spec)):
            time.sleep(1)
        # a finished job's file may take a while to be seen; its run folder says as much
        if not is_complete(places.folder(spec)) and (error := job.exception()):
            failed.append(f"{spec.id} (job {job.job_id}): {error}")
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(stage)} jobs failed:\n" + "\n".join(failed))


class Job:
    """One run as a SLURM job. Pre-empted or out of time it is queued again and goes on there."""

    def __init__(self, spec: RunSpec, places: Places, threads: int):
        self.spec, self.places, self.threads = spec, places, threads

    def __call__(self) -> None:
        # SLURM's signal reaches the processes that read pictures too; it is not meant for them
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        os.environ["EMOLIB_THREADS"] = str(self.threads)
        train(self.spec, self.places, with_weights=True)

    def checkpoint(self):
        """What submitit calls on pre-emption: the same again; the run goes on by itself."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
