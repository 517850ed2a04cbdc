"""Does what was learnt on one set help on another? Runs on shares of the training pictures, kept in
<study>/shares, and each trained network tested on the other sets."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ..base.run_folder import has_weights
from ..data import audit
from ..spec.run_spec import RunSpec
from ..tables import sources
from ..tables.frame import SHARES_FOLDER
from ..tables.transfer import cross_line, scored_answers
from ..training.task import Places, split
from ..use.load import of_folder
from .study import Study

TRAINING_SHARES = (0.1, 0.3, 1.0)
CROSS = (
    "trained_on tested_on pre_trained networks pictures accuracy low high lowest highest recall "
    "majority run_ids weights"
).split()


def transfer_specs(study: Study) -> list[RunSpec]:
    """The runs of the curve: on each share of the training pictures the small sets' runs, with and
    without their set-to-set stage. Raises ValueError where the study has no small set, and where
    its overrides set a share."""
    if not study.small or "share" in study.overrides:
        why = "its overrides set share" if study.small else "it has FI alone"
        raise ValueError(f"study {study.name!r}: {why}; the curve is of shares of a small set")
    found = []
    for share in TRAINING_SHARES:
        of_share = replace(study, overrides=study.overrides | {"share": share})
        found += [*of_share.specs(datasets=study.small), *of_share.without_transfer()]
    return list(dict.fromkeys(found))


def run_transfer(study: Study) -> list[RunSpec]:
    """Trains `transfer_specs`: those on all pictures in the study itself, those on fewer in
    <study>/shares. Returns all of them, for `Study.build_tables`."""
    less, whole = _by_share(study)
    study.run(whole)
    study.apart(SHARES_FOLDER, less).run(less)
    return [*whole, *less]


def plan_transfer(study: Study) -> pd.DataFrame:
    """`Study.plan` of what `run_transfer` is still to train."""
    less, whole = _by_share(study)
    apart = study.apart(SHARES_FOLDER, less)  # what is lent there is not ahead
    return pd.concat([study.plan(whole), apart.plan(less)], ignore_index=True)


def cross_tested(study: Study, results) -> pd.DataFrame:
    """Each set's networks, tested on every set of the study. A row (CROSS) is a pair of sets.

    results: complete runs. Those whose weights were not kept are left out, and named in print.

    No network answers for a picture that it was trained on: on its own set, and on a set that its
    chain began on (pre_trained), it answers for that training's test pictures, elsewhere for all;
    near-twins of its other sets' pictures are left out, and where none is left (Emotion6's are
    EmotionROI's) there is no row.

    accuracy, recall: percent, the mean over the networks. lowest, highest: the accuracy of the
    worst and the best network. low, high: Wilson's 95% interval of that many test pictures.
    majority: the share of the larger class. run_ids, weights: as `sources` says.
    """
    there = [r for r in results if has_weights(r.folder)]
    if gone := [r.spec.id for r in results if r not in there]:
        print(f"Left out, because their weights were not kept: {', '.join(gone)}.")
    pairs: dict[tuple[str, str], list[dict]] = {}
    for result in there:
        for dataset in study.datasets:
            answers = _answers(study, result, dataset)
            if answers.empty:
                continue
            row = scored_answers(answers) | {"folder": result.folder}
            row["pre_trained"] = dataset in result.spec.stages
            pairs.setdefault((result.spec.dataset, dataset), []).append(row)
    rows = []
    for (source, target), scored in pairs.items():
        group = pd.DataFrame(scored)
        row = {"trained_on": source, "tested_on": target} | cross_line(group, source == target)
        rows.append(row | sources.source_columns(group["folder"]))
    return pd.DataFrame(rows, columns=CROSS)


def _answers(study: Study, result, dataset: str) -> pd.DataFrame:
    """label and p_positive of the pictures of a set that the network was not trained on."""
    if dataset == result.spec.dataset:
        return result.predictions
    data, earlier = study.open(dataset), result.spec
    chosen = np.arange(len(data))
    while earlier := earlier.predecessor():
        if earlier.dataset == dataset:
            _, _, chosen = split(earlier, data, Places(study.data_root, study.folder))
    for own in {result.spec.dataset, *result.spec.stages} - {dataset}:
        twins = audit.linked(study.manifest(dataset), study.manifest(own))
        chosen = np.setdiff1d(chosen, twins)
    found = of_folder(result.folder, study.device_here).predict([data.paths[i] for i in chosen])
    return found.assign(label=data.labels[chosen])


def _by_share(study: Study) -> tuple[list[RunSpec], list[RunSpec]]:
    """The specs on fewer pictures, and those on all."""
    specs = transfer_specs(study)
    return [s for s in specs if s.share < 1], [s for s in specs if s.share == 1]
