"""The head's equations with every linear step moved to where it is cheap.

Conv1x1, up-sampling, concatenation, scaling by ψ and global average pooling are linear, and O4
enters D only through ECA's channel means and one weighted channel sum. So C4, O4, F and E, the
512- and 2048-channel maps at stride 4, are never built. Written with

    B_i, W_i, b_i   a level and its 1×1 reduction, C_i = W_i B_i + b_i
    U               the gated map at stride 8, A3⊗C3 or A3⊗O3 (`MAI.interact`)
    R, Rᵀ           up-sampling to the next level and its adjoint

In the default reading C3, O3 and U, 512 channels at stride 8, are not built either: U = A3⊗C3 is
Q V, where V are the few maps A3⊗[B3; 1] and Q = [W3 | b3]; of O3 Eq. 3 needs only the channels'
mean, which folds like D, and their maximum, which `LargestProduct` finds.

Everything here is exact: the same values and gradients as the printed equations, to rounding.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.layers import EcaModule
from torch import Tensor

from .attention import SpatialAttention
from .backbones import Conv1x1
from .resample import adjoint, taps, up

CHANNELS = 64


def gated_map(
    attention: Sequence[SpatialAttention], B: list[Tensor], reductions: Sequence[Conv1x1]
) -> tuple[Tensor, Tensor]:
    """U = A3⊗C3 of spatial attention and Eq. 4 as printed, as (V, Q): U_c = Σ_i Q_ci V_i.

    V: N×(c3+1)×h×w, Q: 512×(c3+1).
    """
    G = attention[0](reductions[0](B[0]))  # A1⊗C1
    A2 = attention[1].weigh(pools_of_product(G, B[1], reductions[1]))  # from O2, Eq. 2, 3
    G = A2 * reductions[1](B[1])  # A2⊗C2
    A3 = attention[2].weigh(pools_of_product(G, B[2], reductions[2]))
    return torch.cat([A3 * B[2], A3], dim=1), _with_bias(reductions[2])


def pools_of_product(G: Tensor, B: Tensor, reduction: Conv1x1) -> Tensor:
    """[AvgPool; MaxPool] along the channels of O = R(G)⊗C: N×512×h×w, … → N×2×H×W."""
    width = reduction.out_channels
    mean = weighted_sum(G, B, reduction, G.new_full((1, width), 1 / width))
    return torch.cat([mean, LargestProduct.apply(G, B, reduction.weight, reduction.bias)], dim=1)


class LargestProduct(torch.autograd.Function):
    """max_c R(G)_c·C_c, N×1×H×W, for C = W B + b, a few channels at a time.

    The gradient reaches one channel a position, the largest (of equal ones the first), so that
    backward keeps four maps and touches nothing of 512 channels at this level.
    """

    @staticmethod
    def forward(ctx, G: Tensor, B: Tensor, W: Tensor, b: Tensor) -> Tensor:
        def largest(start: int) -> tuple[Tensor, Tensor]:
            part = slice(start, start + CHANNELS)
            product = up(G[:, part], B).mul_(F.conv2d(B, W[part], b[part]))
            return product.max(1, keepdim=True)

        best, at = largest(0)
        for start in range(CHANNELS, len(W), CHANNELS):
            other, where = largest(start)
            at = torch.where(other > best, where + start, at)
            best = torch.maximum(other, best)
        ctx.save_for_backward(G, B, W, b, at)
        return best

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        G, B, W, b, at = ctx.saved_tensors
        (N, width, h, w), (H, _) = G.shape, B.shape[-2:]
        W, B = W[:, :, 0, 0], B.permute(0, 2, 3, 1)  # 512×c, N×H×W×c
        at, grad = at[:, 0], grad[:, 0]  # N×H×W
        flat = at.flatten()
        W_at = F.embedding(at, W)  # N×H×W×c
        # each position reads four of G's: two rows and two columns, with the weights of R
        values = G.permute(0, 2, 3, 1).reshape(-1)
        picture = torch.arange(N, device=G.device)[:, None, None]
        reads = [
            (((picture * h + y[:, None]) * w + x) * width + at, wy[:, None] * wx)
            for y, wy in zip(*taps(h, H, G), strict=True)
            for x, wx in zip(*taps(w, B.shape[2], G), strict=True)
        ]
        to_C = grad * sum(values[place] * weight for place, weight in reads)
        to_R = grad * ((W_at * B).sum(3) + b[at])
        to_G = torch.zeros_like(values)
        for place, weight in reads:
            to_G.index_add_(0, place.flatten(), (to_R * weight).flatten())
        to_W = torch.zeros_like(W).index_add_(0, flat, (B * to_C[..., None]).flatten(0, 2))
        to_b = torch.zeros_like(b).index_add_(0, flat, to_C.flatten())
        to_B = (W_at * to_C[..., None]).permute(0, 3, 1, 2) if ctx.needs_input_grad[1] else None
        return (
            to_G.view(N, h, w, width).permute(0, 3, 1, 2),
            to_B,
            to_W[..., None, None],
            to_b,
        )


def pooled_O4(U: Tensor, B4: Tensor, reduction: Conv1x1, Q: Tensor | None = None) -> Tensor:
    """GAP(O4) for O4 = R(U)⊗C4, N×512: Σ_y U_c(y)·(W·RᵀB4 + b·Rᵀ1)_c(y) / HW."""
    H, W = B4.shape[-2:]
    T = adjoint(B4, U)  # N×c×h×w
    ones = adjoint(B4.new_ones(1, 1, H, W), U)  # 1×1×h×w
    T = torch.cat([T, ones.expand(T.shape[0], -1, -1, -1)], dim=1).flatten(2)  # N×(c+1)×hw
    products = U.flatten(2) @ T.mT  # N×512×(c+1)
    products = products if Q is None else Q @ products
    return (products * _with_bias(reduction)).sum(2) / (H * W)


def eca_gate(eca: EcaModule, pooled: Tensor) -> Tensor:
    """The channel weights of timm's EcaModule from pooled features: N×C → N×C."""
    return eca.gate(eca.conv(pooled[:, None]))[:, 0]


def region_map(U: Tensor, B4: Tensor, reduction: Conv1x1, mai, Q: Tensor | None = None) -> Tensor:
    """D of Eq. 5, N×1×H×W. mai: the module `MAI`."""
    gate = eca_gate(mai.eca, pooled_O4(U, B4, reduction, Q))
    k = mai.conv.weight.flatten() * gate  # N×512
    return (weighted_sum(U, B4, reduction, k, Q) + mai.conv.bias).sigmoid()


def weighted_sum(
    U: Tensor, B: Tensor, reduction: Conv1x1, k: Tensor, Q: Tensor | None = None
) -> Tensor:
    """Σ_c k_c O_c for O = R(U)⊗C, N×1×H×W, k: N×512: up-samples one map a channel of B (and one)
    in place of 512.

    Σ_c k_c O_c = Σ_j B_j·R(Σ_c k_c W_cj U_c) + R(Σ_c k_c b_c U_c).
    """
    mixing = k[:, :, None] * _with_bias(reduction)  # N×512×(c+1)
    mixing = mixing if Q is None else Q.mT @ mixing
    maps = U.flatten(2).mT @ mixing  # N×hw×(c+1): U's own layout, channels last
    maps = up(maps.mT.unflatten(2, U.shape[-2:]), B)
    return (B * maps[:, :-1]).sum(1, keepdim=True) + maps[:, -1:]


def pooled_features(
    B: list[Tensor], reductions: Sequence[Conv1x1], weight: Tensor | None, psi: Callable | None
) -> Tensor:
    """GAP of (weight⊗F), N×2048, F of Eq. 7–8. weight: N×1×H/4×W/4, or None for 1.

    v_i = ψ_i·(W_i Σ_x B_i·g_i + b_i Σ_x g_i) with g_i = R_iᵀ(weight / HW). psi: makes ψ, N×4,
    from Z, N×2048 (Eq. 6), or None for ψ = 1. Z is the same sum with g_i = 1 / h_i w_i, so that
    each level is read once for both.
    """
    B4 = B[-1]
    H, W = B4.shape[-2:]
    weight = B4.new_ones(1, 1, H, W) if weight is None else weight
    weight = weight / (H * W)
    v, Z = [], []
    for b, reduction in zip(B, reductions, strict=True):
        g = (weight if b is B4 else adjoint(weight, b)).expand(b.shape[0], -1, -1, -1)
        mean = torch.full_like(g, 1 / (g.shape[2] * g.shape[3]))
        g = torch.cat([g, mean], dim=1).flatten(2)  # N×2×hw
        sums = (g @ b.flatten(2).mT) @ reduction.weight.flatten(1).mT  # N×2×512
        sums = sums + g.sum(2, keepdim=True) * reduction.bias
        v.append(sums[:, 0])
        Z.append(sums[:, 1])
    levels = torch.stack(v, dim=1)  # N×4×512
    levels = levels if psi is None else levels * psi(torch.cat(Z, dim=1))[:, :, None]
    return levels.flatten(1)


def _with_bias(reduction: Conv1x1) -> Tensor:
    """512×(c+1): the reduction's weight and its bias as one more column."""
    return torch.cat([reduction.weight.flatten(1), reduction.bias[:, None]], dim=1)
