"""Anyone's answers beyond polarity on a set whose list is public: emotions, votes, valence."""

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ..base.emotions import NEGATIVE, POSITIVE
from ..base.files import whole_file, write_csv, write_text
from ..data import splits
from ..data.datasets import open_dataset
from ..data.layouts.common import SCALE, VOTES_MISS
from ..data.predictions import agree, known_of
from ..data.tasks import SCALE_NAMES, TASKS
from ..spec.sets import in_words
from . import pages, task_plots
from .entrants import comes_along, in_short
from .frame import complete_runs, studies_in
from .sheet import P_POSITIVE, Sheet, columns_of, read_sheet
from .tasks import (
    OTHERS,
    answers_by_task,
    apart,
    is_drawn,
    judge,
    measure_columns,
    measure_of,
    minus_of,
    resamples,
    rows_of_task,
)

TASK_SCORES = "measure value low high constant difference diff_low diff_high p_holm verdict".split()
DIFFERENCE = ["difference", "low", "high"]
TASK_AGAINST = ["system", "measure", "value", *DIFFERENCE, "p_holm", "verdict"]
DIGITS = 1e-4  # by less than this do shares miss 1 that have all their digits
HOW_JUDGED = (
    "Intervals: pictures drawn again, near-twins together. p is corrected for the number of "
    "comparisons (Holm). What is known of the pictures is {source}."
)


@dataclass(frozen=True)
class TaskEvaluation:
    """What `evaluate_task` found; units as in `task_scores`."""

    dataset: str
    protocol: str
    task: str
    name: str
    sheet: Sheet  # which pictures were answered, and what is wrong with the names
    answers: pd.DataFrame  # a predictions.csv of these pictures, with fold, seed and group
    source: str  # of what is known, in words
    scores: pd.DataFrame  # TASK_SCORES, a row a measure
    against: pd.DataFrame  # TASK_AGAINST: these answers minus each system's, on the same pictures

    def row(self) -> dict:
        """A row of a table: set, protocol, task, system, pictures, and the measures."""
        found = {"set": self.dataset, "protocol": self.protocol, "task": self.task}
        found |= {"system": self.name, "pictures": self.sheet.answered}
        for row in self.scores.itertuples():
            found |= {row.measure: row.value}
            found |= {f"{row.measure}_low": row.low, f"{row.measure}_high": row.high}
        return found

    def text(self) -> str:
        """All of it in words, as Markdown."""
        lines = [f"# {self._title()}", "", f"{self.sheet.answered} pictures answered."]
        lines += [*self.sheet.about_names(), ""]
        scores = self.scores.to_dict("records")
        lines += [*pages.markdown_table(measure_columns(), scores), ""]
        if self.answers["fold"].nunique() == 1:
            lines += ["One fold: what a constant answer learns from other folds is not known.", ""]
        if self.against.empty:
            why = "answers these pictures in these folds, with the same known of them"
            lines += [f"No run here {why}: nothing to compare with.", ""]
        else:
            columns: list[pages.Column] = [
                ("system", itemgetter("system")),
                ("measure", measure_of),
                ("its value", pages.number("value", ".3f")),
                (f"{self.name} minus it (95%)", partial(minus_of, columns=DIFFERENCE)),
                ("p (Holm)", pages.p_value("p_holm")),
                ("verdict", itemgetter("verdict")),
            ]
            lines += [*pages.markdown_table(columns, self.against.to_dict("records")), ""]
        return "\n".join([*lines, HOW_JUDGED.format(source=self.source), ""])

    def write(self, folder) -> Path:
        """Writes evaluation.md and .png, row.csv, scores.csv and against.csv into `folder`, which
        it returns."""
        folder = Path(folder)
        write_text(folder / "evaluation.md", self.text())
        write_csv(folder / "row.csv", pd.DataFrame([self.row()]))
        for name in ("scores", "against"):
            write_csv(folder / f"{name}.csv", getattr(self, name))
        key = self.dataset, self.task, self.name
        with whole_file(folder / "evaluation.png") as part:
            figure = task_plots.draw_tasks({key: self.answers}, self._title())
            figure.savefig(part, format="png", dpi=120)
        return folder

    def _title(self) -> str:
        where = f"{in_words(self.dataset)}: {self.protocol}"
        return f"{self.name} on {where}, {TASKS[self.task].title}"


def task_of(columns: list[str]) -> str:
    """The task whose answers have these columns. polarity where they are of none: that is the usual
    one. Beside columns label_… they are votes, or several emotions: their values say which."""
    if P_POSITIVE in columns or not (_emotions(columns) or {*SCALE_NAMES} <= {*columns}):
        return "polarity"
    if {*SCALE_NAMES} <= {*columns}:
        return "valence"
    return "distribution" if any(c.startswith("label_") for c in columns) else "emotion"


def evaluate_task(
    predictions, dataset: str, protocol="folds", against=None, name="yours", task="", data_root=None
) -> TaskEvaluation:
    """What answers to a task beyond polarity are worth, and how they stand beside the runs of the
    results folder `against`, or of the clone that this is.

    predictions: a frame or CSV files with path and the columns of a predictions.csv of the task.
    The emotion of a picture is the list's own. Votes and valence are in no list: they are the
    file's columns label_…, or those of the set in `data_root`. Probabilities and votes that a
    file's digits have rounded are divided by their sum.

    Raises what `sheet.read_sheet` does, and ValueError where the set has no emotions, what is known
    is not there, or is not of the emotions that are answered, or shares do not sum to 1.
    """
    columns = columns_of(predictions)
    given, task = bool(task), task or task_of(columns)
    answers, labels = _columns(task, columns)
    in_file = task != "emotion" and data_root is None
    if in_file:
        _check_labels(dataset, task, labels, columns)
    elif not given and task == "emotion" and data_root is not None:
        raise ValueError("what is in data_root is needed for votes alone: say which task it is")
    ends = SCALE if task == "valence" else (0, 1)
    sheet = read_sheet(predictions, dataset, protocol, answers + labels * in_file, ends)
    frame = _with_words(sheet.tested)
    source = "the emotion that the list has them under"
    if task == "emotion":
        _check_words(frame, dataset, answers)
    elif in_file:
        source = "as these answers' own columns say"
        there_or_not = frame[labels].isin([0, 1]).all(axis=1)
        if task == "distribution" and not given and there_or_not.all():
            task = "multilabel"
        if task == "multilabel" and not there_or_not.all():
            example = frame["path"][int(np.argmin(there_or_not))]
            raise ValueError(f"{example}: an emotion is there (1) or not (0) in multilabel")
        if task == "distribution":
            frame = _summing_to_1(frame, labels)
    else:
        frame, source = _with_known(frame, dataset, task, data_root), "as the set's files say"
    if task in ("emotion", "distribution"):
        frame = _summing_to_1(frame, answers)
    frame = frame.assign(seed=0, run=name)
    scores = pd.DataFrame(rows_of_task(task, frame), columns=TASK_SCORES)
    beside = _beside(frame, dataset, task, against)
    return TaskEvaluation(dataset, protocol, task, name, sheet, frame, source, scores, beside)


def _columns(task: str, columns: list[str]) -> tuple[list[str], list[str]]:
    """Those of the answers, and those of what is known. Raises ValueError without answers."""
    if task not in TASKS or task == "polarity":
        others = ", ".join(name for name in TASKS if name != "polarity")
        raise ValueError(f"task={task!r}: must be one of {others}, or polarity with p_positive")
    emotions = _emotions(columns)
    if not emotions and task != "valence":
        raise ValueError(f"{task}: columns p_<emotion> are needed, not {', '.join(columns)}")
    if task == "valence":
        return list(SCALE_NAMES), [f"label_{name}" for name in SCALE_NAMES]
    return [f"p_{name}" for name in emotions], [f"label_{name}" for name in emotions]


def _check_labels(dataset: str, task: str, labels: list[str], columns: list[str]) -> None:
    """That what is known is there, of just what is answered."""
    there = {c for c in columns if c.startswith("label_")}
    if not there:
        raise ValueError(
            f"{dataset}: its list has no {TASKS[task].needs.removesuffix(' for each picture')}; "
            f"give data_root, where the set lies, or columns {labels[0]}, …"
        )
    if apart := sorted(there ^ {*labels}):
        raise ValueError(
            f"{task}: answers and columns label_… have to be of the same names; "
            f"{apart[0].removeprefix('label_')} is on one side alone"
        )


def _summing_to_1(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """With these shares divided by their sum where a file's digits have rounded them."""
    sums = frame[columns].sum(axis=1)
    off = (sums - 1).abs()
    if (wrong := off > VOTES_MISS * len(columns)).any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"{frame['path'][i]}: {columns[0]}, … sum to {sums[i]:g}; 1 is needed "
            "(several emotions at once are task multilabel)"
        )
    # those with all their digits stay what they are
    return frame.assign(**frame[columns].div(sums.where(off > DIGITS, 1.0), axis=0))


def _emotions(columns: list[str]) -> list[str]:
    return [c.removeprefix("p_") for c in columns if c.startswith("p_") and c != P_POSITIVE]


def _with_words(tested: pd.DataFrame) -> pd.DataFrame:
    """With the emotion that is each picture's folder, where they all have one."""
    words = tested["path"].map(lambda path: PurePosixPath(path).parent.name.lower())
    return tested.assign(emotion=words) if words.isin(POSITIVE | NEGATIVE).all() else tested


def _check_words(frame: pd.DataFrame, dataset: str, answers: list[str]) -> None:
    if "emotion" not in frame:
        raise ValueError(f"{dataset}: its list has no emotions")
    if absent := sorted({f"p_{word}" for word in frame["emotion"]} - {*answers}):
        raise ValueError(f"{dataset}: {absent[0]} is missing; each of its emotions needs a column")


def _with_known(frame: pd.DataFrame, dataset: str, task: str, data_root) -> pd.DataFrame:
    """With the columns of what the set in data_root knows."""
    data = open_dataset(dataset, data_root, task=task)
    places = splits.positions(frame["path"], data.names)
    if (absent := places < 0).any():
        example = frame["path"][int(np.argmax(absent))]
        raise ValueError(f"{dataset}: {example} is not in {data.root}")
    known = pd.DataFrame(TASKS[task].known(data, places), index=frame.index)
    labels = [c for c in known if c.startswith("label_")]
    # beside each other in one order, as the measures take them
    said = [c.replace("label_", "p_") for c in labels] if task != "valence" else []
    given = [c for c in frame if c.startswith("p_")]
    if {*said} != {*given}:
        wanted, there = (", ".join(sorted(names)) for names in (said, given))
        raise ValueError(f"{dataset}: {task} has the columns {wanted}, not {there}")
    others = [c for c in frame if c not in (*said, *known)]
    return pd.concat([frame[others], known, frame[said]], axis=1)


def _beside(frame: pd.DataFrame, dataset: str, task: str, against) -> pd.DataFrame:
    """TASK_AGAINST, for each measure that is a mean over pictures: every run's method that answers
    these pictures in these folds and knows the same of them, of its lowest seed. Runs on drawn
    pictures are left out."""
    root = comes_along().parent if against is None else Path(against)
    if against is not None and not studies_in(root):
        raise FileNotFoundError(f"{against}: no study with complete runs to compare with")
    own, rows = TASKS[task].by_picture(frame), list[dict[str, Any]]()
    counts = resamples(frame["group"])
    for study in studies_in(root):
        its_runs = complete_runs(study, OTHERS)
        if not its_runs or is_drawn(its_runs[0]):
            continue
        for (its_set, its_task, method), its in answers_by_task(study).items():
            its = its[its["seed"] == its["seed"].min()].set_index("path", drop=False)
            if (its_set, its_task) != (dataset, task) or not {*frame["path"]} <= {*its.index}:
                continue
            its = its.loc[frame["path"]].reset_index(drop=True)
            labels = [c for c in its if c.startswith("label_")]
            if {*labels} != {c for c in frame if c.startswith("label_")}:
                continue
            known = ["path", *labels, *({"emotion"} & {*its} & {*frame})]
            same = agree(known_of(frame[known]), known_of(its[known]))
            if not same or (its["fold"] != frame["fold"]).any():
                continue
            theirs = TASKS[task].by_picture(its)
            for measure in (m for m in own if m in theirs):
                row: dict[str, Any] = {"system": in_short(f"{study.name}/{method}")}
                row |= {"measure": measure, "value": theirs[measure].mean()}
                rows.append(row | apart(own[measure] - theirs[measure], counts))
    judge(rows, "better", "worse", "cannot tell")
    return (
        pd.DataFrame(rows)
        .rename(columns={"diff_low": "low", "diff_high": "high"})
        .reindex(columns=TASK_AGAINST)
    )
