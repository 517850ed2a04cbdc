"""Modules by the names that they had before the wings, in emolib 0.1, for pickles and older code.

`EmotionClassifier` pickles name the classes of the network that they hold. `emolib.spec` and
`emolib.network` are wings now and have those classes under the same names.
"""

import importlib
import importlib.abc
import importlib.util
import sys

OLD = {
    "emolib.attention": "emolib.network.attention",
    "emolib.audit": "emolib.data.audit",
    "emolib.estimator": "emolib.training.estimator",
    "emolib.export": "emolib.use.export",
    "emolib.hub": "emolib.use.hub",
    "emolib.manifest": "emolib.data.manifest",
    "emolib.rivals": "emolib.network.rivals",
}


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module of OLD, or one inside it, under its old name: the same module, not a copy."""

    def find_spec(self, fullname, path=None, target=None):
        if _now(fullname):
            return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module):
        sys.modules[module.__name__] = importlib.import_module(_now(module.__name__))


def _now(name: str) -> str:
    """The present name of an old one; "" where it is none."""
    for old, new in OLD.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return ""
