"""What several rivals need: pixels behind normalised images, boxes in them and their crops."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, roi_align

from ...base.devices import deterministic
from ...data.proposals import BoxFinder


def without_normalisation(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images N×3×H×W normalised by mean and std, 3 numbers each on their device → pixels in 0…1."""
    return (images.detach().float() * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


def block(channels: int, width: int) -> nn.Module:
    """1×1 convolution to `width` channels, batch norm, ReLU."""
    return Conv2dNormActivation(channels, width, 1, inplace=False)


def boxes_in(net, images: Tensor, boxes: Tensor | None) -> Tensor:
    """N×COUNT×5, px: `boxes` or, where there are none, what the network's `finder` finds in the
    images themselves."""
    if boxes is not None:
        return boxes
    cfg = net.pretrained_cfg
    mean, std = (torch.tensor(cfg[name], device=images.device) for name in ("mean", "std"))
    views = (255 * without_normalisation(images, mean, std)).round().byte()
    views = views.permute(0, 2, 3, 1).cpu()
    size = torch.tensor([images.shape[3], images.shape[2]] * 2 + [1])
    found = torch.stack([BoxFinder(net.finder).find(view) for view in views]) * size
    return found.to(images.device)


def crops(images: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """The boxes N×K×5 (px) of the images at a common size: N·K×3×size. A row of zeros gives the
    whole picture, so that the number of crops never changes."""
    N, K = boxes.shape[:2]
    H, W = images.shape[-2:]
    # filled on the device: a copy of four numbers would make the host wait
    picture = torch.cat([boxes.new_full((1,), side) for side in (0, 0, W, H)])
    sides = torch.where(boxes[..., 4:] > 0, boxes[..., :4], picture).flatten(0, 1)
    number = torch.arange(N, device=boxes.device, dtype=boxes.dtype).repeat_interleave(K)
    rois = torch.cat([number[:, None], sides], 1).to(images.dtype)
    # only its gradient differs from time to time on a GPU; torchvision would compile another
    learns = images.requires_grad and torch.is_grad_enabled()
    with deterministic(learns and torch.are_deterministic_algorithms_enabled()):
        found = roi_align(images.contiguous(), rois, size, sampling_ratio=2, aligned=True)
    return found.contiguous(memory_format=torch.channels_last)


def log_mix(first: Tensor, second: Tensor, share: Tensor | float) -> Tensor:
    """Logits of (1−share)·softmax(first) + share·softmax(second)."""
    mixed = (1 - share) * first.softmax(-1) + share * second.softmax(-1)
    return mixed.clamp(min=1e-12).log()
