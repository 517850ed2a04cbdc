"""Does what was learnt on one set help on another? Table 8 as a curve over the amount of target
data, and each trained network tested on the sets it never saw.

Runs on a share of the training pictures are kept in <study>/shares, apart from the tables' own.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from . import differences, pages, run_folder
from .loading import load
from .metrics import scores
from .plots import NAMES
from .runs import Places, split
from .spec import RunSpec

SHARES = (0.1, 0.3, 1.0)
FOLDER = "shares"  # in a study
COLUMNS = [
    "table", "dataset", "method", "metric", "share", "pictures", "mean", "std", "ci_low",
    "ci_high", "runs", *differences.COLUMNS, "p_holm", "verdict", "run_ids",
]  # fmt: skip
CROSS = [
    "trained_on", "tested_on", "networks", "pictures", "accuracy", "low", "high", "lowest",
    "highest", "recall", "majority",
]  # fmt: skip


def specs(study) -> list[RunSpec]:
    """The small sets' runs of a `Study`, with and without their set-to-set stage, on each share of
    the training pictures."""
    whole = study.specs(datasets=[d for d in study.datasets if d != "fi"])
    whole = dict.fromkeys([*whole, *study.without_transfer()])
    return [replace(spec, share=share) for share in SHARES for spec in whole]


def run(study) -> list[RunSpec]:
    """Trains what `specs` says, whole sets in the study itself, less in <study>/shares; all specs,
    for `Study.build_tables`."""
    found = specs(study)
    study.run([s for s in found if s.share == 1])
    apart = replace(study, name=f"{study.name}/{FOLDER}")
    less = [s for s in found if s.share < 1]
    run_folder.lend(less, study.folder, apart.folder)
    apart.run(less)
    return found


def table(runs: pd.DataFrame, own: pd.DataFrame, statistics) -> pd.DataFrame:
    """A row for each set, share, start and metric; empty where there are no runs on a share.

    runs: those of <study>/shares; own: the study's, of which those of Table 8 count; statistics:
    (runs, metric) → mean, std, interval. pictures: trained on, mean over folds. difference: without
    the set-to-set stage minus with it, on the same share.
    """
    rows = []
    both = pd.concat([own, runs], ignore_index=True)
    both = both[[s.model == "maiafa" and s.method == "normal" for s in both["spec"]]]
    for dataset in dict.fromkeys(runs["dataset"]):
        there = both[both["dataset"] == dataset]
        for share, group in there.groupby([s.share for s in there["spec"]]):
            staged = np.array([bool(s.stages) for s in group["spec"]])
            for method, part in (("normal", group[staged]), ("without_transfer", group[~staged])):
                for metric in ("accuracy", "recall") if len(part) else ():
                    row = {"table": "transfer", "dataset": dataset, "method": method}
                    row |= {"metric": metric, "share": share, "pictures": part["trained_on"].mean()}
                    row |= statistics(part, metric) | dict(differences.NOTHING)
                    if method == "without_transfer" and staged.any():
                        row |= differences.paired(part, group[staged], metric)
                    rows.append(row)
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return differences.with_holm(pd.DataFrame(rows))[COLUMNS]


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
        lines.append(f"- **{NAMES[dataset]}**, without the stage: {'; '.join(found)}.")
    return "\n".join(lines) or "There is no run with a set-to-set stage to compare."


def cross(study, results) -> pd.DataFrame:
    """Each set's networks (`results`, complete runs with their weights) on every set (CROSS).

    On its own set a network answers for its test pictures, on a set of its chain for that one's
    test pictures, on any other for all: for none that it was trained on. accuracy, recall: mean
    over the networks, in percent; low, high: Wilson's 95% interval of as many test pictures;
    lowest, highest: over the networks; majority: the larger class's share.
    """
    rows = []
    for result in results:
        for dataset in study.datasets:
            frame = _answers(study, result, dataset)
            found = {"trained_on": result.spec.dataset, "tested_on": dataset}
            found |= scores(frame["label"], frame["p_positive"])
            rows.append(found | {"positive": frame["label"].mean()})
    frame, lines = pd.DataFrame(rows), []
    for (source, target), group in frame.groupby(["trained_on", "tested_on"], sort=False):
        accuracy, positive = group["accuracy"].mean(), group["positive"].mean()
        tested = int(group["n"].sum() if source == target else group["n"].iloc[0])
        low, high = proportion_confint(accuracy / 100 * tested, tested, method="wilson")
        lines.append(
            {"trained_on": source, "tested_on": target, "networks": len(group), "pictures": tested}
            | {"accuracy": accuracy, "low": 100 * low, "high": 100 * high}
            | {"lowest": group["accuracy"].min(), "highest": group["accuracy"].max()}
            | {"recall": group["recall"].astype(float).mean()}
            | {"majority": 100 * max(positive, 1 - positive)}
        )
    return pd.DataFrame(lines, columns=CROSS)


def _answers(study, result, dataset: str) -> pd.DataFrame:
    """label and p_positive of the pictures of a set that the network was not trained on."""
    if dataset == result.spec.dataset:
        return result.predictions
    data, chain = study.open(dataset), result.spec
    chosen = np.arange(len(data))
    while chain := chain.predecessor():
        if chain.dataset == dataset:
            _, _, chosen = split(chain, data, Places(study.data_root, study.folder))
    found = load(result.folder, study.device).predict([data.paths[i] for i in chosen])
    return found.assign(label=data.labels[chosen])
