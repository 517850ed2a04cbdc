"""Anyone's answers beyond polarity on a set whose list is public: emotions, votes, valence."""

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ..base import task_scores
from ..base.emotions import NEGATIVE, POSITIVE
from ..base.files import whole_file, write_csv, write_text
from ..data import splits
from ..data.datasets import open_dataset
from ..data.layouts.common import SCALE
from ..data.predictions import agree, known_of
from ..data.tasks import SCALE_NAMES, TASKS
from ..spec.sets import in_words
from . import pages, significance, task_plots
from .entrants import comes_along, in_short
from .evaluation import p_cell
from .frame import studies_in
from .sheet import P_POSITIVE, Sheet, columns_of, read_sheet
from .tasks import (
    MEASURE_WORDS,
    answers_by_task,
    apart,
    has_tasks,
    resamples,
    rows_of_task,
    score_of,
)

TASK_SCORES = "measure value low high constant difference diff_low diff_high p_holm verdict".split()
TASK_AGAINST = "system measure value difference low high p_holm verdict".split()
SUM_OFF = 1e-3  # by so much may probabilities miss 1
HOW_JUDGED = (
    "Intervals: pictures drawn again, near-twins together. p is corrected for the number of "
    "comparisons (Holm). What is known of the pictures is {known}."
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
    known: str  # where what is known is from, in words
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
        columns: list[pages.Column] = [
            ("measure", _measure),
            ("value (95% interval)", score_of),
            ("constant answer", pages.number("constant", ".3f")),
            ("verdict", lambda row: row["verdict"] if isinstance(row["verdict"], str) else ""),
        ]
        lines += [*pages.markdown_table(columns, self.scores.to_dict("records")), ""]
        if self.answers["fold"].nunique() == 1:
            lines += ["One fold says nothing of the pictures it learnt: no constant answer.", ""]
        if self.against.empty:
            lines += ["No run here answers all of these pictures: nothing to compare with.", ""]
        else:
            columns = [
                ("system", itemgetter("system")),
                ("measure", _measure),
                ("its value", pages.number("value", ".3f")),
                (f"{self.name} minus it (95%)", _difference),
                ("p (Holm)", p_cell),
                ("verdict", itemgetter("verdict")),
            ]
            lines += [*pages.markdown_table(columns, self.against.to_dict("records")), ""]
        return "\n".join([*lines, HOW_JUDGED.format(known=self.known), ""])

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
    one. Of several emotions only the values say whether they are votes."""
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
    file's columns label_…, or those of the set in `data_root`.

    Raises what `sheet.read_sheet` does, and ValueError where the set has no emotions, what is known
    is not there, or probabilities do not sum to 1.
    """
    columns = columns_of(predictions)
    task, sure = task or task_of(columns), bool(task)
    answers, labels = _columns(task, columns)
    in_file = task != "emotion" and data_root is None
    if in_file and not {*labels} <= {*columns}:
        raise ValueError(
            f"{dataset}: its list has no {TASKS[task].needs.removesuffix(' for each picture')}; "
            f"give data_root, where the set lies, or columns {labels[0]}, …"
        )
    ends = SCALE if task == "valence" else (0, 1)
    sheet = read_sheet(predictions, dataset, protocol, answers + labels * in_file, ends)
    sums = sheet.tested[answers].sum(axis=1)
    wrong = (sums - 1).abs() > SUM_OFF
    if task == "distribution" and not sure and wrong.any():
        task = "multilabel"
    frame = _with_words(sheet.tested)
    if task == "emotion":
        _check_words(frame, dataset, answers)
    if task in ("emotion", "distribution") and wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{frame['path'][i]}: its probabilities sum to {sums[i]:g}; 1 is needed")
    if task == "emotion":
        known = "the emotion that the list has them under"
    elif in_file:
        known = "as these answers' own columns say"
    else:
        frame, known = _with_known(frame, dataset, task, data_root), "as the set's files say"
    frame = frame.assign(seed=0, run=name)
    scores = pd.DataFrame(rows_of_task(task, frame), columns=TASK_SCORES)
    against = _beside(frame, dataset, task, against)
    return TaskEvaluation(dataset, protocol, task, name, sheet, frame, known, scores, against)


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
        raise ValueError(f"{dataset}: a column is needed for each emotion; not {absent[0]}")


def _with_known(frame: pd.DataFrame, dataset: str, task: str, data_root) -> pd.DataFrame:
    """With the columns of what the set in data_root knows."""
    data = open_dataset(dataset, data_root, task=task)
    places = splits.positions(frame["path"], data.names)
    if (absent := places < 0).any():
        example = frame["path"][int(np.argmax(absent))]
        raise ValueError(f"{dataset}: {example} is not in {data.root}")
    known = pd.DataFrame(TASKS[task].known(data, places), index=frame.index)
    labels = [c for c in known if c.startswith("label_")]
    its = {c.removeprefix("label_") for c in labels}
    given = {c.removeprefix("p_") for c in frame if c.startswith("p_")}
    if task != "valence" and its != given:
        wanted = ", ".join(sorted(f"p_{name}" for name in its))
        raise ValueError(f"{dataset}: {task} has the columns {wanted}, not {', '.join(given)}")
    # beside each other in one order, as the measures take them
    said = [c.replace("label_", "p_") for c in labels] if task != "valence" else []
    others = [c for c in frame if c not in (*said, *known)]
    return pd.concat([frame[others], known, frame[said]], axis=1)


def _beside(frame: pd.DataFrame, dataset: str, task: str, against) -> pd.DataFrame:
    """TASK_AGAINST, for each measure that is a mean over pictures: every run's method that answers
    these pictures in these folds and knows the same of them, of its lowest seed."""
    root = comes_along().parent if against is None else Path(against)
    if against is not None and not studies_in(root):
        raise FileNotFoundError(f"{against}: no study with complete runs to compare with")
    own, rows = TASKS[task].by_picture(frame), list[dict[str, Any]]()
    counts = resamples(frame["group"])
    for study in filter(has_tasks, studies_in(root)):
        for (its_set, its_task, method), its in answers_by_task(study).items():
            its = its[its["seed"] == its["seed"].min()].set_index("path", drop=False)
            if (its_set, its_task) != (dataset, task) or not {*frame["path"]} <= {*its.index}:
                continue
            its = its.loc[frame["path"]].reset_index(drop=True)
            both = [c for c in its if c in frame and not c.startswith("p_")]
            same = agree(known_of(frame[both]), known_of(its[both]))
            if not same or (its["fold"] != frame["fold"]).any():
                continue
            for measure, values in TASKS[task].by_picture(its).items():
                row: dict[str, Any] = {
                    "system": in_short(f"{study.name}/{method}"),
                    "measure": measure,
                }
                rows.append(row | {"value": values.mean()} | apart(own[measure] - values, counts))
    for row, p in zip(rows, significance.holm([row["p"] for row in rows]), strict=True):
        lower = row["measure"] in task_scores.LOWER
        verdict = "better" if (row["difference"] < 0) == lower else "worse"
        row |= {"p_holm": p, "verdict": verdict if p < significance.ALPHA else "cannot tell"}
    return (
        pd.DataFrame(rows)
        .rename(columns={"diff_low": "low", "diff_high": "high"})
        .reindex(columns=TASK_AGAINST)
    )


def _measure(row) -> str:
    return MEASURE_WORDS.get(row["measure"], row["measure"])


def _difference(row) -> str:
    cells = (f"{row[c]:+.3f}".replace("-", "−") for c in ("difference", "low", "high"))
    return "{} ({} to {})".format(*cells)
