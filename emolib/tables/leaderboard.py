"""The leaderboard: every system whose answers are here, on each set and protocol, with intervals
and the groups that cannot be told apart. `python -m emolib leaderboard results` writes it.
"""

import itertools
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import networkx
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..base.files import whole_file, write_text
from ..data import splits
from ..spec.published import published
from ..spec.sets import in_words
from . import pages, plots, significance
from .entrants import FOLDER, SYSTEM_COLUMNS, entrants_of, in_short, sent_in
from .names import readable
from .referee import runs_of
from .rows import answers, statistics
from .significance import ALPHA

COLUMNS = "set protocol system accuracy low high auroc log_loss ece untrained groups".split()
PAGE, FIGURE, CSV = "leaderboard.md", "{}-{}.png", "leaderboard.csv"
TOP = """# Leaderboard

Still pictures, positive or negative. Every row is computed from answers to the same pictures, which
lie in `results/leaderboard/answers/`. In brackets: 95% intervals over test pictures, near-twins
counted as one. Systems that share a letter cannot be told apart on these pictures. To be told apart
a pair needs p < 0.05 by Holm's correction over all pairs, and an interval over folds without 0,
since each row is one seed. `emolib evaluate answers.csv --set twitter1` holds your own answers
against all of them.

`python -m emolib leaderboard results` writes this page; `CONTRIBUTING.md` says how to add a row.
"""
UNKNOWN = (
    "Published, and not comparable, because the paper gives no answers, and does not say which of "
    "its rows it ran itself and how the others chose their epoch:"
)


def write_leaderboard(results_root) -> str:
    """Writes leaderboard/ below `results_root`, from its runs and submissions: answers,
    systems.csv, leaderboard.csv, a figure for each set and protocol, and the page, whose text it
    returns.

    Raises FileNotFoundError where no system is there, and ValueError for a submission that lacks a
    picture or holds what is no answer."""
    root = Path(results_root)
    files, frame = made_from(root)
    for name, text in files.items():
        write_text(root / FOLDER / name, text)
    for (dataset, protocol), rows in frame.groupby(["set", "protocol"]):
        with whole_file(root / FOLDER / FIGURE.format(dataset, protocol)) as part:
            draw_leaderboard(rows).savefig(part, format="png", dpi=120)
    return files[PAGE]


def board_findings(root: Path) -> Iterator[tuple[Path, str]]:
    """(a file of the leaderboard below `root`, what is wrong with it or "")."""
    made, _ = made_from(root)
    folder = root / FOLDER
    for name, text in made.items():
        file = folder / name
        same = file.is_file() and file.read_text("utf-8") == text
        outdated = "is not what the runs give; python -m emolib leaderboard writes it"
        yield file, "" if same else outdated
    for file in sorted(folder.glob("answers/*.csv")):
        if file.relative_to(folder).as_posix() not in made:
            yield file, "is of no set and protocol that runs or submissions answer"


def made_from(root: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """({file below leaderboard/: its text}, the rows) of the runs and submissions below `root`."""
    wide: dict[tuple[str, str], dict[str, pd.Series]] = {}
    how = []
    everyone = entrants_of(root) | sent_in(root)
    written = "{:.6g}".format  # and read again, so that all files say the same of an answer
    for (dataset, protocol, system), (trained, answer) in everyone.items():
        wide.setdefault((dataset, protocol), {})[system] = answer.map(written).astype(float)
        how.append((dataset, protocol, system, trained))
    if not how:
        raise FileNotFoundError(f"{root}: no run on real pictures and no submission")
    files, parts = {}, []
    for (dataset, protocol), columns in sorted(wide.items()):
        frame = pd.DataFrame(columns).rename_axis("path").reset_index()
        name = f"answers/{dataset}-{protocol}.csv"
        files[name] = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        parts.append(_standings(dataset, protocol, columns))
    trained = pd.DataFrame(how, columns=SYSTEM_COLUMNS).sort_values(SYSTEM_COLUMNS[:3])
    rows = pd.concat(parts, ignore_index=True)
    files["systems.csv"] = trained.to_csv(index=False, lineterminator="\n")
    files[CSV] = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files[PAGE] = _page(rows.merge(trained, on=SYSTEM_COLUMNS[:3]))
    return files, rows


def _standings(dataset: str, protocol: str, columns: dict[str, pd.Series]) -> pd.DataFrame:
    """COLUMNS, the best first."""
    listed = splits.tested(dataset, protocol)
    rows, right = [], {}
    for system, p in columns.items():
        runs = runs_of(listed.assign(p_positive=p.reindex(listed["path"]).to_numpy()), dataset)
        found, means = statistics(runs, "accuracy"), runs[["auroc", "log_loss", "ece"]].mean()
        flat = sum(frame["predicted"].nunique() < 2 for frame in runs["answers"])
        rows.append(
            {"set": dataset, "protocol": protocol, "system": system, "accuracy": found["mean"]}
            | {"low": found["ci_low"], "high": found["ci_high"], **means, "untrained": flat}
        )
        right[system] = answers(runs, "accuracy")
    frame = pd.DataFrame(rows).sort_values("accuracy", ascending=False, kind="stable")
    letters = groups(right, frame["system"].tolist(), listed)
    return frame.assign(groups=[letters[s] for s in frame["system"]])[COLUMNS]


def groups(right: dict[str, pd.DataFrame], order: list[str], listed: pd.DataFrame) -> dict:
    """{system: letters}: systems that share one cannot be told apart. They are the maximal cliques
    of the pairs that are not told apart, lettered by their best member.

    right: of each system what `rows.answers` gives, in one order of pictures; order: the systems,
    the best first; listed: the protocol's test pictures, for the ratio of tested to learnt."""
    pairs = list(itertools.combinations(order, 2))
    ratio = (listed["of_fold"] / listed["trained"]).mean()
    p, over_folds = [], []
    for one, other in pairs:
        a, b = right[one], right[other]
        apart = (a[0] - b[0]).to_numpy(float)
        p.append(significance.over_pictures(apart, a["weight"], a["cluster"].astype(str)).p)
        folds = pd.Series(apart).groupby(a["fold"].to_numpy()).mean()
        over_folds.append(significance.over_folds(folds, ratio).p)
    same = networkx.Graph()
    same.add_nodes_from(order)
    for pair, *both in zip(pairs, significance.holm(p), over_folds, strict=True):
        if any(one >= ALPHA for one in both):  # of a single fold the second is nan
            same.add_edge(*pair)
    place = {system: i for i, system in enumerate(order)}
    cliques = sorted(sorted(place[s] for s in c) for c in networkx.find_cliques(same))
    return {s: " ".join(_letter(n) for n, c in enumerate(cliques) if place[s] in c) for s in order}


def _letter(number: int) -> str:
    """a, b, …, z, aa, ab, …"""
    more, last = divmod(number, 26)
    return (_letter(more - 1) if more else "") + chr(ord("a") + last)


def _page(rows: pd.DataFrame) -> str:
    lines = [TOP]
    for (dataset, protocol), part in rows.groupby(["set", "protocol"], sort=False):
        count = len(splits.tested(dataset, protocol))
        lines += [f"## {in_words(dataset)}: {splits.PROTOCOLS[protocol]}", ""]
        lines += [f"{count} pictures. ![accuracies]({FIGURE.format(dataset, protocol)})", ""]
        columns = [
            ("system", lambda row: f"`{row['system']}`"),
            ("accuracy (95%)", _accuracy),
            ("groups", itemgetter("groups")),
            ("AUROC", pages.number("auroc", ".1f")),
            ("log loss", pages.number("log_loss", ".3f")),
            ("ECE", pages.number("ece", ".1f")),
            ("trained", itemgetter("trained")),
        ]
        lines += [*pages.markdown_table(columns, part.to_dict("records")), ""]
        paper = published(9)
        paper = paper[(paper["dataset"] == dataset) & (paper["metric"] == "accuracy")]
        if len(paper) and protocol == "folds":
            named = zip(paper["method"], paper["published"], strict=True)
            cells = ", ".join(f"{readable(method)} {value:.2f}" for method, value in named)
            lines += [f"*{UNKNOWN} {cells}.*", ""]
    return "\n".join(lines)


def _accuracy(row) -> str:
    trained = " (not trained)" * (row["untrained"] > 0)
    return f"{row['accuracy']:.1f} ({row['low']:.1f} to {row['high']:.1f}){trained}"


def draw_leaderboard(rows: pd.DataFrame) -> Figure:
    """Accuracies with intervals, the best on top, and for each group a bar over its systems; the
    paper's own number in grey."""
    dataset, protocol = rows["set"].iloc[0], rows["protocol"].iloc[0]
    letters = sorted(
        {g for cell in rows["groups"] for g in cell.split()}, key=lambda g: (len(g), g)
    )
    figure, axes = plots.panels(1, 2, 10, 1.6 + 0.3 * len(rows), sharey=True, width_ratios=(3, 1))
    left, right = axes[0]
    places = plots.named_rows(left, [in_short(system) for system in rows["system"]])
    middle, low, high = (rows[column] for column in ("accuracy", "low", "high"))
    plots.intervals(left, middle, low, high, places, "here, 95% interval")
    paper = published(9).set_index(["dataset", "method", "metric"])["published"]
    if protocol == "folds" and (dataset, "maiafa", "accuracy") in paper.index:
        at, label = paper[dataset, "maiafa", "accuracy"], "the paper's network, as published"
        left.plot([at, at], left.get_ylim(), color=plots.GREY, label=label)
    left.set_xlabel("accuracy in percent (better →)")
    left.margins(x=0.05)
    left.autoscale_view(scaley=False)
    for n, letter in enumerate(letters):
        mine = places[[letter in cell.split() for cell in rows["groups"]]]
        right.plot([n, n], [mine.min(), mine.max()], color="0.8", lw=3)
        right.plot(np.full(len(mine), n), mine, "o", color="black", ms=4)
    right.set_xticks(range(len(letters)), letters)
    right.set_xlabel("on one line:\nnot told apart")
    plots.legend_below(figure, axes)
    figure.suptitle(f"{in_words(dataset)}: {splits.PROTOCOLS[protocol]}")
    return figure
