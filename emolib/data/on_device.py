"""Batches cut on a GPU that holds all pixels of a pack: crop, resize and flip of a whole batch."""

import weakref

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

SHARE = 12  # a pack may take a twelfth of the memory that is free: others may train beside this one
# packs on devices, while somebody uses them
_resident: weakref.WeakValueDictionary[tuple, Tensor] = weakref.WeakValueDictionary()


def pixels_of(pack, device: torch.device) -> Tensor | None:
    """The pack's pixels on the device, copied there at the first call. None where they are too
    many. Everybody who asks gets the same copy, as long as somebody holds it."""
    key = (pack.file, str(device))
    pixels = _resident.get(key)
    if pixels is None and device.type == "cuda":
        if pack.pixels.nbytes > torch.cuda.mem_get_info(device)[0] / SHARE:
            return None
    if pixels is None:
        pixels = _resident[key] = pack.pixels.to(device, copy=True)
    return pixels


class OnDevice:
    """The batches of `pictures` on a device that holds all their pixels, cut there in one go.

    The same pixels as the DataLoader's; a "resized" crop may differ by one level of 255, because
    torchvision rounds its weights to integers on a CPU.
    """

    def __init__(self, pictures, batches, pixels: Tensor):
        self.pictures, self.batches, self.pixels = pictures, batches, pixels
        self.device = pixels.device

    def __iter__(self):
        pack, size = self.pictures.pack, self.pictures.image_size
        for items in self.batches:
            index = [i for _, i in items]
            shapes = pack.shapes[index].tolist()
            boxes = [self.pictures.box(*i, *s) for i, s in zip(items, shapes, strict=True)]
            seen = zip(index, shapes, boxes, strict=True)
            extras = default_collate([self.pictures.extras(*each) for each in seen])
            columns = np.array([pack.starts[index], pack.shapes[index, 1], *np.transpose(boxes)])
            numbers = torch.from_numpy(columns.astype(np.int64))
            labels = torch.from_numpy(self.pictures.data.targets[index])
            if self.device.type == "cuda":
                numbers = numbers.pin_memory().to(self.device, non_blocking=True)
                labels = labels.pin_memory().to(self.device, non_blocking=True)
                extras = {name: t.pin_memory() for name, t in extras.items()}
            if all(box[2:4] == (size, size) for box in boxes):
                images = _gather(self.pixels, numbers, size, size)
            else:
                largest = np.max(boxes, axis=0)[2:4].tolist()
                images = _resample(self.pixels, numbers, size, *largest)
            flip = numbers[6].bool()[:, None, None, None]
            yield torch.where(flip, images.flip(2), images), labels, extras


def _gather(pixels: Tensor, numbers: Tensor, height: int, width: int) -> Tensor:
    """N×height×width×3 from each box's corner; what lies beyond the box repeats its edge."""
    start, stride, top, left, h, w, _ = numbers[:, :, None]
    rows = top + torch.arange(height, device=pixels.device).minimum(h - 1)
    columns = left + torch.arange(width, device=pixels.device).minimum(w - 1)
    return pixels[(start + rows * stride)[:, :, None] + columns[:, None, :]]


def _resample(pixels: Tensor, numbers: Tensor, size: int, height: int, width: int) -> Tensor:
    """N×size×size×3: the boxes resized as torchvision does, one matrix product a side."""
    images = _gather(pixels, numbers, height, width).float()
    rows = _antialias(numbers[4], height, size)  # N×size×height
    columns = _antialias(numbers[5], width, size)
    images = torch.einsum("nyh,nhwc,nxw->nyxc", rows, images, columns)
    return images.round_().clamp_(0, 255).to(torch.uint8)


def _antialias(lengths: Tensor, longest: int, size: int) -> Tensor:
    """N×size×longest: row j has the triangle filter's weights of output j over `lengths` inputs."""
    scale = (lengths / size)[:, None, None]
    centres = (torch.arange(size, device=lengths.device)[:, None] + 0.5) * scale  # N×size×1
    places = torch.arange(longest, device=lengths.device) + 0.5
    weights = (1 - (places - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * (places < lengths[:, None, None])
    return weights / weights.sum(2, keepdim=True)
