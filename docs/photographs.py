"""D of Eq. 5 over photographs that may be shown: docs/figures/photographs.png.

    pip install scikit-image && python docs/photographs.py

The network is the one that comes with the package; it has never seen these pictures.
"""

from pathlib import Path

import emolib
from emolib.tables.plots import panels

FILE = Path(__file__).parent / "figures" / "photographs.png"
# name: (package, its picture, source and licence)
PICTURES = {
    "temple": ("sklearn", "china.jpg", "danielbuechele, CC BY 2.0"),
    "flower": ("sklearn", "flower.jpg", "vultilion, CC BY 2.0"),
    "astronaut": ("skimage", "astronaut", "NASA, public domain"),
    "cat": ("skimage", "chelsea", "Stéfan van der Walt, CC0"),
    "coffee": ("skimage", "coffee", "Rachel Michetti, CC0"),
    "rocket": ("skimage", "rocket", "SpaceX, CC0"),
}


def photograph(package: str, name: str):
    """H×W×3 uint8."""
    if package == "sklearn":
        from sklearn.datasets import load_sample_image

        return load_sample_image(name)
    import skimage.data

    return getattr(skimage.data, name)()


def draw():
    predictor = emolib.load(device="cpu")
    figure, axes = panels(2, len(PICTURES), 13, 5.2)
    for (above, below), (name, (package, file, source)) in zip(
        axes.T, PICTURES.items(), strict=True
    ):
        found = predictor.explain(photograph(package, file))
        above.imshow(found.view)
        above.set_title(f"{name}\np(positive) = {found.p_positive:.2f}", fontsize=10)
        below.imshow(found.overlay)
        below.set_xlabel(f"D {found.D.min():.2f} to {found.D.max():.2f}\n{source}", fontsize=8)
        for axis in (above, below):
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("what the network sees")
    axes[1, 0].set_ylabel("region map D, bright: high")
    return figure


if __name__ == "__main__":
    draw().savefig(FILE, dpi=80)
