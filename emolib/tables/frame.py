"""The runs of a study as a frame, a row a run, and what one study may not mix."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
import pandas as pd

from ..base.files import read_csv, read_json
from ..base.metrics import more_scores
from ..base.run_folder import differ, is_complete, read_spec, weights_of
from ..data import audit
from ..spec.sets import SETS

# Folders of a study with runs that answer other questions than Tables 7 to 9.
READINGS_FOLDER, SHARES_FOLDER = "readings", "shares"
APART = (READINGS_FOLDER, SHARES_FOLDER)
COST = ["parameters", "macs", "pictures_per_second"]
# What a run started from: timm's download, the labels it learnt, its predecessor.
START_FACTS = ["weights_sha256", "emotions", "started_from"]


@dataclass(frozen=True)
class StudyRuns:
    """The complete runs of one study, as `read_runs` gives them."""

    folder: Path
    own: pd.DataFrame  # in runs/
    readings: pd.DataFrame  # in readings/runs
    shares: pd.DataFrame  # in shares/runs, without those that are in runs/ too

    def together(self, *names: str) -> pd.DataFrame:
        """The runs of these frames, of all unless named. A run that is in two counts once."""
        frames = [getattr(self, name) for name in names or ("own", *APART)]
        found = pd.concat([frame for frame in frames if len(frame)])
        return found.drop_duplicates("id", ignore_index=True)


def read_study(folder: Path, ids=None) -> StudyRuns:
    """The study in `folder`. ids: only these runs.

    Raises FileNotFoundError if it has no complete run of its own, and ValueError if it mixes data
    or if its runs did not start from what is here now.
    """
    twins = near_twins(folder)
    frames = [read_runs(folder / place, ids, twins) for place in ("", *APART)]
    check_one_start(folder, pd.concat(frames, ignore_index=True))
    # the pre-trainings of leakage-free runs are no row of a table
    frames = [f[[not s.apart for s in f["spec"]]] if len(f) else f for f in frames]
    own, readings, shares = frames
    if own.empty:
        raise FileNotFoundError(f"{folder}: no complete run to build tables from")
    shares = shares if shares.empty else shares[~shares["id"].isin(own["id"])]
    study = StudyRuns(folder, own, readings, shares)
    check_one_source(folder, study.together())
    return study


def studies_in(root: Path) -> list[Path]:
    """The folders with complete runs, `root` itself and two levels below it. The folders networks/,
    readings/ and shares/ of a study are no studies."""
    candidates = [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))]
    parts = ("networks", *APART)
    return [f for f in candidates if f.name not in parts and any(f.glob("runs/*/metrics.json"))]


def place_of_run(folder: Path, run: str) -> Path:
    """Where a study keeps a run: in runs/ or, for another question, in one of `APART`."""
    places = [folder / place / "runs" / run for place in ("", *APART)]
    # the first complete one, else the first that is there, else runs/
    return max(places, key=lambda place: (is_complete(place), place.is_dir()))


def missing(folder: Path, wanted=None) -> dict[str, str]:
    """{run: why it is not there}, of the runs `wanted` or, without these, of those begun."""
    places = [folder / place for place in ("", *APART)]
    begun = {file.parent.name for place in places for file in place.glob("runs/*/spec.json")}
    whys = {}
    for run in sorted(begun if wanted is None else wanted):
        place = place_of_run(folder, run)
        if is_complete(place):
            continue
        whys[run] = "unfinished" if run in begun else "not begun"
        if (place / "failed.txt").exists():
            text = (place / "failed.txt").read_text(encoding="utf-8", errors="replace")
            kinds = re.findall(r"^([A-Za-z_.]+)(?::|$)", text, re.M)  # no path: pages travel
            whys[run] = f"failed: {kinds[-1]}" if kinds else "failed"
    return whys


def twin_pairs(file: Path) -> pd.DataFrame:
    """The pairs of twins within one set that an audit found."""
    found = read_csv(file)
    found = found[found["finding"].isin(["identical", "near-twin"])]
    return found[found["dataset"] == found["other_dataset"]]


def near_twins(folder: Path) -> dict[tuple[str, str], str]:
    """{(set, path): the first picture of its group of near-twins}, from the audit of the study in
    `folder` or the one above it, if there is one. A twin of a twin is one."""
    files = [f / audit.FILE for f in (folder, folder.parent) if (f / audit.FILE).exists()]
    if not files:
        return {}
    found = twin_pairs(files[0])
    pairs = zip(found["dataset"], found["path"], found["other_path"], strict=True)
    twins = networkx.Graph(((name, str(one)), (name, str(other))) for name, one, other in pairs)
    groups = networkx.connected_components(twins)
    return {one: min(group)[1] for group in groups for one in group}


def read_runs(folder: Path, wanted=None, twins: dict | None = None) -> pd.DataFrame:
    """The complete runs of polarity in `folder`/runs as `frame_of` gives them. wanted: only these
    ids."""
    return frame_of(complete_runs(folder, ("polarity",), wanted), twins)


def complete_runs(folder: Path, names, wanted=None) -> list[Path]:
    """The folders of the complete runs in `folder`/runs that learnt one of the tasks `names`."""
    runs = filter(is_complete, sorted((folder / "runs").glob("*")))
    asked = (run for run in runs if wanted is None or run.name in wanted)
    return [run for run in asked if read_spec(run / "spec.json").task in names]


def frame_of(folders: Iterable[Path], twins: dict | None = None) -> pd.DataFrame:
    """The complete runs in these folders, a row each, with

    - its spec, folder, metrics (percent), data, starting weights and costs;
    - answers: a frame of path, label, predicted, right and cluster. Near-twins share a cluster;
    - ratio: test pictures to training pictures of the whole fold.

    twins: as `near_twins` gives them.
    """
    rows, twins = [], twins or {}
    for run in folders:
        spec = read_spec(run / "spec.json")
        environment = read_json(run / "environment.json")
        trained, _, tested = SETS[spec.dataset].shares  # §4.1.2, for runs that do not say it
        p = read_csv(run / "predictions.csv")
        clusters = [twins.get((spec.dataset, path), path) for path in p["path"].astype(str)]
        answers = answers_of(p, clusters)
        rows.append(
            {
                "id": run.name,
                "folder": run,
                "spec": spec,
                "dataset": spec.dataset,
                "method": spec.method,
                **{k: v for k, v in read_json(run / "metrics.json").items() if k != "n"},
                "answers": answers,
                **more_scores(p["label"], p["p_positive"]),
                "trained_on": environment.get("trained_on", spec.share * len(p) * trained / tested),
                "data": environment["data"],
                "weights": environment["weights"],
                # none where there is nothing to say, and in runs from before they were kept
                **{name: environment.get(name) for name in START_FACTS},
                **{name: environment.get(name) or float("nan") for name in [*COST, "seconds"]},
            }
        )
    frame = pd.DataFrame(rows)
    if not rows:
        return frame
    # of the whole fold: on a share of it, runs have fewer pictures in common, not more
    share = frame["spec"].map(lambda s: s.share)
    return frame.assign(ratio=frame["answers"].map(len) / (frame["trained_on"] / share))


def answers_of(predictions: pd.DataFrame, clusters) -> pd.DataFrame:
    """The column `answers` of `frame_of`, from path, label and p_positive. clusters: one a row."""
    answers = predictions[["path", "label"]].astype({"path": str})
    answers["predicted"] = (predictions["p_positive"] >= 0.5).astype(int)
    answers["right"] = (answers["predicted"] == predictions["label"]).astype(int)
    return answers.assign(cluster=list(clusters))


def drawn_data(runs: pd.DataFrame) -> bool:
    """Whether the runs of a study are on drawn data."""
    return bool(runs["data"].iloc[0]["demo"])


def check_one_source(folder: Path, runs: pd.DataFrame) -> None:
    """Raises ValueError if the runs of a study are on different contents of one set, or some on
    drawn data and some on real data."""
    seen: dict[str, Any] = {}
    for run in runs.itertuples():
        first = seen.setdefault(run.dataset, run)
        if first.data != run.data:
            raise ValueError(
                f"{folder} mixes data: {first.id} and {run.id} were run on different contents of "
                f"{run.dataset} ({first.data} and {run.data}); give each its own study"
            )
    if len({run.data["demo"] for run in seen.values()}) > 1:
        named = ", ".join(f"{name} {run.id}" for name, run in seen.items())
        raise ValueError(
            f"{folder} mixes the drawn demo data with real data ({named}); give each its own study"
        )


def check_one_start(folder: Path, runs: pd.DataFrame) -> None:
    """Raises ValueError if two runs of one name are not the same run (one was lent before it was
    trained anew), or if a run started from other weights than its predecessor has, or than another
    run started from. Older runs do not say what they started from."""
    seen: dict[str, Path] = {}
    known: dict[str, tuple[str, str]] = {}
    for run in runs.itertuples():
        first = seen.setdefault(run.id, run.folder)
        if first != run.folder and (what := differ(first, run.folder)):
            raise ValueError(
                f"{folder}: {first} and {run.folder} have one name but other {what}; remove the "
                "one that is out of date and what started from it"
            )
        if not isinstance(run.started_from, dict):
            continue
        name, weights = run.started_from["run"], run.started_from["weights"]
        its = weights_of(place_of_run(folder, name))
        who, others = known.setdefault(name, (name, its) if its else (run.id, weights))
        if weights != others:
            raise ValueError(
                f"{folder}: {run.id} started from other weights of {name} than {who} has "
                f"({weights[:16]} and {others[:16]}); remove the runs that are out of date and "
                "train them again, or give each its own study"
            )
