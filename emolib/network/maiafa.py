"""The paper's network: multilayer attentional interaction (MAI), adaptive aggregation (AFA).

Levels are numbered as in §3.2, everywhere: 1 is the highest (stride 32), 4 the lowest (stride 4).
§3.3's Eq. 8 counts the other way round; here it too is written in §3.2's order.

    B1..B4  the backbone's levels                 N×c_i×h_i×w_i
    C1..C4  after the 1×1 reduction (§3.3)        N×512×h_i×w_i
    O2..O4  gated fusion features (Eq. 2, 4)      N×512×h_i×w_i
    D       emotional regions (Eq. 5)             N×1×H/4×W/4
    F, E    global and integrated features        N×2048×H/4×W/4 (Eq. 8, 9)

Two heads compute the same function of the same parameters: "reference", below, as the paper
prints it; "folded" (folded.py, the default) without ever building C4, O4, F or E.
"""

import copy
import numbers
from collections.abc import Sequence

import torch
from timm.layers import EcaModule
from torch import Tensor, nn

from ..spec.run_spec import Readings
from . import folded
from .attention import ShuffleAttention, SpatialAttention
from .backbones import Backbone, Conv1x1, four_levels, levels, standardise
from .manners import TimmManners, last_layer
from .precision import full_precision, in_float32
from .resample import up


class MAI(nn.Module):
    """Multilayer attentional interaction, Eq. 1–5, on levels of `width` channels: the paper's four,
    or another number. `blocks.MAI` takes any feature maps.

    C1..C4: N×width×h×w at strides 32, 16, 8, 4 → D: N×1×H/4×W/4 in (0, 1). There is no attention
    at stride 4: O4 goes to ECA (timm's, kernel size by its rule) and a 1×1 convolution.
    """

    attention: Sequence[SpatialAttention | ShuffleAttention]  # an nn.ModuleList

    def __init__(self, width: int = 512, readings: Readings = Readings(), levels: int = 4):
        super().__init__()
        shuffle = readings.attention == "shuffle"
        self.fused = readings.gate == "fused"
        gates = [
            ShuffleAttention(width) if shuffle else SpatialAttention() for _ in range(levels - 1)
        ]
        self.attention = nn.ModuleList(gates)  # type: ignore[assignment]
        self.eca = EcaModule(width)
        self.conv = Conv1x1(width, 1)

    def interact(self, C1: Tensor, *finer: Tensor) -> Tensor:
        """Eq. 1–4 on C1, C2, C3 down to A3⊗C3 at stride 8, the map that Eq. 4 up-samples last."""
        gated = self.attention[0](C1)  # A1⊗C1
        for attend, C in zip(self.attention[1:], finer, strict=True):
            O = up(gated, C) * C  # Eq. 2, 4
            gated = attend(O, O if self.fused else C)  # Eq. 4 has A⊗C, the text A⊗O
        return gated

    def maps(self, *C: Tensor) -> dict[str, Tensor]:
        """A1, O2, A2, O3, A3, O4, each at its level's stride. A_m is N×1×h×w for spatial attention,
        N×width×h×w for Shuffle Attention; O_m is N×width×h×w."""
        O, found = C[0], {}
        for m, (attend, C_m, finer) in enumerate(
            zip(self.attention, C[:-1], C[1:], strict=True), start=1
        ):
            found[f"A{m}"] = attend.gate(O)
            O = up(attend(O, O if self.fused else C_m), finer) * finer
            found[f"O{m + 1}"] = O
        return found

    def fuse(self, *C: Tensor) -> Tensor:
        """ECA(O4), N×width×H/4×W/4."""
        O4 = up(self.interact(*C[:-1]), C[-1]) * C[-1]  # Eq. 4
        gate = folded.eca_gate(self.eca, O4.mean((2, 3)))  # timm's own forward needs a picture
        return O4 * gate[:, :, None, None]

    def forward(self, *C: Tensor) -> Tensor:
        return self.conv(self.fuse(*C)).sigmoid()  # Eq. 5


class AFA(nn.Module):
    """Adaptive feature aggregation, Eq. 6–8, on levels of `width` channels: the paper's four, or
    another number. `blocks.AFA` takes any feature maps.

    C1..C4 → F: N×4·width×H/4×W/4. At initialisation ψ is the same for every picture and level
    (1 for "raw", ¼ for "softmax", ½ for "sigmoid"), so that training starts from the plain
    concatenation rather than from four random signs.
    """

    def __init__(self, width: int = 512, readings: Readings = Readings(), levels: int = 4):
        super().__init__()
        self.reading = readings.psi
        self.W1 = nn.Linear(levels * width, 256)
        self.W2 = nn.Linear(256, levels)
        nn.init.zeros_(self.W2.weight)
        nn.init.constant_(self.W2.bias, 1.0 if self.reading == "raw" else 0.0)

    def psi(self, Z: Tensor) -> Tensor:
        """ψ, N×4, from Z: N×4·width, the global average pools of C1..C4 (Eq. 6)."""
        psi = self.W2(self.W1(Z).relu())
        if self.reading == "softmax":
            return psi.softmax(1)
        return psi.sigmoid() if self.reading == "sigmoid" else psi

    def forward(self, *C: Tensor) -> Tensor:
        psi = self.psi(torch.cat([c.mean((2, 3)) for c in C], dim=1))
        return concatenate([c * psi[:, i, None, None, None] for i, c in enumerate(C)])  # Eq. 7


def check_settings(width, readings) -> None:
    """ValueError where they are not what the modules are made of."""
    if not isinstance(readings, Readings):
        raise ValueError(
            f"readings={readings!r}: an emolib.Readings, such as Readings(gate='fused')"
        )
    if isinstance(width, bool) or not isinstance(width, numbers.Integral) or width < 1:
        raise ValueError(f"width={width!r}: a whole number of channels above 0")


def concatenate(C) -> Tensor:
    """Eq. 8: the levels up-sampled to stride 4, one after the other. N×4·width×H/4×W/4."""
    return torch.cat([up(c, C[-1]) for c in C], dim=1)


class MaiAfa(TimmManners):
    """The network of Fig. 1. Make one with `emolib.create_model("maiafa", …)`.

    images: N×3×H×W float, normalised by `pretrained_cfg`'s mean and std → logits: N×num_classes.

    It has a timm model's manners: `forward_features`, `forward_head` and what `TimmManners` has. It
    takes any number of pictures, none too. After `half()` or `bfloat16()` it takes pictures of that
    dtype and answers in it.

    backbone: a timm `features_only` model whose features include strides 4, 8, 16 and 32. mai,
    afa: False takes the module away (Table 7): without MAI E = F; without AFA the classifier sees
    GAP(ECA(O4)) or GAP(D⊗F₁), as `readings.without_afa` says, where F₁ is F with ψ = 1; without
    both GAP(F₁), the plain multi-level baseline.

    With `hrnet_w48` and 2 classes the normal network has 67,337,202 parameters, of which the
    backbone 65,325,120, reductions 370,688, MAI 812, AFA 525,572, classifier 1,115,010.

    Raises ValueError for a backbone that lacks one of the strides or an unknown head, and when
    called, for pictures that are not N×3×H×W, floating point and 32 px a side or more.
    """

    reductions: Sequence[Conv1x1]  # an nn.ModuleList
    mai: MAI  # None where it is taken away, as is `afa`
    afa: AFA

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int = 2,
        mai: bool = True,
        afa: bool = True,
        head: str = "folded",
        readings: Readings = Readings(),
        width: int = 512,
        dropout: float = 0.5,
    ):
        super().__init__()
        if head not in ("folded", "reference"):
            raise ValueError(f"head must be 'folded' or 'reference', not {head!r}")
        self.head = head
        self.readings = readings
        self.num_classes = num_classes
        self.pretrained_cfg = backbone.pretrained_cfg | {"classifier": "classifier.6"}
        self.backbone = backbone
        self.indices, channels = four_levels(backbone)
        only_O4 = mai and not afa and readings.without_afa == "gated"
        self.has_regions = mai and not only_O4
        reductions = nn.ModuleList(Conv1x1(c, width) for c in channels)
        self.reductions = reductions  # type: ignore[assignment]
        self.mai = MAI(width, readings) if mai else None  # type: ignore[assignment]
        if only_O4:
            self.mai.conv = None  # type: ignore[assignment]  # no D without AFA
        self.afa = AFA(width, readings) if afa else None  # type: ignore[assignment]
        self.num_features = width if only_O4 else 4 * width  # of forward_features
        self.head_hidden_size = 128  # of forward_head(…, pre_logits=True)
        self.classifier = nn.Sequential(  # §3.4
            nn.Linear(self.num_features, 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, self.head_hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            last_layer(self.head_hidden_size, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """GAP(E), N×2048 (N×512 for GAP(ECA(O4))): pooled, as E itself is never built."""
        return self._features(images)[0]

    def forward_head(self, pooled: Tensor, pre_logits: bool = False) -> Tensor:
        """`forward_features`' vectors → logits or, before the last layer, N×128."""
        with full_precision(pooled):
            return (self.classifier[:-1] if pre_logits else self.classifier)(pooled)

    def with_regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(logits, D) by one pass. Raises RuntimeError where the network has no D."""
        self._check_regions()
        pooled, D = self._features(images)
        assert D is not None
        return self.forward_head(pooled), D

    def levels(self, images: Tensor) -> list[Tensor]:
        """B1..B4, no less than float32. Raises ValueError for pictures that the network does not
        take, such as those with sides that an HRNet refuses: it needs multiples of 32.

        Under autocast and in a network of 16 bits the backbone alone runs in low precision: the
        products of Eq. 2–4 and the sums over positions need float32, and cost little of the time.
        """
        return levels(self.backbone, self.indices, images)

    def regions(self, images: Tensor) -> Tensor:
        """D of Eq. 5, N×1×H/4×W/4 in (0, 1). Raises RuntimeError where the network has no D."""
        self._check_regions()
        B = self.levels(images)
        with full_precision(images):
            head = self._in_float32()
            D = head._folded_D(B) if self.head == "folded" else head.mai(*head._reduce(B))
            return D.to(self._dtype)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """What Eq. 1–5 make on the way: {"A1": …, "O2": …, "A2", "O3", "A3", "O4", "D"}, shapes in
        `MAI.maps`; D where the network has one. For looking at: it builds the maps that `forward`
        does without. Raises RuntimeError where the network was made with mai=False.
        """
        if self.mai is None:
            raise RuntimeError("this network was made with mai=False: it has no maps A, O and D")
        B = self.levels(images)
        with full_precision(images):
            head = self._in_float32()
            C = head._reduce(B)
            D = {"D": head.mai(*C)} if self.has_regions else {}
            return {name: found.to(self._dtype) for name, found in (head.mai.maps(*C) | D).items()}

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Sets the scale of a fresh head: on `images` each channel of C1..C4 gets mean 0
        and variance 1 (Krähenbühl et al. 2016).

        The paper is silent on initialisation, and nothing in Eq. 2–4 normalises the products:
        levels of 3 to 9 (what backbones give) make O4 tens to hundreds, D is 0 or 1 everywhere
        from the start and the loss overflows.
        """
        wide = self._in_float32().reductions
        for reduce, by, b in zip(self.reductions, wide, self.levels(images), strict=True):
            standardise(reduce, by(b))

    @property
    def _dtype(self) -> torch.dtype:
        """The head's."""
        return self.reductions[0].weight.dtype

    def _in_float32(self) -> "MaiAfa":
        """The network itself or, where it has 16 bits, a copy whose head computes with the same
        numbers in float32. float16 has no room for the folded sums over positions."""
        if self._dtype not in (torch.float16, torch.bfloat16):
            return self
        wide = copy.copy(self)  # two threads may use the network at once: it stays as it is
        wide._modules = dict(self._modules)
        for name in ("reductions", "mai", "afa"):
            if name in wide._modules:
                wide._modules[name] = in_float32(getattr(wide, name))
        return wide

    def _check_regions(self) -> None:
        if not self.has_regions:
            raise RuntimeError(
                "this network has no region map D: it was made with mai=False, or with afa=False "
                "and Readings(without_afa='gated')"
            )

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(GAP(E), D or None)"""
        B = self.levels(images)
        with full_precision(images):
            head = self._in_float32()
            pooled, D = head._folded(B) if self.head == "folded" else head._reference(B)
            return pooled.to(self._dtype), None if D is None else D.to(self._dtype)

    def _reduce(self, B: list[Tensor]) -> list[Tensor]:
        return [reduce(b) for reduce, b in zip(self.reductions, B, strict=True)]

    def _reference(self, B: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """GAP(E) and D, the equations as printed."""
        C = self._reduce(B)
        if self.mai and not self.has_regions:
            return self.mai.fuse(*C).mean((2, 3)), None
        F = self.afa(*C) if self.afa else concatenate(C)
        if not self.mai:
            return F.mean((2, 3)), None
        D = self.mai(*C)
        E = D * F + F if self.afa else D * F  # Eq. 9
        return E.mean((2, 3)), D

    def _folded(self, B: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """GAP(E) and D, the same by folded.py."""
        if self.mai and not self.has_regions:
            U, Q = self._gated_map(B)
            pooled = folded.pooled_O4(U, B[-1], self.reductions[-1], Q)
            return pooled * folded.eca_gate(self.mai.eca, pooled), None
        D = self._folded_D(B) if self.mai else None
        weight = 1 + D if D is not None and self.afa else D
        psi = self.afa.psi if self.afa else None
        return folded.pooled_features(B, self.reductions, weight, psi), D

    def _gated_map(self, B: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The map U that Eq. 4 up-samples last, as (V, Q) with U = Q V, or as (U, None)."""
        if self.readings.attention == "spatial" and not self.mai.fused:
            return folded.gated_map(self.mai.attention, B, self.reductions)  # type: ignore[arg-type]
        C = [reduce(b) for reduce, b in zip(self.reductions[:3], B[:3], strict=True)]
        return self.mai.interact(*C), None

    def _folded_D(self, B: list[Tensor]) -> Tensor:
        U, Q = self._gated_map(B)
        return folded.region_map(U, B[-1], self.reductions[-1], self.mai, Q)
