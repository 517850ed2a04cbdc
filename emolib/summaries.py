"""The frames that the notebooks show: what was found in the data and what the runs gave."""

import typing
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import torch.nn.functional as F

from . import blurring as blur
from .loading import build, load
from .metrics import region_auc
from .pipeline import centre
from .plan import total_seconds
from .spec import Readings, RunSpec
from .tables import published


def table5(study) -> pd.DataFrame:
    """Pictures and positives of each set of a study, found and published."""
    rows = []
    paper = published(5).set_index("dataset")[["positive", "negative"]]
    for name in study.datasets:
        labels = study.open(name).labels
        known = paper.loc[name] if name in paper.index else pd.Series(pd.NA, paper.columns)
        rows.append(
            {
                "dataset": name,
                "pictures (found)": len(labels),
                "positive (found)": int(labels.sum()),
                "pictures (published)": known["positive"] + known["negative"],
                "positive (published)": known["positive"],
            }
        )
    counts = {column: "Int64" for column in rows[0] if column != "dataset"}
    return pd.DataFrame(rows).astype(counts)


def splits(study) -> pd.DataFrame:
    """Size, share of positives and origin of each split."""
    rows = []
    for name in study.datasets:
        data = study.open(name)
        for fold, (train, test) in enumerate(data.folds()):
            validation = data.validation(fold)
            held = 0 if validation is None else len(validation)
            rows.append(
                {
                    "dataset": name,
                    "fold": fold,
                    "train": len(train) - held,
                    "validation": held,
                    "test": len(test),
                    "positive in test (%)": 100 * data.labels[test].mean(),
                    "from": "the set's own lists" if data.official_folds else "seed 0",
                }
            )
    return pd.DataFrame(rows)


def per_fold(results) -> pd.DataFrame:
    """Accuracy and recall of each run beside its majority class and the paper's mean, percent."""
    paper = published(9)
    ours = paper[(paper["method"] == "maiafa") & (paper["metric"] == "accuracy")]
    ours = ours.set_index("dataset")["published"]
    rows = []
    for result in results:
        share = 100 * result.predictions["label"].mean()
        rows.append(
            {
                "dataset": result.spec.dataset,
                "fold": result.spec.fold,
                "accuracy": result.metrics["accuracy"],
                "recall": result.metrics["recall"],
                "majority": max(share, 100 - share),
                "published": ours.get(result.spec.dataset, float("nan")),
                "test pictures": result.metrics["n"],
            }
        )
    return pd.DataFrame(rows)


def leakage(results, grouped) -> pd.DataFrame:
    """Accuracy by the paper's folds beside leakage-free ones: mean and standard deviation over
    the folds of each set, percent."""
    rows = []
    for runs_ in (results, grouped):
        folds = "leakage-free" if runs_[0].spec.grouped else "the paper's"
        for dataset, group in per_fold(runs_).groupby("dataset", sort=False):
            accuracy = group["accuracy"]
            rows.append(
                {
                    "dataset": dataset,
                    "folds": folds,
                    "accuracy": accuracy.mean(),
                    "std over folds": accuracy.std(),
                    "lowest": accuracy.min(),
                    "highest": accuracy.max(),
                    "test pictures": group["test pictures"].sum(),
                }
            )
    return pd.DataFrame(rows).sort_values("dataset", kind="stable", ignore_index=True)


def region_scores(results, data, device: str = "auto") -> pd.DataFrame:
    """How well D falls on the known regions of each run's own test pictures.

    One row a run: the seed of its network, its fold, the mean over pictures of
    `metrics.region_auc` for D and, as a control, for a Gaussian at the centre, and D's mean inside
    and outside the regions. Chance is 0.5.
    """
    rows = []
    index = {name: i for i, name in enumerate(data.names)}
    for result in results:
        predictor = load(result.folder, device)
        chosen = [index[name] for name in result.predictions["path"]]
        D = predictor.regions([data.paths[i] for i in chosen])
        known = [_at(data.maps[i], result.spec.image_size, D.shape[-1]) for i in chosen]
        centre = _centre(D.shape[-1])
        inside = np.stack(known) > 0.5
        rows.append(
            {
                "network": result.spec.seed,
                "fold": result.spec.fold,
                "AUC of D": np.nanmean([region_auc(d, k) for d, k in zip(D, known, strict=True)]),
                "AUC of centre": np.nanmean([region_auc(centre, k) for k in known]),
                "D inside": D[inside].mean(),
                "D outside": D[~inside].mean(),
                "pictures": len(chosen),
            }
        )
    return pd.DataFrame(rows)


def blurring(results, data, device: str = "auto", most: int = 100) -> pd.DataFrame:
    """`blurring.compared` over the test pictures of the runs (`most` of each): how far the answer
    falls when D's brightest, or as much elsewhere, is blurred."""
    frames = []
    for result in results:
        names = result.predictions["path"].sample(frac=1, random_state=0).head(most)
        paths = [data.root / name for name in names]
        frames.append(blur.blurred(load(result.folder, device), paths))
    return blur.compared(pd.concat(frames, ignore_index=True))


def by_network(scores: pd.DataFrame) -> pd.DataFrame:
    """`region_scores` of several networks: the mean over each one's folds; prints their spread."""
    columns = ["AUC of D", "AUC of centre", "D inside", "D outside"]
    table = scores.groupby("network")[columns].mean()
    D = table["AUC of D"]
    print(f"AUC of D over {len(D)} networks: mean {D.mean():.3f}, {D.min():.3f} to {D.max():.3f}")
    table.insert(0, "folds", scores.groupby("network").size())
    return table.reset_index()


def readings() -> pd.DataFrame:
    """The open readings: field, values (the first is the default) and why it is open."""
    return pd.DataFrame(
        [
            {
                "field": f.name,
                "values": ", ".join(typing.get_args(f.type)),
                "why it is open": f.metadata["why"],
            }
            for f in fields(Readings)
        ]
    )


def parameter_counts(specs: list[RunSpec]) -> pd.DataFrame:
    """Parameters of each part of each variant's network."""
    rows = {}
    for spec in specs:
        if spec.method not in rows:
            parts = build(replace(spec, init="scratch", pretrain=())).named_children()
            counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
            rows[spec.method] = {"method": spec.method, **counts, "all": sum(counts.values())}
    return pd.DataFrame(rows.values()).fillna(0).convert_dtypes()


def plan(ahead: pd.DataFrame) -> pd.DataFrame:
    """The runs ahead (`Study.plan`), a row for each set and method; prints how long they take."""
    if ahead.empty:
        print("Nothing to train: every run is there.")
    else:
        minutes = total_seconds(ahead) / 60
        print(f"{len(ahead)} runs to train, about {minutes:.1f} min on this machine.")
    by = ahead.groupby(["stage", "dataset", "method"], sort=False)
    table = by.agg(runs=("id", "size"), at_once=("at_once", "first"), seconds=("seconds", "mean"),
                   memory_gb=("memory_mb", "max"))  # fmt: skip
    table["memory_gb"] /= 1024
    return table.rename(columns={"seconds": "seconds each"}).reset_index()


def _at(path, image_size: int, size: int) -> np.ndarray:
    """A stimuli map, cropped as its picture and at D's size: size×size in 0…1."""
    view = centre(path, image_size)[None, :, :, 0].float() / 255
    return F.interpolate(view[None], size=(size, size), mode="area")[0, 0].numpy()


def _centre(size: int) -> np.ndarray:
    axis = np.linspace(-1, 1, size)
    return np.exp(-(axis[:, None] ** 2 + axis[None] ** 2))


def costs(table: pd.DataFrame):
    """What the systems of Table 9 cost, for reading."""
    frame = table[["dataset", "method"]].assign(
        **{
            "parameters (M)": table["parameters"] / 1e6,
            "multiply-adds (M)": table["macs"] / 1e6,
            "pictures a second": table["pictures_per_second"],
        }
    )
    return frame.style.hide(axis="index").format(precision=1, na_rep="", thousands=",")


def matched(table: pd.DataFrame):
    """The matched table for reading, the best accuracy of each set first."""
    rows = table[table["metric"] == "accuracy"]
    rows = rows.sort_values(["dataset", "mean"], ascending=[True, False], kind="stable")
    columns = ["dataset", "method", "mean", "ci_low", "ci_high", "minus_maiafa", "minus_low",
               "minus_high", "p_value", "runs"]  # fmt: skip
    digits = {"p_value": "{:.3f}"}
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def differences(table: pd.DataFrame):
    """Comparisons for reading: the difference, its interval and tests, what may be said."""
    rows = table[table["difference"].notna()]
    if "runs" in rows:
        rows = rows[rows["metric"] == "accuracy"]
    columns = ["dataset", "method", "metric", "difference", "low", "high", "p_holm", "p_mcnemar",
               "pairs", "published", "verdict"]  # fmt: skip
    digits = dict.fromkeys(("p_holm", "p_mcnemar"), "{:.3f}")
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def transfer(table: pd.DataFrame):
    """Shares of the training pictures, for reading: accuracy with and without the stage."""
    rows = table[table["metric"] == "accuracy"]
    columns = ["dataset", "share", "pictures", "method", "mean", "ci_low", "ci_high", "runs",
               "difference", "low", "high", "p_holm", "verdict"]  # fmt: skip
    digits = {"p_holm": "{:.3f}", "share": "{:.0%}", "pictures": "{:.0f}"}
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def more_scores(table: pd.DataFrame):
    """What the paper leaves out, for reading, a line a set and method: percent."""
    wide = table.pivot_table("mean", ["dataset", "method"], "metric", sort=False).reset_index()
    return wide.style.hide(axis="index").format(precision=1, na_rep="")


def readings_costs(table: pd.DataFrame):
    """Accuracy, recall and cost of each reading, for reading."""
    recall = table[table["metric"] == "recall"].set_index(["dataset", "method"])["mean"]
    rows = table[table["metric"] == "accuracy"].set_index(["dataset", "method"])
    frame = rows[["mean", "ci_low", "ci_high"]].assign(
        recall=recall, runs=rows["runs"], **{
            "parameters (M)": rows["parameters"] / 1e6,
            "multiply-adds (M)": rows["macs"] / 1e6,
            "seconds": rows["seconds"],
        },
    )  # fmt: skip
    return frame.reset_index().style.hide(axis="index").format(precision=1, na_rep="")


def show(table: pd.DataFrame):
    """A table of results for reading, a line a set and method: percent to two digits, nothing
    where there is no number."""
    lines = []
    for (dataset, method), rows in table.groupby(["dataset", "method"], sort=False):
        line = {"dataset": dataset, "method": method}
        for _, row in rows.iterrows():
            interval = f"{row['ci_low']:.1f}–{row['ci_high']:.1f}" if row["runs"] else ""
            line |= {row["metric"]: row["mean"], f"95% ({row['metric']})": interval,
                     f"paper's {row['metric']}": row["published"]}  # fmt: skip
        lines.append(line | {"runs": rows["runs"].iloc[0]})
    return pd.DataFrame(lines).style.hide(axis="index").format(precision=2, na_rep="")
