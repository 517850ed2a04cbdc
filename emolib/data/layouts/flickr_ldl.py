"""Flickr_LDL (Yang et al., AAAI 2017): how many people chose each of eight emotions."""

from pathlib import Path

import numpy as np
import pandas as pd

from ...base.emotions import FI
from . import common
from .common import Listing, layout, shown

COUNTS_FILE = "ground_truth.txt"
# as StyleEDL's public code cuts the set
TWO_LISTS = "ground_truth_train.txt", "ground_truth_test.txt"
COUNTS_HEADER = "images-name", *FI


def counted(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / COUNTS_FILE).is_file()


def cut_in_two(folder: Path) -> bool:
    return (folder / "images").is_dir() and all((folder / part).is_file() for part in TWO_LISTS)


def of_counts(name: str, folder: Path) -> Listing:
    """Its header names the emotions; a line is a picture's name and eight counts."""
    lines = common.filled_lines(folder / COUNTS_FILE)
    number, header = next(lines, (1, ""))
    if [cell.lower() for cell in header.split()] != [*COUNTS_HEADER]:
        here = f"{name}: {folder / COUNTS_FILE} line {number}"
        raise ValueError(f"{here} is {shown(header)}; expected {' '.join(COUNTS_HEADER)}")
    rows = _voted(name, folder, {COUNTS_FILE: lines}, "a name and eight counts", len(FI))
    return _listing(name, folder, {path: votes for path, (_, votes) in rows.items()}, COUNTS_FILE)


def of_parts(name: str, folder: Path) -> Listing:
    """Without a header: the emotions stand as in COUNTS_FILE. The class behind the shares is the
    number of the largest; the shares say that themselves. Five folds are cut of both parts
    together; they themselves are the usual split."""
    lines = {part: common.filled_lines(folder / part) for part in TWO_LISTS}
    rows = _voted(name, folder, lines, "a name, eight shares and a class", len(FI) + 1)
    votes = {path: shares for path, (_, shares) in rows.items()}
    listing = _listing(name, folder, votes, " and ".join(TWO_LISTS))
    in_part = np.array([rows[path][0] for path in listing.paths])
    listing.usual = tuple(np.flatnonzero(in_part == part) for part in TWO_LISTS)
    return listing


def _voted(name: str, folder: Path, lines: dict, expected: str, cells: int) -> dict:
    """{picture: (its file, eight counts or shares)} of each file's lines, which are a name and so
    many cells."""
    index, images, found = common.below(folder / "images"), folder / "images", {}
    for file, number, line in ((f, n, text) for f in lines for n, text in lines[f]):
        here = f"{name}: {folder / file} line {number}"
        picture, *numbers = line.rsplit(maxsplit=cells)
        votes = common.numbers(numbers[: len(FI)])
        if (
            len(numbers) < cells
            or votes is None
            or not all(c.isdecimal() for c in numbers[len(FI) :])
        ):
            raise ValueError(f"{here} is {shown(line)}; expected {expected}")
        try:
            path = common.find_file(index, picture, images)
        except ValueError as error:
            raise ValueError(f"{here} names {error}") from error
        if path is None:
            raise ValueError(f"{here} names {shown(picture)}, which is not in {images}")
        if path in found:
            raise ValueError(f"{here} names {shown(picture)} a second time")
        counts = 0 < sum(votes) < 1e9 and all(value.is_integer() and value >= 0 for value in votes)
        if not counts and (wrong := common.wrong_votes(votes)):
            raise ValueError(f"{here} {wrong}")
        found[path] = file, votes
    for file in lines:
        if file not in {of for of, _ in found.values()}:
            raise ValueError(f"{name}: {folder / file} names no picture")
    return found


def _listing(name: str, folder: Path, rows: dict[Path, list[float]], what: str) -> Listing:
    """Polarity and emotion are not known: nobody said which one counts."""
    paths, images = sorted(rows), folder / "images"
    common.warn_unlisted(name, images, common.count(common.below(images)) - len(rows), what)
    votes = pd.DataFrame([rows[path] for path in paths], columns=list(FI))
    labels = np.full(len(paths), -1)
    return Listing(paths, labels, layout=f"{what}, votes alone", extra=votes, votes=FI)


def two_forms(name: str) -> None:
    """Registers the two layouts of a set of votes."""

    def counts(folder: Path, agree: int) -> Listing:
        return of_counts(name, folder)

    def parts(folder: Path, agree: int) -> Listing:
        return of_parts(name, folder)

    layout(name, f"{COUNTS_FILE} (images-name Amusement Awe …) and images/", counted)(counts)
    both = f"{' and '.join(TWO_LISTS)} (name, eight shares, class) and images/"
    layout(name, both, cut_in_two)(parts)


two_forms("flickr_ldl")
