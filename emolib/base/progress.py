"""Progress for a person who watches, a line now and then for a log, and facts for `make`."""

import contextlib
import functools
import json
import os
import sys
import time

import tqdm.auto
import tqdm.std

TOLD_IN = "EMOLIB_PROGRESS"  # the file that `tell` writes to; notebooks/run.py reads it


def watched() -> bool:
    """Whether somebody sees the bar move: in JupyterLab, VS Code or a terminal, not in a log."""
    if "ipykernel" in sys.modules and not sys.stderr.isatty():
        return bool(os.environ.get("JPY_SESSION_NAME") or os.environ.get("VSCODE_PID"))
    return sys.stderr.isatty()


def bar(things, description: str, total: int | None = None):
    """tqdm over `things`. Where nobody watches it prints a line every minute, after the first."""
    if TOLD_IN in os.environ:
        things, total = _told(things, description, total), total or len(things)
    if watched():
        return tqdm.auto.tqdm(things, desc=description, total=total, leave=False)
    quiet = functools.partial(tqdm.std.tqdm, delay=60, mininterval=60, maxinterval=600, ascii=True)
    return quiet(things, desc=description, total=total, leave=False, file=sys.stdout)


def asked() -> bool:
    """Whether somebody reads what `tell` writes."""
    return bool(os.environ.get(TOLD_IN))


def tell(**facts) -> None:
    """Adds a line of JSON to the file that TOLD_IN names, from whatever process. Without one, or
    where it cannot be written, nothing happens: progress stops no training."""
    if file := os.environ.get(TOLD_IN):
        with contextlib.suppress(OSError), open(file, "a", encoding="utf-8") as out:
            out.write(json.dumps(facts) + "\n")  # one write, so that lines stay whole


def _told(things, description: str, total: int | None):
    """`things`, told of once a second."""
    total, last = total or len(things), 0.0
    for number, thing in enumerate(things):
        if time.monotonic() - last > 1:
            last = time.monotonic()
            tell(step=description, number=number, total=total)
        yield thing
