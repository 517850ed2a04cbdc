"""emolib: the image-emotion network of Zhang et al. (CMC 2023), its protocol and its tables.

Its public names are listed in `__init__.pyi`. A name's module is imported when the name is first
used: torch and timm take seconds, which `emolib --help` need not wait for. The wings, each of
which may import those before it: `spec`, `base`, `data`, `network` and `tables`, `use`,
`training`, `study`.
"""

import importlib
import sys

import lazy_loader
import wrapt

from .base.old_names import OldNames

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
sys.meta_path.insert(0, OldNames())  # first: the path finder would load a second copy


@wrapt.when_imported("timm")
def _register(timm):
    """The network in timm's registry, whichever of the two is imported first."""
    importlib.import_module(".network.timm_names", __name__)
