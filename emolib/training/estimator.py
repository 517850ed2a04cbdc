"""The network as scikit-learn estimators, on lists of picture files; `fit` in one call."""

import copy
import numbers
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from ..base.devices import pick_device
from ..data.batches import decode_all
from ..data.datasets import EXCLUDED, Dataset, without_excluded
from ..data.layouts.common import POLARITY, SCALE, polarity
from ..data.layouts.own import labelled
from ..data.tasks import POLARITIES, SCALE_NAMES
from ..spec import recipe
from ..spec.run_spec import RunSpec, TaskName
from ..spec.systems import system_of
from ..use.predict import Predictor
from ..use.saved import short_card
from .fitting import fitted

FEW_OF_A_CLASS = 10  # pictures; fewer are worth a warning


class _Estimator(BaseEstimator):
    """What `EmotionClassifier` and `EmotionRegressor` share: parameters and training."""

    def __init__(
        self,
        model="maiafa",
        backbone=None,
        image_size=224,
        epochs=None,
        batch_size=32,
        lr=None,
        freeze_bn=None,
        init="imagenet",
        weights="",
        seed=0,
        device="auto",
        freeze=None,
        head_lr=None,
        optimizer=None,
        schedule=None,
        weight_decay=None,
    ):
        self.model = model
        self.backbone = backbone
        self.image_size = image_size
        self.freeze = freeze
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.head_lr = head_lr
        self.optimizer = optimizer
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.freeze_bn = freeze_bn
        self.init = init
        self.weights = weights
        self.seed = seed
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags

    def _train(self, paths: list[Path], task: TaskName, labels: np.ndarray, **known):
        """Trains the network on pictures of which a `Dataset` is told `labels` and `known`."""
        spec = self._spec(len(paths), task)
        root = os.path.commonpath([path.parent for path in paths])
        data = Dataset("own", Path(root), paths, labels, layout="X and y", task=task, **known)
        decode_all(data)
        found = fitted(spec, data, *self._where)
        self.history_, self.spec_, self.network_ = found.history, spec, found.network
        self.drawn_ = data.demo
        return self

    def _predictor(self) -> Predictor:
        check_is_fitted(self)
        weights, name = self._where
        device = pick_device(name)
        network = self.network_.to(device)
        known = {"drawn": self.drawn_, "classes": self._names()}
        return Predictor(self.spec_, network, device, weights, **known)

    @property
    def _where(self) -> tuple[str, str]:
        """The weights and the device, of which None means the default too."""
        return str(self.weights or ""), self.device or "auto"

    def _answers(self, X) -> np.ndarray:
        """The predictor's answers, n×classes float64."""
        found = self._predictor().predict(_paths(X))
        return found.drop(columns=["path", "label", "emotion"], errors="ignore").to_numpy(float)

    def _spec(self, pictures: int, task: TaskName = "polarity") -> RunSpec:
        others = ("weights", "device")  # no settings of a run
        params = self.get_params().items()
        given = {name: v for name, v in params if v is not None and name not in others}
        system = system_of(self.model)
        trained = system.can_freeze and self.init != "scratch"  # else there is nothing to freeze
        given.setdefault("freeze", "backbone" if trained else "")
        if self.init == "scratch":  # random weights have no statistics to freeze
            given.setdefault("freeze_bn", False)
        settings = recipe.SETTINGS.get(given["freeze"], {}) | given
        if system.backbone and system.takes != "its own":
            settings.setdefault("backbone", recipe.BACKBONE)
        if isinstance(self.batch_size, numbers.Integral):  # RunSpec refuses all else
            size = max(1, int(self.batch_size))
            settings.setdefault("epochs", recipe.epochs(pictures, size))
        spec = RunSpec("own", task=task, **settings)
        if spec.stages:
            raise ValueError(f"init={self.init!r}: here 'imagenet' or 'scratch'")
        return spec

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = copy.deepcopy(state["network_"]).cpu()
        return state

    def __setstate__(self, state):
        """Of a pickle from an earlier version, what was not asked for then."""
        before = {"freeze": "", "optimizer": "sgd", "schedule": "step", "head_lr": 1.0}
        before |= {"drawn_": False} if "network_" in state else {}
        super().__setstate__(before | {"weight_decay": 1e-3} | state)


class EmotionClassifier(ClassifierMixin, _Estimator):
    """Any system of `create_model` with scikit-learn's manners, trained by the package's own loop.

    X: paths of picture files, n strings or Paths in a list, an array, a column or a one-column
    frame. y: labels of any kind, two or more. Of two, the second in sorted order is what the
    network calls positive; more are learnt as emotions.

    Parameters are some of RunSpec's; `run` has the rest. None is what `spec.recipe` has: the head
    alone is trained, on a frozen `tf_efficientnet_lite2` with ImageNet weights, which takes minutes
    on a CPU. freeze="", random weights and systems that cannot learn so: the backbone learns too,
    which takes several times as long. init: "imagenet" or "scratch". weights: a file of the
    backbone's ImageNet weights or a folder with it, "" for timm's download.

    After `fit`: classes_, spec_, history_ (a dict an epoch), network_, the trained module, and
    drawn_, whether emolib's demo drew the pictures. A pickle holds the network for a CPU, so that
    any machine reads it.

    `fit` raises ValueError for labels that cannot be learnt, settings that RunSpec refuses and
    files that are no pictures, FileNotFoundError for a missing one, RuntimeError where the weights
    cannot be downloaded, before it trains.
    """

    def fit(self, X, y) -> "EmotionClassifier":
        paths = _paths(X)
        classes, labels = _labels(X, y)
        if len(classes) == 2:
            self._train(paths, "polarity", labels)
        else:  # by number: their order is that of classes_
            numbered = np.array([f"{label:04}" for label in labels])
            self._train(paths, "emotion", np.full(len(paths), -1), emotions=numbered)
        self.classes_ = classes
        return self

    def predict_proba(self, X) -> np.ndarray:
        """n×classes float64, columns as in classes_."""
        p = self._answers(X)
        return np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p

    def predict(self, X) -> np.ndarray:
        p = self.predict_proba(X)
        two = p.shape[1] == 2
        return self.classes_[(p[:, 1] >= 0.5).astype(int) if two else p.argmax(1)]

    def _names(self) -> tuple[str, ...]:
        return POLARITIES if len(self.classes_) == 2 else tuple(map(str, self.classes_))


class EmotionRegressor(RegressorMixin, _Estimator):
    """Valence and arousal of pictures. y: n×2, from 1 to 9, as Emotion6 has them, valence first.
    Parameters, X and all else are as in `EmotionClassifier`."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = tags.target_tags.two_d_labels = True
        return tags

    def fit(self, X, y) -> "EmotionRegressor":
        paths = _paths(X)
        if list(getattr(y, "columns", SCALE_NAMES)) == list(reversed(SCALE_NAMES)):
            raise ValueError(f"y has the columns {', '.join(y)}; {SCALE_NAMES[0]} comes first")
        measured = check_array(y, dtype=float)
        check_consistent_length(X, measured)
        low, high = SCALE
        if measured.shape[1] != 2 or not ((measured >= low) & (measured <= high)).all():
            raise ValueError(
                f"y of shape {measured.shape}, {measured.min():g} to {measured.max():g}: valence "
                f"and arousal of each picture, in two columns, from {low:g} to {high:g}"
            )
        extra = pd.DataFrame(measured, columns=list(SCALE_NAMES))
        return self._train(paths, "valence", np.full(len(paths), -1), extra=extra)

    def predict(self, X) -> np.ndarray:
        """n×2 float64: valence and arousal."""
        return self._answers(X)

    def _names(self) -> tuple[str, ...]:
        return SCALE_NAMES


def fit(pictures, labels=None, **settings) -> Predictor:
    """Trains a network on one's own pictures and returns it as a Predictor.

    pictures: a CSV file with the columns path,label (paths from its folder on), a folder that holds
    such a labels.csv, without the pictures in an `excluded.csv` beside it (path,reason), or paths
    of picture files with as many `labels`. A label is 1 or "positive", 0 or "negative"; for
    emotions or valence take `EmotionClassifier` or `EmotionRegressor`, or `run` with a task.
    settings: those of `EmotionClassifier`, by whose recipe it is trained.

    Raises FileNotFoundError where there is no such file, ValueError for a label that is none of
    these, naming its row, and what `EmotionClassifier.fit` raises.
    """
    if isinstance(pictures, (str, Path)) != (labels is None):
        raise ValueError("pictures: a CSV file or a folder without labels, or a list with labels")
    if labels is None:
        file = Path(pictures) / "labels.csv" if Path(pictures).is_dir() else Path(pictures)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: there is no such file; its columns are path,label")
        found = labelled(file)
        data = without_excluded(Dataset("own", file.parent, found.paths, found.labels))
        paths, known = data.paths, data.labels.tolist()
        if -1 in known:
            raise ValueError(
                f"{file} has no column label; its columns are path,label. For emotions or valence "
                "see EmotionClassifier and EmotionRegressor (docs/tasks.md)"
            )
        without = len(found.paths) - len(paths)
    else:
        paths, known = list(pictures), [_polarity(*one) for one in enumerate(labels)]
        check_consistent_length(paths, known)
        without = 0
    model = EmotionClassifier(**settings)
    excluded = f"; {without} left out by {EXCLUDED}" if without else ""
    print(f"{len(paths)} pictures, {sum(known)} of them positive{excluded}")
    fewer = min(sum(known), len(known) - sum(known))
    if fewer < FEW_OF_A_CLASS:
        warnings.warn(
            f"{fewer} pictures of one class: too few to learn it; a few hundred in all are enough "
            "to begin",
            stacklevel=2,
        )
    model.fit(paths, known)
    said = (
        f"It learnt {len(paths)} pictures of its owner's, {sum(known)} of them labelled positive. "
    )
    card = short_card(model.spec_, said + "How good it is on others was not measured.")
    return replace(model._predictor(), card=card)


def _polarity(row: int, label) -> int:
    """0 or 1, as one's own labels.csv spells it, or a number or bool of that value."""
    if isinstance(label, (numbers.Number, np.bool_)) and label in (0, 1):
        return int(label)
    if (known := polarity(str(label))) is None:
        raise ValueError(f"labels[{row}] is {label!r}: one of {', '.join(POLARITY)}")
    return known


def _labels(X, y) -> tuple[np.ndarray, np.ndarray]:
    """The classes and y as their numbers. ValueError for fewer than two, one label a row of X."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    check_classification_targets(y)
    check_consistent_length(X, y)
    encoder = LabelEncoder()
    labels = encoder.fit_transform(column_or_1d(y, warn=True))
    count = len(encoder.classes_)
    if count < 2:
        raise ValueError(f"y has 1 class ({encoder.classes_[0]}); two are needed at least")
    return encoder.classes_, labels


def _paths(X) -> list[Path]:
    """Absolute paths, one a row of X. ValueError for rows that are none."""
    rows = np.asarray(X, dtype=object)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim != 1 or not len(rows):
        raise ValueError(
            f"X has shape {rows.shape}; expected n paths of pictures, one at least, in one column"
        )
    for i, row in enumerate(rows):
        if not isinstance(row, (str, Path)):
            raise ValueError(f"X[{i}] is {row!r}, not the path of a picture")
    paths = [Path(os.path.abspath(row)) for row in rows]
    for i, path in enumerate(paths):
        if not path.is_file():
            raise FileNotFoundError(f"X[{i}]: there is no file {rows[i]}")
    return paths
