"""A set of one's own: labels.csv with the columns path,label[,fold][,emotion]."""

from pathlib import Path
from typing import Any

import numpy as np

from . import common
from .common import POLARITY, Listing, layout, shown


@layout(
    "own",
    "labels.csv with the columns path,label[,fold][,emotion]",
    lambda folder: (folder / "labels.csv").is_file(),
)
def own_labels(folder: Path, agree: int) -> Listing:
    return labelled(folder / "labels.csv")


def labelled(file: Path) -> Listing:
    """The pictures that a CSV file beside or above them names. ValueError names the line where one
    is not there, or its label none that is known."""
    folder = file.parent
    index = common.below(folder)
    rows: dict[Any, tuple] = {}
    for line, row in common.csv_rows("own", file, ("path", "label"), ("fold", "emotion")):
        path = common.find_file(index, row["path"], folder)
        wrong = _own_wrong(row, path, folder)
        if path in rows:
            wrong = f"names {shown(row['path'])} again, after line {rows[path][0]}"
        if wrong:
            raise ValueError(f"own: {file} line {line} {wrong}")
        rows[path] = (line, POLARITY[row["label"].lower()], row.get("fold"), row.get("emotion"))
    if not rows:
        raise ValueError(f"own: {file} has no rows")
    common.warn_unlisted("own", folder, common.count(index) - len(rows), file.name)
    paths = sorted(rows)
    _, label, fold, emotion = zip(*(rows[path] for path in paths), strict=True)
    folds = None if fold[0] is None else _own_folds(file, np.array([int(k) for k in fold]))
    return Listing(
        paths,
        np.array(label),
        None if emotion[0] is None else np.array(emotion),
        official_folds=folds,
        layout=f"{file.name}, {f'{len(folds)} folds of its own' if folds else 'no folds'}",
    )


def _own_wrong(row: dict, path: Path | None, folder: Path) -> str:
    """What is wrong with a row of labels.csv, or ""."""
    if path is None:
        return f"names {shown(row['path'])}, which is not a picture below {folder}"
    if row["label"].lower() not in POLARITY:
        return f"has the label {shown(row['label'])}; expected one of {', '.join(POLARITY)}"
    fold, emotion = row.get("fold", "0"), row.get("emotion", "-")
    if not fold.isdecimal() or len(fold) > 9:
        return f"has the fold {shown(fold)}; expected 0, 1, 2, …"
    if len(emotion) > 100:  # an array of strings has its longest's size in each row
        return f"has an emotion of {len(emotion)} characters"
    return "" if emotion else "has no emotion"


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
