"""Every figure: each function returns a matplotlib Figure. Published numbers are always grey."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from ..data.pictures import decode
from ..use.load import load
from .differences import DEFAULT, TABLE, noise

OURS, POSITIVE, NEGATIVE = (sns.color_palette("colorblind")[i] for i in (0, 2, 3))
PUBLISHED = "0.6"
NAMES = {"fi": "FI", "twitter1": "Twitter I", "emotionroi": "EmotionROI", "own": "own set"}
NAMES |= {"twitter1+emotionroi": "both sets"}


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
    figure.suptitle(drawn(f"{NAMES[data.name]}: positive above, negative below", data.demo))
    return figure


def class_balance(table5: pd.DataFrame, demo: bool = False) -> Figure:
    """Share of positive pictures, found and published (a frame of `summaries.table5`)."""
    figure, axes = _grid(1, 1, 6, 3.2)
    axis = axes[0, 0]
    places = np.arange(len(table5))
    for offset, source, colour in ((-0.2, "found", OURS), (0.2, "published", PUBLISHED)):
        share = 100 * table5[f"positive ({source})"] / table5[f"pictures ({source})"]
        share = share.astype("Float64").fillna(0).to_numpy(float)  # no bar where nothing is known
        bars = axis.bar(places + offset, share, 0.38, color=colour, label=source)
        axis.bar_label(bars, fmt=lambda v: f"{v:.1f}" if v else "", fontsize=8)
    axis.set_xticks(places, [NAMES[d] for d in table5["dataset"]])
    axis.set(ylabel="positive pictures (%)", ylim=(0, 100))
    axis.set_title(drawn("Class balance against the paper's", demo))
    legend_below(figure, axes)
    return figure


def pairs(found: pd.DataFrame, datasets: list, title: str, most: int = 12) -> Figure | None:
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
            text = f"{NAMES[name]}: {'positive' if label else 'negative'}"
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


def regions(predictor, paths, titles=None, maps=None) -> Figure:
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
    figure = regions(load(chosen.folder, study.device), [data.root / name for name in shown])
    title = f"{NAMES[data.name]}, fold {chosen.spec.fold}: D on test pictures"
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
            axis.axhline(rows["published"].iloc[0], color=PUBLISHED, lw=2, label="paper")
        axis.set(title=NAMES[name], xlabel="fold", ylim=(0, 100), xticks=rows["fold"])
    axes[0, 0].set_ylabel("accuracy (%)")
    legend_below(figure, axes, 4)
    figure.suptitle(drawn("Accuracy of each fold", demo), fontsize=10)
    return figure


def table(frame: pd.DataFrame, title: str, compared: pd.DataFrame | None = None) -> Figure:
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
            axis.scatter(rows["published"], places, color=PUBLISHED, s=60, label="published")
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
                title=f"{NAMES[name]}: {metric}",
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
            title=f"{NAMES[name]}: {len(frame)} pictures",
            xlabel="predicted p(positive)",
            xlim=(0, 1),
            ylim=(0, 1),
        )
    axes[0, 0].set_ylabel("share that is positive")
    figure.suptitle(drawn(title, demo))
    return figure


def differences(frame: pd.DataFrame, title: str) -> Figure:
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
        axis.scatter(part["published"], places, color=PUBLISHED, s=60, label="published")
        intervals(axis, part["difference"], part["low"], part["high"], places)
        axis.axvline(0, color="black", lw=1)
        named = _labels(part, part.set_index("method")["verdict"])
        axis.set_yticks(places, [label.replace(", ", ",\n") for label in named])
        axis.set(
            title=NAMES[name],
            ylim=(-0.6, len(part) - 0.4),
            xlabel=f"points of accuracy, minus {default}",
        )
        axis.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    figure.suptitle(_wrapped(title))
    return figure


def matched(frame: pd.DataFrame, title: str) -> Figure:
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
        line[0].set_title(f"{NAMES[name]}: accuracy")
        line[1].set_title(f"{NAMES[name]}: minus maiafa")
        line[1].set_ylabel("")
    axes[-1, 0].set_xlabel("percent")
    axes[-1, 1].set_xlabel("points, on the folds and seeds that both have")
    legend_below(figure, axes)
    figure.suptitle(_wrapped(title))
    return figure
