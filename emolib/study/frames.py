"""The frames that the notebooks show: what was found in the data and what the runs gave."""

from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from ..network.build import build_network
from ..spec.published import published
from ..spec.run_spec import Readings, RunSpec
from ..spec.sets import in_words
from ..tables.names import readable
from ..tables.tasks import READ_COLUMNS
from .settings import Settings
from .study import project_root
from .words import with_interval

# Which columns of a table are shown, by its column `table`; of any other table the last ones.
SHOWN = {
    "matched": "dataset method mean ci_low ci_high minus_maiafa minus_low minus_high p_value runs",
    "transfer": "dataset share pictures method mean ci_low ci_high runs difference low high p_holm "
    "verdict",
    "": "dataset method metric difference low high p_holm p_mcnemar pairs published verdict",
}


# A longer table scrolls, so that the page stays short.
MOST_ROWS, SCROLLS = 20, "display: block; max-height: 780px; overflow-y: auto;"
# What columns are called where a person reads them.
HEADINGS = {
    "dataset": "set",
    "ci_low": "mean, 95% from",
    "ci_high": "mean, 95% to",
    "low": "difference, 95% from",
    "high": "difference, 95% to",
    "minus_maiafa": "difference",
    "minus_normal": "minus the network",
    "minus_low": "its 95% from",
    "minus_high": "its 95% to",
    "p_holm": "p (Holm)",
    "p_mcnemar": "p (McNemar)",
    "p_value": "p",
    "ece": "calibration error (ece)",
    "log_loss": "log loss",
    "pairs": "folds × seeds",
    "published": "the paper's",
}


def table5(settings: Settings) -> pd.DataFrame:
    """Pictures and positives of each set of a study, found and published; none where a set does not
    say which are positive."""
    sets = [settings.open(name) for name in settings.datasets]
    paper = published(5).set_index("dataset").reindex([data.name for data in sets])
    counts = pd.DataFrame(index=paper.index)
    counts["pictures (found)"] = [len(data) for data in sets]
    positive = [data.labels.sum() if data.has_polarity else pd.NA for data in sets]
    counts["positive (found)"] = pd.array(positive, "Int64")
    counts["pictures (published)"] = paper["positive"] + paper["negative"]
    counts["positive (published)"] = paper["positive"]
    return counts.astype("Int64").reset_index()


def other_findings(found: pd.DataFrame):
    """`audit.audit`'s findings that are no pairs, for reading: three of each set and kind."""
    first = found[found["other_path"] == ""].groupby(["dataset", "finding"]).head(3)
    return show_frame(first[["dataset", "finding", "path", "label", "detail"]])


def splits(settings: Settings) -> pd.DataFrame:
    """Size, share of positives and origin of each split."""
    rows = []
    for name in settings.datasets:
        data, spec = settings.open(name), settings.spec(name)
        own = data.official_folds and spec.official and not spec.grouped
        source = "the set's own lists" if own else f"seed {spec.split_seed}"
        how = spec.split_seed, spec.grouped
        for fold, (train, test) in enumerate(data.folds(*how, spec.official)):
            validation = data.validation(fold, *how)
            held = 0 if validation is None else len(validation)
            share = 100 * data.labels[test].mean() if data.has_polarity else np.nan
            rows.append((name, fold, len(train) - held, held, len(test), share, source))
    columns = ["dataset", "fold", "train", "validation", "test", "positive in test (%)", "from"]
    return pd.DataFrame(rows, columns=columns)


def per_fold(results) -> pd.DataFrame:
    """Accuracy and recall of each run beside its majority class and the paper's mean, percent."""
    paper = published(9)
    ours = paper[(paper["method"] == "maiafa") & (paper["metric"] == "accuracy")]
    ours = ours.set_index("dataset")["published"]
    rows = []
    for result in results:
        spec, metrics = result.spec, result.metrics
        share = 100 * result.predictions["label"].mean()
        majority, theirs = max(share, 100 - share), ours.get(spec.dataset, float("nan"))
        scores = (metrics["accuracy"], metrics["recall"], majority, theirs)
        rows.append((spec.dataset, spec.fold, *scores, metrics["n"]))
    columns = ["dataset", "fold", "accuracy", "recall", "majority", "published", "test pictures"]
    return pd.DataFrame(rows, columns=columns)


def show_means(per_fold: pd.DataFrame):
    """`per_fold` for reading: mean and std over the folds of each set, and the paper's accuracy;
    None without runs."""
    if per_fold.empty:
        return None
    sets = per_fold.groupby("dataset", sort=False)
    found = sets[["accuracy", "recall", "majority"]].agg(["mean", "std"])
    found["paper's accuracy", "mean"] = sets["published"].first()
    return found.round(2)


def leakage(results, grouped) -> pd.DataFrame:
    """Accuracy by the paper's folds beside leakage-free ones: mean and standard deviation over
    the folds of each set, lowest and highest, percent; and how many pictures were tested."""
    named = {"the paper's": per_fold(results), "leakage-free": per_fold(grouped)}
    both = pd.concat([frame.assign(folds=name) for name, frame in named.items()])
    names = {"mean": "accuracy", "std": "std over folds", "min": "lowest", "max": "highest"}
    groups = both.groupby(["dataset", "folds"], sort=False)
    found = groups["accuracy"].agg(list(names)).rename(columns=names)
    found["test pictures"] = groups["test pictures"].sum()
    return found.reset_index().sort_values("dataset", kind="stable", ignore_index=True)


def open_readings() -> pd.DataFrame:
    """The open readings: field, values (the first is the default) and why it is open."""
    rows = [(f.name, ", ".join(get_args(f.type)), f.metadata["why"]) for f in fields(Readings)]
    return pd.DataFrame(rows, columns=["field", "values", "why it is open"])


def parameter_counts(specs: list[RunSpec]) -> pd.DataFrame:
    """Parameters of each part of each variant's network."""
    rows = {}
    for spec in {spec.method: spec for spec in reversed(specs)}.values():
        parts = build_network(replace(spec, init="scratch", pretrain=())).named_children()
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
        rows[spec.method] = {"method": spec.method, **counts, "all": sum(counts.values())}
    return pd.DataFrame(rows.values()).fillna(0).convert_dtypes()


def show_frame(frame: pd.DataFrame, precision: int = 2, **digits: str):
    """A frame for reading: numbers to so many digits, single columns as `digits` say, and nothing
    where there is no number. None of an empty frame."""
    if frame.empty:
        return None
    formats = dict.fromkeys(("p", "p_holm", "p_mcnemar", "p_value"), _p) | digits
    # the ends of a difference, or of the value itself
    ends = {} if "difference" in frame else {"low": "95% from", "high": "95% to"}
    heads = HEADINGS | ends
    formats = {heads.get(name, name): how for name, how in formats.items()}
    words = {"dataset": in_words, "method": readable, "path": _from_the_top}
    frame = frame.assign(**{c: frame[c].map(say) for c, say in words.items() if c in frame})
    frame = frame.rename(columns=heads)
    style = frame.style.hide(axis="index").format(formats, precision=precision, na_rep="")
    if "verdict" in frame:  # its words take few lines
        style.set_properties(subset=["verdict"], **{"min-width": "16em", "text-align": "left"})
    if len(frame) > MOST_ROWS:
        style.set_table_styles([{"selector": "", "props": SCROLLS}])
    return style


def _from_the_top(path: str) -> str:
    """A picture's path, from the repository's top where it is below it."""
    here, top = Path(path), project_root()
    return here.relative_to(top).as_posix() if here.is_relative_to(top) else str(path)


def show_table(table: pd.DataFrame):
    """A table of results for reading, a line a set and method: percent to two digits."""
    lines = []
    for (dataset, method), rows in table.groupby(["dataset", "method"], sort=False):
        line = {"dataset": dataset, "method": method}
        for _, row in rows.iterrows():
            metric, interval = row["metric"], f"{row['ci_low']:.1f}–{row['ci_high']:.1f}"
            line |= {metric: row["mean"], f"95% ({metric})": interval if row["runs"] else ""}
            line[f"paper's {metric}"] = row["published"]
        lines.append(line | {"runs": rows["runs"].iloc[0]})
    return show_frame(pd.DataFrame(lines))


def show_compared(table: pd.DataFrame):
    """A table of comparisons for reading: differences, readings, matched or transfer. Of one that
    has runs, accuracy alone. The matched one has the best of each set first."""
    kind = table["table"].iloc[0]
    rows = table[table["metric"] == "accuracy"] if "runs" in table else table
    if kind == "matched":
        rows = rows.sort_values(["dataset", "mean"], ascending=[True, False], kind="stable")
    elif kind != "transfer":
        rows = rows[rows["difference"].notna() & (rows["table"] != 9)]  # 9: hollow in its figure
    columns = SHOWN.get(kind, SHOWN[""]).split()
    return show_frame(rows[columns], share="{:.0%}", pictures="{:.0f}")


def show_more_scores(table: pd.DataFrame):
    """What the paper leaves out, for reading, a line a set and method: percent."""
    wide = table.pivot_table("mean", ["dataset", "method"], "metric", sort=False).reset_index()
    return show_frame(wide, 1)


def show_tasks(table: pd.DataFrame):
    """`tasks.csv` for reading."""
    return show_frame(table[["dataset", "task", "method", *READ_COLUMNS]])


def show_costs(table: pd.DataFrame):
    """What the systems of Table 9 cost, for reading."""
    frame = table[["dataset", "method"]].assign(**_millions(table))
    frame["pictures a second"] = table["pictures_per_second"]
    return frame.style.hide(axis="index").format(precision=1, na_rep="", thousands=",")


def show_readings_costs(table: pd.DataFrame):
    """Accuracy, recall and cost of each reading, for reading."""
    recall = table[table["metric"] == "recall"].set_index(["dataset", "method"])["mean"]
    rows = table[table["metric"] == "accuracy"].set_index(["dataset", "method"])
    costs = {"runs": rows["runs"]} | _millions(rows) | {"seconds": rows["seconds"]}
    frame = rows[["mean", "ci_low", "ci_high"]].assign(recall=recall, **costs)
    return show_frame(frame.reset_index(), 1)


def show_regions(table: pd.DataFrame):
    """`regions.compare_maps` for reading: a line a map, each measure's mean and interval."""
    keys = ["set", "reading", "map"]
    numbers = zip(table["mean"], table["low"], table["high"], strict=True)
    cells = table.assign(cell=[with_interval(*each) for each in numbers])
    wide = cells.pivot_table("cell", keys, "measure", aggfunc="first", sort=False)
    over = table.groupby(keys, sort=False)["over"].first()
    return wide.assign(over=over).reset_index().style.hide(axis="index")


def _p(value: float) -> str:
    """A p value: none is 0."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _millions(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {"parameters (M)": table["parameters"] / 1e6, "multiply-adds (M)": table["macs"] / 1e6}
