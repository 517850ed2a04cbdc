"""Parts of a network that compute in 32 bits whatever autocast says."""

import contextlib
import copy

import torch
from torch import Tensor, nn


def full_precision(images: Tensor):
    """Under autocast the backbone alone runs in 16 bits; what is inside this block does not."""
    kind = images.device.type
    if not torch.amp.is_autocast_available(kind):  # "meta" has none
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)


def in_float32(module: nn.Module) -> nn.Module:
    """The same module with its numbers in float32, as long as the result is held. `module` itself
    stays as it is, because two threads may use it at once."""
    wide = copy.copy(module)
    wide._parameters = {
        name: p if p is None else p.float()  # type: ignore[misc]
        for name, p in module._parameters.items()
    }
    wide._modules = {name: m if m is None else in_float32(m) for name, m in module._modules.items()}
    return wide
