"""The frames that the notebooks show: what was found in the data and what the runs gave."""

import typing
from dataclasses import fields, replace

import pandas as pd

from ..network.build import build_network
from ..spec.published import published
from ..spec.run_spec import Readings, RunSpec
from ..spec.sets import in_words
from ..training.plan import total_seconds
from . import rivals

CHOICES = (
    "What is there is not trained again. Fewer runs: SYSTEMS=maiafa (no other system in Table 9), "
    "SYSTEMS=ar,mcpnet (only these), DATASETS=twitter1; shorter ones: OVERRIDES=epochs=30. More: "
    "COMPARISONS=matched or published,matched (every system on the study's backbone)."
)


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


def other_findings(found: pd.DataFrame):
    """`audit.audit`'s findings that are not pairs, for reading: the first three of each set and
    kind."""
    first = found[found["other_path"] == ""].groupby(["dataset", "finding"]).head(3)
    return first[["dataset", "finding", "path", "label", "detail"]].style.hide(axis="index")


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


def about_pretraining(study) -> str:
    """Markdown: that notebook 02 has nothing to do, and what the sets start from; "" with FI."""
    if "fi" in study.datasets:
        return ""
    starts = ", ".join(f"{name} from `{study.spec(name).init}`" for name in study.datasets)
    return (
        "**This study has no FI: nothing is trained in this notebook**, and the cells below stay "
        f"empty. The networks start without it: {starts}; notebook 03 trains them. "
        "What can be said of FI is in the paper's rows of Table 9 (notebook 05)."
    )


def about_fine_tuning(study) -> str:
    """Markdown: that notebooks 03, 06 and 08 have nothing to do; "" where there is a small set."""
    if study.small:
        return ""
    return (
        "**This study has FI alone: there is no small set to fine-tune on**, so that nothing is "
        "trained in this notebook and the cells below stay empty. Notebooks 04 and 05 build the "
        "tables with what FI gives."
    )


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
    columns = "dataset fold accuracy recall majority published".split()
    return pd.DataFrame(rows, columns=[*columns, "test pictures"])


def show_folds(per_fold: pd.DataFrame):
    """`per_fold` for reading; None without runs."""
    if per_fold.empty:
        return None
    return per_fold.style.hide(axis="index").format(precision=2)


def show_means(per_fold: pd.DataFrame):
    """`per_fold` for reading: mean and standard deviation over the folds of each set."""
    columns = ["accuracy", "recall", "majority", "published"]
    if per_fold.empty:
        return None
    return per_fold.groupby("dataset", sort=False)[columns].agg(["mean", "std"]).round(2)


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


def open_readings() -> pd.DataFrame:
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
            parts = build_network(replace(spec, init="scratch", pretrain=())).named_children()
            counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
            rows[spec.method] = {"method": spec.method, **counts, "all": sum(counts.values())}
    return pd.DataFrame(rows.values()).fillna(0).convert_dtypes()


def everything_ahead(study, systems: str = "", comparisons: str = "") -> None:
    """Prints how many runs notebooks 01 to 05 are to train and how long that takes here, and what
    can be left out. systems, comparisons: notebook 05's."""
    chain = study.chain(systems, comparisons)
    ahead = study.plan(dict.fromkeys(spec for specs in chain.values() for spec in specs))
    ahead = ahead.drop_duplicates("id").set_index("id", drop=False)
    print(study.without_stage.replace("**", "").replace("`", ""), end="\n" * bool(study.absent))
    print(f"Notebooks 01 to 05 together train {_runs(ahead)} on this machine:")
    for notebook, specs in chain.items():
        ids = {s.id: None for spec in specs for s in _with_predecessors(spec)}
        mine = ahead.loc[[i for i in ids if i in ahead.index]]
        ahead = ahead.drop(mine.index)
        each = mine.groupby("method", sort=False).size().items()
        print(
            f"  {notebook}: {_runs(mine)}"
            + (": " if len(mine) else "")
            + ", ".join(f"{count} {method}" for method, count in each)
        )
    rows_left_empty(rivals.left_out(study, systems, comparisons))
    print(CHOICES)


def rows_left_empty(without: dict[RunSpec, str]) -> None:
    """Prints the rows of Table 9 that have no runs here (`Study.left_out`), by the reason."""
    for reason in dict.fromkeys(without.values()):
        rows = dict.fromkeys(
            f"{s.dataset} {s.model}" for s, why in without.items() if why == reason
        )
        print(f"Left empty, because {reason}: {', '.join(rows)}.")


def _with_predecessors(spec: RunSpec) -> list[RunSpec]:
    before = spec.predecessor()
    return [*(_with_predecessors(before) if before else ()), spec]


def _runs(ahead: pd.DataFrame) -> str:
    if ahead.empty:
        return "no run"
    count = f"{len(ahead)} run{'s' * (len(ahead) > 1)}"
    minutes = total_seconds(ahead) / 60
    time = f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f"{count}, about {time}"


def show_plan(ahead: pd.DataFrame):
    """The runs ahead (`Study.plan`) for reading, a row for each set and method; None where there
    are none. Prints how long they take."""
    if ahead.empty:
        print("Nothing to train here: no run is missing.")
        return None
    print(f"To train: {_runs(ahead)} on this machine.")
    by = ahead.groupby(["stage", "dataset", "method"], sort=False)
    table = by.agg(
        runs=("id", "size"),
        at_once=("at_once", "first"),
        seconds=("seconds", "mean"),
        memory_gb=("memory_mb", "max"),
    )
    table["memory_gb"] /= 1024
    table = table.rename(columns={"seconds": "seconds each"}).reset_index()
    return table.style.hide(axis="index").format(precision=1)


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


def show_matched(table: pd.DataFrame):
    """The matched table for reading, the best accuracy of each set first."""
    rows = table[table["metric"] == "accuracy"]
    rows = rows.sort_values(["dataset", "mean"], ascending=[True, False], kind="stable")
    columns = [
        "dataset",
        "method",
        "mean",
        "ci_low",
        "ci_high",
        "minus_maiafa",
        "minus_low",
        "minus_high",
        "p_value",
        "runs",
    ]
    digits = {"p_value": _p}
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def show_differences(table: pd.DataFrame):
    """Comparisons for reading: the difference, its interval and tests, what may be said."""
    rows = table[table["difference"].notna() & (table["table"] != 9)]  # 9: hollow in its figure
    if "runs" in rows:
        rows = rows[rows["metric"] == "accuracy"]
    columns = [
        "dataset",
        "method",
        "metric",
        "difference",
        "low",
        "high",
        "p_holm",
        "p_mcnemar",
        "pairs",
        "published",
        "verdict",
    ]
    digits = dict.fromkeys(("p_holm", "p_mcnemar"), _p)
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def show_transfer(table: pd.DataFrame):
    """Shares of the training pictures, for reading: accuracy with and without the stage."""
    rows = table[table["metric"] == "accuracy"]
    columns = [
        "dataset",
        "share",
        "pictures",
        "method",
        "mean",
        "ci_low",
        "ci_high",
        "runs",
        "difference",
        "low",
        "high",
        "p_holm",
        "verdict",
    ]
    digits = {"p_holm": _p, "share": "{:.0%}", "pictures": "{:.0f}"}
    return rows[columns].style.hide(axis="index").format(digits, precision=2, na_rep="")


def _p(value: float) -> str:
    """A p value: none is 0."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def show_falls(table: pd.DataFrame):
    """`blurring.compared` for reading."""
    return table.style.hide(axis="index").format({"p": _p}, precision=3, na_rep="")


def show_more_scores(table: pd.DataFrame):
    """What the paper leaves out, for reading, a line a set and method: percent."""
    wide = table.pivot_table("mean", ["dataset", "method"], "metric", sort=False).reset_index()
    return wide.style.hide(axis="index").format(precision=1, na_rep="")


def show_regions(table: pd.DataFrame):
    """`regions.compared` for reading: a line a map, the mean of each measure and its interval."""
    keys = ["set", "reading", "map"]
    cells = table.assign(
        cell=[_with_interval(*row[1:]) for row in table[["mean", "low", "high"]].itertuples()]
    )
    wide = cells.pivot_table("cell", keys, "measure", aggfunc="first", sort=False)
    over = table.groupby(keys, sort=False)["over"].first()
    return wide.assign(over=over).reset_index().style.hide(axis="index")


def what_regions_say(table: pd.DataFrame) -> str:
    """`regions.compared` in sentences, AUC of the default reading: against chance, then against
    each other map."""
    rows = table[(table["measure"] == "AUC") & (table["reading"] == "normal")]
    lines = []
    for name, group in rows.groupby("set", sort=False):
        by = group.set_index("map")
        D = by.loc["D"]
        if pd.isna(D["mean"]):
            lines.append(f"{in_words(name)}: {D['over']}, so that nothing can be measured.")
            continue
        lines.append(
            f"**{in_words(name)}: the AUC of *D* is "
            f"{_with_interval(D['mean'], D['low'], D['high'])} "
            f"({D['over']}): {_verdict(D['low'] - 0.5, D['high'] - 0.5)} chance (0.5).**"
        )
        lines += [
            f"- *D* minus {map_}: {_with_interval(*row, sign='+')}: {_verdict(*row[1:])} it."
            for map_, row in by[["D_minus", "D_minus_low", "D_minus_high"]].iterrows()
            if map_ not in ("D", "uniform") and pd.notna(row["D_minus"])
        ]
        if "Grad-CAM" not in by.index:
            lines.append("- No Grad-CAM: the study has no complete run of the plain backbone.")
        if "D before" not in by.index:
            lines.append("- No *D* before the fine-tune: these networks start from no other run.")
    return "\n".join(lines)


def what_curves_say(table: pd.DataFrame) -> str:
    """`blurring.areas` in sentences: whether the answer hangs on what D marks."""
    lines = []
    for name, group in table.groupby("set", sort=False):
        lines += [
            "",
            f"**{in_words(name)}** ({group['over'].iloc[0]}), areas minus that of *D*'s highest:",
            "",
        ]
        for row in group[group["difference"].notna()].itertuples():
            low, high = (
                (row.d_low, row.d_high) if row.way == "deletion" else (-row.d_high, -row.d_low)
            )
            found = _with_interval(row.difference, row.d_low, row.d_high, sign="+")
            said = {
                "above": "it hangs more on *D*'s highest",
                "below": "it hangs less on *D*'s highest",
            }.get(_verdict(low, high), "cannot tell")
            lines.append(f"- {row.way}, {row.place}: {found}: {said}.")
    return "\n".join(lines)


def _with_interval(middle, low, high, sign: str = "") -> str:
    """ "0.58 (0.50 to 0.66)", or the number alone where there is no interval."""
    text = f"{middle:{sign}.2f}"
    return text if pd.isna(low) else f"{text} ({low:{sign}.2f} to {high:{sign}.2f})"


def _verdict(low, high) -> str:
    """Of a difference's interval."""
    if pd.isna(low):
        return "one run cannot tell it from"
    return "above" if low > 0 else "below" if high < 0 else "cannot be told from"


def readings_costs(table: pd.DataFrame):
    """Accuracy, recall and cost of each reading, for reading."""
    recall = table[table["metric"] == "recall"].set_index(["dataset", "method"])["mean"]
    rows = table[table["metric"] == "accuracy"].set_index(["dataset", "method"])
    frame = rows[["mean", "ci_low", "ci_high"]].assign(
        recall=recall,
        runs=rows["runs"],
        **{
            "parameters (M)": rows["parameters"] / 1e6,
            "multiply-adds (M)": rows["macs"] / 1e6,
            "seconds": rows["seconds"],
        },
    )
    return frame.reset_index().style.hide(axis="index").format(precision=1, na_rep="")


def show(table: pd.DataFrame):
    """A table of results for reading, a line a set and method: percent to two digits, nothing
    where there is no number."""
    lines = []
    for (dataset, method), rows in table.groupby(["dataset", "method"], sort=False):
        line = {"dataset": dataset, "method": method}
        for _, row in rows.iterrows():
            interval = f"{row['ci_low']:.1f}–{row['ci_high']:.1f}" if row["runs"] else ""
            line |= {
                row["metric"]: row["mean"],
                f"95% ({row['metric']})": interval,
                f"paper's {row['metric']}": row["published"],
            }
        lines.append(line | {"runs": rows["runs"].iloc[0]})
    return pd.DataFrame(lines).style.hide(axis="index").format(precision=2, na_rep="")
