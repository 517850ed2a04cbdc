"""What the notebooks draw of pictures, folds and answers; each function returns a Figure."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from ..data.pictures import decode
from ..spec.sets import DATASETS, in_words
from ..tables.plots import GREY, NEGATIVE, OURS, POSITIVE, drawn, legend_below, panels
from ..use.load import of_folder
from .regions import has_regions
from .study import Study

EACH_CLASS = 8  # pictures that `samples` shows
MOST_PAIRS = 12


def samples(data) -> Figure:
    """Random pictures of a set, positive ones above, negative ones below, where that is known."""
    rng = np.random.default_rng(0)
    figure, axes = panels(2, EACH_CLASS, 1.35 * EACH_CLASS, 2.7)
    order = rng.permutation(len(data))
    of_class = [order[data.labels[order] == label] for label in (1, 0)]
    for row, chosen in zip(
        axes, of_class if data.has_polarity else np.array_split(order, 2), strict=True
    ):
        for axis in row:
            axis.axis("off")
        for axis, index in zip(row, chosen, strict=False):
            emotion = None if data.emotions is None else data.emotions[index]
            label = int(data.labels[index])
            _picture(axis, data.paths[index], label, emotion or _said(label), 8)
    what = "positive above, negative below" if data.has_polarity else "some of its pictures"
    figure.suptitle(drawn(f"{in_words(data.name)}: {what}", data.demo))
    return figure


def class_balance(table5: pd.DataFrame, demo: bool = False) -> Figure:
    """Share of positive pictures, found and published (`frames.table5`)."""
    figure, axes = panels(1, 1, 6, 3.2)
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


def draw_pairs(found: pd.DataFrame, datasets: list, title: str) -> Figure | None:
    """Pairs of pictures from an audit, side by side; None where there are none. "fold 2": the pair
    connects that fold's test list to its training list."""
    found = found[found["other_path"] != ""]
    if found.empty:
        return None
    title += f" (the nearest {MOST_PAIRS} shown)" if len(found) > MOST_PAIRS else ""
    shown = found.head(MOST_PAIRS)
    roots = {data.name: data.root for data in datasets}
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = panels(lines, 2 * columns, max(6, 3.4 * columns), 1.8 * lines + 0.6)
    for axis in axes.flat:
        axis.axis("off")
    for k, row in enumerate(shown.itertuples()):
        left, right = axes[k // columns, 2 * (k % columns) :][:2]
        one = (row.dataset, row.path, row.label)
        other = (row.other_dataset, row.other_path, row.other_label)
        for axis, (name, path, label) in ((left, one), (right, other)):
            label_said = f": {_said(label)}" if _said(label) else ""
            _picture(axis, roots[name] / path, label, in_words(name) + label_said, 7)
        said = "identical" if row.finding == "identical" else f"{row.distance} of 64 bits"
        said += f", fold {row.leaks.replace(' ', ', ')}" if row.leaks else ""
        left.text(0, -0.03, said, fontsize=7, va="top", transform=left.transAxes)
    figure.suptitle(drawn(title, any(data.demo for data in datasets)))
    return figure


def draw_wrong(wrong: pd.DataFrame, data) -> Figure | None:
    """Pictures of a set with their label and the answer (`own_pictures.most_wrong`); None of
    none."""
    if wrong.empty:
        return None
    columns = min(len(wrong), 6)
    rows = -(-len(wrong) // columns)
    figure, axes = panels(rows, columns, 1.7 * columns, 1.9 * rows + 0.4)
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, wrong.itertuples(), strict=False):
        title = f"{_said(row.label)}, p {row.p_positive:.2f}"
        _picture(axis, data.root / row.path, row.label, title, 8)
    figure.suptitle(drawn("Label, and p_positive of the network", data.demo), fontsize=10)
    return figure


def _picture(axis, path, label: int, title: str, size: int) -> None:
    axis.imshow(decode(path).permute(1, 2, 0))
    color = {1: POSITIVE, 0: NEGATIVE}.get(label, "black")
    axis.set_title(title, fontsize=size, color=color)


def _said(label: int) -> str:
    return {1: "positive", 0: "negative"}.get(label, "")


def training_curves(
    histories: dict[str, pd.DataFrame], title: str, demo: bool = False
) -> Figure | None:
    """Loss and accuracy by epoch; solid: training, dashed: validation where there is one. None
    without histories."""
    if not histories:
        return None
    figure, axes = panels(1, 2, 9, 3)
    palette = sns.color_palette("colorblind", len(histories))
    units = {"loss": "cross-entropy", "accuracy": "accuracy (%)"}
    for axis, (metric, unit) in zip(axes[0], units.items(), strict=True):
        for (name, history), colour in zip(histories.items(), palette, strict=True):
            axis.plot(history["epoch"], history[f"train_{metric}"], color=colour, label=name)
            if f"val_{metric}" in history:
                axis.plot(history["epoch"], history[f"val_{metric}"], "--", color=colour)
        axis.set(xlabel="epoch", ylabel=unit)
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
    figure, axes = panels(1, len(predictions), 3.1 * len(predictions), 3.1)
    order = ["positive", "negative"]
    for axis, (name, frame) in zip(axes[0], predictions.items(), strict=True):
        guess = np.where(frame["p_positive"] >= 0.5, *order)
        truth = np.where(frame["label"] == 1, *order)
        counts = pd.crosstab(truth, guess).reindex(index=order, columns=order, fill_value=0)
        sns.heatmap(counts, annot=True, fmt="d", cmap="Blues", cbar=False, ax=axis)
        axis.set(xlabel="predicted", ylabel="true")
        title = f"{name}: {np.mean(guess == truth):.1%} right"
        axis.set_title(drawn(title, demo), fontsize=10)
    return figure


def draw_regions(predictor, paths) -> Figure:
    """Pictures as the model sees them, and D of Eq. 5 laid over them, stretched to its own range in
    each picture, which is written underneath."""
    figure, axes = panels(2, len(paths), 1.5 * len(paths), 3.5)
    for (above, below), path, D in zip(axes.T, paths, predictor.regions(paths), strict=True):
        view = predictor.view(path)
        size = view.shape[0]
        above.imshow(view)
        below.imshow(view.mean(2), cmap="gray")
        below.imshow(D, cmap="inferno", alpha=0.6, extent=(0, size, size, 0))
        below.set_xlabel(f"D {D.min():.2f}–{D.max():.2f}", fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for axis, label in zip(axes[:, 0], ("picture", "region map D"), strict=True):
        axis.set_ylabel(label, fontsize=9)
    return figure


def where_it_looks(study: Study, results, count: int = 8, seed: int = 0) -> Figure | None:
    """`draw_regions` of random test pictures of the first run that has a D; None without one."""
    chosen = next((r for r in results if has_regions(r.spec)), None)
    if chosen is None:
        return None
    data = study.open(chosen.spec.dataset)
    shown = chosen.predictions.sample(frac=1, random_state=seed).head(count)["path"]
    figure = draw_regions(
        of_folder(chosen.folder, study.device_here), [data.root / name for name in shown]
    )
    title = f"{in_words(data.name)}, fold {chosen.spec.fold}: D on test pictures"
    figure.suptitle(drawn(title, data.demo), fontsize=10)
    return figure


def folds(per_fold: pd.DataFrame, demo: bool = False) -> Figure | None:
    """Accuracy of each fold and their mean, beside the majority class and the paper's mean. None
    without runs."""
    sets = per_fold.groupby("dataset", sort=False)
    if not len(sets):
        return None
    figure, axes = panels(1, len(sets), max(5, 4 * len(sets)), 3.4, sharey=True)
    for axis, (name, rows) in zip(axes[0], sets, strict=True):
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


def runs_of_default(results) -> dict[str, list]:
    """{set: the default's runs}, of all `results`. Where a set has runs with the set-to-set stage,
    these alone. None on leakage-free folds."""
    ours = [r for r in results if r.spec.method == "normal" and not r.spec.grouped]
    found: dict[str, list] = {}
    for result in ours:
        found.setdefault(result.spec.dataset, []).append(result)
    return {name: [r for r in runs if r.spec.stages] or runs for name, runs in found.items()}


def calibration(results, title: str, demo: bool = False) -> Figure | None:
    """How often pictures of each predicted probability are positive, a panel a set; the test
    pictures of all folds of `runs_of_default` pooled. Below the diagonal the network is too sure of
    "positive". None without such runs."""
    sets = runs_of_default(results)
    if not sets:
        return None
    figure, axes = panels(1, len(sets), 3.2 * len(sets), 3.4)
    for axis, (name, runs) in zip(axes[0], sets.items(), strict=True):
        frame = pd.concat([r.predictions for r in runs])
        share, p = calibration_curve(frame["label"], frame["p_positive"], n_bins=10)
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        axis.plot(p, share, "o-", color=OURS)
        counts, edges = np.histogram(frame["p_positive"], bins=10, range=(0, 1))
        axis.bar(edges[:-1], 0.3 * counts / counts.max(), 0.1, align="edge", color="0.88", zorder=0)
        axis.set(title=f"{in_words(name)}: {len(frame)} pictures", xlabel="predicted p(positive)")
        axis.set(xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].set_ylabel("share that is positive")
    figure.suptitle(drawn(title, demo))
    return figure


def draw_cross(frame: pd.DataFrame, title: str) -> Figure:
    """`transfer.cross_tested`: accuracy in percent, coloured by how far it is above the larger
    class."""
    frame = frame.assign(above=frame["accuracy"] - frame["majority"])
    wide = frame.pivot(index="trained_on", columns="tested_on")
    sources = [name for name in DATASETS if name in wide.index]
    names = [name for name in DATASETS if name in wide["above"]]
    figure, axes = panels(1, 1, 2.4 + 1.4 * len(names), 1.4 + 0.8 * len(sources))
    axis = axes[0, 0]
    sns.heatmap(
        wide["above"].loc[sources, names],
        annot=wide["accuracy"].loc[sources, names],
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
