"""Two systems on the same test pictures: how far apart, and whether that is more than noise."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.weightstats import DescrStatsW

from . import significance
from .files import read_csv
from .spec import DATASETS

COLUMNS = ["difference", "low", "high", "p_t", "p_mcnemar", "pairs", "needed"]
TABLE = [
    "table", "dataset", "method", "metric", *COLUMNS, "p_holm", "verdict", "published", "smallest",
    "run_ids",
]  # fmt: skip
# Test pictures of the paper: 15% of FI, all of the small sets over five folds; of them positive.
PAPERS_TESTS = {
    ("fi", "accuracy"): 3179, ("twitter1", "accuracy"): 1269, ("emotionroi", "accuracy"): 1980,
    ("twitter1", "recall"): 769, ("emotionroi", "recall"): 660,
}  # fmt: skip
DEFAULT = {7: "normal", 8: "normal", 9: "maiafa"}  # what the other rows of a table are held against
NOTHING = dict.fromkeys(COLUMNS[:5], math.nan) | {"pairs": 0, "needed": math.nan}


def paired(theirs: pd.DataFrame, own: pd.DataFrame, metric: str) -> dict:
    """`theirs` minus `own` in points, over the folds and seeds that both have (COLUMNS).

    theirs, own: runs, as `tables.read_runs` gives them. low, high, p_t: the corrected resampled
    t-test's interval and p (`significance`); over one pair, the t-interval of the pictures'
    differences and no p_t. p_mcnemar: McNemar's exact test on the test pictures of all common
    folds, of the lowest seed both have (for recall: the positive ones). pairs: how many; needed:
    how many it would take (`significance.runs_needed`). Where one has random folds in place of
    the set's own, all pictures that both test with the lowest seed are one pair. Raises ValueError
    where the two were not tested on the same pictures.
    """
    frames = [
        g.assign(fold=[s.fold for s in g["spec"]], seed=[s.seed for s in g["spec"]])[
            ["fold", "seed", "folder", "ratio", metric]
        ]
        for g in (theirs, own)
    ]
    pairs = pd.merge(*frames, on=["fold", "seed"]).dropna()
    if pairs.empty:
        return dict(NOTHING)
    values = (pairs[f"{metric}_x"] - pairs[f"{metric}_y"]).astype(float).to_numpy()
    ratio = pairs["ratio_y"].mean()
    once = pairs[pairs["seed"] == pairs["seed"].min()]
    right, own_right = (_right(once[c], metric) for c in ("folder_x", "folder_y"))
    if list(right.index) != list(own_right.index):
        if {s.official for s in theirs["spec"]} == {s.official for s in own["spec"]}:
            names = once["folder_x"].iloc[0], once["folder_y"].iloc[0]
            raise ValueError(f"{names[0]} and {names[1]} were tested on different pictures")
        both = right.index.intersection(own_right.index)
        if both.empty:
            return dict(NOTHING)
        right, own_right = right[both], own_right[both]
        values = np.array([100 * (right.mean() - own_right.mean())])
    found = {
        "difference": values.mean(),
        "p_t": significance.t_test(values, ratio),
        "p_mcnemar": significance.mcnemar_test(right, own_right),
        "pairs": len(values),
        "needed": significance.runs_needed(values, ratio) if len(values) > 1 else math.nan,
    }
    if len(values) > 1:
        low, high = np.clip(significance.interval(values, ratio), -100, 100)
    else:
        each = 100 * (right.to_numpy(int) - own_right.to_numpy(int))
        low, high = DescrStatsW(each).tconfint_mean() if len(each) > 1 else (math.nan, math.nan)
    return found | {"low": float(low), "high": float(high)}


def _right(folders, metric: str) -> pd.Series:
    """Whether each test picture of the runs is classified right; for recall the positive ones."""
    frames = [read_csv(Path(folder) / "predictions.csv") for folder in folders]
    frame = pd.concat(frames, keys=range(len(frames)))
    if metric == "recall":
        frame = frame[frame["label"] == 1]
    right = (frame["p_positive"] >= 0.5) == (frame["label"] == 1)
    return pd.Series(np.asarray(right), index=frame["path"])


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` (COLUMNS) with "p_holm": p_t, or McNemar's where there is one pair, corrected for the
    number of comparisons in each table, set and metric; and "verdict"."""
    p = frame["p_t"].where(frame["pairs"] > 1, frame["p_mcnemar"])
    family = [frame[name] for name in ("table", "dataset", "metric")]
    frame["p_holm"] = p.groupby(family).transform(significance.holm)
    return frame.assign(verdict=[verdict(row) for _, row in frame.iterrows()])


def verdict(row) -> str:
    """What a row of COLUMNS and "p_holm" allows to say, in a few words. Runs: folds × seeds of the
    same pictures, which do not become more by it."""
    if row["pairs"] == 0:
        return ""
    p = row["p_holm"]
    if p < significance.ALPHA:
        return "better" if row["difference"] > 0 else "worse"
    if row["pairs"] == 1 or pd.isna(row["needed"]):
        return "cannot tell"
    if math.isinf(row["needed"]):
        return "cannot tell; more runs would not help"
    return f"cannot tell; it would take about {row['needed']:.0f} runs"


def noise(table: pd.DataFrame | None, number: int) -> set[tuple[str, str, str]]:
    """The rows (set, method, metric) of Table 7, 8 or 9 that `of_tables` could not tell from its
    `DEFAULT`; none without that table."""
    if table is None:
        return set()
    rows = table[(table["table"] == number) & table["verdict"].str.startswith("cannot tell")]
    return set(zip(rows["dataset"], rows["method"], rows["metric"], strict=True))


def of_tables(runs: pd.DataFrame, methods, metrics: dict, published) -> pd.DataFrame:
    """Tables 7 to 9 as differences to their `DEFAULT` (TABLE), ours with its tests beside the
    paper's and the smallest that its test pictures could show.

    methods: (table, runs of a set) → {row: its runs}; metrics: {table: [metric, …]}; published:
    table → the paper's.
    """
    rows = []
    for number, default in DEFAULT.items():
        paper = published(number).set_index(["dataset", "method", "metric"])["published"]
        for dataset in DATASETS:
            groups = methods(number, runs[runs["dataset"] == dataset])
            own = groups.pop(default, runs[:0])
            # in the paper's order, then the rest
            papers = list(dict.fromkeys(m for _, m, _ in paper.index))
            for method in sorted(groups, key=lambda m: papers.index(m) if m in papers else 99):
                if not len(own) or not len(found := groups[method]):
                    continue
                for metric in metrics[number]:
                    row = {"table": number, "dataset": dataset, "method": method, "metric": metric}
                    row |= paired(found, own, metric)
                    row |= _papers(paper, dataset, (default, method), metric)
                    rows.append(row | {"run_ids": ";".join([*found["id"], *own["id"]])})
    if not rows:
        return pd.DataFrame(columns=TABLE)
    return with_holm(pd.DataFrame(rows))[TABLE]


def _papers(paper: pd.Series, dataset: str, methods: tuple[str, str], metric: str) -> dict:
    """The paper's own difference, and the smallest that its test pictures could show."""
    normal, theirs = (paper.get((dataset, m, metric), math.nan) for m in methods)
    tested = PAPERS_TESTS.get((dataset, metric))
    known = tested and not math.isnan(normal)
    return {
        "published": theirs - normal,
        "smallest": significance.smallest_difference(normal, tested) if known else math.nan,
    }
