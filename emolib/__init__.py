"""emolib: the image-emotion network of Zhang et al. (CMC 2023), its protocol and its tables."""

import importlib
import importlib.util
from typing import TYPE_CHECKING

import wrapt

if TYPE_CHECKING:  # for editors and type checkers; _HOME says the same
    from . import audit, manifest, tables
    from .blocks import AFA, MAI
    from .datasets import Dataset, open_dataset
    from .demo import make_demo_data
    from .estimator import EmotionClassifier
    from .explain import Explanation
    from .loading import load
    from .models import create_model
    from .plan import estimate
    from .predict import Predictor
    from .provenance import verify
    from .run_folder import RunResult
    from .runs import run
    from .spec import Readings, RunSpec
    from .study import Study
    from .sweep import run_all

__version__ = "0.1.0"
# A public name's module is imported when the name is first used: torch and timm take seconds, which
# `emolib --help` need not wait for.
_HOME = {
    "AFA": "blocks",
    "MAI": "blocks",
    "Dataset": "datasets",
    "EmotionClassifier": "estimator",
    "Explanation": "explain",
    "Predictor": "predict",
    "Readings": "spec",
    "RunResult": "run_folder",
    "RunSpec": "spec",
    "Study": "study",
    "create_model": "models",
    "estimate": "plan",
    "load": "loading",
    "make_demo_data": "demo",
    "open_dataset": "datasets",
    "run": "runs",
    "run_all": "sweep",
    "verify": "provenance",
}
__all__ = [*_HOME, "audit", "manifest", "tables"]


@wrapt.when_imported("timm")
def _register(timm):
    """The network in timm's registry, whichever of the two is imported first."""
    importlib.import_module(".timm_models", __name__)


def __getattr__(name: str):
    if name in _HOME:
        module = importlib.import_module(f".{_HOME[name]}", __name__)
        globals()[name] = getattr(module, name)
        return globals()[name]
    if (
        name.isidentifier()
        and not name.startswith("_")
        and importlib.util.find_spec(f"{__name__}.{name}")
    ):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
