"""Grad-CAM (Selvaraju et al., ICCV 2017): where a plain backbone's answer comes from.

It reads that from the last feature map, costs nothing and needs no head: D's rival.
"""

import torch
from torch import Tensor, nn

from ..network.backbones import channels_first


def grad_cam(model: nn.Module, images: Tensor) -> Tensor:
    """Images N×3×H×W → N×h×w, at least 0, of the class that each is predicted to be.

    The last map's channels, each weighted by the mean over positions of the gradient of that
    class's logit (their Eq. 1), summed and cut at 0 (Eq. 2). All 0 where nothing speaks for it.

    model: a timm model used whole, in eval mode. Raises ValueError where its last features are no
    map, such as a ViT's.
    """
    with torch.no_grad():
        found = model.forward_features(images)  # type: ignore[operator]
    if found.dim() != 4:
        name = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
        wrong = "it has no last feature map; take a convolutional backbone"
        raise ValueError(f"Grad-CAM of {name!r}: {wrong}")
    with torch.enable_grad():
        found.requires_grad_()
        best = model.forward_head(found).amax(1).sum()  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(best, found)
    weights = channels_first(model, gradient).mean((2, 3), keepdim=True)
    return (weights * channels_first(model, found.detach())).sum(1).relu()
