"""Anyone's answers to a set's test pictures, as they come: which picture each means, which are
missing, foreign or given twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import splits

P_POSITIVE = "p_positive"  # the column of the usual answer
NAMED = 5  # pictures of a kind that a text names


@dataclass(frozen=True)
class Sheet:
    """Answers to a protocol's test pictures."""

    expected: int  # pictures that the protocol tests
    tested: pd.DataFrame  # those answered: what `splits.tested` has, and the answers
    missing: list[str]  # pictures of the protocol without an answer
    foreign: list[str]  # names that mean no test picture of it
    unclear: list[str]  # names that may mean several
    repeated: list[str]  # names given more than once, with one answer

    @property
    def whole(self) -> bool:
        """Whether there is an answer to each picture, and to nothing else."""
        return not (self.missing or self.foreign or self.unclear)

    @property
    def answered(self) -> str:
        """How many pictures, in words."""
        return f"{len(self.tested)} of {self.expected}"

    def about_names(self) -> Iterator[str]:
        """A line for each kind of name that is wrong."""
        kinds = {
            "without an answer": self.missing,
            "names that mean no test picture of it": self.foreign,
            "names that may mean several pictures (give their folders)": self.unclear,
            "given twice, with one answer": self.repeated,
        }
        for what, names in kinds.items():
            if names:
                more = ", …" * (len(names) > NAMED)
                yield f"- {len(names)} {what}: {', '.join(names[:NAMED])}{more}"


def read_sheet(
    predictions, dataset: str, protocol: str, answers=(P_POSITIVE,), ends=(0, 1)
) -> Sheet:
    """The answers in a frame or in CSV files that have the column path and those of `answers`,
    which hold numbers between `ends`.

    Raises ValueError that names the row for an answer that is no such number and for two answers
    to one picture, and where no name means a picture, or where less than half of a fold is
    answered: scores are over whole folds.
    """
    listed = splits.tested(dataset, protocol)
    frame = _rows(predictions, list(answers), ends)
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
        if len(rows[list(answers)].drop_duplicates()) > 1:
            given = rows[list(answers)].itertuples(index=False, name=None)
            said = (", ".join(map(str, values)) for values in given)
            lines = " and ".join(f"{at} ({v})" for at, v in zip(rows["line"], said, strict=True))
            path = listed["path"][position]
            raise ValueError(f"{path} has several answers: {lines}; one is needed")
    repeated = frame.loc[frame["position"].duplicated(), "path"].tolist()
    answer = frame.drop_duplicates("position").set_index("position")[list(answers)]
    tested = listed.loc[np.sort(answer.index)].join(answer)
    for fold, part in tested.groupby("fold"):
        if 2 * len(part) < (of_fold := part["of_fold"].iloc[0]):
            raise ValueError(
                f"fold {fold}: {len(part)} of its {of_fold} pictures are answered; scores are "
                "over whole folds, so answer more of it, or leave it out"
            )
    missing = listed["path"].drop(answer.index).tolist()
    return Sheet(len(listed), tested.reset_index(drop=True), missing, foreign, unclear, repeated)


def columns_of(predictions) -> list[str]:
    """The columns of a frame or of the first of CSV files, in small letters."""
    _, frame, _ = next(iter(_parts(predictions)), ("", pd.DataFrame(), 0))
    return list(frame)


def _parts(predictions) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """(what a row is called, the frame, the number of its first row) of each frame or file."""
    if isinstance(predictions, pd.DataFrame):
        frames = [("row", predictions.reset_index(drop=True), 0)]
    else:
        files = [predictions] if isinstance(predictions, (str, Path)) else list(predictions)
        frames = [(f"{file} line", read_answers(file), 2) for file in files]
    for where, frame, first in frames:
        columns = pd.Index([str(c).strip().lower() for c in frame])
        if columns.has_duplicates:
            raise ValueError(f"{where} 1: column {columns[columns.duplicated()][0]} is there twice")
        yield where, frame.set_axis(columns, axis=1), first


def _rows(predictions, answers: list[str], ends: tuple) -> pd.DataFrame:
    """path, the answers and line: where each row stands. Raises ValueError for what is none."""
    found, where = [], "predictions"
    for where, frame, first in _parts(predictions):
        if not {"path", *answers} <= {*frame.columns}:
            there = ", ".join(map(str, frame.columns))
            wanted = " and ".join([", ".join(["path", *answers[:-1]]), answers[-1]])
            raise ValueError(f"{where} 1: columns {wanted} are needed, not {there}")
        frame = frame[frame[["path", *answers]].notna().any(axis=1)]  # no empty lines
        if (nameless := frame["path"].isna()).any():
            line = frame.index[int(np.argmax(nameless))]
            raise ValueError(f"{where} {line + first}: there is an answer and no path")
        numbers = frame[answers].apply(pd.to_numeric, errors="coerce")
        for column in answers:
            wrong = ~numbers[column].between(*ends)  # nan is not
            if wrong.any():
                i = int(np.argmax(wrong))
                value, path, line = frame[column].iloc[i], frame["path"].iloc[i], frame.index[i]
                raise ValueError(
                    f"{where} {line + first}: {path}: {column} is {value}, "
                    f"not in {ends[0]:g} to {ends[1]:g}"
                )
        lines = [f"{where} {i + first}" for i in frame.index]
        found.append(numbers.assign(path=frame["path"].astype(str), line=lines))
    if not sum(map(len, found)):
        raise ValueError(f"{where}: there is no answer in it")
    return pd.concat(found, ignore_index=True)


def read_answers(file) -> pd.DataFrame:
    """A CSV file as it is, with its empty lines. Raises ValueError that names it where it is none,
    or no UTF-8 text."""
    how = {"encoding": "utf-8-sig", "index_col": False, "skip_blank_lines": False}
    try:
        return pd.read_csv(file, dtype={"path": str}, **how)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no CSV file in UTF-8 ({error})") from error
