"""A trained network elsewhere: load it, ask it, explain it, share it.

May import `spec`, `base`, `data`, `network` and `tables`. Read `load` first, then `predict`,
`inputs`, `explain`; `saved`, `hub`, `card` and `export` carry it to others.
"""

import lazy_loader

_files = "load predict inputs explain saved hub card export".split()
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files)
