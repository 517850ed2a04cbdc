"""What `referee.evaluate` found, as words, tables and a figure."""

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..base.files import whole_file, write_csv, write_text
from ..data import splits
from ..spec.sets import in_words
from . import pages, plots
from .entrants import in_short
from .sheet import NAMED, Sheet

SURE_AT = 0.8  # of a wrong answer: the probability that it gave the wrong class
SCORE_WORDS = {
    "accuracy": "accuracy (Eq. 11)",
    "recall": "recall of the positive class (Eq. 12)",
    "recall_negative": "recall of the negative class",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "auroc": "AUROC",
    "log_loss": "log loss (nats)",
    "ece": "calibration error (10 bins)",
}
HOW_EVALUATED = (
    "Differences in points, on the same pictures. Their intervals are over test pictures, "
    "near-twins counted as one; p is corrected for the number of systems (Holm). Margin: how far "
    "apart the two can be at most (two one-sided tests at 5%). Better or worse: p below 0.05 and, "
    "with one seed, an interval over folds without 0 too."
)
TURNED = 40.0  # an AUROC below it: the two classes are likely turned round


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. Percent and points, log loss in nats."""

    dataset: str
    protocol: str
    name: str
    sheet: Sheet  # which pictures were answered, and what is wrong with the names
    scores: pd.DataFrame  # referee.SCORE_COLUMNS, a row each of EVALUATED
    constant: dict  # the more frequent class: accuracy, difference, low, high, verdict
    against: pd.DataFrame  # AGAINST: these predictions minus each system's, on the same pictures
    mistakes: pd.DataFrame  # path, label, p_positive: wrong and sure, the surest first
    label_errors: pd.DataFrame  # the same of labels that are likely wrong, the likeliest first

    def row(self) -> dict:
        """A row of a table: set, protocol, system, pictures, and the scores with their bounds."""
        found = {"set": self.dataset, "protocol": self.protocol, "system": self.name}
        found["pictures"] = self.sheet.answered
        for score in self.scores.itertuples():
            found |= {score.metric: score.value}
            found |= {f"{score.metric}_low": score.low, f"{score.metric}_high": score.high}
        return found

    def text(self) -> str:
        """All of it in words, as Markdown."""
        lines = [f"# {self.name} on {in_words(self.dataset)}: {self.protocol}", ""]
        lines += [f"{self.sheet.answered} pictures answered.", *self.sheet.about_names(), ""]
        columns = [
            ("score", lambda row: SCORE_WORDS[row["metric"]]),
            ("value (95% interval)", score_cell),
        ]
        lines += [*pages.markdown_table(columns, self.scores.to_dict("records")), ""]
        lines += [f"**{self.constant['verdict']}**", ""]
        if self._auroc() < TURNED:
            lines += ["AUROC is far below 50: is p_positive that of the *negative* class?", ""]
        elif self.constant["difference"] <= 0 and self._auroc() > 100 - TURNED:
            lines += ["AUROC is far above 50: is 0.5 the right threshold for these answers?", ""]
        if self.against.empty:
            lines += ["No system here answers all of these pictures: nothing to compare with.", ""]
        else:
            columns = [
                ("system", itemgetter("system")),
                ("its accuracy", pages.number("accuracy", ".1f")),
                (f"{self.name} minus it (95%)", difference_cell),
                ("p (Holm)", pages.p_value("p_holm")),
                ("margin", pages.number("margin", ".1f", before="±")),
                ("verdict", itemgetter("verdict")),
            ]
            lines += [*pages.markdown_table(columns, self.against.to_dict("records")), ""]
            lines += [HOW_EVALUATED, ""]
        for title, frame in (
            (f"Wrong and sure (p ≥ {SURE_AT:g})", self.mistakes),
            (
                "Labels that are likely wrong (cleanlab, going by these answers: look at them)",
                self.label_errors,
            ),
        ):
            lines += [f"{title}: {len(frame)}", ""]
            shown = frame.head(NAMED).itertuples()
            lines += [f"- {r.path}: label {r.label}, p_positive {r.p_positive:.3f}" for r in shown]
            lines += [""]
        return "\n".join(lines)

    def figure(self) -> Figure:
        """These predictions above every system, with 95% intervals; a line: a constant answer."""
        own = self.scores.set_index("metric").loc["accuracy"]
        rows = self.against.sort_values("accuracy", ascending=False)
        figure, axes = plots.panels(1, 2, 10, 1.6 + 0.3 * (1 + len(rows)), sharey=True)
        left, right = axes[0]
        places = np.arange(len(rows))[::-1]
        value, low, high = ([number] for number in own[["value", "low", "high"]])
        label = f"{self.name}, 95% interval"
        plots.intervals(left, value, low, high, [len(rows)], label)
        left.plot(rows["accuracy"], places, "o", color=plots.COLORS[1], label="other systems")
        constant = {"color": plots.GREY, "ls": "--", "label": "a constant answer"}
        left.axvline(self.constant["accuracy"], **constant)
        names = [self.name, *map(in_short, rows["system"])]
        left.set_yticks([len(rows), *places], names)
        left.set(xlabel="accuracy in percent (better →)", ylim=(-0.6, len(rows) + 0.6))
        apart, low, high = (rows[c] for c in ("difference", "low", "high"))
        plots.intervals(right, apart, low, high, places, "difference, 95% interval")
        right.axvline(0, color="black", lw=1)
        right.set_xlabel(f"{self.name} minus the system,\nin points (better →)")
        for axis in axes[0]:
            axis.grid(axis="x", alpha=0.3)
        plots.legend_below(figure, axes)
        figure.suptitle(f"{in_words(self.dataset)}: {splits.PROTOCOLS[self.protocol]}")
        return figure

    def write(self, folder) -> Path:
        """Writes evaluation.md and .png, row.csv and .md, scores.csv, against.csv, mistakes.csv and
        label_errors.csv into `folder`, which it returns."""
        folder = Path(folder)
        write_text(folder / "evaluation.md", self.text())
        write_csv(folder / "row.csv", pd.DataFrame([self.row()]))
        write_text(folder / "row.md", "\n".join(self._row_lines()) + "\n")
        for name in ("scores", "against", "mistakes", "label_errors"):
            write_csv(folder / f"{name}.csv", getattr(self, name))
        with whole_file(folder / "evaluation.png") as part:
            self.figure().savefig(part, format="png", dpi=120)
        return folder

    def _row_lines(self) -> list[str]:
        found = self.scores.set_index("metric", drop=False)
        columns = [("system", itemgetter("system")), ("pictures", itemgetter("pictures"))]
        cells = {name: score_cell(found.loc[name]) for name in found.index}
        columns += [(SCORE_WORDS[name], itemgetter(name)) for name in found.index]
        return pages.markdown_table(columns, [self.row() | cells])

    def _auroc(self) -> float:
        return self.scores.set_index("metric")["value"]["auroc"]


def score_cell(row) -> str:
    """A score with its interval."""
    digits = 3 if row["metric"] == "log_loss" else 1
    if pd.isna(row["value"]):
        return ""
    bounds = (
        "" if pd.isna(row["low"]) else f" ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
    )
    return f"{row['value']:.{digits}f}{bounds}"


def difference_cell(row) -> str:
    """A difference with its interval."""
    if pd.isna(row["low"]):
        return f"{row['difference']:+.1f}".replace("-", "−")
    cells = (f"{row[c]:+.1f}".replace("-", "−") for c in ("difference", "low", "high"))
    return "{} ({} to {})".format(*cells)
