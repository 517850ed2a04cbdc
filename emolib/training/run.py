"""RunSpec → run folder: train, resume or reuse.

What is kept of a run and how it is recognised is in `run_folder`; many of them are `sweep`'s.
"""

import contextlib
import functools
import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import filelock
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ..base import devices, run_folder
from ..base.devices import pick_device
from ..base.files import content, sweep_up, write_json
from ..base.parallel import Ranks
from ..base.run_folder import RunResult, is_complete
from ..data import audit
from ..data.batches import decode_all
from ..data.datasets import Dataset, open_dataset
from ..data.manifest import manifest
from ..network import backbones, create
from ..network.build import build_network, weights_hash
from ..spec.run_spec import RunSpec
from ..spec.systems import FITTED, system_of
from ..use.predict import Predictor, speed
from . import compiling, loop


@dataclass(frozen=True)
class Places:
    """Where a run finds its pictures and weights and leaves its results."""

    data_root: Path
    study: Path  # <results_root>/<study>
    weights: str = ""
    device: str = "auto"

    @classmethod
    def of(cls, data_root, results_root, study: str, weights, device: str) -> "Places":
        return cls(Path(data_root), Path(results_root) / study, str(weights or ""), device)

    def folder(self, spec: RunSpec) -> Path:
        return self.study / "runs" / spec.id


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


def check_runs(specs, places: Places) -> None:
    """Raises what is wrong with any of the runs (data, fold, network, weights), training none."""
    pick_device(places.device)
    specs, seen, now = list(specs), set(), {}
    for spec in specs:
        _prepare(spec, places, seen)
    for spec in specs:
        _check_rests(spec, places, now)


def _prepare(
    spec: RunSpec, places: Places, seen: set[RunSpec], needed_by: RunSpec | None = None
) -> None:
    """Raises what is wrong with the run or with those before it in the chain, `seen` apart.

    Of those before a complete run only what is there is looked at: a study may be kept without
    them, or without their pictures.
    """
    if spec in seen:
        return
    seen.add(spec)
    try:
        data = open_dataset(spec.dataset, places.data_root, **spec.data_options)
    except FileNotFoundError as error:
        if not needed_by:
            raise
        raise FileNotFoundError(
            f"{error}; it is needed because {needed_by.dataset} starts from it "
            f"(init={needed_by.init}): copy it there, or set init={needed_by.init.split(':')[-1]}"
        ) from error
    parts, folder, before = split(spec, data, places), places.folder(spec), spec.predecessor()
    if is_complete(folder) and _done(spec, places, _identity(spec, data, parts, places), False):
        here = before and (places.data_root / before.dataset).is_dir()
        if here and is_complete(places.folder(before)):
            _prepare(before, places, seen)
        return
    if spec.model in FITTED or loop.of_spec(spec, data, places.weights).pack is None:
        decode_all(data)  # else packing has decoded every picture
    if before:
        _prepare(before, places, seen, needed_by=spec)
    else:
        _try_network(replace(spec, fold=0, seed=0), places.weights)


def _check_rests(spec: RunSpec, places: Places, now: dict[RunSpec, dict | None]) -> None:
    """Raises ValueError where a complete run of the chain started from one that was made with other
    data or weights than are here now, whether that one is still there or not. now: the identities
    that such runs would have, found so far; None where their pictures are not here."""
    first = before = spec.predecessor()
    folder, kept = places.folder(spec), {}
    if before and is_complete(folder):
        kept = run_folder.start_of(folder).get("identity", {})  # older runs do not say
    while before and kept:
        if before not in now:
            now[before] = _present(before, places)
        if now[before]:
            run_folder.check_rests(folder, before, kept, now[before])
        before, kept = before.predecessor(), kept.get("started_from", {}).get("identity", {})
    if first:
        _check_rests(first, places, now)


def _present(spec: RunSpec, places: Places) -> dict | None:
    """The identity that the run would have now; None where its pictures are not here."""
    try:
        data = open_dataset(spec.dataset, places.data_root, **spec.data_options)
        return _identity(spec, data, split(spec, data, places), places)
    except FileNotFoundError:
        return None


def _groups(spec: RunSpec, data: Dataset, places: Places) -> np.ndarray | None:
    """Which pictures are twins and must stay together, where the spec asks for that."""
    return audit.twin_groups(_manifest(data, places)) if spec.grouped else None


def _manifest(data: Dataset, places: Places):
    return manifest(data, places.study / "manifests" / f"{data.name}.csv")


def _left_out(spec: RunSpec, data: Dataset, places: Places) -> np.ndarray:
    """Indices of the near-twins of all pictures of the sets that the spec keeps apart."""
    found = [np.array([], int)]
    for name in spec.apart:
        other = open_dataset(name, places.data_root)
        found.append(audit.linked(_manifest(data, places), _manifest(other, places)))
    return np.concatenate(found)


def split(spec: RunSpec, data: Dataset, places: Places) -> tuple:
    """(train, validation, test), indices; the validation part is empty where there is none.

    Raises ValueError for a fold that the set does not have, and where nothing is left to train on.
    """
    groups = _groups(spec, data, places)
    folds = data.folds(spec.split_seed, groups, spec.official)
    if not 0 <= spec.fold < len(folds):
        raise ValueError(f"fold={spec.fold}: {spec.dataset} has folds 0 to {len(folds) - 1}")
    train, test = folds[spec.fold]
    validation = data.validation(spec.fold, spec.split_seed, groups)
    validation = np.array([], int) if validation is None else validation
    left_out = _left_out(spec, data, places)
    train = np.setdiff1d(np.setdiff1d(train, validation), left_out)
    validation = np.setdiff1d(validation, left_out)
    if not len(train):
        raise ValueError(
            f"{spec.dataset}: every training picture is a near-twin of one of "
            f"{', '.join(spec.apart)}; nothing is left to train on"
        )
    train = data.part(train, spec.share, spec.split_seed)
    return train, validation, test


def _identity(spec: RunSpec, data: Dataset, parts: tuple, places: Places) -> dict:
    """What a run depends on besides its spec: pictures and labels, their split, the weights, and
    the finer emotions where its system learns them."""
    emotions = data.emotions_hash() if system_of(spec.model).uses_emotions else None
    return ({"emotions": emotions} if emotions else {}) | {
        "data": {"name": data.name, "fingerprint": data.fingerprint(), "demo": data.demo},
        "split": _hash([[data.names[i] for i in part] for part in parts]),
        "weights": weights_hash(spec, places.weights),
    }


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=16)
def _try_network(spec: RunSpec, weights: str) -> None:
    build_network(spec, weights)


def train_run(
    spec: RunSpec, places: Places, with_weights: bool = False, wait: bool = True
) -> RunResult:
    """`run` without the check. with_weights: also where only a complete run's weights are gone.
    wait=False: raises `Busy` where another process holds the run folder."""
    ranks, folder = Ranks.here(), places.folder(spec)
    data = open_dataset(spec.dataset, places.data_root, **spec.data_options)
    parts = split(spec, data, places)
    identity = _identity(spec, data, parts, places)
    done = functools.partial(_done, spec, places, identity, with_weights)
    before = None
    if not ranks.agree(done()) and spec.stages:
        before = train_run(spec.predecessor(), places, True, wait).folder / "model.safetensors"
    with contextlib.ExitStack() as held:
        if ranks.first and not done():
            # who trains a complete run again is waited for: it does not look unfinished to others
            held.enter_context(_alone(folder, wait or is_complete(folder)))
            run_folder.take_again(folder)  # what a killed process had whole
        if ranks.agree(done()):  # as after waiting for another process
            return run_folder.read_run(folder, reused=True)
        # what is complete stays until the new one is whole
        into = folder / run_folder.AGAIN if ranks.agree(is_complete(folder)) else folder
        try:
            _train(spec, places, data, parts, identity, before, into)
        except Exception:
            if ranks.first:
                run_folder.record_failure(folder)
            raise
    return run_folder.read_run(folder)


def _done(spec: RunSpec, places: Places, identity: dict, with_weights: bool) -> bool:
    """Whether there is nothing to train; ValueError where what is there is another run's, or is of
    another start."""
    folder, before = places.folder(spec), spec.predecessor()
    if not is_complete(folder):
        return False
    run_folder.check_same(folder, spec, identity)
    if before:
        run_folder.check_start(folder, places.folder(before))
    return not with_weights or (folder / "model.safetensors").exists()


@contextlib.contextmanager
def _alone(folder: Path, wait: bool):
    """Holds the run folder; waits where another process, of this machine or another, does, or
    raises `Busy`. The system lets go of a dead one's."""
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


def _train(
    spec: RunSpec, places: Places, data, parts, identity: dict, before: Path | None, folder: Path
) -> None:
    """folder: the run's own, or AGAIN in it where that is complete but for its weights."""
    ranks, device = Ranks.here(), pick_device(places.device)
    training_part, validation, test = parts
    start = _start(before)
    seconds_between, kept_at = run_folder.checkpoint_seconds(), time.monotonic()
    with computing(spec, device):
        state = None
        if spec.model not in FITTED:
            state = run_folder.load_checkpoint(folder, spec, identity | start, device)
        if ranks.first:
            write_json(folder / "spec.json", spec.to_dict())

        def after_epoch(state):
            nonlocal kept_at
            if not ranks.first:
                return
            _check_unchanged(data, identity, spec)  # what is kept is of these pictures
            last = len(state["history"]) == spec.epochs
            if last or time.monotonic() - kept_at >= seconds_between:
                run_folder.save_checkpoint(folder, spec, identity | start, device, state)
                kept_at = time.monotonic()

        model = build_network(spec, places.weights, before).to(
            device, memory_format=torch.channels_last
        )
        hashed = backbones.downloaded(model)
        start |= {"weights_sha256": hashed} if hashed else {}
        started = time.perf_counter()
        history, pictures = learn(
            model,
            spec,
            data,
            training_part,
            validation,
            device,
            places.weights,
            not before,
            state,
            after_epoch,
        )
        if spec.model in FITTED:
            p_positive = model.predict_proba([data.paths[i] for i in test])[:, 1]
        else:
            p_positive = loop.probabilities(model, pictures, test, device, spec.precision)
        seconds = time.perf_counter() - started
        if not np.isfinite(p_positive).all():
            raise loop.no_number(spec, "a test picture's probability is no number")
        if ranks.first:
            _check_unchanged(data, identity, spec)
            predictor = Predictor(spec, model.eval(), device, places.weights)
            facts = (
                identity
                | start
                | create.size(model, spec.image_size)
                | {
                    "trained_on": len(training_part),
                    "pictures_per_second": speed(predictor, [data.paths[i] for i in test]),
                    "compiled": compiling.was_kept((spec.step, device)),
                    "seconds": seconds,
                }
            )
            run_folder.write_run(folder, data, test, p_positive, history, model, facts, device)
            run_folder.take_again(places.folder(spec))
    ranks.wait()


@contextlib.contextmanager
def computing(spec: RunSpec, device: torch.device):
    """What a training's bits and speed depend on in this process: threads, algorithms, memory, and
    on GPUs what is computed in TF32."""
    threads = contextlib.nullcontext()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else helpers of torch's take memory on the first GPU too
    elif device.type == "cpu":
        threads = devices.threads(max(1, devices.cpu_threads(spec.dataset) // Ranks.here().size))
    devices.keep_freed_memory()
    same_bits = device.type == "cpu" if spec.deterministic is None else spec.deterministic
    with threads, devices.deterministic(same_bits), devices.tf32_in_convolutions():
        yield


def learn(
    model,
    spec: RunSpec,
    data: Dataset,
    train,
    validation,
    device,
    weights: str = "",
    fresh: bool = True,
    state: dict | None = None,
    after_epoch=lambda state: None,
) -> tuple:
    """Trains or fits the spec's network in place on pictures `train` of `data` (indices, as is
    `validation`, which may be empty): (history, the pictures as it saw them, None if fitted).

    weights: the folder with a detector's. fresh, state, after_epoch: as in `training.train`.
    """
    if spec.model in FITTED:
        return _fit(model, data, train), None
    pictures = loop.of_spec(spec, data, weights)
    history = loop.train_network(
        model,
        spec,
        pictures,
        train,
        validation if len(validation) else None,
        device,
        fresh,
        state,
        after_epoch,
    )
    return history, pictures


def _start(before: Path | None) -> dict:
    """The run whose weights were the start, their SHA-256, and what that run depended on itself;
    nothing where there is none."""
    if before is None:
        return {}
    kept = run_folder.identity_of(before.parent)
    start = {"run": before.parent.name, "weights": content(before), "identity": kept}
    return {"started_from": start}


def _check_unchanged(data: Dataset, identity: dict, spec: RunSpec) -> None:
    """Raises ValueError where the set on disk is no longer the one that the run began with."""
    if data.fingerprint() != identity["data"]["fingerprint"]:
        raise ValueError(
            f"{data.root}: the set changed while {spec.id} was trained on it; put it back as it "
            "was and run again, or take another study name"
        )


def _fit(model, data, train) -> list[dict]:
    """Fits a system without gradients; its history is one row with the time alone. Several
    processes all do the same."""
    started = time.perf_counter()
    with threadpool_limits(torch.get_num_threads()):  # scikit-learn's and BLAS's too
        model.fit([data.paths[i] for i in train], data.labels[train])
    seconds = time.perf_counter() - started
    nothing = dict.fromkeys(("lr", "train_loss", "train_accuracy"), float("nan"))
    return [{"epoch": 1, **nothing, "seconds": seconds}]
