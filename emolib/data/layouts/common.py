"""What the readers of all layouts share: names on disk, text files, emotions and labels."""

import csv
import json
import reprlib
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ...base.emotions import ROI_NEGATIVE

SUFFIXES = set(".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .avif .tif .tiff".split())
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
AGREE = {3: "three", 4: "four", 5: "five"}  # how many of five voters agreed, in file names
SAVE_AS = "save it as UTF-8 (a spreadsheet's CSV UTF-8)"
POLARITY = {"0": 0, "negative": 0, "1": 1, "positive": 1}  # as one's own labels.csv spells it
SCALE = 1.0, 9.0  # of valence and arousal, as Emotion6 has them
NEUTRAL = 5.0  # its middle
VOTES_MISS = 0.005  # by so much may each share of votes be off, as where a file has two decimals
MAX_LIST_BYTES = 1 << 26  # of a label file; the longest real one has 2 MB
VOTED = (*ROI_NEGATIVE[:3], "joy", "sadness", "surprise", "neutral")
MEASURED = ("valence", "arousal", *VOTED)


@dataclass
class Listing:
    """What a layout holds; the fields are those of `Dataset`, aligned with `paths`."""

    paths: list[Path]
    labels: np.ndarray
    emotions: np.ndarray | None = None
    maps: list[Path] | None = None
    official_folds: list | None = None
    layout: str = ""
    extra: pd.DataFrame | None = None
    options: dict = field(default_factory=dict)
    votes: tuple[str, ...] = ()
    usual: tuple | None = None  # indices (trained on, tested) of the single split that others use


@dataclass(frozen=True)
class Layout:
    """One way in which a set lies on disk."""

    what: str  # is looked for, in words
    recognised: Callable  # a folder → something true where it holds the set in this way
    read: Callable[[Path, int], Listing]  # the set's folder, `agree` of `open_dataset`


LAYOUTS: dict[str, list[Layout]] = defaultdict(list)  # of each set; filled by `layout`


def layout(dataset: str, what: str, recognised: Callable):
    """Makes the function below it the reader of a layout of the set."""

    def add(read: Callable[[Path, int], Listing]):
        LAYOUTS[dataset].append(Layout(what, recognised, read))
        return read

    return add


def emotion_folders(name: str, images: Path, emotions: tuple, positive: tuple) -> Listing:
    """Pictures that lie in one folder an emotion (any case)."""
    found, rows = subfolders(images), []
    for emotion in sorted(emotions):
        pictures = picture_files(found[emotion]) if emotion in found else []
        if not pictures:
            folders = f"the set has the folders {', '.join(sorted(emotions))}"
            raise FileNotFoundError(f"{name}: no pictures in {images / emotion}; {folders}")
        rows += [(picture, emotion) for picture in pictures]
    every = {p for files in below(images).values() for p in files if "ground_truth" not in p.parts}
    beside = every - {picture for picture, _ in rows}
    warn_unlisted(name, images, len(beside), "the emotion folders themselves")
    how_many = {6: "six", 8: "eight"}[len(emotions)]
    return by_emotion(rows, positive, layout=f"{how_many} emotion folders")


def by_emotion(rows: list, positive, **fields) -> Listing:
    """A `Listing` of (path, emotion), labelled by the emotion's polarity."""
    paths, emotions = [path for path, _ in rows], np.array([emotion for _, emotion in rows])
    return Listing(paths, np.isin(emotions, positive).astype(int), emotions, **fields)


def has(emotions, folder: Path) -> bool:
    """Whether the folder holds a folder of one of the emotions."""
    return folder.is_dir() and any(emotion in subfolders(folder) for emotion in emotions)


def part_folders(folder: Path) -> list[tuple[str, Path]]:
    """[(part, folder)] of the folders train/, val/ and test/ that are there."""
    found = subfolders(folder)
    return [(part, found[name]) for name, part in PARTS.items() if name in found]


def subfolders(folder: Path) -> dict[str, Path]:
    """{name in lower case: folder}; ValueError where two differ only in case."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir():
            first = found.setdefault(path.name.lower(), path)
            if first != path:
                raise ValueError(f"{first} and {path} differ only in case; join them")
    return found


def picture_files(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; other files are named in a warning."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    other = [p.name for p in files if p.suffix.lower() not in SUFFIXES and p.name != "Thumbs.db"]
    if other:
        warnings.warn(f"{folder}: left out {len(other)} files such as {other[0]!r}", stacklevel=6)
    return [p for p in files if p.suffix.lower() in SUFFIXES]


def below(folder: Path) -> dict[str, list[Path]]:
    """{relative path without case: files}: every picture below `folder`, hidden ones aside."""
    index = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not is_hidden(path, folder) and path.is_file():
            index["/".join(map(case_folded, path.relative_to(folder).parts))].append(path)
    return dict(index)


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether the file, or a folder between it and `folder`, is hidden or macOS's shadow."""
    parts = path.relative_to(folder).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def find_file(index: dict, name: str, folder: Path) -> Path | None:
    """The file of that name, else the one whose name differs in case, or None."""
    files = index.get(case_folded(name), [])
    exact = [p for p in files if nfc(p.relative_to(folder).as_posix()) == nfc(name)]
    if len(exact or files) > 1:
        raise ValueError(f"{shown(name)} may be {files[0]} or {files[1]}: they differ only in case")
    return (exact or files or [None])[0]


def as_listed(name: str, folder: Path) -> str:
    """A path as it may stand in somebody's list, as one from `folder` on with forward slashes."""
    name = name.replace("\\", "/").removeprefix("./")
    top = f"{folder.absolute().as_posix()}/"
    return name.removeprefix(top)


def polarity(text: str) -> int | None:
    """What a label of one's own says; None where it says none. 1.0 is what pandas makes of 1."""
    return POLARITY.get(text.strip().lower().removesuffix(".0"))


def count(index: dict, base: str = "") -> int:
    return sum(len(files) for key, files in index.items() if key.startswith(case_folded(base)))


def warn_unlisted(name: str, folder: Path, count: int, source: str) -> None:
    if count > 0:
        what = f"{count} pictures in {folder} are not in {source} and are left out"
        warnings.warn(f"{name}: {what}", stacklevel=6)


def nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def case_folded(name: str) -> str:
    return nfc(name).casefold()


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200
_short.maxlist, _short.maxlevel = 12, 3


def shown(value) -> str:
    """`value` in a message: its repr, cut where it is long or deep."""
    return _short.repr(value)


def shortened(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file; a byte order mark, CR and CR LF do no harm. Raises ValueError
    that names the file where it is something else, or larger than MAX_LIST_BYTES."""
    if file.stat().st_size > MAX_LIST_BYTES:
        raise ValueError(f"{file}: {file.stat().st_size} bytes, no label file has {MAX_LIST_BYTES}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 text ({error}); {SAVE_AS}") from error
    if "\0" in text:
        raise ValueError(f"{file}: not UTF-8 text (it holds NUL, as UTF-16 does); {SAVE_AS}")
    return text.split("\n")  # splitlines would also part at U+2028 and others that names may hold


def json_entries(name: str, file: Path):
    """(entry, what it is) for each entry of a JSON list. ValueError where it is no JSON."""
    try:
        found = json.loads("\n".join(lines(file)))
    except (ValueError, RecursionError) as error:  # also of integers too long, lists too deep
        raise ValueError(f"{name}: {file} is not readable as JSON ({error})") from error
    return enumerate(found if isinstance(found, list) else [found], start=1)


def filled_lines(file: Path):
    """(line number, line) of those `lines` that hold something."""
    return ((n, line) for n, line in enumerate(lines(file), start=1) if line.strip())


def name_and_label(line: str) -> tuple[str, str]:
    """Of a line `<name> <label>`; names may hold spaces."""
    name, _, label = line.strip().replace("\t", " ").rpartition(" ")
    return name.strip(), label


def csv_cells(file: Path):
    """(line number, cells) for each filled line of a CSV file. A cell ends with its line: a
    quotation mark that is never closed does not swallow the rows after it. Cells are parted by what
    parts the first line's: commas, else semicolons or tabs, as spreadsheets write them."""
    mark = ""
    for number, line in filled_lines(file):
        if not mark and line.startswith("sep="):  # a spreadsheet's own word for it
            continue
        mark = mark or next((one for one in ",;\t" if one in line), ",")
        try:
            rows = csv.reader([line], delimiter=mark, strict=True)
            cells = [cell.strip() for cell in next(rows, ())]
        except csv.Error as error:  # not a ValueError
            raise ValueError(f"{file} line {number} is no line of CSV ({error})") from error
        if any(cells):
            yield number, cells


def csv_rows(name: str, file: Path, needed: tuple, optional: tuple = (), prefix: str = ""):
    """(line number, {column: cell}) of a CSV file with a header; ValueError names what is wrong.
    prefix: of columns that may be there besides these, where it is not empty."""
    columns = None
    for line, cells in csv_cells(file):
        if columns is None:
            columns = _without_empty([cell.lower() for cell in cells], 1)
            wrong = [c for c in columns if not (prefix and c.startswith(prefix))]
            wrong = [c for c in wrong if c not in needed + optional]
            if wrong or not set(needed) <= set(columns) or len(set(columns)) < len(columns):
                there = f"{name}: {file} has the columns {shortened(','.join(columns))}"
                wanted = ",".join(needed) + "".join(f"[,{column}]" for column in optional)
                wanted += f"[,{prefix}…]" if prefix else ""
                out = f" and no others: take out {shown(wrong[0])}" if wrong else ""
                raise ValueError(f"{there}; expected {wanted}{out}")
            continue
        cells = _without_empty(cells, len(columns))
        if len(cells) != len(columns):
            raise ValueError(
                f"{name}: {file} line {line} has {len(cells)} cells instead of {len(columns)} "
                "(a cell that holds what parts cells needs quotation marks)"
            )
        yield line, dict(zip(columns, cells, strict=True))


def _without_empty(cells: list[str], least: int) -> list[str]:
    """Without the empty cells that a spreadsheet leaves at the end; `least` of them stay."""
    count = max([least, *(n for n, cell in enumerate(cells, start=1) if cell)])
    return cells[:count]


def numbers(cells: list[str]) -> list[float] | None:
    """The cells as numbers; None where one is none."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None


def wrong_votes(votes: list[float]) -> str:
    """What is wrong with the shares of a picture's votes, "" where nothing is."""
    if not all(share >= 0 for share in votes):
        return f"has a negative share of votes, {min(votes):g}"
    off = abs(sum(votes) - 1) > VOTES_MISS * len(votes) + 1e-9
    return f"has shares of votes that sum to {sum(votes):g}, not to 1" if off else ""


def is_list(file: Path) -> bool:
    """Whether a text file begins with a picture's name and a label, in any encoding: a list in one
    that we do not read is an error later and must not pass for no list."""
    with open(file, "rb") as opened:
        start = opened.read(10_000).replace(b"\0", b"").decode("utf-8", "replace")
    first = start.lstrip("\ufeff \t\r\n").replace("\r", "\n").partition("\n")[0]
    return Path(name_and_label(first)[0]).suffix.lower() in SUFFIXES
