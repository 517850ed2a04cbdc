"""Progress for a person who watches, a line now and then for a log."""

import functools
import os
import sys

import tqdm.auto
import tqdm.std


def watched() -> bool:
    """Whether somebody sees the bar move: in JupyterLab, VS Code or a terminal, not in a log."""
    if "ipykernel" in sys.modules and not sys.stderr.isatty():
        return bool(os.environ.get("JPY_SESSION_NAME") or os.environ.get("VSCODE_PID"))
    return sys.stderr.isatty()


def bar(things, description: str, total: int | None = None):
    """tqdm over `things`. Where nobody watches it prints a line every minute, after the first."""
    if watched():
        return tqdm.auto.tqdm(things, desc=description, total=total, leave=False)
    quiet = functools.partial(tqdm.std.tqdm, delay=60, mininterval=60, maxinterval=600, ascii=True)
    return quiet(things, desc=description, total=total, leave=False, file=sys.stdout)
