"""What each system's steps cost beside our network's, on one backbone, measured in one process.

    python -m benchmarks.bench_systems [--out results/bench]

The systems take turns (`bench.alternate`); boxes are found beforehand, as in a training. Writes
systems.csv: milliseconds of a step and its ratio to maiafa's, training and test.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from emolib.base import devices
from emolib.base.files import write_csv
from emolib.network.build import build_network
from emolib.spec.run_spec import RunSpec
from emolib.spec.systems import SYSTEMS
from emolib.training import cost, loop

from . import bench

CASES = [("hrnet_w18_small", 64, 32), ("tf_efficientnet_lite0", 128, 16)]  # backbone, px, batch


def systems(backbone: str, size: int, batch: int, device, turns: int = 5) -> pd.DataFrame:
    """A row a trained system and kind of step; `plain` is the backbone with a linear classifier."""
    spec = RunSpec("twitter1", backbone=backbone, image_size=size, init="scratch", batch_size=batch)
    specs = {
        name: replace(spec, model=name, backbone=backbone if system.backbone else None)
        for name, system in SYSTEMS.items()
        if not system.fitted and system.takes != "its own"
    }
    specs["plain"] = replace(spec, model=backbone)
    found, steps = [], {"training": {}, "test": {}}
    for name, one in specs.items():
        model = build_network(one).to(device, memory_format=torch.channels_last)
        step = _steps(model, one, loop.make_optimizer(model, one), device)
        steps["training"][name], steps["test"][name] = step
    for kind, each in steps.items():
        rows = bench.ratios(bench.alternate(each, turns), to="maiafa").reset_index(names="system")
        found.append(rows.assign(kind=kind, backbone=backbone, px=size, batch=batch))
    return pd.concat(found, ignore_index=True)


def _steps(model, spec: RunSpec, optimizer, device):
    images, labels, extras = cost.random_batch(spec, spec.batch_size, model, device)

    def train():
        loop.training_mode(model, spec.freeze_bn)
        loop.step(model, images, labels, optimizer, spec.precision, extras=extras)
        devices.wait(device)

    @torch.inference_mode()
    def test():
        model.eval()
        model(images, **extras)
        devices.wait(device)

    return train, test


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="steps of every system, as ratios to maiafa's")
    parser.add_argument("--out", default="results/bench", help="folder for systems.csv")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    device = devices.pick_device(chosen.device)
    devices.keep_freed_memory()
    found = pd.concat([systems(*case, device) for case in CASES])
    print(found.round(2).to_string(index=False))
    write_csv(Path(chosen.out) / "systems.csv", found.assign(machine=devices.machine(device)))


if __name__ == "__main__":
    main()
