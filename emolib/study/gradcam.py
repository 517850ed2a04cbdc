"""Grad-CAM (Selvaraju et al., ICCV 2017): where a plain backbone's answer comes from, by its last
feature map. D's rival: it costs nothing and needs no head of its own."""

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
        found = model.forward_features(images)
    if found.dim() != 4:
        name = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
        raise ValueError(
            f"Grad-CAM of {name!r}: it has no last feature map; take a convolutional backbone"
        )
    with torch.enable_grad():
        found.requires_grad_()
        best = model.forward_head(found).amax(1).sum()
        (gradient,) = torch.autograd.grad(best, found)
    maps, weights = (
        channels_first(model, found.detach()),
        channels_first(model, gradient).mean((2, 3), keepdim=True),
    )
    return (weights * maps).sum(1).relu()
