"""rao2020: Rao, Li, Zhang, Xu, “Multi-level region-based convolutional neural network for image
emotion classification”, Neurocomputing 333, 2019 (described in §2.1 and Tables 1 and 9 as “Rao et
al. [10]”; the list of references has MldrNet, another system, at that number).

Known, from the abstract and what looks like the authors' first-stage script: feature pyramid on
ResNet-101 (256 channels), emotional region proposals as in Faster R-CNN, global and local features
joined, a multi-task loss with label probabilities in place of hard labels. Numbers of regions,
weights of the tasks and boxes that the proposals learn are not known; no code of that part.
Chosen: torchvision's FPN, with batch norm, and RPN. The RPN learns the five best boxes of
`object_boxes` (data/proposals), as no set but EmotionROI has regions. Its five best are averaged
and joined with the four levels' global averages. Half the highest level's channels, at most 256;
anchors of 4 and 8 strides on strides 8–32. Loss: classification + the proposals' two terms, equal
weights; label probabilities, by the distance on Mikels' wheel in the paper, are 0.95 and 0.05 for
two classes. The script's recipe: `spec.systems`.
"""

import itertools
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.boxes import batched_nms, clip_boxes_to_image

from ..backbones import Backbone, four_levels, levels
from ..precision import full_precision
from .parts import boxes_in

REGIONS = 5
SMOOTHING = 0.1  # 0.95 and 0.05
WITH_REGIONS = ("8", "16", "32")  # strides of the levels that proposals are looked for on


class Rao2020(nn.Module):
    takes = "levels"
    own_loss = True
    finder = "objects"

    def __init__(self, backbone: Backbone, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.indices, channels = four_levels(backbone)
        c = min(256, channels[0] // 2)
        self.fpn = FeaturePyramidNetwork(channels[::-1], c, norm_layer=nn.BatchNorm2d)
        sizes, shapes = ((32, 64), (64, 128), (128, 256)), ((0.5, 1.0, 2.0),) * 3
        top = {"training": 8 * REGIONS, "testing": 8 * REGIONS}
        self.rpn = Proposals(
            AnchorGenerator(sizes, shapes),
            RPNHead(c, 6),
            fg_iou_thresh=0.6,
            bg_iou_thresh=0.3,
            batch_size_per_image=64,
            positive_fraction=0.5,
            pre_nms_top_n=top,
            post_nms_top_n={k: REGIONS for k in top},
            nms_thresh=0.7,
        )
        self.pool = MultiScaleRoIAlign(
            list(WITH_REGIONS), output_size=3, sampling_ratio=2, canonical_scale=64
        )  # 64 px at stride 16, as the anchors
        self.local = nn.Sequential(nn.Linear(9 * c, 4 * c), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(8 * c, num_classes)

    def forward(self, images: Tensor, boxes: Tensor | None = None, labels: Tensor | None = None):
        B = levels(self.backbone, self.indices, images)[::-1]
        sizes = [tuple(images.shape[-2:])] * len(images)
        with full_precision(images):  # boxes need more than 8 bits
            P = self.fpn(OrderedDict(zip(("4", *WITH_REGIONS), B, strict=True)))
            whole = torch.cat([p.mean((2, 3)) for p in P.values()], 1)  # N×4c
            with_regions = {stride: P[stride] for stride in WITH_REGIONS}
            if labels is not None:
                boxes = boxes_in(self, images, boxes)
            found, losses = self._propose(images, sizes, with_regions, boxes, labels is not None)
            local = self.local(self.pool(with_regions, found, sizes).flatten(1))
            logits = self.classifier(torch.cat([whole, self._mean(local, found)], 1))
            if labels is None:
                return logits
            losses.append(F.cross_entropy(logits, labels, label_smoothing=SMOOTHING))
            return sum(losses), logits

    def _propose(self, images, sizes, features, boxes, learn: bool) -> tuple[list, list]:
        """Proposals of each picture, N lists of at most REGIONS×4, and the proposals' losses."""
        targets = None
        if learn:
            most = min(REGIONS, boxes.shape[1])
            best = torch.stack([rows[rows[:, 4].topk(most).indices] for rows in boxes])
            counts = (best[..., 4] > 0).sum(1).tolist()  # the best come first
            targets = [{"boxes": r[:n, :4]} for r, n in zip(best, counts, strict=True)]
        self.rpn.train(learn)  # torchvision's asks for targets whenever it trains
        found, losses = self.rpn(ImageList(images, sizes), features, targets)
        return found, list(losses.values())

    def _mean(self, local: Tensor, found: list) -> Tensor:
        """Mean over each picture's regions, 0 where it has none: N×4c."""
        parts = local.split([len(f) for f in found])
        return torch.stack([part.sum(0) / max(1, len(part)) for part in parts])


class Proposals(RegionProposalNetwork):
    """torchvision's, with what it does picture by picture done for a batch: the host waits for a
    GPU a dozen times a step rather than seven times a picture. The same proposals and losses;
    images all of one size."""

    fg_bg_sampler: Any
    proposal_matcher: Any

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        sampler = self.fg_bg_sampler
        self.fg_bg_sampler = Sampler(sampler.batch_size_per_image, sampler.positive_fraction)
        low, high = self.proposal_matcher.low_threshold, self.proposal_matcher.high_threshold
        self.proposal_matcher = Matching(high, low, allow_low_quality_matches=True)

    def filter_proposals(self, proposals, objectness, image_shapes, num_anchors_per_level):
        N = len(proposals)
        scores = objectness.detach().reshape(N, -1)
        best = self._get_top_n_idx(scores, num_anchors_per_level)  # N×n
        scores = scores.gather(1, best).sigmoid()
        boxes = proposals.gather(1, best[..., None].expand(-1, -1, 4))
        boxes = clip_boxes_to_image(boxes, image_shapes[0])
        sides = boxes[..., 2:] - boxes[..., :2]
        scores = scores.where((sides >= self.min_size).all(2), -1.0)  # last, and never taken
        # each level of each picture on its own; in float64, as it is done by shifting the boxes
        ends = list(itertools.accumulate(num_anchors_per_level))
        level = sum((best >= end).long() for end in ends)
        group = torch.arange(N, device=best.device)[:, None] * len(ends) + level
        wide = boxes.flatten(0, 1).double(), scores.flatten().double()
        kept = batched_nms(*wide, group.flatten(), self.nms_thresh)
        there = torch.zeros_like(scores.flatten(), dtype=torch.bool).index_fill(0, kept, True)
        scores = scores.where(there.view_as(scores), -1.0)
        scores, first = scores.topk(min(self.post_nms_top_n(), scores.shape[1]), dim=1)
        boxes = boxes.gather(1, first[..., None].expand(-1, -1, 4))
        counts = (scores >= 0).sum(1).tolist()
        each = (zip(found, counts, strict=True) for found in (boxes, scores))
        return tuple([rows[:n] for rows, n in pairs] for pairs in each)


class Matching(Matcher):
    """torchvision's, with a mask in place of a list of places."""

    def set_low_quality_matches_(self, matches, all_matches, match_quality_matrix) -> None:
        best = match_quality_matrix == match_quality_matrix.amax(1, keepdim=True)
        matches.copy_(torch.where(best.any(0), all_matches, matches))


class Sampler(BalancedPositiveNegativeSampler):
    """torchvision's, with the same draws: looks for the positives and negatives of all pictures at
    once. matched_idxs: N rows of 1, 0 and −1 → N masks of the chosen positives, N of negatives."""

    def __call__(self, matched_idxs):
        labels = torch.stack(matched_idxs)
        kinds = labels >= 1, labels == 0
        counts = torch.stack([kind.sum(1) for kind in kinds]).tolist()
        places = [k.nonzero()[:, 1].split(n) for k, n in zip(kinds, counts, strict=True)]
        masks = [torch.zeros_like(labels, dtype=torch.uint8) for _ in kinds]
        for i, both in enumerate(zip(*places, strict=True)):
            first = min(len(both[0]), int(self.batch_size_per_image * self.positive_fraction))
            wanted = first, min(len(both[1]), self.batch_size_per_image - first)
            for mask, there, most in zip(masks, both, wanted, strict=True):
                chosen = torch.randperm(len(there), device=there.device)[:most]
                mask[i].index_fill_(0, there[chosen], 1)
        return tuple(list(mask) for mask in masks)
