"""MAI and AFA for networks of one's own: any two or more feature maps, of any channels.

`maiafa` has the equations; here each brings the 1×1 reductions of §3.3. The maps come as
backbones give them, the largest first (timm's `features_only`, an FPN), and their sizes may be odd
and not square. What comes out has the block's own dtype, also under autocast: the products of
Eq. 2–4 need float32. The parameters' names are those of `MaiAfa`, so that a trained run's fit:
`block.load_state_dict(net.state_dict(), strict=False)`.

    backbone = timm.create_model("resnet50", features_only=True, out_indices=(1, 2, 3, 4))
    regions = emolib.MAI(backbone.feature_info.channels())
    regions.calibrate(backbone(images))  # once, before a training
    D = regions(backbone(images))
"""

import numbers
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..spec.run_spec import Readings
from . import maiafa
from .backbones import Conv1x1, standardise
from .precision import full_precision


class _Block(nn.Module):
    """The reductions, the highest level's first."""

    reductions: Sequence[Conv1x1]  # an nn.ModuleList

    def __init__(self, channels: Sequence[int], width: int, readings: Readings):
        super().__init__()
        maiafa.check_settings(width, readings)
        given = list(channels) if isinstance(channels, Iterable) else [channels]
        whole = all(isinstance(c, numbers.Integral) and c > 0 for c in given)
        if len(given) < 2 or not whole:
            raise ValueError(
                f"channels={channels!r}: the channels of two feature maps or more, each a whole "
                "number above 0"
            )
        self.channels = [int(c) for c in given]
        reductions = nn.ModuleList(Conv1x1(c, width) for c in reversed(self.channels))
        self.reductions = reductions  # type: ignore[assignment]

    @torch.no_grad()
    def calibrate(self, maps: Sequence[Tensor]) -> None:
        """Sets a fresh block's scale on the maps of a first batch, as `MaiAfa.calibrate` does: the
        products of Eq. 2–4 need levels of about variance 1."""
        with full_precision(self.reductions[0].weight):
            for reduce, c in zip(self.reductions, self._reduced(maps), strict=True):
                standardise(reduce, c)

    def _reduced(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C1, C2 and so on, in the block's own dtype."""
        pairs = zip(self.reductions, self._checked(maps), strict=True)
        return [reduce(b.to(reduce.weight.dtype)) for reduce, b in pairs]

    def _checked(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The highest level first; ValueError where they are not the maps of `channels`."""
        wrong = "" if isinstance(maps, (list, tuple)) else f"a {type(maps).__name__}"
        shapes = [] if wrong else [tuple(getattr(b, "shape", ())) for b in maps]
        if not wrong and [len(s) == 4 and s[1] for s in shapes] != self.channels:
            wrong = f"maps of shapes {shapes}"
        if wrong and [len(s) == 4 and s[3] for s in shapes] == self.channels:
            wrong += ", whose channels come last (b.permute(0, 3, 1, 2) puts them first)"
        if wrong:
            raise ValueError(
                f"{wrong}: the block takes a list of {len(self.channels)} maps N×c×h×w with "
                f"{self.channels} channels"
            )
        if not torch.compiler.is_compiling():
            sides = [s[2:] for s in shapes]
            if any(h < above[0] or w < above[1] for (h, w), above in pairwise(sides)):
                raise ValueError(f"maps of {sides} positions: the block takes the largest first")
        return list(maps)[::-1]


class MAI(_Block):
    """Multilayer attentional interaction, Eq. 1–5.

    maps: list of N×c_i×h_i×w_i float, the largest first → D, N×1×h×w in (0, 1), of the largest
    map's size. channels: their c_i; width: what each is reduced to; readings: `attention` and
    `gate` apply ("shuffle" needs a width divisible by 128).

    Raises ValueError for fewer than two channels, and for maps of another number, order or
    channels.
    """

    def __init__(self, channels: Sequence[int], width: int = 512, readings: Readings = Readings()):
        super().__init__(channels, width, readings)
        self.mai = maiafa.MAI(width, readings, levels=len(self.channels))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        with full_precision(self.reductions[0].weight):
            return self.mai(*self._reduced(maps))


class AFA(_Block):
    """Adaptive feature aggregation, Eq. 6–8.

    maps: list of n maps N×c_i×h_i×w_i float, the largest first → F, N×n·width×h×w, of the largest
    map's size, the highest level's channels first. channels, width and errors as in `MAI`;
    readings: `psi` applies.
    """

    def __init__(self, channels: Sequence[int], width: int = 512, readings: Readings = Readings()):
        super().__init__(channels, width, readings)
        self.afa = maiafa.AFA(width, readings, levels=len(self.channels))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        with full_precision(self.reductions[0].weight):
            return self.afa(*self._reduced(maps))
