"""The open readings, each alone against the default: their runs, kept in <study>/readings."""

import itertools
import typing
from dataclasses import fields

from ..base.run_folder import is_complete
from ..spec.run_spec import Readings, RunSpec
from ..spec.values import named
from ..tables.readings import RANDOM_FOLDS, READINGS_FOLDER
from .settings import VARIANTS, Settings
from .study import Study


def what_changes(default: RunSpec, own_folds: bool = False, stop_after=()) -> dict[str, dict]:
    """{name: what differs from the default}, each of these alone: the modules of Table 7; every
    other value of each of `Readings` (of `levels` where the backbone is an HRNet); half and double
    the width; all other readings at once; random folds where the set has its own_folds; the same
    training stopped after fewer epochs, `stop_after`."""
    found = {name: change for name, change in VARIANTS.items() if change}
    others: dict = {}
    for field in fields(Readings):
        if field.name == "levels" and not str(default.backbone).startswith("hrnet"):
            continue
        mine = getattr(default.readings, field.name)
        for value in (v for v in typing.get_args(field.type) if v != mine):
            alone = {f"readings.{field.name}": value}
            others = alone | others  # the first other value
            needs = {"afa": False} if field.name == "without_afa" else {}
            found[f"{field.name}={value}"] = alone | needs
    found |= {f"width={w}": {"width": w} for w in (default.width // 2, 2 * default.width)}
    found["every other reading"] = others
    if own_folds and default.official:
        found[RANDOM_FOLDS] = {"official": False}
    for epochs in (e for e in stop_after if e < default.epochs):
        found[f"epochs={epochs}"] = {"epochs": epochs, "lr_step": default.lr_step}
    return found


def reading_specs(
    settings: Settings, dataset: str, seed: int = 0, stop_after=()
) -> dict[str, list[RunSpec]]:
    """{name: a run for each fold}, "normal" first."""
    own_folds = bool(settings.open(dataset).official_folds)
    changes = what_changes(settings.spec(dataset), own_folds, stop_after)
    return {
        name: settings.specs(datasets=[dataset], seed=seed, **change)
        for name, change in ({"normal": {}} | changes).items()
    }


def run_readings(study: Study, seeds: int = 1, stop_after: str = "") -> list[RunSpec]:
    """Trains every reading on the small sets: the default and Table 7's rows in the study itself,
    the others in <study>/readings. Returns all specs, for `Study.build_tables`.

    seeds: how many, from 0 on. stop_after: epochs, as "1,2,3": what choosing the epoch on the test
    pictures would add. Raises ValueError where it is anything else.
    """
    parts = named("stop_after", str(stop_after))
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"stop_after={stop_after!r}: epochs, with commas, as in 1,2,3")
    done = []
    for dataset, seed in itertools.product(study.small, range(seeds)):
        mine: list[RunSpec] = []
        others: list[RunSpec] = []
        for name, specs in reading_specs(study, dataset, seed, list(map(int, parts))).items():
            for spec in specs:  # where it is, if an earlier version put it there
                apart = is_complete(study.folder / READINGS_FOLDER / "runs" / spec.id)
                (mine if name in VARIANTS and not apart else others).append(spec)
        study.run(mine)
        study.apart(READINGS_FOLDER, others).run(others)
        done += mine + others
    return done
