"""Whether a file of measurements can still come from the runs that it names (`sources`)."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ...base import run_folder
from .. import transfer
from ..sources import SOURCE_COLUMNS
from .run_checks import judged

SOURCE_STEMS = ("cross", "regions", "curves", "areas")
_MEASURED = "was measured on pictures; nothing here gives it again"


def check_sources(folder: Path):
    """(file, status, why) for each of the files that the study has: "wrong" where its runs have
    other weights now, or what needs no pictures does not follow; "ok" where that is all of it."""
    for stem in SOURCE_STEMS:
        file = folder / f"{stem}.csv"
        if file.exists():
            yield file, *judged(partial(_checked, file))


def _checked(file: Path) -> tuple[str, str]:
    frame = pd.read_csv(file, dtype=dict.fromkeys(SOURCE_COLUMNS, str))
    if file.stem == "areas" and (file.parent / "curves.csv").exists():
        if not _follow(frame, pd.read_csv(file.parent / "curves.csv")):
            return "wrong", "its areas are not those under curves.csv"
    if not {*SOURCE_COLUMNS} <= set(frame.columns):
        return "unchecked", "does not say which runs it comes from"
    unknown, followed = set(), 0
    for _, row in frame.fillna(dict.fromkeys(SOURCE_COLUMNS, "")).iterrows():
        ids, hashes = row["run_ids"].split(";"), row["weights"].split(";")
        if len(ids) != len(hashes) or len(ids) != row.get("networks", len(ids)):
            return "wrong", "has another number of runs than of networks or of their weights"
        found = [_place(file.parent, *pair) for pair in zip(ids, hashes, strict=True)]
        for run, (place, known) in zip(ids, found, strict=True):
            if place and known is False:
                return "wrong", f"comes from other weights of {run} than are here now"
            if not known:
                unknown.add(run)
        places = [place for place, _ in found if place]
        if len(places) == len(ids) and file.stem in SOURCE_CHECKS:
            if why := SOURCE_CHECKS[file.stem](row, places):
                return "wrong", why
            followed += file.stem == "cross" and row["trained_on"] == row["tested_on"]
    if unknown:
        return "unchecked", f"the weights of {len(unknown)} of its runs are not known here"
    return ("ok", "") if followed == len(frame) else ("unchecked", _MEASURED)


def _place(study: Path, run: str, weights: str) -> tuple[Path | None, bool | None]:
    """Where the study has a run, best with these weights, and whether it has them; None: not there,
    not known."""
    plain = Path(run).name == run
    there = [study / "runs" / run, *sorted(study.glob("*/runs"))] if plain else []
    there = [place if place.name == run else place / run for place in there]
    hashes = {p: run_folder.weights_of(p) for p in there if run_folder.is_complete(p)}
    for place, known in hashes.items():
        if known and weights and known.startswith(weights):
            return place, True
    unknown = not weights or None in hashes.values()
    return next(iter(hashes), None), None if unknown or not hashes else False


def _cross(row, places: list[Path]) -> str | None:
    """Of networks on their own set's test pictures: all numbers, from predictions.csv."""
    if row["trained_on"] != row["tested_on"]:
        return None
    expected = transfer.own_row(map(run_folder.read_run, places))
    for name, value in expected.items():
        same = row[name] == value if isinstance(value, str) else _near(row[name], value)
        if not same:
            return f"{name} of {row['trained_on']}: {row[name]} there, {value} from predictions.csv"
    return None


def _regions(row, places: list[Path]) -> str | None:
    """Whose row it is, and on how many pictures."""
    result = run_folder.read_run(places[0])
    spec, tested = result.spec, len(result.predictions)
    if (row["set"], row["network"], row["fold"]) != (spec.dataset, spec.seed, spec.fold):
        return f"has a row of {spec.id} as another set's, network's or fold's"
    said = row["pictures"] + row["left out"]
    return f"has {said} pictures of {spec.id}, which tests {tested}" if said != tested else None


def _follow(areas: pd.DataFrame, curves: pd.DataFrame) -> bool:
    """Whether areas and their differences to the first place's are those under the mean curves."""
    keys = [k for k in ("start", "set", "way", "place") if k in areas and k in curves]
    groups = curves.sort_values("share").groupby(keys, sort=False)
    under = {key: np.trapezoid(curve["p"], curve["share"]) for key, curve in groups}
    highest = areas.loc[areas["difference"].isna(), "place"].iloc[0]
    for row in areas.itertuples():
        key = tuple(getattr(row, k) for k in keys)
        minus = math.nan if row.place == highest else under[key] - under[(*key[:-1], highest)]
        if not _near(row.area, under[key]) or not _near(row.difference, minus):
            return False
    return True


def _near(a, b) -> bool:
    """Equal to what a CSV file keeps."""
    return bool(np.isclose(float(a), float(b), 1e-5, 1e-5, equal_nan=True))


SOURCE_CHECKS = {"cross": _cross, "regions": _regions}
