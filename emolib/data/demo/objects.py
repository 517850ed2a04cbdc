"""The objects of the demo data: pleasant and threatening things, drawn with a pen.

Why these, and what a picture is made of, is said in `scenes`.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from .faces import mood_faces
from .pen import BLACK, BROWN, DARK_RED, GREEN, INK, PINK, RED, WHITE, YELLOW, Pen, hsv, vivid

# ---- emotional objects: each fills about the unit square ----


def _flower(pen, rng):
    petals, colour = int(rng.integers(6, 9)), vivid(rng)
    pen.line(GREEN, 0.05, (0.5, 0.5), (0.5, 1.0))
    pen.disc(0.62, 0.88, 0.11, GREEN, 0.05)
    for i in range(petals):
        turn = 2 * math.pi * i / petals
        pen.disc(0.5 + 0.24 * math.cos(turn), 0.37 + 0.24 * math.sin(turn), 0.13, colour)
    pen.disc(0.5, 0.37, 0.14, YELLOW)


def _heart(pen, rng):
    for x in (0.27, 0.73):
        pen.disc(x, 0.32, 0.26, RED)
    pen.shape(RED, (0.05, 0.44), (0.95, 0.44), (0.5, 0.97))
    pen.arc(0.27, 0.32, 0.18, 180, 280, WHITE, 0.05)


def _balloons(pen, rng):
    for x, y in ((0.24, 0.32), (0.76, 0.34), (0.5, 0.22)):
        pen.line(INK, 0.02, (x, y), (0.5, 1.0))
        pen.disc(x, y, 0.18, vivid(rng), 0.22)
        pen.disc(x - 0.06, y - 0.08, 0.04, WHITE, 0.06)


def _cake(pen, rng):
    icing = vivid(rng)
    pen.disc(0.5, 0.93, 0.5, WHITE, 0.07)
    pen.box(0.1, 0.5, 0.9, 0.92, (222, 170, 110))
    pen.box(0.1, 0.44, 0.9, 0.58, icing)
    for x in (0.18, 0.34, 0.5, 0.66, 0.82):
        pen.disc(x, 0.58, 0.08, icing)
    pen.box(0.1, 0.74, 0.9, 0.79, WHITE)
    for x in (0.28, 0.5, 0.72):
        pen.box(x - 0.03, 0.2, x + 0.03, 0.45, PINK)
        pen.disc(x, 0.12, 0.05, YELLOW, 0.09)


def _gift(pen, rng):
    paper, ribbon = vivid(rng), vivid(rng)
    pen.box(0.1, 0.42, 0.9, 0.98, paper)
    pen.box(0.04, 0.3, 0.96, 0.46, paper)
    pen.box(0.43, 0.3, 0.57, 0.98, ribbon)
    pen.line(INK, 0.02, (0.04, 0.47), (0.96, 0.47))
    for x in (0.33, 0.67):
        pen.arc(x, 0.19, 0.18, 0, 360, ribbon, 0.08, 0.12)


def _butterfly(pen, rng):
    upper, lower = vivid(rng), vivid(rng)
    for side in (-1, 1):
        pen.disc(0.5 + 0.22 * side, 0.7, 0.17, lower, 0.2)
        pen.disc(0.5 + 0.26 * side, 0.34, 0.23, upper, 0.26)
        pen.disc(0.5 + 0.28 * side, 0.34, 0.1, WHITE)
        pen.arc(0.5 + 0.1 * side, 0.16, 0.1, 180, 360, INK, 0.025)
    pen.disc(0.5, 0.52, 0.05, INK, 0.34)


def _sun(pen, rng):
    for i in range(12):
        turn = math.pi * i / 6
        x, y = math.cos(turn), math.sin(turn)
        pen.line((255, 160, 30), 0.07, (0.5, 0.5), (0.5 + 0.43 * x, 0.5 + 0.43 * y))
        pen.disc(0.5 + 0.45 * x, 0.5 + 0.45 * y, 0.04, (255, 160, 30))
    pen.disc(0.5, 0.5, 0.3, YELLOW)
    for x in (0.4, 0.6):
        pen.disc(x, 0.45, 0.035, INK, 0.05)
        pen.disc(x + 0.6 * (x - 0.5), 0.56, 0.05, PINK)
    pen.arc(0.5, 0.5, 0.16, 30, 150, DARK_RED, 0.04)


def _rainbow(pen, rng):
    for i, hue in enumerate((0.0, 0.08, 0.15, 0.35, 0.58, 0.78)):
        pen.arc(0.5, 0.75, 0.5 - 0.055 * i, 180, 360, hsv(hue, 0.8, 1.0), 0.06)
    for x in (0.14, 0.86):
        for dx in (-0.06, 0.06):
            pen.disc(x + dx, 0.8, 0.1, WHITE)
        pen.disc(x, 0.73, 0.1, WHITE)


def _kitten(pen, rng):
    fur = [(240, 160, 70), (236, 208, 160), (200, 176, 156)][rng.integers(3)]
    for side in (-1, 1):
        pen.shape(fur, (0.5 + 0.4 * side, 0.02), (0.5 + 0.1 * side, 0.25), (0.5 + 0.44 * side, 0.5))
        pen.shape(
            PINK, (0.5 + 0.36 * side, 0.12), (0.5 + 0.2 * side, 0.25), (0.5 + 0.37 * side, 0.36)
        )
    pen.disc(0.5, 0.58, 0.46, fur, 0.4)
    pen.disc(0.5, 0.76, 0.22, WHITE, 0.16)
    for side in (-1, 1):
        pen.disc(0.5 + 0.2 * side, 0.5, 0.09, INK, 0.12)
        pen.disc(0.5 + 0.2 * side + 0.03, 0.46, 0.035, WHITE)
        pen.arc(0.5 + 0.07 * side, 0.76, 0.07, 0, 180, INK, 0.03)
        for y in (0.66, 0.76):
            pen.line(INK, 0.015, (0.5 + 0.2 * side, 0.72), (0.5 + 0.48 * side, y))
    pen.disc(0.5, 0.7, 0.05, PINK, 0.04)


def _spider(pen, rng):
    for side in (-1, 1):
        for i, reach in enumerate((0.0, 0.26, 0.64, 0.98)):
            knee = (0.5 + 0.34 * side, 0.24 + 0.15 * i)
            pen.line(BLACK, 0.05, (0.5, 0.42 + 0.05 * i), knee, (0.5 + 0.48 * side, reach))
    pen.disc(0.5, 0.62, 0.22, BLACK, 0.27)
    pen.disc(0.5, 0.34, 0.14, BLACK)
    pen.shape(RED, (0.42, 0.52), (0.58, 0.52), (0.42, 0.74), (0.58, 0.74))
    for x in (0.44, 0.56):
        pen.disc(x, 0.3, 0.035, RED)


def _snake(pen, rng):
    back, belly = (48, 70, 30), (170, 160, 60)
    path = [(0.5 + 0.34 * math.cos(t * 0.55), 0.96 - 0.032 * t) for t in range(22)]
    pen.line(back, 0.19, *path)
    for point in path[::2]:
        pen.disc(*point, 0.095, back)
    for x, y in path[1:-2:3]:
        pen.shape(belly, (x - 0.07, y), (x, y - 0.05), (x + 0.07, y), (x, y + 0.05))
    head = pen.at(*path[-1], 1)
    head.shape(back, (-0.2, -0.02), (-0.08, 0.13), (0.16, 0.09), (0.2, -0.08), (0, -0.19))
    for x in (-0.06, 0.08):
        head.disc(x, -0.03, 0.045, YELLOW)
        head.line(BLACK, 0.03, (x, -0.07), (x, 0.01))
    head.line(RED, 0.03, (-0.17, 0.05), (-0.3, 0.1), (-0.38, 0.06))
    head.line(RED, 0.03, (-0.3, 0.1), (-0.34, 0.17))


def _skull(pen, rng):
    bone = (206, 200, 176)
    pen.disc(0.5, 0.41, 0.44, BLACK, 0.41)
    pen.box(0.22, 0.6, 0.78, 1.0, BLACK)
    pen.disc(0.5, 0.41, 0.4, bone, 0.37)
    pen.box(0.26, 0.6, 0.74, 0.96, bone)
    for x in (0.32, 0.68):
        eye = (x - 0.14, 0.38), (x, 0.3), (x + 0.14, 0.38), (x + 0.09, 0.55), (x - 0.1, 0.54)
        pen.shape(BLACK, *eye)
    pen.shape(BLACK, (0.5, 0.54), (0.43, 0.7), (0.57, 0.7))
    for x in (0.34, 0.44, 0.54, 0.64):
        pen.line(BLACK, 0.035, (x, 0.78), (x, 0.97))


def _knife(pen, rng):
    pen.shape(BLACK, (0.98, 0.0), (0.98, 0.16), (0.4, 0.76), (0.26, 0.62))
    pen.shape((176, 184, 196), (0.94, 0.06), (0.93, 0.15), (0.41, 0.68), (0.33, 0.61))
    pen.shape(DARK_RED, (0.96, 0.03), (0.94, 0.18), (0.66, 0.46), (0.6, 0.34))
    pen.line(BLACK, 0.16, (0.36, 0.64), (0.06, 0.94))
    pen.line(INK, 0.09, (0.2, 0.5), (0.5, 0.8))
    for x, y in ((0.78, 0.5), (0.66, 0.72), (0.88, 0.8)):
        pen.disc(x, y, 0.06, DARK_RED, 0.08)
        pen.shape(DARK_RED, (x - 0.05, y - 0.03), (x + 0.05, y - 0.03), (x, y - 0.17))


def _broken_glass(pen, rng):
    spikes = 9
    radii = [0.5 if i % 2 == 0 else rng.uniform(0.14, 0.26) for i in range(2 * spikes)]
    turns = [math.pi * i / spikes for i in range(2 * spikes)]
    polar = zip(radii, turns, strict=True)
    rim = [(0.5 + r * math.cos(turn), 0.5 + r * math.sin(turn)) for r, turn in polar]
    pen.shape(BLACK, *rim)
    for i in range(0, 2 * spikes, 2):
        a, b, c = rim[i - 1], rim[i], rim[i + 1]
        inset = [(0.5 + 0.84 * (x - 0.5), 0.5 + 0.84 * (y - 0.5)) for x, y in (a, b, c)]
        pen.shape([(150, 176, 190), (96, 120, 140)][i // 2 % 2], (0.5, 0.5), *inset)


def _fly(pen, rng):
    for side in (-1, 1):
        for y, reach in ((0.42, 0.16), (0.54, 0.58), (0.66, 0.98)):
            pen.line(BLACK, 0.035, (0.5, y), (0.5 + 0.28 * side, y), (0.5 + 0.44 * side, reach))
        pen.shape(INK, (0.5, 0.36), (0.5 + 0.46 * side, 0.7), (0.5 + 0.26 * side, 0.98))
        wing = [(0.04, 0.44), (0.42, 0.71), (0.27, 0.92)]
        pen.shape((150, 152, 158), *((0.5 + x * side, y) for x, y in wing))
    pen.disc(0.5, 0.64, 0.16, (28, 52, 36), 0.28)
    pen.disc(0.5, 0.38, 0.17, BLACK)
    for x in (0.36, 0.64):
        pen.disc(x, 0.22, 0.13, DARK_RED)


def _storm_cloud(pen, rng):
    for x, y, r in ((0.2, 0.38, 0.2), (0.8, 0.38, 0.2), (0.4, 0.25, 0.24), (0.64, 0.28, 0.24)):
        pen.disc(x, y, r, (54, 54, 70))
    pen.box(0.2, 0.38, 0.8, 0.58, (54, 54, 70))
    for x in (0.1, 0.28, 0.74, 0.9):
        pen.line((70, 90, 140), 0.035, (x + 0.05, 0.62), (x - 0.05, 0.92))
    bolt = (0.48, 0.44), (0.7, 0.44), (0.58, 0.62), (0.7, 0.62), (0.38, 1.0), (0.46, 0.72)
    pen.shape((240, 196, 40), *bolt, (0.36, 0.72))


def _wilted_flower(pen, rng):
    stem = (0.4, 1.0), (0.36, 0.4), (0.44, 0.16), (0.6, 0.1), (0.72, 0.24), (0.74, 0.4)
    pen.line(INK, 0.055, *stem)
    for dx in (-0.26, -0.12, 0.02, 0.16, 0.28):
        pen.shape(BROWN, (0.68, 0.4), (0.82, 0.4), (0.74 + 0.8 * dx, 0.78), (0.66 + 0.7 * dx, 0.58))
    pen.disc(0.74, 0.42, 0.11, INK)
    pen.shape((104, 96, 44), (0.38, 0.6), (0.08, 0.66), (0.02, 0.92), (0.2, 0.8))
    for x in (0.56, 0.8, 0.94):
        pen.shape(BROWN, (x - 0.09, 0.97), (x, 0.88), (x + 0.07, 0.99))


def _by_name(*drawers: Callable) -> dict[str, Callable]:
    """{"broken glass": _broken_glass, …}"""
    return {drawer.__name__.replace("_", " ").strip(): drawer for drawer in drawers}


POSITIVE = mood_faces("smiling", "laughing", "surprised") | _by_name(
    _flower, _heart, _balloons, _cake, _gift, _butterfly, _sun, _rainbow, _kitten
)
NEGATIVE = mood_faces("angry", "crying", "disgusted") | _by_name(
    _spider, _snake, _skull, _knife, _broken_glass, _fly, _storm_cloud, _wilted_flower
)
OBJECTS: dict[str, Callable] = POSITIVE | NEGATIVE


def _grow(alpha, reach):
    """The silhouette, `reach` pixels wider, with round corners."""
    # A blurred edge falls to 1/8 at 1.15 standard deviations.
    return alpha.filter(ImageFilter.GaussianBlur(reach / 1.15)).point(lambda a: 255 * (a > 32))


def _burst(pen):
    """A dull star with a black, jagged edge, filling the square."""
    for scale, fill in ((1, BLACK), (0.78, (170, 124, 116))):
        turns = np.arange(28) * math.pi / 14
        radii = scale * np.where(np.arange(28) % 2, 0.37, 0.5)
        pen.shape(fill, *zip(0.5 + radii * np.cos(turns), 0.5 + radii * np.sin(turns), strict=True))


def draw_object(kind, side, outline, rng):
    """The object on a transparent square of `side` pixels, with ink round it if `outline` > 0, in
    the surround that all objects of its valence share, as comics draw it: a bright and soft rim
    round pleasant things, a dark and spiky burst behind threatening ones."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pleasant = kind in POSITIVE
    thing = Image.new("RGBA", (round((0.84 if pleasant else 0.78) * side),) * 2, (0, 0, 0, 0))
    OBJECTS[kind](Pen(thing, thing.width), rng)
    place = ((side - thing.width) // 2,) * 2
    if pleasant:
        silhouette = Image.new("L", (side, side))
        silhouette.paste(thing.getchannel("A"), place)
        image.paste(WHITE, mask=_grow(silhouette, max(1, round(0.06 * side))))
    else:
        _burst(Pen(image, side))
    image.alpha_composite(thing, place)
    if not outline:
        return image
    inked = Image.new("RGBA", (side, side), (*BLACK, 0))
    inked.putalpha(_grow(image.getchannel("A"), outline))
    return Image.alpha_composite(inked, image)
