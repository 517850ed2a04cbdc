"""What a network learns of a set: polarity, an emotion, people's votes, several emotions, valence.

A task is one record of TASKS, under a name of `spec.run_spec.TaskName`: what it takes from the
set, its loss, how its logits become answers and what these are worth. The network's last layer
gives one logit for each of the task's `classes`.

In predictions.csv what is known stands before what was answered: `label`, `p_positive` (polarity);
`emotion`, `p_<emotion>` (emotion); `emotion`, `label_<emotion>`, `p_<emotion>` (distribution,
multilabel); `label_valence`, `label_arousal`, `valence`, `arousal` (valence).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from ..base import metrics, task_scores
from .layouts.common import SCALE, VOTES_MISS, shown

POLARITIES = ("negative", "positive")
SCALE_NAMES = ("valence", "arousal")
Data = Any  # a `datasets.Dataset`, which stands on this file


@dataclass(frozen=True)
class LabelTask:
    """One task. classes: of what its answers are. targets: what the loss sees, N int64 or
    N×classes float32; both raise ValueError where the set does not have what the task needs.

    loss: (logits, targets) → the mean over a batch. right: (logits, targets) → N float, 1 for a
    right answer; the mean is the history's training accuracy. answers: logits → N×classes, as in
    predictions.csv. known, answered: its columns. said: those of a predictor's answer. scores:
    predictions.csv → metrics.json. by_picture: of those scores that are a mean over pictures, each
    picture's value. constant: a predictions.csv → the columns of one answer for all its pictures.
    """

    title: str
    needs: str  # of a set, in words
    classes: Callable[[Data], tuple[str, ...]]
    targets: Callable[[Data], np.ndarray]
    loss: Callable[[Tensor, Tensor], Tensor]
    right: Callable[[Tensor, Tensor], Tensor]
    answers: Callable[[Tensor], Tensor]
    known: Callable[[Data, np.ndarray], dict]
    answered: Callable[[tuple[str, ...], np.ndarray], dict]
    said: Callable[[tuple[str, ...], np.ndarray], dict]
    words: Callable[[dict], str]  # one picture's `said`
    scores: Callable[[pd.DataFrame], dict]
    by_picture: Callable[[pd.DataFrame], dict[str, np.ndarray]]
    constant: Callable[[pd.DataFrame], dict[str, float]]
    columns: Callable[[tuple[str, ...]], list[str]]  # of predictions.csv, which may lack `emotion`
    measured: bool  # it learns what people said of each picture, not what it was found by
    fixed: tuple[str, ...]  # the classes where they are the same on every set
    best: str  # the score by which the best epoch on a validation part is chosen, higher is better


def _no(data: Data, but: str = "") -> ValueError:
    what = TASKS[data.task].needs + but
    return ValueError(f"{data.name}: task={data.task!r} needs {what}; {data.root} is {data.layout}")


def _polarities(data: Data) -> np.ndarray:
    if not data.has_polarity:
        raise _no(data, ", a column label")
    return data.labels.astype(np.int64)


def _emotions(data: Data) -> tuple[str, ...]:
    if data.emotions is None:
        raise _no(data)
    classes = tuple(sorted({str(emotion) for emotion in data.emotions}))
    if len(classes) < 2:
        raise _no(data, f", two different ones at least (all are {classes[0]!r})")
    return classes


def _emotion_numbers(data: Data) -> np.ndarray:
    number = {emotion: i for i, emotion in enumerate(_emotions(data))}
    return np.array([number[str(emotion)] for emotion in data.emotions], np.int64)


def _voted(data: Data) -> tuple[str, ...]:
    if len(data.votes) < 2:
        raise _no(data, ", two of them at least")
    return data.votes


def _shares(data: Data) -> np.ndarray:
    """N×emotions float32: the shares of the votes, each row's sum 1."""
    votes = data.extra[list(_voted(data))].to_numpy(float)
    if not (votes.sum(1) > 0).all():
        row = data.names[int(np.flatnonzero(votes.sum(1) <= 0)[0])]
        raise ValueError(f"{data.name}: {shown(row)} in {data.root} has no votes at all")
    return (votes / votes.sum(1, keepdims=True)).astype(np.float32)


def _several(data: Data) -> tuple[str, ...]:
    """All that was voted for but "neutral", which is no emotion."""
    names = tuple(name for name in _voted(data) if name != "neutral")
    if len(names) < 2:
        raise _no(data, f", two besides neutral at least (there is {names[0]})")
    return names


def _chosen(data: Data) -> np.ndarray:
    """N×emotions float32: 1 where an emotion has the least share of votes that counts."""
    kept = [data.votes.index(name) for name in _several(data)]
    return (_shares(data)[:, kept] >= data.least_votes - VOTES_MISS).astype(np.float32)


def _scales(data: Data) -> tuple[str, ...]:
    if data.extra is None or not set(SCALE_NAMES) <= set(data.extra):
        raise _no(data)
    return SCALE_NAMES


def _on_scale(data: Data) -> np.ndarray:
    """N×2 float32, −1…1 for the scale's 1…9."""
    low, high = SCALE
    values = data.extra[list(_scales(data))].to_numpy(float)
    return ((values - (low + high) / 2) / ((high - low) / 2)).astype(np.float32)


def _measured(outputs: Tensor) -> Tensor:
    """Of the last layer's −1…1, on the scale."""
    low, high = SCALE
    return ((low + high) / 2 + (high - low) / 2 * outputs).clamp(low, high)


def _word(data: Data, indices) -> dict:
    return {} if data.emotions is None else {"emotion": data.emotions[indices].astype(str)}


def _each(prefix: str, names, values: np.ndarray) -> dict:
    """A column for each class."""
    return {f"{prefix}{name}": values[:, k] for k, name in enumerate(names)}


def _with_the_first(classes: tuple[str, ...], answers: np.ndarray) -> dict:
    return {"emotion": [classes[k] for k in answers.argmax(1)]} | _each("p_", classes, answers)


def _highest(said: dict) -> str:
    """The three most probable emotions."""
    p = pd.Series({name: said[name] for name in said if name.startswith("p_")})
    first = p.sort_values(ascending=False, kind="stable").head(3)
    return ", ".join(f"{name.removeprefix('p_')} {value:.2f}" for name, value in first.items())


def _of_votes(classes: tuple[str, ...], prefixes=("label_", "p_")) -> list[str]:
    return ["emotion", *(prefix + name for prefix in prefixes for name in classes)]


def _most_frequent(frame: pd.DataFrame) -> dict[str, float]:
    """1 for the most frequent emotion, 0 for the others."""
    names, _ = task_scores.columns(frame, "p_")
    most = frame["emotion"].astype(str).mode()[0]
    return {f"p_{name}": float(name == most) for name in names}


def _mean_known(frame: pd.DataFrame, prefix: str) -> dict[str, float]:
    names, known = task_scores.columns(frame, "label_")
    return {prefix + name: float(mean) for name, mean in zip(names, known.mean(0), strict=True)}


def _best_few(frame: pd.DataFrame) -> dict[str, float]:
    """The most frequent emotions above 0.5, as many of them as give the best F1 by picture; each
    group in the order of how often they are there."""
    shares = pd.Series(_mean_known(frame, "p_")).sort_values(ascending=False)
    tried = [shares / 2 + 0.5 * (np.arange(len(shares)) <= k) for k in range(len(shares))]
    found = [frame.assign(**answer) for answer in tried]
    f1 = [task_scores.f1_of_several(answered)["example_f1"].mean() for answered in found]
    return tried[int(np.argmax(f1))].to_dict()


def _divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Kullback and Leibler's, 0 where the answer is the distribution itself."""
    return F.kl_div(logits.log_softmax(1), targets, reduction="batchmean")


def _same_class(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(1) == targets).float()


def _same_top(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(1) == targets.argmax(1)).float()


TASKS = {
    "polarity": LabelTask(
        "polarity",
        needs="polarity of each picture",
        classes=lambda data: POLARITIES,
        targets=_polarities,
        loss=F.cross_entropy,  # Eq. 10
        right=_same_class,
        answers=lambda logits: logits.softmax(1),
        known=lambda data, indices: {"label": data.labels[indices]},
        answered=lambda classes, answers: {"p_positive": answers[:, 1]},
        said=lambda classes, answers: {
            "label": (answers[:, 1] >= 0.5).astype(int),
            "p_positive": answers[:, 1],
        },
        words=lambda said: f"{POLARITIES[said['label']]}, p_positive {said['p_positive']:.3f}",
        scores=lambda frame: metrics.scores(frame["label"], frame["p_positive"]),
        by_picture=lambda frame: {
            "accuracy": 100.0 * ((frame["p_positive"] >= 0.5) == frame["label"]).to_numpy()
        },
        constant=lambda frame: {"p_positive": float(frame["label"].mean() >= 0.5)},
        columns=lambda classes: ["label", "p_positive"],
        measured=False,
        fixed=POLARITIES,
        best="accuracy",
    ),
    "emotion": LabelTask(
        "one emotion",
        needs="an emotion for each picture",
        classes=_emotions,
        targets=_emotion_numbers,
        loss=F.cross_entropy,
        right=_same_class,
        answers=lambda logits: logits.softmax(1),
        known=_word,
        answered=lambda classes, answers: _each("p_", classes, answers),
        said=_with_the_first,
        words=_highest,
        scores=task_scores.of_emotion,
        by_picture=task_scores.right_emotions,
        constant=_most_frequent,
        columns=lambda classes: _of_votes(classes, ("p_",)),
        measured=False,
        fixed=(),
        best="accuracy",
    ),
    "distribution": LabelTask(
        "distribution of votes",
        needs="people's votes for each picture, one column an emotion",
        classes=_voted,
        targets=_shares,
        loss=_divergence,
        right=_same_top,
        answers=lambda logits: logits.softmax(1),
        known=lambda data, indices: (
            _word(data, indices) | _each("label_", data.classes, data.targets[indices])
        ),
        answered=lambda classes, answers: _each("p_", classes, answers),
        said=_with_the_first,
        words=_highest,
        scores=task_scores.of_distribution,
        by_picture=task_scores.each_distribution,
        constant=lambda frame: _mean_known(frame, "p_"),
        columns=_of_votes,
        measured=True,
        fixed=(),
        best="intersection",
    ),
    "multilabel": LabelTask(
        "several emotions",
        needs="people's votes for each picture, one column an emotion",
        classes=_several,
        targets=_chosen,
        loss=F.binary_cross_entropy_with_logits,
        right=lambda logits, targets: ((logits >= 0) == (targets > 0.5)).float().mean(1),
        answers=lambda logits: logits.sigmoid(),
        known=lambda data, indices: (
            _word(data, indices) | _each("label_", data.classes, data.targets[indices].astype(int))
        ),
        answered=lambda classes, answers: _each("p_", classes, answers),
        said=_with_the_first,
        words=_highest,
        scores=task_scores.of_several,
        by_picture=task_scores.f1_of_several,
        constant=_best_few,
        columns=_of_votes,
        measured=True,
        fixed=(),
        best="mean_average_precision",
    ),
    "valence": LabelTask(
        "valence and arousal",
        needs="measured valence and arousal for each picture",
        classes=_scales,
        targets=_on_scale,
        loss=F.mse_loss,
        # of a regression: which side of the middle
        right=lambda outputs, targets: ((outputs >= 0) == (targets >= 0)).float().mean(1),
        answers=_measured,
        known=lambda data, indices: {
            f"label_{name}": data.extra[name].to_numpy(float)[indices] for name in SCALE_NAMES
        },
        answered=lambda classes, answers: _each("", classes, answers),
        said=lambda classes, answers: _each("", classes, answers),
        words=lambda said: ", ".join(f"{name} {value:.1f}" for name, value in said.items()),
        scores=task_scores.of_scales,
        by_picture=task_scores.errors_of_scales,
        constant=lambda frame: _mean_known(frame, ""),
        columns=lambda classes: [*(f"label_{name}" for name in classes), *classes],
        measured=True,
        fixed=SCALE_NAMES,
        best="valence_ccc",
    ),
}
