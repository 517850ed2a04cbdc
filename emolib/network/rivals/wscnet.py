"""wscnet: Yang, She, Lai, Rosin, Yang, “Weakly supervised coupled networks for visual sentiment
analysis”, CVPR 2018 (Table 1's and §2.1's “Yang et al.”; no number in the paper).

Known, from the authors' code (sherleens/WSCNet): ResNet-101; a 1×1 convolution to k = 4 maps a
class, their mean per class, and its global average as detection logits; the class maps weighted by
those raw logits, averaged over the classes, couple as one sentiment map into the classification:
[F, map·F], 4096 channels, pooled → one linear layer. Loss ½ CE(detection) + ½ CE(classification);
the classification predicts. 448 px, SGD 1e-4, no weight decay, batch 10, 25 epochs, ÷10 every 7,
random resized crop (`spec.systems`).
Left behind: the code's own pooling, whose gradient is k times too large and which current torch
refuses; the mean here has its true gradient.
Chosen: any backbone by `backbone=`; 4096 is then twice its channels. A fresh detection branch is
scaled to maps of variance 1 on the first batch, as our own network's reductions are, whatever the
start: the raw product is quadratic in the features and can overflow otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, Conv1x1, channels, feature_map, standardise
from ..precision import full_precision


class WSCNet(nn.Module):
    takes = "whole"
    own_loss = True

    def __init__(self, backbone: Backbone, num_classes: int = 2, maps: int = 4):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.num_classes, self.maps = num_classes, maps
        self.detect = Conv1x1(channels(backbone), num_classes * maps)
        self.classifier = nn.Linear(2 * channels(backbone), num_classes)

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """The k maps of each class get mean 0 and variance 1 on `images`, in a fresh branch."""
        standardise(self.detect, self.detect(feature_map(self.backbone, images)))

    def forward(self, images: Tensor, labels: Tensor | None = None):
        features = feature_map(self.backbone, images)
        with full_precision(images):
            class_maps = self.detect(features).unflatten(1, (self.num_classes, self.maps)).mean(2)
            detected = class_maps.mean((2, 3))  # N×classes
            sentiment = (class_maps * detected[:, :, None, None]).mean(1, keepdim=True)  # N×1×h×w
            coupled = torch.cat([features.mean((2, 3)), (sentiment * features).mean((2, 3))], 1)
            logits = self.classifier(coupled)
            if labels is None:
                return logits
            losses = F.cross_entropy(detected, labels), F.cross_entropy(logits, labels)
            return 0.5 * losses[0] + 0.5 * losses[1], logits
