"""Where pictures and labels come from: FI, Twitter I and EmotionROI as their owners lay them out.

One small function a set reads its folder into a `Dataset`; what follows never looks at folders.
"""

import functools
import hashlib
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from .files import sha256

FI_POSITIVE = ("amusement", "awe", "contentment", "excitement")
FI_NEGATIVE = ("anger", "disgust", "fear", "sadness")
ROI_POSITIVE = ("joy", "surprise")
ROI_NEGATIVE = ("anger", "disgust", "fear", "sadness")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
DEMO_MARK = "DEMO_DATA.txt"  # written by demo.py into each set it draws


@dataclass(frozen=True, eq=False)
class Dataset:
    """One labelled set. `open_dataset` makes it; arrays are in the order of `paths`."""

    name: str
    root: Path  # the set's own folder
    paths: list[Path]
    labels: np.ndarray  # int, 1 = positive, 0 = negative
    emotions: np.ndarray | None = None  # the finer classes, or None
    maps: list[Path] | None = None  # a stimuli map for each picture, or None
    official_folds: list | None = None  # [(train, test), …] where the set brings its own

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def names(self) -> list[str]:
        """Paths relative to the set's root, with forward slashes."""
        return [p.relative_to(self.root).as_posix() for p in self.paths]

    @property
    def demo(self) -> bool:
        """Whether these are emolib's drawn stand-ins."""
        return (self.root / DEMO_MARK).exists()

    def folds(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """[(train, test), …], indices: the set's own folds, else five stratified ones from `seed`.

        FI: one pair, 85% and 15% at random; `validation` says which of the 85% are the paper's 5%.
        """
        if self.name == "fi":
            order = np.random.default_rng(seed).permutation(len(self))
            cut = round(0.15 * len(self))
            return [(np.sort(order[cut:]), np.sort(order[:cut]))]
        if self.official_folds:
            return self.official_folds
        classes = self.labels if self.emotions is None else self.emotions
        split = StratifiedKFold(5, shuffle=True, random_state=seed)
        return list(split.split(np.zeros(len(self)), classes))

    def validation(self, fold: int, seed: int = 0) -> np.ndarray | None:
        """Indices to take out of that fold's training part for validation (FI's 5%), or None."""
        if self.name != "fi":
            return None
        train, _ = self.folds(seed)[fold]
        order = np.random.default_rng([seed, 1]).permutation(train)
        return np.sort(order[: round(0.05 * len(self))])

    def fingerprint(self) -> str:
        """A hash over the names, contents and labels of all pictures."""
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(_content, self.paths))
        rows = sorted(zip(self.names, digests, self.labels.tolist(), strict=True))
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def open_dataset(name: str, root) -> Dataset:
    """The set "fi", "twitter1" or "emotionroi" in the folder `root`/`name`.

    Raises ValueError for an unknown name, and FileNotFoundError or ValueError that names the file
    and the row where a set is missing, half copied or contradicts itself.
    """
    if name not in READERS:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join(READERS)}")
    folder = Path(root) / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{name}: there is no folder {folder}; data_root must hold {name}/ "
            "(README, “The three sets”, says where to ask for it and how it is laid out)"
        )
    return READERS[name](folder)


def held(root) -> list[str]:
    """The sets that the folder `root` holds."""
    return [name for name in READERS if (Path(root) / name).is_dir()]


def _fi(folder: Path) -> Dataset:
    return _emotion_folders("fi", folder, folder, FI_POSITIVE, FI_NEGATIVE)


def _emotionroi(folder: Path) -> Dataset:
    images = folder / "images"
    data = _emotion_folders("emotionroi", folder, images, ROI_POSITIVE, ROI_NEGATIVE)
    known = {p.relative_to(images).as_posix() for p in data.paths}
    for split in ("training", "testing"):  # not used for folds, but it tells a half-copied set
        file = folder / "training_testing_split" / f"{split}.txt"
        for row, line in enumerate(_lines(file) if file.exists() else (), start=1):
            if line.strip() not in known:
                raise ValueError(
                    f"emotionroi: training_testing_split/{split}.txt line {row} names "
                    f"{line.strip()!r}, which is not in {images}; copy the set again"
                )
    maps = folder / "ground_truth"
    if not maps.is_dir():
        return data
    files = [maps / p.relative_to(images) for p in data.paths]
    missing = [f for f in files if not f.exists()]
    if missing:
        raise FileNotFoundError(
            f"emotionroi: {len(missing)} of {len(files)} stimuli maps are not in {maps}, the first "
            f"is {missing[0].relative_to(maps)}; copy them again or move the folder away"
        )
    return Dataset(data.name, data.root, data.paths, data.labels, data.emotions, maps=files)


def _twitter1(folder: Path) -> Dataset:
    images = folder / "Agg_AMT_Candidates"
    if not images.is_dir():
        raise FileNotFoundError(f"twitter1: there is no folder {images}; copy the set again")
    truth = folder / "ground_truth"
    files = {unicodedata.normalize("NFC", p.name): p for p in _pictures(images)}
    labels = _label_file(truth / "twitter_three_agrees.txt", files, images)
    names = sorted(labels)
    data = Dataset(
        "twitter1",
        folder,
        [files[n] for n in names],
        np.array([labels[n] for n in names]),
        official_folds=_twitter1_folds(truth / "three_agrees", names, labels, images),
    )
    unlabelled = len(files) - len(names)
    if unlabelled:
        warnings.warn(
            f"twitter1: {unlabelled} pictures in {images} are not in twitter_three_agrees.txt "
            "and are left out",
            stacklevel=4,
        )
    return data


def _twitter1_folds(folder: Path, names: list[str], labels: dict, images: Path) -> list | None:
    """The public folds (Campos et al. 2017), or None where there are none at all."""
    if not folder.is_dir():
        return None
    index = {n: i for i, n in enumerate(names)}
    folds = []
    for number in range(1, 6):
        pair = []
        for part in ("train", "test"):
            file = folder / f"test{number}" / f"{part}.txt"
            pair.append(_label_file(file, labels, images, labels))
        both = pair[0].keys() & pair[1].keys()
        if both:
            raise ValueError(f"twitter1: {folder / f'test{number}'}: {min(both)} is in both lists")
        folds.append(tuple(np.array(sorted(index[n] for n in part)) for part in pair))
    return folds


def _label_file(file: Path, known, images: Path, agreed: dict | None = None) -> dict[str, int]:
    """{picture: label} from lines `<file> <0/1>`; each among `known`, none against `agreed`."""
    if not file.is_file():
        raise FileNotFoundError(f"twitter1: there is no file {file}; copy the set again")
    labels, agreed = {}, agreed or {}
    for row, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")  # names may hold spaces
        name = unicodedata.normalize("NFC", name.strip())
        if label not in ("0", "1") or not name:
            raise ValueError(f"twitter1: {file} line {row} is {line!r}; expected '<file> <0 or 1>'")
        if name not in known:
            raise ValueError(
                f"twitter1: {file} line {row} names {name!r}, which is not in {images}"
            )
        other = labels.get(name, agreed.get(name, int(label)))
        if other != int(label):
            raise ValueError(
                f"twitter1: {file} line {row} gives {name} the label {label}; it already has "
                f"{other} from {'an earlier line' if name in labels else 'three_agrees.txt'}"
            )
        labels[name] = int(label)
    if not labels:
        raise ValueError(f"twitter1: {file} is empty; copy the set again")
    return labels


def _emotion_folders(name: str, root: Path, images: Path, positive, negative) -> Dataset:
    """A set whose pictures lie in one folder an emotion (any case)."""
    found = {p.name.lower(): p for p in images.iterdir() if p.is_dir()} if images.is_dir() else {}
    paths, labels, emotions = [], [], []
    for emotion in sorted(positive + negative):
        pictures = _pictures(found[emotion]) if emotion in found else []
        if not pictures:
            raise FileNotFoundError(
                f"{name}: no pictures in {images / emotion}; the set has the folders "
                f"{', '.join(sorted(positive + negative))}"
            )
        paths += pictures
        labels += [int(emotion in positive)] * len(pictures)
        emotions += [emotion] * len(pictures)
    return Dataset(name, root, paths, np.array(labels), np.array(emotions))


def _pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; other files are named in a warning."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    other = [p.name for p in files if p.suffix.lower() not in SUFFIXES and p.name != "Thumbs.db"]
    if other:
        warnings.warn(f"{folder}: left out {len(other)} files such as {other[0]!r}", stacklevel=5)
    return [p for p in files if p.suffix.lower() in SUFFIXES]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 text ({error})") from error


def _content(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=200_000)
def _digest(path: Path, size: int, mtime: int) -> str:
    """The content's hash, computed once while size and time of change stay the same."""
    return sha256(path)


READERS = {"fi": _fi, "twitter1": _twitter1, "emotionroi": _emotionroi}
