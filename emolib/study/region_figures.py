"""Figures of notebook 07: maps beside pictures, their scores, blurring and its curves."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..tables.plots import drawn, intervals, legend_below, named_rows, panels
from .regions import CHANCE

SHOWN_MEASURES = ("AUC", "NSS", "CC", "F", "MAE")
LOWER_IS_BETTER = ("MAE",)


def draw_maps(views, found: dict, known=None, titles=None, demo: bool = False) -> Figure:
    """Pictures (n×S×S×3), the known regions of each (n×h×w) and its maps ({name: n×h×w}), each map
    stretched to its own range in each picture. demo: whether the pictures are drawn ones."""
    rows = {"picture": views} | ({} if known is None else {"known": known}) | found
    figure, axes = panels(len(rows), len(views), 1.1 * len(views) + 0.7, 1.05 * len(rows))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        for axis, image in zip(line, row, strict=True):
            axis.imshow(image, cmap="gray" if name == "known" else "inferno")
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], [] if titles is None else titles, strict=False):
        axis.set_title(title, fontsize=8)
    if demo:
        figure.suptitle(drawn("", demo).strip(), fontsize=10)
    return figure


def draw_scores(table: pd.DataFrame, title: str) -> Figure:
    """`regions.compare_maps` of one set and reading: a panel a measure, a line a map, with
    intervals. Dashed: what a map scores that knows nothing, where that is one number."""
    names = list(dict.fromkeys(table["map"]))
    width, height = 1.2 + 2 * len(SHOWN_MEASURES), 1.4 + 0.32 * len(names)
    figure, axes = panels(1, len(SHOWN_MEASURES), width, height, sharey=True)
    for axis, measure in zip(axes[0], SHOWN_MEASURES, strict=True):
        rows = table[table["measure"] == measure].set_index("map").reindex(names)
        _scored_rows(axis, rows, measure, names, "95% interval")
        better = "lower" if measure in LOWER_IS_BETTER else "higher"
        axis.set_title(f"{measure} ({better} is better)", fontsize=9)
    legend_below(figure, axes)
    figure.suptitle(title)
    return figure


def draw_readings(table: pd.DataFrame, title: str) -> Figure:
    """`regions.compare_maps`: the AUC of D in each reading, with intervals."""
    rows = table[(table["measure"] == "AUC") & (table["map"] == "D")]
    figure, axes = panels(1, 1, 6.5, 1.7 + 0.32 * len(rows))
    _scored_rows(axes[0, 0], rows, "AUC", rows["reading"], "measured here, 95% interval")
    axes[0, 0].set_xlabel("AUC of D")
    axes[0, 0].set_title(title.replace(" — ", "\n"))
    legend_below(figure, axes)
    return figure


def _scored_rows(axis, rows: pd.DataFrame, measure: str, names, label: str) -> None:
    """Scores with their intervals, the first row on top."""
    intervals(axis, rows["mean"], rows["low"], rows["high"], named_rows(axis, names), label)
    if measure in CHANCE:
        axis.axvline(CHANCE[measure], color="black", lw=1, ls="--")


def draw_falls(frame: pd.DataFrame, title: str) -> Figure:
    """`deletion.compare_falls`: how far the answer falls against the share that is blurred."""
    figure, axes = panels(1, 1, 7.5, 4)
    axis = axes[0, 0]
    for number, (place, rows) in enumerate(frame.groupby("blurred", sort=False)):
        colour, at = sns.color_palette("colorblind")[number], 100 * rows["share"] + number - 1.5
        axis.plot(at, rows["fall"], color=colour)
        ends = rows["low"], rows["high"]
        intervals(axis, rows["fall"], *ends, at, place, colour, vertical=True)
    axis.axhline(0, color="black", lw=1)
    shares = sorted(100 * frame["share"].unique())
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.set_xlabel("share of the picture that is blurred (%)")
    axis.set_ylabel("p(predicted class) falls by (points)")
    axis.set_title(title.replace(" — ", "\n"))
    legend_below(figure, axes, 2)
    return figure


def draw_curves(means: pd.DataFrame, areas: pd.DataFrame, title: str) -> Figure:
    """`deletion.mean_curves` and `deletion.areas` of one set: p against the share that is blurred
    (deletion) or kept (insertion), and each area's difference to the one where D is highest."""
    figure, axes = panels(1, 3, 11, 3.9, width_ratios=(1, 1, 0.8))
    *of_way, beside = axes[0]
    colours = dict(zip(means["place"].unique(), sns.color_palette("colorblind"), strict=False))
    others = list(colours)[1:]
    places = np.arange(len(others))[::-1]
    ways = (("deletion", "blurred", 0.15, "o"), ("insertion", "kept sharp", -0.15, "s"))
    for axis, (way, what, shift, marker) in zip(of_way, ways, strict=True):
        for place, rows in means[means["way"] == way].groupby("place", sort=False):
            axis.plot(100 * rows["share"], rows["p"], "o-", ms=3, color=colours[place], label=place)
        axis.set_xlabel(f"share of the picture that is {what} (%)")
        axis.set_title(f"{way}: {what} first is …")
        axis.grid(alpha=0.3)
        of_areas = areas[areas["way"] == way].set_index("place")
        for at, place in zip(places + shift, others, strict=True):
            one, colour = of_areas.loc[[place]], colours[place]
            ends = one["d_low"], one["d_high"]
            intervals(beside, one["difference"], *ends, [at], None, colour, marker)
        beside.plot([], [], marker, color="0.4", label=way)
    of_way[0].set_ylabel("p(class predicted on the whole picture)")
    of_way[1].sharey(of_way[0])
    beside.axvline(0, color="black", lw=1)
    labels = [p.replace(" shape ", " shape\n").replace("where D", "where\nD") for p in others]
    beside.set_yticks(places, labels, fontsize=8)
    beside.set(ylim=(-0.6, len(others) + 0.1), title="areas (95% intervals)")
    beside.set_xlabel("area, minus D's highest\n(for D: deletion above 0, insertion below)")
    beside.locator_params(axis="x", nbins=4)
    beside.legend(fontsize=8, loc="upper center", ncols=2)
    legend_below(figure, of_way, len(colours))
    figure.suptitle(title)
    return figure
