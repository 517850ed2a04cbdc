"""The demo's faces, one for each mood; each fills about the unit square."""

import functools
from collections.abc import Callable

from .pen import BLACK, DARK_RED, INK, PINK, WHITE, YELLOW


def _face(pen, rng, mood):
    skin = {"angry": (224, 84, 50), "crying": (128, 160, 214), "disgusted": (150, 172, 72)}
    pen.disc(0.5, 0.5, 0.49, INK)
    pen.disc(0.5, 0.5, 0.46, skin.get(mood, YELLOW))
    if mood == "laughing":
        for x in (0.31, 0.69):
            pen.arc(x, 0.42, 0.11, 190, 350, INK, 0.06)
        pen.chord(0.5, 0.54, 0.3, 0, 180, DARK_RED)
        pen.box(0.24, 0.54, 0.76, 0.62, WHITE)
        pen.disc(0.5, 0.77, 0.14, PINK, 0.06)
        return
    for x in (0.32, 0.68):
        inward = 0.5 - x
        if mood == "angry":  # V brows over narrowed eyes
            pen.disc(x, 0.45, 0.1, WHITE)
            pen.disc(x + 0.15 * inward, 0.46, 0.055, BLACK)
            pen.line(BLACK, 0.09, (x - 0.95 * inward, 0.24), (x + 0.7 * inward, 0.42))
        elif mood == "crying":
            pen.line(INK, 0.05, (x - 0.6 * inward, 0.3), (x + 0.5 * inward, 0.2))
            pen.arc(x, 0.36, 0.1, 10, 170, INK, 0.055)
            pen.box(x - 0.05, 0.46, x + 0.05, 0.8, (60, 96, 200))
            pen.disc(x, 0.82, 0.075, (60, 96, 200))
        elif mood == "disgusted":
            pen.line(INK, 0.06, (x - 0.6 * inward, 0.3), (x + 0.4 * inward, 0.4))
            pen.line(INK, 0.06, (x - 0.6 * inward, 0.47), (x + 0.4 * inward, 0.4))
        elif mood == "surprised":
            pen.arc(x, 0.26, 0.12, 200, 340, INK, 0.045)
            pen.disc(x, 0.42, 0.11, WHITE)
            pen.disc(x, 0.42, 0.055, INK)
        else:
            pen.disc(x, 0.39, 0.06, INK, 0.09)
            pen.disc(x - 0.35 * inward, 0.6, 0.08, PINK, 0.06)
    if mood == "angry":
        pen.box(0.28, 0.64, 0.72, 0.8, BLACK)
        pen.box(0.31, 0.67, 0.69, 0.77, WHITE)
        for x in (0.4, 0.5, 0.6):
            pen.line(BLACK, 0.03, (x, 0.66), (x, 0.78))
    elif mood == "crying":
        pen.arc(0.5, 0.84, 0.15, 200, 340, INK, 0.07)
    elif mood == "disgusted":
        pen.line(INK, 0.06, *[(0.24 + 0.13 * i, 0.66 + 0.05 * (-1) ** i) for i in range(5)])
        pen.disc(0.56, 0.77, 0.1, DARK_RED, 0.12)
    elif mood == "surprised":
        pen.disc(0.5, 0.72, 0.13, DARK_RED, 0.16)
    else:
        pen.arc(0.5, 0.5, 0.29, 25, 155, DARK_RED, 0.08)


def mood_faces(*moods: str) -> dict[str, Callable]:
    """{"angry face": draws it with a pen, …}"""
    return {f"{mood} face": functools.partial(_face, mood=mood) for mood in moods}
