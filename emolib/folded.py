"""The head's equations with every linear step moved to where it is cheap.

Reduction, up-sampling, concatenation, scaling by ψ and global average pooling are linear, and O4
enters D only through ECA's channel means and one weighted channel sum. So C4, O4, F and E, the
512- and 2048-channel maps at stride 4, are never built. Written with

    B_i, W_i, b_i   a level and its 1×1 reduction, C_i = W_i B_i + b_i
    U               the gated map at stride 8, A3⊗C3 or A3⊗O3 (`MAI.interact`)
    R, Rᵀ           up-sampling to stride 4 and its adjoint

Everything here is exact: the same values and gradients as the printed equations, to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resample import adjoint, up


def pooled_O4(U: Tensor, B4: Tensor, reduction: nn.Conv2d) -> Tensor:
    """GAP(O4) for O4 = R(U)⊗C4, N×512: Σ_y U_c(y)·(W·RᵀB4 + b·Rᵀ1)_c(y) / HW."""
    H, W = B4.shape[-2:]
    T = adjoint(B4, U)  # N×c×h×w
    ones = adjoint(B4.new_ones(1, 1, H, W), U)  # 1×1×h×w
    T = torch.cat([T, ones.expand(len(T), -1, -1, -1)], dim=1).flatten(2)  # N×(c+1)×hw
    products = U.flatten(2) @ T.mT  # N×512×(c+1)
    return (products * _with_bias(reduction)).sum(2) / (H * W)


def eca_gate(eca: nn.Module, pooled: Tensor) -> Tensor:
    """The channel weights of timm's EcaModule from pooled features: N×C → N×C."""
    return eca.gate(eca.conv(pooled[:, None]))[:, 0]


def regions(U: Tensor, B4: Tensor, reduction: nn.Conv2d, eca: nn.Module, conv: nn.Conv2d) -> Tensor:
    """D of Eq. 5, N×1×H×W: up-samples one map a channel of B4 (and one) in place of 512.

    With k = conv·eca per picture, Σ_c k_c O4_c = Σ_j B4_j·R(Σ_c k_c W_cj U_c) + R(Σ_c k_c b_c U_c).
    """
    k = conv.weight.flatten() * eca_gate(eca, pooled_O4(U, B4, reduction))  # N×512
    mixing = (k[:, :, None] * _with_bias(reduction)).mT  # N×(c+1)×512
    maps = (mixing @ U.flatten(2)).unflatten(2, U.shape[-2:])  # N×(c+1)×h×w
    maps = up(maps, B4)
    logit = (B4 * maps[:, :-1]).sum(1, keepdim=True) + maps[:, -1:]
    return (logit + conv.bias).sigmoid()


def pooled_levels(B: list[Tensor], reductions: nn.ModuleList) -> Tensor:
    """Z of Eq. 6, N×2048: the pools of C1..C4 from those of B1..B4."""
    return torch.cat(
        [
            F.linear(b.mean((2, 3)), W.weight.flatten(1), W.bias)
            for b, W in zip(B, reductions, strict=True)
        ],
        dim=1,
    )


def pooled_features(
    B: list[Tensor], reductions: nn.ModuleList, weight: Tensor | None, psi: Tensor | None
) -> Tensor:
    """GAP of (weight⊗F), N×2048, F of Eq. 7–8. weight: N×1×H/4×W/4 or None for 1; psi: N×4 or None.

    v_i = ψ_i·(W_i Σ_x B_i·g_i + b_i Σ_x g_i) with g_i = R_iᵀ(weight / HW).
    """
    B4 = B[-1]
    H, W = B4.shape[-2:]
    weight = B4.new_ones(1, 1, H, W) if weight is None else weight
    weight = weight / (H * W)
    vectors = []
    for i, (b, reduction) in enumerate(zip(B, reductions, strict=True)):
        g = weight if b is B4 else adjoint(weight, b)
        sums = (b * g).sum((2, 3))  # N×c_i
        v = F.linear(sums, reduction.weight.flatten(1)) + reduction.bias * g.sum((2, 3))
        vectors.append(v if psi is None else v * psi[:, i : i + 1])
    return torch.cat(vectors, dim=1)


def _with_bias(reduction: nn.Conv2d) -> Tensor:
    """512×(c+1): the reduction's weight and its bias as one more column."""
    return torch.cat([reduction.weight.flatten(1), reduction.bias[:, None]], dim=1)
