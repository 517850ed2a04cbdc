"""How the sets lie on disk: one small function a layout turns a folder into a `Listing`.

Each set has a file of its name. `common.layout` says above each of its readers what is looked for
and how it is recognised. Readers raise FileNotFoundError or ValueError that names the file and the
row; none guesses a label.
"""

import importlib
from pathlib import Path

from .common import LAYOUTS, Listing, shortened


def read_layout(name: str, folder: Path, agree: int = 3) -> Listing:
    """What `folder` holds of the set `name`. Raises FileNotFoundError where it is in none of the
    set's layouts, ValueError where it is in several, and what the reader raises."""
    importlib.import_module(f".{name}", __name__)
    there = [layout for layout in LAYOUTS[name] if layout.recognised(folder)]
    if len(there) == 1:
        return there[0].read(folder, agree)
    entries = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    held = shortened(", ".join(entries[:12]) + (", …" if len(entries) > 12 else "")) or "nothing"
    if there:
        both = " and ".join(layout.what for layout in there)
        what = f"{folder} has several layouts at once, {both}"
        raise ValueError(f"{name}: {what}; move all but one away (it holds {held})")
    wanted = "; or ".join(layout.what for layout in LAYOUTS[name])
    raise FileNotFoundError(f"{name}: {folder} holds {held}; looked for {wanted}")
