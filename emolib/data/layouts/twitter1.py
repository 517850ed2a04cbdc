"""Twitter I as people have it: the source's folders, a list beside images/, folders of polarity."""

import os
from pathlib import Path

import numpy as np

from . import common, polarity
from .common import AGREE, Listing, layout, shown


@layout(
    "twitter1",
    "Agg_AMT_Candidates/ with ground_truth/twitter_three_agrees.txt",
    lambda folder: (folder / "Agg_AMT_Candidates").is_dir(),
)
def source(folder: Path, agree: int) -> Listing:
    truth = folder / "ground_truth" / f"twitter_{AGREE[agree]}_agrees.txt"
    return _twitter_list(folder / "Agg_AMT_Candidates", truth, agree)


@layout("twitter1", "images/ with a list", lambda folder: (folder / "images").is_dir())
def beside_images(folder: Path, agree: int) -> Listing:
    """images/ and the usual lists, or one list of another name (`agree` then has no say)."""
    places = [p for p in (folder, folder / "ground_truth") if p.is_dir()]
    usual = [p / f"twitter_{AGREE[agree]}_agrees.txt" for p in places]
    lists = [p for p in usual if p.is_file()]
    if lists:
        return _twitter_list(folder / "images", lists[0], agree)
    lists = [p for place in places for p in sorted(place.glob("*.txt")) if common.is_list(p)]
    if len(lists) != 1 or any(w in lists[0].name for w in AGREE.values()):
        wanted = f"file {usual[0].name} and no single other list of lines '<file> <0 or 1>'"
        found = f"(lists found: {shown([p.name for p in lists])})"
        raise FileNotFoundError(f"twitter1: there is no {wanted} in {folder} {found}")
    return _twitter_list(folder / "images", lists[0], None)


def _twitter_list(images: Path, file: Path, agree: int | None) -> Listing:
    files = {common.nfc(p.name): p for p in common.picture_files(images)}
    labels = _label_file(file, files, images)
    names = sorted(labels)
    unlabelled = len(files) - len(names)
    if agree in (3, None):  # at four and five the rest has fewer votes, as it should
        common.warn_unlisted("twitter1", images, unlabelled, file.name)
    folds = _twitter_folds(file.parent / f"{AGREE[agree or 3]}_agrees", names, labels, images, file)
    place = "" if file.parent == images.parent else f"{file.parent.name}/"
    return Listing(
        [files[n] for n in names],
        np.array([labels[n] for n in names]),
        official_folds=folds,
        layout=f"{images.name}/ + {place}{file.name}, {'public' if folds else 'no public'} folds"
        + (f", {unlabelled} pictures not listed" if unlabelled else ""),
        options={"agree": agree} if agree else {},
    )


@layout("twitter1", "pos/ and neg/ (or positive/ and negative/)", polarity.two_folders)
def by_polarity(folder: Path, agree: int) -> Listing:
    return polarity.in_two_folders("twitter1", folder)


@layout(
    "twitter1",
    "1/ to 5/ (or total/1/ …), train/ and test/ in each, positive/ and negative/ in these",
    polarity.numbered,
)
def folds_as_folders(folder: Path, agree: int) -> Listing:
    return polarity.in_folds("twitter1", folder)


def _twitter_folds(folder: Path, names: list, labels: dict, images: Path, file: Path):
    """The public folds (Campos et al. 2017), or None where there are none at all."""
    if not os.path.lexists(folder):
        return None
    index, folds = {n: i for i, n in enumerate(names)}, []
    for number in range(1, 6):
        lists = (folder / f"test{number}" / f"{part}.txt" for part in ("train", "test"))
        pair = [_label_file(listed, labels, images, labels, file.name) for listed in lists]
        both = pair[0].keys() & pair[1].keys()
        if both:
            raise ValueError(f"twitter1: {folder / f'test{number}'}: {min(both)} is in both lists")
        folds.append(tuple(np.array(sorted(index[n] for n in part)) for part in pair))
    return folds


def _label_file(file: Path, known, images: Path, agreed=None, source="") -> dict[str, int]:
    """{picture: label} from lines `<file> <0/1>`; each among `known`, none against `agreed`."""
    if not file.is_file():
        raise FileNotFoundError(f"twitter1: there is no file {file}; copy the set again")
    labels: dict[str, int] = {}
    agreed = agreed or {}
    for row, line in common.filled_lines(file):
        here = f"twitter1: {file} line {row}"
        name, label = common.name_and_label(common.nfc(line))
        if label not in ("0", "1") or not name:
            raise ValueError(f"{here} is {shown(line)}; expected '<file> <0 or 1>'")
        if name not in known:
            where = f"{images} with a label in {source}" if source else images
            raise ValueError(f"{here} names {shown(name)}, which is not in {where}")
        other = labels.get(name, agreed.get(name, int(label)))
        if other != int(label):
            first = f"{other} from {'an earlier line' if name in labels else source}"
            raise ValueError(f"{here} gives {name} the label {label}; it already has {first}")
        labels[name] = int(label)
    if not labels:
        raise ValueError(f"twitter1: {file} is empty; copy the set again")
    return labels
