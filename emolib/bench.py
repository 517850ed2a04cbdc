"""How fast the network and its input are, as ratios measured in one process.

    python -m emolib.bench [--quick] [--out results/bench]

Competitors take turns, so that what slows the machine slows all of them; a figure is the median
over the turns, its spread the middle half. Writes step.csv and input.csv, each row with the
machine's name.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from .files import write_csv
from .models import create_model
from .pipeline import Batches, Pictures, loader
from .runs import pick_device

# backbone, px, batch; the bars of the README are on the rows marked in BARS
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
QUICK = [("hrnet_w18_small", 96, 8)]


class Linear(nn.Module):
    """The bare backbone with a linear classifier on its highest level."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.backbone = network.backbone
        self.fc = nn.Linear(self.backbone.feature_info.channels()[-1], 2)

    def forward(self, images):
        return self.fc(self.backbone(images)[-1].mean((2, 3)))


def alternate(competitors: dict, turns: int, at_least: float = 0.2) -> pd.DataFrame:
    """Seconds a call of each function, turn by turn: turns×competitors.

    One call to warm up, then in each turn every competitor is called until `at_least` seconds
    have gone by, in an order that moves on from turn to turn.
    """
    names, rows = list(competitors), []
    for call in competitors.values():
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


def steps(backbone: str, size: int, batch: int, device, turns: int = 5) -> pd.DataFrame:
    """One row a competitor and kind of step ("inference", "training"), against "backbone".

    "backbone": the bare backbone with a linear head; "emolib": the default network, both in
    channels_last; "plain": the head as printed, contiguous. float32, eager. memory_mb: what
    a training step keeps for its backward pass, parameters apart.
    """
    layouts = {
        "backbone": torch.channels_last,
        "emolib": torch.channels_last,
        "plain": torch.contiguous_format,
    }
    images = torch.randn(batch, 3, size, size, device=device)
    labels = torch.arange(batch, device=device) % 2
    networks, inputs = {}, {}
    for name, layout in layouts.items():
        head = "reference" if name == "plain" else "folded"
        network = create_model("maiafa", backbone=backbone, head=head)
        network = Linear(network) if name == "backbone" else network
        networks[name] = network.to(device, memory_format=layout)
        inputs[name] = images.contiguous(memory_format=layout)
    rows = []
    for kind in ("inference", "training"):
        for network in networks.values():
            network.train(kind == "training")
        competitors = {
            name: _inference(networks[name], inputs[name], device)
            if kind == "inference"
            else _training(networks[name], inputs[name], labels, device)
            for name in networks
        }
        measured = ratios(alternate(competitors, turns), to="backbone")
        for name, row in measured.iterrows():
            kept = _kept(networks[name], inputs[name], labels) if kind == "training" else np.nan
            rows.append(
                {"backbone": backbone, "px": size, "batch": batch, "step": kind, "network": name}
                | row.to_dict()
                | {"memory_mb": kept}
            )
    return pd.DataFrame(rows)


def _inference(network, images, device):
    @torch.inference_mode()
    def call():
        network(images)
        _wait(device)

    return call


def _training(network, images, labels, device):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-3)

    def call():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        _wait(device)

    return call


def _wait(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _kept(network, images, labels) -> float:
    """Megabytes of tensors that a training step keeps for backward, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    sizes = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = F.cross_entropy(network(images), labels)
        total = sum(sizes.values()) / 2**20
    del loss
    return total


def pictures_per_second(count: int = 200, size: int = 224, turns: int = 3) -> pd.DataFrame:
    """Training batches a second out of JPEG files of 500×375: ours, decoded once, against
    torchvision's ImageFolder and DataLoader with the same crop, flip and number of processes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(count):
            _photograph(root / str(i % 2) / f"{i}.jpg", seed=i)
        transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.Resize([round(256 / 224 * size)], antialias=True),
                v2.RandomCrop(size),
                v2.RandomHorizontalFlip(),
            ]
        )
        theirs = ImageFolder(root, transform)
        data = _Folder(theirs)
        batches = Batches(np.arange(count), 32, shuffle=True)
        ours = loader(Pictures(data, size), batches)
        plain = DataLoader(theirs, batch_size=32, shuffle=True, num_workers=ours.num_workers)

        def once(batches_of):
            return lambda: [images.shape for images, _ in batches_of]

        batches.epoch = 0
        seconds = alternate({"emolib": once(ours), "ImageFolder": once(plain)}, turns)
    measured = ratios(seconds, to="emolib").rename_axis("input").reset_index()
    measured["pictures_per_second"] = 1000 * count / measured["ms"]
    return measured[["input", "pictures_per_second", "ratio", "ratio_low", "ratio_high"]]


class _Folder:
    """An ImageFolder as a set that `Pictures` reads."""

    name = "bench"

    def __init__(self, folder: ImageFolder):
        self.root = Path(folder.root)
        self.paths = [Path(path) for path, _ in folder.samples]
        self.labels = np.array(folder.targets)

    def __len__(self) -> int:
        return len(self.paths)

    def fingerprint(self) -> str:
        return "bench"


def _photograph(path: Path, seed: int) -> None:
    """A picture with a photograph's share of detail, about 60 kB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + rng.normal(0, 8, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def machine(device) -> str:
    """The device and its number of threads, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return f"{cpu}, {torch.get_num_threads()} threads"


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="ratios of speed, measured in one process")
    parser.add_argument("--quick", action="store_true", help="one small network, a minute")
    parser.add_argument("--out", default="results/bench", help="folder for the CSV files")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    device = pick_device(chosen.device)
    out, name = Path(chosen.out), machine(device)
    found = []
    for backbone, size, batch in QUICK if chosen.quick else STEPS:
        found.append(steps(backbone, size, batch, device).assign(machine=name))
        print(found[-1].drop(columns="machine").round(3).to_string(index=False), flush=True)
        write_csv(out / "step.csv", pd.concat(found))
    read = pictures_per_second(60 if chosen.quick else 200).assign(machine=name)
    print(read.drop(columns="machine").round(3).to_string(index=False))
    write_csv(out / "input.csv", read)


if __name__ == "__main__":
    main()
