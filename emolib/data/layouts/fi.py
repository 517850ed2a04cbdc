"""FI as people have it: emotion folders, their parts, lists, the source's files of votes."""

import urllib.parse
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from ...base.emotions import FI, FI_POSITIVE
from . import common, polarity
from .common import PARTS, Listing, layout, shortened, shown


def _is_json(file: Path) -> bool:
    if file.suffix.lower() != ".json":
        return False
    with open(file, "rb") as opened:
        # in any encoding: a list in one that we do not read is an error and not no list
        skipped = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"
        return opened.read(1000).translate(None, skipped).startswith(b"[[")


def list_files(folder: Path) -> list[Path]:
    """JSON files of lists, and text files whose first line begins with a picture's name."""
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    files = [p for p in files if _is_json(p) or (p.suffix.lower() == ".txt" and common.is_list(p))]
    return sorted(files, key=lambda p: p.stem.lower() not in PARTS)  # these say what a part is


def vote_files(folder: Path) -> list[tuple[str, Path]]:
    """The files <emotion>.csv and <emotion>_….csv."""
    files = [(p.stem.lower().partition("_")[0], p) for p in sorted(folder.glob("*.[cC][sS][vV]"))]
    return [(emotion, file) for emotion, file in files if emotion in FI]


def without_lists(folder: Path) -> bool:
    """FI's lists and CSV files say more than the folders beside them: these count without them."""
    return not list_files(folder) and not vote_files(folder)


@layout(
    "fi",
    "eight emotion folders (amusement/, …)",
    lambda folder: common.has(FI, folder) and without_lists(folder),
)
def fi_folders(folder: Path, agree: int) -> Listing:
    return common.emotion_folders("fi", folder, FI, FI_POSITIVE)


@layout(
    "fi",
    "train/, val/ or test/ with the emotion folders in each",
    lambda folder: (
        any(common.has(FI, p) for _, p in common.part_folders(folder)) and without_lists(folder)
    ),
)
def in_parts(folder: Path, agree: int) -> Listing:
    """train/, val/ and test/ joined: the paper draws 80/5/15 anew, `part` only remembers them."""
    parts, rows = [], []
    for part, path in common.part_folders(folder):
        for picture in common.emotion_folders("fi", path, FI, FI_POSITIVE).paths:
            rows.append((picture, picture.parent.name.lower()))
            parts.append(part)
    names = ", ".join(path.name for _, path in common.part_folders(folder))
    layout = f"eight emotion folders in each of {names}"
    return common.by_emotion(rows, FI_POSITIVE, layout=layout, extra=pd.DataFrame({"part": parts}))


@layout("fi", "lists (*.json of [path, class], *.txt of '<path> <label>')", list_files)
def lists(folder: Path, agree: int) -> Listing:
    """Lists beside the pictures, which lie in `folder` or in one of its subfolders."""
    files, index = list_files(folder), common.below(folder)
    for part in sorted(folder.iterdir()):  # half of the lists would be another set
        if part.suffix.lower() in (".json", ".txt") and part.stem.lower() in PARTS:
            if part not in files:
                raise ValueError(f"fi: {part} is beside lists and is none; mend or remove it")
    listed = [(file, *entry) for file in files for entry in fi_list(file)]
    base = _base(folder, index, [path for _, _, path, _ in listed])
    found = [common.find_file(index, base + path, folder) for _, _, path, _ in listed]
    missing = [entry for entry, path in zip(listed, found, strict=True) if path is None]
    if missing:
        file, entry, name, _ = missing[0]
        wrong = f"{file} entry {entry} names {shown(name)}, which is not in {folder / base}"
        many = f"{len(missing)} of the {len(listed)} listed pictures are not there"
        raise FileNotFoundError(f"fi: {wrong}; {many}")
    rows: dict[Any, tuple] = {}  # a picture may be listed twice, if it is the same emotion
    for path, (file, entry, name, emotion) in zip(found, listed, strict=True):
        first = rows.setdefault(path, (file, entry, emotion))
        if first[2] != emotion:
            other = f"{first[0].name} entry {first[1]} calls it {first[2]}"
            raise ValueError(f"fi: {file} entry {entry} calls {shown(name)} {emotion}; {other}")
    _need_all({emotion for _, _, emotion in rows.values()}, f"the lists in {folder}")
    common.warn_unlisted("fi", folder / base, common.count(index, base) - len(rows), "any list")
    paths = sorted(rows)
    parts = [PARTS.get(rows[path][0].stem.lower(), "") for path in paths]
    names = ", ".join(file.name for file in files)
    return common.by_emotion(
        [(path, rows[path][2]) for path in paths],
        FI_POSITIVE,
        layout=f"lists {names}, pictures in {base or 'the same folder'}",
        extra=pd.DataFrame({"part": parts}) if any(parts) else None,
    )


@layout(
    "fi",
    "train/, val/ or test/ with positive/ and negative/ in each",
    lambda folder: polarity.parts(folder) and without_lists(folder),
)
def fi_polarity_in_parts(folder: Path, agree: int) -> Listing:
    """Without the finer emotions."""
    return polarity.joined_parts("fi", folder)


def _need_all(found: set, where: str) -> None:
    """FileNotFoundError where one of the emotions is not among the found ones."""
    if missing := [emotion for emotion in FI if emotion not in found]:
        raise FileNotFoundError(f"fi: nothing of {', '.join(missing)} in {where}")


def fi_list(file: Path) -> list[tuple[int, str, str]]:
    """[(entry, path, emotion)] of one list: JSON [[path, class], …] or lines `<path> <label>`. The
    label is an emotion's name, or a number with the emotion as a folder of the path. Raises
    ValueError that names file and entry where the two contradict each other."""
    entries = []
    numbers: dict[str, str] = {}  # {class: emotion} and back
    for entry, path, label in _json_pairs(file) if _is_json(file) else _text_pairs(file):
        path, here = path.replace("\\", "/").removeprefix("./"), f"fi: {file} entry {entry}"
        folders = [part.lower() for part in path.split("/")[:-1] if part.lower() in FI]
        emotion = label if label in FI else folders[-1] if folders else None
        if emotion is None or not (label in FI or label.isdecimal()):
            wanted = f"expected one of {', '.join(FI)} as label or as folder"
            what = f"{shown(path)} with label {shown(label)} does not say which emotion it is"
            raise ValueError(f"{here}: {what}; {wanted}")
        wrong = ""
        if folders and folders[-1] != emotion:
            wrong = f"its folder is {folders[-1]}"
        elif label.isdecimal():
            same, number = numbers.setdefault(label, emotion), numbers.setdefault(emotion, label)
            if same != emotion:
                wrong = f"earlier entries give it to {same}"
            elif number != label:
                wrong = f"earlier entries give {emotion} the label {shortened(number)}"
        if wrong:
            raise ValueError(f"{here} gives {shown(path)} the label {shortened(label)}; {wrong}")
        entries.append((entry, path, emotion))
    if not entries:
        raise ValueError(f"fi: {file} is empty; copy the set again")
    return entries


def _json_pairs(file: Path):
    for entry, pair in common.json_entries("fi", file):
        if not (isinstance(pair, list) and list(map(type, pair)) in ([str, int], [str, str])):
            wrong = f"{shown(pair)}; expected [path, class number]"
            raise ValueError(f"fi: {file} entry {entry} is {wrong}")
        yield entry, pair[0], str(pair[1]).lower()


def _text_pairs(file: Path):
    for entry, line in common.filled_lines(file):
        path, label = common.name_and_label(line)
        if not path:
            wrong = f"{shown(line)}; expected '<path> <label>'"
            raise ValueError(f"fi: {file} entry {entry} is {wrong}")
        yield entry, path, label.lower()


@layout("fi", "the source's CSV files of URLs and votes (amusement.csv, …)", vote_files)
def votes(folder: Path, agree: int) -> Listing:
    """The source's CSV files of URLs with votes, pictures in <emotion>/, images/ or both nested. A
    picture needs `agree` agreeing votes. One warning counts what is left out: URLs without a
    picture (photos vanish from the web) and pictures that reach `agree` under two emotions."""
    files = vote_files(folder)
    _need_all({emotion for emotion, _ in files}, f"the CSV files in {folder}")
    index = common.below(folder)
    votes: dict[Path, dict] = defaultdict(dict)
    seen, urls, gone, few = set(), 0, 0, 0
    for emotion, file in files:
        for name, yes, no in fi_votes(file):
            places = (f"{emotion}/{name}", f"images/{emotion}/{name}", f"images/{name}")
            found = (common.find_file(index, place, folder) for place in places)
            path = next(filter(None, found), None)
            urls += 1
            gone += path is None
            few += path is not None and yes < agree
            seen.add(path)
            if path is not None and yes >= agree:
                votes[path][emotion] = (yes, no)
    rows = []
    for path, given in sorted(votes.items()):
        if len(given) == 1:
            ((emotion, counts),) = given.items()
            rows.append((path, emotion, *counts))
    _need_all({emotion for _, emotion, *_ in rows}, f"the downloaded pictures in {folder}")
    left_out = (
        f"{gone} of {urls} URLs have no picture, {few} pictures have fewer than {agree} agreeing "
        f"votes, {len(votes) - len(rows)} have two emotions"
    )
    unlisted = common.count(index) - len(seen - {None})
    if gone or few or unlisted or len(votes) > len(rows):
        warnings.warn(f"fi: {left_out}, {unlisted} are in no CSV file: left out", stacklevel=4)
    return common.by_emotion(
        [row[:2] for row in rows],
        FI_POSITIVE,
        layout=f"the source's CSV files of URLs with votes ({left_out})",
        extra=pd.DataFrame([row[2:] for row in rows], columns=["agree", "disagree"]),
        options={"agree": agree},
    )


def fi_votes(file: Path) -> list[tuple[str, int, int]]:
    """[(file name, agreeing votes, disagreeing votes)] of one CSV file of the source. Columns by a
    header's names (url, agree, disagree); without one the two cells after the URL are disagree,
    agree. Raises ValueError that names the file and the line."""
    rows: list[tuple[str, int, int]] = []
    columns: Any = None
    seen: dict[str, tuple] = {}
    for line, cells in common.csv_cells(file):
        here, at = f"fi: {file} line {line}", [i for i, c in enumerate(cells) if "://" in c]
        if columns is None and not at:  # the header
            heads = [cell.lower().replace("disagree", "against") for cell in cells]
            words = ("url", "agree", "against")
            columns = [next((i for i, h in enumerate(heads) if word in h), None) for word in words]
            if None in columns:
                raise ValueError(f"{here} is {shown(cells)}; expected url, agree, disagree")
            continue
        columns = columns or [at[0], at[0] + 2, at[0] + 1]
        picked = [cells[i] if i < len(cells) else "" for i in columns]
        name, given = _file_name(picked[0]), picked[1:]
        if not name or not all(votes.isdecimal() and len(votes) < 10 for votes in given):
            raise ValueError(f"{here} is {shown(cells)}; expected a URL and two votes")
        row = (name, int(picked[1]), int(picked[2]))
        first = seen.setdefault(common.case_folded(name), (line, row))
        if first[1] != row:
            raise ValueError(f"{here} gives {shortened(name)} other votes than line {first[0]}")
        if first[0] == line:
            rows.append(row)
    return rows


def _file_name(url: str) -> str:
    try:
        return urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    except ValueError:  # half an IPv6 address, …
        return ""


def _base(folder: Path, index: dict, listed: list[str]) -> str:
    """The subfolder, with a slash, or nothing, below which the listed pictures lie. Raises
    ValueError where two would do."""
    bases = ["", *(f"{p.name}/" for p in sorted(folder.iterdir()) if p.is_dir())]
    held = [sum(common.case_folded(base + path) in index for path in listed) for base in bases]
    best = [base for base, count in zip(bases, held, strict=True) if count == max(held)]
    if len(best) > 1 and max(held):
        both = f"both in {folder / best[0]} and in {folder / best[1]}"
        raise ValueError(f"fi: the listed pictures are {both}; move one of the two away")
    return best[0]
