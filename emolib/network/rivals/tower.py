"""clip_finetune: what a user would pick today. A CLIP image tower (Radford et al. 2021), timm's
`vit_base_patch16_clip_224.openai` or any timm model by `backbone=`, with a linear classifier,
trained as a whole.

Recipe (`spec.systems`), after SimEmotion (Deng et al. 2022, dsn0w/SimEmotion): AdamW, 1e-6 on
the tower, 1e-3 on the head, weight decay 1e-5, 25 epochs, the rate halved every 6 there (÷10 every
third here). Its text branch, which is built from the label itself, is left out.
"""

from torch import Tensor, nn

from ..backbones import Backbone, pooled, width
from ..precision import full_precision


class Tower(nn.Module):
    """A backbone and one linear layer."""

    takes = "whole"

    def __init__(self, backbone: Backbone, num_classes: int = 2):
        super().__init__()
        self.backbone, self.pretrained_cfg = backbone, backbone.pretrained_cfg
        self.classifier = nn.Linear(width(backbone), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = pooled(self.backbone, images)
        with full_precision(images):
            return self.classifier(features)
