"""Files that are either whole or not there, and the fingerprints that say what is in them."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import pandas as pd


@contextlib.contextmanager
def whole(path: Path):
    """A temporary path beside `path`, renamed to it when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)  # mkstemp's 0600 would hide results from colleagues
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def write_text(path: Path, text: str) -> None:
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, frame) -> None:
    """A DataFrame as CSV, floats to six digits, the same bytes on every system."""
    with whole(path) as part:
        frame.to_csv(
            part, index=False, float_format="%.6g", lineterminator="\n", errors="surrogateescape"
        )


def read_csv(path: Path):
    """What `write_csv` wrote, file names that are not UTF-8 included."""
    return pd.read_csv(path, encoding_errors="surrogateescape")


def read_json(path: Path):
    """Raises ValueError that names the file where it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: not readable as JSON ({error}); remove it and run again"
        ) from error


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
