"""EmoSet-118K (Yang et al., ICCV 2023): three lists of [emotion, id, picture, annotation]."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...base.emotions import FI, FI_POSITIVE
from . import common
from .common import Listing, layout, shown

THREE_LISTS = ("train", "val", "test")


@layout(
    "emoset",
    "train.json, val.json and test.json of [emotion, id, picture, annotation]",
    lambda folder: all((folder / f"{part}.json").is_file() for part in THREE_LISTS),
)
def emoset_lists(folder: Path, agree: int) -> Listing:
    """One fold of its own: what test.json tests; `part` says what was meant for validation."""
    index, part_of = common.below(folder), []
    rows: dict[Any, str] = {}
    for part in THREE_LISTS:
        for here, emotion, name in _entries(folder / f"{part}.json"):
            path = common.find_file(index, name, folder)
            if path is None:
                raise FileNotFoundError(f"{here} names {shown(name)}, which is not in {folder}")
            if path in rows:
                raise ValueError(f"{here} names {shown(name)} a second time")
            rows[path] = emotion
            part_of.append(part)
    missing = [emotion for emotion in FI if emotion not in set(rows.values())]
    if missing:
        raise ValueError(f"emoset: no picture of {', '.join(missing)} in the lists of {folder}")
    common.warn_unlisted("emoset", folder, common.count(index) - len(rows), "the three lists")
    parts = np.array(part_of)
    fold = np.flatnonzero(parts != "test"), np.flatnonzero(parts == "test")
    return common.by_emotion(
        list(rows.items()),
        FI_POSITIVE,
        official_folds=[fold],
        layout="train.json, val.json, test.json (positive is 1; EmoSet.py's two classes have it 0)",
        extra=pd.DataFrame({"part": parts}),
    )


def _entries(file: Path):
    """(where, emotion, picture) of each entry of a list."""
    for number, entry in common.json_entries("emoset", file):
        here = f"emoset: {file} entry {number}"
        fits = isinstance(entry, list) and len(entry) >= 3 and isinstance(entry[2], str)
        if not fits or entry[0] not in FI:
            raise ValueError(
                f"{here} is {shown(entry)}; expected [emotion, id, picture, annotation]"
            )
        folders = {part.lower() for part in Path(entry[2]).parts[:-1]} & set(FI)
        if folders - {entry[0]}:
            raise ValueError(f"{here} calls {shown(entry[2])} {entry[0]}")
        yield here, entry[0], entry[2].replace("\\", "/")
