"""Every figure: each function returns a matplotlib Figure. Published numbers are always grey."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..spec.sets import in_words
from .differences import DEFAULT, TABLE, noise

OURS, POSITIVE, NEGATIVE = (sns.color_palette("colorblind")[i] for i in (0, 2, 3))
GREY = "0.6"


NO_WIDTH = "no interval: one run, or runs that are all alike"


def drawn(title: str, demo: bool) -> str:
    """A figure's title that says where the pictures are emolib's own drawings."""
    return title + "\nDEMO DATA: drawn pictures" * demo


def intervals(
    axis,
    middle,
    low,
    high,
    places,
    label="ours, 95% interval",
    color=OURS,
    marker="o",
    vertical=False,
    hollow=None,
) -> None:
    """Points with their intervals, along x, or y where `vertical`. One of no width (two runs that
    are alike) or none at all is not certainty: a diamond without a bar. hollow: (mask, label)."""
    middle, low, high, places = (np.asarray(v, float) for v in (middle, low, high, places))
    points = (places, middle) if vertical else (middle, places)
    wide = high - low > 1e-9
    flat = ~wide & ~np.isnan(middle)
    spread = np.maximum(0, np.vstack([middle - low, high - middle])[:, wide])  # rounding
    axis.errorbar(
        *(p[wide] for p in points),
        **{"yerr" if vertical else "xerr": spread},
        fmt=marker,
        color=color,
        capsize=3,
        label=label,
    )
    if flat.any():
        axis.plot(*(p[flat] for p in points), "D", color=color, label=NO_WIDTH)
    if hollow is not None and hollow[0].any():
        for mask, shape in ((wide & hollow[0], marker), (flat & hollow[0], "D")):
            if mask.any():
                axis.plot(
                    *(p[mask] for p in points),
                    shape,
                    mfc="white",
                    color=color,
                    zorder=9,
                    label=hollow[1],
                )


def legend_below(figure: Figure, axes, columns: int = 3) -> None:
    """One legend for all axes, under them: over no row and no title."""
    found = {}
    for axis in np.ravel(axes):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(found.values(), found, fontsize=8, loc="outside lower center", ncols=columns)


def _grid(rows: int, columns: int, width: float, height: float, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def draw_table(frame: pd.DataFrame, title: str, compared: pd.DataFrame | None = None) -> Figure:
    """Ours with 95% intervals beside the published numbers, a panel a metric and each data set that
    has runs of ours. compared: the table of differences; what it does not tell from the default is
    hollow."""
    number = frame["table"].iloc[0]
    compared = pd.DataFrame(columns=TABLE) if compared is None else compared
    alike = noise(compared, number)
    if frame["runs"].any():
        frame = frame[frame["runs"].groupby(frame["dataset"]).transform("max") > 0]
    sets = list(dict.fromkeys(frame["dataset"]))
    metrics = list(dict.fromkeys(frame["metric"]))
    most = max(len(rows) for _, rows in frame.groupby(["dataset", "metric"]))
    figure, axes = _grid(
        len(metrics),
        len(sets),
        max(6.5, 3.6 * len(sets)),
        1 + (0.9 + 0.3 * most) * len(metrics),
    )
    for line, metric in zip(axes, metrics, strict=True):
        shown = frame.loc[frame["metric"] == metric, ["mean", "published", "ci_low", "ci_high"]]
        low = 10 * np.floor(shown.min(axis=None) / 10)
        high = 10 * np.ceil(shown.max(axis=None) / 10)
        for axis, name in zip(line, sets, strict=True):
            rows = frame[(frame["dataset"] == name) & (frame["metric"] == metric)]
            there = (compared["table"] == number) & (compared["dataset"] == name)
            verdicts = compared[there & (compared["metric"] == metric)].set_index("method")
            places = np.arange(len(rows))[::-1]
            axis.scatter(rows["published"], places, color=GREY, s=60, label="published")
            same = np.array([(name, m, metric) in alike for m in rows["method"]], bool)
            intervals(
                axis,
                rows["mean"],
                rows["ci_low"],
                rows["ci_high"],
                places,
                hollow=(same, f"hollow: not told apart from {DEFAULT[number]}"),
            )
            axis.set_yticks(places, _labels(rows, verdicts["verdict"]))
            axis.set(
                title=f"{in_words(name)}: {metric}",
                ylim=(-0.6, len(rows) - 0.4),
                xlim=(low - 2, high + 2),
            )
            axis.grid(axis="x", alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("percent")
    legend_below(figure, axes)
    figure.suptitle(_wrapped(title))
    return figure


def _labels(rows: pd.DataFrame, verdicts: pd.Series) -> list[str]:
    """The methods of `rows`, those that have not trained marked; verdicts: by method."""
    flat = set(verdicts.index[verdicts == "not trained"])
    return [f"{m} (not trained)" if m in flat else m for m in rows["method"]]


def _wrapped(title: str) -> str:
    """A title in two lines where a dash parts it, so that it fits over a narrow figure."""
    return title.replace(" — ", "\n")


def draw_differences(frame: pd.DataFrame, title: str) -> Figure:
    """What each part changes, ours with 95% intervals beside the paper's, in grey what the paper's
    test pictures could not have shown. Other systems only where there is nothing else."""
    rows = frame[(frame["metric"] == "accuracy") & frame["difference"].notna()]
    parts = rows[rows["table"] != 9]
    rows = parts if len(parts) else rows
    default = DEFAULT.get(rows["table"].iloc[0], "normal") if len(rows) else "normal"
    sets = list(dict.fromkeys(rows["dataset"])) or ["fi"]
    most = max([1, *rows.groupby("dataset").size()])
    figure, axes = _grid(1, len(sets), max(6.5, 0.8 + 4 * len(sets)), 1.9 + 0.45 * most)
    for axis, name in zip(axes[0], sets, strict=True):
        part = rows[rows["dataset"] == name]
        places = np.arange(len(part))[::-1]
        if part["smallest_paired"].notna().any():
            least = part["smallest_paired"]
            axis.barh(
                places,
                2 * least,
                left=-least,
                height=0.8,
                color="0.92",
                label="less than the paper's test could show",
            )
        axis.scatter(part["published"], places, color=GREY, s=60, label="published")
        intervals(axis, part["difference"], part["low"], part["high"], places)
        axis.axvline(0, color="black", lw=1)
        named = _labels(part, part.set_index("method")["verdict"])
        axis.set_yticks(places, [label.replace(", ", ",\n") for label in named])
        axis.set(
            title=in_words(name),
            ylim=(-0.6, len(part) - 0.4),
            xlabel=f"points of accuracy, minus {default}",
        )
        axis.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    figure.suptitle(_wrapped(title))
    return figure


def draw_matched(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy of each system, the best on top, and its difference to maiafa, with intervals."""
    rows = frame[frame["metric"] == "accuracy"]
    sets = list(dict.fromkeys(rows["dataset"]))
    heights = [rows["dataset"].eq(name).sum() for name in sets]
    figure, axes = _grid(
        len(sets), 2, 9, 0.9 + 0.32 * sum(heights) + 0.5 * len(sets), height_ratios=heights
    )
    for line, name in zip(axes, sets, strict=True):
        part = rows[rows["dataset"] == name].sort_values("mean", kind="stable")
        places = np.arange(len(part))
        for axis, middle, low, high in zip(
            line,
            ("mean", "minus_maiafa"),
            ("ci_low", "minus_low"),
            ("ci_high", "minus_high"),
            strict=True,
        ):
            intervals(axis, part[middle], part[low], part[high], places)
            axis.set(ylim=(-0.6, len(part) - 0.4))
            axis.grid(axis="x", alpha=0.3)
        line[0].set_yticks(places, _labels(part, part.set_index("method")["verdict"]))
        line[1].set_yticks(places, [""] * len(part))
        line[1].axvline(0, color="black", lw=1)
        line[0].set_title(f"{in_words(name)}: accuracy")
        line[1].set_title(f"{in_words(name)}: minus maiafa")
        line[1].set_ylabel("")
    axes[-1, 0].set_xlabel("percent")
    axes[-1, 1].set_xlabel("points, on the folds and seeds that both have")
    legend_below(figure, axes)
    figure.suptitle(_wrapped(title))
    return figure


START_LABELS = {"normal": "with the set-to-set stage", "without_transfer": "without it"}


def draw_transfer(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy against the number of training pictures, with and without the set-to-set stage, 95%
    intervals; a panel a set. Both axes share their scale over the panels."""
    rows = frame[frame["metric"] == "accuracy"]
    sets = list(dict.fromkeys(rows["dataset"]))
    figure = Figure(figsize=(1 + 4 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axis, name in zip(axes, sets, strict=True):
        for number, (method, label) in enumerate(START_LABELS.items()):
            part = rows[(rows["dataset"] == name) & (rows["method"] == method)]
            if part.empty:
                continue
            at = part["pictures"] * (1 + 0.03 * number)
            colour = sns.color_palette("colorblind")[number]
            axis.plot(at, part["mean"], color=colour)
            intervals(
                axis,
                part["mean"],
                part["ci_low"],
                part["ci_high"],
                at,
                label,
                colour,
                vertical=True,
            )
        places = sorted(set(rows.loc[rows["dataset"] == name, "pictures"]))
        axis.set(title=in_words(name), xscale="log", xlabel="training pictures")
        axis.set_xticks(places, [f"{p:.0f}" for p in places])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy (%)")
    legend_below(figure, axes, 2)
    figure.suptitle(title.replace(" — ", "\n"))
    return figure
