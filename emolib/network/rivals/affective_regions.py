"""ar: Yang, She, Sun, Cheng, Rosin, Wang, “Visual sentiment prediction based on automatic discovery
of affective regions”, IEEE TMM 2018 (Table 9's “AR [13]”).

Known, from the authors' code (sherleens/AR_discovery): one VGG-16, fine-tuned on whole pictures
alone, scores boxes too. Up to 2,000 boxes of Alexe's objectness, none slimmer than 1:6, under 28
or over 500 px; m = 20 clusters by normalised cut, one box of each. Sentiment score 1 + Σ p·ln p; it
and objectness scaled to 0…1 over the picture's boxes; AR score = (1−α)·sentiment + α·objectness,
α = 0.6; the K = 8 best. Prediction (1−β)·whole + β·their mean, β = 0.3. SGD 1e-4, last layer ×10.
Chosen: EdgeBoxes for the objectness tool, which is Matlab; boxes from an eighth of the short side
on; they are seen at about half the side and without a margin, which makes 20 of them cost five
pictures; the best of a cluster rather than its first; one crop in place of ten. For more than two
classes the score is 1 + Σ p·ln p / ln(classes) · ln 2. A picture without boxes: the whole alone.
A replay of the released test outputs gave 88.53% for the whole picture alone, 88.56% for AR.
"""

import math

import torch
from torch import Tensor

from .parts import boxes_in, crops
from .tower import Tower

ALPHA, BETA, BEST = 0.6, 0.3, 8
BOXES_AT_ONCE = 256  # crops through the network, for its memory


class AffectiveRegions(Tower):
    finder = "objects"

    def forward(self, images: Tensor, boxes: Tensor | None = None) -> Tensor:
        """In training the whole picture alone, as in the authors' code."""
        logits_of = super().forward
        logits = logits_of(images)
        if self.training:
            return logits
        boxes = boxes_in(self, images, boxes)
        half = [max(32, s // 2 // 32 * 32) for s in images.shape[-2:]]
        parts = crops(images, boxes, half).split(BOXES_AT_ONCE)
        of_boxes = torch.cat([logits_of(part) for part in parts])
        return fuse(logits, of_boxes.unflatten(0, boxes.shape[:2]), boxes[..., 4])


def fuse(whole: Tensor, of_boxes: Tensor, objectness: Tensor) -> Tensor:
    """Logits of the fused prediction. whole: N×C; of_boxes: N×K×C; objectness: N×K, 0 for none."""
    there = objectness > 0
    p = of_boxes.softmax(-1)
    entropy = -(p * p.clamp(min=1e-12).log()).sum(-1) / math.log(p.shape[-1]) * math.log(2)
    score = (1 - ALPHA) * _scaled(1 - entropy, there) + ALPHA * _scaled(objectness, there)
    best = score.masked_fill(~there, -1).topk(min(BEST, score.shape[1]), dim=1).indices
    chosen = torch.zeros_like(there).scatter(1, best, True) & there
    count = chosen.sum(1, keepdim=True)
    regions = (p * chosen[..., None]).sum(1) / count.clamp(min=1)
    share = BETA * (count > 0)
    return ((1 - share) * whole.softmax(-1) + share * regions).clamp(min=1e-12).log()


def _scaled(score: Tensor, there: Tensor) -> Tensor:
    """To 0…1 over the boxes that are there; 0 where they are all alike."""
    low = score.masked_fill(~there, math.inf).amin(1, keepdim=True)
    high = score.masked_fill(~there, -math.inf).amax(1, keepdim=True)
    scaled = (score - low) / (high - low).clamp(min=1e-12)
    return torch.where(there & (high > low), scaled, 0.0)
