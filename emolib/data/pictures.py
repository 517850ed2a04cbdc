"""One picture file: its pixels, and what a manifest says of it. Content decides, never the name.

Colour profiles are not applied, CMYK's included: pixels are taken as sRGB, as training sees them.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import v2

# Pillow opens more than these, among them EPS, which it would hand to Ghostscript.
FORMATS = {"JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"}
SUFFIX_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF"}  # else the suffix is the format
MAX_BYTES = 1 << 30  # of a file: more than the largest picture takes, uncompressed
# libjpeg-turbo's own advice to those who decode strangers' files: a scan of three bytes costs a
# pass over all pixels. Real files have up to about a dozen.
MAX_SCANS = 500
MAX_SCANNED = 20  # scans × pixels, in Image.MAX_IMAGE_PIXELS
MAX_FRAMES = 1000  # counted in a TIFF, where Pillow's time grows with their square
MOST_NAMED = 20  # pictures that cannot be read, or lines of a list, in one error
ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}  # further frames of MPO and TIFF are other pictures


def decode(path: Path) -> Tensor:
    """The picture as 3×H×W uint8, upright; of an animation, the first frame. FileNotFoundError
    passes; ValueError names any other file that is not wholly readable."""
    data = b""
    try:
        with _quiet():
            data = _read(path)
            return v2.functional.pil_to_tensor(_upright(*_opened(data), data))
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, …
        wrong = f"not a readable picture ({_reason(error, data)})"
        raise ValueError(f"{path}: {wrong}; copy it again, or take it out of the set") from error


def without_frames(error: Exception) -> Exception:
    """The error without its frames and those of what it came from: they hold the file's pixels."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def check_all(read: Callable, given: Iterable) -> None:
    """Reads every picture by `read`, each by one of `given`. Where some cannot be read, raises the
    one error, or an error that names the first twenty: FileNotFoundError where all are missing,
    else ValueError."""

    def error_of(one) -> Exception | None:
        try:
            read(one)
        except (ValueError, FileNotFoundError) as error:
            return without_frames(error)
        return None

    with ThreadPoolExecutor() as pool:
        errors = list(filter(None, pool.map(error_of, given)))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        more = "\n…" * (len(errors) > MOST_NAMED)
        said = "\n".join(map(str, errors[:MOST_NAMED])) + more
        missing = all(isinstance(error, FileNotFoundError) for error in errors)
        kind = FileNotFoundError if missing else ValueError
        raise kind(f"{len(errors)} pictures cannot be used:\n{said}")


def pixels(image: Image.Image) -> Tensor:
    """A Pillow image as `decode` gives its file: 3×H×W uint8, upright, transparency on white; of an
    animation, the frame that it is at. The image is loaded and otherwise left as it is. Raises
    ValueError where it cannot be read or is 32-bit grey."""
    try:
        with _quiet():
            deep = ";16" in str(getattr(image, "tile", "")) or image.mode.startswith("I;16")
            return v2.functional.pil_to_tensor(_rgb(_turned(image.copy()), deep))
    except Exception as error:
        raise ValueError(f"not a readable picture ({_reason(error, b'')})") from error


def shrink(image: Tensor, side: int) -> Tensor:
    """3×h×w uint8, smaller or larger so that the short side is `side` px."""
    return v2.functional.resize(image, [side], antialias=True)


def examine(path: Path) -> dict:
    """The manifest's facts of one file: bytes, width, height (upright), format, mode, frames,
    sha256, phash (imagehash's, 16 hex digits), status ("ok" or why not), notes (";" between them).
    An unreadable picture has no size, frames or phash: 0 and "". FileNotFoundError passes.
    """
    facts = dict(bytes=0, width=0, height=0, format="", mode="", frames=0)
    facts |= dict(sha256="", phash="", status="ok", notes="")
    data = b""
    try:
        with _quiet():
            data = _read(path)  # once: what is hashed is what is decoded
            facts |= dict(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            image, deep = _opened(data)
            facts |= dict(format=image.format, mode=image.mode)
            if image.format == "PNG":  # its getexif() loads it, and an error there would be lost
                image.load()
            rotated = _rotated(image)  # of others before they are loaded: a TIFF forgets it then
            upright = _upright(image, deep, data)
            facts |= dict(width=upright.width, height=upright.height, phash=_phash(upright))
            notes = _notes(image, Path(path).suffix, deep, rotated)
            facts |= dict(frames=_frames(image), notes=";".join(notes))
    except FileNotFoundError:
        raise
    except Exception as error:
        facts["status"] = _reason(error, data)
    return facts


def _read(path: Path) -> bytes:
    size = os.stat(path).st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, {MAX_BYTES} are safe to read")
    return Path(path).read_bytes()


def _opened(data: bytes) -> tuple[Image.Image, bool]:
    """The header read; whether pixels have 16 bits a channel. ValueError for a bomb."""
    if data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > 1000:
        raise ValueError("more than 1000 comments")  # each costs Pillow a copy of the rest
    image = Image.open(io.BytesIO(data))
    if image.format not in FORMATS:
        raise ValueError(f"{image.format} is not one of {', '.join(sorted(FORMATS))}")
    limit = Image.MAX_IMAGE_PIXELS  # Pillow itself only warns up to twice that
    size = f"{image.width}×{image.height} pixels"
    if limit and image.width * image.height > limit:
        raise ValueError(f"{size}, {limit} are safe to decode")
    if image.format in ("JPEG", "MPO"):
        scans = _scans(data)
        scanned = scans * image.width * image.height
        if scans > MAX_SCANS or (limit and scanned > MAX_SCANNED * limit):
            raise ValueError(f"{scans} or more scans of {size}, a bomb")
    deep = image.format in ("PNG", "TIFF") and ";16" in str(image.tile)  # Pillow's raw modes
    return image, deep or image.mode.startswith("I;16")


def _scans(data: bytes) -> int:
    """How often a JPEG goes over its pixels: its SOS markers, those in its segments aside. Stops
    counting above MAX_SCANS."""
    scans = place = 0
    while scans <= MAX_SCANS:
        marker = _MARKER.search(data, place)
        if not marker or marker[1] == b"\xd9":  # end of image
            break
        scans += marker[1] == b"\xda"
        place = marker.end()
        if marker[1] != b"\xd8":  # start of image: it alone of these has no segment
            place += int.from_bytes(data[place : place + 2])
    return scans


_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")  # not the markers within a scan


def _upright(image: Image.Image, deep: bool, data: bytes) -> Image.Image:
    """All pixels, RGB, turned as EXIF says. `data`: the bytes that `image` was opened from."""
    image.load()
    if image.format == "PNG":
        Image.open(io.BytesIO(data)).verify()  # the checksums, which load() leaves out
    if image.format == "JPEG" and _cut(image, data):
        raise ValueError("image file is truncated; its rest is grey or noise")
    return _rgb(_turned(image), deep)


def _turned(image: Image.Image) -> Image.Image:
    """The loaded image, itself turned as EXIF says."""
    with contextlib.suppress(Exception):  # a broken EXIF block leaves the pixels as good as before
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image, deep: bool) -> Image.Image:
    """A loaded picture in 8-bit RGB. ValueError for 32-bit grey, which has no agreed white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # nearly every one
    if image.mode.startswith("I;16") or (image.mode == "I" and deep):
        values = np.asarray(image)  # convert("RGB") would clip them at 255
        grey = np.where(values == image.info.get("transparency", -1), 255, values >> 8)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit grey ({image.mode}) has no agreed white; save it with 8 bits")
    if image.has_transparency_data:
        # On white, as on the web pages where the labels were given; without alpha, colours show
        # that nobody was meant to see.
        if deep and image.mode == "RGB":  # Pillow keeps the transparent colour at 16 bits
            image.info["transparency"] = tuple(v >> 8 for v in image.info["transparency"])
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def _cut(image: Image.Image, data: bytes) -> bool:
    """Whether a JPEG's end is missing: zeros stand there, or the end marker comes too early.

    libjpeg makes noise of zeros and mid-grey of nothing. Where either may be, the file is read
    again with other data at its end. Only a cut picture reads that far and then looks different.
    """
    right, bottom = image.size
    corner = image.crop((max(0, right - 8), max(0, bottom - 8), right, bottom))
    zeros = data.endswith(bytes(16))
    if not zeros and (np.asarray(corner) != 128).any():
        return False
    end = len(data.rstrip(b"\0")) if zeros else data.rfind(b"\xff\xd9")
    other = Image.open(io.BytesIO(data[:end] + b"\0" + b"\x55" * 64 + b"\xff\xd9"))
    return other.tobytes() != image.tobytes()


def _rotated(image: Image.Image) -> bool:
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    return False


def _frames(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # a format without frames, or a later one is broken
        if image.format != "TIFF":
            return getattr(image, "n_frames", 1)
        frames = 1
        with contextlib.suppress(EOFError):
            while frames < MAX_FRAMES:
                image.seek(frames)
                frames += 1
        return frames
    return 1


def _notes(image: Image.Image, suffix: str, deep: bool, rotated: bool) -> list[str]:
    named = SUFFIX_FORMATS.get(suffix.lower(), suffix.lstrip(".").upper())
    content = "JPEG" if image.format == "MPO" else image.format  # MPO: JPEG with more behind it
    said = {
        "exif rotated": rotated,
        "animated, first frame": image.format in ANIMATED and _frames(image) > 1,
        "CMYK": image.mode == "CMYK",
        "palette": image.mode in ("P", "PA"),
        "alpha on white": image.has_transparency_data,
        "16-bit": deep,
        "grey": image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16"),
        f"named {suffix}, is {content}": named != content,
    }
    return [note for note, holds in said.items() if holds]


def _phash(rgb: Image.Image) -> str:
    """imagehash.phash, shrunk in two steps for a third of its time: of 400 photographs 93% keep
    the same hash, the others differ in 2 of the 64 bits."""
    import imagehash  # 0.1 s, which those who only decode need not wait for

    small = rgb.convert("L").resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=3)
    return str(imagehash.phash(small))


def _reason(error: Exception, data: bytes) -> str:
    """Why a file is unreadable: short, one line, without its path or Pillow's memory addresses."""
    if isinstance(error, OSError) and error.strerror:  # the system's own: permission denied, …
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        if data[4:8] == b"ftyp" and data[8:11] in (b"hei", b"hev", b"mif"):
            return "HEIC, as phones write it, is not read: save it as JPEG"
        return f"not a picture (starts with {data[:12]!r})" if data else "empty file"
    return " ".join((str(error) or type(error).__name__).split())[:150]


_lock, _users, _filters = threading.Lock(), [0], contextlib.ExitStack()


@contextlib.contextmanager
def _quiet():
    """Pillow's warnings (of odd EXIF blocks, …) are off while any thread decodes. One filter serves
    all threads: a warnings.catch_warnings in each would leave its own behind."""
    with _lock:
        if not _users[0]:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _users[0] += 1
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1
            if not _users[0]:
                _filters.close()
