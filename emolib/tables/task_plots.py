"""Figures of what networks answer beyond polarity: confusions, distributions, scales."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from ..base.emotions import WHEEL
from ..base.task_scores import columns, distances
from ..data.layouts.common import SCALE
from ..data.tasks import TASKS
from ..spec.sets import in_words
from .names import readable
from .plots import COLORS, GREY, OURS, panels

Answers = dict[tuple[str, str, str], pd.DataFrame]  # of `tasks.answers_by_task`


def draw_tasks(found: Answers, title: str) -> Figure:
    """A panel a set, task and method; each of the lowest seed."""
    across = min(2, len(found))
    figure, axes = panels(
        -(-len(found) // across), across, 5.2 * across, 4.4 * -(-len(found) // across)
    )
    for axis, ((dataset, task, method), frame) in zip(axes.flat, found.items(), strict=False):
        PANELS[task](axis, frame[frame["seed"] == frame["seed"].min()])
        words = f"{TASKS[task].title}: {in_words(dataset)}, {readable(method)}"
        axis.set_title(words, fontsize=9)
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    figure.suptitle(title.replace(" — ", "\n"))
    return figure


def _legend(axis, below: float = -0.16, **options) -> None:
    """Below the panel, over nothing."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, below)}
    axis.legend(fontsize=7, ncols=3, frameon=False, **place, **options)


def _confusion(axis, frame: pd.DataFrame) -> None:
    """Rows: the known emotion; the share of its pictures that is called each, in percent. FI's in
    the order of Mikels' wheel."""
    names, p = columns(frame, "p_")
    said = np.array(names)[p.argmax(1)]
    names = WHEEL if {*names} == {*WHEEL} else names
    shares = 100 * confusion_matrix(
        frame["emotion"].astype(str), said, labels=names, normalize="true"
    )
    sns.heatmap(shares, annot=True, fmt=".0f", cmap="Blues", cbar=False, ax=axis, vmin=0, vmax=100)
    axis.set_xticklabels(names, rotation=40, ha="right")
    axis.set_yticklabels(names, rotation=0)
    axis.set(xlabel="answered (% of a row)", ylabel="the set's word")


def _distribution(axis, frame: pd.DataFrame) -> None:
    """Mean votes and mean answers where an emotion leads people's votes."""
    names, known = columns(frame, "label_")
    _, p = columns(frame, "p_")
    leads = known.argmax(1)
    places = np.arange(len(names))
    of_leader = {k: leads == k for k in places if (leads == k).any()}
    voted = [known[rows, k].mean() for k, rows in of_leader.items()]
    answered = [p[rows, k].mean() for k, rows in of_leader.items()]
    always = [known[:, k].mean() for k in of_leader]
    at = np.arange(len(of_leader))
    axis.bar(at - 0.2, voted, 0.38, color=GREY, label="people's votes")
    axis.bar(at + 0.2, answered, 0.38, color=OURS, label="answered")
    axis.plot(at, always, "_", color="black", ms=22, label="votes for it, all pictures")
    led = [f"{names[k]} ({rows.sum()})" for k, rows in of_leader.items()]
    axis.set_xticks(at, led, rotation=40, ha="right", fontsize=8)
    kl = distances(frame)["kl"].mean()
    axis.set(
        ylabel="share of the emotion that leads",
        xlabel=f"emotion that leads (of how many pictures); KL {kl:.3f}",
    )
    _legend(axis, -0.34)


def _several(axis, frame: pd.DataFrame) -> None:
    """Precision against recall, a curve an emotion."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    (names, known), (_, p) = columns(frame, "label_"), columns(frame, "p_")
    for k, name in enumerate(names):
        if known[:, k].any():
            precision, recall, _ = precision_recall_curve(known[:, k], p[:, k])
            score = average_precision_score(known[:, k], p[:, k])
            often = known[:, k].mean()
            words = f"{name} {score:.2f} ({often:.2f})"
            color, style = COLORS[k % len(COLORS)], "-" if k < len(COLORS) else "--"
            axis.plot(recall, precision, style, color=color, label=words)
    axis.set(
        xlabel="recall; average precision (a constant answer's)",
        ylabel="precision",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    _legend(axis)


def _scales(axis, frame: pd.DataFrame) -> None:
    """Answered against measured."""
    for color, name in zip((OURS, COLORS[1]), ("valence", "arousal"), strict=True):
        known, said = frame[f"label_{name}"], frame[name]
        r = np.corrcoef(known, said)[0, 1]
        axis.scatter(known, said, s=5, alpha=0.35, color=color, label=f"{name}, r = {r:.2f}")
    axis.plot(SCALE, SCALE, color="0.6", lw=1)
    axis.set(xlabel="measured (mean of people)", ylabel="answered", xlim=SCALE, ylim=SCALE)
    _legend(axis, markerscale=2)


PANELS = {
    "emotion": _confusion,
    "distribution": _distribution,
    "multilabel": _several,
    "valence": _scales,
}
