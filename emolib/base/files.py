"""Files that are either whole or not there, and the fingerprints that say what is in them."""

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import re
import tempfile
import time
from pathlib import Path

import pandas as pd

# What the system says when it will not have a file written, and what helps.
_REFUSED = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "take another results folder",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EIO: "look after the disk",
}


@contextlib.contextmanager
def whole_file(path: Path):
    """Gives a temporary path beside `path`. When the block ends without an error, the file is put
    on the disk and renamed to `path`: a kill or a crash leaves the old file or the new one. Raises
    OSError that names `path` and what helps where the system refuses to write it."""
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_up(path.parent, f".{path.name}.*", older_than=3600)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            os.close(handle)
            yield Path(name)
            os.chmod(name, 0o644)  # mkstemp's 0600 would hide results from colleagues
            _to_disk(name, os.O_RDWR)  # Windows flushes only what it may write
            os.replace(name, path)
            with contextlib.suppress(OSError):  # some network folders cannot
                _to_disk(path.parent, os.O_RDONLY)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name)


def _to_disk(path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _named(path: Path):
    """Makes OSError of the system's refusals, which torch and safetensors word their own way."""
    try:
        yield
    except Exception as error:
        code = _errno(error)
        if code not in _REFUSED:
            raise
        text = f"{os.strerror(code)}; {_REFUSED[code]} and run again (what was finished is kept)"
        raise OSError(code, text, str(path)) from error


def _errno(error: BaseException | None) -> int | None:
    """The system's error number of an error of writing, or of what it followed from."""
    while error and not isinstance(error, ValueError):  # ours, of a picture: it says what is wrong
        if isinstance(error, OSError):
            return error.errno
        if said := re.search(r"\(os error (\d+)\)", str(error)):
            return int(said[1])
        error = error.__cause__ or error.__context__
    return None


def sweep_up(folder: Path, names: str = ".*", older_than: float = -math.inf) -> None:
    """Removes what killed writers left in a folder, if it is older than so many seconds. Without
    `older_than` nobody may be writing there."""
    for left in Path(folder).glob(names):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > older_than:
                left.unlink()


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, frame) -> None:
    """A DataFrame as CSV, floats to six digits, the same bytes on every system."""
    with whole_file(path) as part:
        how = {"float_format": "%.6g", "lineterminator": "\n", "errors": "surrogateescape"}
        frame.to_csv(part, index=False, **how)


def read_csv(path: Path):
    """What `write_csv` wrote, file names that are not UTF-8 included. An emotion is a word, also
    where it reads like a number or like none."""
    frame = pd.read_csv(path, encoding_errors="surrogateescape")
    if "emotion" in frame:
        how: dict = {"usecols": ["emotion"], "dtype": str, "keep_default_na": False}
        frame["emotion"] = pd.read_csv(path, encoding_errors="surrogateescape", **how)["emotion"]
    return frame


def read_json(path: Path):
    """Raises ValueError that names the file where it is not JSON, or nested without end."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        wrong = f"not readable as JSON ({error}); remove it and run again"
        raise ValueError(f"{path}: {wrong}") from error


def content(path: Path) -> str:
    """`sha256`, computed once while the file's size and time of change stay the same."""
    status = Path(path).stat()
    return _digest(Path(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=200_000)
def _digest(path: Path, size: int, mtime: int) -> str:
    return sha256(path)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
