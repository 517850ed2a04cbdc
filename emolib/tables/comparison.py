"""Two systems on the same test pictures: how far apart they are, and what that allows to say."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..spec.published import published
from ..spec.sets import BOTH, SETS, SMALL
from . import significance
from .rows import PICTURE, answers, mean_over_pictures, one_a_fold, statistics, untrained
from .significance import ALPHA, NEVER, SEEDS, Mean

PAIR_COLUMNS = (
    "difference low high p t_low t_high p_t p_mcnemar pairs seeds tested se_pictures se_seeds "
    "discordance margin t_margin untrained default_untrained"
).split()
COUNTS = ("pairs", "seeds", "tested", "untrained", "default_untrained")
NOTHING = dict.fromkeys(PAIR_COLUMNS, math.nan) | dict.fromkeys(COUNTS, 0) | {"flat": False}
DEFAULT = {7: "normal", 8: "normal", 9: "maiafa"}  # what the other rows of a table are held against
VERDICT_COLUMNS = ["p_holm", "decides", "verdict"]
ABOUT_A_METHOD = (7, "readings")  # tables whose verdicts speak of a part of the network
EQUAL = 1.0  # points: two systems that are closer than this are as good as equal
NOT_TRAINED = "not trained"


@dataclass(frozen=True)
class Row:
    """The runs of one line of a table."""

    dataset: str
    method: str
    runs: pd.DataFrame
    default: pd.DataFrame | None = None  # what they are held against
    facts: dict = field(default_factory=dict)  # cells that are the same for each metric


def tidy_rows(table, rows: Iterable[Row], metrics=("accuracy", "recall")) -> list[dict]:
    """A table's cells for each row and metric: `statistics`, `paired` and the row's own facts."""
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

    - low, high, p: over pictures. se_pictures, se_seeds: the parts of the error.
    - t_low, t_high, p_t: over folds. nan for fewer than two.
    - margin, t_margin: the smallest margin that the 90% interval of each supports.
    - p_mcnemar: McNemar's exact test on all common test pictures, of the lowest common seed.
    - pairs, seeds, tested: how many runs of each, seeds, and pictures of the metric.
    - discordance: percent of pictures on which one is right and the other wrong, mean over seeds.
    - untrained, default_untrained: how many runs of `theirs`, of `own` answer with one class alone.

    Seeds that tested fewer pictures than others are left out. If one has random folds in place of
    the set's own, pictures are paired and folds are not. Raises ValueError if the two were not
    tested on the same pictures.
    """
    frames = []
    for runs in (theirs, own):
        specs = runs["spec"]
        frames.append(runs.assign(fold=[s.fold for s in specs], seed=[s.seed for s in specs]))
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
    """`rows` and, for each method and metric that is tested on both small sets, a row over `BOTH`:
    the sets' differences, weighted by their pictures. These are independent. Seeds are not, because
    networks of one seed may start from the same one: so the sets are weighted seed by seed."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        if row["dataset"] in SMALL and row["pairs"] and not math.isnan(row["p"]):
            groups[row["table"], row["method"], row["metric"]].append(row)
    return rows + [_over_both(parts) for parts in groups.values() if len(parts) == 2]


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
    counts, same = ("pairs", "tested", "untrained", "default_untrained"), parts[0]
    return (
        dict.fromkeys(same, math.nan)
        | _described(mean, folds)
        | {name: sum(r[name] for r in parts) for name in counts}
        | {name: same[name] for name in ("table", "method", "metric")}
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
    the smallest that its test could show: on pictures of their own (smallest), and on the same
    ones, if the systems differ on as many as ours do (smallest_paired)."""
    paper = published(number).set_index(["dataset", "method", "metric"])["published"]
    default, found = DEFAULT[number], []
    for row in rows:
        names = default, row["method"].partition(",")[0]  # of a reading: its module's
        keys = [(row["dataset"], name, row["metric"]) for name in names]
        normal, theirs = (float(paper.get(key, math.nan)) for key in keys)
        minus = math.nan if row["method"] == default else theirs - normal
        more = {"published": minus, "smallest": math.nan, "smallest_paired": math.nan}
        tested = SETS[row["dataset"]].tested.get(row["metric"])
        if tested and not math.isnan(normal):
            more["smallest"] = significance.smallest_difference(normal, tested)
            share = row["discordance"] / 100
            if 2 * row["untrained"] <= row["pairs"] and share > 0:  # it has learnt something
                more["smallest_paired"] = significance.smallest_paired_difference(share, tested)
        found.append(row | more)
    return found


def with_verdicts(rows: list[dict], columns: list[str], renamed=None) -> pd.DataFrame:
    """The `columns` of a table of differences. rows: as `tidy_rows` gives them; renamed:
    {a column of `rows`: its name in the table}.

    - p_holm: p, corrected for the number of comparisons in each table, set and metric (Holm).
    - decides: "folds" if the interval over pictures cannot be trusted alone
      (`significance.pictures_decide`) and the one over folds is wider, or not known. Else
      "pictures", and "" if there is no pair.
    - verdict: what may be said (`verdict`).
    """
    if not rows:
        return pd.DataFrame(columns=columns)
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
    renamed = renamed or {}
    taken = [c for c in renamed.values() if c in frame]  # a name that a mean has too
    return frame.drop(columns=taken).rename(columns=renamed)[columns]


def verdict(row: dict, level: float) -> str:
    """What a row of differences with its p_holm and decides allows to say. level: what its p has to
    be below to be told apart from 0."""
    if row["pairs"] == 0:
        return ""
    if row["flat"]:
        return NOT_TRAINED
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
    seeds = f"{SEEDS} seeds and " * (by_folds and few)
    return f"cannot tell; it would take {seeds}{_what_it_takes(row, level)}"


def _what_it_takes(row: dict, level: float) -> str:
    """What `significance.needed` finds, in words: never fewer than there are."""
    mean = row["means"][0]
    seeds, pictures = significance.needed(mean, row["seeds"], row["tested"], level)
    if seeds is None or pictures is None:
        return "more seeds and pictures" if mean.seeds > 0 else f"more than {NEVER[1]:,} pictures"
    if seeds > row["seeds"]:
        return f"about {seeds} seeds"
    step = 10 ** max(0, len(str(pictures)) - 2)
    return f"about {math.ceil(pictures / step) * step:,} pictures"


def _disagree(parts, told_apart: bool) -> bool:
    """Whether the two sets of a row point up and down, by more than noise or though the row is told
    apart from 0."""
    if not isinstance(parts, tuple) or parts[0].value * parts[1].value >= 0:
        return False
    one, other = parts
    error, freedom = math.hypot(one.error, other.error), min(one.freedom, other.freedom)
    return told_apart or Mean(one.value - other.value, error, 0.0, freedom).p < ALPHA


def not_told_apart(verdicts: pd.Series) -> pd.Series:
    """Of each verdict whether it leaves a row within noise, or a point, of its default."""
    return verdicts.astype(str).str.startswith(("cannot", "no "))
