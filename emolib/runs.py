"""RunSpec → run folder: train, resume or reuse; and many of them.

A run folder is complete exactly when metrics.json is there, which is written last. Every file is
whole or absent. checkpoint.pt holds an unfinished run's last epoch.
"""

import functools
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import joblib
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from . import progress, training
from .datasets import open_dataset
from .files import read_json, sha256, whole, write_csv, write_json
from .metrics import scores
from .models import create_model
from .pipeline import Pictures, derived_seed, in_memory
from .spec import RunSpec


@dataclass(frozen=True)
class RunResult:
    """A complete run, read from its folder."""

    spec: RunSpec
    folder: Path
    metrics: dict  # accuracy, recall in percent; n
    reused: bool = False

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "predictions.csv")


@dataclass(frozen=True)
class Places:
    """Where a run finds its pictures and weights and leaves its results."""

    data_root: Path
    study: Path  # <results_root>/<study>
    weights: str = ""
    device: str = "auto"

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
    places = Places(Path(data_root), Path(results_root) / study, str(weights or ""), device)
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
    places = Places(Path(data_root), Path(results_root) / study, str(weights or ""), device)
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
        data = open_dataset(spec.dataset, places.data_root)
    except FileNotFoundError as error:
        if not needed_by:
            raise
        raise FileNotFoundError(
            f"{error}; it is needed because {needed_by.dataset} starts from it "
            f"(init={needed_by.init}): copy it there, or set init={needed_by.init.split(':')[-1]}"
        ) from error
    folds = len(data.folds(spec.split_seed))
    if not 0 <= spec.fold < folds:
        raise ValueError(f"fold={spec.fold}: {spec.dataset} has folds 0 to {folds - 1}")
    if is_complete(places.folder(spec)):
        return
    in_memory(data, spec.image_size, spec.crop)  # decodes every picture once
    if spec.stages:
        _prepare(spec.predecessor(), places, needed_by=spec)
    else:
        network = replace(spec, dataset="fi", init=spec.init, fold=0, seed=0, lr=None, lr_step=None)
        _try_network(network, places.weights)


@functools.lru_cache(maxsize=16)
def _try_network(spec: RunSpec, weights: str) -> None:
    build(spec, weights)


def _run(spec: RunSpec, places: Places, with_weights: bool = False) -> RunResult:
    """with_weights: train again where model.safetensors is missing from a complete run."""
    folder = places.folder(spec)
    data = open_dataset(spec.dataset, places.data_root)
    identity = {
        "data": {"name": data.name, "fingerprint": data.fingerprint(), "demo": data.demo},
        "weights": weights_hash(spec, places.weights),
    }
    if is_complete(folder):
        _check_same(folder, spec, identity)
        if not with_weights or (folder / "model.safetensors").exists():
            return read(folder, reused=True)
    before = spec.predecessor()
    if before:
        before = _run(before, places, with_weights=True).folder / "model.safetensors"

    device = pick_device(places.device)
    state = _resumable(folder, spec, identity)
    write_json(folder / "spec.json", spec.to_dict())
    model = build(spec, places.weights, before).to(device, memory_format=torch.channels_last)
    train, test = data.folds(spec.split_seed)[spec.fold]
    validation = data.validation(spec.fold, spec.split_seed)
    if validation is not None:
        train = train[~pd.Series(train).isin(validation)]

    def keep(state):
        with whole(folder / "checkpoint.pt") as part:
            torch.save(state | {"identity": identity, "spec": spec.to_dict()}, part)

    started = time.perf_counter()
    history = training.train(model, spec, data, train, validation, device, not before, state, keep)
    pictures = Pictures(data, spec.image_size, spec.crop, spec.seed)
    p_positive = training.predict(model, pictures, test, device)
    seconds = time.perf_counter() - started
    _write(folder, data, test, p_positive, history, model, identity, device, seconds)
    return read(folder)


def _write(folder, data, test, p_positive, history, model, identity, device, seconds) -> None:
    """The run folder's files, metrics.json last."""
    tensors = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    with whole(folder / "model.safetensors") as part:
        save_file(tensors, part, metadata={"format": "pt"})
    write_csv(folder / "history.csv", pd.DataFrame(history))
    predictions = pd.DataFrame(
        {
            "path": [data.names[i] for i in test],
            "label": data.labels[test],
            "p_positive": p_positive,
        }
    )
    write_csv(folder / "predictions.csv", predictions)
    write_json(folder / "environment.json", environment(device) | identity | {"seconds": seconds})
    predictions = pd.read_csv(folder / "predictions.csv")  # what readers of the folder will see
    write_json(folder / "metrics.json", scores(predictions["label"], predictions["p_positive"]))
    (folder / "checkpoint.pt").unlink(missing_ok=True)


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


def read(folder: Path, reused: bool = False) -> RunResult:
    """A complete run from its folder."""
    spec = RunSpec.from_dict(read_json(folder / "spec.json"))
    return RunResult(spec, folder, read_json(folder / "metrics.json"), reused)


def is_complete(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


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


def _check_same(folder: Path, spec: RunSpec, identity: dict) -> None:
    """Raises ValueError where a complete run is not the one asked for."""
    found = read_json(folder / "environment.json")
    _compare(folder, read_json(folder / "spec.json"), spec.to_dict(), "setting ")
    _compare(folder, found["data"], identity["data"], "data ")
    _compare(folder, {"": found["weights"]}, {"": identity["weights"]}, "ImageNet weights ")


def _resumable(folder: Path, spec: RunSpec, identity: dict) -> dict | None:
    """The last epoch of an interrupted run, or None."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        return None
    state = torch.load(file, map_location="cpu", weights_only=True)
    found = state.pop("identity")
    _compare(folder, state.pop("spec"), spec.to_dict(), "setting ")
    _compare(folder, found["data"], identity["data"], "data ")
    _compare(folder, {"": found["weights"]}, {"": identity["weights"]}, "ImageNet weights ")
    return state


def _compare(folder: Path, there: dict, here: dict, what: str) -> None:
    for key in here:
        if key not in there or there[key] != here[key]:
            raise ValueError(
                f"{folder} was made with another {what}{key}: {there.get(key)!r} there, "
                f"{here[key]!r} now; take another study name, or remove that folder"
            )


def environment(device: torch.device) -> dict:
    """What a result depends on besides its spec; no absolute path."""
    here = Path(__file__).parent

    def git(*words):
        try:
            return subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    status = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
    cuda = device.type == "cuda"
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy", "pillow")},
        "platform": f"{sys.platform} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
