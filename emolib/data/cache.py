"""The packed cache: a whole set decoded and shrunk, in one memory-mapped file.

A pack is a safetensors file in the cache folder (EMOLIB_CACHE, else the user's), named after the
set's fingerprint, the short side and the versions that decode and shrink. So changed data make
another pack. It appears under its name only when it is whole. All packs together keep to
EMOLIB_CACHE_GB (default 50) and leave a tenth of the disk free. The longest unused go first.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np
import platformdirs
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.files import whole_file
from .pictures import decode, shrink

PACK_VERSION = 1  # of what decode() and shrink() make of a file
HEADER = 512  # bytes, room for the largest numbers
DECODED_AT_ONCE = 64  # pictures decoded and not yet written, at most


@dataclass(frozen=True)
class Packed:
    """The pictures of one set; item i is the i-th of the data set, h×w×3 uint8, not to be changed.

    pixels: P×3 uint8, all pictures one after the other; shapes: n×2 (height, width), starts: n,
    each picture's first pixel.
    """

    file: Path
    pixels: Tensor
    shapes: np.ndarray
    starts: np.ndarray

    def __getitem__(self, index: int) -> Tensor:
        h, w = self.shapes[index].tolist()
        start = int(self.starts[index])
        return self.pixels[start : start + h * w].view(h, w, 3)


def packed(data, side: int) -> Packed | None:
    """The pack of `data` with short sides of `side` px, made where it is not there yet.

    If several processes want it, one makes it and the others wait. Where there is no room for it or
    the folder cannot be written, the result is None, and a warning says why: pictures are then
    decoded anew in every epoch. Raises what `decode` does for a picture that is not readable.
    """
    file = folder() / f"{_key(data, side)}.safetensors"
    try:
        if pack := _opened(file, data):
            return pack
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.parent / "making.lock"):  # one at a time keeps to the budget
            if pack := _opened(file, data):
                return pack
            with ThreadPoolExecutor() as pool:
                needed = sum(pool.map(functools.partial(_size, side=side), data.paths))
            _make_room(file, needed)
            before = data.fingerprint()
            _write(file, data, side)
            if data.fingerprint() != before:
                file.unlink()
                raise ValueError(f"{data.root}: the set changed while it was read; run again")
        if pack := _opened(file, data):
            return pack
        raise OSError("it was removed as soon as it was made")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not all(p.exists() for p in data.paths):
            raise
        warnings.warn(
            f"{data.name}: no packed cache in {file.parent} ({error.strerror or error}); pictures "
            "are decoded anew in every epoch (EMOLIB_CACHE: another folder, EMOLIB_CACHE_GB: how "
            "much it may hold)",
            stacklevel=2,
        )
        return None


def folder() -> Path:
    """Where packs are kept."""
    chosen = os.environ.get("EMOLIB_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("emolib")


def budget() -> float:
    """Bytes that all packs together may take. Raises ValueError where EMOLIB_CACHE_GB is none."""
    text = os.environ.get("EMOLIB_CACHE_GB", "50")
    try:
        return float(text) * 1e9
    except ValueError:
        raise ValueError(f"EMOLIB_CACHE_GB={text!r}: must be a number of gigabytes") from None


def _key(data, side: int) -> str:
    made_by = [PACK_VERSION, side, version("pillow"), version("torchvision")]
    digest = hashlib.sha256(repr(made_by).encode()).hexdigest()[:8]
    return f"{data.name}-{data.fingerprint()}-{side}px-{digest}"


def _order(data) -> np.ndarray:
    """Places of the pictures in a pack: sorted by name, as in the fingerprint."""
    return np.argsort(np.argsort(data.names))


def _opened(file: Path, data) -> Packed | None:
    """None where it is not there; a damaged one is removed."""
    try:
        tensors = load_file(file)  # memory-mapped
        pixels, shapes = tensors["pixels"], tensors["shapes"].numpy()
        if len(shapes) != len(data) or int(shapes.prod(1).sum()) != len(pixels):
            raise ValueError("another number of pictures")
    except FileNotFoundError:  # safetensors' word for whatever it cannot open
        return None
    except (SafetensorError, KeyError, ValueError):
        file.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # used just now
    starts = np.cumsum([0, *shapes.prod(1)[:-1]])
    order = _order(data)
    return Packed(file, pixels, shapes[order], starts[order])


def _write(file: Path, data, side: int) -> None:
    """Streams the pictures into the file, DECODED_AT_ONCE in memory at most."""
    paths = [path for _, path in sorted(zip(data.names, data.paths, strict=True))]
    shapes = []
    with whole_file(file) as part, open(part, "wb") as out, ThreadPoolExecutor() as pool:
        out.write(bytes(HEADER + 16 * len(paths)))
        for start in range(0, len(paths), DECODED_AT_ONCE):
            for image in pool.map(lambda path: shrunk(path, side), paths[start:][:DECODED_AT_ONCE]):
                shapes.append(image.shape[:2])
                out.write(np.ascontiguousarray(image).data)
        size = out.tell() - HEADER
        out.seek(0)
        out.write(_header(len(shapes), size))
        out.write(np.array(shapes, np.int64).tobytes())
        out.flush()
        os.fsync(out.fileno())


def _header(count: int, size: int) -> bytes:
    """The header of a safetensors file: its own length, then JSON, filled up with spaces."""
    table = 16 * count
    text = json.dumps(
        {
            "shapes": {"dtype": "I64", "shape": [count, 2], "data_offsets": [0, table]},
            "pixels": {
                "dtype": "U8",
                "shape": [(size - table) // 3, 3],
                "data_offsets": [table, size],
            },
        }
    )
    return (HEADER - 8).to_bytes(8, "little") + text.encode().ljust(HEADER - 8)


def shrunk(path: Path, side: int | None) -> Tensor:
    """A picture file as h×w×3 uint8, short side `side`; None leaves its size."""
    image = decode(path)
    return (image if side is None else shrink(image, side)).permute(1, 2, 0)


def _make_room(file: Path, needed: float) -> None:
    """Makes room for `needed` bytes; OSError where that cannot be.

    Removes what killed makers left, then packs, the longest unused first. A process that still
    reads a removed pack keeps it.
    """
    for left in file.parent.glob(".*.safetensors.*"):  # nobody else is making one
        left.unlink(missing_ok=True)
    disk = shutil.disk_usage(file.parent)
    spare = disk.free - disk.total // 10
    stats = {pack: pack.stat() for pack in file.parent.glob("*.safetensors")}
    sizes = {p: s.st_size for p, s in sorted(stats.items(), key=lambda item: item[1].st_mtime)}
    allowed = min(budget(), spare + sum(sizes.values()))
    if needed > allowed:
        raise OSError(f"it takes {needed / 1e9:.2f} GB and {max(0, allowed) / 1e9:.2f} are allowed")
    for pack in list(sizes):
        if needed + sum(sizes.values()) > allowed:
            pack.unlink(missing_ok=True)
            del sizes[pack]


def _size(path: Path, side: int) -> float:
    """About how many bytes a picture will take, from its file's header."""
    try:
        with Image.open(path) as image:
            return 3 * side**2 * max(image.size) / min(image.size)
    except FileNotFoundError:
        raise
    except Exception:
        decode(path)  # says what is wrong with it
        raise
