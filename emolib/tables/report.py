"""One page to cite, from tables and run folders alone: what was run, what agrees with the paper,
what does not, what cannot be known. The parts of a ReScience article's summary.
"""

from pathlib import Path

import pandas as pd

from ..base.files import read_json, write_text
from ..spec.run_spec import RunSpec
from ..spec.sets import PAPERS, in_words
from . import differences, pages, transfer
from .frame import APART, READINGS_FOLDER
from .study_tables import tables_of_study

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
    root = Path(results_root)
    text = report_text(root)
    write_text(root / "REPORT.md", text)
    return text


def quoted(root: Path) -> list[Path]:
    """The files that the page is made of, runs apart."""
    stems = ("table9", "differences", READINGS_FOLDER, "matched", "transfer", "cross", "regions")
    files = [folder / f"{stem}.csv" for folder in _folders(root) for stem in stems]
    return [file for file in files if file.exists()]


def _folders(root: Path) -> list[Path]:
    return sorted(f.parent for f in root.rglob("table9.csv") if f.parent.name != "published")


def report_text(root: Path) -> str:
    folders = _folders(root)
    if not folders:
        raise FileNotFoundError(f"{root}: no study with tables to report on")
    drawn = {f: "DEMO DATA" in (f / "table9.md").read_text("utf-8").split("\n")[0] for f in folders}
    lines, real = [HEAD], []
    for folder, demo in sorted(drawn.items(), key=lambda pair: pair[1]):  # real pictures first
        runs = pd.DataFrame() if demo else tables_of_study(folder)[1]
        real += [] if demo else list(_ours(runs)["spec"])
        lines += _study(folder.relative_to(root).as_posix(), folder, runs, demo)
    compared = [
        f / f"{stem}.csv"
        for f, demo in drawn.items()
        if not demo
        for stem in ("differences", READINGS_FOLDER)
    ]
    compared = [pd.read_csv(file) for file in compared if file.exists()]
    return "\n".join([*lines, *_unknown(real, compared)]) + "\n"


def _study(name: str, folder: Path, runs: pd.DataFrame, demo: bool) -> list[str]:
    kind = "drawn pictures that stand in for the real sets" if demo else "real pictures"
    lines = [f"## `{name}`: {kind}", ""]
    if not demo:
        lines += [*_how(runs), ""] + _against_the_paper(pd.read_csv(folder / "table9.csv"))
    for stem, what in (
        ("differences", "What the parts change"),
        (READINGS_FOLDER, "Other readings"),
        ("matched", "Other systems, same backbone and training"),
    ):
        if (folder / f"{stem}.csv").exists():
            lines += _verdicts(what, pd.read_csv(folder / f"{stem}.csv"), demo)
    if (folder / "transfer.csv").exists():
        found = transfer.conclusion(pd.read_csv(folder / "transfer.csv"))
        lines += [
            "The set-to-set stage on fewer training pictures (accuracy, minus with it, 95% "
            "interval):",
            "",
            found,
            "",
        ]
    if (folder / "cross.csv").exists():
        lines += _cross(pd.read_csv(folder / "cross.csv"))
    if (folder / "regions.csv").exists():
        lines += _regions(pd.read_csv(folder / "regions.csv"))
    return lines


def _ours(runs: pd.DataFrame) -> pd.DataFrame:
    """The network's runs for Tables 7 to 9: not those of other readings and shares."""
    apart = runs["folder"].map(lambda f: f.parent.parent.name in APART)
    return runs[~apart & (runs["spec"].map(lambda s: s.model) == "maiafa")]


def _how(runs: pd.DataFrame) -> list[str]:
    """Data, settings, machine: from specs and environments."""
    lines = []
    for dataset, group in _ours(runs).groupby("dataset", sort=False):
        specs = group["spec"]
        settings = (
            f"{k} {', '.join(map(str, dict.fromkeys(getattr(s, k) for s in specs)))}"
            for k in _PROTOCOL
        )
        lines.append(
            f"- {in_words(dataset)}, {len(group)} runs of the network: {'; '.join(settings)}"
        )
    facts = [read_json(f / "environment.json") for f in runs["folder"]]
    machines = dict.fromkeys(
        f"{e.get('device')} ({e.get('cores')} cores), torch {e.get('torch')}" for e in facts
    )
    hours = sum(e.get("seconds", 0) for e in facts) / 3600
    commits = len({e.get("git_commit") for e in facts})
    lines.append(
        f"- {len(runs)} runs in all, {hours:.1f} hours of training; {'; '.join(machines)}; "
        f"{commits} commits of this repository"
    )
    return lines


def _against_the_paper(table: pd.DataFrame) -> list[str]:
    """Whether our network's interval holds the paper's number."""
    rows = table[(table["method"] == "maiafa") & (table["runs"] > 0)]
    lines = []
    for _, row in rows.iterrows():
        if pd.notna(row["published"]):
            holds = row["ci_low"] <= row["published"] <= row["ci_high"]
            lines.append(
                f"- {in_words(row['dataset'])}, {row['metric']}: {pages.score(row)}, the paper "
                f"{row['published']:.2f}: {'inside' if holds else 'outside'} the interval"
            )
    head = "Against Table 9 (settings above; what differs from the paper's is said at the end):"
    return [head, "", *lines, ""] if lines else []


def _verdicts(what: str, table: pd.DataFrame, demo: bool) -> list[str]:
    """A line a comparison; beside the paper's own difference where the pictures are real."""
    rows = table[(table["metric"] == "accuracy") & (table["table"] != 9)].rename(  # 9: see matched
        columns={"minus_maiafa": "difference", "minus_low": "low", "minus_high": "high"}
    )
    lines = []
    for _, row in rows[rows["difference"].notna()].iterrows():
        found = pages.difference(row["difference"], row["low"], row["high"])
        paper = row.get("published")
        paper = f"; the paper {paper:+.2f}" if pd.notna(paper) and not demo else ""
        verdict = row["verdict"] if pd.notna(row["verdict"]) else "the sets disagree"
        lines.append(
            f"- {in_words(row['dataset'])}, {row['method']}: {found} points{paper}: **{verdict}**"
        )
    return [f"{what} (accuracy, minus the default, 95% interval):", "", *lines, ""] if lines else []


def _cross(table: pd.DataFrame) -> list[str]:
    """Networks on sets that neither they nor what they start from were trained on."""
    rows = table[(table["trained_on"] != table["tested_on"]) & ~table["pre_trained"]]
    lines = [
        f"- {in_words(row.trained_on)} → {in_words(row.tested_on)}: "
        f"{row.accuracy:.1f} ({row.low:.1f}–"
        f"{row.high:.1f}) on {row.pictures} pictures; the larger class alone {row.majority:.1f}"
        for row in rows.itertuples()
    ]
    head = "Trained on one set, tested on another (accuracy, Wilson's 95% interval):"
    return [head, "", *lines, ""] if lines else []


def _regions(table: pd.DataFrame) -> list[str]:
    """D's AUC on known regions, over the networks that were measured."""
    ours = table[(table["reading"] == "normal") & (table["map"] == "D")]
    D = ours.groupby("network")["AUC"].mean()
    bright = int((D > 0.5).sum())
    return [
        f"*D* on known regions (AUC, 0.5 is chance), {len(D)} networks: mean {D.mean():.2f}, "
        f"lowest {D.min():.2f}, highest {D.max():.2f}; {bright} of {len(D)} above chance.",
        "",
    ]


def _unknown(specs: list[RunSpec], tables_: list[pd.DataFrame]) -> list[str]:
    """What runs on real pictures with these specs, and their tables of differences, cannot say."""
    lines = ["## What cannot be known from these runs", ""]
    absent = [in_words(d) for d in PAPERS if d not in {s.dataset for s in specs}]
    if absent:
        lines.append(f"- Anything on real pictures of {', '.join(absent)}: no runs.")
    paper = RunSpec("twitter1")
    for key in ("backbone", "image_size", "epochs"):
        found = sorted({str(getattr(s, key)) for s in specs})
        if str(getattr(paper, key)) not in found:
            lines.append(
                f"- The paper's {key.replace('_', ' ')} ({getattr(paper, key)}): real "
                f"pictures were run with {', '.join(found) or 'nothing'}."
            )
    if not any("fi" in s.stages for s in specs):
        lines.append("- Whether pre-training on FI helps on real pictures.")
    seeds = {s.seed for s in specs}
    if len(seeds) == 1:
        lines.append("- How much of a difference is the seed's: one was used.")
    return [*lines, "- Which of its open points the paper's authors chose.", *_own_power(tables_)]


def _own_power(tables_: list[pd.DataFrame]) -> list[str]:
    """The paper's own differences of Tables 7 and 8 beside the smallest that its test pictures
    could show, from tables of differences on real pictures."""
    rows = pd.concat(tables_) if tables_ else pd.DataFrame(columns=differences.DIFFERENCES_COLUMNS)
    rows = rows[
        (rows["metric"] == "accuracy") & rows["table"].astype(str).isin(["7", "8", READINGS_FOLDER])
    ]
    rows = rows[rows["published"].notna() & rows["smallest_paired"].notna()]
    return [
        f"- Whether the paper's own difference is more than noise, {in_words(row.dataset)} "
        f"{row.method} ({row.published:+.2f}): its test could show {row.smallest_paired:.1f} "
        f"points if its two networks differed on as many pictures as ours "
        f"({row.discordance:.1f}%), {row.smallest:.1f} on pictures of their own."
        for row in rows.itertuples()
    ]
