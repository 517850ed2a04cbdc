"""What a person may hand a predictor: files, folders, and pictures in memory."""

import itertools
import mimetypes
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ..data.layouts.common import SUFFIXES, below, is_hidden, shown
from ..data.pictures import decode, pixels

ACCEPTED = "a path, a folder, a PIL image, an array H×W×3 or H×W, a tensor 3×H×W, or a list of them"


def listed(pictures) -> list[tuple[str, object]]:
    """(name, picture) of each picture, undecoded: what `as_pixels` takes.

    pictures: one of, or any iterable of: a path; a folder, whose pictures at any depth come sorted
    by path, hidden ones aside; a PIL image; a NumPy array H×W×3, H×W (grey) or N×H×W×3; a torch
    tensor 3×H×W or N×3×H×W. Arrays and tensors are uint8, or floats in 0..1. A name is the path as
    given or, in memory, "picture 3", counted from 0.

    Raises ValueError that names the picture and what it should be, or a folder without pictures.
    """
    if isinstance(pictures, (pd.DataFrame, Mapping)):  # these give the names of their columns
        raise ValueError(f"pictures is of type {type(pictures).__name__}: {ACCEPTED}")
    one = isinstance(pictures, (str, Path, Image.Image, Tensor))
    one = one or (isinstance(pictures, np.ndarray) and pictures.dtype.kind not in "OUS")
    found: list[tuple[str, object]] = []
    if not one and not isinstance(pictures, Iterable):
        raise ValueError(f"pictures is of type {type(pictures).__name__}: {ACCEPTED}")
    for item in [pictures] if one else pictures:
        found += _of_one(item, len(found))
    return found


def as_pixels(name: str, picture) -> Tensor:
    """One picture of `listed` as 3×H×W uint8. Raises what `decode` does, ValueError with `name`."""
    if isinstance(picture, Tensor):
        return picture
    if isinstance(picture, Image.Image):
        try:
            return pixels(picture)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return decode(picture)


def _of_one(item, position: int) -> list[tuple[str, object]]:
    if isinstance(item, (str, Path)):
        if not str(item):
            raise ValueError(f"picture {position} is an empty path")
        path = Path(item)
        if not path.is_dir():
            return [(str(item), path)]
        files = sorted(itertools.chain(*below(path).values()))
        others = [p.name for p in path.rglob("*") if _of_another_kind(p, path) and p.is_file()]
        if others:
            said = f"{path}: left out {len(others)} pictures such as {shown(min(others))}"
            warnings.warn(f"{said}; save them as JPEG or PNG", stacklevel=2)
        if files:
            return [(str(file), file) for file in files]
        raise ValueError(f"{path}: a folder without pictures ({', '.join(sorted(SUFFIXES))})")
    name = f"picture {position}"
    if isinstance(item, Image.Image):
        return [(name, item)]
    if isinstance(item, np.ndarray):
        batch = _array(name, item)
    elif isinstance(item, Tensor):
        batch = _tensor(name, item)
    else:
        raise ValueError(f"{name} is of type {type(item).__name__}: {ACCEPTED}")
    return [(f"picture {position + i}", image) for i, image in enumerate(batch)]


def _of_another_kind(path: Path, folder: Path) -> bool:
    """Whether it is by its name a picture that `below` does not look for, and not hidden."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    other = kind.startswith("image/") and path.suffix.lower() not in SUFFIXES
    return other and not is_hidden(path, folder)


def _array(name: str, array: np.ndarray) -> Tensor:
    """N×3×H×W uint8 of an array H×W×3, H×W or N×H×W×3."""
    shape = "×".join(map(str, array.shape))
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ValueError(
            f"{name} is an array of shape {shape}; expected H×W×3, H×W or N×H×W×3 "
            "(with alpha: PIL.Image.fromarray lays it on white)"
        )
    batch = np.ascontiguousarray(array.reshape(-1, *array.shape[-3:]))
    batch = batch.astype(batch.dtype.newbyteorder("="), copy=False)
    try:
        return _bytes(name, torch.tensor(batch)).permute(0, 3, 1, 2)
    except TypeError:  # torch has no such dtype
        raise ValueError(_wrong_type(name, array.dtype)) from None


def _tensor(name: str, tensor: Tensor) -> Tensor:
    """N×3×H×W uint8 of a tensor 3×H×W or N×3×H×W."""
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3 or 0 in tensor.shape[-3:]:
        shape = "×".join(map(str, tensor.shape))
        raise ValueError(f"{name} is a tensor of shape {shape}; expected 3×H×W or N×3×H×W")
    return _bytes(name, tensor.detach().cpu().reshape(-1, *tensor.shape[-3:]))


def _bytes(name: str, batch: Tensor) -> Tensor:
    """uint8 as it is, floats in 0..1 times 255."""
    if batch.dtype == torch.uint8:
        return batch
    if not batch.is_floating_point():
        raise ValueError(_wrong_type(name, batch.dtype))
    low, high = (batch.min().item(), batch.max().item()) if batch.numel() else (0.0, 0.0)
    if not (0 <= low and high <= 1):  # so that NaN is refused too
        raise ValueError(
            f"{name} has values from {low:g} to {high:g}; floats must be in 0..1, not yet "
            "normalised (the predictor does that)"
        )
    return (batch.float() * 255).round().to(torch.uint8)


def _wrong_type(name: str, dtype) -> str:
    return f"{name} is of dtype {str(dtype).removeprefix('torch.')}: uint8, or floats in 0..1"
