"""The pen that the demo's pictures are drawn with, and its colours."""

import colorsys
import copy

from PIL import ImageDraw

OVERSAMPLING = 2  # pictures are drawn this much larger: ImageDraw has no anti-aliasing
BLACK, WHITE, INK = (44, 38, 46), (252, 250, 244), (52, 44, 52)
RED, DARK_RED, PINK = (226, 40, 48), (132, 14, 24), (250, 150, 170)
YELLOW, GREEN, BROWN = (255, 210, 50), (66, 150, 62), (112, 78, 48)


class Pen:
    """Draws on `image` in units of `unit` pixels: for an object 1 is its side, for a scene the
    picture's short side."""

    def __init__(self, image, unit):
        self.image, self.unit, self.draw = image, unit, ImageDraw.Draw(image)
        self.width, self.height = image.width / unit, image.height / unit
        self.x, self.y, self.size = 0.0, 0.0, 1.0

    def at(self, x, y, size):
        """A pen for a thing: its (0, 0) is (x, y) here, its 1 is `size`; lines keep their width."""
        pen = copy.copy(self)
        pen.x, pen.y, pen.size = x, y, size
        return pen

    def _round(self, x, y, rx, ry):
        """The corners of what lies around (x, y), in pixels."""
        x, y = self.x + x * self.size, self.y + y * self.size
        rx, ry = rx * self.size, ry * self.size
        return [(a * self.unit, b * self.unit) for a, b in ((x - rx, y - ry), (x + rx, y + ry))]

    def _scale(self, points):
        points = [(self.x + x * self.size, self.y + y * self.size) for x, y in points]
        return [(x * self.unit, y * self.unit) for x, y in points]

    def disc(self, x, y, rx, fill, ry=None):
        self.draw.ellipse(self._round(x, y, rx, rx if ry is None else ry), fill)

    def box(self, x0, y0, x1, y1, fill):
        self.draw.rectangle(self._scale([(x0, y0), (x1, y1)]), fill)

    def shape(self, fill, *points):
        self.draw.polygon(self._scale(points), fill)

    def line(self, fill, width, *points):
        width = max(1, round(width * self.unit))
        self.draw.line(self._scale(points), fill, width, joint="curve")

    def arc(self, x, y, r, start, end, fill, width, ry=None):
        """Part of an ellipse's rim; degrees, clockwise from three o'clock."""
        width = max(1, round(width * self.unit))
        self.draw.arc(self._round(x, y, r, ry or r), start, end, fill, width)

    def chord(self, x, y, r, start, end, fill):
        self.draw.chord(self._round(x, y, r, r), start, end, fill)


def hsv(hue, saturation, value):
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def vivid(rng):
    return hsv(rng.uniform(), rng.uniform(0.65, 0.9), rng.uniform(0.85, 1.0))
