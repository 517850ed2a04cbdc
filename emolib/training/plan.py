"""A plan before the work: how long the runs ahead will take here, and how much memory."""

from operator import attrgetter

import pandas as pd

from ..base import devices
from ..spec.published import published
from ..spec.run_spec import RunSpec
from ..spec.sets import SETS
from . import sweep
from .cost import measure, share_devices
from .task import Places, split

# Equal for runs that share what their frozen backbone makes of the set.
_views_of = attrgetter("dataset", "agree", "labels", "backbone", "init", "image_size", "crop")


def estimate(
    specs, data_root="", results_root="", study: str = "demo", weights="", device: str = "auto"
) -> pd.DataFrame:
    """One row a run that is still to be trained, those that `specs` start from included.

    id, dataset, method; stage: runs of one stage start from runs of earlier ones; pictures seen
    in training; seconds, from its first epoch on and if it had the machine to itself; memory_mb,
    at its largest; at_once, how many of its stage are trained side by side; parallel, by how many
    that divides their time (those that share a GPU are counted once: they may hardly gain).
    `total_seconds` adds them up.

    The first run on a frozen backbone is charged with its views of the set, as if none were kept.
    Times a few steps of each different network with random pictures. Without data_root the
    numbers of pictures are Table 5's; without results_root nothing is taken as done. On a CPU the
    memory is what a step keeps for its backward pass and the weights, their gradients and
    momentum; on a GPU it is measured. Raises what `create_model` and `open_dataset` raise.
    """
    places = Places.of(data_root, results_root or "?", study, weights, device)
    on_gpu = devices.pick_device(device).type != "cpu"
    rows, seen = [], set[tuple]()
    for number, stage in enumerate(sweep.stages(specs, places, results_root != ""), start=1):
        slots = {s: slots for group, slots in share_devices(stage, places) for s in group}
        for spec in stage:
            emptiest = slots[spec][0]
            cost = measure(spec, emptiest)
            train, validation, test = count_pictures(spec, places if data_root else None)
            seconds, epochs = test * cost.test, 0
            for phase in spec.phases:
                each = measure(phase, emptiest)
                seconds += phase.epochs * (train * each.train + validation * each.test)
                if each.view and (views := _views_of(phase)) not in seen:  # by the first run alone
                    seconds += phase.views * (train + validation + test) * each.view
                    seen.add(views)
                epochs += phase.epochs
            at_once = len(slots[spec])
            row = spec.id, spec.dataset, spec.method, number, epochs * train, seconds
            parallel = len(set(slots[spec])) if on_gpu else at_once
            rows.append((*row, cost.memory / 2**20, at_once, parallel))
    columns = "id dataset method stage pictures seconds memory_mb at_once parallel".split()
    return pd.DataFrame(rows, columns=columns)


def total_seconds(plan: pd.DataFrame) -> float:
    """Until the last run of the plan is done: stage by stage, as many in parallel as it says."""
    seconds = 0.0
    for _, group in plan.groupby(["stage", "parallel"]):
        rounds = -(-len(group) // group["parallel"].iloc[0])
        seconds += max(group["seconds"].mean() * rounds, group["seconds"].max())
    return float(seconds)


def count_pictures(spec: RunSpec, places: Places | None = None) -> tuple[int, int, int]:
    """How many are trained on, validated and tested on; by Table 5 where there are no places."""
    if places:
        return tuple(map(len, split(spec, places.dataset(spec), places)))  # type: ignore[return-value]
    table = published(5).set_index("dataset")
    if spec.dataset not in table.index:
        raise ValueError(f"{spec.dataset}: how many pictures it has is known with data_root only")
    count = int(table.loc[spec.dataset].sum())
    return tuple(round(share * count) for share in SETS[spec.dataset].shares)  # type: ignore[return-value]
