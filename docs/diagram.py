"""The network of section 3 as a diagram, docs/figures/network.png: `make findings` draws it."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from emolib.tables.plots import COLORS

FILE = Path(__file__).parent / "figures" / "network.png"
BACKBONE, MAI, AFA, HEAD = "0.93", (*COLORS[0], 0.25), (*COLORS[1], 0.25), (*COLORS[2], 0.25)
LEVELS = 4
HEIGHT = {m: 3.6 - 1.2 * (m - 1) for m in range(1, LEVELS + 1)}  # C1, the smallest map, on top


def box(axis, x, y, text, color, width=1.2, height=0.62) -> None:
    """A box around (x, y)."""
    corner = (x - width / 2, y - height / 2)
    axis.add_patch(
        FancyBboxPatch(
            corner,
            width,
            height,
            boxstyle="round,pad=0.02",
            facecolor=color,
            edgecolor="0.3",
            lw=0.8,
        )
    )
    axis.text(x, y, text, ha="center", va="center", fontsize=8.5)


def arrow(axis, start, end) -> None:
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="0.3", lw=1)
    )


def levels(axis) -> None:
    """The picture, the backbone's maps B and, by one reduction each, C."""
    box(axis, 0.2, 1.8, "picture", "white", 1.0)
    box(axis, 1.8, 1.8, "backbone", BACKBONE, 1.1, 4.4)
    for m, stride in zip(range(1, LEVELS + 1), (32, 16, 8, 4), strict=True):
        box(axis, 3.35, HEIGHT[m], f"$C_{m}$, stride {stride}", BACKBONE, 1.4)
        arrow(axis, (2.37, HEIGHT[m]), (2.63, HEIGHT[m]))
    arrow(axis, (0.72, 1.8), (1.23, 1.8))


def interaction(axis) -> None:
    """MAI, Eq. 1 to 5: each level's attention A multiplies its map, up-sampled into the next."""
    for m in range(1, LEVELS):
        across, below = HEIGHT[m], HEIGHT[m + 1]
        box(axis, 8.35, across, f"$A_{m}$, Eq. {1 if m == 1 else 3}", MAI)
        product = f"$O_{m + 1}=\\mathrm{{up}}(A_{m}\\otimes C_{m})\\otimes C_{m + 1}$"
        box(axis, 6.1, below, product, MAI, 2.3)
        arrow(axis, (4.07, across) if m == 1 else (7.27, across), (7.73, across))
        arrow(axis, (8.1, across - 0.33), (7.1, below + 0.33))
        arrow(axis, (3.9, across - 0.33), (5.1, below + 0.33))
        arrow(axis, (4.07, below), (4.93, below))
    axis.text(6.1, HEIGHT[2] + 0.42, "Eq. 2, 4", fontsize=8, ha="center")
    D = "$D=\\sigma(\\mathrm{Conv}(\\mathrm{ECA}(O_4)))$\nregions, Eq. 5"
    box(axis, 8.6, HEIGHT[4], D, MAI, 2.1, 0.8)
    arrow(axis, (7.27, HEIGHT[4]), (7.53, HEIGHT[4]))


def aggregation(axis) -> None:
    """AFA, Eq. 6 to 8, and what follows: fusion and classifier."""
    top = HEIGHT[1] + 1.2
    box(axis, 3.35, top, "$Z$, all levels' means", AFA, 1.7)
    box(axis, 6.1, top, "$\\psi=W_2\\,\\mathrm{ReLU}(W_1 Z)$, Eq. 6", AFA, 2.3)
    box(axis, 9.3, top, "$F=[\\psi_1 C_1,\\ldots,\\psi_4 C_4]$, Eq. 7, 8", AFA, 2.7)
    box(axis, 11.2, 1.8, "$E=D\\otimes F+F$\nEq. 9", HEAD, 1.6, 0.8)
    box(axis, 13.2, 1.8, "mean, three layers,\nsoftmax, Eq. 10", HEAD, 1.7, 0.8)
    axis.text(14.55, 1.8, "positive or\nnegative", ha="left", va="center", fontsize=9)
    arrow(axis, (3.35, HEIGHT[1] + 0.33), (3.35, top - 0.33))
    arrow(axis, (4.22, top), (4.93, top))
    arrow(axis, (7.27, top), (7.93, top))
    arrow(axis, (10.4, top - 0.33), (11.1, 2.22))
    arrow(axis, (9.67, 0.25), (10.8, 1.38))
    arrow(axis, (12.02, 1.8), (12.33, 1.8))
    arrow(axis, (14.07, 1.8), (14.5, 1.8))


def diagram() -> Figure:
    figure = Figure(figsize=(12.2, 5), layout="constrained")
    axis = figure.subplots()
    levels(axis)
    interaction(axis)
    aggregation(axis)
    for x, y, words, color in (
        (6.4, -0.75, "multilayer attentional interaction (MAI)", COLORS[0]),
        (6.4, 5.4, "adaptive feature aggregation (AFA)", COLORS[1]),
    ):
        axis.text(x, y, words, ha="center", fontsize=10, color=color, weight="bold")
    axis.set(xlim=(-0.4, 15.9), ylim=(-1, 5.8), aspect="equal")
    axis.axis("off")
    return figure


if __name__ == "__main__":
    diagram().savefig(FILE, dpi=110)
