"""Abstract paintings (Machajdik & Hanbury, ACM MM 2010): a CSV file with counts of votes."""

import warnings
from pathlib import Path

import pandas as pd

from ...base.emotions import FI, FI_POSITIVE
from . import common
from .artphoto import SPELT
from .common import Listing, layout, shortened, shown

VOTES_FILE = "ABSTRACT_groundTruth.csv"


@layout(
    "abstract",
    f"{VOTES_FILE} beside its pictures (also in testImages_abstract/)",
    lambda folder: any((place / VOTES_FILE).is_file() for place in _places(folder)),
)
def abstract_votes(folder: Path, agree: int) -> Listing:
    """A picture's emotion is the one with the most votes. Where several have as many it has none,
    and is left out, in a warning."""
    place = next(place for place in _places(folder) if (place / VOTES_FILE).is_file())
    file, index = place / VOTES_FILE, common.below(place)
    emotions: list[str] = []
    rows, counts, tied, seen = [], [], [], set()
    for line, cells in common.csv_cells(file):
        here, cells = f"abstract: {file} line {line}", [cell.strip("'\" ") for cell in cells]
        if not emotions:
            emotions = [SPELT.get(cell.lower(), "") for cell in cells[1:]]
            if sorted(emotions) != sorted(FI):
                raise ValueError(f"{here} is {shown(cells)}; expected '', Amusement, Anger, …, Sad")
            continue
        path = common.find_file(index, cells[0], place)
        if path is None or len(cells) != 9 or not all(cell.isdecimal() for cell in cells[1:]):
            wrong = "names a picture that is not there" if path is None else "has not eight counts"
            raise ValueError(f"{here} {wrong}: {shown(cells)}")
        if path in seen:
            raise ValueError(f"{here} names {cells[0]} a second time")
        seen.add(path)
        given = dict(zip(emotions, map(int, cells[1:]), strict=True))
        best = [emotion for emotion in given if given[emotion] == max(given.values())]
        if len(best) > 1:
            tied.append(cells[0])
            continue
        rows.append((path, best[0]))
        counts.append(given)
    if not rows:
        raise ValueError(f"abstract: {file} has no row with one most frequent emotion")
    if tied:
        named = shortened(", ".join(tied))
        warnings.warn(f"abstract: {len(tied)} pictures have no one emotion: {named}", stacklevel=4)
    layout = f"{VOTES_FILE}, {len(tied)} pictures without one most frequent emotion left out"
    votes = pd.DataFrame(counts)[list(FI)]
    return common.by_emotion(rows, FI_POSITIVE, layout=layout, extra=votes, votes=FI)


def _places(folder: Path) -> list[Path]:
    return [folder, folder / "testImages_abstract"]
