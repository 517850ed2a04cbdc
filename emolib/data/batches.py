"""What a training sees of a set: its order, its crops and flips, its batches.

Order and augmentation follow from (seed, epoch, index) alone, whatever the device, the batch or
the number of workers. The part of the transform that is always the same (decode, short side to
256/224 of the crop) comes out of the packed cache; cache="off" decodes the files each time. For
crop="random" both give the same pixels. For crop="resized" they differ: the cache's crops are taken
from the shrunk picture, those without it from the picture itself, as in torchvision.
"""

import functools
import math
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..base.devices import on
from ..base.parallel import Ranks
from . import proposals
from .cache import packed, shrunk
from .on_device import OnDevice, pixels_of
from .pictures import check_all, decode

SHORT_SIDE = 256 / 224  # short side before the crop, as a multiple of the crop
TRIES = 10  # torchvision's: boxes drawn before a random resized crop takes the whole picture
DRAWS = 2 * TRIES + 3  # random numbers a picture and epoch
View = tuple[int, int, int, int, bool]  # of a picture: top, left, height, width, flip


def derived_seed(*parts: int) -> int:
    """One 63-bit seed from several numbers, the same on any machine."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_all(*parts: int) -> None:
    """Python's, NumPy's and torch's generators, all devices', from several numbers."""
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def short_side(image_size: int) -> int:
    """Of the picture that a crop of `image_size` px is taken from."""
    return round(SHORT_SIDE * image_size)


def centre(path: Path, image_size: int) -> Tensor:
    """Evaluation's view of a picture file: S×S×3 uint8."""
    image = shrunk(path, short_side(image_size))
    h, w, _ = image.shape
    return cut(image, centre_box(h, w, image_size), image_size)


class Pictures(Dataset):
    """Items (epoch, index) → (S×S×3 uint8, what is learnt of it, extras). A negative epoch asks for
    evaluation's view. extras: {}; with a `finder`, "boxes" in that view; with emotions=True,
    "emotions": the number of the finer class, −1 where the set has none.

    crop: "random" (a random place of the picture at 256/224 of the size; the paper's words) or
    "resized" (torchvision's random resized crop). Both flip at random. The set is packed here
    where that has not been done. ValueError or FileNotFoundError names an unreadable picture.
    """

    def __init__(
        self,
        data,
        image_size: int,
        crop: str = "random",
        seed: int = 0,
        cache: str = "packed",
        finder: proposals.BoxFinder | None = None,
        emotions: bool = False,
    ):
        self.data, self.image_size, self.crop, self.seed = data, image_size, crop, seed
        self.whole = cache == "off" and crop == "resized"  # crops come from the whole picture
        self.pack = None if cache == "off" else packed(data, short_side(image_size))
        self.boxes = finder.of_set(self) if finder else None
        self.emotions = None
        if emotions:
            known = data.emotions is not None
            codes = np.unique(data.emotions, return_inverse=True)[1] if known else -1
            self.emotions = np.broadcast_to(codes, len(data)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.data)

    def image(self, index: int, whole: bool = False) -> Tensor:
        """h×w×3 uint8, what crops are taken from."""
        if self.pack is not None:
            return self.pack[index]
        return shrunk(self.data.paths[index], None if whole else short_side(self.image_size))

    def box(self, epoch: int, index: int, h: int, w: int) -> View:
        """The view of a picture of h×w."""
        if epoch < 0:
            return centre_box(h, w, self.image_size)
        numbers = draws(self.seed, epoch, len(self))[index]
        if self.crop == "resized":
            return resized_box(h, w, numbers)
        return random_box(h, w, self.image_size, numbers)

    def extras(self, index: int, shape: Sequence[int], box: View) -> dict:
        """What else some systems are given of picture `index`, seen as `box` of h×w `shape`."""
        found: dict[str, Tensor | int] = {}
        if self.boxes is not None:
            found["boxes"] = proposals.in_view(self.boxes[index], shape, box, self.image_size)
        if self.emotions is not None:
            found["emotions"] = int(self.emotions[index])
        return found

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor, dict]:
        epoch, index = item
        image = self.image(index, self.whole and epoch >= 0)
        shape = tuple(image.shape[:2])
        box = self.box(epoch, index, *shape)
        view = cut(image, box, self.image_size)
        target = torch.as_tensor(self.data.targets[index])
        return view, target, self.extras(index, shape, box)

    def feed(self, batches: "Batches", device: torch.device, cfg: dict) -> "Feed":
        """`batches` of these pictures for a network of mean and std `cfg`."""
        return Feed(self, batches, device, cfg)


@functools.lru_cache(maxsize=4)
def draws(seed: int, epoch: int, count: int) -> np.ndarray:
    """count×DRAWS numbers in [0, 1); row i is the same whatever the count."""
    return np.random.default_rng([seed, epoch, 1]).random((count, DRAWS))


def centre_box(h: int, w: int, size: int) -> View:
    return round((h - size) / 2), round((w - size) / 2), size, size, False


def random_box(h: int, w: int, size: int, numbers) -> View:
    """torchvision's RandomCrop and RandomHorizontalFlip."""
    top, left, flip = numbers[-3:]
    top, left = int(top * (h - size + 1)), int(left * (w - size + 1))
    return top, left, size, size, bool(flip < 0.5)


def resized_box(h: int, w: int, numbers) -> View:
    """torchvision's RandomResizedCrop: 8–100% of the area, sides 3:4 to 4:3; and the flip."""
    top, left, flip = numbers[-3:].tolist()
    for area, aspect in zip(
        numbers[:TRIES].tolist(), numbers[TRIES : 2 * TRIES].tolist(), strict=True
    ):
        area = h * w * (0.08 + 0.92 * area)
        aspect = (4 / 3) ** (2 * aspect - 1)  # width / height
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= w and 0 < height <= h:
            top, left = int(top * (h - height + 1)), int(left * (w - width + 1))
            return top, left, height, width, flip < 0.5
    # the largest centred box whose sides are within 3:4 and 4:3
    height, width = min(h, round(w * 4 / 3)), min(w, round(h * 4 / 3))
    return (h - height) // 2, (w - width) // 2, height, width, flip < 0.5


def cut(image: Tensor, box: View, size: int) -> Tensor:
    """The box out of an image h×w×3, brought to size×size×3 and flipped where it says so.

    The resize is torchvision's, called without its wrapper, which takes as long again.
    """
    top, left, height, width, flip = box
    crop = image[top : top + height, left : left + width].permute(2, 0, 1)[None]  # 1×3×h×w
    if (height, width) != (size, size):
        crop = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
    crop = crop.flip(3) if flip else crop
    return crop[0].permute(1, 2, 0)


class Batches:
    """A batch sampler; `epoch` is set before each pass of its loader.

    ranks: of several processes that train together, each gets its share of every batch.
    """

    def __init__(self, indices, batch_size: int, seed: int = 0, shuffle=False, ranks=Ranks()):
        self.indices, self.batch_size = np.asarray(indices), batch_size
        self.seed, self.shuffle, self.ranks, self.epoch = seed, shuffle, ranks, -1

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """How many pictures each batch has, in all processes together."""
        full, left = divmod(len(self.indices), self.batch_size)
        # a last batch of one joins its neighbour: batch norm at 1×1 px cannot train on it
        before = max(0, full - 1 + (left > 1))
        return [self.batch_size] * before + [len(self.indices) - self.batch_size * before]

    def __iter__(self):
        order = self.indices
        if self.shuffle:
            rng = np.random.default_rng(derived_seed(self.seed, self.epoch))
            order = rng.permutation(order)
        for part in np.split(order, np.cumsum(self.sizes)[:-1]):
            yield self.ranks.part([(self.epoch, int(index)) for index in part])


class Feed:
    """A set's batches as a network takes them, on the device: (N×3×S×S float32 normalised, the
    pictures' targets, extras)."""

    def __init__(self, pictures: Pictures, batches: Batches, device: torch.device, cfg: dict):
        self.loader, self.device, self.cfg = loader(pictures, batches, device), device, cfg

    def __iter__(self):
        for images, labels, extras in self.loader:
            labels = labels.to(self.device, non_blocking=True)
            yield normalise(images, self.cfg, self.device), labels, on(self.device, extras)


def loader(pictures: Pictures, batches: Batches, device: torch.device | str = "cpu"):
    """Batches of (N×S×S×3 uint8, targets, extras), cut on the GPU where the pack fits into its
    memory."""
    device = torch.device(device)
    # whether it fits depends on the moment, and a GPU's resize has other last bits
    differs = pictures.crop == "resized" and torch.are_deterministic_algorithms_enabled()
    if device.type == "cuda" and pictures.pack is not None and not differs:
        pixels = pixels_of(pictures.pack, device)
        if pixels is not None:
            return OnDevice(pictures, batches, pixels)
    # packed pictures need no worker processes
    workers = 0 if pictures.pack is not None else min(8, os.cpu_count() or 1)
    # said, because inside a sweep's worker the default is joblib's, which DataLoader cannot use
    start = "fork" if sys.platform == "linux" else "spawn"
    return DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=start if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws from the global one, and dropout with it
    )


def normalise(images: Tensor, cfg: dict, device) -> Tensor:
    """uint8 N×S×S×3 → float32 N×3×S×S on the device, channels_last, by the model's mean and std."""
    mean, std = _mean_std(tuple(cfg["mean"]), tuple(cfg["std"]), device)
    images = images.to(device, non_blocking=True).float()
    return images.sub_(mean).div_(std).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=8)
def _mean_std(mean: tuple, std: tuple, device) -> tuple[Tensor, Tensor]:
    """On the device already: a copy in every step would make the host wait for it."""
    return 255 * torch.tensor(mean, device=device), 255 * torch.tensor(std, device=device)


def decode_all(data) -> None:
    """Decodes each picture once, so that broken ones stop a run before it trains. Raises what
    `check_all` does."""
    key = (data.root, data.fingerprint())
    if key not in _decoded:
        check_all(decode, data.paths)
        _decoded.add(key)


_decoded: set[tuple] = set()  # sets of pictures found whole in this process
