"""How much sooner a head learns from what is kept of a frozen backbone than through the backbone.

    python -m benchmarks.bench_frozen [--out results/bench]

One epoch of the same training, on one thread: from the kept views, and with cache="off", where the
backbone answers anew in every step (pictures are decoded before, so that only it is timed). What
computing a view costs once is stated apart. Weights are random. Writes frozen.csv.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from emolib.base import devices
from emolib.base.files import write_csv
from emolib.data.batches import Batches
from emolib.data.datasets import Dataset
from emolib.network.build import build_network
from emolib.spec.run_spec import RunSpec
from emolib.training import loop

from .bench import alternate, ratios

BACKBONES = "tf_efficientnet_lite0 tf_efficientnet_lite2 resnet50 hrnet_w18_small".split()
ROWS = {"normal": {}, "without MAI": {"mai": False}, "without both": {"mai": False, "afa": False}}
PICTURES, CPU = 32, torch.device("cpu")


def frozen(backbone: str, data: Dataset, size: int = 224, turns: int = 5) -> pd.DataFrame:
    """One row a variant and way: ms a picture and epoch, as a ratio to "kept"; view_ms: what one
    picture costs in one view, once."""
    found = []
    for row, changes in ROWS.items():
        spec = RunSpec("own", backbone=backbone, image_size=size, init="scratch", **changes)
        spec = replace(spec, freeze="backbone", views=2)
        calls, started = {}, time.perf_counter()
        for way, cache in (("kept", "packed"), ("in the loop", "off")):
            network = loop.moved(build_network(spec), CPU)
            pictures = loop.pictures_of(replace(spec, cache=cache), data, model=network)
            if way == "kept" and row == "normal":
                view_ms = 1000 * (time.perf_counter() - started) / len(data) / spec.views
            if way == "in the loop":  # its pictures come out of the pack
                pictures.pictures = type(pictures.pictures)(data, size)
            batches = Batches(np.arange(len(data)), 32, shuffle=True)
            batches.epoch = 0
            feed = pictures.feed(batches, CPU, network.pretrained_cfg)
            network.calibrate(next(iter(feed))[0])  # as a training does first
            optimizer = loop.make_optimizer(network, spec)
            parts = network, feed, batches, optimizer, CPU, spec
            calls[way] = lambda parts=parts: loop.one_epoch(*parts)
        measured = ratios(alternate(calls, turns), to="kept").rename_axis("way").reset_index()
        measured["ms"] /= len(data)
        found.append(measured.assign(backbone=backbone, px=size, row=row, view_ms=view_ms))
    return pd.concat(found)["backbone px row way ms ratio ratio_low ratio_high view_ms".split()]


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="heads on kept views against the whole network")
    parser.add_argument("--out", default="results/bench", help="folder for the CSV file")
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    chosen, name = parser.parse_args(words), devices.machine(CPU)
    devices.keep_freed_memory()
    found = []
    with tempfile.TemporaryDirectory() as folder, devices.threads(1):
        paths = [Path(folder, f"{i}.png") for i in range(PICTURES)]
        rng = np.random.default_rng(0)
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(path)
        data = Dataset("own", Path(folder), paths, np.arange(PICTURES) % 2)
        for backbone in chosen.backbones.split(","):
            found.append(frozen(backbone, data))
            print(found[-1].round(3).to_string(index=False), flush=True)
            write_csv(Path(chosen.out) / "frozen.csv", pd.concat(found).assign(machine=name))


if __name__ == "__main__":
    main()
