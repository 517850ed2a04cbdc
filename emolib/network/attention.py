"""The two attention gates the paper may mean: CBAM's spatial gate and Shuffle Attention.

Both modules have the same two doors. `gate(x)` gives A, the weights of Eq. 1 and 3, computed
from x. `module(x, target)` gives A⊗target (target is x itself where none is given).
"""

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """A = σ(W7×7([AvgPool; MaxPool])), one weight a position (Eq. 1 and 3; CBAM, Woo et al. 2018).

    The pools run along the channels. x: N×C×h×w float → A: N×1×h×w. 98 parameters, no bias.
    """

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # N×2×h×w
        return self.weigh(pooled)

    def weigh(self, pooled: Tensor) -> Tensor:
        """A from the two pools: N×2×h×w → N×1×h×w."""
        return self.conv(pooled).sigmoid()

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        return self.gate(x) * (x if target is None else target)


class ShuffleAttention(nn.Module):
    """SA-Net's gate and channel shuffle (Zhang & Yang 2021, the paper's [25]).

    The channels form `groups` groups. In each, one half is weighted per channel by
    σ(w·GAP(x) + b), the other per position by σ(w·GroupNorm(x) + b); w and b are shared by all
    groups. After the product the channels are shuffled between the two halves.
    x: N×C×h×w float → gate: N×C×h×w. At initialisation the module equals σ(1)·shuffle(x).

    Raises ValueError where C is not divisible by 2·groups.
    """

    def __init__(self, channels: int, groups: int = 64):
        super().__init__()
        if channels % (2 * groups):
            raise ValueError(
                f"shuffle attention: {channels} channels are not divisible by 2 × {groups} groups"
            )
        half = channels // (2 * groups)
        self.groups = groups
        self.channel_weight = nn.Parameter(torch.zeros(half, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(half, 1, 1))
        self.norm = nn.GroupNorm(half, half)
        self.spatial_weight = nn.Parameter(torch.zeros(half, 1, 1))
        self.spatial_bias = nn.Parameter(torch.ones(half, 1, 1))

    def gate(self, x: Tensor) -> Tensor:
        N, C, h, w = x.shape
        x = x.reshape(N * self.groups, C // self.groups, h, w)
        x_channel, x_spatial = x.chunk(2, dim=1)
        channel = self.channel_weight * x_channel.mean((2, 3), keepdim=True) + self.channel_bias
        spatial = self.spatial_weight * self.norm(x_spatial) + self.spatial_bias
        gates = torch.cat([channel.expand_as(spatial), spatial], dim=1).sigmoid()
        return gates.reshape(N, C, h, w)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        gated = self.gate(x) * (x if target is None else target)
        # the channels shuffled in two groups; torch's own channel_shuffle has no form for MPS
        return gated.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
