"""RunSpec → run folder: train, resume or reuse; and many of them.

What is kept of a run and how it is recognised is in `run_folder`.
"""

import functools
import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from safetensors.torch import load_file

from . import audit, progress, run_folder, training
from .datasets import Dataset, open_dataset
from .files import sha256, write_json
from .manifest import manifest
from .models import create_model
from .pipeline import derived_seed
from .run_folder import RunResult, is_complete
from .spec import RunSpec


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
    check([spec], places)
    return _run(spec, places)


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

    All are checked (data, folds, network, weights) before the first is trained. On a CPU up to
    four train side by side, with the cores shared out: small batches keep one core busy and gain
    little from a second. On a GPU one after another.
    """
    if executor != "local":
        raise ValueError(f"executor={executor!r}: there is only 'local'")
    specs = list(specs)
    places = Places.of(data_root, results_root, study, weights, device)
    check(specs, places)
    on_gpu = pick_device(device).type != "cpu"
    started = time.perf_counter()
    trained = 0
    for stage in _stages(specs, places):
        trained += len(stage)
        if on_gpu or len(stage) == 1 or joblib.cpu_count() == 1:
            for spec in progress.bar(stage, "runs"):
                _run(spec, places, with_weights=True)
        else:
            _side_by_side(stage, places)
    results = {spec: _run(spec, places) for spec in dict.fromkeys(specs)}
    print(
        f"{len(results)} in all: {trained} trained (with those they start from), "
        f"{time.perf_counter() - started:.0f} s"
    )
    return [results[spec] for spec in specs]


def check(specs, places: Places) -> None:
    """Raises what is wrong with any of the runs (data, fold, network, weights), training none."""
    pick_device(places.device)
    for spec in dict.fromkeys(specs):
        _prepare(spec, places)


def _stages(specs, places: Places) -> list[list[RunSpec]]:
    """The runs to train, in groups that need only runs of earlier groups."""
    depth = {}

    def visit(spec, needed):
        """Depth of the run's group; 0 where nothing is to be done for it."""
        there = is_complete(places.folder(spec))
        if there and (not needed or (places.folder(spec) / "model.safetensors").exists()):
            return 0
        before = spec.predecessor()
        depth[spec] = 1 + (visit(before, needed=True) if before else 0)
        return depth[spec]

    for spec in specs:
        visit(spec, needed=False)
    return [[s for s in depth if depth[s] == d] for d in sorted(set(depth.values()))]


def _side_by_side(specs: list[RunSpec], places: Places) -> None:
    workers = min(len(specs), joblib.cpu_count(), 4)
    threads = max(1, joblib.cpu_count() // workers)
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=threads):
        todo = joblib.Parallel(return_as="generator_unordered")(
            joblib.delayed(_train_in_worker)(spec, places, threads) for spec in specs
        )
        for _ in progress.bar(todo, "runs", total=len(specs)):
            pass


def _train_in_worker(spec: RunSpec, places: Places, threads: int) -> None:
    torch.set_num_threads(threads)
    _run(spec, places, with_weights=True)


def _prepare(spec: RunSpec, places: Places, needed_by: RunSpec | None = None) -> None:
    """Raises what is wrong with the run or with those before it in the chain."""
    try:
        data = open_dataset(spec.dataset, places.data_root, **spec.data_options)
    except FileNotFoundError as error:
        if not needed_by:
            raise
        raise FileNotFoundError(
            f"{error}; it is needed because {needed_by.dataset} starts from it "
            f"(init={needed_by.init}): copy it there, or set init={needed_by.init.split(':')[-1]}"
        ) from error
    if is_complete(places.folder(spec)):
        return
    _split(spec, data, places)
    training.of_spec(spec, data)  # decodes every picture once
    if spec.stages:
        _prepare(spec.predecessor(), places, needed_by=spec)
    else:
        _try_network(replace(spec, fold=0, seed=0), places.weights)


def _groups(spec: RunSpec, data: Dataset, places: Places) -> np.ndarray | None:
    """Which pictures are twins and must stay together, where the spec asks for that."""
    if not spec.grouped:
        return None
    return audit.groups(manifest(data, places.study / "manifests" / f"{data.name}.csv"))


def _split(spec: RunSpec, data: Dataset, places: Places) -> tuple:
    """(train, validation, test), indices; the validation part is empty where there is none.

    Raises ValueError for a fold that the set does not have.
    """
    groups = _groups(spec, data, places)
    folds = data.folds(spec.split_seed, groups)
    if not 0 <= spec.fold < len(folds):
        raise ValueError(f"fold={spec.fold}: {spec.dataset} has folds 0 to {len(folds) - 1}")
    train, test = folds[spec.fold]
    validation = data.validation(spec.fold, spec.split_seed, groups)
    validation = np.array([], int) if validation is None else validation
    return np.setdiff1d(train, validation), validation, test


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=16)
def _try_network(spec: RunSpec, weights: str) -> None:
    build(spec, weights)


def _run(spec: RunSpec, places: Places, with_weights: bool = False) -> RunResult:
    """with_weights: train again where model.safetensors is missing from a complete run."""
    folder = places.folder(spec)
    data = open_dataset(spec.dataset, places.data_root, **spec.data_options)
    train, validation, test = _split(spec, data, places)
    identity = {
        "data": {"name": data.name, "fingerprint": data.fingerprint(), "demo": data.demo},
        "split": _hash([[data.names[i] for i in part] for part in (train, validation, test)]),
        "weights": weights_hash(spec, places.weights),
    }
    if is_complete(folder):
        run_folder.check_same(folder, spec, identity)
        if not with_weights or (folder / "model.safetensors").exists():
            return run_folder.read(folder, reused=True)
    before = spec.predecessor()
    if before:
        before = _run(before, places, with_weights=True).folder / "model.safetensors"

    device = pick_device(places.device)
    state = run_folder.load_checkpoint(folder, spec, identity)
    write_json(folder / "spec.json", spec.to_dict())
    model = build(spec, places.weights, before).to(device, memory_format=torch.channels_last)
    keep = functools.partial(run_folder.save_checkpoint, folder, spec, identity)
    started = time.perf_counter()
    history = training.train(
        model, spec, data, train, validation if len(validation) else None, device, not before,
        state, keep,
    )  # fmt: skip
    pictures = training.of_spec(spec, data)
    p_positive = training.predict(model, pictures, test, device, spec.precision)
    seconds = time.perf_counter() - started
    run_folder.write(folder, data, test, p_positive, history, model, identity, device, seconds)
    return run_folder.read(folder)


def build(spec: RunSpec, weights: str = "", before: Path | None = None) -> torch.nn.Module:
    """The spec's network at its start: random, ImageNet or the weights of the run `before`.

    The fully connected layers of a fine-tuning start from its predecessor's too.
    """
    torch.manual_seed(derived_seed(spec.seed))
    weights, options = weights_file(spec, weights), {}
    if spec.model == "maiafa":
        names = ("backbone", "mai", "afa", "readings", "width", "dropout")
        options = {name: getattr(spec, name) for name in names}
    pretrained = before is None and spec.init == "imagenet"
    model = create_model(
        spec.model, pretrained=pretrained, weights=weights if pretrained else "", **options
    )
    if before:
        model.load_state_dict(load_file(before))
    return model


def weights_file(spec: RunSpec, weights: str) -> str:
    """The file of this run's ImageNet weights: `weights`, or in the folder `weights`."""
    if weights and Path(weights).is_dir():
        return str(Path(weights) / f"{spec.backbone}.safetensors")
    return str(weights)


def weights_hash(spec: RunSpec, weights: str) -> str:
    """What the chain starts from: "scratch", a local file's hash, or "timm:" and the model name."""
    if spec.init.endswith("scratch"):
        return "scratch"
    file = weights_file(spec, weights)
    return f"sha256:{sha256(Path(file))[:16]}" if file else f"timm:{spec.backbone}"


def pick_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then Apple's GPU, then the CPU. Raises ValueError for one not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device={name!r} is not there: {str(error).splitlines()[0]}") from error
