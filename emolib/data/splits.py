"""Names, labels and folds of the sets whose lists are public, without their pictures.

`lists/`*set*`.csv` has a row a picture: path, label (1 positive), group (of a near-twin the path
of the first one), and a column a protocol (`PROTOCOLS`) with the number of the fold that tests the
picture, "train" where it is only learnt from, and nothing where the protocol leaves it out.
`lists/README.md` says whose lists they are.
"""

import functools
import json
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ..base.emotions import FI_POSITIVE
from . import audit
from .datasets import Dataset, open_dataset
from .layouts.common import SUFFIXES, case_folded
from .manifest import manifest

LISTS = Path(__file__).with_name("lists")
PROTOCOLS = {
    "folds": "five folds",
    "folds-four-agree": "five public folds of what four of five voters agree on",
    "folds-five-agree": "five public folds of what all five voters agree on",
    "grouped": "five folds that keep near-twins on one side",
    "split": "the usual single split",
}
FACTS = ["path", "label", "group"]
FOREIGN, UNCLEAR = -1, -2  # of a name: not in the list; several pictures may be meant


def listed_sets() -> list[str]:
    """The sets that have a list."""
    return sorted(file.stem for file in LISTS.glob("*.csv"))


@functools.cache
def _read(dataset: str) -> pd.DataFrame:
    return pd.read_csv(LISTS / f"{dataset}.csv", dtype=str, keep_default_na=False)


def protocols(dataset: str) -> list[str]:
    """The protocols of a set's list. Raises ValueError for a set without a list."""
    if dataset not in listed_sets():
        raise ValueError(f"no list of the set {dataset!r}; there are {', '.join(listed_sets())}")
    return [name for name in _read(dataset) if name not in FACTS]


def tested(dataset: str, protocol: str = "folds") -> pd.DataFrame:
    """The test pictures of a protocol: path, label, group, fold, of_fold, how many its fold tests,
    and trained, how many pictures the fold's networks may learn from. Raises ValueError for a set
    or protocol that is not there."""
    if protocol not in protocols(dataset):
        known = ", ".join(protocols(dataset))
        raise ValueError(f"{dataset} has no protocol {protocol!r}; it has {known}")
    frame = _read(dataset)
    part = frame[protocol]
    found = frame.loc[part.str.isdigit(), FACTS].reset_index(drop=True)
    found["group"] = found["group"].where(found["group"] != "", found["path"])
    found["fold"] = part[part.str.isdigit()].astype(int).to_numpy()
    own = found["fold"].map(found["fold"].value_counts())
    extra = len(part[part != ""]) - len(found)
    found["label"] = found["label"].astype(int)
    return found.assign(of_fold=own, trained=len(found) - own + extra)


def every_path(dataset: str) -> pd.Series:
    """The paths of all pictures of a set's list, tested or not."""
    protocols(dataset)
    return _read(dataset)["path"]


def positions(names, paths) -> np.ndarray:
    """Of each name the position in `paths` of the picture that it means. Case, suffix and leading
    folders may differ; `FOREIGN` where it means none, `UNCLEAR` where it may mean several."""
    index: dict[str, int] = {}
    for i, path in enumerate(paths):
        for tail in _tails(path):
            index[tail] = UNCLEAR if tail in index else i
    hits = ((index[t] for t in _tails(name) if t in index) for name in names)
    return np.array([next(hit, FOREIGN) for hit in hits], int)


def _tails(name: str) -> list[str]:
    """A path without its suffix, and what remains of it folder by folder, the longest first."""
    path = PurePosixPath(case_folded(str(name).replace("\\", "/")))
    parts = (path.with_suffix("") if path.suffix in SUFFIXES else path).parts
    return ["/".join(parts[k:]) for k in range(len(parts))]


def made(dataset: str, data_root) -> pd.DataFrame:
    """The list of a set, from a copy of it (fi: from fi_lists/, which has no pictures)."""
    return {"twitter1": _twitter1, "emotionroi": _emotionroi, "fi": _fi}[dataset](Path(data_root))


def _twitter1(root: Path) -> pd.DataFrame:
    data = open_dataset("twitter1", root)
    found = _with_groups(data)
    for agree, name in ((3, "folds"), (4, "folds-four-agree"), (5, "folds-five-agree")):
        part = open_dataset("twitter1", root, agree=agree)
        found[name] = _folds(part, found["path"])
    return found[[*FACTS, "folds", "folds-four-agree", "folds-five-agree", "grouped"]]


def _emotionroi(root: Path) -> pd.DataFrame:
    data = open_dataset("emotionroi", root)
    found = _with_groups(data).assign(folds=_folds(data, data.names))
    usual = open_dataset("emotionroi", root, split="usual")
    found["split"] = _folds(usual, found["path"])
    return found[[*FACTS, "folds", "grouped", "split"]]


def _fi(root: Path) -> pd.DataFrame:
    rows = []
    for part, value in (("train", "train"), ("test", "0")):
        for path, _ in json.loads((root / f"fi_lists/{part}.json").read_text("utf-8")):
            positive = path.partition("/")[0].lower() in FI_POSITIVE
            rows.append({"path": path, "label": int(positive), "group": "", "split": value})
    return pd.DataFrame(rows).sort_values("path", ignore_index=True)


def _with_groups(data: Dataset) -> pd.DataFrame:
    """path, label, group and the folds that keep groups together."""
    twins = audit.twin_groups(manifest(data))
    names = pd.Series(data.names)
    first = names.groupby(twins).transform("first")
    group = first.where(first != names, "")
    folds = _folds(data, data.names, data.folds(grouped=twins))
    return pd.DataFrame({"path": names, "label": data.labels, "group": group, "grouped": folds})


def _folds(data: Dataset, paths, folds=None) -> list[str]:
    """Of each path the number of the fold that tests it, "train" where folds only learn from it, ""
    where they do not know it."""
    folds = data.folds() if folds is None else folds
    found = {data.names[i]: "train" for train, _ in folds for i in train}
    for number, (_, test) in enumerate(folds):
        found |= {data.names[i]: str(number) for i in test}
    return [found.get(path, "") for path in paths]
