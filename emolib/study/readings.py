"""The open readings, each alone against the default: their runs, kept in <study>/readings."""

import typing
from dataclasses import fields, replace

from ..base import reuse
from ..spec.run_spec import Readings, RunSpec
from ..tables.readings import RANDOM_FOLDS, READINGS_FOLDER


def changes(default: RunSpec, own_folds: bool = False, stop_after=()) -> dict[str, dict]:
    """{name: what differs from the default}: every other value of each of `Readings` (of `levels`
    where the backbone is an HRNet), the modules of Table 7, half the width, and all other readings
    at once; where the set has its own_folds, random ones; the same training stopped after fewer
    epochs.
    """
    found, others = {}, {}
    for field in fields(Readings):
        if field.name == "levels" and not default.backbone.startswith("hrnet"):
            continue
        mine = getattr(default.readings, field.name)
        for value in (v for v in typing.get_args(field.type) if v != mine):
            alone = {f"readings.{field.name}": value}
            others = alone | others  # the first other value
            found[f"{field.name}={value}"] = (
                alone | {"afa": False} if field.name == "without_afa" else alone
            )
    random = {RANDOM_FOLDS: {"official": False}} if own_folds and default.official else {}
    stops = {e: {"epochs": e, "lr_step": default.lr_step} for e in stop_after}
    return {
        "without_mai": {"mai": False},
        "without_afa": {"afa": False},
        "without_both": {"mai": False, "afa": False},
        **found,
        f"width={default.width // 2}": {"width": default.width // 2},
        "every other reading": others,
        **random,
        **{f"epochs={e}": change for e, change in stops.items() if e < default.epochs},
    }


def reading_specs(study, dataset: str, seed: int = 0, stop_after=()) -> dict[str, list[RunSpec]]:
    """{name: a run for each fold}, "normal" first, of a `Study`."""
    data = study.open(dataset)
    named = {"normal": {}}
    named |= changes(study.spec(dataset), bool(data.official_folds), stop_after)
    count = range(len(data.folds()))
    return {
        name: [study.spec(dataset, fold, seed=seed, **change) for fold in count]
        for name, change in named.items()
    }


def run_readings(study, seeds: int = 1, stop_after: str = "") -> list[RunSpec]:
    """Trains every reading on the small sets of a `Study`, its default in the study itself, the
    others in <study>/readings; all specs, for `Study.build_tables`. seeds: how many, from 0 on.
    stop_after: epochs, as "1,2,3": what choosing the epoch on the test pictures would add. Raises
    ValueError where it is anything else.
    """
    parts = [part.strip() for part in str(stop_after).split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"stop_after={stop_after!r}: epochs, with commas, as in 1,2,3")
    apart = replace(study, name=f"{study.name}/{READINGS_FOLDER}")
    done = []
    for dataset in (d for d in study.datasets if d != "fi"):
        for seed in range(seeds):
            named = reading_specs(study, dataset, seed, [int(part) for part in parts])
            default = named.pop("normal")
            others = [spec for group in named.values() for spec in group]
            study.run(default)
            reuse.lend(others, study.folder, apart.folder)
            apart.run(others)
            done += [*default, *others]
    return done
