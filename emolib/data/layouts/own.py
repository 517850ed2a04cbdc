"""A set of one's own: labels.csv with the columns path and label, emotion, p_<emotion>, valence and
arousal, of which one task needs one or another; and fold."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ..pictures import MOST_NAMED
from . import common
from .common import POLARITY, SCALE, Listing, layout, shown

KNOWN = ("label", "emotion", "valence", "arousal")
VOTES = "p_"  # of the columns with the shares of a picture's votes


@layout(
    "own",
    "labels.csv with the columns path,label[,fold][,emotion][,valence][,arousal][,p_<emotion>…]",
    lambda folder: (folder / "labels.csv").is_file(),
)
def own_labels(folder: Path, agree: int) -> Listing:
    return labelled(folder / "labels.csv")


def labelled(file: Path) -> Listing:
    """The pictures that a CSV file beside or above them names. ValueError names the lines where one
    is not there, or what is said of it is none that is known. Labels are −1 without their column.
    """
    folder = file.parent
    index = common.below(folder)
    lines: dict[Path, int] = {}
    rows: dict[Path, dict] = {}
    wrongs = []
    for line, row in common.csv_rows("own", file, ("path",), (*KNOWN, "fold"), VOTES):
        if not any(name in KNOWN or name.startswith(VOTES) for name in row):
            raise ValueError(f"own: {file} says nothing of its pictures; expected path,label")
        path = common.find_file(index, row["path"], folder)
        path = path or common.find_file(index, common.as_listed(row["path"], folder), folder)
        wrong = _own_wrong(row, path, folder)
        if path in rows:
            wrong = f"names {shown(row['path'])} again, after line {lines[path]}"
        if wrong or path is None:
            wrongs.append(f"line {line} {wrong}")
        else:
            lines[path], rows[path] = line, row
    if wrongs:
        first, more = wrongs[:MOST_NAMED], len(wrongs) - MOST_NAMED
        first += [f"… and {more} more lines"] if more > 0 else []
        raise ValueError(f"own: {file} " + "\n".join(first))
    if not rows:
        raise ValueError(f"own: {file} has no rows")
    common.warn_unlisted("own", folder, common.count(index) - len(rows), file.name)
    paths = sorted(rows)
    said = pd.DataFrame([rows[path] for path in paths])
    folds = _own_folds(file, said["fold"].astype(int).to_numpy()) if "fold" in said else None
    numbers = [c for c in said if c in ("valence", "arousal") or c.startswith(VOTES)]
    extra = said[numbers].map(_number).rename(columns=lambda c: c.removeprefix(VOTES))
    votes = tuple(c.removeprefix(VOTES) for c in numbers if c.startswith(VOTES))
    labels = np.full(len(said), -1)
    if "label" in said:
        labels = said["label"].map(common.polarity).to_numpy()
    of = f"{len(folds)} folds of its own" if folds else "no folds"
    return Listing(
        paths,
        labels,
        said["emotion"].to_numpy(str) if "emotion" in said else None,
        official_folds=folds,
        layout=f"{file.name}, {of}",
        extra=extra if numbers else None,
        votes=votes,
    )


def _own_wrong(row: dict, path: Path | None, folder: Path) -> str:
    """What is wrong with a row of labels.csv, or ""."""
    if path is None:
        said = f"names {shown(row['path'])}, which is not a picture below {folder}"
        name = common.as_listed(row["path"], folder)
        other = Path(name).suffix.lower() not in common.SUFFIXES
        there = other and os.path.isfile(folder / name)
        return said + ", of a kind that is read; save it as JPEG or PNG" * there
    if common.polarity(row.get("label", "1")) is None:
        return f"has the label {shown(row['label'])}; expected one of {', '.join(POLARITY)}"
    fold, emotion = row.get("fold", "0"), row.get("emotion", "-")
    if not fold.isdecimal() or len(fold) > 9:
        return f"has the fold {shown(fold)}; expected 0, 1, 2, …"
    if len(emotion) > 100:  # an array of strings has its longest's size in each row
        return f"has an emotion of {len(emotion)} characters"
    votes = []
    for name, cell in row.items():
        if name in ("valence", "arousal") or name.startswith(VOTES):
            try:
                value = _number(cell)
            except ValueError:
                return f"has {shown(cell)} as {name}; expected a number"
            votes += [value] * name.startswith(VOTES)
            low, high = (0, 1) if name.startswith(VOTES) else SCALE
            if not low <= value <= high:
                return f"has a {name} of {value:g}; it is from {low:g} to {high:g}"
    if bad := {VOTES, VOTES + "valence", VOTES + "arousal"} & set(row):
        return f"has the column {sorted(bad)[0]}, which names no emotion"
    if votes and (wrong := common.wrong_votes(votes)):
        return wrong
    return "" if emotion else "has no emotion"


def _number(cell: str) -> float:
    """A decimal comma counts as a point. ValueError for what is no number."""
    return float(cell.replace(",", "."))


def _own_folds(file: Path, fold: np.ndarray) -> list:
    used = set(fold.tolist())
    count = len(used)  # not the largest number, which may be a billion
    missing = [k for k in range(count) if k not in used]
    if count < 2 or missing:
        raise ValueError(
            f"own: {file}: folds must be 0 to k−1 without a gap and at least two; "
            f"{f'fold {missing[0]} has no row' if missing else 'all rows are of fold 0'}"
        )
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]
