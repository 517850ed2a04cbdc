"""One look for each demo set: how its drawn pictures are finished."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from PIL import ImageFilter
from scipy import ndimage


def _snapshot(picture, rng):
    """Uneven light, a slight blur, sensor noise."""
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.4)), np.float32)
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    turn = rng.uniform(0, 2 * math.pi)
    light = 1 + 0.12 * (x * math.cos(turn) + y * math.sin(turn)) - 0.06 * (x**2 + y**2)
    noise = rng.normal(0, rng.uniform(2, 6), pixels.shape)
    return pixels * light[:, :, None] + noise


def _poster(picture, rng):
    """Strong inks, printed through a screen."""
    pixels = np.asarray(picture, np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    y, x = np.indices(pixels.shape[:2])
    screen = np.sin(2.1 * (x + y) + rng.uniform(0, 6)) * np.sin(2.1 * (x - y) + rng.uniform(0, 6))
    contrast = rng.uniform(0.95, 1.3)
    return 128 + contrast * (grey + 1.15 * (pixels - grey) - 128) + 12 * screen[:, :, None]


def _painting(picture, rng):
    """Muted pigments, dragged along slanting strokes, on canvas."""
    height, width = picture.height, picture.width
    y, x = np.indices((height, width))
    strokes = ndimage.gaussian_filter(rng.normal(0, 1, (height, 400)), (4, 0.6))
    slant = rng.uniform(-1, 1)  # each row of strokes is the one above, shifted
    strokes = strokes[y, (x + np.round(slant * y)).astype(int) % 400] / strokes.std()
    dragged = np.clip(y + np.round(0.6 * strokes).astype(int), 0, height - 1)
    pixels = np.asarray(picture, np.float32)[dragged, x]
    grey = pixels.mean(axis=2, keepdims=True)
    muted = 0.9 * (grey + rng.uniform(0.5, 0.9) * (pixels - grey)) + 0.1 * np.array([236, 220, 190])
    weave = np.where((x + y) % 2, 3, -3)
    grain = rng.normal(0, 5, pixels.shape)
    return np.round(muted / 12) * 12 + (4 * strokes + weave)[:, :, None] + grain


@dataclasses.dataclass(frozen=True)
class Style:
    """How the pictures of a set look."""

    finish: Callable  # turns the drawn picture into H×W×3 floats
    outline: int  # width of the ink round the objects, in pixels
    shaded: bool  # lights them from one side
    quality: int  # the JPEG's


STYLES = {
    "fi": Style(_snapshot, outline=0, shaded=True, quality=90),
    "twitter1": Style(_poster, outline=1, shaded=False, quality=80),
    "emotionroi": Style(_painting, outline=0, shaded=False, quality=92),
}
