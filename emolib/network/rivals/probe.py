"""frozen_probe, clip_probe: the cheapest honest yardstick. A frozen backbone and a logistic
regression on its pooled features.

frozen_probe: the study's backbone, with ImageNet weights or, where the chain has a training on
another set, with those of the same timm model fine-tuned there. clip_probe: timm's CLIP image tower
`vit_base_patch16_clip_224.openai` or any by `backbone=`, as it was published.
Chosen: features of the centre crop, standardised on the training pictures; scikit-learn's
L2 penalty, C = 0.01, never tuned; a training list of one class predicts that class.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ...data.batches import centre, normalise
from ..backbones import Backbone, pooled, width

CERTAIN = 30.0  # the logit of the only class there is
SEEN_AT_ONCE = 64  # pictures through the network


def fit_logistic(features: np.ndarray, labels, C: float) -> tuple[np.ndarray, float]:
    """Weights (d) and intercept of a logistic regression on standardised features, for the
    features as they are; for one class only, a constant."""
    labels = np.asarray(labels)
    if len(set(labels.tolist())) < 2:
        return np.zeros(features.shape[1]), CERTAIN if labels[0] == 1 else -CERTAIN
    scale, model = StandardScaler(), LogisticRegression(C=C, max_iter=2000)
    make_pipeline(scale, model).fit(features, labels)
    weights = model.coef_[0] / scale.scale_
    return weights, float(model.intercept_[0] - weights @ scale.mean_)


def both_classes(z: np.ndarray) -> np.ndarray:
    """n×2: the probabilities of "negative" and "positive" from n logits of "positive"."""
    p = 1 / (1 + np.exp(-z))
    return np.stack([1 - p, p], 1)


class Probe(nn.Module):
    takes = "whole"
    weights: Tensor
    intercept: Tensor

    def __init__(self, backbone: Backbone, num_classes: int = 2, image_size: int = 224):
        super().__init__()
        if num_classes != 2:
            raise ValueError(f"num_classes={num_classes}: a probe knows two")
        self.pretrained_cfg, self.image_size = backbone.pretrained_cfg, image_size
        self.backbone = backbone.requires_grad_(False).eval()
        self.register_buffer("weights", torch.zeros(width(backbone)))
        self.register_buffer("intercept", torch.zeros(()))

    def train(self, mode: bool = True):
        return super().train(False)  # frozen

    def start_from(self, state: dict) -> None:
        """`state`: a probe's own tensors, or those of the whole timm model it is to freeze."""
        if any(name.startswith("backbone.") for name in state):
            self.load_state_dict(state)
        else:
            own = self.backbone.state_dict()
            self.backbone.load_state_dict({name: state[name] for name in own})

    def forward(self, images: Tensor) -> Tensor:
        """Logits N×2: 0 and the regression's."""
        z = pooled(self.backbone, images) @ self.weights + self.intercept
        return torch.stack([torch.zeros_like(z), z], 1)

    @torch.inference_mode()
    def features(self, paths) -> np.ndarray:
        """n×d float64, of each picture's centre crop."""
        device, found = self.weights.device, []
        for start in range(0, len(paths), SEEN_AT_ONCE):
            views = [centre(path, self.image_size) for path in paths[start:][:SEEN_AT_ONCE]]
            images = normalise(torch.stack(views), self.pretrained_cfg, device)
            found.append(pooled(self.backbone, images).cpu().double())
        return torch.cat(found).numpy()

    def fit(self, paths, labels) -> "Probe":
        """labels: 1 positive, 0 negative."""
        weights, intercept = fit_logistic(self.features(paths), labels, C=0.01)
        self.weights.copy_(torch.from_numpy(weights))
        self.intercept.fill_(intercept)
        return self

    def predict_proba(self, paths) -> np.ndarray:
        """n×2: the probabilities of "negative" and "positive"."""
        weights = self.weights.cpu().double().numpy()
        return both_classes(self.features(paths) @ weights + self.intercept.item())
