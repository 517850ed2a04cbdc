"""One run from a shell; under torchrun in several processes.

    python -m emolib.worker SPEC.json --data-root /data --study-folder results/mine
    torchrun --standalone --nproc-per-node 4 -m emolib.worker SPEC.json ...

SPEC.json: a RunSpec as in a run folder's spec.json; settings it leaves out are the defaults.
"""

import argparse
import os
from pathlib import Path

import torch.distributed

from ..base import parallel
from ..base.run_folder import read_spec
from . import lifeline
from .check import check_runs
from .run import train_run
from .task import Places


def main(words=None) -> None:
    parser = argparse.ArgumentParser(description="trains one run, or goes on with it")
    parser.add_argument("spec", help="JSON file with the RunSpec")
    parser.add_argument("--data-root", required=True, help="folder that holds fi/, twitter1/, …")
    parser.add_argument("--study-folder", required=True, help="folder of the study's results")
    parser.add_argument("--weights", default="", help="file of the backbone's ImageNet weights")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args(words)
    if lifeline.VARIABLE in os.environ:
        lifeline.tie(int(os.environ[lifeline.VARIABLE]))
    device = parallel.start(chosen.device) or chosen.device
    places = Places(Path(chosen.data_root), Path(chosen.study_folder), chosen.weights, str(device))
    spec = read_spec(chosen.spec)
    check_runs([spec], places)
    result = train_run(spec, places, with_weights=True)
    if parallel.Ranks.here().first:
        print(result.folder, result.metrics)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
