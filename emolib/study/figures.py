"""What the notebooks draw of pictures, folds and answers; each function returns a Figure."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from ..data.pictures import decode
from ..spec.sets import DATASETS, in_words
from ..tables.plots import (
    GREY,
    NEGATIVE,
    OURS,
    POSITIVE,
    _grid,
    drawn,
    legend_below,
)
from ..use.load import load


def samples(data, per_class: int = 8, seed: int = 0) -> Figure:
    """Random pictures of a set, positive ones above, negative ones below."""
    rng = np.random.default_rng(seed)
    figure, axes = _grid(2, per_class, 1.35 * per_class, 2.9)
    for label, row in zip((1, 0), axes, strict=True):
        of_class = np.flatnonzero(data.labels == label)
        chosen = rng.permutation(of_class)[:per_class]
        for axis in row:
            axis.axis("off")
        for axis, index in zip(row, chosen, strict=False):
            axis.imshow(decode(data.paths[index]).permute(1, 2, 0))
            word = "positive" if label else "negative"
            title = word if data.emotions is None else data.emotions[index]
            axis.set_title(title, fontsize=8, color=POSITIVE if label else NEGATIVE)
    figure.suptitle(drawn(f"{in_words(data.name)}: positive above, negative below", data.demo))
    return figure


def class_balance(table5: pd.DataFrame, demo: bool = False) -> Figure:
    """Share of positive pictures, found and published (a frame of `summaries.table5`)."""
    figure, axes = _grid(1, 1, 6, 3.2)
    axis = axes[0, 0]
    places = np.arange(len(table5))
    for offset, source, colour in ((-0.2, "found", OURS), (0.2, "published", GREY)):
        share = 100 * table5[f"positive ({source})"] / table5[f"pictures ({source})"]
        share = share.astype("Float64").fillna(0).to_numpy(float)  # no bar where nothing is known
        bars = axis.bar(places + offset, share, 0.38, color=colour, label=source)
        axis.bar_label(bars, fmt=lambda v: f"{v:.1f}" if v else "", fontsize=8)
    axis.set_xticks(places, [in_words(d) for d in table5["dataset"]])
    axis.set(ylabel="positive pictures (%)", ylim=(0, 100))
    axis.set_title(drawn("Class balance against the paper's", demo))
    legend_below(figure, axes)
    return figure


def draw_pairs(found: pd.DataFrame, datasets: list, title: str, most: int = 12) -> Figure | None:
    """Pairs of pictures from an audit, one above the other; None where there are none.

    Labels are written in their colours; "fold 2" means that the pair connects that fold's test
    list to its training list.
    """
    found = found[found["other_path"] != ""]
    rows = list(found.head(most).itertuples())
    if not rows:
        return None
    title += f" (the nearest {most} shown)" if len(found) > most else ""
    roots = {data.name: data.root for data in datasets}
    columns = min(6, len(rows))
    lines = -(-len(rows) // columns)
    figure, axes = _grid(2 * lines, columns, 1.9 * columns, 3.9 * lines)
    for axis in axes.flat:
        axis.axis("off")
    for k, row in enumerate(rows):
        top = 2 * (k // columns)
        for line, name, path, label in (
            (top, row.dataset, row.path, row.label),
            (top + 1, row.other_dataset, row.other_path, row.other_label),
        ):
            axis = axes[line, k % columns]
            axis.imshow(decode(roots[name] / path).permute(1, 2, 0))
            text = f"{in_words(name)}: {'positive' if label else 'negative'}"
            axis.set_title(text, fontsize=7, color=POSITIVE if label else NEGATIVE)
        said = "identical" if row.finding == "identical" else f"{row.distance} of 64 bits"
        said += f", fold {row.leaks.replace(' ', ', ')}" if row.leaks else ""
        axes[top + 1, k % columns].text(
            0.5,
            -0.03,
            said,
            fontsize=7,
            ha="center",
            va="top",
            transform=axes[top + 1, k % columns].transAxes,
        )
    figure.suptitle(title)
    return figure


def training_curves(
    histories: dict[str, pd.DataFrame], title: str, demo: bool = False
) -> Figure | None:
    """Loss and accuracy by epoch; solid: training, dashed: validation where there is one. None
    without histories."""
    if not histories:
        return None
    figure, axes = _grid(1, 2, 9, 3)
    palette = sns.color_palette("colorblind", len(histories))
    for (name, history), colour in zip(histories.items(), palette, strict=True):
        for axis, metric in zip(axes[0], ("loss", "accuracy"), strict=True):
            axis.plot(history["epoch"], history[f"train_{metric}"], color=colour, label=name)
            if f"val_{metric}" in history:
                axis.plot(history["epoch"], history[f"val_{metric}"], "--", color=colour)
    axes[0, 0].set(xlabel="epoch", ylabel="cross-entropy")
    axes[0, 1].set(xlabel="epoch", ylabel="accuracy (%)")
    for axis in axes[0]:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 1].legend(fontsize=8)
    validated = any("val_loss" in h for h in histories.values())
    figure.suptitle(drawn(title + (" (dashed: validation)" if validated else ""), demo))
    return figure


def confusion(predictions: dict[str, pd.DataFrame], demo: bool = False) -> Figure | None:
    """A confusion matrix for each named set of predictions: rows true, columns predicted. None
    without any."""
    if not predictions:
        return None
    figure, axes = _grid(1, len(predictions), 3.1 * len(predictions), 3.1)
    for axis, (name, frame) in zip(axes[0], predictions.items(), strict=True):
        guess = np.where(frame["p_positive"] >= 0.5, "positive", "negative")
        truth = np.where(frame["label"] == 1, "positive", "negative")
        order = ["positive", "negative"]
        counts = pd.crosstab(truth, guess).reindex(index=order, columns=order, fill_value=0)
        sns.heatmap(counts, annot=True, fmt="d", cmap="Blues", cbar=False, ax=axis)
        axis.set(xlabel="predicted", ylabel="true")
        title = f"{name}: {np.mean(guess == truth):.1%} right"
        axis.set_title(drawn(title, demo), fontsize=10)
    return figure


def draw_regions(predictor, paths, titles=None, maps=None) -> Figure:
    """Pictures as the model sees them, D of Eq. 5 laid over them, and known maps where given.

    D is stretched to its own range in each picture, which is written underneath.
    """
    D = predictor.regions(paths)
    rows = 3 if maps is not None else 2
    figure, axes = _grid(rows, len(paths), 1.5 * len(paths), 1.75 * rows)
    for column, path in enumerate(paths):
        view = predictor.view(path)
        size = view.shape[0]
        low, high = D[column].min(), D[column].max()
        axes[0, column].imshow(view)
        axes[1, column].imshow(view.mean(2), cmap="gray")
        axes[1, column].imshow(
            D[column], cmap="inferno", alpha=0.6, extent=(0, size, size, 0), vmin=low, vmax=high
        )
        axes[1, column].set_xlabel(f"D {low:.2f}–{high:.2f}", fontsize=8)
        if titles is not None:
            axes[0, column].set_title(titles[column], fontsize=8)
        if maps is not None:
            axes[2, column].imshow(predictor.view(maps[column]), cmap="gray")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, label in zip(axes[:, 0], ("picture", "region map D", "known regions"), strict=False):
        axis.set_ylabel(label, fontsize=9)
    return figure


def where_it_looks(study, results, count: int = 8, seed: int = 0) -> Figure | None:
    """`regions` of random test pictures of the first of the runs that has a D; None without one."""
    chosen = next((r for r in results if r.spec.mai and r.spec.model == "maiafa"), None)
    if chosen is None:
        return None
    data = study.open(chosen.spec.dataset)
    shown = chosen.predictions.sample(frac=1, random_state=seed).head(count)["path"]
    figure = draw_regions(load(chosen.folder, study.device), [data.root / name for name in shown])
    title = f"{in_words(data.name)}, fold {chosen.spec.fold}: D on test pictures"
    figure.suptitle(drawn(title, data.demo), fontsize=10)
    return figure


def folds(per_fold: pd.DataFrame, demo: bool = False) -> Figure | None:
    """Accuracy of each fold and their mean, beside the majority class and the paper's mean. None
    without runs."""
    names = list(dict.fromkeys(per_fold["dataset"]))
    if not names:
        return None
    figure, axes = _grid(1, len(names), max(5, 4 * len(names)), 3.4, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        rows = per_fold[per_fold["dataset"] == name]
        axis.bar(rows["fold"], rows["accuracy"], color=OURS, label="a fold")
        axis.axhline(rows["accuracy"].mean(), color=OURS, ls="--", label="mean of folds")
        axis.axhline(rows["majority"].mean(), color="black", ls=":", label="majority class")
        if rows["published"].notna().all():
            axis.axhline(rows["published"].iloc[0], color=GREY, lw=2, label="paper")
        axis.set(title=in_words(name), xlabel="fold", ylim=(0, 100), xticks=rows["fold"])
    axes[0, 0].set_ylabel("accuracy (%)")
    legend_below(figure, axes, 4)
    figure.suptitle(drawn("Accuracy of each fold", demo), fontsize=10)
    return figure


def of_the_study(results) -> dict[str, list]:
    """{set: the default's runs}, of all `results`: with the set-to-set stage where a set has such
    runs; none on leakage-free folds."""
    ours = [r for r in results if r.spec.method == "normal" and not r.spec.grouped]
    found = {}
    for result in ours:
        found.setdefault(result.spec.dataset, []).append(result)
    staged = {name: [r for r in group if r.spec.stages] for name, group in found.items()}
    return {name: staged[name] or group for name, group in found.items()}


def calibration(results, title: str, demo: bool = False) -> Figure | None:
    """How often pictures of each predicted probability are positive, a panel a set; the test
    pictures of all folds of `of_the_study` pooled. Below the diagonal the network is too sure of
    "positive". None without such runs."""
    sets = of_the_study(results)
    if not sets:
        return None
    figure, axes = _grid(1, len(sets), 3.2 * len(sets), 3.4)
    for axis, (name, runs) in zip(axes[0], sets.items(), strict=True):
        frame = pd.concat([r.predictions for r in runs])
        share, p = calibration_curve(frame["label"], frame["p_positive"], n_bins=10)
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        axis.plot(p, share, "o-", color=OURS)
        counts, edges = np.histogram(frame["p_positive"], bins=10, range=(0, 1))
        axis.bar(edges[:-1], 0.3 * counts / counts.max(), 0.1, align="edge", color="0.88", zorder=0)
        axis.set(
            title=f"{in_words(name)}: {len(frame)} pictures",
            xlabel="predicted p(positive)",
            xlim=(0, 1),
            ylim=(0, 1),
        )
    axes[0, 0].set_ylabel("share that is positive")
    figure.suptitle(drawn(title, demo))
    return figure


def draw_cross(frame: pd.DataFrame, title: str) -> Figure:
    """`transfer.cross`: accuracy in percent, coloured by how far it is above the larger class."""
    names = [n for n in DATASETS if n in set(frame["tested_on"])]
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
        xticklabels=[in_words(n) for n in names],
        yticklabels=[in_words(n) for n in sources],
    )
    axis.tick_params(axis="y", rotation=0)
    axis.set(xlabel="tested on", ylabel="trained on")
    figure.suptitle(title.replace(" — ", "\n"), fontsize=10)  # wider than the map
    return figure
