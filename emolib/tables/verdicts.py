"""What a difference allows to say, in a few words."""

import math

import numpy as np
import pandas as pd

from . import significance
from .significance import ALPHA, NEVER, SEEDS, Mean

VERDICT_COLUMNS = ["p_holm", "decides", "verdict"]
ABOUT_A_METHOD = (7, "readings")  # tables whose verdicts speak of a part of the network
EQUAL = 1.0  # points: two systems that are closer than this are as good as equal
NOT_TRAINED = "not trained"


def with_verdicts(rows: list[dict], columns: list[str], renamed=None) -> pd.DataFrame:
    """The `columns` of a table of differences. rows: as `pairs.tidy_rows` gives them; renamed:
    {a column of `rows`: its name in the table}.

    - p_holm: p, corrected for the number of comparisons in each table, set and metric (Holm).
    - decides: "folds" if the interval over pictures would find too much
      (`significance.pictures_decide`) and the one over folds is wider, or not known. It then has to
      exclude 0 as well. Else "pictures", and "" if there is no pair.
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
    """Whether the sets of a row over both contradict each other: one points up, the other down, and
    they differ by more than noise or the row is told apart from 0."""
    if not isinstance(parts, tuple) or parts[0].value * parts[1].value >= 0:
        return False
    one, other = parts
    error, freedom = math.hypot(one.error, other.error), min(one.freedom, other.freedom)
    return told_apart or Mean(one.value - other.value, error, 0.0, freedom).p < ALPHA


def not_told_apart(verdicts: pd.Series) -> pd.Series:
    """Of each verdict whether it leaves a row within noise, or a point, of its default."""
    return verdicts.astype(str).str.startswith(("cannot", "no "))
