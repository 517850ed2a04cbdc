"""What EMOLIB_COMPILE=on brings on a CPU: training steps of the network, eager and compiled.

    python -m benchmarks.bench_compile [--out results/bench]

Both forms take turns on the same network, the backbone's running statistics frozen, random
pictures, all cores. compile_s: the first compiled step, with an empty cache. Writes compile.csv.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from emolib.base import devices
from emolib.base.files import write_csv
from emolib.network.build import build_network
from emolib.spec.run_spec import RunSpec
from emolib.training import compiling, loop

from .bench import alternate, ratios

# backbone, px, batch
STEPS = [("tf_efficientnet_lite0", 160, 32), ("hrnet_w18_small", 128, 32)]
CPU = torch.device("cpu")


def compiled(backbone: str, size: int, batch: int, turns: int = 5) -> pd.DataFrame:
    """One row a form ("eager", "compiled"): ms a step, as a ratio to "compiled"."""
    spec = RunSpec("own", backbone=backbone, image_size=size, init="scratch", freeze_bn=True)
    network = loop.moved(build_network(spec), CPU)
    loop.training_mode(network, spec.freeze_bn)
    optimizer = loop.make_optimizer(network, spec)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 2
    calls = {
        name: lambda form=form: loop.step(form, images, labels, optimizer, spec.precision)
        for name, form in (("eager", network), ("compiled", compiling.for_one_size(network)))
    }
    started = time.perf_counter()
    calls["compiled"]()
    seconds = time.perf_counter() - started
    measured = ratios(alternate(calls, turns), to="compiled").rename_axis("form").reset_index()
    return measured.assign(backbone=backbone, px=size, batch=batch, compile_s=seconds)


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="training steps, eager and compiled, on a CPU")
    parser.add_argument("--out", default="results/bench", help="folder for the CSV file")
    chosen = parser.parse_args(words)
    devices.keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        found = pd.concat([compiled(*step) for step in STEPS])
    print(found.round(3).to_string(index=False))
    columns = "backbone px batch form ms ratio ratio_low ratio_high compile_s".split()
    found = found[columns].assign(machine=devices.machine(CPU))
    write_csv(Path(chosen.out) / "compile.csv", found)


if __name__ == "__main__":
    main()
