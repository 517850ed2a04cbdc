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
    tested: pd.DataFrame  # those answered: what `splits.tested` has, p_positive
    missing: list[str]  # pictures of the protocol without an answer
    foreign: list[str]  # names that mean no test picture of it
    unclear: list[str]  # names that may mean several
    repeated: list[str]  # names given more than once, with one answer

    @property
    def whole(self) -> bool:
        """Whether there is an answer to each picture, and to nothing else."""
        return not (self.missing or self.foreign or self.unclear)


def read_sheet(predictions, dataset: str, protocol: str) -> Sheet:
    """The answers in a frame or in CSV files with the columns path and p_positive.

    Raises ValueError that names the row for an answer that is no probability and for two answers
    to one picture, and where no name means a picture, or where less than half of a fold is
    answered: scores are means over folds.
    """
    listed = splits.tested(dataset, protocol)
    frame = _rows(predictions)
    every = splits.every_path(dataset)  # so that no name of a picture that is learnt means another
    place = every.map(pd.Series(listed.index, listed["path"])).fillna(splits.FOREIGN).astype(int)
    found = splits.positions(frame["path"], every)
    found = np.where(found >= 0, place.to_numpy()[found], found)
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
    for fold, part in tested.groupby("fold"):
        if 2 * len(part) < (of_fold := part["of_fold"].iloc[0]):
            raise ValueError(
                f"fold {fold}: {len(part)} of its {of_fold} pictures are answered; scores are "
                "means over folds, so answer more of it, or leave it out"
            )
    missing = listed["path"].drop(answer.index).tolist()
    return Sheet(len(listed), tested.reset_index(drop=True), missing, foreign, unclear, repeated)


def _rows(predictions) -> pd.DataFrame:
    """path, p_positive and line: where each row stands. Raises ValueError for what is no answer."""
    if isinstance(predictions, pd.DataFrame):
        parts = [("row", predictions.reset_index(drop=True), 0)]
    else:
        files = [predictions] if isinstance(predictions, (str, Path)) else list(predictions)
        parts = [(f"{file} line", read_answers(file), 2) for file in files]
    found = []
    for where, frame, first in parts:
        frame = frame.set_axis([str(column).strip().lower() for column in frame], axis=1)
        if not {"path", "p_positive"} <= {*frame.columns}:
            there = ", ".join(map(str, frame.columns))
            raise ValueError(f"{where} 1: columns path and p_positive are needed, not {there}")
        frame = frame[frame["path"].notna() | frame["p_positive"].notna()]  # no empty lines
        p = pd.to_numeric(frame["p_positive"], errors="coerce")
        wrong = ~p.between(0, 1)  # nan is not
        if wrong.any():
            i = int(np.argmax(wrong))
            value, path, line = frame["p_positive"].iloc[i], frame["path"].iloc[i], frame.index[i]
            raise ValueError(
                f"{where} {line + first}: {path}: p_positive is {value}, not in 0 to 1"
            )
        lines = [f"{where} {i + first}" for i in frame.index]
        part = {"path": frame["path"].astype(str), "p_positive": p, "line": lines}
        found.append(pd.DataFrame(part))
    if not sum(map(len, found)):
        raise ValueError(f"{parts[0][0] if parts else 'predictions'}: there is no answer in it")
    return pd.concat(found, ignore_index=True)


def read_answers(file) -> pd.DataFrame:
    """A CSV file as it is, with its empty lines. Raises ValueError that names it where it is none,
    or no UTF-8 text."""
    how = {"encoding": "utf-8-sig", "index_col": False, "skip_blank_lines": False}
    try:
        return pd.read_csv(file, dtype={"path": str}, **how)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no CSV file in UTF-8 ({error})") from error
