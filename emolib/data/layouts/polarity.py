"""Trees of folders negative/ and positive/, in which copies of every set go round: alone, in
train/, val/ and test/, or in a numbered folder for each fold."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from . import common
from .common import Listing

NAMES = {"neg": 0, "negative": 0, "pos": 1, "positive": 1}


def two_folders(folder: Path) -> list[tuple[int, Path]]:
    """[(label, folder)] of pos/ and neg/, or positive/ and negative/."""
    return [(NAMES[n], path) for n, path in sorted(common.subfolders(folder).items()) if n in NAMES]


def parts(folder: Path) -> list[tuple[str, Path]]:
    """[(part, folder)] of train/, val/ and test/ that hold both."""
    return [(part, path) for part, path in common.part_folders(folder) if two_folders(path)]


def numbered(folder: Path) -> list[Path]:
    """The folders 1/ to 5/, or those of total/, where each holds parts with both."""
    for place in (folder, folder / "total"):
        there = common.subfolders(place)
        found = [there[number] for number in "12345" if number in there]
        if len(found) == 5 and all(map(parts, found)):
            return found
    return []


def in_two_folders(name: str, folder: Path) -> Listing:
    """pos/ and neg/."""
    rows = _pictures(name, folder)
    words = " + ".join(f"{path.name}/" for _, path in two_folders(folder))
    return _listing(rows, layout=f"{words}, no public folds")


def joined_parts(name: str, folder: Path) -> Listing:
    """train/, val/ and test/, joined; `part` remembers them."""
    rows, part = [], []
    for which, path in parts(folder):
        new = _pictures(name, path)
        rows += new
        part += [which] * len(new)
    names = ", ".join(path.name for _, path in parts(folder))
    return _listing(
        rows, layout=f"two polarities in each of {names}", extra=pd.DataFrame({"part": part})
    )


def in_folds(name: str, folder: Path) -> Listing:
    """1/ to 5/ with train/ and test/ in each: copies of the same pictures, of which the first
    folder's are read. Raises ValueError where a fold has other pictures or labels."""
    first, *_ = folds = numbered(folder)
    rows = [row for _, path in parts(first) for row in _pictures(name, path)]
    labels = {common.nfc(path.name): label for path, label in rows}
    if len(labels) < len(rows):
        raise ValueError(f"{name}: a picture of {first} is in two of its folders")
    index = {common.nfc(path.name): i for i, (path, _) in enumerate(rows)}
    official, tested = [], []
    for fold in folds:
        found: dict[str, list[int]] = {"train": [], "test": []}
        for part, path in parts(fold):
            for picture, label in _pictures(name, path):
                key = common.nfc(picture.name)
                if labels.get(key) != label:
                    known = "is not there" if key not in labels else f"has the label {labels[key]}"
                    raise ValueError(f"{name}: {picture} {known} in {first}; copy the set again")
                found["test" if part == "test" else "train"].append(index[key])
        if sorted(found["train"] + found["test"]) != list(range(len(rows))):
            raise ValueError(f"{name}: {fold} has not the pictures of {first}, each once")
        tested += found["test"]
        official.append((np.array(sorted(found["train"])), np.array(sorted(found["test"]))))
    if len(set(tested)) < len(tested):
        raise ValueError(f"{name}: {folder}: a picture is in the test/ of two folds")
    return _listing(rows, official_folds=official, layout="five folders of folds, 1/ to 5/")


def _pictures(name: str, folder: Path) -> list[tuple[Path, int]]:
    rows = []
    for label, path in two_folders(folder):
        rows += [(picture, label) for picture in common.picture_files(path)]
    if {label for _, label in rows} != {0, 1}:
        raise FileNotFoundError(f"{name}: {folder} needs pictures in pos/ and in neg/")
    ((both, times),) = Counter(common.nfc(picture.name) for picture, _ in rows).most_common(1)
    if times > 1:
        raise ValueError(f"{name}: {both!r} is in two of {folder}'s polarity folders")
    return rows


def _listing(rows: list[tuple[Path, int]], **fields) -> Listing:
    return Listing([path for path, _ in rows], np.array([label for _, label in rows]), **fields)
