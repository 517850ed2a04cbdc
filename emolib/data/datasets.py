"""The labelled sets of `spec.sets`, one's own among them: pictures, labels, folds, fingerprint.
`layouts` reads the folders."""

import functools
import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, StratifiedKFold

from ..base.files import content
from ..spec.sets import DATASETS, SETS
from . import audit, layouts, tasks
from .layouts.common import AGREE, NEUTRAL, csv_rows, nfc, shown
from .manifest import EXCLUDED, manifest

Fold = tuple[np.ndarray, np.ndarray]  # indices: (trained on, tested)
DEMO_MARK = "DEMO_DATA.txt"  # written by demo.py into each set it draws


@dataclass(frozen=True, eq=False)
class Dataset:
    """One labelled set. `open_dataset` makes it; arrays are in the order of `paths`."""

    name: str
    root: Path  # the set's own folder
    paths: list[Path]
    labels: np.ndarray  # int, 1 = positive, 0 = negative, −1 = not known
    emotions: np.ndarray | None = None  # the finer classes, or None
    maps: list[Path] | None = None  # a stimuli map for each picture, or None
    official_folds: list[Fold] | None = None  # where the set brings its own
    layout: str = ""  # what was recognised on disk, in words
    extra: pd.DataFrame | None = None  # what else the set says, a row for each picture, or None
    options: dict = field(default_factory=dict)  # {"agree": 3}, … where `open_dataset` had a choice
    votes: tuple[str, ...] = ()  # the columns of `extra` that count people's votes for an emotion
    task: str = "polarity"  # what is learnt, one of `tasks.TASKS`
    least_votes: float = 0.2  # the share from which an emotion is one of several

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def names(self) -> list[str]:
        """Paths relative to the set's root, with forward slashes."""
        return [p.relative_to(self.root).as_posix() for p in self.paths]

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """What the answers of its task are of: the polarities, its emotions, …"""
        return tasks.TASKS[self.task].classes(self)

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """What is learnt of each picture: n int64, or n×classes float32."""
        return tasks.TASKS[self.task].targets(self)

    @property
    def has_polarity(self) -> bool:
        """Whether the set says of each picture which polarity it has."""
        return bool((self.labels >= 0).all())

    @functools.cached_property
    def demo(self) -> bool:
        """Whether some of these are emolib's drawn stand-ins."""
        folders = {path.parent for path in self.paths}
        above = {one for folder in folders for one in (folder / "_").absolute().parents}
        return any((one / DEMO_MARK).exists() for one in above)

    def without(self, drop) -> "Dataset":
        """The same set without the pictures at the indices `drop`; its own folds lose them too."""
        keep = np.delete(np.arange(len(self)), np.asarray(drop, int))
        new = np.full(len(self), -1)
        new[keep] = np.arange(len(keep))
        folds = self.official_folds and [
            (new[train][new[train] >= 0], new[test][new[test] >= 0])
            for train, test in self.official_folds
        ]
        return replace(
            self,
            paths=[self.paths[i] for i in keep],
            labels=self.labels[keep],
            emotions=None if self.emotions is None else self.emotions[keep],
            maps=None if self.maps is None else [self.maps[i] for i in keep],
            official_folds=folds,
            extra=None if self.extra is None else self.extra.iloc[keep].reset_index(drop=True),
        )

    def folds(self, seed: int = 0, grouped=False, official: bool = True) -> list[Fold]:
        """[(train, test), …]: the set's own folds, else five stratified ones from `seed`; with
        `official=False` as many stratified ones also where the set has its own.

        FI: one pair, 85% and 15% at random; `validation` says which of the 85% are the paper's 5%.
        EmoSet: one pair too, its own.

        `grouped=True` keeps near-twins (`audit.twin_groups`, which reads every picture) on one
        side; an array of a group's number for each picture keeps those groups. The folds are then
        StratifiedGroupKFold's, as many as the set's own; FI's GroupShuffleSplit's, 15% of the
        groups. Raises ValueError where an array has not one number a picture, and where there are
        too few pictures for so many folds.
        """
        groups, one = self._groups(grouped), SETS[self.name]
        if one.folds == 1 and groups is None and self.official_folds:
            return self.official_folds
        if one.folds == 1:
            share = one.shares[2]
            if groups is None:
                order = np.random.default_rng(seed).permutation(len(self))
                test, train = np.split(order, [round(share * len(self))])
            else:
                split = GroupShuffleSplit(1, test_size=share, random_state=seed)
                train, test = next(split.split(groups, groups=groups))
            return [(np.sort(train), np.sort(test))]
        own = self.official_folds or []
        if groups is not None and len(own) == 1:
            raise ValueError(f"{self.name}: a single split cannot keep near-twins together")
        count = len(own) if len(own) > 1 else one.folds
        if groups is None and own and official:
            return own
        self._check_enough(count)
        how = StratifiedKFold if groups is None else StratifiedGroupKFold
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            split = how(count, shuffle=True, random_state=seed)
            return list(split.split(np.zeros(len(self)), self._classes(), groups))

    def _check_enough(self, folds: int) -> None:
        """A warning where a class has too few pictures for so many folds, ValueError where all
        have."""
        names, counts = np.unique(self._classes(), return_counts=True)
        name, fewest = names[counts.argmin()], counts.min()
        if counts.max() < folds:
            raise ValueError(
                f"{self.name}: {len(self)} pictures, no more than {counts.max()} of one class; "
                f"{folds} folds need {folds} of a class at least"
            )
        if fewest < folds:
            what = name if isinstance(name, str) else f"label {name}"
            warnings.warn(
                f"{self.name}: {what} has only {fewest} of the {len(self)} pictures: of {folds} "
                "folds some test none of them" + " and one learns none" * int(fewest == 1),
                stacklevel=3,
            )

    def validation(self, fold: int, seed: int = 0, grouped=False) -> np.ndarray | None:
        """Indices to take out of that fold's training part for validation (FI's 5%), or None. With
        `grouped`, whole groups by GroupShuffleSplit, about as many pictures."""
        count = SETS[self.name].shares[1] * len(self)
        if not count:
            return None
        groups = self._groups(grouped)
        train, _ = self.folds(seed, groups)[fold]
        if groups is None:
            order = np.random.default_rng([seed, 1]).permutation(train)
            return np.sort(order[: round(count)])
        random = np.random.RandomState([seed, 1])
        split = GroupShuffleSplit(1, test_size=count / len(train), random_state=random)
        _, chosen = next(split.split(train, groups=groups[train]))
        return np.sort(train[chosen])

    def part(self, indices: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
        """A `share` of `indices` at random: the same share of each class, at least one picture of
        each. A larger share of the same seed holds the smaller one."""
        if share == 1:
            return indices
        order = np.random.default_rng([seed, 2]).permutation(indices)
        classes = self._classes()[order]
        kept = [order[classes == c] for c in np.unique(classes)]
        return np.sort(np.concatenate([k[: max(1, round(share * len(k)))] for k in kept]))

    def fingerprint(self) -> str:
        """A hash over the names, contents and labels of all pictures."""
        return _hash(zip(self.names, self._contents(), self.labels.tolist(), strict=True))

    def pictures_hash(self) -> str:
        """A hash over the names and contents of all pictures, whatever their labels."""
        return _hash(zip(self.names, self._contents(), strict=True))

    def _contents(self) -> list[str]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(content, self.paths))

    def emotions_hash(self) -> str | None:
        """A hash over the finer emotions, which the fingerprint leaves out; None without any."""
        if self.emotions is None:
            return None
        return _hash(zip(self.names, map(str, self.emotions), strict=True))

    def targets_hash(self) -> str | None:
        """A hash over what is learnt, which the fingerprint leaves out; None for polarity."""
        if self.task == "polarity":
            return None
        rows = zip(self.names, map(str, self.targets.tolist()), strict=True)
        return _hash([("", str(self.classes)), *rows])

    def _classes(self) -> np.ndarray:
        """What folds are stratified by: the emotions where each has one label, else the labels."""
        if self.emotions is None:
            return self.labels
        pairs = set(zip(self.emotions.tolist(), self.labels.tolist(), strict=True))
        return self.emotions if len(pairs) == len(set(self.emotions.tolist())) else self.labels

    @functools.cached_property
    def _twins(self) -> np.ndarray:
        return audit.twin_groups(manifest(self))

    def _groups(self, grouped) -> np.ndarray | None:
        """A group's number for each picture, or None for False."""
        if grouped is None or grouped is False:
            return None
        grouped = self._twins if grouped is True else np.asarray(grouped)
        if grouped.shape != (len(self),):
            wanted = f"one number for each of {len(self)} pictures"
            raise ValueError(f"{self.name}: grouped has shape {grouped.shape}; expected {wanted}")
        return grouped


def open_dataset(
    name: str,
    root,
    agree: int = 3,
    labels: str = "keyword",
    split: str = "folds",
    task: str = "polarity",
    least_votes: float = 0.2,
) -> Dataset:
    """The set `name`, one of `spec.sets.SETS`, in the folder `root`/`name`.

    Every layout of `layouts` is recognised; FI's parts (train/, val/, test/) are joined,
    because the paper splits anew. `agree`: how many of five voters at least agreed (3, 4 or 5), for
    Twitter I and FI's CSV files. `labels`: EmotionROI's by the emotion searched for ("keyword") or
    by Emotion6's measured "valence", positive above 5; a picture at exactly 5 is neither and is
    left out, in a warning that names it. `split`: "usual" for the single split that others use,
    where the set brings one. Pictures in `excluded.csv` (path,reason) are left out.
    `task`: what is to be learnt of it, one of `tasks.TASKS`; `least_votes`: from which share of the
    votes on an emotion is one of several.

    Raises ValueError for an unknown name or a choice that the set does not offer, and
    FileNotFoundError or ValueError that names the file and the row where a set is missing, half
    copied or contradicts itself.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join(DATASETS)}")
    if agree not in AGREE:
        raise ValueError(f"agree={agree!r}: one of {', '.join(map(str, AGREE))}")
    if task not in tasks.TASKS:
        raise ValueError(f"task={task!r}: one of {', '.join(tasks.TASKS)}")
    if labels not in ("keyword", "valence"):
        raise ValueError(f"labels={labels!r}: one of keyword, valence")
    if split not in ("folds", "usual"):
        raise ValueError(f"split={split!r}: one of folds, usual")
    folder = Path(root) / name
    if not folder.is_dir():
        where = "(docs/sets.md says where to ask for it and how it is laid out)"
        wanted = f"data_root must hold {name}/ {where}"
        raise FileNotFoundError(f"{name}: there is no folder {folder}; {wanted}")
    listing = vars(layouts.read_layout(name, folder, agree))
    usual = listing.pop("usual")
    if split == "usual":
        if not usual:
            needs = "needs two lists, docs/sets.md says which; those of this set are not both there"
            raise ValueError(f"{name}: split='usual' {needs} ({folder} is {listing['layout']})")
        listing["official_folds"] = [usual]
        listing["layout"] += f", the usual split of {len(usual[0])} and {len(usual[1])}"
    data = Dataset(name, folder, **listing)
    if agree != 3 and "agree" not in data.options:
        needs = "needs to know how many voters agreed on each picture"
        silent = f"{folder} does not say ({data.layout})"
        raise ValueError(f"{name}: agree={agree} {needs}, and {silent}")
    data = without_excluded(data)
    data = _by_valence(data) if labels == "valence" else data
    data = replace(data, task=task, least_votes=least_votes)
    if task != "polarity":  # what is not asked for need not be there: own/ may have no label
        _ = data.targets
    return data


def held(root) -> list[str]:
    """The sets that the folder `root` holds."""
    return [name for name in DATASETS if (Path(root) / name).is_dir()]


def _hash(rows) -> str:
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:16]


def without_excluded(data: Dataset) -> Dataset:
    """`data` without the pictures in its `excluded.csv`, if there is one."""
    file = data.root / EXCLUDED
    if not os.path.lexists(file):
        return data
    index = {nfc(name): i for i, name in enumerate(data.names)}
    drop = set()
    for line, row in csv_rows(data.name, file, ("path", "reason")):
        name = nfc(row["path"])
        if name in index:
            drop.add(index[name])
        elif not _inside(data.root, row["path"]):  # on disk but unlabelled: nothing to do
            wrong = f"{shown(row['path'])}, which is not a path of a file in {data.root}"
            raise ValueError(f"{data.name}: {file} line {line} names {wrong}")
    layout = f"{data.layout}, {len(drop)} pictures left out by excluded.csv"
    return replace(data.without(sorted(drop)), layout=layout)


def _inside(folder: Path, name: str) -> bool:
    """Whether `name` is the path of a file relative to `folder`, in it."""
    path = PurePath(name)
    return not path.anchor and ".." not in path.parts and os.path.isfile(folder / path)


def _by_valence(data: Dataset) -> Dataset:
    """`data` labelled by its measured valence, without the pictures at the scale's middle."""
    if data.extra is None or "labels" not in data.options:
        needs = "needs emotionroi with Emotion6's ground_truth.txt"
        raise ValueError(f"{data.name}: labels='valence' {needs}; {data.root} is {data.layout}")
    valence = data.extra["valence"].to_numpy()
    middle = np.flatnonzero(valence == NEUTRAL)
    if len(middle):
        warnings.warn(
            f"{data.name}: {len(middle)} pictures have a valence of exactly {NEUTRAL:g}, neither "
            f"positive nor negative, and are left out: {', '.join(data.names[i] for i in middle)}",
            stacklevel=3,
        )
    layout = f"labels by valence ({len(middle)} pictures at exactly {NEUTRAL:g} left out)"
    layout, options = f"{data.layout}, {layout}", data.options | {"labels": "valence"}
    labels = (valence > NEUTRAL).astype(int)
    return replace(data, labels=labels, layout=layout, options=options).without(middle)
