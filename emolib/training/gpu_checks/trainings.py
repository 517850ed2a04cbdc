"""Checks of a GPU: whole trainings, by every door, interrupted, side by side, on a full card."""

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from ...base import checkpoints, devices, run_folder
from ...base.files import sha256, write_json
from ...data.datasets import open_dataset
from ...spec.systems import system_of
from ...use.load import load
from .. import cost, launch, plan, sweep
from ..cost import share_devices
from ..estimator import EmotionClassifier
from ..run import run
from ..task import Places
from . import shared
from .networks import milliseconds
from .shared import Here, Stepper, called, check_device

FREE = 3 << 30  # bytes left on a card that is nearly full: a process takes 0.6 GB before it trains
FAULT = 13  # the seed of the run that `faults` breaks
# Python reads this file at its start, in a sweep's workers too.
BREAKS = f"""
import wrapt

@wrapt.when_imported("emolib.training.loop")
def _(loop):
    import torch
    train = loop.train_network
    def broken(model, spec, material, device, *rest):
        if spec.seed == {FAULT}:
            torch.zeros(2, device=device)[torch.tensor([7], device=device)].tolist()
        return train(model, spec, material, device, *rest)
    loop.train_network = broken
"""


def entry_points(here: Here) -> dict:
    """Every door a user comes in by, with each name of the device."""
    specs, figures = [here.spec(epochs=1, fold=fold) for fold in range(2)], {}
    for name in here.names:
        started, out = time.perf_counter(), here.folder / "doors" / name.replace(":", "_")
        result = run(specs[0], here.data, out, device=name)
        check_device(here, json.loads((result.folder / "environment.json").read_text())["device"])
        sweep.run_all(specs, here.data, out, study="many", device=name)
        places = Places.of(here.data, out, "job", "", name)
        with mock.patch.dict(os.environ):  # a job sets its threads
            launch.SlurmJob(specs[0], places, 1)()
        assert run_folder.is_complete(places.folder(specs[0])), "the job left no complete run"
        write_json(out / "spec.json", specs[0].to_dict())
        words = [out / "spec.json", "--data-root", here.data, "--device", name]
        words += ["--study-folder", out / "worker"]
        with contextlib.redirect_stdout(io.StringIO()):
            launch.worker(list(map(str, words)))
        data = open_dataset("twitter1", here.data)
        predictor = load(result.folder, device=name)
        check_device(here, next(predictor.model.parameters()).device)
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


def same_bits(here: Here) -> dict:
    """deterministic=True: the same weights from two runs and from one that was interrupted."""
    spec = here.spec(epochs=2, deterministic=True)
    save, digests = checkpoints.save_checkpoint, {}

    def interrupted(*args):
        save(*args)
        raise KeyboardInterrupt

    with mock.patch.dict(os.environ, EMOLIB_CHECKPOINT_SECONDS="0"):
        for study in ("first", "second", "resumed"):
            out = spec, here.data, here.folder / "bits", study, "", str(here.device)
            if study == "resumed":
                patched = mock.patch.object(checkpoints, "save_checkpoint", interrupted)
                with patched, contextlib.suppress(KeyboardInterrupt):
                    run(*out)
                left = here.folder / "bits" / study / "runs" / spec.id / "checkpoint.pt"
                assert left.exists(), "the interrupted run left no checkpoint"
            digests[study] = sha256(run(*out).folder / "model.safetensors")
    others = [study for study, digest in digests.items() if digest != digests["first"]]
    assert not others, f"other weights than the first run's: {', '.join(others)}"
    refuse = []
    for spec in shared.network_specs(here):
        if system_of(spec.model).boxes:
            continue  # torchvision compiles their crops in this mode, for a minute
        try:
            with devices.deterministic(True):
                shared.one_step(here, spec)
        except RuntimeError as error:
            assert "deterministic" in str(error) and spec.model != "maiafa", str(error)
            refuse.append(called(spec))
    return {"sha256": digests["first"][:16], "refuse": " ".join(refuse) or "none"}


def full_memory(here: Here) -> dict:
    """A card that is nearly full: fewer runs at once, and all are trained."""
    specs = [here.spec(epochs=1, fold=fold) for fold in range(4)]
    places = Places.of(here.data, here.folder, "full", "", str(here.device))
    figures = {"at_once_before": _at_once(specs, places)}
    devices.give_back(here.device)
    on_gpu = here.device.type == "cuda"
    size = max(0, torch.cuda.mem_get_info(here.device)[0] - FREE) if on_gpu else 0
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
    specs = [here.spec(epochs=1, seed=seed) for seed in (0, FAULT, 1)]
    file = here.folder / "fault" / "specs.json"
    write_json(file, [spec.to_dict() for spec in specs])
    file.with_name("sitecustomize.py").write_text(BREAKS)
    code = (
        "import sys, json, emolib\n"
        "file, data, out, device = sys.argv[1:]\n"
        "specs = [emolib.RunSpec.from_dict(s) for s in json.load(open(file))]\n"
        "emolib.run_all(specs, data, out, study='fault', device=device)\n"
    )
    package = str(Path(__file__).parents[3])
    path = [str(file.parent), package, os.environ.get("PYTHONPATH", "")]
    words = map(str, [sys.executable, "-c", code, file, here.data, here.folder, here.device])
    where = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    ended = subprocess.run([*words], env=where, capture_output=True, text=True, timeout=300)
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
    # all but the first epoch's
    pictures = sum(int((s.epochs - 1) * 0.8 * shared.PICTURES) for s in specs)
    return {
        "at_once": at_once,
        "pictures_a_second_alone": round(pictures / sum(seconds[0]), 1),
        "pictures_a_second_together": round(pictures / sum(seconds[1]) * at_once, 1),
        "estimated_mb_a_run": round(memory / 2**20),
        **({"taken_mb_by_all": round((lowest[0] - lowest[1]) / 2**20)} if lowest else {}),
    }


def checkpoint(here: Here) -> dict:
    """A checkpoint of the paper's network on the results' disk: how large, how long, and what
    share of an epoch of Twitter I it would be."""
    spec = here.spec(**dict(here.step), width=512)
    step = Stepper(here, spec, spec.batch_size)
    seconds = milliseconds(step, warm=2, count=3) / 1000
    state = {"model": step.model.state_dict(), "optimizer": step.optimizer.state_dict()}
    here.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=here.results, prefix=".checkpoint-") as folder:
        started = time.perf_counter()
        checkpoints.save_checkpoint(Path(folder), spec, {}, here.device, state)
        taken = time.perf_counter() - started
        size = (Path(folder) / "checkpoint.pt").stat().st_size
    train, _, _ = plan.count_pictures(spec)
    epoch = math.ceil(train / spec.batch_size) * seconds
    return {
        "mb": round(size / 1e6, 1),
        "seconds": round(taken, 2),
        "epoch_seconds": round(epoch, 2),
        "share_of_an_epoch": round(taken / epoch, 2),
    }


def _at_once(specs, places: Places) -> int:
    return max(len(slots) for _, slots in share_devices(specs, places))


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
