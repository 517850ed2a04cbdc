"""Two systems on the same test pictures: how far apart, and whether that is more than noise."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..base.files import read_csv
from ..data import audit
from ..spec.run_spec import DATASETS
from . import significance
from .significance import ALPHA, NEVER, SEEDS, Mean

PAIR_COLUMNS = [
    "difference",
    "low",
    "high",
    "p",
    "t_low",
    "t_high",
    "p_t",
    "p_mcnemar",
    "pairs",
    "seeds",
    "tested",
    "se_pictures",
    "se_seeds",
    "discordance",
    "margin",
    "t_margin",
    "untrained",
    "default_untrained",
]
VERDICT = ["p_holm", "decides", "verdict"]
NADEAU_BENGIO = {"t_low": "nb_low", "t_high": "nb_high"}  # names where no mean has them too
TABLE = [
    "table",
    "dataset",
    "method",
    "metric",
    *(NADEAU_BENGIO.get(c, c) for c in PAIR_COLUMNS),
    *VERDICT,
    "published",
    "smallest",
    "smallest_paired",
    "run_ids",
]
# Test pictures of the paper: 15% of FI, all of the small sets over five folds; of them positive.
PAPERS_TESTS = {
    ("fi", "accuracy"): 3179,
    ("twitter1", "accuracy"): 1269,
    ("emotionroi", "accuracy"): 1980,
    ("twitter1", "recall"): 769,
    ("emotionroi", "recall"): 660,
}
DEFAULT = {7: "normal", 8: "normal", 9: "maiafa"}  # what the other rows of a table are held against
ABOUT_A_METHOD = (7, "readings")  # tables whose verdicts speak of a part of the network
SMALL = ("twitter1", "emotionroi")  # five folds each: what may be pooled
BOTH = "+".join(SMALL)
EQUAL = 1.0  # points: two systems that are closer than this are as good as equal
COUNTS = ("pairs", "seeds", "tested", "untrained", "default_untrained")
NOTHING = dict.fromkeys(PAIR_COLUMNS, math.nan) | dict.fromkeys(COUNTS, 0) | {"flat": False}


def near_twins(folder: Path) -> dict[tuple[str, str], str]:
    """{(set, path): the first of the pictures that it is a near-twin of}, from the audit of the
    study in `folder` or of one above it; empty where there is none. A twin of a twin is one."""
    files = [f / audit.FILE for f in (folder, folder.parent) if (f / audit.FILE).exists()]
    if not files:
        return {}
    found = read_csv(files[0])
    found = found[found["finding"].isin(["identical", "near-twin"])]
    found = found[found["dataset"] == found["other_dataset"]]
    ends = [
        [*zip(found["dataset"], found[c].astype(str), strict=True)] for c in ("path", "other_path")
    ]
    names = sorted({*ends[0], *ends[1]})
    place = {name: i for i, name in enumerate(names)}
    rows, columns = ([place[name] for name in end] for end in ends)
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names),) * 2)
    groups = connected_components(links, directed=False)[1]
    first = {group: name for name, group in reversed([*zip(names, groups, strict=True)])}
    return {name: first[group][1] for name, group in zip(names, groups, strict=True)}


def answers(runs: pd.DataFrame, metric: str) -> pd.DataFrame | None:
    """The runs' test pictures, a row each: fold, path, cluster (near-twins share one), weight (of
    the picture in the mean over folds, 0 where the metric leaves it out), and for each seed 100
    where the answer was right, else 0: the seed with the most pictures, and those that tested the
    same. None for a metric that is no mean over pictures.

    runs: as `tables.read_runs` gives them, each fold and seed once.
    """
    if metric not in WEIGHTS:
        return None
    frame = pd.concat(
        [
            run.answers.assign(
                fold=run.spec.fold, seed=run.spec.seed, weight=WEIGHTS[metric](run.answers["label"])
            )
            for run in runs.itertuples()
        ],
        ignore_index=True,
    )
    frame = frame[frame["weight"] > 0]
    wide = frame.pivot_table("right", KEYS, "seed", sort=False).sort_index(axis=1)
    most = wide.notna().sum().idxmax()  # of equals the lowest seed
    wide = wide[wide[most].notna()].dropna(axis=1)
    return (100 * wide).reset_index().rename_axis(None, axis=1)


def _of_class(labels: pd.Series, label: int) -> np.ndarray:
    mine = labels.to_numpy() == label
    return mine / max(mine.sum(), 1)


# What each test picture of a run counts in the run's metric.
WEIGHTS = {
    "accuracy": lambda labels: np.full(len(labels), 1 / len(labels)),
    "recall": lambda labels: _of_class(labels, 1),
    "recall_negative": lambda labels: _of_class(labels, 0),
    "balanced_accuracy": lambda labels: (_of_class(labels, 1) + _of_class(labels, 0)) / 2,
}
KEYS = ["fold", "path", "cluster", "weight"]  # of `answers`; its other columns are seeds


def mean_of(frame: pd.DataFrame) -> Mean:
    """`significance.over_pictures` of what `answers` gives, or of a difference of two such."""
    return significance.over_pictures(
        frame.drop(columns=KEYS), frame["weight"], frame["cluster"].astype(str)
    )


def one_a_fold(runs: pd.DataFrame, values) -> np.ndarray:
    """One number a fold, its mean over seeds: what `significance.over_folds` takes. Seeds share
    their folds' pictures, so that more of them are no more folds."""
    folds = [spec.fold for spec in runs["spec"]]
    return pd.Series(np.asarray(values, float)).groupby(folds).mean().dropna().to_numpy()


def untrained(runs: pd.DataFrame) -> pd.Series:
    """Of each run whether all its answers are one class: it has not trained."""
    return runs["answers"].map(lambda frame: frame["predicted"].nunique() < 2).astype(bool)


def paired(theirs: pd.DataFrame, own: pd.DataFrame, metric: str) -> dict:
    """`theirs` minus `own` in points, over the folds and seeds that both have (COLUMNS).

    theirs, own: runs, as `tables.read_runs` gives them. low, high, p: over pictures, the main
    interval; margin: the smallest that its 90% interval supports; se_pictures, se_seeds: the two
    parts of its error. t_low, t_high, p_t, t_margin: the same over folds (`significance`), empty
    for fewer than two. p_mcnemar: McNemar's exact test on the test pictures of all common folds, of
    the lowest seed both have. pairs: how many runs of each; seeds: of how many seeds; tested: how
    many pictures, of the metric's; discordance: the share on which one is right and the other
    wrong, percent, mean over seeds; untrained, default_untrained: how many of `theirs`, of `own`
    answer with one class alone.

    Seeds that tested fewer pictures than others are left out. Where one has random folds in place
    of the set's own, pictures are paired and folds are not. Raises ValueError where the two were
    not tested on the same pictures.
    """
    frames = [
        g.assign(fold=[s.fold for s in g["spec"]], seed=[s.seed for s in g["spec"]])
        for g in (theirs, own)
    ]
    common = pd.merge(*(f.loc[f[metric].notna(), ["fold", "seed"]] for f in frames))
    if common.empty:
        return dict(NOTHING)
    frames = [f.merge(common).sort_values(["seed", "fold"]) for f in frames]
    both, same_folds = _aligned(*(answers(f, metric) for f in frames), frames)
    if both is None:
        return dict(NOTHING)
    seeds = [c for c in both if c not in KEYS]
    frames = [f[f["seed"].isin(seeds)] for f in frames]
    values = frames[0][metric].to_numpy(float) - frames[1][metric].to_numpy(float)
    folds = one_a_fold(frames[0], values) if same_folds else []
    once, flat = both[seeds[0]], [untrained(f).to_numpy() for f in frames]
    return _described(mean_of(both), significance.over_folds(folds, frames[1]["ratio"].mean())) | {
        "p_mcnemar": significance.mcnemar_test(once >= 0, once <= 0),
        "pairs": len(frames[0]),
        "seeds": len(seeds),
        "tested": len(both),
        "discordance": float(100 * (both[seeds] != 0).to_numpy().mean()),
        "untrained": int(flat[0].sum()),
        "default_untrained": int(flat[1].sum()),
        # of most pairs one has not trained; by seed, for `pooled`
        "flat": bool(2 * (flat[0] | flat[1]).sum() > len(frames[0])),
        "by_seed": pd.Series(np.average(both[seeds], axis=0, weights=both["weight"]), seeds),
    }


def _described(pictures: Mean, folds: Mean) -> dict:
    """The columns that the two means give; they themselves are kept for `pooled`."""
    bounds = np.clip([*pictures.interval(), *folds.interval()], -100, 100).tolist()
    return {
        "difference": round(pictures.value, 9) + 0.0,  # no −0.00
        **dict(zip(("low", "high", "t_low", "t_high"), bounds, strict=True)),
        "p": pictures.p,
        "p_t": folds.p,
        "se_pictures": pictures.pictures,
        "se_seeds": pictures.seeds,
        "margin": pictures.margin,
        "t_margin": folds.margin,
        "means": (pictures, folds),
    }


def _aligned(theirs, own, frames) -> tuple[pd.DataFrame | None, bool]:
    """(their answers minus ours, picture by picture, as `answers` has them; whether the folds are
    the same). None where no picture and seed is common."""
    seeds = sorted(c for c in theirs if c not in KEYS and c in own)
    keys = ["fold", "path"]
    same = set(theirs.set_index(keys).index) == set(own.set_index(keys).index)
    if not same:
        official = [{s.official for s in f["spec"]} for f in frames]
        if official[0] == official[1]:
            names = frames[0]["id"].iloc[0], frames[1]["id"].iloc[0]
            raise ValueError(f"{names[0]} and {names[1]} were tested on different pictures")
        keys = ["path"]
    both = pd.merge(theirs, own, on=keys, suffixes=("", " own"))
    if both.empty or not seeds:
        return None, same
    found = both[KEYS].copy()
    for seed in seeds:
        found[seed] = both[f"{seed}"] - both[f"{seed} own"]
    return found, same


def with_both_sets(rows: list[dict]) -> list[dict]:
    """`rows` and, for each method and metric that is tested on both small sets, a row over BOTH:
    the sets' differences weighted by their pictures. The sets' pictures are independent; their
    seeds are not, because networks of one seed may start from the same one, so that the sets are
    weighted seed by seed."""
    found = list(rows)
    keys = ("table", "method", "metric")
    for key in dict.fromkeys(tuple(row[k] for k in keys) for row in rows):
        parts = [r for r in rows if tuple(r[k] for k in keys) == key and r["dataset"] in SMALL]
        parts = [r for r in parts if r["pairs"] and not math.isnan(r["p"])]
        if len(parts) == 2:
            found.append(
                dict.fromkeys(parts[0], math.nan)
                | dict(zip(keys, key, strict=True))
                | _over_both(parts)
            )
    return found


def _over_both(parts: list[dict]) -> dict:
    """The row over BOTH of those of the two sets."""
    sizes = np.array([r["tested"] for r in parts], float)
    shares = sizes / sizes.sum()
    by_seed = pd.concat([r["by_seed"] for r in parts], axis=1).dropna() @ shares
    pictures = [(w * r["se_pictures"], n) for w, r, n in zip(shares, parts, sizes, strict=True)]
    seeds = by_seed.std() / math.sqrt(len(by_seed)) if len(by_seed) > 1 else 0.0
    mean = Mean(
        float(shares @ [r["difference"] for r in parts]),
        math.hypot(*(error for error, _ in pictures)),
        float(seeds),
        significance.welch(*pictures, (seeds, len(by_seed))),
    )
    folds = significance.stratified([r["means"][1] for r in parts], sizes)
    counts = ("pairs", "tested", "untrained", "default_untrained")
    return (
        _described(mean, folds)
        | {name: sum(r[name] for r in parts) for name in counts}
        | {
            "dataset": BOTH,
            "seeds": max(1, len(by_seed)),
            "discordance": float(shares @ [r["discordance"] for r in parts]),
            "flat": any(r["flat"] for r in parts),
            "apart": tuple(r["means"][0] for r in parts),
            "run_ids": ";".join(r["run_ids"] for r in parts),
        }
    )


def with_verdicts(rows: list[dict]) -> pd.DataFrame:
    """`rows` (COLUMNS) as a frame with p_holm, p corrected for the number of comparisons in each
    table, set and metric (Holm); decides, "folds" where the interval over pictures would find too
    much (`significance.pictures_decide`) and the one over folds, which is wider or not known, has
    to exclude 0 as well, else "pictures"; and the verdict."""
    frame = pd.DataFrame(rows)
    narrower = frame["t_high"] - frame["t_low"] <= frame["high"] - frame["low"]
    trusted = map(significance.pictures_decide, frame["seeds"], frame["discordance"])
    by_folds = (frame["pairs"] > 1) & ~narrower & ~np.array([*trusted], bool)
    frame["decides"] = np.where(by_folds, "folds", "pictures")
    frame.loc[frame["pairs"] == 0, "decides"] = ""
    family = frame.groupby(["table", "dataset", "metric"])["p"]
    frame["p_holm"] = family.transform(significance.holm)
    # what the next p that Holm lets through has to be below
    passed = (frame["p_holm"] < ALPHA).groupby([frame[k] for k in family.keys]).transform("sum")
    levels = ALPHA / (family.transform("count") - passed).clip(lower=1)
    lines = zip(frame.to_dict("records"), levels, strict=True)
    frame["verdict"] = [verdict(row, level) for row, level in lines]
    return frame


def verdict(row: dict, level: float) -> str:
    """What a row of COLUMNS, p_holm and decides allows to say, in a few words. level: what its p
    has to be below to be told apart."""
    if row["pairs"] == 0:
        return ""
    if row["flat"]:
        return "not trained"
    one = " on these pictures, one run" * (row["pairs"] == 1)
    by_folds, few = row["decides"] == "folds", row["seeds"] < SEEDS
    more_seeds = f"cannot tell; it takes {SEEDS} seeds"
    if not one and few and row["table"] in ABOUT_A_METHOD:
        return more_seeds
    by_pictures = row["p_holm"] < ALPHA
    told_apart = by_pictures and (not by_folds or row["p_t"] < ALPHA)
    if _disagree(row.get("apart"), told_apart):
        return ""
    if told_apart:
        return ("better" if row["difference"] > 0 else "worse") + one
    margins = [row["margin"], row["t_margin"]] if by_folds else [row["margin"]]
    if all(margin <= EQUAL for margin in margins):  # an unknown one is not
        return "no difference larger than 1 point" + one
    if by_pictures:
        return more_seeds if few else "cannot tell; training is too unstable to say"
    return (
        "cannot tell; it would take "
        + f"{SEEDS} seeds and " * (by_folds and few)
        + _what(significance.needed(row["means"][0], row["seeds"], row["tested"], level), row)
    )


def _what(needed: tuple, row: dict) -> str:
    """What `significance.needed` found, in words: never fewer than there are."""
    seeds, pictures = needed
    if seeds is None:
        enough = row["means"][0].seeds > 0
        return "more seeds and pictures" if enough else f"more than {NEVER[1]:,} pictures"
    if seeds > row["seeds"]:
        return f"about {seeds} seeds"
    step = 10 ** max(0, len(str(pictures)) - 2)
    return f"about {math.ceil(pictures / step) * step:,} pictures"


def _disagree(parts, told_apart: bool) -> bool:
    """Whether the sets of a pooled row contradict each other: one points up, the other down, and
    they differ by more than noise or the pooled row is told apart from 0."""
    if not isinstance(parts, tuple) or parts[0].value * parts[1].value >= 0:
        return False
    one, other = parts
    apart = Mean(
        one.value - other.value,
        math.hypot(one.error, other.error),
        0.0,
        min(one.freedom, other.freedom),
    )
    return told_apart or apart.p < ALPHA


def noise(table: pd.DataFrame | None, number: int) -> set[tuple[str, str, str]]:
    """The rows (set, method, metric) of Table 7, 8 or 9 that `of_tables` could not tell from its
    `DEFAULT`, or found no further from it than a point; none without that table."""
    if table is None:
        return set()
    rows = table[(table["table"] == number) & table["verdict"].str.startswith(("cannot", "no "))]
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
                    row |= papers_own(paper, dataset, (default, method), metric, row)
                    rows.append(row | {"run_ids": ";".join([*found["id"], *own["id"]])})
    if not rows:
        return pd.DataFrame(columns=TABLE)
    return with_verdicts(with_both_sets(rows)).rename(columns=NADEAU_BENGIO)[TABLE]


def papers_own(paper: pd.Series, dataset: str, methods: tuple, metric: str, row: dict) -> dict:
    """The paper's own difference, and the smallest that its test pictures could show: each system
    on pictures of its own, and both on the same ones, if they differ on as many as ours do."""
    normal, theirs = (float(paper.get((dataset, m, metric), math.nan)) for m in methods)
    tested = PAPERS_TESTS.get((dataset, metric))
    known = tested and not math.isnan(normal)
    # that of a network that has learnt something
    share = row["discordance"] / 100 if 2 * row["untrained"] <= row["pairs"] else math.nan
    return {
        "published": theirs - normal,
        "smallest": significance.smallest_difference(normal, tested) if known else math.nan,
        "smallest_paired": significance.smallest_paired_difference(share, tested)
        if known and share > 0
        else math.nan,
    }
