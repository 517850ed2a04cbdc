"""priya2020: Priya, Udayan, “Affective emotion classification using feature vector of image based
on visual concepts”, Int. J. Electrical Engineering & Education, 2020 (Table 1's “Priya et al.
[18]”; no number in the paper, nor an evaluation on its sets).

Known, from the abstract and Table 1: high-level features of a CNN and low-level ones of the
picture, combined with the same weight. The descriptors are not named; a companion paper has a
dominant colour, an edge and a texture descriptor (MPEG-7). CNN, lengths, fusion unknown; no code.
Chosen: ResNet-101's pooled features; a colour histogram (4×4×4 RGB) and MPEG-7's edge histogram
(4×4 blocks × 5 kinds of edges, threshold 11 of 255), square-rooted, of the very view the CNN sees;
a classifier on each (256 hidden units on the low-level side); their logits' mean.
"""

import torch
from torch import Tensor, nn

from ..backbones import Backbone, pooled, width
from ..precision import full_precision
from ..resample import average
from .parts import without_normalisation

BINS, BLOCKS, THRESHOLD = 4, 4, 11 / 255
ROOT2 = 2**0.5
# on 2×2 px, row by row: vertical, horizontal, 45°, 135°, none of these
_ROWS = (1, -1, 1, -1), (1, 1, -1, -1), (ROOT2, 0, 0, -ROOT2), (0, ROOT2, -ROOT2, 0), (2, -2, -2, 2)
EDGES = torch.tensor(_ROWS).view(5, 2, 2)


def colours(view: Tensor) -> Tensor:
    """N×3×H×W in 0…1 → N×64, the shares of the colours."""
    bins = (view * BINS).long().clamp(max=BINS - 1).flatten(2)  # N×3×HW
    code = bins[:, 0] * BINS**2 + bins[:, 1] * BINS + bins[:, 2]
    ones = torch.full_like(code, 1 / code.shape[1], dtype=view.dtype)
    return view.new_zeros(len(view), BINS**3).scatter_add(1, code, ones)


def edges(view: Tensor, filters: Tensor = EDGES) -> Tensor:
    """N×3×H×W in 0…1 → N×80, in each of 4×4 blocks the shares of 2×2 squares with each edge.
    filters: EDGES on the device of `view`."""
    H, W = (s // (2 * BLOCKS) * (2 * BLOCKS) for s in view.shape[-2:])
    grey, filters = view.mean(1, keepdim=True)[..., :H, :W], filters[:, None].to(view)
    response = nn.functional.conv2d(grey, filters, stride=2).abs()  # N×5×H/2×W/2
    kind = torch.zeros_like(response).scatter(1, response.argmax(1, keepdim=True), 1.0)
    kind = kind * (response.amax(1, keepdim=True) > THRESHOLD)
    return average(kind, (BLOCKS, BLOCKS)).flatten(1)


class Priya2020(nn.Module):
    takes = "whole"
    mean: Tensor
    std: Tensor
    filters: Tensor

    def __init__(self, backbone: Backbone, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        length = BINS**3 + 5 * BLOCKS**2
        self.low = nn.Sequential(
            nn.BatchNorm1d(length),
            nn.Linear(length, 256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, num_classes),
        )
        self.high = nn.Linear(width(backbone), num_classes)
        # not in the state dict; on the device, as a copy in each step would make the host wait
        mean, std = (torch.tensor(self.pretrained_cfg[name]) for name in ("mean", "std"))
        for name, values in (("mean", mean), ("std", std), ("filters", EDGES)):
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        high = pooled(self.backbone, images)
        with full_precision(images):
            view = without_normalisation(images, self.mean, self.std)
            low = torch.cat([colours(view), edges(view, self.filters)], 1).sqrt()
            return (self.high(high) + self.low(low)) / 2
