"""mcpnet: Ou, Qing, Xu, Jin, “Multi-level context pyramid network for visual sentiment
analysis”, Sensors 21, 2021 (Table 9's and Table 1's “[19]”, which the paper ascribes to Qu et al.).

Known, from the abstract and introduction: ResNet-101; on each level a multi-scale adaptive context
module, which learns how regions of several scales belong together; cross-layer and multi-layer
fusion. Scales, channels, the fusions' form, picture size and rates are not known; no code found.
Chosen: the adaptive context module of APCNet (He et al. 2019; mmsegmentation's apc_head), whose
line it is in, at scales 1, 2, 3, 6, with half of the highest level's channels, at most 256;
cross-layer fusion top-down, each level's mean with what came from above, up-sampled;
multi-layer fusion as the concatenation of the four global averages; dropout 0.5; one linear layer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, four_levels, levels
from ..precision import full_precision
from ..resample import average, up
from .parts import block

SCALES = (1, 2, 3, 6)


class AdaptiveContext(nn.Module):
    """One scale s: N×c×h×w → N×c×h×w, each position a learnt mixture of s×s regions."""

    def __init__(self, channels: int, scale: int):
        super().__init__()
        self.scale = scale
        self.regions = nn.Conv2d(channels, channels, 1)
        self.whole = nn.Conv2d(channels, channels, 1)
        self.affinity = nn.Conv2d(channels, scale**2, 1)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)  # a sum over s² regions grows with their number

    def forward(self, x: Tensor) -> Tensor:
        y = self.regions(average(x, (self.scale, self.scale)))  # N×c×s×s
        whole = self.whole(x.mean((2, 3), keepdim=True))
        # the affinity is linear in x + whole: its two parts, apart, need no second large map
        a = self.affinity(x) + F.conv2d(whole, self.affinity.weight)  # N×s²×h×w
        # out(y·a) = (W y)·a: the last convolution on s² regions in place of every position
        y = self.out(y).flatten(2)
        z = a.sigmoid().flatten(2).transpose(1, 2) @ y.transpose(1, 2)  # N×hw×c: channels last
        z = z.transpose(1, 2).unflatten(2, x.shape[2:])
        return F.relu(self.norm(z) + x)


class MCPNet(nn.Module):
    takes = "levels"
    context: Sequence[nn.ModuleList]  # an nn.ModuleList

    def __init__(self, backbone: Backbone, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.indices, channels = four_levels(backbone)
        c = min(256, channels[0] // 2)
        self.reduce = nn.ModuleList(block(k, c) for k in channels)
        contexts = [nn.ModuleList(AdaptiveContext(c, s) for s in SCALES) for _ in channels]
        self.context = nn.ModuleList(contexts)  # type: ignore[assignment]
        self.join = nn.ModuleList(block((1 + len(SCALES)) * c, c) for _ in channels)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(4 * c, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        B = levels(self.backbone, self.indices, images)
        above, pooled = None, []
        with full_precision(images):
            parts = zip(B, self.reduce, self.context, self.join, strict=True)
            for b, reduce, context, join in parts:
                x = reduce(b)
                x = join(torch.cat([x, *(scale(x) for scale in context)], 1))
                above = x if above is None else (x + up(above, x)) / 2  # cross-layer fusion
                pooled.append(above.mean((2, 3)))
            return self.classifier(torch.cat(pooled, 1))
