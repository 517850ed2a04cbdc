"""Flickr_LDL (Yang et al., AAAI 2017): how many people chose each of eight emotions."""

from pathlib import Path

import numpy as np
import pandas as pd

from ...base.emotions import FI
from . import common
from .common import Listing, layout, shown

COUNTS_FILE = "ground_truth.txt"
TWO_LISTS = (
    "ground_truth_train.txt",
    "ground_truth_test.txt",
)  # as StyleEDL's public code cuts the set
COUNTS_HEADER = "images-name", *FI


def counted(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / COUNTS_FILE).is_file()


def cut_in_two(folder: Path) -> bool:
    return (folder / "images").is_dir() and all((folder / part).is_file() for part in TWO_LISTS)


IN_WORDS = {
    counted: f"{COUNTS_FILE} (images-name Amusement Awe …) and images/",
    cut_in_two: f"{' and '.join(TWO_LISTS)} (name, eight shares, class) and images/",
}


@layout("flickr_ldl", IN_WORDS[counted], counted)
def flickr_votes(folder: Path, agree: int) -> Listing:
    return of_counts("flickr_ldl", folder)


@layout("flickr_ldl", IN_WORDS[cut_in_two], cut_in_two)
def flickr_parts(folder: Path, agree: int) -> Listing:
    return of_parts("flickr_ldl", folder)


def of_counts(name: str, folder: Path) -> Listing:
    """Its header names the emotions; a line is a picture's name and eight counts."""
    lines = common.filled_lines(folder / COUNTS_FILE)
    number, header = next(lines, (1, ""))
    if [cell.lower() for cell in header.split()] != [*COUNTS_HEADER]:
        here = f"{name}: {folder / COUNTS_FILE} line {number}"
        raise ValueError(f"{here} is {shown(header)}; expected {' '.join(COUNTS_HEADER)}")
    rows = _voted(name, folder, COUNTS_FILE, lines, 0)
    return _listing(name, folder, rows, COUNTS_FILE)


def of_parts(name: str, folder: Path) -> Listing:
    """Without a header: the emotions stand as in COUNTS_FILE. Five folds are cut of both parts
    together; they themselves are the usual split."""
    rows: dict[Path, list[float]] = {}
    known: dict[Path, str] = {}
    for part in TWO_LISTS:
        found = _voted(name, folder, part, common.filled_lines(folder / part), 1)
        if twice := rows.keys() & found.keys():
            raise ValueError(f"{name}: {min(twice)} is in both {' and '.join(TWO_LISTS)}")
        rows |= found
        known |= dict.fromkeys(found, part)
    listing = _listing(name, folder, rows, " and ".join(TWO_LISTS))
    in_part = np.array([known[path] for path in listing.paths])
    listing.usual = tuple(np.flatnonzero(in_part == part) for part in TWO_LISTS)
    return listing


def _voted(name: str, folder: Path, file: str, lines, after: int) -> dict[Path, list[float]]:
    """{picture: its eight counts or shares} of lines with `after` cells more."""
    index, found = common.below(folder / "images"), {}
    for number, line in lines:
        here = f"{name}: {folder / file} line {number}"
        cells = line.split()
        last = len(cells) - after
        expected = f"{here} is {shown(line)}; expected a name and eight numbers"
        if last <= len(FI):
            raise ValueError(expected)
        picture, cells = " ".join(cells[: last - len(FI)]), cells[last - len(FI) : last]
        path = common.find_file(index, picture, folder / "images")
        if path is None:
            raise ValueError(f"{here} names {shown(picture)}, which is not in {folder / 'images'}")
        if path in found:
            raise ValueError(f"{here} names {shown(picture)} a second time")
        try:
            votes = [float(cell) for cell in cells]
        except ValueError as error:
            raise ValueError(expected) from error
        counts = 0 < sum(votes) < 1e9 and all(value.is_integer() and value >= 0 for value in votes)
        if not counts and (wrong := common.wrong_votes(votes)):
            raise ValueError(f"{here} {wrong}")
        found[path] = votes
    if not found:
        raise ValueError(f"{name}: {folder / file} names no picture")
    return found


def _listing(name: str, folder: Path, rows: dict[Path, list[float]], layout: str) -> Listing:
    """Polarity and emotion are not known: nobody said which one counts."""
    paths, images = sorted(rows), folder / "images"
    common.warn_unlisted(name, images, common.count(common.below(images)) - len(rows), layout)
    votes = pd.DataFrame([rows[path] for path in paths], columns=list(FI))
    labels = np.full(len(paths), -1)
    return Listing(paths, labels, layout=f"{layout}, votes alone", extra=votes, votes=FI)
