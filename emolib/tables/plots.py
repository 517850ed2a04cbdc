"""The figures of tables: each function returns a Figure. Published numbers are always grey."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..base.files import sha256, whole_file
from ..spec.sets import in_words
from .comparison import DEFAULT, NOT_TRAINED, not_told_apart
from .names import readable

COLORS = sns.color_palette("colorblind")
OURS, POSITIVE, NEGATIVE = COLORS[0], COLORS[2], COLORS[3]
GREY = "0.6"
BARS, NO_WIDTH = "measured here, 95% interval", "no interval: one run, or runs that are all alike"


def save_beside(file: Path, figure: Figure) -> None:
    """Writes the figure of a table beside its CSV. The figure's own text says, by the CSV's
    SHA-256, which one it was drawn from."""
    drawn_from = {"Source": f"{file.name} sha256:{sha256(file)}"}
    with whole_file(file.with_suffix(".png")) as part:
        figure.savefig(part, format="png", dpi=120, bbox_inches="tight", metadata=drawn_from)


def drawn(title: str, demo: bool) -> str:
    """A figure's title that says where the pictures are emolib's own drawings."""
    return title + "\nDEMO DATA: drawn pictures" * demo


def intervals(
    axis, middle, low, high, places, label=BARS, color=OURS, marker="o", vertical=False, hollow=None
) -> None:
    """Points with their intervals, along x, or along y if `vertical`. Without an interval, or with
    one of no width (two runs that are alike), a diamond. hollow: (mask, label) of hollow points."""
    middle, low, high, places = (np.asarray(v, float) for v in (middle, low, high, places))
    points = (places, middle) if vertical else (middle, places)
    wide = high - low > 1e-9
    flat = ~wide & ~np.isnan(middle)
    spread = np.maximum(0, np.vstack([middle - low, high - middle])[:, wide])  # rounding
    bars = {"yerr" if vertical else "xerr": spread, "capsize": 3, "label": label}
    axis.errorbar(*(p[wide] for p in points), fmt=marker, color=color, **bars)
    if flat.any():
        axis.plot(*(p[flat] for p in points), "D", color=color, label=NO_WIDTH)
    mask, meaning = hollow or (False, "")
    white = {"color": color, "mfc": "white", "zorder": 9, "label": meaning}
    for open_ones, shape in ((wide & mask, marker), (flat & mask, "D")):
        if open_ones.any():
            axis.plot(*(p[open_ones] for p in points), shape, **white)


def legend_below(figure: Figure, axes, columns: int = 3) -> None:
    """One legend for all axes, under them: over no row and no title."""
    found: dict[str, Artist] = {}
    for axis in np.ravel(axes):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        names, how = list(found), {"fontsize": 8, "ncols": columns}
        figure.legend(list(found.values()), names, loc="outside lower center", **how)


def panels(rows: int, columns: int, width: float, height: float, **options):
    """(a figure, its axes: an array of rows × columns). width, height: inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _finished(figure: Figure, axes, title: str, columns: int = 3) -> Figure:
    """With one legend below and the title above, in two lines where a dash parts it."""
    legend_below(figure, axes, columns)
    figure.suptitle(title.replace(" — ", "\n"))
    return figure


def named_rows(axis, names) -> np.ndarray:
    """Readies an axis for one name a row, the first on top, and returns the rows' places."""
    places = np.arange(len(names))[::-1]
    axis.set_yticks(places, names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(axis="x", alpha=0.3)
    return places


def _methods(axis, rows: pd.DataFrame, columns, title: str, hollow=None, paper=False) -> None:
    """A panel with a line a method, the first on top: its point and interval, from three `columns`,
    and the paper's number."""
    names = rows["method"].map(readable).str.replace(", ", ",\n")
    flat = np.where(rows["verdict"] == NOT_TRAINED, " (not trained)", "")
    places = named_rows(axis, list(names + flat))
    if paper:
        axis.scatter(rows["published"], places, color=GREY, s=60, label="published")
    middle, low, high = (rows[column] for column in columns)
    intervals(axis, middle, low, high, places, hollow=hollow)
    axis.set_title(title)


def draw_table(frame: pd.DataFrame, title: str, compared: pd.DataFrame | None = None) -> Figure:
    """Ours with 95% intervals beside the published numbers, a panel a metric and each data set that
    has runs of ours; a method without any number is left out. compared: the table of
    differences. What it cannot tell apart is hollow."""
    number, keys = frame["table"].iloc[0], ["table", "dataset", "method", "metric"]
    if compared is None:
        frame = frame.assign(verdict="")
    else:
        frame = frame.join(compared.set_index(keys)["verdict"], on=keys)
    frame = frame[frame["mean"].notna() | frame["published"].notna()]
    if frame["runs"].any():
        frame = frame[frame["runs"].groupby(frame["dataset"]).transform("max") > 0]
    sets, metrics = frame["dataset"].unique(), frame["metric"].unique()
    most = frame.groupby(["dataset", "metric"]).size().max()
    size = max(6.5, 1 + 4.4 * len(sets)), 1 + (0.9 + 0.3 * most) * len(metrics)
    figure, axes = panels(len(metrics), len(sets), *size)
    for line, metric in zip(axes, metrics, strict=True):
        of_metric = frame[frame["metric"] == metric]
        numbers = of_metric[["mean", "published", "ci_low", "ci_high"]]
        low, high = np.floor(numbers.min(axis=None)), np.ceil(numbers.max(axis=None))
        for axis, name in zip(line, sets, strict=True):
            rows = of_metric[of_metric["dataset"] == name]
            alike = not_told_apart(rows["verdict"]).to_numpy()
            hollow = alike, f"hollow: not told apart from the {readable(DEFAULT[number])}"
            columns, where = ("mean", "ci_low", "ci_high"), f"{in_words(name)}: {metric}"
            _methods(axis, rows, columns, where, hollow, paper=True)
            axis.set_xlim(max(low - 1, -2), min(high + 1, 102))
    for axis in axes[-1]:
        axis.set_xlabel("percent (better →)")
    return _finished(figure, axes, title)


def draw_differences(frame: pd.DataFrame, title: str) -> Figure:
    """What each part changes, ours with 95% intervals beside the paper's; grey: what the paper's
    test could not have shown. Other systems only where there is nothing else."""
    rows = frame[(frame["metric"] == "accuracy") & frame["difference"].notna()]
    parts = rows[rows["table"] != 9]
    rows = parts if len(parts) else rows
    default = DEFAULT.get(rows["table"].iloc[0], "normal") if len(rows) else "normal"
    sets = list(dict.fromkeys(rows["dataset"])) or ["fi"]
    most = max([1, *rows.groupby("dataset").size()])
    figure, axes = panels(1, len(sets), max(6.5, 0.8 + 4 * len(sets)), 1.9 + 0.45 * most)
    for axis, name in zip(axes[0], sets, strict=True):
        part = rows[rows["dataset"] == name]
        least, places = part["smallest_paired"], np.arange(len(part))[::-1]
        if least.notna().any():
            grey = {"color": "0.92", "label": "less than the paper's test could show"}
            axis.barh(places, 2 * least, left=-least, height=0.8, **grey)
        _methods(axis, part, ("difference", "low", "high"), in_words(name), paper=True)
        axis.axvline(0, color="black", lw=1)
        axis.set_xlabel(f"points of accuracy against the\n{readable(default)} (better →)")
    return _finished(figure, axes, title)


def draw_matched(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy of each system, the best on top, and its difference to maiafa, with intervals."""
    rows = frame[frame["metric"] == "accuracy"]
    sets = list(rows["dataset"].unique())
    heights = [rows["dataset"].eq(name).sum() for name in sets]
    height = 0.9 + 0.32 * sum(heights) + 0.5 * len(sets)
    figure, axes = panels(len(sets), 2, 9, height, height_ratios=heights)
    for (left, right), name in zip(axes, sets, strict=True):
        part = rows[rows["dataset"] == name].sort_values("mean", kind="stable")[::-1]
        _methods(left, part, ("mean", "ci_low", "ci_high"), f"{in_words(name)}: accuracy")
        minus = ("minus_maiafa", "minus_low", "minus_high")
        _methods(right, part, minus, f"{in_words(name)}: against our network")
        right.set_yticklabels([""] * len(part))
        right.axvline(0, color="black", lw=1)
    axes[-1, 0].set_xlabel("percent (better →)")
    axes[-1, 1].set_xlabel("points (better →),\non the folds and seeds that both have")
    return _finished(figure, axes, title)


START_LABELS = {"normal": "with the set-to-set stage", "without_transfer": "without it"}


def draw_transfer(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy against the number of training pictures, with and without the set-to-set stage, 95%
    intervals; a panel a set."""
    rows = frame[frame["metric"] == "accuracy"]
    sets = list(dict.fromkeys(rows["dataset"]))
    figure, axes = panels(1, len(sets), 1 + 4 * len(sets), 3.6, sharey=True)
    for axis, name in zip(axes[0], sets, strict=True):
        of_set = rows[rows["dataset"] == name]
        for number, (method, label) in enumerate(START_LABELS.items()):
            part = of_set[of_set["method"] == method]
            if part.empty:
                continue
            at, color = part["pictures"] * (1 + 0.03 * number), COLORS[number]
            axis.plot(at, part["mean"], color=color)
            middle, low, high = (part[c] for c in ("mean", "ci_low", "ci_high"))
            intervals(axis, middle, low, high, at, label, color, vertical=True)
        places = sorted(set(of_set["pictures"]))
        axis.set(title=in_words(name), xscale="log", xlabel="training pictures")
        axis.set_xticks(places, [f"{p:.0f}" for p in places])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("accuracy (%)")
    return _finished(figure, axes, title, 2)
