"""One picture explained: what was answered, and where D of Eq. 5 is high."""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

MOST_REGIONS = 5  # boxes


@dataclass(frozen=True)
class Explanation:
    """Made by `Predictor.explain`; in Jupyter it shows `figure()`.

    path: or a name, as in `predict`. answers: what `predict` says of it, label and p_positive,
    p_<emotion>, or valence, …; said: the same in a few words. picture: the whole, upright. crop:
    (x0, y0, x1, y1) of what the network saw, px of `picture`; view: the same as it saw it, S×S×3
    uint8. D: S×S float32 in (0, 1), bilinear from a quarter of the side. boxes: where D is high,
    [(x0, y0, x1, y1, score), …] in px of `picture`, the highest score first.
    """

    path: str
    answers: dict
    said: str
    picture: Image.Image = field(repr=False)
    crop: tuple
    view: np.ndarray = field(repr=False)
    D: np.ndarray = field(repr=False)
    boxes: list

    @property
    def label(self) -> int:
        """1 = positive. AttributeError where the network answers with something else."""
        return self._of_polarity("label")

    @property
    def p_positive(self) -> float:
        """As `label`."""
        return self._of_polarity("p_positive")

    def _of_polarity(self, name: str):
        if name not in self.answers:
            raise AttributeError(f"no {name}: the network answers with {', '.join(self.answers)}")
        return self.answers[name]

    @property
    def overlay(self) -> Image.Image:
        """D laid over the view in grey, stretched to its own range: S×S RGB."""
        import matplotlib  # takes a while, which those who only want boxes need not wait for

        low, high = self.D.min(), self.D.max()
        colours = matplotlib.colormaps["inferno"]((self.D - low) / max(high - low, 1e-12))
        mixed = 0.4 * self.view.mean(2, keepdims=True) + 0.6 * 255 * colours[:, :, :3]
        return Image.fromarray(mixed.round().astype(np.uint8))

    def figure(self):
        """A matplotlib Figure: the picture with the crop and the boxes, and the overlay."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.imshow(self.picture)
        frames = [(self.crop, "white", "--")] + [(box[:4], "#de8f05", "-") for box in self.boxes]
        for (x0, y0, x1, y1), colour, style in frames:
            line = {"fill": False, "lw": 1.5, "edgecolor": colour, "linestyle": style}
            left.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, **line))
        left.set_title(f"{self.said}\ndashed: what the network saw", fontsize=9)
        right.imshow(self.overlay)
        right.set_title(f"region map D, {self.D.min():.2f} to {self.D.max():.2f}", fontsize=9)
        for axis in (left, right):
            axis.set(xticks=[], yticks=[])
        return figure

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.figure().savefig(out, format="png", dpi=100)
        return out.getvalue()


def highest_regions(D: np.ndarray) -> list[tuple]:
    """Where D is nearer to its highest value than to its lowest: of the MOST_REGIONS highest
    connected parts (x0, y0, x1, y1, highest D in it), in cells of D. None where D is flat."""
    low, high = D.min(), D.max()
    parts, count = ndimage.label((D > (low + high) / 2) & (low < high))
    scores = ndimage.maximum(D, parts, range(1, count + 1))
    boxes = [
        (x.start, y.start, x.stop, y.stop, float(score))
        for (y, x), score in zip(ndimage.find_objects(parts), scores, strict=True)
    ]
    return sorted(boxes, key=lambda box: -box[4])[:MOST_REGIONS]
