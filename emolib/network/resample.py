"""Bilinear up-sampling as the linear map it is: R (up) and its adjoint Rᵀ (adjoint)."""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def up(x: Tensor, like: Tensor) -> Tensor:
    """The paper's up(): bilinear, align_corners=False, to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def adjoint(x: Tensor, like: Tensor) -> Tensor:
    """Rᵀx, where R up-samples from the size of `like` to the size of x: ⟨Rᵀx, y⟩ = ⟨x, Ry⟩.

    x: …×H×W → …×h×w, by one small matrix a side.
    """
    rows = _matrix(like.shape[-2], x.shape[-2], x.dtype, x.device)
    columns = _matrix(like.shape[-1], x.shape[-1], x.dtype, x.device)
    return rows @ x @ columns.mT


def average(x: Tensor, size: Sequence[int]) -> Tensor:
    """`F.adaptive_avg_pool2d`: …×H×W → …×h×w. On a GPU torch's gradient of it differs from time to
    time. So there it is a plain pooling where the sides divide, else one small matrix a side."""
    (H, W), (h, w) = x.shape[-2:], size
    if x.is_cpu:
        return F.adaptive_avg_pool2d(x, (h, w))
    if H % h == 0 and W % w == 0:
        return F.avg_pool2d(x, (H // h, W // w))
    return _shares(h, H, x) @ x @ _shares(w, W, x).mT


def _shares(small: int, large: int, like: Tensor) -> Tensor:
    """small×large: row i has 1/n at the n inputs, ⌊i·large/small⌋ to ⌈(i+1)·large/small⌉, that
    output i of a 1-D adaptive pooling is the mean of."""
    i = torch.arange(small, device=like.device)[:, None]
    inputs = torch.arange(large, device=like.device)
    inside = (inputs >= i * large // small) & (inputs < ((i + 1) * large + small - 1) // small)
    inside = inside.to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def taps(small: int, large: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The one or two inputs that each output of a 1-D up-sampling reads, and their weights.

    Both k×large on the device of `like`, k = min(2, small): int64, and the dtype of `like`.
    """
    weights, index = _matrix(small, large, like.dtype, like.device).topk(min(2, small), dim=0)
    return index, weights


def _matrix(small: int, large: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """small×large: column j holds the weights of the inputs in output j of a 1-D up-sampling."""
    # sizes may be symbols in a compiler, which no cache can keep
    make = _made if torch.compiler.is_compiling() else _kept
    return make(small, large, dtype, device)


def _made(small: int, large: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    unit = torch.eye(small, dtype=dtype, device=device)[None]
    return F.interpolate(unit, size=large, mode="linear", align_corners=False)[0]


@functools.lru_cache(maxsize=64)
def _kept(small: int, large: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return _made(small, large, dtype, device)
