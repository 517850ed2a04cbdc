"""Many runs: which have to wait for which, how many fit side by side, and who trains them.

Executors: "local" trains on this machine, as many at once as its cores or its GPUs' memory take;
"torchrun" (or "torchrun:4") gives one training at a time to several processes, one a GPU; "slurm"
submits each training as a job of the cluster this runs on.

A run that fails stops no other. On GPUs each trains in a process that is not this one, because an
error there can spoil a process for all that comes after; such a process is replaced, and the run is
tried once more. A GPU that fresh processes cannot use either is left aside, and its runs go to the
others. One that another process trains comes last: two sweeps over the same runs share them out.
"""

import contextlib
import itertools
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

import filelock
import joblib
import psutil
import torch
from joblib.executor import get_memmapping_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ..base import devices, lifeline, progress
from ..base.run_folder import Busy, RunResult, is_complete
from ..spec.run_spec import RunSpec
from . import cost, launch
from .run import Places, check_runs, train_run

EXECUTORS = ("local", "torchrun", "slurm")
# Why a run is left that will be tried again.
MEMORY, BUSY, DIED = "out of memory", "busy", "a process that trained was ended"
# Words that begin what is said of a run whose process can use its GPU no more (`devices.spoilt`):
# whether the run was begun in it, or found it so (then the GPU's name follows).
SPOILT, LEFT = "the GPU failed: ", "left, as the GPU had failed: "
LOOK_AGAIN = 1.0, 30.0  # seconds between two looks at what others train, at first and at most


class RunsFailed(RuntimeError):
    """Some runs of a sweep failed; `failed` has them, {RunSpec: what went wrong}. count: of how
    many; folder: the study's runs."""

    def __init__(self, failed: dict, count: int, folder: Path):
        self.failed, self.count, self.folder = failed, count, folder
        lines = [f"{spec.id}: {why}" for spec, why in failed.items()]
        super().__init__(
            f"{len(failed)} of {count} runs failed, the others are complete; the next call tries "
            f"them again. Tracebacks of those that were begun: {folder}/<run>/failed.txt\n"
            + "\n".join(lines)
        )

    @classmethod
    def of(cls, several: list) -> "RunsFailed":
        """Those of several sweeps over one study."""
        failed = {spec: why for one in several for spec, why in one.failed.items()}
        return cls(failed, sum(one.count for one in several), several[0].folder)

    def __reduce__(self):
        return type(self), (self.failed, self.count, self.folder)


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
    ValueError for an unknown executor, RuntimeError where SLURM is not there; and RunsFailed, when
    all else is trained, where runs failed: it lists them.
    """
    name, processes = parse_executor(executor)
    specs = list(specs)
    places = Places.of(data_root, results_root, study, weights, device)
    check_runs(specs, places)
    started, trained, failed = time.perf_counter(), 0, {}
    for stage in stages(specs, places):
        trained += len(stage)
        for spec in stage:
            if spec.predecessor() in failed:
                failed[spec] = f"it starts from {spec.predecessor().id}, which failed"
        stage = [spec for spec in stage if spec not in failed]
        if name == "slurm":
            try:
                failed |= launch.slurm(stage, places) if stage else {}
            except RuntimeError as error:
                if not failed:
                    raise
                failed |= dict.fromkeys(stage, str(error))
        elif name == "torchrun":
            for spec in progress.bar(stage, "runs"):
                if why := launch.torchrun(spec, places, processes):
                    failed[spec] = why
        else:
            for group, slots in share_devices(stage, places):
                failed |= _local(group, places, slots)
    if failed:
        raise RunsFailed(failed, trained, places.study / "runs")
    results = {spec: train_run(spec, places) for spec in dict.fromkeys(specs)}
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


def share_devices(stage: list[RunSpec], places: Places) -> list[tuple[list[RunSpec], list[str]]]:
    """A stage's runs that may go side by side, and the device of each of them that does.

    On CPUs runs with the same number of threads, as many as there are cores for; on a GPU as many
    as its memory holds, by the measured need of the largest; never more than AT_ONCE on one. A GPU
    that does not say how much memory it has gets none while another does.
    """
    names = devices.every_device(places.device)
    on_cpu = names == ["cpu"]
    by_threads = {}
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
    """The bytes free on each device that tells: one that is full or has failed may not."""
    free = {}
    for name in names:
        with contextlib.suppress(RuntimeError, MemoryError):
            free[name] = _free_memory(name)
    return free


def _room(group: list[RunSpec], free: dict[str, float]) -> int:
    """How many of the runs fit into a device's memory at once; 1 where even that cannot be found
    out, as on a GPU that is full or has failed: the runs themselves will say what is wrong."""
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


def fewer_at_once(specs: list[RunSpec], slots: list[str], attempt) -> list[RunSpec]:
    """`attempt(specs, slots)` returns those that ran out of memory; they are tried again, half as
    many at once. Returns those that do not fit alone either.
    """
    while left := attempt(specs, slots):
        if len(slots) == len(set(slots)):
            return left
        alone = list(dict.fromkeys(slots))
        slots = alone * max(1, len(slots) // len(alone) // 2)
        print(f"out of memory: {len(left)} runs are tried again, {len(slots)} at once")
        specs = left
    return []


def _local(specs: list[RunSpec], places: Places, slots: list[str]) -> dict[RunSpec, str]:
    """Trains them on this machine; the runs that failed, with what went wrong."""
    failed, spoilt, lost = {}, Counter(), set()

    def usable(slots):
        """The slots whose device is not lost, or else other devices, no more than there were."""
        if there := [s for s in slots if s not in lost]:
            return there
        return [d for d in devices.every_device(places.device) if d not in lost][: len(slots)]

    def attempt(todo, slots):
        too_large, deaths, slots = [], 0, usable(slots) or slots
        while todo:  # what others train is looked at again, until it is done or they are gone
            words = _side_by_side(todo, places, slots)
            whys = {s: why for s, (_, why) in words.items()}
            too_large += [s for s in todo if whys[s] == MEMORY]
            busy, died = ([s for s in todo if whys[s] == why] for why in (BUSY, DIED))
            left = [s for s in todo if whys[s].startswith(LEFT)]
            lost.update(_unusable(words.values()))
            others = usable(slots)
            if not others:  # no device remains
                left = []
            elif others != slots:
                names = ", ".join(dict.fromkeys(others))
                print(f"{len(left)} runs are {whys[left[0]]}; they go to {names}")
                slots = others
            spoilt.update(s for s in todo if whys[s].startswith(SPOILT))
            once = [s for s in todo if whys[s].startswith(SPOILT) and spoilt[s] < 2]
            deaths += bool(died)
            if deaths > 1:  # as the system does to a process when memory is gone
                too_large, died = too_large + died, []
            if busy == todo:
                _wait_for_one(busy, places)
            again = busy + died + left + once
            failed.update(
                {s: whys[s] for s in todo if whys[s] and s not in again and s not in too_large}
            )
            todo = again
        return too_large

    for spec in fewer_at_once(specs, slots, attempt):
        device = (usable(slots) or slots)[0]
        failed[spec] = (
            f"it does not fit into the memory of {device} on its own, or its process was ended "
            f"twice; lower batch_size (now {spec.batch_size}) or image_size (now {spec.image_size})"
        )
    return failed


def _unusable(words) -> set[str]:
    """The devices that fresh processes cannot use, by all words of one pass, (device, word): each
    run tried there was left or is another process's. None where a run spoilt its process or its
    process was ended, which may be why the others were left."""
    words = list(words)
    if any(why == DIED or why.startswith(SPOILT) for _, why in words):
        return set()
    left = {device for device, why in words if why.startswith(LEFT)}
    return left - {device for device, why in words if why != BUSY and not why.startswith(LEFT)}


def _wait_for_one(specs: list[RunSpec], places: Places) -> None:
    """Until another process is done with one of the runs, or has died over it."""
    print(f"{len(specs)} runs are trained by another process; waiting for it")
    pause, longest = LOOK_AGAIN
    while True:
        for spec in specs:
            if is_complete(places.folder(spec)):
                return
            with contextlib.suppress(filelock.Timeout):
                with filelock.FileLock(places.folder(spec) / "lock", timeout=0):
                    return
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _side_by_side(
    specs: list[RunSpec], places: Places, slots: list[str]
) -> dict[RunSpec, tuple[str, str]]:
    """Tries to train each once, one in each slot at any time: {run: (the slot's device, or "" where
    its process was ended, `_train_here`'s word)}."""
    if len(slots) == 1 and not slots[0].startswith("cuda"):
        done = ((s, (slots[0], _train_here(s, replace(places, device=slots[0])))) for s in specs)
        return dict(progress.bar(done, "runs", total=len(specs)))
    words, workers = {}, _workers(len(slots))
    with tempfile.TemporaryDirectory() as locks:
        told = places, slots, Path(locks), _settings(), os.getpid()
        try:
            with contextlib.suppress(TerminatedWorkerError):
                runs = {}
                for spec in specs:
                    runs[workers.submit(_train_in_slot, spec, *told)] = spec
            for run in progress.bar(as_completed(runs), "runs", total=len(specs)):
                with contextlib.suppress(TerminatedWorkerError):
                    words[runs[run]] = run.result()
        except BaseException:  # an interrupt is for them too
            workers.shutdown(kill_workers=True)
            raise
    left = [s for s in specs if s not in words]
    words |= {s: ("", "" if is_complete(places.folder(s)) else DIED) for s in left}
    if any(why.startswith((SPOILT, LEFT)) for _, why in words.values()):
        workers.shutdown()  # the next call gets fresh ones
    return words


def _workers(count: int):
    """An executor of so many processes, with one thread each for what is not torch's; they live on
    for a while and are used again. It is joblib's own, so that whoever calls joblib next, such as
    scikit-learn, finds one that it knows."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return get_memmapping_executor(count, timeout=300, env=one_thread)


def _settings() -> dict:
    """EMOLIB_…, which workers that live on from an earlier call would not know of."""
    return {name: value for name, value in os.environ.items() if name.startswith("EMOLIB_")}


def _train_in_slot(
    spec: RunSpec, places: Places, slots: list[str], locks: Path, settings: dict, parent: int
) -> tuple[str, str]:
    """As many workers as slots: each holds a free one's lock while it trains on its device. Gives
    the device and `_train_here`'s word."""
    lifeline.tie(parent)
    for name in _settings():
        del os.environ[name]
    os.environ.update(settings)
    for number, device in itertools.cycle(enumerate(slots)):
        with contextlib.suppress(filelock.Timeout):
            with filelock.FileLock(locks / str(number), timeout=0.01):
                return device, _train_here(spec, replace(places, device=device))


def _train_here(spec: RunSpec, places: Places) -> str:
    """ "" where the run is trained, MEMORY, BUSY where another process trains it, or the error,
    after SPOILT or LEFT where this process can train no other on that GPU."""
    if why := devices.spoilt(places.device):
        return f"{LEFT}{places.device}: {why}"
    try:
        with out_of_memory() as too_large:
            train_run(spec, places, with_weights=True, wait=False)
    except Busy:
        return BUSY
    except Exception as error:
        why = f"{type(error).__name__}: {error}".replace(f"{spec.id}: ", "")
        return SPOILT + why if devices.spoilt(places.device) else why
    finally:
        devices.give_back(places.device)
    if too_large and devices.spoilt(places.device):
        return SPOILT + too_large[0]
    return MEMORY if too_large else ""


@contextlib.contextmanager
def out_of_memory():
    """Ends the block where memory runs out; the list that it gives then holds the error's text."""
    seen = []
    try:
        yield seen
    except (RuntimeError, MemoryError) as error:
        if not devices.ran_out_of_memory(error):
            raise
        seen.append(str(error))


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
