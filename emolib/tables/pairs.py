"""Two systems on the same test pictures: how far apart they are. And the rows of a table, each
beside what it is held against."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..spec.published import published
from ..spec.sets import BOTH, SETS, SMALL
from . import significance
from .rows import PICTURE, answers, mean_over_pictures, one_a_fold, statistics, untrained
from .significance import Mean

PAIR_COLUMNS = (
    "difference low high p t_low t_high p_t p_mcnemar pairs seeds tested se_pictures se_seeds "
    "discordance margin t_margin untrained default_untrained"
).split()
COUNTS = ("pairs", "seeds", "tested", "untrained", "default_untrained")
NOTHING = dict.fromkeys(PAIR_COLUMNS, math.nan) | dict.fromkeys(COUNTS, 0) | {"flat": False}
DEFAULT = {7: "normal", 8: "normal", 9: "maiafa"}  # what the other rows of a table are held against


@dataclass(frozen=True)
class Row:
    """The runs of one line of a table."""

    dataset: str
    method: str
    runs: pd.DataFrame
    default: pd.DataFrame | None = None  # what they are held against
    facts: dict = field(default_factory=dict)  # cells that are the same for each metric


def tidy_rows(table, rows: Iterable[Row], metrics=("accuracy", "recall")) -> list[dict]:
    """A table's cells for each row and metric: the mean with its intervals (`statistics`), the
    difference to the default with its tests (`paired`), and the row's own facts."""
    return [
        {"table": table, "dataset": row.dataset, "method": row.method, "metric": metric}
        | statistics(row.runs, metric)
        | (NOTHING if row.default is None else paired(row.runs, row.default, metric))
        | row.facts
        for row in rows
        for metric in metrics
    ]


def paired(theirs: pd.DataFrame, own: pd.DataFrame, metric: str) -> dict:
    """`theirs` minus `own` in points, over the folds and seeds that both have (`PAIR_COLUMNS`).

    - low, high, p: over pictures, the main interval. se_pictures, se_seeds: the parts of its error.
    - t_low, t_high, p_t: over folds (`significance`). nan for fewer than two folds.
    - margin, t_margin: the smallest margin that the 90% interval of each supports.
    - p_mcnemar: McNemar's exact test on all common test pictures, of the lowest common seed.
    - pairs, seeds, tested: how many runs of each, seeds, and pictures of the metric.
    - discordance: percent of pictures on which one is right and the other wrong, mean over seeds.
    - untrained, default_untrained: how many runs of `theirs`, of `own` answer with one class alone.

    theirs, own: runs as `read_runs` gives them. Seeds that tested fewer pictures than others are
    left out. If one has random folds in place of the set's own, pictures are paired and folds are
    not. Raises ValueError if the two were not tested on the same pictures.
    """
    frames = [
        g.assign(fold=[s.fold for s in g["spec"]], seed=[s.seed for s in g["spec"]])
        for g in (theirs, own)
    ]
    common = pd.merge(*(f.loc[f[metric].notna(), ["fold", "seed"]] for f in frames))
    if common.empty:
        return dict(NOTHING)
    frames = [f.merge(common).sort_values(["seed", "fold"]) for f in frames]
    both, same_folds = _aligned(frames, metric)
    if both is None:
        return dict(NOTHING)
    seeds = [c for c in both if c not in PICTURE]
    frames = [f[f["seed"].isin(seeds)] for f in frames]
    values = frames[0][metric].to_numpy(float) - frames[1][metric].to_numpy(float)
    folds = one_a_fold(frames[0], values) if same_folds else np.array([])
    once, flat = both[seeds[0]], [untrained(f).to_numpy() for f in frames]
    over_folds = significance.over_folds(folds, frames[1]["ratio"].mean())
    return _described(mean_over_pictures(both), over_folds) | {
        "p_mcnemar": significance.mcnemar_test(once >= 0, once <= 0),
        "pairs": len(frames[0]),
        "seeds": len(seeds),
        "tested": len(both),
        "discordance": float(100 * (both[seeds] != 0).to_numpy().mean()),
        "untrained": int(flat[0].sum()),
        "default_untrained": int(flat[1].sum()),
        # of most pairs one has not trained; by seed, for `with_both_sets`
        "flat": bool(2 * (flat[0] | flat[1]).sum() > len(frames[0])),
        "by_seed": pd.Series(np.average(both[seeds], axis=0, weights=both["weight"]), seeds),
    }


def _described(pictures: Mean, folds: Mean) -> dict:
    """The columns that the two means give. The means are kept for `with_both_sets`."""
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


def _aligned(frames: list[pd.DataFrame], metric: str) -> tuple[pd.DataFrame | None, bool]:
    """(their answers minus ours, picture by picture, as `answers` has them; whether the folds are
    the same). None if no picture and seed is common."""
    theirs, own = (answers(f, metric) for f in frames)
    seeds = sorted(c for c in theirs if c not in PICTURE and c in own)
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
    found = both[PICTURE].copy()
    for seed in seeds:
        found[seed] = both[f"{seed}"] - both[f"{seed} own"]
    return found, same


def with_both_sets(rows: list[dict]) -> list[dict]:
    """`rows` and, for each method and metric that is tested on both small sets, a row over `BOTH`.

    It has the sets' differences, weighted by their pictures. The sets' pictures are independent.
    Their seeds are not, because networks of one seed may start from the same one: so the sets are
    weighted seed by seed.
    """
    found = list(rows)
    keys = ("table", "method", "metric")
    for key in dict.fromkeys(tuple(row[k] for k in keys) for row in rows):
        parts = [r for r in rows if tuple(r[k] for k in keys) == key and r["dataset"] in SMALL]
        parts = [r for r in parts if r["pairs"] and not math.isnan(r["p"])]
        if len(parts) == 2:
            named = dict(zip(keys, key, strict=True))
            found.append(dict.fromkeys(parts[0], math.nan) | named | _over_both(parts))
    return found


def _over_both(parts: list[dict]) -> dict:
    """The row over `BOTH` of those of the two sets."""
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


def beside_the_papers(rows: list[dict], number: int) -> list[dict]:
    """`rows` with the paper's own differences to the default of its Table `number` (published), and
    the smallest that its test pictures could show: each system on pictures of its own (smallest),
    and both on the same ones, if they differ on as many as ours do (smallest_paired)."""
    paper = published(number).set_index(["dataset", "method", "metric"])["published"]

    def percent(row: dict, method: str) -> float:
        return float(paper.get((row["dataset"], method, row["metric"]), math.nan))

    found = []
    for row in rows:
        normal = percent(row, DEFAULT[number])
        theirs = percent(row, row["method"].partition(",")[0])  # of a reading: its module's
        of_default = row["method"] == DEFAULT[number]
        more = {"published": math.nan if of_default else theirs - normal}
        more |= {"smallest": math.nan, "smallest_paired": math.nan}
        tested = SETS[row["dataset"]].tested.get(row["metric"])
        if tested and not math.isnan(normal):
            more["smallest"] = significance.smallest_difference(normal, tested)
            share = row["discordance"] / 100
            if 2 * row["untrained"] <= row["pairs"] and share > 0:  # it has learnt something
                more["smallest_paired"] = significance.smallest_paired_difference(share, tested)
        found.append(row | more)
    return found
