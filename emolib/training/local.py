"""Trainings on this machine, side by side in processes of their own.

On GPUs each trains in a process that is not this one, because an error there can spoil a process
for all that comes after. Such a process is replaced, and the run is tried once more. A GPU that
fresh processes cannot use either is left aside, and its runs go to the others. A run that another
process trains comes last: two sweeps over the same runs share them out.
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
from joblib.executor import get_memmapping_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ..base import devices, progress
from ..base.run_folder import Busy, is_complete
from ..spec.run_spec import RunSpec
from . import lifeline
from .run import train_run
from .task import Places

# Why a run is left that will be tried again.
MEMORY, BUSY, DIED = "out of memory", "busy", "a process that trained was ended"
# Words that begin what is said of a run whose process can use its GPU no more (`devices.spoilt`):
# whether the run was begun in it, or found it so (then the GPU's name follows).
SPOILT, LEFT = "the GPU failed: ", "left, as the GPU had failed: "
KINDS = (MEMORY, BUSY, DIED, SPOILT, LEFT)
LOOK_AGAIN = 1.0, 30.0  # seconds between two looks at what others train, at first and at most


def fewer_at_once(specs: list[RunSpec], slots: list[str], attempt) -> list[RunSpec]:
    """`attempt(specs, slots)` returns the runs that ran out of memory. These are tried again, half
    as many at once, at last on each device by itself: another may have had no room. Returns those
    that fit on none."""
    while left := attempt(specs, slots):
        alone = list(dict.fromkeys(slots))
        if len(slots) == len(alone):
            break
        slots = alone * max(1, len(slots) // len(alone) // 2)
        print(f"out of memory: {len(left)} runs are tried again, {len(slots)} at once")
        specs = left
    for device in slots if len(slots) > 1 else []:
        if left:
            print(f"out of memory: {len(left)} runs are tried again, on {device} alone")
            left = attempt(left, [device])
    return left


def train_all(specs: list[RunSpec], places: Places, slots: list[str]) -> dict[RunSpec, str]:
    """Trains the runs, one in each slot at any time. Returns those that failed, with what went
    wrong. slots: devices, each as often as it takes a run at the same time."""
    failed: dict[RunSpec, str] = {}
    spoilt, lost = Counter[RunSpec](), set[str]()

    def usable(slots):
        """The slots whose device is not lost. Where none is left: other devices, no more of them
        than there were slots."""
        if there := [s for s in slots if s not in lost]:
            return there
        return [d for d in devices.every_device(places.device) if d not in lost][: len(slots)]

    def attempt(todo, slots):
        """Tries them until each is trained or given up. Returns those that ran out of memory."""
        too_large, deaths, slots = [], 0, usable(slots) or slots
        while todo:  # what others train is looked at again, until it is done or they are gone
            words = _side_by_side(todo, places, slots)
            why = {spec: word for spec, (_, word) in words.items()}
            of = {kind: [s for s in todo if why[s].startswith(kind)] for kind in KINDS}
            lost.update(_unusable(words.values()))
            others, left = usable(slots), of[LEFT]
            if not others:
                left = []  # they fail: no device remains
            elif others != slots:
                names = ", ".join(dict.fromkeys(others))
                print(f"{len(left)} runs are {why[left[0]]}; they go to {names}")
                slots = others
            spoilt.update(of[SPOILT])
            too_large += of[MEMORY]
            died = of[DIED]
            deaths += bool(died)
            if deaths > 1:  # as the system does to a process when memory is gone
                too_large, died = too_large + died, []
            again = of[BUSY] + died + left + [s for s in of[SPOILT] if spoilt[s] < 2]
            if of[BUSY] == todo:
                _wait_for_one(todo, places)
            given_up = [s for s in todo if why[s] and s not in again + too_large]
            failed.update({spec: why[spec] for spec in given_up})
            todo = again
        return too_large

    for spec in fewer_at_once(specs, slots, attempt):
        tried = " or ".join(dict.fromkeys(usable(slots) or slots))
        failed[spec] = (
            f"it does not fit into the memory of {tried} on its own, or its process was ended "
            f"twice; lower batch_size (now {spec.batch_size}) or image_size (now {spec.image_size})"
            + ", or name emptier GPUs in CUDA_VISIBLE_DEVICES"
            * tried.startswith("cuda")
        )
    return failed


def _unusable(words) -> set[str]:
    """The devices that fresh processes cannot use, by the (device, word) of each run of one pass:
    what was tried there was left, or is another process's. None of them where a run spoilt its
    process or its process was ended: that may be why the others were left."""
    words = list(words)
    if any(why == DIED or why.startswith(SPOILT) for _, why in words):
        return set()
    left = {device for device, why in words if why.startswith(LEFT)}
    return left - {device for device, why in words if why != BUSY and not why.startswith(LEFT)}


def _wait_for_one(specs: list[RunSpec], places: Places) -> None:
    """Waits until another process is done with one of the runs, or has died over it."""
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
    """Tries to train each run once, one in each slot at any time. Returns for each the slot's
    device, "" where its process was ended, and `_train_here`'s word."""
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
    """An executor of so many processes, with one thread each for what is not torch's. They live on
    for a while and are used again. The executor is joblib's own, so that whoever calls joblib next,
    such as scikit-learn, finds one that it knows."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return get_memmapping_executor(count, timeout=300, env=one_thread)


def _settings() -> dict:
    """EMOLIB_…, which workers that live on from an earlier call would not know of."""
    return {name: value for name, value in os.environ.items() if name.startswith("EMOLIB_")}


def _train_in_slot(
    spec: RunSpec, places: Places, slots: list[str], locks: Path, settings: dict, parent: int
) -> tuple[str, str]:
    """What a worker does for one run. It takes a free slot and holds that one's lock while it
    trains on its device. Returns the device and `_train_here`'s word."""
    lifeline.tie(parent)
    for name in _settings():
        del os.environ[name]
    os.environ.update(settings)
    for number, device in itertools.cycle(enumerate(slots)):
        with contextlib.suppress(filelock.Timeout):
            with filelock.FileLock(locks / str(number), timeout=0.01):
                return device, _train_here(spec, replace(places, device=device))
    raise ValueError("slots: there is none")


def _train_here(spec: RunSpec, places: Places) -> str:
    """Trains the run in this process, on `places.device`. Returns a word on how that ended:

    "": it is trained. MEMORY: memory ran out. BUSY: another process trains it. Anything else is the
    error. It begins with SPOILT where this process can use that GPU no more since then, and with
    LEFT where it could not before, so that the run was not begun.
    """
    if why := devices.spoilt(places.device):
        return f"{LEFT}{places.device}: {why}"
    word = said = ""
    try:
        train_run(spec, places, with_weights=True, wait=False)
    except Busy:
        return BUSY
    except Exception as error:
        said = f"{type(error).__name__}: {error}".replace(f"{spec.id}: ", "")
        word = MEMORY if devices.ran_out_of_memory(error) else said
    finally:
        devices.give_back(places.device)
    return SPOILT + said if word and devices.spoilt(places.device) else word
