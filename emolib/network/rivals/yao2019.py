"""yao2019: Yao, She, Zhao, Liang, Lai, Yang, “Attention-aware polarity sensitive embedding for
affective image retrieval”, ICCV 2019 (Table 1's “Yao et al. [17]”; no number in the paper).

Known, from the authors' code (Xingxu1996/AIR_iccv2019): ResNet-50; polarity attention on its level
at stride 8, emotion attention on that at stride 32: features weighted by their own channel sum,
1×1 convolution to class maps, their ReLU'd and scaled sum weighted by the pooled softmax as
attention; both levels to 512×49, cross-level bilinear product, signed root, 512 numbers, unit
length. Loss ½ classification of the emotion maps + ½ emotion-pair loss: a softmax inside the
polarity (intra) and between the mean likeness to other emotions of the same and of the other
polarity (inter), opposite ones weighted by how probable each finds the other's polarity. The rate
is not in the code. This is the loss of their first trainer (mtrainer.py). Their second trainer
(mtrainer28.py) adds ½ classification of the polarity maps by polarity. It reads that label before
it has one, so it cannot run as published. We follow the first.
Chosen: class maps for the classes that are predicted, so that emotions enter by the pair loss alone
(off where a set has only polarity) and weigh no pair by their own probability; all pairs of a batch
in place of two of each emotion; no penalty on the embedding's length, which is 1; a quarter of the
highest level's channels, at most 512; 4×4 to 7×7 positions; attention with its gradient; a linear
classifier on the 512 numbers predicts, and its cross-entropy is added to the two halves.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, four_levels, levels
from ..precision import full_precision
from ..resample import average
from .parts import block

LENGTH = 512  # of the embedding


class Attention(nn.Module):
    """Features N×c×h×w → the same, attended, and the pooled class maps, N×classes."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(channels, num_classes, 1), nn.BatchNorm2d(num_classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        own = x.sum(1, keepdim=True)
        own = own / own.abs().sum((2, 3), keepdim=True).clamp(min=1e-6)
        x = x * own * own[0, 0].numel()  # on average 1, whatever the map's size
        maps = self.maps(x)
        logits = maps.mean((2, 3))
        shown = maps.relu()
        low, high = shown.amin((2, 3), keepdim=True), shown.amax((2, 3), keepdim=True)
        # a positive map that is alike everywhere, as one of 1×1 is, shows everything
        scaled = (shown - low) / (high - low).clamp(min=1e-6)
        shown = torch.where((high > low) | (high <= 0), scaled, 1.0)
        return x * (logits.softmax(1)[:, :, None, None] * shown).sum(1, keepdim=True), logits


class Yao2019(nn.Module):
    takes = "levels"
    own_loss = True
    uses_emotions = True

    def __init__(self, backbone: Backbone, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.indices, channels = four_levels(backbone)
        c = min(512, channels[0] // 4)
        self.polarity = Attention(channels[2], num_classes)  # stride 8
        self.emotion = Attention(channels[0], num_classes)  # stride 32
        self.low, self.high = block(channels[2], c), block(channels[0], c)
        self.embed = nn.Linear(c * c, LENGTH)
        self.classifier = nn.Linear(LENGTH, num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None, emotions: Tensor | None = None):
        B = levels(self.backbone, self.indices, images)
        size = min(7, max(B[0].shape[-1], 4))
        with full_precision(images):
            low, polarity = self.polarity(B[2])
            high, maps = self.emotion(B[0])
            X = average(self.low(low), (size, size)).flatten(2)
            Y = average(self.high(high), (size, size)).flatten(2)
            Z = (X @ Y.transpose(1, 2) / size**2).flatten(1)
            embedding = self.embed(Z.sign() * (Z.abs() + 1e-5).sqrt())
            logits = self.classifier(embedding)
            if labels is None:
                return logits
            loss = F.cross_entropy(logits, labels) + 0.5 * F.cross_entropy(maps, labels)
            if emotions is not None:
                unit = F.normalize(embedding, dim=1)
                loss = loss + 0.5 * pair_loss(unit, labels, emotions, polarity.softmax(1))
            return loss, logits


def pair_loss(unit: Tensor, labels: Tensor, emotions: Tensor, polarity: Tensor) -> Tensor:
    """½ intra-polarity + ½ inter-polarity emotion-pair loss over all pairs of a batch.

    unit: N×d; labels, emotions: N ints, an emotion of −1 is unknown and its picture left out;
    polarity: N×C probabilities. 0 where no picture has another of its emotion (of its polarity).
    """
    known = emotions >= 0
    pairs = known[:, None] & known  # products rather than masks, whose size the host would wait for
    other = pairs & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same_polarity = (labels[:, None] == labels) & other
    same_emotion = (emotions[:, None] == emotions) & same_polarity
    opposite = (labels[:, None] != labels) & pairs
    towards = polarity[:, labels]  # [i, j]: how probable picture i makes the polarity of j
    s = unit @ unit.T
    s = torch.where(opposite, s * towards.exp() * towards.T.exp(), s)
    log_p = s - s.masked_fill(~same_polarity, -1e9).logsumexp(1, keepdim=True)
    intra = _mean(-_mean(log_p, same_emotion), same_emotion.any(1))
    cousins = same_polarity & ~same_emotion
    inter = F.softplus(_mean(s, opposite) - _mean(s, cousins))
    return 0.5 * (intra + _mean(inter, opposite.any(1) & cousins.any(1)))


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Along the last dimension, over the places where `where` is true; 0 where there is none."""
    return (values * where).sum(-1) / where.sum(-1).clamp(min=1)
