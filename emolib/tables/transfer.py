"""Does what was learnt on one set help on another? Table 8 as a curve over the amount of target
data, and each trained network tested on the other sets.

Runs on a share of the training pictures are kept in <study>/shares, apart from the tables' own.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from ..base import run_folder
from ..base.metrics import scores
from ..spec.run_spec import RunSpec
from ..training.run import Places, split
from ..use.load import load
from . import differences, pages, sources
from .plots import NAMES

SHARES = (0.1, 0.3, 1.0)
FOLDER = "shares"  # in a study
COLUMNS = [
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
    *differences.COLUMNS,
    *differences.VERDICT,
    "run_ids",
    "nb_low",
    "nb_high",
]
CROSS = [
    "trained_on",
    "tested_on",
    "pre_trained",
    "networks",
    "pictures",
    "accuracy",
    "low",
    "high",
    "lowest",
    "highest",
    "recall",
    "majority",
    "run_ids",
    "weights",
]


def specs(study) -> list[RunSpec]:
    """The small sets' runs of a `Study`, with and without their set-to-set stage, on each share of
    the training pictures. Raises ValueError where the study has no small set or chooses a share."""
    small = [d for d in study.datasets if d != "fi"]
    if not small or "share" in study.overrides:
        why = "its overrides set share" if small else "it has FI alone"
        raise ValueError(f"study {study.name!r}: {why}; the curve is of shares of a small set")
    whole = dict.fromkeys([*study.specs(datasets=small), *study.without_transfer()])
    return [replace(spec, share=share) for share in SHARES for spec in whole]


def run(study) -> list[RunSpec]:
    """Trains what `specs` says, whole sets in the study itself, less in <study>/shares; all specs,
    for `Study.build_tables`."""
    apart, whole, less = _parts(study)
    study.run(whole)
    run_folder.lend(less, study.folder, apart.folder)
    apart.run(less)
    return [*whole, *less]


def plan(study) -> pd.DataFrame:
    """`Study.plan` of what `run` is still to train."""
    apart, whole, less = _parts(study)
    run_folder.lend(less, study.folder, apart.folder)  # what is lent is not ahead
    return pd.concat([study.plan(whole), apart.plan(less)], ignore_index=True)


def _parts(study) -> tuple:
    """(the study of the shares, the specs on all pictures, those on fewer)"""
    found = specs(study)
    whole, less = [s for s in found if s.share == 1], [s for s in found if s.share < 1]
    return replace(study, name=f"{study.name}/{FOLDER}"), whole, less


def table(runs: pd.DataFrame, own: pd.DataFrame, statistics, check) -> pd.DataFrame:
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
        return pd.DataFrame(columns=COLUMNS)
    return differences.with_verdicts(rows)[COLUMNS]


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
    """Each set's networks (`results`, complete runs) on every set (CROSS). Those whose weights were
    not kept are left out and named.

    On its own set a network answers for its test pictures, on a set that its chain began on
    (pre_trained) for that one's test pictures, on any other for all: for none that it was trained
    on. accuracy, recall: mean over the networks, in percent; low, high: Wilson's 95% interval of as
    many test pictures; lowest, highest: over the networks; majority: the larger class's share;
    run_ids, weights: as `sources` says.
    """
    rows = []
    gone = [r.spec.id for r in results if not (r.folder / "model.safetensors").exists()]
    if gone:
        print(f"Left out, because their weights were not kept: {', '.join(gone)}.")
    for result in (r for r in results if r.spec.id not in gone):
        for dataset in study.datasets:
            frame = _answers(study, result, dataset)
            found = {"trained_on": result.spec.dataset, "tested_on": dataset}
            found["pre_trained"] = dataset in result.spec.stages
            rows.append(found | _scored(frame) | {"folder": result.folder})
    frame, lines = pd.DataFrame(rows, columns=None if rows else CROSS), []
    for (source, target), group in frame.groupby(["trained_on", "tested_on"], sort=False):
        line = {"trained_on": source, "tested_on": target}
        lines.append(line | _line(group, source == target) | sources.of(group["folder"]))
    return pd.DataFrame(lines, columns=CROSS)


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
