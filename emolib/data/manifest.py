"""What is in a set, picture by picture, kept between runs while the files do not change."""

import functools
import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import pandas as pd
import PIL

from ..base import files, progress
from .pictures import examine

NUMBERS = ["label", "bytes", "width", "height", "frames", "mtime_ns"]
MANIFEST_COLUMNS = "path label emotion bytes width height format mode frames".split()
MANIFEST_COLUMNS += ["sha256", "phash", "status", "notes", "mtime_ns"]
# Part of each row's seal: facts from another version of any of these are found anew.
MANIFEST_VERSION = f"2 pillow {PIL.__version__} imagehash {imagehash.__version__}"
EXCLUDED = "excluded.csv"  # in the set's folder; open_dataset leaves out what it lists


def manifest(data, cache=None, workers: int | None = None) -> pd.DataFrame:
    """One row a picture, in the order of data.paths: MANIFEST_COLUMNS, "" and 0 for nothing.

    cache: a CSV file. Its rows are taken for pictures whose path, size and time of change are the
    same. A damaged or foreign one is made anew with a warning. Raises FileNotFoundError for a
    picture that is gone.
    """
    # Threads: reading, hashing, decoding and resizing release the GIL. Processes were a tenth
    # faster, once started: in those 5 to 12 s threads do thousands of pictures.
    known = _read_cache(Path(cache)) if cache else {}
    row = functools.partial(_row, known=known)
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        found = pool.map(row, data.paths, data.names)
        rows = list(progress.bar(found, f"{data.name}: examine", total=len(data)))
    emotions = [""] * len(data) if data.emotions is None else [str(e) for e in data.emotions]
    for row, label, emotion in zip(rows, data.labels, emotions, strict=True):
        row |= {"label": int(label), "emotion": emotion}
    frame = _typed(pd.DataFrame(rows, columns=MANIFEST_COLUMNS))
    if cache and any(known.get(row["path"]) != row for row in rows):
        # what the set's other choices (more agreement, …) read before stays
        mine = set(data.names)
        others = [row for name, row in known.items() if name not in mine]
        every = _typed(pd.DataFrame([*rows, *others], columns=MANIFEST_COLUMNS))
        files.write_csv(cache, every.assign(seal=_seals(every.astype(str))))
    return frame


def unreadable(frame: pd.DataFrame) -> pd.DataFrame:
    """The manifest's rows whose picture cannot be decoded; `status` says why."""
    return frame[frame["status"] != "ok"]


def write_excluded(data, frame: pd.DataFrame) -> int:
    """Adds the unreadable pictures to `excluded.csv` (path, reason) in the set's own folder, where
    what is there stays. Returns how many were added; none: nothing is written. Raises ValueError
    where the file that is there has other columns."""
    path = data.root / EXCLUDED
    bad = unreadable(frame).rename(columns={"status": "reason"})[["path", "reason"]]
    try:
        listed = _read(path) if path.exists() else bad[:0]
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not readable as CSV ({why}); mend or remove it") from error
    if list(listed.columns) != ["path", "reason"]:
        raise ValueError(f"{path}: has other columns than path,reason; mend or remove it")
    new = bad[~bad["path"].isin(listed["path"])]
    if len(new):
        files.write_csv(path, pd.concat([listed, new]))
    return len(new)


def _row(path: Path, name: str, known: dict) -> dict:
    """One picture's facts, from `known` where size and time of change are the same."""
    stat = path.stat()  # before reading: a change meanwhile is then seen next time
    old = known.get(name)
    if old and (old["bytes"], old["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
        return dict(old)
    return {"path": name, "mtime_ns": stat.st_mtime_ns} | examine(path)


def _read_cache(path: Path) -> dict[str, dict]:
    """{path: row}; empty where there is no cache or one that cannot be trusted."""
    if not path.exists():
        return {}
    try:
        frame = _read(path)
        if list(frame.columns) != [*MANIFEST_COLUMNS, "seal"]:
            raise ValueError("other columns")
        seals = frame.pop("seal")
        if not (seals == _seals(frame)).all():
            raise ValueError("rows that were changed, or made by other versions")
        rows = _typed(frame).to_dict("records")
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        why = " ".join(str(error).split())[:200]
        warnings.warn(f"{path}: not used ({why}); every picture is read anew", stacklevel=3)
        return {}
    # No hash: the file could not be read at all, which may have changed without a trace.
    return {row["path"]: row for row in rows if row["sha256"]}


def _seals(frame: pd.DataFrame) -> list[str]:
    """A digest of each row of strings and of MANIFEST_VERSION, against half files and edits."""
    rows = frame[MANIFEST_COLUMNS].itertuples(index=False, name=None)
    texts = (repr((MANIFEST_VERSION, *row)).encode("utf-8", "surrogatepass") for row in rows)
    return [hashlib.sha256(text).hexdigest()[:16] for text in texts]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({c: "int64" if c in NUMBERS else str for c in frame.columns})


def _read(path: Path) -> pd.DataFrame:
    """A CSV in which everything is text, and nothing is NaN."""
    coding = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
    return pd.read_csv(path, dtype=str, keep_default_na=False, **coding)
