"""The course of the learning rate: for each schedule a function of how many epochs are done."""

import math

WARM_UP = 0.1  # of all epochs, in the cosine schedule


def stepped(spec, lr: float, done: float) -> float:
    """Table 6: divided by 10 every `lr_step` epochs."""
    for _ in range(int(done // spec.lr_step)):
        lr *= 0.1
    return lr


def cosine(spec, lr: float, done: float) -> float:
    """In the first tenth of the epochs up to `lr` in a straight line, then down to 0 by half a
    cosine."""
    warm_up = WARM_UP * spec.epochs
    if done < warm_up:
        return lr * done / warm_up
    return lr * (1 + math.cos(math.pi * (done - warm_up) / (spec.epochs - warm_up))) / 2


SCHEDULES = {"step": stepped, "cosine": cosine}


def rate(spec, done: float, lr: float | None = None) -> float:
    """The rate when `done` of the spec's epochs, a number with a fraction, are done; of parameters
    whose largest rate is `lr`, in place of the spec's."""
    return SCHEDULES[spec.schedule](spec, spec.lr if lr is None else lr, done)
