"""What was found, study by study, from tables and run folders alone: what was run, what agrees
with the paper, what does not, what cannot be known. The parts of a ReScience article's summary.
"""

from pathlib import Path

import pandas as pd

from ..base.files import read_json, write_text
from ..spec.run_spec import RunSpec
from ..spec.sets import PAPERS, in_words
from . import pages, paper, transfer
from .frame import APART, READINGS_FOLDER, read_study
from .matched import RENAMED

HEAD = """# What could be reproduced

*Image Emotion Classification Network Based on Multilayer Attentional Interaction, Adaptive Feature
Aggregation* (Zhang et al., CMC 2023). Made by `python -m emolib report` from tables and run
folders; the tables name the runs behind every number, and `make verify` checks that they follow.
Intervals are over test pictures; verdicts and the second, cautious interval: see any
`differences.md`.
"""
# what a reader asks for
_PROTOCOL = ("backbone", "image_size", "epochs", "batch_size", "lr", "init")


def write_report(results_root) -> str:
    """Writes `results_root`/REPORT.md, of every study with tables, and returns its text.

    Raises FileNotFoundError where no study has tables.
    """
    text = report_text(Path(results_root))
    write_text(Path(results_root, "REPORT.md"), text)
    return text


def outdated(root: Path) -> str | None:
    """What is wrong with the page that is there."""
    same = (root / "REPORT.md").read_text(encoding="utf-8") == report_text(root)
    return None if same else "is not what the tables give now; python -m emolib report writes it"


def quoted(root: Path) -> list[Path]:
    """The files that the page is made of, runs apart."""
    files = [folder / f"{stem}.csv" for folder in _folders(root) for stem, _, _ in REPORT_PARTS]
    return [file for file in files if file.exists()]


def _folders(root: Path) -> list[Path]:
    return sorted(f.parent for f in root.rglob("table9.csv") if f.parent.name != "published")


def report_text(root: Path) -> str:
    """The page's text. Raises what `write_report` does."""
    folders = _folders(root)
    if not folders:
        raise FileNotFoundError(f"{root}: no study with tables to report on")
    drawn = {f: "DEMO DATA" in (f / "table9.md").read_text("utf-8").split("\n")[0] for f in folders}
    lines, specs, compared = [HEAD], [], []
    for folder, demo in sorted(drawn.items(), key=lambda pair: pair[1]):  # real pictures first
        kind = "drawn pictures that stand in for the real sets" if demo else "real pictures"
        lines += [f"## `{folder.relative_to(root).as_posix()}`: {kind}", ""]
        files = {stem: folder / f"{stem}.csv" for stem, _, _ in REPORT_PARTS}
        tables = {stem: pd.read_csv(file) for stem, file in files.items() if file.exists()}
        if {READINGS_FOLDER, "differences"} <= tables.keys():  # Table 7's rows are in both
            told, readings = (tables[s] for s in ("differences", READINGS_FOLDER))
            tables[READINGS_FOLDER] = readings[~readings["method"].isin(told["method"])]
        if not demo:
            runs = read_study(folder).together()
            lines += [*_how(runs), ""]
            specs += list(_ours(runs)["spec"])
            compared += [tables[s] for s in ("differences", READINGS_FOLDER) if s in tables]
        for stem, head, part in REPORT_PARTS:
            found = part(tables[stem], demo) if stem in tables else []
            lines += [*([head, ""] if head else []), *found, ""] if found else []
    return "\n".join([*lines, *_unknown(specs, compared)]) + "\n"


def _ours(runs: pd.DataFrame) -> pd.DataFrame:
    """The network's runs for Tables 7 to 9: not those of other readings and shares."""
    apart = runs["folder"].map(lambda f: f.parent.parent.name in APART)
    return runs[~apart & (runs["spec"].map(lambda s: s.model) == "maiafa")]


def _how(runs: pd.DataFrame) -> list[str]:
    """Data, settings, machine: from specs and environments."""
    lines = []
    for dataset, group in _ours(runs).groupby("dataset", sort=False):
        values = {k: dict.fromkeys(str(getattr(s, k)) for s in group["spec"]) for k in _PROTOCOL}
        settings = "; ".join(f"{k} {', '.join(found)}" for k, found in values.items())
        lines.append(
            f"- {in_words(dataset)}, {pages.so_many(len(group), 'run')} of the network: {settings}"
        )
    facts = [read_json(f / "environment.json") for f in runs["folder"]]
    machines = dict.fromkeys(
        f"{e.get('device')} ({e.get('cores')} cores), torch {e.get('torch')}" for e in facts
    )
    hours = sum(e.get("seconds", 0) for e in facts) / 3600
    commits = len({e.get("git_commit") for e in facts})
    all_runs = f"- {pages.so_many(len(runs), 'run')} in all, {hours:.1f} hours of training"
    where = f"{'; '.join(machines)}; {pages.so_many(commits, 'commit')} of this repository"
    return [*lines, f"{all_runs}; {where}"]


def _against_the_paper(table: pd.DataFrame, demo: bool) -> list[str]:
    """Whether our network's interval holds the paper's number; nothing on drawn pictures."""
    if demo:
        return []
    rows = table[(table["method"] == "maiafa") & (table["runs"] > 0) & table["published"].notna()]
    holds = rows["published"].between(rows["ci_low"], rows["ci_high"])
    return [
        f"- {in_words(row['dataset'])}, {row['metric']}: {pages.score(row)}, the paper "
        f"{row['published']:.2f}: {'inside' if holds[at] else 'outside'} the interval"
        for at, row in rows.iterrows()
    ]


def _verdicts(table: pd.DataFrame, demo: bool) -> list[str]:
    """A line a comparison; beside the paper's own difference where the pictures are real."""
    rows = table[(table["metric"] == "accuracy") & (table["table"] != 9)]  # 9: see matched
    rows = rows.rename(columns={new: old for old, new in RENAMED.items()})
    lines = []
    for _, row in rows[rows["difference"].notna()].iterrows():
        found = f"{pages.difference(row)} points"
        if pd.notna(row.get("published")) and not demo:
            found += f"; the paper {row['published']:+.2f}"
        verdict = row["verdict"] if pd.notna(row["verdict"]) else "the sets disagree"
        lines.append(f"- {in_words(row['dataset'])}, {row['method']}: {found}: **{verdict}**")
    return lines


def _cross(table: pd.DataFrame, demo: bool) -> list[str]:
    """Networks on sets that neither they nor what they start from were trained on."""
    rows = table[(table["trained_on"] != table["tested_on"]) & ~table["pre_trained"]]
    return [
        f"- {in_words(row.trained_on)} → {in_words(row.tested_on)}: {row.accuracy:.1f} "
        f"({row.low:.1f}–{row.high:.1f}) on {row.pictures} pictures; the larger class alone "
        f"{row.majority:.1f}"
        for row in rows.itertuples()
    ]


def _regions(table: pd.DataFrame, demo: bool) -> list[str]:
    """D's AUC on known regions, over the networks that were measured."""
    ours = table[(table["reading"] == "normal") & (table["map"] == "D")]
    D = ours["AUC"]
    return [
        f"*D* on known regions (AUC, 0.5 is chance), {len(D)} networks: mean {D.mean():.2f}, "
        f"lowest {D.min():.2f}, highest {D.max():.2f}; {sum(D > 0.5)} of {len(D)} above chance."
    ]


_TOLD = "(accuracy, minus the default, 95% interval):"
# The page's parts on a study: the table that each is made of, its head, its lines.
REPORT_PARTS = (
    (
        "table9",
        "Against Table 9 (settings above; what differs from the paper's is said at the end):",
        _against_the_paper,
    ),
    ("differences", f"What the parts change {_TOLD}", _verdicts),
    (READINGS_FOLDER, f"Other readings {_TOLD}", _verdicts),
    ("matched", f"Other systems, same backbone and training {_TOLD}", _verdicts),
    (
        "transfer",
        "The set-to-set stage on fewer training pictures (accuracy, minus with it, 95% interval):",
        lambda table, demo: [transfer.conclusion(table)],
    ),
    ("cross", "Trained on one set, tested on another (accuracy, Wilson's 95% interval):", _cross),
    ("regions", "", _regions),
)


def _unknown(specs: list[RunSpec], tables_: list[pd.DataFrame]) -> list[str]:
    """What runs on real pictures with these specs, and their tables of differences, cannot say."""
    lines = ["## What cannot be known from these runs", ""]
    absent = [in_words(d) for d in PAPERS if d not in {s.dataset for s in specs}]
    if absent:
        lines.append(f"- Anything on real pictures of {', '.join(absent)}: no runs.")
    theirs = RunSpec("twitter1")
    for key in ("backbone", "image_size", "epochs"):
        wanted, found = getattr(theirs, key), sorted({str(getattr(s, key)) for s in specs})
        if str(wanted) not in found:
            said = f"real pictures were run with {', '.join(found) or 'nothing'}"
            lines.append(f"- The paper's {key.replace('_', ' ')} ({wanted}): {said}.")
    if not any("fi" in s.stages for s in specs):
        lines.append("- Whether pre-training on FI helps on real pictures.")
    if len({s.seed for s in specs}) == 1:
        lines.append("- How much of a difference is the seed's: one was used.")
    return [*lines, "- Which of its open points the paper's authors chose.", *_own_power(tables_)]


def _own_power(tables_: list[pd.DataFrame]) -> list[str]:
    """The paper's own differences of Tables 7 and 8 beside the smallest that its test pictures
    could show, from tables of differences on real pictures; a row for what all studies found."""
    rows = pd.concat(tables_) if tables_ else pd.DataFrame(columns=paper.DIFFERENCES_COLUMNS)
    of_parts = rows["table"].astype(str).isin(["7", "8", READINGS_FOLDER])
    rows = rows[of_parts & (rows["metric"] == "accuracy")]
    rows = rows.dropna(subset=["published", "smallest_paired"])
    if rows.empty:
        return []
    lines = [
        "- Whether the paper's own differences are more than noise.",
        "",
        "The smallest that its tests could show, in points of accuracy: if its two networks gave",
        "another answer on as many pictures as ours do, and if each had pictures of its own.",
        "",
    ]
    heads = ("set", "row", "the paper's", "the same pictures", "ours differ on", "its own pictures")
    lines += pages.grid(
        heads,
        (
            (
                *(in_words(dataset), method, f"{group['published'].iloc[0]:+.2f}"),
                *(_range(group["smallest_paired"]), f"{_range(group['discordance'])} %"),
                f"{group['smallest'].iloc[0]:.1f}",
            )
            for (dataset, method), group in rows.groupby(["dataset", "method"], sort=False)
        ),
    )
    return lines


def _range(values: pd.Series) -> str:
    """Lowest to highest over the studies, or the one number that all have."""
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low} to {high}"
