"""The systems of the leaderboard and their answers: from run folders, from what others sent in, and
from the files that come with the package.

In `results/leaderboard/`: `answers/`*set*`-`*protocol*`.csv`, a row a test picture and a column a
system, and `systems.csv`, how each was trained. Both are made from the runs in `results/` and from
`submissions/`*set*`-`*protocol*`/`*name*`.csv` (path, p_positive) with a line about each in the
*name*`.md` beside it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..base.files import read_csv
from ..data import splits
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from .frame import drawn_data, read_runs, studies_in
from .names import readable
from .rows import runs_by_row
from .sheet import read_sheet

Entrants = dict[tuple[str, str, str], tuple[str, pd.Series]]
SYSTEM_COLUMNS = ["set", "protocol", "system", "trained"]
FOLDER = "leaderboard"  # in a results folder, and in the installed package


def answers_of_all(dataset: str, protocol: str, against=None) -> dict[str, pd.Series]:
    """{system: its p_positive by path} of the runs in the results folder `against`, or of all that
    come with the package. Raises FileNotFoundError for a folder without complete runs."""
    if against is not None:
        if not studies_in(Path(against)):
            raise FileNotFoundError(f"{against}: no study with complete runs to compare with")
        found = entrants_of(Path(against))
        return {
            s: answers for (d, p, s), (_, answers) in found.items() if (d, p) == (dataset, protocol)
        }
    file = comes_along() / "answers" / f"{dataset}-{protocol}.csv"
    frame = read_csv(file).set_index("path") if file.is_file() else pd.DataFrame()
    return {str(system): frame[system] for system in frame}


def comes_along() -> Path:
    """The folder of the leaderboard: in the installed package, or in a clone's results/."""
    package = Path(__file__).parents[1]
    places = [package / FOLDER, package.parent / "results" / FOLDER]
    return next((place for place in places if place.is_dir()), places[0])


def entrants_of(root: Path) -> Entrants:
    """{(set, protocol, system): (how it was trained, its p_positive by path)} of the runs on real
    pictures below `root`, of the lowest seed, where they test all of a protocol's pictures.
    """
    found: Entrants = {}
    for folder in studies_in(root):
        runs = read_runs(folder)
        if runs.empty or drawn_data(runs):
            continue
        for dataset in splits.listed_sets():
            for method, group in _rows(runs[runs["dataset"] == dataset]).items():
                spec = group["spec"].iloc[0]
                protocol = "grouped" if spec.grouped else "folds"
                answers = _whole(dataset, protocol, group)
                # runs that two studies have count once
                known = any(its.equals(answers) for _, its in found.values())
                if answers is not None and not known:
                    found[dataset, protocol, f"{folder.name}/{method}"] = _trained(spec), answers
    return dict(sorted(found.items()))


def sent_in(root: Path) -> Entrants:
    """{(set, protocol, name): (what its author says, its p_positive by path)} of the submissions
    below `root`. Raises ValueError for one that lacks a picture or that line, and what `read_sheet`
    raises."""
    found: Entrants = {}
    for file in sorted((root / FOLDER / "submissions").glob("*/*.csv")):
        dataset, _, protocol = file.parent.name.partition("-")
        if dataset not in splits.listed_sets() or protocol not in splits.protocols(dataset):
            raise ValueError(f"{file.parent}: no set and protocol, such as twitter1-folds")
        about = file.with_suffix(".md")
        said = about.read_text("utf-8").strip().split("\n")[0] if about.is_file() else ""
        said = said.replace("|", "/")  # it is a cell of a table
        if not said:
            raise ValueError(f"{about}: one line is needed: what the system is, and where its code")
        sheet = read_sheet(file, dataset, protocol)
        if not sheet.whole:
            wrong = [*sheet.missing, *sheet.foreign, *sheet.unclear]
            raise ValueError(f"{file}: {len(wrong)} pictures are missing or foreign: {wrong[0]}")
        found[dataset, protocol, file.stem] = said, sheet.tested.set_index("path")["p_positive"]
    return found


def in_short(system: str) -> str:
    """A system's name in figures: its method in words, and the study it is from."""
    study, slash, method = system.rpartition("/")
    return f"{readable(method)} ({study})" if slash else system


def _rows(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of Tables 7, 8 and 9 that a study has of one set, by name."""
    found = runs_by_row(9, runs)
    own = set(found["maiafa"]["id"]) if "maiafa" in found else set()
    for number in (7, 8):
        more = {m: g for m, g in runs_by_row(number, runs).items() if m != "normal"}
        found |= {m: g for m, g in more.items() if own != set(g["id"])}
    return {m: g for m, g in found.items() if len(g)}


def _whole(dataset: str, protocol: str, group: pd.DataFrame) -> pd.Series | None:
    """p_positive by path of the lowest seed's runs; None where they do not test all pictures of the
    protocol in its folds, or have other labels."""
    seeds = group["spec"].map(lambda s: s.seed)
    first = group[seeds == seeds.min()]
    spec: RunSpec = first["spec"].iloc[0]
    if protocol not in splits.protocols(dataset) or spec.labels != "keyword" or spec.agree != 3:
        return None
    listed = splits.tested(dataset, protocol).set_index("path")["fold"]
    parts = [read_csv(folder / "predictions.csv") for folder in first["folder"]]
    folds = np.repeat([s.fold for s in first["spec"]], [len(part) for part in parts])
    answers = pd.concat(parts).assign(path=lambda f: f["path"].astype(str)).set_index("path")
    same = answers.index.is_unique and set(answers.index) == set(listed.index)
    same = same and bool((listed[answers.index].to_numpy() == folds).all())
    return answers["p_positive"].reindex(listed.index) if same else None


def _trained(spec: RunSpec) -> str:
    """How a run was trained, in a few words."""
    where = spec.backbone or "no backbone"
    if system_of(spec.model).fitted:
        how = "fitted"
    else:
        how = f"{spec.epochs} epochs at {spec.lr:g}" + ", backbone frozen" * bool(spec.freeze)
    before = "".join(f", after {stage}" for stage in spec.stages)
    return f"{where}, {spec.image_size} px, {how}{before}"
