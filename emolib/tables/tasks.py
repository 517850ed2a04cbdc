"""What a study's runs of other tasks than polarity are worth, beside a constant answer.

`tasks.csv` has a row a set, task, method and measure: the score over the test pictures of all
folds, each picture answered by the network that has not learnt it, and its 95% interval. The
constant answer of a run is what the pictures it learnt from say on average, as its environment.json
has it (else what those of the other folds say): their most frequent emotion, their mean
distribution, the shares of their emotions, their mean valence. minus_normal: how far apart these
networks are from the normal ones of the same folds and seeds, picture by picture.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ..base import task_scores
from ..base.files import read_csv, read_json, write_csv, write_text
from ..base.run_folder import read_spec
from ..data import predictions
from ..data.tasks import TASKS
from ..spec.sets import in_words
from . import pages, significance, task_plots
from .frame import START_FACTS, check_one_source, complete_runs, near_twins
from .names import readable
from .plots import save_beside
from .rows import check_one_setting

STEM = "tasks"
OTHERS = tuple(name for name in TASKS if name != "polarity")
TASK_COLUMNS = (
    "dataset task method measure value low high constant difference diff_low diff_high p_holm "
    "verdict minus_normal minus_low minus_high pictures folds seeds run_ids"
).split()
MINUS = ("minus_normal", "minus_low", "minus_high")
RUN_COLUMNS = ["id", "spec", "dataset", "data", "weights", *START_FACTS]
READ_COLUMNS = ["measure", "value", "low", "high", "constant", "verdict", *MINUS]
ALWAYS = "always_"  # before the columns of a constant answer, beside a network's
TIMES, FEW = 1000, 200  # samples of pictures; of them for measures that are no mean over pictures
BETTER, NOT_BETTER = "better than a constant answer", "not better than a constant answer"


def has_tasks(folder: Path) -> bool:
    """Whether a study has complete runs of other tasks than polarity."""
    return bool(complete_runs(folder, OTHERS))


def answers_by_task(folder: Path, ids=None) -> dict[tuple[str, str, str], pd.DataFrame]:
    """{(set, task, method): predictions.csv of its runs under each other, with fold, seed, run and
    the constant answer, ALWAYS before its columns}.
    ids: of these runs only. Pre-trainings of leakage-free runs are left out, as in other tables.

    Raises ValueError where runs of one key differ in more than fold and seed, or in their data, and
    where a constant answer is none of the task.
    """
    parts: dict[tuple[str, str, str], list] = {}
    known = []
    for run in complete_runs(folder, OTHERS, ids):
        spec, facts = read_spec(run / "spec.json"), read_json(run / "environment.json")
        if spec.apart:
            continue
        known.append({"id": run.name, "spec": spec, "dataset": spec.dataset, **facts})
        about = {"fold": spec.fold, "seed": spec.seed, "run": run.name}
        frame = read_csv(run / "predictions.csv")
        if "constant" in facts:
            if wrong := predictions.wrong_constant(frame, facts["constant"]):
                raise ValueError(f"{run / 'environment.json'} {wrong}; run it again")
            about |= {ALWAYS + name: value for name, value in facts["constant"].items()}
        parts.setdefault((spec.dataset, spec.task, spec.method), []).append(frame.assign(**about))
    if known:
        runs = pd.DataFrame(known).reindex(columns=RUN_COLUMNS)
        check_one_source(folder, runs)
        rows = runs["spec"].map(lambda s: f"{s.dataset} {s.task} {s.method}")
        for _, group in runs.groupby(rows):
            check_one_setting(folder, group)
    order = sorted(parts, key=lambda key: (key[0], OTHERS.index(key[1]), key[2]))
    return {key: pd.concat(parts[key], ignore_index=True) for key in order}


def task_table(folder: Path, ids=None) -> pd.DataFrame:
    """TASK_COLUMNS of a study's runs, or of those in `ids`; empty without any."""
    twins, rows, found = near_twins(folder), [], answers_by_task(folder, ids)
    for (dataset, task, method), frame in found.items():
        about = {"dataset": dataset, "task": task, "method": method}
        about |= {"pictures": frame["path"].nunique(), "folds": frame["fold"].nunique()}
        ids = ";".join(sorted(frame["run"].unique()))
        about |= {"seeds": frame["seed"].nunique(), "run_ids": ids}
        groups = [twins.get((dataset, path), path) for path in frame["path"].astype(str)]
        frame = frame.assign(group=groups)
        normal = None if method == "normal" else found.get((dataset, task, "normal"))
        apart_by = {} if normal is None else minus_the_normal(task, frame, normal)
        for row in rows_of_task(task, frame):
            rows.append(about | row | apart_by.get(row["measure"], {}))
    numbers = ("value", "low", "high", "constant", "difference", "p_holm", *MINUS)
    return pd.DataFrame(rows, columns=TASK_COLUMNS).astype(dict.fromkeys(numbers, float))


def rows_of_task(task: str, frame: pd.DataFrame) -> list[dict]:
    """A row a measure: its value, the mean over seeds, the interval, what the constant answer has
    and, where the measure is a mean over pictures, how far apart the two are: p_holm is corrected
    for the number of measures. frame: a predictions.csv with fold, seed, of near-twins the same
    group, and the constant answer where it is known."""
    rows = list(_of_each_measure(task, frame))
    judge([row for row in rows if "p" in row], BETTER, NOT_BETTER, NOT_BETTER)
    return rows


def judge(rows: list[dict], better: str, worse: str, neither: str) -> None:
    """Adds p_holm, p corrected for the number of rows, and the verdict. None where p is no number:
    one of the two has no such measure."""
    for row, p in zip(rows, significance.holm([row["p"] for row in rows]), strict=True):
        good = (row["difference"] < 0) == (row["measure"] in task_scores.LOWER)
        verdict = neither if p >= significance.ALPHA else better if good else worse
        row |= {"p_holm": p, "verdict": None if np.isnan(p) else verdict}


def _of_each_measure(task: str, frame: pd.DataFrame) -> Iterator[dict]:
    scores, constant = TASKS[task].scores, constant_answers(task, frame)
    seeds = [part for _, part in frame.groupby("seed")]
    values = pd.DataFrame([scores(part) for part in seeds], dtype=float).drop(columns="n").mean()
    known = scores(constant) if len(constant) else {}
    each = TASKS[task].by_picture(frame)
    other = TASKS[task].by_picture(constant) if len(constant) else {}
    counts = resamples(frame["group"])
    others = [m for m in values.index if m not in each]
    samples = (
        np.repeat(np.arange(len(frame)), c.astype(int)) for c in counts[: FEW * bool(others)]
    )
    again = pd.DataFrame(
        [scores(frame.iloc[rows]) for rows in samples], columns=others, dtype=float
    )
    for measure, value in values.items():
        row = {"measure": measure, "value": value, "constant": known.get(measure, np.nan)}
        found = again[measure] if measure in others else _means(each[measure], counts)
        bounds = np.nanpercentile(found, (2.5, 97.5)) if np.isfinite(found).any() else (np.nan,) * 2
        row["low"], row["high"] = bounds
        if measure in each and len(constant):
            row |= apart(each[measure] - other[measure], counts)
        yield row


def minus_the_normal(task: str, frame: pd.DataFrame, normal: pd.DataFrame) -> dict[str, dict]:
    """{measure: MINUS} of the measures that are a mean over pictures, on what both answered."""
    key = ["path", "fold", "seed"]
    both = pd.MultiIndex.from_frame(frame[key].merge(normal[key]))
    if not len(both):
        return {}
    mine, its = (part.set_index(key).loc[both].reset_index() for part in (frame, normal))
    each, other = TASKS[task].by_picture(mine), TASKS[task].by_picture(its)
    counts, found = resamples(mine["group"]), {}
    for measure in each:
        gap = apart(each[measure] - other[measure], counts)
        found[measure] = dict(zip(MINUS, list(gap.values())[:3], strict=True))
    return found


def apart(gap: np.ndarray, counts: np.ndarray) -> dict:
    """The mean of a difference picture by picture, its 95% interval, and p of a true one of 0, by
    the spread of the samples `counts`. No numbers where a picture has none."""
    means = _means(gap, counts)
    low, high = np.percentile(means, (2.5, 97.5))
    spread, mean = means.std(), gap.mean()
    p = float(mean == 0) if spread == 0 else 2 * stats.norm.sf(abs(mean) / spread)
    return {"difference": mean, "diff_low": low, "diff_high": high, "p": p}


def resamples(groups: pd.Series) -> np.ndarray:
    """TIMES×rows: how often each row is in each sample of as many groups as there are."""
    number = pd.factorize(groups)[0]
    count = number.max() + 1
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=TIMES)
    return drawn[:, number].astype(float)


def _means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of `values` in each sample."""
    return counts @ values / counts.sum(1)


def constant_answers(task: str, frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the constant answer in place of the network's: what the runs say, else what the
    pictures of the other folds say. Empty where neither is known."""
    said = {c.removeprefix(ALWAYS): frame[c] for c in frame if c.startswith(ALWAYS)}
    if said and all(values.notna().all() for values in said.values()):
        return frame.assign(**said)
    parts = []
    for fold, part in frame.groupby("fold"):
        learnt = frame[frame["fold"] != fold]
        if len(learnt):
            parts.append(part.assign(**TASKS[task].constant(learnt)))
    # in the frame's own order, so that pictures can be compared
    return pd.concat(parts).reindex(frame.index) if parts else frame.iloc[:0]


def write_tasks(folder: Path) -> pd.DataFrame:
    """Writes a study's tasks.csv, .md and .png; returns the table. Nothing without runs."""
    table = task_table(folder)
    if table.empty:
        return table
    write_csv(folder / f"{STEM}.csv", table)
    # from the digits that are kept, as whoever checks it has no others
    write_text(folder / f"{STEM}.md", task_page(folder, read_csv(folder / f"{STEM}.csv")))
    figure = task_plots.draw_tasks(answers_by_task(folder), task_title(folder))
    save_beside(folder / f"{STEM}.csv", figure)
    return table


def task_title(folder: Path) -> str:
    """Of the page and the figure; it says where the pictures are drawn ones."""
    first = complete_runs(folder, OTHERS)[0]
    return pages.marked("Tasks: emotions, distributions, several at once, valence", is_drawn(first))


def is_drawn(run: Path) -> bool:
    """Whether a run is on drawn pictures."""
    return read_json(run / "environment.json")["data"]["demo"]


def task_page(folder: Path, table: pd.DataFrame) -> str:
    """The table in Markdown, one part a set and task."""
    lines = [f"# {task_title(folder)}", ""]
    columns = [("method", lambda row: readable(row["method"])), *measure_columns()]
    for (dataset, task), rows in table.groupby(["dataset", "task"], sort=False):
        first = rows.iloc[0]
        lines += [f"## {in_words(str(dataset))}: {TASKS[str(task)].title}", ""]
        two = rows[MINUS[0]].notna().any()
        cells = [*columns, (f"minus {readable('normal')} (95%)", minus_of)] if two else columns
        lines += pages.markdown_table(cells, rows.to_dict("records"))
        many = f"{first['folds']} folds" if first["folds"] > 1 else "a single split"
        lines += ["", f"{first['pictures']} test pictures in {many}.", ""]
    return "\n".join([*lines, _HOW, ""])


def measure_columns() -> list[pages.Column]:
    """Of a page's table with a row a measure, as `rows_of_task` gives them."""
    return [
        ("measure", measure_of),
        ("value (95% interval)", score_of),
        ("constant answer", pages.number("constant", ".3f")),
        ("verdict", lambda row: row["verdict"] if isinstance(row["verdict"], str) else ""),
    ]


def measure_of(row) -> str:
    """A row's measure in words."""
    return MEASURE_WORDS.get(row["measure"], row["measure"])


def score_of(row) -> str:
    """A value with its interval, as the page writes it; "" where there is none."""
    if np.isnan(row["value"]):
        return ""
    return f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})"


def minus_of(row, columns=MINUS) -> str:
    """A difference with its interval, as the page writes it; "" where there is none."""
    if np.isnan(row[columns[0]]):
        return ""
    return "{} ({} to {})".format(*(f"{row[c]:+.3f}".replace("-", "−") for c in columns))


MEASURE_WORDS = {
    "kl": "KL divergence (lower is better)",
    "chebyshev": "Chebyshev distance (lower is better)",
    "clark": "Clark distance (lower is better)",
    "canberra": "Canberra distance (lower is better)",
    "cosine": "cosine",
    "intersection": "intersection",
    "accuracy": "accuracy, %",
    "balanced_accuracy": "balanced accuracy, %",
    "macro_f1": "macro F1, %",
    "polarity_accuracy": "accuracy of the polarity it implies, %",
    "ecc": "emotion confusion confidence, %",
    "emc": "emotional mistake confidence, %",
    "mean_average_precision": "mean average precision",
    "example_f1": "F1 by picture, %",
    "valence_pearson": "valence: Pearson's r",
    "valence_ccc": "valence: Lin's concordance",
    "valence_mae": "valence: mean absolute error (lower is better)",
    "arousal_pearson": "arousal: Pearson's r",
    "arousal_ccc": "arousal: Lin's concordance",
    "arousal_mae": "arousal: mean absolute error (lower is better)",
}
_HOW = (
    "The score over the test pictures of all folds together, each answered by the network that has "
    "not learnt it; of several seeds the mean. In brackets the 95% interval: pictures drawn again, "
    "near-twins together where there is an `audit.csv`. Constant answer: what the pictures that "
    "were learnt from say on average. Verdict: whether the difference to it, picture by picture, "
    "is told apart from 0, corrected for the number of measures (Holm). Of one seed a difference "
    "between two networks says how far apart these trained ones are, and no more."
)
