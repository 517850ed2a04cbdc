"""rao2020: Rao, Li, Zhang, Xu, “Multi-level region-based convolutional neural network for image
emotion classification”, Neurocomputing 333, 2019 (described in §2.1 and Tables 1 and 9 as “Rao et
al. [10]”; the list of references has MldrNet, another system, at that number).

Known, from the abstract and what looks like the authors' first-stage script: feature pyramid on
ResNet-101 (256 channels), emotional region proposals as in Faster R-CNN, global and local features
joined, a multi-task loss with label probabilities in place of hard labels. Numbers of regions,
weights of the tasks and boxes that the proposals learn are not known; no code of that part.
Chosen: torchvision's FPN, with batch norm, and RPN. The RPN learns the five best boxes of
`proposals.objects`, because no set but EmotionROI has regions; its five best regions are averaged
and joined with the four levels' global averages. Half the highest level's channels, at most 256;
anchors of 4 and 8 strides on strides 8–32. Loss: classification + the proposals' two terms, equal
weights; label probabilities, by the distance on Mikels' wheel in the paper, are 0.95 and 0.05 for
two classes. The script's recipe: `compared.RECIPES`.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from ..backbones import four_levels, levels
from .parts import boxes_in, full_precision

REGIONS = 5
SMOOTHING = 0.1  # 0.95 and 0.05
WITH_REGIONS = ("8", "16", "32")  # strides of the levels that proposals are looked for on


class Rao2020(nn.Module):
    takes = "levels"
    own_loss = True
    finder = "objects"

    def __init__(self, backbone: nn.Module, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.indices, channels = four_levels(backbone)
        c = min(256, channels[0] // 2)
        self.fpn = FeaturePyramidNetwork(channels[::-1], c, norm_layer=nn.BatchNorm2d)
        sizes, shapes = ((32, 64), (64, 128), (128, 256)), ((0.5, 1.0, 2.0),) * 3
        top = {"training": 8 * REGIONS, "testing": 8 * REGIONS}
        self.rpn = RegionProposalNetwork(
            AnchorGenerator(sizes, shapes), RPNHead(c, 6),
            fg_iou_thresh=0.6, bg_iou_thresh=0.3, batch_size_per_image=64, positive_fraction=0.5,
            pre_nms_top_n=top, post_nms_top_n={k: REGIONS for k in top}, nms_thresh=0.7,
        )  # fmt: skip
        self.pool = MultiScaleRoIAlign(
            list(WITH_REGIONS), output_size=3, sampling_ratio=2, canonical_scale=64
        )  # 64 px at stride 16, as the anchors
        self.local = nn.Sequential(nn.Linear(9 * c, 4 * c), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(8 * c, num_classes)

    def forward(self, images: Tensor, boxes: Tensor | None = None, labels: Tensor | None = None):
        B = levels(self.backbone, self.indices, images)[::-1]
        with full_precision(images):  # boxes need more than 8 bits
            return self._head(B, images, boxes, labels)

    def _head(self, B, images, boxes, labels):
        P = self.fpn(OrderedDict(zip(("4", *WITH_REGIONS), B, strict=True)))
        whole = torch.cat([p.mean((2, 3)) for p in P.values()], 1)  # N×4c
        with_regions = {stride: P[stride] for stride in WITH_REGIONS}
        sizes = [tuple(images.shape[-2:])] * len(images)
        if labels is not None and boxes is None:
            boxes = boxes_in(images, self.finder, self.pretrained_cfg)
        found, losses = self._propose(images, sizes, with_regions, boxes, labels is not None)
        local = self.local(self.pool(with_regions, found, sizes).flatten(1))
        logits = self.classifier(torch.cat([whole, self._mean(local, found)], 1))
        if labels is None:
            return logits
        losses.append(F.cross_entropy(logits, labels, label_smoothing=SMOOTHING))
        return sum(losses), logits

    def _propose(self, images, sizes, features, boxes, learn: bool) -> tuple[list, list]:
        """Proposals of each picture, N lists of at most REGIONS×4, and the proposals' losses."""
        batch = ImageList(images, sizes)
        targets = None
        if learn:
            best = torch.stack([rows[rows[:, 4].topk(min(REGIONS, len(rows))).indices]
                                for rows in boxes])  # fmt: skip
            targets = [{"boxes": rows[rows[:, 4] > 0, :4]} for rows in best]
        self.rpn.train(learn)  # torchvision's asks for targets whenever it trains
        found, losses = self.rpn(batch, features, targets)
        return found, list(losses.values())

    def _mean(self, local: Tensor, found: list) -> Tensor:
        """Mean over each picture's regions, 0 where it has none: N×4c."""
        parts = local.split([len(f) for f in found])
        return torch.stack([part.sum(0) / max(1, len(part)) for part in parts])
