"""Figures of notebook 07: maps beside pictures, their scores, blurring and its curves."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..tables.plots import drawn, intervals, legend_below
from .regions import CHANCE

LOWER_IS_BETTER = ("MAE",)


def draw_maps(views, found: dict, known=None, titles=None, demo: bool = False) -> Figure:
    """Pictures (n×S×S×3), the known regions of each (n×h×w) and its maps ({name: n×h×w}), each map
    stretched to its own range in each picture. demo: whether the pictures are drawn ones."""
    rows = {"picture": views} | ({} if known is None else {"known": known}) | found
    figure = Figure(figsize=(1.1 * len(views) + 0.7, 1.05 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(views), squeeze=False)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        for axis, image in zip(line, row, strict=True):
            axis.imshow(image, cmap="gray" if name == "known" else "inferno")
            axis.set(xticks=[], yticks=[])
    if titles is not None:
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=8)
    if demo:
        figure.suptitle(drawn("", demo).strip(), fontsize=10)
    return figure


def draw_scores(
    table: pd.DataFrame, title: str, measures=("AUC", "NSS", "CC", "F", "MAE")
) -> Figure:
    """`regions.compared` of one set and reading: a panel a measure, a line a map, with intervals;
    dashed: what a map scores that knows nothing, where that is one number."""
    names = list(dict.fromkeys(table["map"]))
    figure = Figure(
        figsize=(1.2 + 2 * len(measures), 1.4 + 0.32 * len(names)), layout="constrained"
    )
    axes = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    places = dict(zip(names, range(len(names))[::-1], strict=True))
    for axis, measure in zip(axes, measures, strict=True):
        rows = table[table["measure"] == measure]
        intervals(
            axis, rows["mean"], rows["low"], rows["high"], rows["map"].map(places), "95% interval"
        )
        if measure in CHANCE:
            axis.axvline(CHANCE[measure], color="black", lw=1, ls="--")
        better = "lower" if measure in LOWER_IS_BETTER else "higher"
        axis.set_title(f"{measure} ({better} is better)", fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    legend_below(figure, axes)
    figure.suptitle(title)
    return figure


def draw_readings(table: pd.DataFrame, title: str, measure: str = "AUC") -> Figure:
    """`regions.compared`: D's score in each reading, with intervals."""
    rows = table[(table["measure"] == measure) & (table["map"] == "D")]
    figure = Figure(figsize=(6.5, 1.7 + 0.32 * len(rows)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(rows))[::-1]
    intervals(axis, rows["mean"], rows["low"], rows["high"], places)
    if measure in CHANCE:
        axis.axvline(CHANCE[measure], color="black", lw=1, ls="--")
    axis.set_yticks(places, rows["reading"])
    axis.set(xlabel=f"{measure} of D", ylim=(-0.6, len(rows) - 0.4))
    axis.set_title(title.replace(" — ", "\n"))
    axis.grid(axis="x", alpha=0.3)
    legend_below(figure, axis)
    return figure


def draw_falls(frame: pd.DataFrame, title: str) -> Figure:
    """`blurring.compared`: how far the answer falls against the share of the picture blurred."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axis = figure.subplots()
    for offset, (place, rows) in enumerate(frame.groupby("blurred", sort=False)):
        axis.errorbar(
            100 * rows["share"] + offset - 1.5,
            rows["fall"],
            yerr=[rows["fall"] - rows["low"], rows["high"] - rows["fall"]],
            fmt="o-",
            capsize=3,
            label=place,
            color=sns.color_palette("colorblind")[offset],
        )
    axis.axhline(0, color="black", lw=1)
    shares = sorted(100 * frame["share"].unique())
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.set(
        xlabel="share of the picture that is blurred (%)",
        ylabel="p(predicted class) falls by (points)",
    )
    axis.set_title(title.replace(" — ", "\n"))
    legend_below(figure, axis, 2)
    return figure


def draw_curves(means: pd.DataFrame, areas: pd.DataFrame, title: str) -> Figure:
    """`blurring.mean_curves` and `blurring.areas` of one set: p against the share that is blurred
    (deletion) or kept (insertion), and each area's difference to the one where D is highest."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    places = list(dict.fromkeys(means["place"]))
    colours = dict(zip(places, sns.color_palette("colorblind"), strict=False))
    for axis, way, what in zip(
        axes, ("deletion", "insertion"), ("blurred", "kept sharp"), strict=False
    ):
        for place, rows in means[means["way"] == way].groupby("place", sort=False):
            axis.plot(100 * rows["share"], rows["p"], "o-", ms=3, color=colours[place], label=place)
        axis.set(
            xlabel=f"share of the picture that is {what} (%)", title=f"{way}: {what} first is …"
        )
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("p(class predicted on the whole picture)")
    axes[1].sharey(axes[0])
    others = places[1:]
    for shift, way, marker in ((0.15, "deletion", "o"), (-0.15, "insertion", "s")):
        rows = areas[areas["way"] == way].set_index("place").loc[others]
        at = np.arange(len(others))[::-1] + shift
        for k, place in enumerate(others):
            one = rows.iloc[[k]]
            intervals(
                axes[2],
                one["difference"],
                one["d_low"],
                one["d_high"],
                at[[k]],
                None,
                colours[place],
                marker,
            )
        axes[2].plot([], [], marker, color="0.4", label=way)
    axes[2].axvline(0, color="black", lw=1)
    axes[2].set_yticks(
        np.arange(len(others))[::-1],
        [p.replace(" shape ", " shape\n").replace("where D", "where\nD") for p in others],
        fontsize=8,
    )
    axes[2].set(
        ylim=(-0.6, len(others) + 0.1),
        title="areas (95% intervals)",
        xlabel="area, minus D's highest\n(for D: deletion above 0, insertion below)",
    )
    axes[2].locator_params(axis="x", nbins=4)
    axes[2].legend(fontsize=8, loc="upper center", ncols=2)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        fontsize=8,
        loc="outside lower center",
        ncols=len(places),
    )
    figure.suptitle(title)
    return figure
