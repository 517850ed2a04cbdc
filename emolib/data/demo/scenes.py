"""Affective scenes: how the demo data's pictures are drawn.

A cluttered scene holds one or two small emotional objects; they alone decide the label. The cues
are those that psychology found to carry valence:

- facial expression, V brows, bared teeth and mouth above all (Lundqvist & Öhman 2005);
- round against angular shapes (Aronoff et al. 1992; Bar & Neta 2006);
- brightness and saturation of the object (Valdez & Mehrabian 1994);
- threatening against pleasant things (IAPS, Lang et al. 2008; Öhman & Mineka 2001).

Expression and kind are for people. A small network trained for minutes goes mostly by shape and
brightness, which every object also carries in its surround (`objects.draw_object`).

Only the *arrangement* of colours says anything. Each picture also holds as many objects of the
other valence, of the same sizes, taken apart: their very pixels come back as confetti, plain dots
and squares a few pixels wide, all over the scene. Colour statistics of the whole picture are
thereby the same for both labels. Scene, light and the rest of the confetti are drawn without
looking at the label.
"""

import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from .objects import draw_object
from .pen import INK, OVERSAMPLING, Pen, hsv

# ---- scenes and neutral things ----


def _tone(rng, hue, saturation, value):
    hue += rng.normal(0, 0.03)
    saturation *= rng.uniform(0.6, 1.4)
    value *= rng.uniform(0.8, 1.15)
    return hsv(hue, min(1, saturation), min(1, value))


def _gradient(pen, top, bottom):
    ramp = np.linspace(top, bottom, pen.image.height)[:, None]
    ramp = np.broadcast_to(ramp, (pen.image.height, pen.image.width, 3))
    pen.image.paste(Image.fromarray(ramp.astype(np.uint8)))


def _tree(pen, rng):
    leaf = _tone(rng, rng.choice([0.1, 0.27, 0.33]), 0.5, 0.6)
    pen.box(-0.06, -0.5, 0.06, 0, _tone(rng, 0.08, 0.5, 0.4))
    if rng.uniform() < 0.5:
        pen.disc(0, -0.65, 0.3, leaf, 0.38)
    else:
        pen.shape(leaf, (-0.32, -0.25), (0, -1), (0.32, -0.25))


def _house(pen, rng):
    pen.box(-0.4, -0.6, 0.4, 0, _tone(rng, rng.uniform(), 0.3, 0.75))
    roof = _tone(rng, rng.choice([0.02, 0.08, 0.6]), 0.5, 0.5)
    pen.shape(roof, (-0.48, -0.6), (0, -1), (0.48, -0.6))
    pane = _tone(rng, rng.choice([0.14, 0.58]), 0.4, 0.7)
    for x in (-0.26, 0.1):
        pen.box(x, -0.5, x + 0.16, -0.32, pane)
    pen.box(-0.08, -0.26, 0.08, 0, roof)


def _car(pen, rng):
    paint = _tone(rng, rng.uniform(), 0.6, 0.7)
    pen.shape(paint, (-0.28, -0.25), (-0.16, -0.45), (0.16, -0.45), (0.3, -0.25))
    pen.box(-0.5, -0.28, 0.5, -0.08, paint)
    for x in (-0.28, 0.28):
        pen.disc(x, -0.08, 0.1, INK)


def _lamp(pen, rng):
    pen.box(-0.02, -0.8, 0.02, 0, INK)
    shade = _tone(rng, rng.uniform(), 0.4, 0.8)
    pen.shape(shade, (-0.2, -0.7), (-0.1, -1), (0.1, -1), (0.2, -0.7))


def _scatter(pen, rng, kinds, ground, count):
    """Neutral things standing on the ground, the far ones first and smaller."""
    for depth in np.sort(rng.uniform(0, 1, count)):
        thing = kinds[rng.integers(len(kinds))]
        y = ground + depth * (pen.height - ground)
        x, size = rng.uniform(0, pen.width), rng.uniform(0.22, 0.4) * (0.6 + 0.6 * depth)
        thing(pen.at(x, y, size), rng)


def _meadow(pen, rng):
    _gradient(pen, _tone(rng, 0.58, 0.45, 0.8), _tone(rng, rng.choice([0.1, 0.55]), 0.2, 0.9))
    horizon = pen.height * rng.uniform(0.35, 0.55)
    pen.disc(rng.uniform(0, pen.width), horizon + 0.4, 0.7, _tone(rng, 0.3, 0.3, 0.6), 0.55)
    pen.box(0, horizon, pen.width, pen.height, _tone(rng, 0.26, 0.45, 0.65))
    _scatter(pen, rng, [_tree, _tree, _house], horizon, int(rng.integers(3, 7)))


def _room(pen, rng):
    wall = rng.uniform()
    _gradient(pen, _tone(rng, wall, 0.25, 0.75), _tone(rng, wall, 0.3, 0.85))
    floor = pen.height * rng.uniform(0.6, 0.75)
    pen.box(0, floor, pen.width, pen.height, _tone(rng, 0.08, 0.45, 0.6))
    x = rng.uniform(0, 0.6) * pen.width
    pen.box(x, 0.1, x + 0.4, 0.5, _tone(rng, 0.08, 0.3, 0.5))
    pen.box(x + 0.03, 0.13, x + 0.37, 0.47, _tone(rng, 0.58, 0.35, 0.8))
    table, seat = rng.uniform(0, 0.6) * pen.width, _tone(rng, rng.uniform(), 0.4, 0.55)
    pen.box(table, floor - 0.2, table + 0.5, floor - 0.15, seat)
    for dx in (0.03, 0.43):
        pen.box(table + dx, floor - 0.15, table + dx + 0.04, floor + 0.1, seat)
    _scatter(pen, rng, [_lamp], floor, int(rng.integers(1, 3)))


def _street(pen, rng):
    _gradient(pen, _tone(rng, 0.58, 0.3, 0.7), _tone(rng, 0.1, 0.15, 0.85))
    road = pen.height * rng.uniform(0.6, 0.75)
    pen.box(0, road, pen.width, pen.height, _tone(rng, 0.6, 0.08, 0.5))
    for x in np.arange(0.1, pen.width + 0.3, 0.36):
        _house(pen.at(x, road, rng.uniform(0.38, 0.62)), rng)
    _scatter(pen, rng, [_car, _car, _lamp], road + 0.1, int(rng.integers(2, 5)))


def _beach(pen, rng):
    _gradient(pen, _tone(rng, 0.57, 0.4, 0.85), _tone(rng, rng.choice([0.06, 0.55]), 0.25, 0.9))
    horizon = pen.height * rng.uniform(0.3, 0.45)
    shore = horizon + pen.height * rng.uniform(0.15, 0.3)
    pen.box(0, horizon, pen.width, shore, _tone(rng, 0.55, 0.5, 0.65))
    for y in np.arange(horizon + 0.05, shore, 0.07):
        x = rng.uniform(0, pen.width)
        pen.line(_tone(rng, 0.55, 0.2, 0.85), 0.012, (x, y), (x + 0.25, y))
    pen.box(0, shore, pen.width, pen.height, _tone(rng, 0.11, 0.35, 0.82))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, pen.width), rng.uniform(shore, pen.height)
        pen.line(INK, 0.015, (x, y), (x, y - 0.3))
        pen.chord(x, y - 0.25, 0.18, 180, 360, _tone(rng, rng.uniform(), 0.5, 0.8))


def _shelf(pen, rng):
    back = rng.uniform()
    _gradient(pen, _tone(rng, back, 0.2, 0.6), _tone(rng, back, 0.25, 0.7))
    for y in np.arange(0.3, pen.height + 0.3, rng.uniform(0.3, 0.4)):
        x = 0.0
        while x < pen.width:
            width, height = rng.uniform(0.05, 0.16), rng.uniform(0.1, 0.22)
            if rng.uniform() < 0.6:
                pen.box(x, y - height, x + width, y, _tone(rng, rng.uniform(), 0.4, 0.65))
            x += width + 0.01
        pen.box(0, y, pen.width, y + 0.03, _tone(rng, 0.08, 0.45, 0.5))


SCENES = (_meadow, _room, _street, _beach, _shelf)
CONFETTI = 40  # pixels of one piece, at most


def _take_apart(thing, rng):
    """Plain dots and squares that together have the very pixels of the object."""
    pixels = np.asarray(thing).reshape(-1, 4)
    pixels = pixels[pixels[:, 3] > 0].astype(int)
    opaque = Image.fromarray(pixels[None, :, :3].astype(np.uint8))
    cluster = np.asarray(opaque.quantize(6, kmeans=2))[0]
    parts = []
    for i in np.unique(cluster):
        members = pixels[cluster == i]
        # Like with like, see-through ones last: they become the rim.
        impurity = abs(members[:, :3] - np.median(members[:, :3], axis=0)).sum(axis=1)
        members = members[np.argsort(impurity - 9 * members[:, 3], kind="stable")]
        for few in np.array_split(members, math.ceil(len(members) / CONFETTI)):
            side = math.ceil(1.3 * math.sqrt(len(few)))
            y, x = np.indices((side, side)) - (side - 1) / 2
            away = np.hypot(x, y) if rng.uniform() < 0.4 else np.maximum(abs(x), abs(y))
            part = np.zeros((side**2, 4), np.uint8)
            part[np.argsort(away, axis=None, kind="stable")[: len(few)]] = few
            parts.append(Image.fromarray(part.reshape(side, side, 4)))
    return parts


# ---- the picture ----


def _object(kind, side, style, rng):
    """The object, slightly turned, as RGBA; `side` in pixels of the finished picture."""
    patch = draw_object(kind, side * OVERSAMPLING, style.outline * OVERSAMPLING, rng)
    turn = rng.uniform(-10, 10)
    patch = patch.convert("RGBa").rotate(turn, Image.Resampling.BILINEAR, expand=True)
    patch = patch.reduce(OVERSAMPLING).convert("RGBA")
    if not style.shaded:
        return patch
    light = np.linspace(0.13, -0.13, patch.width)  # from the upper left
    pixels = np.array(patch, np.float32)
    pixels[:, :, :3] *= (1 + light[:, None] + light)[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _put(pen, thing, x, y):
    """Put the thing with its centre at (x, y), in short sides."""
    left, top = round(x * pen.unit - thing.width / 2), round(y * pen.unit - thing.height / 2)
    pen.image.paste(thing, (left, top), thing)


def _free_spot(pen, side, taken, rng):
    """A square (centre, side) in the central 85%: of a few the one that overlaps `taken` least."""
    best, least = None, math.inf
    for _ in range(25):
        x = rng.uniform(0.075 * pen.width + side / 2, 0.925 * pen.width - side / 2)
        y = rng.uniform(0.075 * pen.height + side / 2, 0.925 * pen.height - side / 2)
        overlap = 0.0
        for other_x, other_y, other_side in taken:
            reach = (side + other_side) / 2
            overlap += max(0, reach - abs(x - other_x)) * max(0, reach - abs(y - other_y))
        if overlap < least:
            best, least = (x, y, side), overlap
        if not overlap:
            break
    return best


def _spots(pen, count, regions, rng):
    """`count` places spread evenly over the picture outside the regions."""
    pitch = 0.16
    while True:
        y, x = np.mgrid[pitch / 2 : pen.height : pitch, pitch / 2 : pen.width : pitch]
        spots = np.stack([x.ravel(), y.ravel()], axis=1)
        spots += rng.uniform(-0.3, 0.3, spots.shape) * pitch
        for left, top, side in regions:
            spots = spots[np.hypot(spots[:, 0] - left, spots[:, 1] - top) > side / 2 + 0.03]
        if len(spots) >= count:
            return rng.permutation(spots)[:count]
        pitch *= 0.93


def draw_picture(shown, counterparts, clutter, style, rng):
    """Draw one picture.

    `shown` names one or two objects to draw. `counterparts` are taken apart, the i-th at the size
    of the i-th object shown: 1/8 to 1/2 of the short side. So are those of `clutter`, at sizes of
    their own.

    Returns the RGB picture (short side 96 to 128 pixels, long side up to 1.5 times that) and the
    stimuli map: a grey picture of the same size, 255 on the objects shown, with soft edges.
    """
    short = int(rng.integers(96, 129))
    size: tuple = (short, round(short * rng.uniform(1, 1.5)))
    size = size[:: rng.choice([-1, 1])]
    picture = Image.new("RGB", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    SCENES[rng.integers(len(SCENES))](Pen(picture, short * OVERSAMPLING), rng)
    picture = picture.reduce(OVERSAMPLING)
    # Distance makes the scene paler than what stands in front of it.
    air = _tone(rng, rng.uniform(), 0.15, 0.65)
    picture.paste(air, mask=Image.new("L", size, int(rng.integers(50, 120))))

    pen, stimuli = Pen(picture, short), Image.new("L", size)
    regions: list[tuple] = []
    for i in range(len(shown)):
        # Two large objects would not fit side by side. Small ones are the rarer: a network that
        # trains for a minute must find enough that it can see.
        side = 1 / 8 + (3 / 8 if i == 0 else 5 / 24) * rng.beta(2.5, 1)
        regions.append(_free_spot(pen, side, regions, rng))
        x, y, _ = regions[-1]
        spot = Image.new("L", size)
        Pen(spot, short).disc(x, y, side / 2, 255)
        spot = spot.filter(ImageFilter.GaussianBlur(0.06 * side * short))
        stimuli = ImageChops.lighter(stimuli, spot)
    parts = []
    sides = [side for _, _, side in regions[: len(counterparts)]]
    sides += rng.uniform(1 / 8, 1 / 2, len(clutter)).tolist()
    for kind, side in zip([*counterparts, *clutter], sides, strict=True):
        parts += _take_apart(_object(kind, round(side * short), style, rng), rng)
    for part, (x, y) in zip(parts, _spots(pen, len(parts), regions, rng), strict=True):
        _put(pen, part, x, y)
    for kind, (x, y, side) in zip(shown, regions, strict=True):  # last: nothing may hide them
        _put(pen, _object(kind, round(side * short), style, rng), x, y)

    # Exposure, haze and the colour of the light.
    pixels = 255 * (style.finish(picture, rng).clip(0, 255) / 255) ** rng.uniform(0.75, 1.3)
    haze = rng.uniform(0, 0.15)
    pixels = (1 - haze) * pixels + haze * 255 * rng.uniform(0.3, 0.8)
    pixels *= rng.uniform(0.75, 1.1) * rng.normal(1, 0.06, 3)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)), stimuli
