"""Does what was learnt on one set help on another? Table 8 as a curve over the amount of target
data, and each trained network tested on the other sets.

Runs on a share of the training pictures are kept in <study>/shares, apart from the tables' own.
"""

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from ..base.metrics import scores
from ..spec.sets import in_words
from . import differences, pages

SHARES_FOLDER = "shares"  # in a study
TRANSFER_COLUMNS = [
    "table",
    "dataset",
    "method",
    "metric",
    "share",
    "pictures",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "runs",
    *differences.PAIR_COLUMNS,
    *differences.VERDICT,
    "run_ids",
    "nb_low",
    "nb_high",
]


def transfer_table(runs: pd.DataFrame, own: pd.DataFrame, statistics, check) -> pd.DataFrame:
    """A row for each set, share, start and metric; empty where there are no runs on a share.

    runs: those of <study>/shares; own: the study's, of which those of Table 8 count; statistics:
    (runs, metric) → mean, std, interval; check: raises for a row's runs that have several settings.
    pictures: trained on, mean over folds. difference: without the set-to-set stage minus with it,
    on the same share.
    """
    rows = []
    both = pd.concat([own, runs], ignore_index=True)
    both = both[[s.method == "normal" and not s.grouped for s in both["spec"]]]
    for dataset in dict.fromkeys(runs["dataset"]):
        there = both[both["dataset"] == dataset]
        for share, group in there.groupby([s.share for s in there["spec"]]):
            staged = np.array([bool(s.stages) for s in group["spec"]])
            for method, part in (("normal", group[staged]), ("without_transfer", group[~staged])):
                check(part)
                for metric in ("accuracy", "recall") if len(part) else ():
                    row = {"table": "transfer", "dataset": dataset, "method": method}
                    row |= {"metric": metric, "share": share, "pictures": part["trained_on"].mean()}
                    row |= statistics(part, metric) | dict(differences.NOTHING)
                    if method == "without_transfer" and staged.any():
                        row |= differences.paired(part, group[staged], metric)
                    rows.append(row)
    if not rows:
        return pd.DataFrame(columns=TRANSFER_COLUMNS)
    return differences.with_verdicts(rows)[TRANSFER_COLUMNS]


def conclusion(table: pd.DataFrame) -> str:
    """A sentence a set, Markdown: what is lost without the set-to-set stage on each share."""
    rows = table[(table["metric"] == "accuracy") & table["difference"].notna()]
    lines = []
    for dataset, group in rows.groupby("dataset", sort=False):
        found = (
            f"on {row['share']:.0%} of the training pictures ({row['pictures']:.0f}) "
            f"{pages.difference(row['difference'], row['low'], row['high'])} points, "
            f"{row['verdict']}"
            for _, row in group.iterrows()
        )
        lines.append(f"- **{in_words(dataset)}**, without the stage: {'; '.join(found)}.")
    return "\n".join(lines) or "There is no run with a set-to-set stage to compare."


def own_row(results) -> dict:
    """`cross`'s numbers of networks on their own set, from their predictions.csv alone."""
    frame = pd.DataFrame([_scored(r.predictions) | {"pre_trained": False} for r in results])
    return {"trained_on": results[0].spec.dataset} | _line(frame, True)


def _scored(frame: pd.DataFrame) -> dict:
    return scores(frame["label"], frame["p_positive"]) | {"positive": frame["label"].mean()}


def _line(group: pd.DataFrame, own: bool) -> dict:
    """One row of `cross`, of networks that were all tested on the same pictures or, on their own
    set, each on its own."""
    accuracy, positive = group["accuracy"].mean(), group["positive"].mean()
    tested = int(group["n"].sum() if own else group["n"].iloc[0])
    low, high = proportion_confint(accuracy / 100 * tested, tested, method="wilson")
    return (
        {"networks": len(group), "pictures": tested}
        | {"pre_trained": bool(group["pre_trained"].any())}
        | {"accuracy": accuracy, "low": 100 * low, "high": 100 * high}
        | {"lowest": group["accuracy"].min(), "highest": group["accuracy"].max()}
        | {"recall": group["recall"].astype(float).mean()}
        | {"majority": 100 * max(positive, 1 - positive)}
    )
