"""How fast the network, its input and whole trainings are, as ratios measured in one process.

    python -m benchmarks.bench [--quick] [--data DATA] [--out results/bench]

Competitors take turns, so that what slows the machine slows all of them; a figure is the median
over the turns, its spread the middle half. Writes step.csv and input.csv and, with DATA (a folder
that holds twitter1/), training.csv, each row with the machine's name.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from emolib.base import devices
from emolib.base.files import write_csv
from emolib.data.batches import Batches, Pictures, loader
from emolib.data.datasets import Dataset, open_dataset
from emolib.network.build import build_network
from emolib.network.create import create_model
from emolib.spec.run_spec import RunSpec
from emolib.training import loop
from emolib.training.cost import kept_for_backward
from emolib.training.sweep import run_all

from . import plain

# backbone, px, batch; the bars of the README are on hrnet_w18_small at 128 and hrnet_w48 at 224
STEPS = [
    ("hrnet_w18_small", 96, 16),
    ("hrnet_w18_small", 128, 16),
    ("hrnet_w18_small", 224, 8),
    ("hrnet_w18_small", 448, 2),
    ("tf_efficientnet_lite0", 96, 16),
    ("tf_efficientnet_lite0", 224, 8),
    ("tf_efficientnet_lite0", 448, 2),
    ("hrnet_w48", 96, 8),
    ("hrnet_w48", 224, 4),
    ("hrnet_w48", 448, 1),
]
ON_GPU = [
    (backbone, px, batch)
    for backbone in ("hrnet_w18_small", "tf_efficientnet_lite0", "hrnet_w48")
    for px, batch in ((224, 32), (224, 128), (448, 32))
]
QUICK = [("hrnet_w18_small", 96, 8)]
TRAINING = dict(backbone="hrnet_w18_small", image_size=128, init="scratch", epochs=1, lr=0.001)


class Linear(nn.Module):
    """The bare backbone with a linear classifier on its highest level."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.backbone = network.backbone
        self.fc = nn.Linear(self.backbone.feature_info.channels()[-1], 2)

    def forward(self, images):
        return self.fc(self.backbone(images)[-1].mean((2, 3)))


def alternate(
    competitors: dict, turns: int, at_least: float = 0.2, warm_up: bool = True
) -> pd.DataFrame:
    """Seconds a call of each function, turn by turn: turns×competitors.

    One call to warm up, then in each turn every competitor is called until `at_least` seconds
    have gone by, in an order that moves on from turn to turn.
    """
    names, rows = list(competitors), []
    for call in competitors.values() if warm_up else ():
        call()
    for turn in range(turns):
        row = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            calls, started = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - started < at_least:
                competitors[name]()
                calls += 1
            row[name] = (time.perf_counter() - started) / calls
        rows.append(row)
    return pd.DataFrame(rows)[names]


def ratios(seconds: pd.DataFrame, to: str) -> pd.DataFrame:
    """Each competitor's time as a multiple of `to`'s in the same turn: median and quartiles."""
    quartiles = seconds.div(seconds[to], axis=0).quantile([0.25, 0.5, 0.75])
    return pd.DataFrame(
        {
            "ms": 1000 * seconds.median(),
            "ratio": quartiles.loc[0.5],
            "ratio_low": quartiles.loc[0.25],
            "ratio_high": quartiles.loc[0.75],
        }
    )


def steps(
    backbone: str, size: int, batch: int, device, precision: str = "float32", turns: int = 5
) -> pd.DataFrame:
    """One row a competitor and kind of step ("inference", "training"), against "backbone".

    "backbone": the bare backbone with a linear head; "emolib": the default network, both in
    channels_last and `precision`; "plain": the head as printed, contiguous, float32. All eager,
    with the same optimizer. memory_mb: what a training step keeps for its backward pass,
    parameters apart; on a GPU the most that it takes beyond what lay there before.
    """
    layouts = {
        "backbone": torch.channels_last,
        "emolib": torch.channels_last,
        "plain": torch.contiguous_format,
    }
    images = torch.randn(batch, 3, size, size, device=device)
    labels = torch.arange(batch, device=device) % 2
    precisions = {"backbone": precision, "emolib": precision, "plain": "float32"}
    networks, inputs = {}, {}
    for name, layout in layouts.items():
        head = "reference" if name == "plain" else "folded"
        network = create_model("maiafa", backbone=backbone, head=head)
        network = Linear(network) if name == "backbone" else network
        networks[name] = network.to(device, memory_format=layout)
        inputs[name] = images.contiguous(memory_format=layout)
    rows = []
    for kind in ("inference", "training"):
        competitors = {}
        for name, network in networks.items():
            network.train(kind == "training")
            call = _inference if kind == "inference" else _training
            competitors[name] = call(network, inputs[name], labels, precisions[name])
        measured = ratios(alternate(competitors, turns), to="backbone")
        for name, row in measured.iterrows():
            memory = np.nan
            if kind == "training":
                memory = _memory(
                    competitors[name], networks[name], inputs[name], labels, precisions[name]
                )
            rows.append(
                {"backbone": backbone, "px": size, "batch": batch, "precision": precision}
                | {"step": kind, "network": name}
                | row.to_dict()
                | {"memory_mb": memory}
            )
    return pd.DataFrame(rows)


def _inference(network, images, labels, precision):
    @torch.inference_mode()
    def call():
        with devices.autocast(precision, images.device):
            network(images)
        devices.wait(images.device)

    return call


def _training(network, images, labels, precision):
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-3, fused=True
    )

    def call():
        loop.step(network, images, labels, optimizer, precision)
        devices.wait(images.device)

    return call


def _memory(call, network, images, labels, precision) -> float:
    """Megabytes of a training step: kept for backward, on a GPU the most on top of the rest."""
    if images.device.type != "cuda":
        return kept_for_backward(network, images, labels, precision) / 2**20
    torch.cuda.reset_peak_memory_stats(images.device)
    before = torch.cuda.memory_allocated(images.device)
    call()
    return (torch.cuda.max_memory_allocated(images.device) - before) / 2**20


def pictures_per_second(count: int = 200, size: int = 224, turns: int = 5) -> pd.DataFrame:
    """Training batches a second out of JPEG files of 500×375, for both kinds of crop: ours from a
    warm cache, which needs no worker processes, against torchvision's ImageFolder and DataLoader
    with the same crop and flip, without workers and with one for each core."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(count):
            _photograph(root / str(i % 2) / f"{i}.jpg", seed=i)
        for crop in ("random", "resized"):
            theirs = ImageFolder(root, transform=plain.transform(size, crop, training=True))
            paths, labels = zip(*theirs.samples, strict=True)
            data = Dataset("bench", root, list(map(Path, paths)), np.array(labels))
            batches = Batches(np.arange(count), 32, shuffle=True)
            batches.epoch = 0
            competitors = {"emolib": loader(Pictures(data, size, crop), batches)}
            for workers in (0, os.cpu_count()):
                competitors[f"ImageFolder, {workers} workers"] = DataLoader(
                    theirs,
                    batch_size=32,
                    shuffle=True,
                    num_workers=workers,
                    persistent_workers=workers > 0,
                )
            calls = {
                name: lambda read=read: [batch[0].shape for batch in read]
                for name, read in competitors.items()
            }
            measured = ratios(alternate(calls, turns), to="emolib")
            measured["pictures_per_second"] = 1000 * count / measured["ms"]
            rows.append(measured.rename_axis("input").reset_index().assign(crop=crop))
    columns = ["crop", "input", "pictures_per_second", "ratio", "ratio_low", "ratio_high"]
    return pd.concat(rows)[columns]


def trainings(data_root, turns: int = 1, **changes) -> pd.DataFrame:
    """Seconds of one epoch of one fold, and of fine-tuning and testing all five folds of Twitter I:
    emolib (packed cache warm, folds side by side, run folders written) against the plain script.

    Both in float32 from random weights. `changes`: RunSpec fields other than TRAINING's.
    """
    settings = TRAINING | changes
    data = open_dataset("twitter1", data_root)
    specs = [RunSpec("twitter1", fold=f, **settings) for f in range(len(data.folds()))]
    pictures = loop.pictures_of(specs[0], data)  # packs

    def our_epoch():
        train, _ = data.folds()[0]
        model = build_network(specs[0]).to(memory_format=torch.channels_last)
        batches = Batches(train, specs[0].batch_size, shuffle=True)
        batches.epoch = 0
        loop.one_epoch(
            model,
            pictures.feed(batches, torch.device("cpu"), model.pretrained_cfg),
            batches,
            loop.make_optimizer(model, specs[0]),
            torch.device("cpu"),
            specs[0],
        )

    def our_folds():
        with tempfile.TemporaryDirectory() as folder:
            run_all(specs, data_root, folder, device="cpu")

    rows = []
    for what, ours, theirs in (
        ("one epoch", our_epoch, lambda: plain.script(data, specs[:1], test=False)),
        ("five folds", our_folds, lambda: plain.script(data, specs)),
    ):
        seconds = alternate({"emolib": ours, "plain": theirs}, turns, warm_up=False)
        measured = ratios(seconds, to="emolib").rename_axis("script").reset_index()
        measured["seconds"] = measured.pop("ms") / 1000
        rows.append(measured.assign(what=what, **settings))
    return pd.concat(rows)


def _photograph(path: Path, seed: int) -> None:
    """A picture with a photograph's share of detail, about 60 kB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + rng.normal(0, 8, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="ratios of speed, measured in one process")
    parser.add_argument("--quick", action="store_true", help="one small network, a minute")
    parser.add_argument("--data", default="", help="folder with twitter1/: times whole trainings")
    parser.add_argument("--out", default="results/bench", help="folder for the CSV files")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    device = devices.pick_device(chosen.device)
    devices.keep_freed_memory()
    out, name = Path(chosen.out), devices.machine(device)

    def report(frame: pd.DataFrame, file: str) -> None:
        print(frame.round(3).to_string(index=False), flush=True)
        write_csv(out / file, frame.assign(machine=name))

    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("EMOLIB_CACHE", cache)
        if chosen.data:
            report(trainings(chosen.data), "training.csv")
        report(pictures_per_second(60 if chosen.quick else 200), "input.csv")
        found = []
        for backbone, size, batch in (
            QUICK if chosen.quick else ON_GPU if device.type == "cuda" else STEPS
        ):
            for precision in ("float32", "bf16") if size == 224 else ("float32",):
                found.append(steps(backbone, size, batch, device, precision))
                report(pd.concat(found), "step.csv")


if __name__ == "__main__":
    main()
