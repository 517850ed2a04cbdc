"""emolib: the image-emotion network of Zhang et al. (CMC 2023), its protocol and its tables."""

from . import audit, manifest, tables, timm_models  # noqa: F401 (registers the network with timm)
from .blocks import AFA, MAI
from .datasets import Dataset, open_dataset
from .demo import make_demo_data
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
__all__ = [
    "AFA",
    "Dataset",
    "MAI",
    "Predictor",
    "Readings",
    "RunResult",
    "RunSpec",
    "Study",
    "audit",
    "create_model",
    "estimate",
    "load",
    "make_demo_data",
    "manifest",
    "open_dataset",
    "run",
    "run_all",
    "tables",
    "verify",
]
