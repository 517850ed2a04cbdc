"""What is computed once for a set and kept in a memory-mapped file, such as its decoded pictures.

A file is in safetensors' format, in the cache folder (EMOLIB_CACHE, else the user's), and named
after all that it follows from, so that changed data make another one. It appears under its name
only when it is whole. All files together keep to EMOLIB_CACHE_GB (default 50) and leave a tenth of
the disk free, or `LEFT_FREE` bytes where that is less. The longest unused go first.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..base.files import whole_file
from .pictures import decode, shrink

PACK_VERSION = 1  # of what decode() and shrink() make of a file
HEADER = 512  # bytes, room for the largest numbers
TYPES = {torch.uint8: "U8", torch.float16: "F16"}  # safetensors' names
LEFT_FREE = 5 * 10**9  # bytes: a large disk may be full to its last tenth and still have room
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

    None where it cannot be kept (`made_once`). Raises what `decode` does for an unreadable picture.
    """

    def size() -> float:
        with ThreadPoolExecutor() as pool:
            return sum(pool.map(functools.partial(_size, side=side), data.paths))

    def write(file: Path) -> None:
        shapes = np.zeros((len(data), 2), np.int64)
        write_stream(file, "pixels", shapes, _decoded(data, side, shapes))

    key = _key(data, side)
    words = "no packed cache", "pictures are decoded anew in every epoch"
    return made_once(data, key, functools.partial(_opened, data=data), size, write, words)


def made_once(
    data,
    name: str,
    read: Callable[[Path], Any],
    size: Callable[[], float],
    write: Callable[[Path], None],
    words: tuple[str, str],
) -> Any:
    """What `read` finds in the file `name`, which is made from the pictures of `data` where it is
    not there yet.

    read gives None where there is no whole file; size says how many bytes it will take; write makes
    it. If several processes want it, one makes it and the others wait. Where there is no room for
    it or the folder cannot be written, the result is None and a warning says why. words: what there
    is not then, and what happens instead.
    """
    file = folder() / f"{name}.safetensors"
    try:
        if (found := read(file)) is not None:
            return found
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.parent / "making.lock"):  # one at a time keeps to the budget
            if (found := read(file)) is not None:
                return found
            _make_room(file, size())
            before = data.pictures_hash()
            write(file)
            if data.pictures_hash() != before:
                file.unlink()
                raise ValueError(f"{data.root}: the set changed while it was read; run again")
        if (found := read(file)) is not None:
            return found
        raise OSError("it was removed as soon as it was made")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not all(p.exists() for p in data.paths):
            raise
        warnings.warn(
            f"{data.name}: {words[0]} in {file.parent} ({error.strerror or error}); {words[1]} "
            "(EMOLIB_CACHE: another folder, EMOLIB_CACHE_GB: how much it may hold)",
            stacklevel=3,
        )
        return None


def folder() -> Path:
    """Where all is kept."""
    chosen = os.environ.get("EMOLIB_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("emolib")


def budget() -> float:
    """Bytes that all files together may take. Raises ValueError where EMOLIB_CACHE_GB is none."""
    text = os.environ.get("EMOLIB_CACHE_GB", "50")
    try:
        return float(text) * 1e9
    except ValueError:
        raise ValueError(f"EMOLIB_CACHE_GB={text!r}: must be a number of gigabytes") from None


def _key(data, side: int) -> str:
    made_by = [PACK_VERSION, side, version("pillow"), version("torchvision")]
    digest = hashlib.sha256(repr(made_by).encode()).hexdigest()[:8]
    return f"{data.name}-{data.pictures_hash()}-{side}px-{digest}"


def _order(data) -> np.ndarray:
    """Places of the pictures in a pack: sorted by name, as in the fingerprint."""
    return np.argsort(np.argsort(data.names))


def _opened(file: Path, data) -> Packed | None:
    """None where it is not there; a damaged one is removed."""

    def whole(tensors) -> bool:
        shapes = tensors["shapes"].numpy()
        return len(shapes) == len(data) and int(shapes.prod(1).sum()) == len(tensors["pixels"])

    if not (tensors := read_tensors(file, whole)):
        return None
    shapes = tensors["shapes"].numpy()
    starts = np.cumsum([0, *shapes.prod(1)[:-1]])
    order = _order(data)
    return Packed(file, tensors["pixels"], shapes[order], starts[order])


def read_tensors(file: Path, whole: Callable[[dict], bool]) -> dict[str, Tensor] | None:
    """The file's tensors, memory-mapped, or None where it is not there. A damaged one, or one that
    is not `whole`, is removed."""
    try:
        tensors = load_file(file)
        if not whole(tensors):
            raise ValueError("another number of pictures")
    except FileNotFoundError:  # safetensors' word for whatever it cannot open
        return None
    except (SafetensorError, KeyError, ValueError):
        file.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # used just now
    return tensors


def _decoded(data, side: int, shapes: np.ndarray) -> Iterator[Tensor]:
    """The pictures in the order of a pack, with their shapes put into `shapes`, DECODED_AT_ONCE in
    memory at most."""
    paths = [path for _, path in sorted(zip(data.names, data.paths, strict=True))]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), DECODED_AT_ONCE):
            some = paths[start:][:DECODED_AT_ONCE]
            for at, image in enumerate(pool.map(lambda path: shrunk(path, side), some), start):
                shapes[at] = image.shape[:2]
                yield image


def write_stream(file: Path, name: str, table: np.ndarray, parts: Iterator[Tensor]) -> None:
    """Writes a safetensors file as its parts come. table: S×2 int64, "shapes" in the file; it may
    be filled in until the last part is there. The parts, …×d of one type, make the tensor `name`,
    rows×d."""
    with whole_file(file) as part, open(part, "wb") as out:
        out.write(bytes(HEADER + table.nbytes))
        for tensor in parts:
            out.write(tensor.contiguous().numpy().data)
        size = out.tell() - HEADER
        out.seek(0)
        out.write(_header(name, table, tensor, size))
        out.write(table.tobytes())


def _header(name: str, table: np.ndarray, last: Tensor, size: int) -> bytes:
    """The header of a safetensors file: its own length, then JSON, filled up with spaces."""
    start, width = table.nbytes, last.shape[-1]
    rows = (size - start) // (width * last.element_size())
    shapes = {"dtype": "I64", "shape": table.shape, "data_offsets": [0, start]}
    data = {"dtype": TYPES[last.dtype], "shape": [rows, width], "data_offsets": [start, size]}
    text = json.dumps({"shapes": shapes, name: data})
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
    spare = disk.free - min(disk.total // 10, LEFT_FREE)
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
