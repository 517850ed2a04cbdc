"""D of Eq. 5 over photographs that may be shown, docs/figures/photographs.png: `make findings`.

They come with scikit-learn and scikit-image, and no network here has learnt them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import skimage.data
from sklearn.datasets import load_sample_image

import emolib
from emolib.study.figures import draw_regions

FILE = Path(__file__).parent / "figures" / "photographs.png"


@dataclass(frozen=True)
class Photograph:
    """Pixels H×W×3, uint8, and whose they are."""

    load: Callable
    source: str


PHOTOGRAPHS = {
    "flower": Photograph(lambda: load_sample_image("flower.jpg"), "vultilion, CC BY 2.0"),
    "temple": Photograph(lambda: load_sample_image("china.jpg"), "danielbuechele, CC BY 2.0"),
    "cat": Photograph(skimage.data.chelsea, "Stefan van der Walt, CC0"),
    "coffee": Photograph(skimage.data.coffee, "Rachel Michetti, CC0"),
    "astronaut": Photograph(skimage.data.astronaut, "NASA, public domain"),
    "rocket": Photograph(skimage.data.rocket, "SpaceX, public domain"),
    "galaxies": Photograph(skimage.data.hubble_deep_field, "NASA, public domain"),
}


def main() -> None:
    predictor = emolib.load(device="cpu")
    pictures = [one.load() for one in PHOTOGRAPHS.values()]
    figure = draw_regions(predictor, pictures)
    answers = predictor.predict(pictures)["p_positive"]
    shown = zip(figure.axes, PHOTOGRAPHS.items(), answers, strict=False)  # below them is D
    for axis, (name, one), p in shown:
        axis.set_title(f"{name}\n{one.source}\npositive: {p:.2f}", fontsize=7)
    figure.savefig(FILE, dpi=130)


if __name__ == "__main__":
    main()
