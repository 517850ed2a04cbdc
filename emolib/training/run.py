"""RunSpec → run folder: train, resume or reuse.

`check` says beforehand what is wrong, `task` what a run is made from. What is kept of one is in
`base.run_folder`, whether it is the one asked for in `base.reuse`. `sweep` trains many.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import torch

from ..base import checkpoints, devices, progress, reuse, run_folder
from ..base.devices import pick_device
from ..base.files import content, sweep_up, write_json
from ..base.parallel import Ranks
from ..base.run_folder import RunResult, is_complete
from ..data import tasks
from ..data.predictions import constant_of, predictions_of
from ..network import backbones, create
from ..network.build import build_network
from ..spec.run_spec import RunSpec
from ..use.predict import Predictor, speed
from . import compiling, loop
from .answering import answers_for
from .check import check_runs
from .task import Places, Task


def run(
    spec: RunSpec, data_root, results_root, study: str = "demo", weights="", device: str = "auto"
) -> RunResult:
    """Trains `spec` and tests it, goes on where it was interrupted, or returns what is there.

    data_root: the folder that holds fi/, twitter1/, emotionroi/. The run folder is
    `results_root`/`study`/runs/`spec.id`. weights: a local file of the backbone's ImageNet
    weights, "" for timm's download. device: "auto", "cpu", "cuda", "cuda:1", "mps".

    Trainings that `spec.init` names are run first where their weights are missing. Raises
    ValueError where a run folder was made with other data, weights or settings, naming the
    difference, and whatever `open_dataset` and `create_model` raise, before any training starts.
    """
    places = Places.of(data_root, results_root, study, weights, device)
    check_runs([spec], places)
    return train_run(spec, places)


def train_run(
    spec: RunSpec, places: Places, with_weights: bool = False, wait: bool = True
) -> RunResult:
    """`run` without the check before it: holds the run folder, trains, tests and writes.

    A complete run is returned as it is. with_weights: it is trained again where its weights are
    gone. wait=False: raises `Busy` where another process holds the run folder. Where torchrun has
    started several processes, each calls this, and the first alone holds and writes.
    """
    ranks, task, before = Ranks.here(), Task.of(spec, places), None
    done = ranks.agree(task.is_done(with_weights))
    if not done and (predecessor := spec.predecessor()):
        before = train_run(predecessor, places, True, wait).folder / "model.safetensors"
    with _to_train(task, with_weights, wait) as folder:
        if not folder:
            return run_folder.read_run(task.folder, reused=True)
        device = pick_device(places.device)
        with computing(spec, device):
            rests_on = task.identity | _start(before)
            state = checkpoints.load_checkpoint(folder, spec, rests_on, device)
            if ranks.first:
                write_json(folder / "spec.json", spec.to_dict())
            classes = task.data.classes
            other = before is not None and tuple(run_folder.classes_of(before.parent)) != classes
            network = build_network(spec, places.weights, before, len(classes), new_last=other)
            model = loop.moved(network, device)
            if hashed := backbones.downloaded(model):
                rests_on["weights_sha256"] = hashed
            after_epoch = _keeper(task, folder, rests_on, device)
            started = time.perf_counter()
            pictures = loop.pictures_of(spec, task.data, places.weights, model)
            material = loop.Material(pictures, task.train, task.validation)
            history = loop.train_network(model, spec, material, device, state, after_epoch)
            found = answers_for(model, pictures, task.test, device, spec)
            seconds = time.perf_counter() - started
            if not np.isfinite(found).all():
                raise loop.no_number(spec, "the answer for a test picture is no number")
            if ranks.first:
                task.check_unchanged()
                tested = [task.data.paths[i] for i in task.test]
                predictor = Predictor(spec, model.eval(), device, places.weights, classes=classes)
                facts = {
                    **rests_on,
                    **(_of_task(task) if spec.task != "polarity" else {}),
                    **create.size(model, spec.image_size),
                    "trained_on": len(task.train),
                    "pictures_per_second": speed(predictor, tested),
                    "compiled": compiling.was_kept((spec.step, device)),
                    "seconds": seconds,
                }
                table = predictions_of(task.data, task.test, found)
                scores = tasks.TASKS[spec.task].scores
                run_folder.write_run(folder, table, scores, history, model, facts, device)
                reuse.take_again(task.folder)
        ranks.wait()
    return run_folder.read_run(task.folder)


def _of_task(task: Task) -> dict:
    """For environment.json: what the answers are of, and the constant answer by the pictures that
    are trained on or validated."""
    learnt = np.union1d(task.train, task.validation)
    return {"classes": list(task.data.classes), "constant": constant_of(task.data, learnt)}


@contextlib.contextmanager
def _to_train(task: Task, with_weights: bool, wait: bool) -> Iterator[Path | None]:
    """Holds the run folder. Gives the folder to train in, or None where nothing is left to train.

    That is the run's own, or AGAIN in it where the run is complete but for its weights: what is
    there stays until the new one is whole. An error of the block is written into failed.txt.
    """
    ranks, folder = Ranks.here(), task.folder
    with contextlib.ExitStack() as held:
        if ranks.first and not task.is_done(with_weights):
            # a complete run that is trained again is waited for: to others it looks finished
            held.enter_context(_alone(folder, wait or is_complete(folder)))
            reuse.take_again(folder)  # what a killed process had whole
        if ranks.agree(task.is_done(with_weights)):  # as after waiting for another process
            yield None
            return
        try:
            yield folder / run_folder.AGAIN if ranks.agree(is_complete(folder)) else folder
        except Exception:
            if ranks.first:
                run_folder.record_failure(folder)
            raise


@contextlib.contextmanager
def _alone(folder: Path, wait: bool) -> Iterator[None]:
    """Holds the run folder against other processes, of this machine or another. Where one of them
    has it, waits for that one or raises `Busy`. The system lets go of a dead one's."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise run_folder.Busy(f"{folder.name}: another process is training this run") from None
        print(f"{folder.name}: another process is training this run; waiting for it")
        lock.acquire()
    try:
        for left in (folder, folder / run_folder.AGAIN):
            sweep_up(left)
        yield
        (folder / "lock").unlink(missing_ok=True)  # who waited finds a complete run
    finally:
        lock.release()


def _start(before: Path | None) -> dict:
    """The run whose weights, `before`, were the start: its name, their SHA-256, and what that run
    depended on itself. Nothing where there is none."""
    if before is None:
        return {}
    kept = run_folder.identity_of(before.parent)
    start = {"run": before.parent.name, "weights": content(before), "identity": kept}
    return {"started_from": start}


def _keeper(task: Task, folder: Path, rests_on: dict, device: torch.device):
    """A function that gets the state after each epoch. It keeps the last one, and another wherever
    enough time has passed since the one before."""
    seconds_between, kept_at = checkpoints.checkpoint_seconds(), time.monotonic()

    def after_epoch(state: dict) -> None:
        nonlocal kept_at
        if not Ranks.here().first:
            return
        task.check_unchanged()  # what is kept is of these pictures
        row, epochs = state["history"][-1], sum(phase.epochs for phase in task.spec.phases)
        pictures = len(task.train)
        rate = pictures / max(row["seconds"], 1e-9)
        told = {"epoch": row["epoch"], "epochs": epochs, "pictures": pictures, "rate": rate}
        progress.tell(run=folder.name, **told)
        last = row["epoch"] == epochs
        if last or time.monotonic() - kept_at >= seconds_between:
            checkpoints.save_checkpoint(folder, task.spec, rests_on, device, state)
            kept_at = time.monotonic()

    return after_epoch


@contextlib.contextmanager
def computing(spec: RunSpec, device: torch.device, alone: bool = False) -> Iterator[None]:
    """What a training's bits and speed depend on in this process: threads, algorithms, memory, and
    on GPUs what is computed in TF32. alone: no run among others (`devices.cpu_threads`)."""
    count = torch.get_num_threads()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else helpers of torch's take memory on the first GPU too
    elif device.type == "cpu":
        count = devices.cpu_threads("" if alone else spec.dataset)
        count = max(1, count // Ranks.here().size)
    devices.keep_freed_memory()
    same_bits = device.type == "cpu" if spec.deterministic is None else spec.deterministic
    with devices.threads(count), devices.deterministic(same_bits), devices.tf32_in_convolutions():
        yield
