"""Anyone's answers to a set's test pictures, as they come: which picture each means, which are
missing, foreign or given twice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import splits


@dataclass(frozen=True)
class Sheet:
    """Answers to a protocol's test pictures."""

    expected: int  # pictures that the protocol tests
    tested: pd.DataFrame  # those answered: path, label, group, fold, trained, p_positive
    missing: list[str]  # pictures of the protocol without an answer
    foreign: list[str]  # names that mean no picture of it
    unclear: list[str]  # names that may mean several
    repeated: list[str]  # names given more than once, with one answer

    @property
    def whole(self) -> bool:
        """Whether there is an answer to each picture, and to nothing else."""
        return not (self.missing or self.foreign or self.unclear)


def read_sheet(predictions, dataset: str, protocol: str) -> Sheet:
    """The answers in a frame or in CSV files with the columns path and p_positive.

    Raises ValueError that names the row for an answer that is no probability and for two answers
    to one picture, and where no name means a picture.
    """
    listed = splits.tested(dataset, protocol)
    frame = _rows(predictions)
    found = splits.positions(frame["path"], listed["path"])
    foreign, unclear = (
        frame.loc[found == kind, "path"].tolist() for kind in (splits.FOREIGN, splits.UNCLEAR)
    )
    frame = frame.assign(position=found)[found >= 0]
    if frame.empty:
        example = next(iter([*foreign, *unclear]), "nothing")
        raise ValueError(
            f"none of {len(found)} names, such as {example!r}, is a test picture of {dataset} "
            f"({protocol}), such as {listed['path'].iloc[0]!r}"
        )
    again = frame["position"].duplicated(keep=False)
    for position, rows in frame[again].groupby("position"):
        if rows["p_positive"].nunique() > 1:
            lines = " and ".join(f"{r.line} ({r.p_positive})" for r in rows.itertuples())
            path = listed["path"][position]
            raise ValueError(f"{path} has several answers: {lines}; one is needed")
    repeated = frame.loc[frame["position"].duplicated(), "path"].tolist()
    answer = frame.drop_duplicates("position").set_index("position")["p_positive"]
    tested = listed.loc[np.sort(answer.index)].assign(p_positive=answer)
    missing = listed["path"].drop(answer.index).tolist()
    return Sheet(len(listed), tested.reset_index(drop=True), missing, foreign, unclear, repeated)


def _rows(predictions) -> pd.DataFrame:
    """path, p_positive and line: where each row stands. Raises ValueError for what is no answer."""
    if isinstance(predictions, pd.DataFrame):
        parts = [("row", predictions.reset_index(drop=True), 0)]
    else:
        files = [predictions] if isinstance(predictions, (str, Path)) else list(predictions)
        parts = [(f"{file} line", pd.read_csv(file, dtype={"path": str}), 2) for file in files]
    found = []
    for where, frame, first in parts:
        if not {"path", "p_positive"} <= {*frame.columns}:
            there = ", ".join(map(str, frame.columns))
            raise ValueError(f"{where} 1: columns path and p_positive are needed, not {there}")
        p = pd.to_numeric(frame["p_positive"], errors="coerce")
        wrong = ~p.between(0, 1)  # nan is not
        if wrong.any():
            i = int(np.argmax(wrong))
            value, path = frame["p_positive"].iloc[i], frame["path"].iloc[i]
            raise ValueError(f"{where} {i + first}: {path}: p_positive is {value}, not in 0 to 1")
        lines = [f"{where} {i + first}" for i in range(len(frame))]
        part = {"path": frame["path"].astype(str), "p_positive": p, "line": lines}
        found.append(pd.DataFrame(part))
    return pd.concat(found, ignore_index=True)
