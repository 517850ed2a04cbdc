"""From picture files to batches.

Order and augmentation follow from (seed, epoch, index) alone, whatever the number of workers.
The part of the transform that is always the same (decode, short side to 256/224 of the crop) is
kept in memory where a set is small enough; what is kept is exactly what would be decoded again.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from .pictures import decode

MEMORY_BUDGET = 2 << 30  # bytes of pictures kept decoded; three sets at most
SHORT_SIDE = 256 / 224  # short side before the crop, as a multiple of the crop


def derived_seed(*parts: int) -> int:
    """One 63-bit seed from several numbers, the same on any machine."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def load(path: Path, image_size: int, crop: str = "random") -> Tensor:
    """What every epoch starts from: 3×h×w uint8, short side 256/224 × image_size.

    crop="resized" takes its crops from the picture itself and so starts from the whole of it.
    """
    image = decode(path)
    return image if crop == "resized" else _shrink(image, image_size)


def centre_crop(image: Tensor, image_size: int) -> Tensor:
    """Evaluation's view of a loaded picture: 3×image_size×image_size uint8."""
    if min(image.shape[-2:]) != round(SHORT_SIDE * image_size):
        image = _shrink(image, image_size)
    return v2.functional.center_crop(image, [image_size, image_size])


def _shrink(image: Tensor, image_size: int) -> Tensor:
    return v2.functional.resize(image, [round(SHORT_SIDE * image_size)], antialias=True)


class Pictures(Dataset):
    """Items (epoch, index) → (3×S×S uint8, label); a negative epoch asks for evaluation's view.

    crop: "random" (a random place of the picture at 256/224 of the size; the paper's words) or
    "resized" (torchvision's random resized crop). Both flip at random.
    """

    def __init__(self, data, image_size: int, crop: str = "random", seed: int = 0):
        self.data, self.image_size, self.crop, self.seed = data, image_size, crop, seed
        self.resized = v2.Compose(
            [v2.RandomResizedCrop(image_size, antialias=True), v2.RandomHorizontalFlip()]
        )
        self.kept = in_memory(data, image_size, crop)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = item
        image = (
            load(self.data.paths[index], self.image_size, self.crop)
            if self.kept is None
            else self.kept[index]
        )
        if epoch < 0:
            return centre_crop(image, self.image_size), int(self.data.labels[index])
        seed, label = derived_seed(self.seed, epoch, index), int(self.data.labels[index])
        if self.crop == "random":
            return crop_and_flip(image, self.image_size, seed), label
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.resized(image), label


def crop_and_flip(image: Tensor, size: int, seed: int) -> Tensor:
    """What torchvision's v2.RandomCrop and RandomHorizontalFlip make of the picture after
    torch.manual_seed(seed), at a tenth of the cost and without touching the global generator."""
    generator = torch.Generator().manual_seed(seed)
    for dim in (1, 2):
        spare = image.shape[dim] - size
        if spare:
            start = int(torch.randint(0, spare + 1, (), generator=generator))
            image = image.narrow(dim, start, size)
    return image.flip(2) if torch.rand(1, generator=generator) < 0.5 else image


class Batches:
    """A batch sampler: `epoch` and `indices` may be set between the passes of one loader."""

    def __init__(self, indices, batch_size: int, seed: int = 0, shuffle: bool = False):
        self.indices, self.batch_size = np.asarray(indices), batch_size
        self.seed, self.shuffle, self.epoch = seed, shuffle, -1

    def __len__(self) -> int:
        whole, left = divmod(len(self.indices), self.batch_size)
        # a last batch of one joins its neighbour: batch norm at 1×1 px cannot train on it
        return max(1, whole + (left > 1))

    def __iter__(self):
        order = self.indices
        if self.shuffle:
            rng = np.random.default_rng(derived_seed(self.seed, self.epoch))
            order = rng.permutation(order)
        starts = [i * self.batch_size for i in range(1, len(self))]
        for part in np.split(order, starts):
            yield [(self.epoch, int(index)) for index in part]


def loader(pictures: Pictures, batches: Batches) -> DataLoader:
    """Batches of (N×3×S×S uint8, N int64). Pictures kept in memory need no worker processes."""
    workers = 0 if pictures.kept is not None else min(8, os.cpu_count() or 1)
    return DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def normalise(images: Tensor, cfg: dict, device) -> Tensor:
    """uint8 N×3×S×S → float32 on the device, by the model's own mean and std, channels_last."""
    images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
    mean, std = (
        torch.tensor(cfg[key], device=device).view(1, 3, 1, 1) * 255 for key in ("mean", "std")
    )
    return (images.float() - mean) / std


def in_memory(data, image_size: int, crop: str) -> list[Tensor] | None:
    """All pictures of the set loaded, or None where they would take more than the budget.

    Either way every file has been decoded once, so that a broken one stops a run before it trains.
    """
    return _in_memory(_Key(data), image_size, crop)


class _Key:
    """Makes a data set hashable by its contents, so that changed files are read again."""

    def __init__(self, data):
        self.data, self.fingerprint = data, data.fingerprint()

    def __hash__(self):
        return hash((self.fingerprint, str(self.data.root)))

    def __eq__(self, other):
        return hash(self) == hash(other)


@functools.lru_cache(maxsize=3)
def _in_memory(key: _Key, image_size: int, crop: str) -> list[Tensor] | None:
    paths = key.data.paths
    shapes = _map(_shape, paths)
    pixels = [h * w for h, w in shapes]
    if crop != "resized":
        side = round(SHORT_SIDE * image_size)
        pixels = [side * side * max(h, w) / min(h, w) for h, w in shapes]
    if 3 * sum(pixels) <= MEMORY_BUDGET:
        return _map(functools.partial(load, image_size=image_size, crop=crop), paths)
    _map(lambda path: decode(path) is None, paths)
    return None


def _shape(path: Path) -> tuple[int, int]:
    """Height and width without decoding the pixels."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise
    except Exception:
        decode(path)  # says what is wrong with it
        raise


def _map(function, paths) -> list:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, paths))
