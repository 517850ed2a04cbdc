"""Does everything work on this machine's GPU? Each check says so, with its figures.

    python -m emolib.gpu_check [--only NAMES] [--results DIR]

Writes DIR/gpu/<card>-<date>.json, a list of {check, ok, seconds, figures}, anew after each check,
and the same as a table beside it. With --only the names are part of the files' name, so that a
whole check of the same day stays. Takes about 7 minutes, on drawn pictures and random weights.
Exit code 0: all is well; 1: a check failed, or there is no GPU that torch can use; 2: wrong words.
"""

import argparse
import contextlib
import copy
import datetime
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from . import worker
from .base import devices, run_folder
from .base.files import sha256, write_json, write_text
from .data.batches import Batches, Pictures
from .data.datasets import open_dataset
from .data.demo.demo import make_demo_data
from .data.on_device import OnDevice, pixels_of
from .network import create
from .network.build import build_network
from .spec.run_spec import Readings, RunSpec
from .spec.systems import FITTED, RIVALS, WITH_BOXES
from .study.settings import VARIANTS
from .training import cost, launch, loop, plan, sweep
from .training.estimator import EmotionClassifier
from .training.run import Places, run
from .use.load import load

PICTURES = 40  # drawn
FREE = 3 << 30  # bytes left on a card that is nearly full: a process takes 0.6 GB before it trains
# Nothing in a step of these makes the host wait, and nothing in their answers is a choice between
# near-equal numbers, which another device might make otherwise.
STEADY = ("maiafa", "resnet18", "ar", "wscnet", "mcpnet", "pcnn", "clip_finetune")
_READINGS = (
    {"attention": "shuffle"},
    {"gate": "fused"},
    {"psi": "softmax"},
    {"psi": "sigmoid"},
    {"levels": "increased"},
)
PAPERS_STEP = dict(backbone="hrnet_w48", image_size=224, batch_size=32)  # the paper's
FAULT = 13  # the seed of the run that `faults` breaks
# Python reads this file at its start, in a sweep's workers too.
BREAKS = f"""
import wrapt

@wrapt.when_imported("emolib.training.loop")
def _(loop):
    import torch
    train = loop.train_network
    def broken(model, spec, pictures, indices, validation, device, *rest, **more):
        if spec.seed == {FAULT}:
            torch.zeros(2, device=device)[torch.tensor([7], device=device)].tolist()
        return train(model, spec, pictures, indices, validation, device, *rest, **more)
    loop.train_network = broken
"""


@dataclass(frozen=True)
class Here:
    """Where the checks run and how large they are; the tests' are smaller, on a CPU."""

    device: torch.device
    folder: Path  # for what is thrown away
    results: Path
    names: tuple[str, ...] = ("auto", "cuda", "cuda:0")  # what a user may call the device
    backbone: str = "hrnet_w18_small"
    image_size: int = 64
    step: tuple = tuple(PAPERS_STEP.items())

    def spec(self, **changes) -> RunSpec:
        """A short run on drawn pictures."""
        usual = dict(
            dataset="twitter1",
            backbone=self.backbone,
            image_size=self.image_size,
            width=128,
            init="scratch",
            epochs=2,
            batch_size=8,
            lr=0.001,
        )
        return RunSpec(**usual | changes)

    @property
    def data(self) -> Path:
        """The folder with the drawn pictures."""
        return make_demo_data(self.folder / "data", sizes={"twitter1": PICTURES})


def this_machine(here: Here) -> dict:
    """What the card, its driver and torch are."""
    card = torch.cuda.get_device_properties(here.device)
    asked = "driver_version,clocks.max.sm,clocks.max.memory,power.limit,compute_mode"
    said = _output("nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", "-i", "0")
    processes = [p.info["name"] or "" for p in psutil.process_iter(["name"])]
    mps = any(name.startswith("nvidia-cuda-mps") for name in processes)
    compilers = filter(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))
    about = run_folder.environment(here.device)
    return {
        "card": card.name,
        "multiprocessors": card.multi_processor_count,
        "memory_gb": round(card.total_memory / 1e9, 1),
        "free_gb": round(torch.cuda.mem_get_info(here.device)[0] / 1e9, 1),
        "gpus": torch.cuda.device_count(),
        **dict(zip(asked.split(","), map(str.strip, said.split(",")), strict=False)),
        **devices.gpu_facts(here.device),
        "mps": "running" if mps else "not running",
        "triton": "there" if importlib.util.find_spec("triton") else "none",
        "c_compiler": Path(next(compilers, "none")).name,
        **{name: value for name, value in about.items() if not isinstance(value, dict)},
    }


def entry_points(here: Here) -> dict:
    """Every door a user comes in by, with each name of the device."""
    specs, figures = [here.spec(epochs=1, fold=fold) for fold in range(2)], {}
    for name in here.names:
        started, out = time.perf_counter(), here.folder / "doors" / name.replace(":", "_")
        result = run(specs[0], here.data, out, device=name)
        _on(here, json.loads((result.folder / "environment.json").read_text())["device"])
        sweep.run_all(specs, here.data, out, study="many", device=name)
        places = Places.of(here.data, out, "job", "", name)
        with mock.patch.dict(os.environ):  # a job sets its threads
            launch.SlurmJob(specs[0], places, 1)()
        assert run_folder.is_complete(places.folder(specs[0])), "the job left no complete run"
        write_json(out / "spec.json", specs[0].to_dict())
        with contextlib.redirect_stdout(io.StringIO()):
            worker.main(
                [
                    str(out / "spec.json"),
                    "--data-root",
                    str(here.data),
                    "--device",
                    name,
                    "--study-folder",
                    str(out / "worker"),
                ]
            )
        data = open_dataset("twitter1", here.data)
        predictor = load(result.folder, device=name)
        _on(here, next(predictor.model.parameters()).device)
        there = result.predictions
        found = predictor.predict([data.root / path for path in there["path"]])
        off = float((found["p_positive"] - there["p_positive"]).abs().max())
        assert off < 0.01, f"load({name!r}) answers otherwise than the run's own test, by {off:.3g}"
        predictor.explain(data.paths[0])
        ahead = plan.estimate(specs, here.data, device=name)
        assert np.isfinite(ahead["seconds"]).all(), "estimate gives no number of seconds"
        settings = dict(backbone=here.backbone, image_size=here.image_size, batch_size=8)
        network = EmotionClassifier(epochs=1, init="scratch", device=name, **settings)
        p = network.fit(data.paths[:16], data.labels[:16]).predict_proba(data.paths[16:20])
        assert p.shape == (4, 2) and np.isfinite(p).all(), "EmotionClassifier gives no numbers"
        figures[f"seconds_{name}"] = round(time.perf_counter() - started, 1)
    return figures


def steps(here: Here) -> dict:
    """Each system, ablation and reading in float32 and bf16: one step with finite numbers, and the
    device's answers against the CPU's."""
    figures, worst = {"networks": 0}, {"logits": 0.0, "gradients": 0.0, "logits_tf32": 0.0}
    for spec in _networks(here):
        with _named(spec):
            for precision in ("float32", "bf16"):
                _one_step(here, replace(spec, precision=precision))
            off = _from_the_cpu(here, spec)
        if spec.model in STEADY:
            for name, value in off.items():
                worst[name] = max(worst[name], value)
            limits = {"logits": 1e-4, "gradients": 1e-3, "logits_tf32": 2e-2}
            for name, value in off.items():
                assert value < limits[name], f"{_called(spec)}: {name} off by {value:.2g}"
        else:
            figures[f"{_called(spec)}_logits"] = _short(off["logits"])
        figures["networks"] += 1
    return figures | {name: _short(value) for name, value in worst.items()} | _heads(here)


def input_paths(here: Here) -> dict:
    """Batches cut on the device against the DataLoader's: equal, a resized crop within 1 of 255."""
    data, figures = open_dataset("twitter1", here.data), {}
    for crop, limit in (("random", 0), ("resized", 1)):
        pictures = Pictures(data, here.image_size, crop, seed=3)
        batches = Batches(np.arange(len(data)), 8, seed=3, shuffle=True)
        batches.epoch = 1
        cut = OnDevice(pictures, batches, pixels_of(pictures.pack, here.device))
        off = 0
        for one, other in zip(cut, DataLoader(pictures, batch_sampler=batches), strict=True):
            _on(here, one[0].device)
            assert torch.equal(one[1].cpu(), other[1]), f"{crop}: other labels"
            off = max(off, int((one[0].cpu().int() - other[0].int()).abs().max()))
        assert off <= limit, f"{crop} crops differ by {off} of 255"
        figures[f"{crop}_levels"] = off
    return figures


def host_syncs(here: Here) -> dict:
    """What makes the host wait in three steps: nothing in STEADY's, counted for the others."""
    if here.device.type != "cuda":
        return {"skipped": "only a GPU can be waited for"}
    figures = {}
    for spec in _networks(here):
        step = _stepper(here, spec)
        step()
        with _named(spec), _sync_debug("error" if spec.model in STEADY else "warn") as seen:
            for _ in range(3):
                step()
        if spec.model not in STEADY:
            found = sum("called a synchronizing" in str(w.message) for w in seen)
            figures[f"{_called(spec)}_a_step"] = round(found / 3, 1)
    return figures


def same_bits(here: Here) -> dict:
    """deterministic=True: the same weights from two runs and from one that was interrupted."""
    spec = here.spec(epochs=2, deterministic=True)
    save, digests = run_folder.save_checkpoint, {}

    def interrupted(*args):
        save(*args)
        raise KeyboardInterrupt

    with mock.patch.dict(os.environ, EMOLIB_CHECKPOINT_SECONDS="0"):
        for study in ("first", "second", "resumed"):
            out = spec, here.data, here.folder / "bits", study, "", str(here.device)
            if study == "resumed":
                with (
                    mock.patch.object(run_folder, "save_checkpoint", interrupted),
                    contextlib.suppress(KeyboardInterrupt),
                ):
                    run(*out)
                left = here.folder / "bits" / study / "runs" / spec.id / "checkpoint.pt"
                assert left.exists(), "the interrupted run left no checkpoint"
            digests[study] = sha256(run(*out).folder / "model.safetensors")
    others = [study for study, digest in digests.items() if digest != digests["first"]]
    assert not others, f"other weights than the first run's: {', '.join(others)}"
    refuse = []
    for spec in _networks(here):
        if spec.model in WITH_BOXES:  # torchvision compiles their crops in this mode, for a minute
            continue
        try:
            with devices.deterministic(True):
                _one_step(here, spec)
        except RuntimeError as error:
            assert "deterministic" in str(error) and spec.model != "maiafa", str(error)
            refuse.append(_called(spec))
    return {"sha256": digests["first"][:16], "refuse": " ".join(refuse) or "none"}


def full_memory(here: Here) -> dict:
    """A card that is nearly full: fewer runs at once, and all are trained."""
    specs = [here.spec(epochs=1, fold=fold) for fold in range(4)]
    places = Places.of(here.data, here.folder, "full", "", str(here.device))
    figures = {"at_once_before": _at_once(specs, places)}
    devices.give_back(here.device)
    size = 0
    if here.device.type == "cuda":
        size = max(0, torch.cuda.mem_get_info(here.device)[0] - FREE)
    ballast = torch.empty(size, dtype=torch.uint8, device=here.device)
    figures["at_once"] = _at_once(specs, places)
    if size:
        few = min(3, figures["at_once_before"])
        assert figures["at_once"] <= few, f"{figures['at_once']} runs at once in {FREE >> 30} GB"
    sweep.run_all(specs, here.data, here.folder, "full", device=str(here.device))
    del ballast
    devices.give_back(here.device)
    return figures


def faults(here: Here) -> dict:
    """An error inside a kernel in one run of a sweep: the others are trained, and it is named. The
    sweep has a process of its own, which such an error may ruin."""
    (here.folder / "fault").mkdir(exist_ok=True)
    (here.folder / "fault" / "sitecustomize.py").write_text(BREAKS)
    specs = [here.spec(epochs=1, seed=seed) for seed in (0, FAULT, 1)]
    file = here.folder / "fault" / "specs.json"
    write_json(file, [spec.to_dict() for spec in specs])
    code = (
        "import sys, json, emolib\n"
        "file, data, out, device = sys.argv[1:]\n"
        "specs = [emolib.RunSpec.from_dict(s) for s in json.load(open(file))]\n"
        "emolib.run_all(specs, data, out, study='fault', device=device)\n"
    )
    package = str(Path(__file__).parents[1])
    path = [str(file.parent), package, os.environ.get("PYTHONPATH", "")]
    ended = subprocess.run(
        [sys.executable, "-c", code, str(file), str(here.data), str(here.folder), str(here.device)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    runs = here.folder / "fault" / "runs"
    lost = [s.id for s in specs if s.seed != FAULT and not run_folder.is_complete(runs / s.id)]
    last = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
    assert not lost, f"{len(lost)} of 2 sound runs were not trained; the sweep said: {last}"
    assert not run_folder.is_complete(runs / specs[1].id), "the run that fails was trained"
    assert "1 of 3 runs failed" in ended.stderr, f"the sweep said: {last}"
    return {"trained": 2, "failed": last[:200]}


def side_by_side(here: Here) -> dict:
    """Four folds at once against one after the other: the same answers, and how much quicker."""
    specs = [here.spec(fold=fold, epochs=4, deterministic=True) for fold in range(4)]
    places = Places.of(here.data, here.folder, "many", "", str(here.device))
    at_once, memory = _at_once(specs, places), cost.measure(specs[0], str(here.device)).memory
    alone = [run(s, here.data, here.folder, "alone", device=str(here.device)) for s in specs]
    devices.give_back(here.device)
    with _lowest_free(here.device) as lowest:
        many = sweep.run_all(specs, here.data, here.folder, "many", device=str(here.device))
    for one, other in zip(alone, many, strict=True):
        off = float((one.predictions["p_positive"] - other.predictions["p_positive"]).abs().max())
        assert off == 0, f"fold {one.spec.fold}: side by side p_positive is off by {off:.2g}"
    seconds = [[r.history["seconds"][1:].sum() for r in runs] for runs in (alone, many)]
    pictures = sum(int((s.epochs - 1) * 0.8 * PICTURES) for s in specs)  # all but the first epoch's
    return {
        "at_once": at_once,
        "pictures_a_second_alone": round(pictures / sum(seconds[0]), 1),
        "pictures_a_second_together": round(pictures / sum(seconds[1]) * at_once, 1),
        "estimated_mb_a_run": round(memory / 2**20),
        **({"taken_mb_by_all": round((lowest[0] - lowest[1]) / 2**20)} if lowest else {}),
    }


def paper_step(here: Here) -> dict:
    """The paper's step, in TF32 and bf16, with and without cuDNN's own search for algorithms."""
    figures, pictures = {}, _pictures_of_tables_7_and_8()
    for precision, benchmark in (
        ("float32", False),
        ("float32", True),
        ("bf16", False),
        ("bf16", True),
    ):
        spec = here.spec(**dict(here.step), width=512, precision=precision)
        name = precision + ("_benchmark" if benchmark else "")
        devices.give_back(here.device)
        if here.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(here.device)
        with _flag(torch.backends.cudnn, "benchmark", benchmark), _tf32(True):
            step = _stepper(here, spec, spec.batch_size)
            ms = _ms(here.device, step)
            busy = _busy(here.device, step, ms)
        figures[f"{name}_ms"] = round(ms, 2)
        figures[f"{name}_kernels_of_the_time"] = busy
        figures[f"{name}_hours_tables_7_8"] = round(pictures / spec.batch_size * ms / 3.6e6, 2)
        if here.device.type == "cuda":
            figures[f"{name}_gb"] = round(torch.cuda.max_memory_allocated(here.device) / 1e9, 2)
            reserved = torch.cuda.max_memory_reserved(here.device) / 1e9
            figures[f"{name}_gb_reserved"] = round(reserved, 2)
        del step
    return figures


def checkpoint(here: Here) -> dict:
    """A checkpoint of the paper's network on the results' disk: how large, how long, and what
    share of an epoch of Twitter I it would be."""
    spec = here.spec(**dict(here.step), width=512)
    step = _stepper(here, spec, spec.batch_size)
    seconds = _ms(here.device, step, warm=2, count=3) / 1000
    state = {
        "model": step.model.state_dict(),
        "optimizer": step.optimizer.state_dict(),
        "schedule": {},
        "history": [],
        "best": None,
        "kept": None,
    }
    identity = {"data": {}, "split": "", "weights": "scratch"}
    here.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=here.results, prefix=".checkpoint-") as folder:
        started = time.perf_counter()
        run_folder.save_checkpoint(Path(folder), spec, identity, here.device, state)
        taken = time.perf_counter() - started
        size = (Path(folder) / "checkpoint.pt").stat().st_size
    train, _, _ = plan._pictures(spec, None)
    epoch = math.ceil(train / spec.batch_size) * seconds
    return {
        "mb": round(size / 1e6, 1),
        "seconds": round(taken, 2),
        "epoch_seconds": round(epoch, 2),
        "share_of_an_epoch": round(taken / epoch, 2),
    }


CHECKS = {
    "machine": this_machine,
    "entry_points": entry_points,
    "steps": steps,
    "input_paths": input_paths,
    "host_syncs": host_syncs,
    "same_bits": same_bits,
    "full_memory": full_memory,
    "faults": faults,
    "side_by_side": side_by_side,
    "paper_step": paper_step,
    "checkpoint": checkpoint,
}


def run_them(names, here: Here, file: Path) -> list[dict]:
    """Does the checks of these names and writes `file`, and the table beside it, after each."""
    rows = []
    for name in names:
        started = time.perf_counter()
        try:
            figures, ok = CHECKS[name](here), True
        except Exception as error:
            text = " ".join(str(error).split()).replace(str(here.folder), "…")
            figures, ok = {"error": f"{type(error).__name__}: {text[:400]}"}, False
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"check": name, "ok": ok, "seconds": seconds, "figures": figures})
        with contextlib.suppress(RuntimeError):  # a card that failed for good
            devices.give_back(here.device)
        write_json(file, rows)
        write_text(file.with_suffix(".md"), as_table(rows))
        print(f"{name}: {'ok' if ok else figures['error']} ({seconds} s)", flush=True)
    return rows


def as_table(rows: list[dict]) -> str:
    """The checks for people, as Markdown."""
    lines = ["| check | ok | seconds | figures |", "| --- | --- | ---: | --- |"]
    for row in rows:
        said = "; ".join(f"{name} {value}" for name, value in row["figures"].items())
        ok = "yes" if row["ok"] else "**no**"
        cells = f"{row['check']} | {ok} | {row['seconds']}", said.replace("|", "\\|")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(words=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m emolib.gpu_check", description="does everything work on this GPU?"
    )
    parser.add_argument("--only", default="", metavar="NAMES", help=", ".join(CHECKS))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    chosen = parser.parse_args(words)
    names = [name.strip() for name in chosen.only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in CHECKS]:
        parser.error(f"--only: no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    if not torch.cuda.is_available():
        print(no_gpu(), file=sys.stderr)
        return 1
    device = torch.device("cuda", 0)
    card = re.sub(r"[^A-Za-z0-9]+", "-", torch.cuda.get_device_name(device)).strip("-")
    tail = "".join(f"-{name}" for name in names)
    file = chosen.results / "gpu" / f"{card}-{datetime.date.today()}{tail}.json"
    with tempfile.TemporaryDirectory(prefix="emolib-gpu-") as folder:
        here = Here(device, Path(folder), chosen.results)
        rows = run_them(names or list(CHECKS), here, file)
    print(f"\n{as_table(rows)}\nwritten to {file}")
    return int(not all(row["ok"] for row in rows))


def no_gpu() -> str:
    """Why there is nothing to check, in one line."""
    why = devices.unusable_gpu() or "torch sees no GPU, and there is no NVIDIA driver here"
    return f"gpu-check: {why}"


# What the checks share.


def _networks(here: Here):
    """A spec of each system that is trained, each ablation and each reading."""
    for variant in VARIANTS.values():
        yield here.spec(**variant)
    yield here.spec(afa=False, readings=Readings(without_afa="region"))
    for reading in _READINGS:
        if "levels" not in reading or here.backbone.startswith("hrnet"):
            yield here.spec(readings=Readings(**reading))
    for model in (*RIVALS, "resnet18"):
        if model not in FITTED:
            backbone = {"pcnn": None, "resnet18": None, "clip_finetune": "vit_tiny_patch16_224"}
            # a set with finer emotions, which some look at
            yield here.spec(
                dataset="emotionroi", model=model, backbone=backbone.get(model, here.backbone)
            )


def _called(spec: RunSpec) -> str:
    changed = [v for k, v in vars(spec.readings).items() if v != getattr(Readings(), k)]
    return "_".join([spec.model if spec.method == "normal" else spec.method, *changed])


@contextlib.contextmanager
def _named(spec: RunSpec):
    """torch's errors with the network's name."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{_called(spec)}: {error}") from error


class _stepper:
    """Steps of a spec's fresh network on one random batch."""

    def __init__(self, here: Here, spec: RunSpec, count: int = 4):
        self.spec = spec
        self.model = build_network(spec).to(here.device, memory_format=torch.channels_last)
        self.optimizer = loop.make_optimizer(self.model, spec)
        self.batch = cost.random_batch(spec, count, self.model, here.device)
        loop.training_mode(self.model, spec.freeze_bn)
        if hasattr(self.model, "calibrate"):
            self.model.calibrate(self.batch[0])

    def __call__(self) -> tuple:
        images, labels, extras = self.batch
        precision = self.spec.precision
        return loop.step(self.model, images, labels, self.optimizer, precision, extras=extras)


def _one_step(here: Here, spec: RunSpec) -> None:
    step = _stepper(here, spec)
    loss, logits = step()
    name = f"{_called(spec)} in {spec.precision}"
    _on(here, logits.device)
    assert loss.isfinite() and logits.isfinite().all(), f"{name}: the loss is no number"
    for parameter, p in step.model.named_parameters():
        if p.grad is not None:
            _on(here, p.grad.device)
            assert p.grad.isfinite().all(), f"{name}: the gradient of {parameter} is no number"


def _from_the_cpu(here: Here, spec: RunSpec) -> dict:
    """Relative differences in evaluation: of logits and gradients without TF32, of logits with."""
    cpu = torch.device("cpu")
    model = build_network(spec).eval()
    images, labels, extras = cost.random_batch(spec, 2, model, cpu)
    extras = {name: t for name, t in extras.items() if name == "boxes"}
    if hasattr(model, "calibrate"):
        model.calibrate(images)
    twin = copy.deepcopy(model).to(here.device)
    there = devices.on(here.device, extras)

    def logits_of(network, x, more):
        with torch.no_grad():
            return network(x, **more).cpu().double()

    exact, found = logits_of(model, images, extras), {}
    with _tf32(True):
        found["logits_tf32"] = _off(logits_of(twin, images.to(here.device), there), exact)
    with _tf32(False):
        found["logits"] = _off(logits_of(twin, images.to(here.device), there), exact)
        if spec.model == "maiafa":
            gradients = [_gradients(net, images, labels) for net in (twin, model)]
            found["gradients"] = _off(*gradients)
    return found


def _gradients(net, images, labels) -> torch.Tensor:
    device = next(net.parameters()).device
    F.cross_entropy(net(images.to(device)), labels.to(device)).backward()
    return torch.cat(
        [p.grad.flatten().cpu().double() for p in net.parameters() if p.grad is not None]
    )


def _heads(here: Here) -> dict:
    """The folded head against the printed equations, in float64 on the device."""
    torch.manual_seed(0)
    size = here.image_size
    images = torch.randn(2, 3, size, size + 32, dtype=torch.double, device=here.device)
    labels, nets = torch.tensor([0, 1], device=here.device), []
    for head in ("reference", "folded"):
        net = create.create_model("maiafa", here.backbone, head=head, width=128)
        nets.append(net.to(here.device, torch.double).eval())
    nets[0].calibrate(images)
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        logits = _off(nets[1](images), nets[0](images))
    gradients = _off(*(_gradients(net, images, labels) for net in nets[::-1]))
    assert max(logits, gradients) < 1e-9, f"the heads differ by {max(logits, gradients):.2g}"
    return {"heads_logits": _short(logits), "heads_gradients": _short(gradients)}


def _off(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm().clamp(min=1e-30))


def _short(value: float) -> float:
    return float(f"{value:.2g}")


def _on(here: Here, device) -> None:
    """AssertionError where a tensor, or a run's own account, is of another device."""
    wanted = (here.device, run_folder._machine(here.device)["device"])
    assert device in wanted, f"it is on {device}, not on {here.device}"


def _at_once(specs, places: Places) -> int:
    return max(len(slots) for _, slots in sweep.share_devices(specs, places))


def _pictures_of_tables_7_and_8() -> int:
    """Of all epochs: the four variants, without_transfer, and what they start from."""
    small = [
        RunSpec(dataset, fold=fold, **variant)
        for dataset in ("twitter1", "emotionroi")
        for fold in range(5)
        for variant in (*VARIANTS.values(), {"init": "imagenet"})
    ]
    every = {*small, *(s.predecessor() for s in small if s.stages)}
    return sum(s.epochs * plan._pictures(s, None)[0] for s in every)


def _ms(device: torch.device, step, warm: int = 10, count: int = 20) -> float:
    """A step's milliseconds, by the device's own clock where it is a GPU."""
    for _ in range(warm):
        step()
    devices.wait(device)
    if device.type != "cuda":
        started = time.perf_counter()
        for _ in range(count):
            step()
        return 1000 * (time.perf_counter() - started) / count
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(count):
        step()
    last.record()
    devices.wait(device)
    return first.elapsed_time(last) / count


def _busy(device: torch.device, step, ms: float) -> float | str:
    """The share of a step in which a kernel runs, or why it is not known."""
    if device.type != "cuda":
        return "not a GPU"
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(3):
                step()
            devices.wait(device)
        kernels = sum(e.self_device_time_total for e in seen.key_averages())  # µs
    except (RuntimeError, AttributeError) as error:  # a machine may forbid it
        return str(error).splitlines()[0][:80]
    return round(kernels / 3 / 1000 / ms, 2)


@contextlib.contextmanager
def _flag(owner, name: str, value):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _tf32(wanted: bool):
    """Float32 convolutions with TF32's 10 bits or with all; products have all in both."""
    kinds = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    with (
        _flag(kinds[0], "fp32_precision", "tf32" if wanted else "ieee"),
        _flag(kinds[1], "fp32_precision", "ieee"),
    ):
        yield


@contextlib.contextmanager
def _sync_debug(mode: str):
    """torch raises or warns where the host waits for the GPU; the warnings."""
    import warnings

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def _lowest_free(device: torch.device):
    """[free bytes at the start, the lowest since]; empty where it is not a GPU."""
    if device.type != "cuda":
        yield []
        return
    free, ended = torch.cuda.mem_get_info(device)[0], threading.Event()
    lowest = [free, free]

    def look():
        while not ended.wait(0.05):
            lowest[1] = min(lowest[1], torch.cuda.mem_get_info(device)[0])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lowest
    finally:
        ended.set()
        thread.join()


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
