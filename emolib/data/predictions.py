"""A predictions.csv of any task: made, and held against its set and its task."""

import numpy as np
import pandas as pd
import torch

from .layouts.common import SCALE, shown
from .tasks import SCALE_NAMES, TASKS, Data


def predictions_of(data: Data, indices, answers: np.ndarray) -> pd.DataFrame:
    """predictions.csv for these pictures of the set."""
    task = TASKS[data.task]
    known, said = task.known(data, indices), task.answered(data.classes, answers)
    return pd.DataFrame({"path": [data.names[i] for i in indices]} | known | said)


def constant_of(data: Data, indices) -> dict[str, float]:
    """The one answer that is best by these pictures where nothing is known of a picture."""
    nothing = np.zeros((len(indices), len(data.classes)))
    return TASKS[data.task].constant(predictions_of(data, indices, nothing))


def known_of(frame: pd.DataFrame) -> dict[str, tuple]:
    """{path: what is known of the picture} in a predictions.csv: its label, emotion, …"""
    columns = [c for c in frame.columns if c.startswith("label") or c == "emotion"]
    # eight digits: votes are float32
    rows = frame[columns].round(8).itertuples(index=False, name=None)
    return dict(zip(frame["path"].astype(str), rows, strict=True))


def same_known(data: Data, indices, frame: pd.DataFrame) -> bool:
    """Whether a predictions.csv is of these pictures, with what is known of them."""
    known = pd.DataFrame(
        {"path": [data.names[i] for i in indices]} | TASKS[data.task].known(data, indices)
    )
    mine, its = known_of(known), known_of(frame)
    # the columns' names, and values to the digits of a CSV
    return (
        [c for c in frame if c in known] == list(known)
        and [c for c in frame if c.startswith("p_")] == _said(data)
        and mine.keys() == its.keys()
        and agree(mine, its)
    )


def agree(mine: dict[str, tuple], its: dict[str, tuple]) -> bool:
    """Whether two `known_of` say the same of all pictures of the first, to a CSV's digits."""
    return all(
        a == b or (isinstance(a, float) and abs(a - b) < 1e-5 * max(1, abs(a)))
        for path in mine
        for a, b in zip(mine[path], its[path], strict=True)
    )


def wrong_constant(frame: pd.DataFrame, constant) -> str:
    """What is wrong with a `constant_of` beside a predictions.csv, "" where nothing is."""
    said = [c for c in frame if str(c).startswith("p_")] or list(SCALE_NAMES)
    numbers = isinstance(constant, dict) and all(
        isinstance(value, (int, float)) and np.isfinite(value) for value in constant.values()
    )
    if numbers and {*constant} == {*said}:
        return ""
    return f"has the constant answer {shown(constant)}; expected a number for {', '.join(said)}"


def same_answer(mine: dict[str, float], its: dict[str, float]) -> bool:
    """Whether two `constant_of` are the same, but for the order in which they were summed."""
    return mine.keys() == its.keys() and agree(
        {name: (value,) for name, value in mine.items()},
        {name: (value,) for name, value in its.items()},
    )


def _said(data: Data) -> list[str]:
    """The columns of probabilities in its predictions.csv."""
    said = TASKS[data.task].answered(data.classes, np.zeros((0, len(data.classes))))
    return [column for column in said if column.startswith("p_")]


def wrong_columns(task: str, frame: pd.DataFrame) -> str:
    """What is wrong with the columns of a predictions.csv of the task, "" where nothing is."""
    given = [str(column) for column in frame.columns[1:]]
    classes = tuple(c.removeprefix("p_") for c in given if c.startswith("p_")) or SCALE_NAMES
    expected = TASKS[task].columns(classes)
    optional = [c for c in expected if c != "emotion" or task == "emotion"]
    fine = given in (expected, optional) and list(frame.columns[:1]) == ["path"]
    return "" if fine else f"has the columns {list(frame.columns)}"


def wrong_values(task: str, frame: pd.DataFrame) -> str:
    """What is wrong with the numbers of a predictions.csv of the task, "" where nothing is."""
    whole = frame["label"] if "label" in frame else frame.filter(regex="^label_")
    if task in ("polarity", "multilabel") and not whole.isin([0, 1]).to_numpy().all():
        return "has labels besides 0 and 1"
    ends = SCALE if task == "valence" else (0.0, 1.0)
    for column in frame.columns.drop(["path", "emotion"], errors="ignore"):
        if not frame[column].between(*ends).all():
            return f"has a {column} that is not between {ends[0]:g} and {ends[1]:g}"
    sums = torch.tensor(frame.filter(regex="^p_").to_numpy(float)).sum(1)
    one = task in ("emotion", "distribution")
    return "has probabilities that do not sum to 1" if one and (sums - 1).abs().max() > 1e-4 else ""
