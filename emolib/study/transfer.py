"""Does what was learnt on one set help on another? Runs on shares of the training pictures, kept in
<study>/shares, and each trained network tested on the other sets."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ..base import reuse
from ..base.run_folder import has_weights
from ..spec.run_spec import RunSpec
from ..tables import sources
from ..tables.transfer import SHARES_FOLDER, _line, _scored
from ..training.task import Places, split
from ..use.load import load

TRAINING_SHARES = (0.1, 0.3, 1.0)
CROSS = [
    "trained_on",
    "tested_on",
    "pre_trained",
    "networks",
    "pictures",
    "accuracy",
    "low",
    "high",
    "lowest",
    "highest",
    "recall",
    "majority",
    "run_ids",
    "weights",
]


def transfer_specs(study) -> list[RunSpec]:
    """The small sets' runs of a `Study`, with and without their set-to-set stage, on each share of
    the training pictures. Raises ValueError where the study has no small set or chooses a share."""
    small = [d for d in study.datasets if d != "fi"]
    if not small or "share" in study.overrides:
        why = "its overrides set share" if small else "it has FI alone"
        raise ValueError(f"study {study.name!r}: {why}; the curve is of shares of a small set")
    whole = dict.fromkeys([*study.specs(datasets=small), *study.without_transfer()])
    return [replace(spec, share=share) for share in TRAINING_SHARES for spec in whole]


def run_transfer(study) -> list[RunSpec]:
    """Trains what `specs` says, whole sets in the study itself, less in <study>/shares; all specs,
    for `Study.build_tables`."""
    apart, whole, less = _parts(study)
    study.run(whole)
    reuse.lend(less, study.folder, apart.folder)
    apart.run(less)
    return [*whole, *less]


def plan_transfer(study) -> pd.DataFrame:
    """`Study.plan` of what `run` is still to train."""
    apart, whole, less = _parts(study)
    reuse.lend(less, study.folder, apart.folder)  # what is lent is not ahead
    return pd.concat([study.plan(whole), apart.plan(less)], ignore_index=True)


def _parts(study) -> tuple:
    """(the study of the shares, the specs on all pictures, those on fewer)"""
    found = transfer_specs(study)
    whole, less = [s for s in found if s.share == 1], [s for s in found if s.share < 1]
    return replace(study, name=f"{study.name}/{SHARES_FOLDER}"), whole, less


def cross_tested(study, results) -> pd.DataFrame:
    """Each set's networks (`results`, complete runs) on every set (CROSS). Those whose weights were
    not kept are left out and named.

    On its own set a network answers for its test pictures, on a set that its chain began on
    (pre_trained) for that one's test pictures, on any other for all: for none that it was trained
    on. accuracy, recall: mean over the networks, in percent; low, high: Wilson's 95% interval of as
    many test pictures; lowest, highest: over the networks; majority: the larger class's share;
    run_ids, weights: as `sources` says.
    """
    rows = []
    gone = [r.spec.id for r in results if not has_weights(r.folder)]
    if gone:
        print(f"Left out, because their weights were not kept: {', '.join(gone)}.")
    for result in (r for r in results if r.spec.id not in gone):
        for dataset in study.datasets:
            frame = _answers(study, result, dataset)
            found = {"trained_on": result.spec.dataset, "tested_on": dataset}
            found["pre_trained"] = dataset in result.spec.stages
            rows.append(found | _scored(frame) | {"folder": result.folder})
    frame, lines = pd.DataFrame(rows, columns=None if rows else CROSS), []
    for (source, target), group in frame.groupby(["trained_on", "tested_on"], sort=False):
        line = {"trained_on": source, "tested_on": target}
        lines.append(
            line | _line(group, source == target) | sources.source_columns(group["folder"])
        )
    return pd.DataFrame(lines, columns=CROSS)


def _answers(study, result, dataset: str) -> pd.DataFrame:
    """label and p_positive of the pictures of a set that the network was not trained on."""
    if dataset == result.spec.dataset:
        return result.predictions
    data, chain = study.open(dataset), result.spec
    chosen = np.arange(len(data))
    while chain := chain.predecessor():
        if chain.dataset == dataset:
            _, _, chosen = split(chain, data, Places(study.data_root, study.folder))
    found = load(result.folder, study.device).predict([data.paths[i] for i in chosen])
    return found.assign(label=data.labels[chosen])
