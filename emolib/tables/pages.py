"""The tables for people: Markdown and figures beside each CSV."""

from functools import partial
from pathlib import Path

import pandas as pd

from ..base.files import sha256, whole_file, write_text
from ..spec.run_spec import RunSpec
from ..spec.systems import CLIP, FITTED
from . import plots
from .differences import BOTH, DEFAULT, noise, untrained

TITLES = {
    7: "Table 7: what MAI and AFA contribute",
    8: "Table 8: with and without transfer learning",
    9: "Table 9: comparison with other methods",
    "differences": "Differences: what MAI, AFA and pre-training on FI change, and other systems",
    "readings": "Readings: each open reading alone, against the default",
    "transfer": "Transfer: the set-to-set stage against the amount of training pictures",
    "matched": "Matched: every system with the same backbone, pictures, folds and budget",
}
NOISE = " ≈"  # behind a number that cannot be told from the default's
SMALL, FOLDS = ("twitter1", "emotionroi"), 5  # §4.1.2
HOW = (
    "Percent: the mean over the runs, in brackets its 95% interval over test pictures (Bayle et "
    "al. 2020; of one run Wilson's). It says how these trained networks would do on other pictures "
    "of the kind; several seeds add their own variance. `nb_low` and `nb_high` in the CSV are the "
    "cautious interval, over folds (Nadeau & Bengio 2003): how the method would do, trained again "
    "on other pictures. Where there is an `audit.csv` (notebook 01), near-twins count as one "
    "picture in the intervals of several runs. "
    "Not trained: all answers of a run are one class."
)
TESTS = (
    "In brackets the interval over test pictures; “over folds” is the cautious one. p (Holm): of "
    "the first, corrected for the number of comparisons in its table, set and metric. p (McNemar): "
    "exact, on the test pictures of the lowest common seed, uncorrected. Margin: how far apart the "
    "two can be at most, in points (two one-sided tests at 5%). **Verdict**: better or worse where "
    "p (Holm) is below 0.05 and, with one seed or where two systems differ on a third of the "
    "pictures, the interval over folds excludes 0 too: the first alone would find too much there "
    "(`results/levels.csv`). A part or a reading of the network needs three seeds for any verdict. "
    "“It takes 3 seeds”: these networks differ, which one seed cannot say of the methods. “About N "
    "pictures”: the test set is too small, at the level that Holm's correction applies, with 80% "
    "power, if the difference and its spread stay."
)


def title(number: int | str, demo: bool) -> str:
    return marked(TITLES[number], demo)


def marked(text: str, demo: bool) -> str:
    """A title that says where the data are drawn ones."""
    return text + " — DEMO DATA: drawn pictures stand in for the real sets" * demo


def stem(number: int | str) -> str:
    """A table's file name without its suffix."""
    return {"costs": "table9_costs"}.get(
        number, number if isinstance(number, str) else f"table{number}"
    )


def write_page(
    folder: Path, number: int | str, tables: dict, demo: bool, runs, missing: dict
) -> None:
    """`table7.md`, `table7.png` and so on, `matched.md`, `matched.png`, into the study's folder.

    The CSV is there: the figure's own text says, by its SHA-256, which one it was drawn from.
    """
    text = page_text(number, tables, demo, runs)
    if missing:
        text += f"\n{missing_line(missing)}\n"
    write_text(folder / f"{stem(number)}.md", text)
    draw = {
        "matched": plots.draw_matched,
        "differences": plots.draw_differences,
        "readings": plots.draw_differences,
        "transfer": plots.draw_transfer,
    }.get(number, partial(plots.draw_table, compared=tables.get("differences")))
    figure, source = draw(tables[number], title(number, demo)), f"{stem(number)}.csv"
    drawn_from = {"Source": f"{source} sha256:{sha256(folder / source)}"}
    with whole_file(folder / f"{stem(number)}.png") as part:
        figure.savefig(part, format="png", dpi=120, bbox_inches="tight", metadata=drawn_from)


MISSING = "Without runs that are not complete:"  # how a page's line of them begins


_NAMED = 8  # of the runs missing for one reason


def missing_line(missing: dict[str, str]) -> str:
    """The runs by the reason why they are missing; of many, the first and how many more."""
    by_reason = {}
    for run, why in missing.items():
        by_reason.setdefault(why, []).append(f"`{run}`")
    parts = [
        ", ".join(runs[:_NAMED])
        + f" and {len(runs) - _NAMED} more" * (len(runs) > _NAMED)
        + f" ({why})"
        for why, runs in by_reason.items()
    ]
    return f"{MISSING} {'; '.join(parts)}"


def page_text(number: int | str, tables: dict, demo: bool, runs) -> str:
    """One line a set and method, ours beside the paper's. tables: the study's (`tables.of_study`),
    of which `number` is written."""
    table, flat = tables[number], set(runs["id"][untrained(runs)])
    if number == "transfer":
        return _transfer(table, demo, flat)
    if number == "matched":
        return _matched(table, demo, dict(zip(runs["id"], runs["spec"], strict=True)), flat)
    if number == "differences":
        return _differences(table, demo)
    if number == "readings":
        return _readings(table, demo, flat)
    lines = [f"# {title(number, demo)}", ""]
    if demo:
        lines += ["The paper's numbers are on the real sets and stand here for shape only.", ""]
    head = ["data set", "method"]
    for metric in dict.fromkeys(table["metric"]):
        head += [f"{metric} (95% interval)", f"paper's {metric}"]
    specs = dict(zip(runs["id"], runs["spec"], strict=True))
    costs = tables["costs"].set_index(["dataset", "method"])
    unclear = noise(tables.get("differences"), number)
    head += ["runs"] + ["trained", *_COST] * (number == 9)
    lines += _row(head) + _row(["---"] * len(head))
    for (dataset, method), rows in table.groupby(["dataset", "method"], sort=False):
        cells = [dataset, method]
        for _, row in rows.iterrows():
            paper = row["published"]
            mark = NOISE * ((dataset, method, row["metric"]) in unclear)
            cells += [score(row) + mark, "" if pd.isna(paper) else f"{paper:.2f}"]
        first = rows.iloc[0]
        cells.append(_count(first, flat))
        if number == 9:
            ids = first["run_ids"].split(";") if first["runs"] else []
            there = [_trained(specs[ids[0]]), *_cost(costs.loc[(dataset, method)])] if ids else []
            cells += there or [""] * (1 + len(_COST))
        lines += _row(cells)
    lines += _fewer_folds(table, specs)
    few = " Over two folds an interval means little: it can have no width, or be the whole scale."
    legend = f" {NOISE.strip()}: cannot be told from `{DEFAULT[number]}` (differences.md)."
    few = legend * bool(unclear) + few * bool((table["runs"] == 2).any())
    lines += ["", HOW + " Empty: no run." + few]
    if number == 8:
        lines += _same_spec(runs)
    if number == 9:
        lines += ["", "Trained: backbone; epochs on this set, and before it. " + _COST_NOTE]
        without = [m for m in ("clip_probe", "clip_finetune") if m in set(table["method"])]
        without = [m for m in without if not table.loc[table["method"] == m, "runs"].any()]
        if without:
            names = " and ".join(f"`{m}`" for m in without)
            lines += [
                "",
                f"{names}: empty. CLIP's tower has to be there, `{CLIP}.safetensors` in "
                "the folder that `weights` names.",
            ]
    return "\n".join(lines) + "\n"


_COST = ("parameters (M)", "MACs (M)", "pictures a second")
_COST_NOTE = (
    "Parameters and multiply-adds a picture (torch's count) in millions; pictures a second from "
    "file to probability, decoding and boxes included, on a GPU or on one core of a CPU. Each "
    "system's model card is the docstring of its file in `emolib/rivals/`."
)


def _trained(spec: RunSpec) -> str:
    backbone = spec.backbone or "no backbone"
    if spec.model in FITTED and not spec.stages:
        return f"{backbone}; fitted"
    stages, chain = [], spec
    while chain.stages:
        chain = chain.predecessor()
        stages.append(f"{chain.epochs} on {chain.dataset}")
    own = "fitted" if spec.model in FITTED else f"{spec.epochs} epochs"
    return f"{backbone}; {own}" + (f" after {', '.join(stages)}" if stages else "")


def _cost(row) -> list[str]:
    cells = [f"{row[name] / 1e6:,.1f}" if row[name] > 0 else "" for name in ("parameters", "macs")]
    speed = row.get("pictures_per_second", 0)
    return [*cells, f"{speed:.0f}" if speed > 0 else ""]


def _fewer_folds(table: pd.DataFrame, specs: dict[str, RunSpec]) -> list[str]:
    """A line that names the rows over fewer folds than the small sets' five."""
    few = {}
    for row in table[table["runs"] > 0].itertuples():
        folds = {specs[i].fold for i in row.run_ids.split(";")}
        if row.dataset in SMALL and len(folds) < FOLDS:
            few.setdefault((row.dataset, len(folds)), {})[f"`{row.method}`"] = None
    parts = [f"{d}, {count} of {FOLDS}: {', '.join(rows)}" for (d, count), rows in few.items()]
    return ["", f"Fewer folds than the set has: {'; '.join(parts)}."] if parts else []


def _same_spec(runs: pd.DataFrame) -> list[str]:
    ours = runs[[s.model == "maiafa" for s in runs["spec"]]]
    both = ours.groupby("dataset")["spec"].agg(lambda s: any(x.stages for x in s))
    plain = [d for d in both.index if d != "fi" and not both[d]]
    if not plain:
        return []
    return [
        "",
        f"`normal` is empty on {', '.join(plain)}: these runs have no set-to-set stage, "
        "so that `normal` and `without_transfer` are the same spec.",
    ]


def _count(row, flat: set[str]) -> str:
    """How many runs a row has, and how many of them have not trained (`flat`)."""
    gone = sum(run in flat for run in row["run_ids"].split(";"))
    return f"{row['runs']:.0f}" + f", {gone} of them not trained" * bool(gone)


def _matched(table: pd.DataFrame, demo: bool, specs: dict[str, RunSpec], flat: set[str]) -> str:
    """One line a set and method, the best accuracy first."""
    head = [
        "data set",
        "method",
        "accuracy (95% interval)",
        "minus maiafa (95% interval)",
        "over folds",
        "p (Holm)",
        "p (McNemar)",
        "verdict",
        "recall",
        "runs",
        *_COST,
    ]
    lines = [f"# {title('matched', demo)}", "", *_row(head), *_row(["---"] * len(head))]
    for dataset, rows in table.groupby("dataset", sort=False):
        recall = rows[rows["metric"] == "recall"].set_index("method")["mean"]
        accuracy = rows[rows["metric"] == "accuracy"]
        for _, row in accuracy.sort_values("mean", ascending=False, kind="stable").iterrows():
            against = [row[k] for k in ("minus_maiafa", "minus_low", "minus_high")]
            lines += _row(
                [
                    dataset,
                    row["method"],
                    score(row),
                    difference(*against),
                    _bounds(row["minus_nb_low"], row["minus_nb_high"]),
                    _p(row["p_holm"]),
                    _p(row["p_value"]),
                    row["verdict"],
                    f"{recall[row['method']]:.2f}",
                    _count(row, flat),
                    *_cost(row),
                ]
            )
    lines += _fewer_folds(table, specs)
    lines += [
        "",
        HOW + " Minus maiafa: over the folds and seeds that both "
        "have, so that it need not be the difference of the two accuracies. "
        + TESTS
        + " pcnn and rao2016 have no backbone to match.",
        "",
        _COST_NOTE,
    ]
    return "\n".join(lines) + "\n"


def _differences(table: pd.DataFrame, demo: bool) -> str:
    """One line a comparison, with what may be said of it."""
    lines = [f"# {title('differences', demo)}", ""]
    for number, rows in table.groupby("table"):
        lines += [f"## {TITLES[number]}", "", *_differences_of(number, rows), ""]
    lines += [
        "Points, on the folds and seeds that both have. " + TESTS + " Smallest: how "
        "far two systems of about the paper's accuracy have to be apart to be told apart "
        "with 80% power at 5% on as many test pictures as the paper had: each on pictures of "
        "its own; and both on the same ones, if they differ on as many of them as ours do "
        f"(“differ”). `{BOTH}`: both sets, weighted by their pictures; no verdict where the "
        "sets disagree."
    ]
    return "\n".join(lines) + "\n"


def _differences_of(number: int, rows: pd.DataFrame) -> list[str]:
    head = [
        "data set",
        "method",
        "metric",
        f"minus {DEFAULT[number]} (95% interval)",
        "over folds",
        "p (Holm)",
        "p (McNemar)",
        "runs",
        "seeds",
        "differ",
        "margin",
        "verdict",
        "paper's difference",
        "smallest that the paper's test could show",
        "on the same pictures",
    ]
    lines = [*_row(head), *_row(["---"] * len(head))]
    for _, row in rows.iterrows():
        paper, least, same = (
            "" if pd.isna(row[k]) else f"{row[k]:+.2f}"
            for k in ("published", "smallest", "smallest_paired")
        )
        lines += _row(
            [
                row["dataset"],
                row["method"],
                row["metric"],
                difference(row["difference"], row["low"], row["high"]),
                _bounds(row["nb_low"], row["nb_high"]),
                _p(row["p_holm"]),
                _p(row["p_mcnemar"]),
                _trained_of(row),
                f"{row['seeds']:.0f}",
                _share(row),
                _margin(row),
                row["verdict"],
                paper,
                least.replace("+", "±"),
                same.replace("+", "±"),
            ]
        )
    return lines


def _readings(table: pd.DataFrame, demo: bool, flat: set[str]) -> str:
    """One line a reading, what may be said of it last."""
    head = [
        "data set",
        "reading",
        "accuracy (95% interval)",
        "minus normal (95% interval)",
        "over folds",
        "p (Holm)",
        "p (McNemar)",
        "recall",
        "runs",
        "seeds",
        "margin",
        "parameters (M)",
        "MACs (M)",
        "seconds",
        "paper's",
        "verdict",
    ]
    lines = [f"# {title('readings', demo)}", "", *_row(head), *_row(["---"] * len(head))]
    for dataset, rows in table.groupby("dataset", sort=False):
        recall = rows[rows["metric"] == "recall"].set_index("method")["mean"]
        for _, row in rows[rows["metric"] == "accuracy"].iterrows():
            own = dataset != BOTH  # a row over both sets has differences alone
            lines += _row(
                [
                    dataset,
                    row["method"],
                    score(row) if own else "",
                    difference(row["difference"], row["low"], row["high"]),
                    _bounds(row["t_low"], row["t_high"]),
                    _p(row["p_holm"]),
                    _p(row["p_mcnemar"]),
                    f"{recall[row['method']]:.2f}" if own else "",
                    _count(row, flat) if own else _trained_of(row),
                    _seeds(row),
                    _margin(row),
                    *(_cost(row)[:2] if own else ("", "")),
                    f"{row['seconds']:.0f}" if own else "",
                    difference(row["published"], None, None),
                    row["verdict"],
                ]
            )
    lines += [
        "",
        HOW + " Minus normal: on the folds and seeds that both have, so that it need not "
        "be the difference of the two accuracies. " + TESTS + " Paper's: its own difference "
        "in Table 7. Seconds: of a training, not always on an idle machine.",
    ]
    return "\n".join(lines) + "\n"


def _transfer(table: pd.DataFrame, demo: bool, flat: set[str]) -> str:
    """One line a set, share and start."""
    head = [
        "data set",
        "method",
        "share",
        "pictures",
        "accuracy (95% interval)",
        "minus normal (95% interval)",
        "over folds",
        "p (Holm)",
        "p (McNemar)",
        "recall",
        "runs",
        "verdict",
    ]
    lines = [f"# {title('transfer', demo)}", "", *_row(head), *_row(["---"] * len(head))]
    keys = ["dataset", "method", "share"]
    recall = table[table["metric"] == "recall"].set_index(keys)["mean"]
    for _, row in table[table["metric"] == "accuracy"].iterrows():
        lines += _row(
            [
                row["dataset"],
                row["method"],
                f"{row['share']:.0%}",
                f"{row['pictures']:.0f}",
                score(row),
                difference(row["difference"], row["low"], row["high"]),
                _bounds(row["t_low"], row["t_high"]),
                _p(row["p_holm"]),
                _p(row["p_mcnemar"]),
                f"{recall[tuple(row[k] for k in keys)]:.2f}",
                _count(row, flat),
                row["verdict"],
            ]
        )
    lines += [
        "",
        HOW + " `normal` has the set-to-set stage, `without_transfer` starts without it; "
        "minus normal: on the same share, folds and seeds; corrected as if all training "
        "pictures were used, of which folds have more in common. " + TESTS,
    ]
    return "\n".join(lines) + "\n"


def _trained_of(row) -> str:
    gone = row["untrained"]
    return f"{row['pairs']:.0f}" + f", {gone:.0f} of them not trained" * bool(gone)


def _seeds(row) -> str:
    return f"{row['seeds']:.0f}" if row["seeds"] else ""


def _share(row) -> str:
    return "" if pd.isna(row["discordance"]) else f"{row['discordance']:.1f}%"


def _margin(row) -> str:
    return "" if pd.isna(row["margin"]) else f"{row['margin']:.1f}"


def _bounds(low, high) -> str:
    return "" if pd.isna(low) else f"{low:+.1f} to {high:+.1f}"


def difference(middle, low, high) -> str:
    """A difference with its interval, as the pages write it; "" where there is none."""
    if pd.isna(middle):
        return ""
    return f"{middle:+.2f}" + ("" if pd.isna(low) else f" ({low:+.1f} to {high:+.1f})")


def _p(value) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def score(row) -> str:
    """A mean with its interval, as the pages write it; "" without runs."""
    return f"{row['mean']:.2f} ({row['ci_low']:.1f}–{row['ci_high']:.1f})" if row["runs"] else ""


def _row(cells) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]
