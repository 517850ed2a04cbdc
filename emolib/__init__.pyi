from . import data, tables
from .base.run_folder import RunResult
from .data import audit, manifest
from .data.datasets import Dataset, open_dataset
from .data.demo.demo import make_demo_data
from .network.blocks import AFA, MAI
from .network.create import create_model
from .spec.run_spec import Readings, RunSpec
from .study.study import Study
from .tables.checks.verify import verify
from .tables.referee import evaluate
from .training.estimator import EmotionClassifier, EmotionRegressor, fit
from .training.plan import estimate
from .training.run import run
from .training.sweep import run_all
from .use import export, hub
from .use.explain import Explanation
from .use.load import load
from .use.predict import Predictor

__version__: str
__all__ = [
    "AFA",
    "MAI",
    "Dataset",
    "EmotionClassifier",
    "EmotionRegressor",
    "Explanation",
    "Predictor",
    "Readings",
    "RunResult",
    "RunSpec",
    "Study",
    "audit",
    "create_model",
    "data",
    "estimate",
    "evaluate",
    "export",
    "fit",
    "hub",
    "load",
    "make_demo_data",
    "manifest",
    "open_dataset",
    "run",
    "run_all",
    "tables",
    "verify",
]
