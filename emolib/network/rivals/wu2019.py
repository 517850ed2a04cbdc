"""wu2019: Wu, Qi, Jian, Zhang, “Visual sentiment analysis by combining global and local
information”, Neural Processing Letters 51, 2020 (Table 9's “Wu et al. [14]”).

Known, from the abstract: a CNN on the whole picture; a test whether it holds salient objects; if
so, sub-pictures by their detection windows, a second CNN trained on them, and both predictions
fused; else the whole alone. No code; detector, threshold, backbone, fusion weight, learning rate
are not known.
Chosen: ResNet-101 twice. The test and the window are `proposals.salient` (spectral residual
saliency: its largest part must hold half of what is salient, in 2–60% of the picture), which needs
no file. Fusion is the mean of the two softmaxes. Both are trained at once, ½ CE each, the second on
pictures with a salient object only; the others pass through it as a whole, so that its batches keep
their size, and count in its batch norm but not in its loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, pooled, width
from ..precision import full_precision
from .parts import boxes_in, crops, log_mix


class Wu2019(nn.Module):
    takes = "whole"
    backbones = 2
    own_loss = True
    finder = "salient"

    def __init__(self, backbone: Backbone, second: nn.Module, num_classes: int = 2):
        super().__init__()
        self.pretrained_cfg = backbone.pretrained_cfg
        self.backbone = nn.ModuleList([backbone, second])
        both = (nn.Linear(width(backbone), num_classes) for _ in self.backbone)
        self.classifiers = nn.ModuleList(both)

    def forward(self, images: Tensor, boxes: Tensor | None = None, labels: Tensor | None = None):
        window = boxes_in(self, images, boxes)[:, :1]
        there = window[:, 0, 4] > 0  # N
        views = images, crops(images, window, images.shape[-2:])
        features = [pooled(net, view) for net, view in zip(self.backbone, views, strict=True)]
        with full_precision(images):
            whole, local = (c(f) for c, f in zip(self.classifiers, features, strict=True))
        logits = torch.where(there[:, None], log_mix(whole, local, 0.5), whole)
        if labels is None:
            return logits
        of_parts = F.cross_entropy(local, labels, reduction="none") * there
        loss = F.cross_entropy(whole, labels) + of_parts.sum() / there.sum().clamp(min=1)
        return 0.5 * loss, logits
