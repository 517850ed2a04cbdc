"""Figures of `transfer`."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .plots import NAMES, intervals, legend_below

STARTS = {"normal": "with the set-to-set stage", "without_transfer": "without it"}


def curve(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy against the number of training pictures, with and without the set-to-set stage, 95%
    intervals; a panel a set. Both axes share their scale over the panels."""
    rows = frame[frame["metric"] == "accuracy"]
    sets = list(dict.fromkeys(rows["dataset"]))
    figure = Figure(figsize=(1 + 4 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axis, name in zip(axes, sets, strict=True):
        for number, (method, label) in enumerate(STARTS.items()):
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
        axis.set(title=NAMES[name], xscale="log", xlabel="training pictures")
        axis.set_xticks(places, [f"{p:.0f}" for p in places])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy (%)")
    legend_below(figure, axes, 2)
    figure.suptitle(title.replace(" — ", "\n"))
    return figure


def cross(frame: pd.DataFrame, title: str) -> Figure:
    """`transfer.cross`: accuracy in percent, coloured by how far it is above the larger class."""
    names = [n for n in NAMES if n in set(frame["tested_on"])]
    sources = [n for n in names if n in set(frame["trained_on"])]
    wide = frame.pivot(index="trained_on", columns="tested_on", values="accuracy")
    accuracy = wide.loc[sources, names]
    above = frame.assign(above=frame["accuracy"] - frame["majority"])
    above = above.pivot(index="trained_on", columns="tested_on", values="above")
    figure = Figure(
        figsize=(2.4 + 1.4 * len(names), 1.4 + 0.8 * len(sources)), layout="constrained"
    )
    axis = figure.subplots()
    sns.heatmap(
        above.loc[sources, names],
        annot=accuracy,
        fmt=".1f",
        cmap="vlag",
        center=0,
        ax=axis,
        cbar_kws={"label": "points above the larger class"},
        xticklabels=[NAMES[n] for n in names],
        yticklabels=[NAMES[n] for n in sources],
    )
    axis.tick_params(axis="y", rotation=0)
    axis.set(xlabel="tested on", ylabel="trained on")
    figure.suptitle(title.replace(" — ", "\n"), fontsize=10)  # wider than the map
    return figure
