"""EmotionROI as people have it, with its stimuli maps and Emotion6's measured valence."""

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd

from ...base.emotions import ROI, ROI_POSITIVE
from . import common, polarity
from .common import MEASURED, SCALE, SUFFIXES, VOTED, Listing, layout, shown


@layout("emotionroi", "six emotion folders (anger/, …)", lambda folder: common.has(ROI, folder))
@layout(
    "emotionroi",
    "images/ with six emotion folders (anger/, …)",
    lambda folder: common.has(ROI, folder / "images"),
)
def in_folders(folder: Path, agree: int) -> Listing:
    images = folder / "images" if common.has(ROI, folder / "images") else folder
    return six_folders("emotionroi", folder, images)


def six_folders(name: str, folder: Path, images: Path) -> Listing:
    """Pictures in six emotion folders below `images`, with what lies beside them in `folder`."""
    pictures = common.emotion_folders(name, images, ROI, ROI_POSITIVE)
    names = [common.nfc(p.relative_to(images).as_posix()) for p in pictures.paths]
    index = {common.case_folded(name): i for i, name in enumerate(names)}
    pictures.usual = _usual(name, folder / "training_testing_split", index, images)
    if images != folder:
        pictures.layout = f"images/ with {pictures.layout}"
    if (folder / "ground_truth").is_dir():
        pictures.maps = _maps(name, folder / "ground_truth", images, pictures.paths)
        pictures.layout += ", stimuli maps in ground_truth/"
    if os.path.lexists(folder / "ground_truth.txt"):
        pictures.extra = _measured(name, folder / "ground_truth.txt", names, index, images)
        pictures.layout += ", measured valence in ground_truth.txt"
        pictures.options, pictures.votes = {"labels": "keyword"}, VOTED
    return pictures


@layout("emotionroi", "train/, val/ or test/ with positive/ and negative/ in each", polarity.parts)
def roi_polarity_in_parts(folder: Path, agree: int) -> Listing:
    """Without the finer emotions, maps and measured valence."""
    return polarity.joined_parts("emotionroi", folder)


def _usual(name: str, folder: Path, index: dict, images: Path) -> tuple | None:
    """Indices (trained on, tested) of the split in `folder`, None where a list of it is missing. A
    list that names a picture that is not there tells a half-copied set."""
    parts, seen = [], set()
    for part in ("training", "testing"):
        file, rows = folder / f"{part}.txt", []
        for row, line in common.filled_lines(file) if os.path.lexists(file) else ():
            key = common.case_folded(line.strip())
            if key not in index or key in seen:
                wrong = "a second time" if key in seen else f"which is not in {images}"
                here = f"{name}: {file} line {row} names {shown(line.strip())}, {wrong}"
                raise ValueError(f"{here}; copy the set again")
            seen.add(key)
            rows.append(index[key])
        parts.append(np.sort(np.array(rows, int)))
    return tuple(parts) if all(map(len, parts)) else None


def _maps(name: str, folder: Path, images: Path, paths: list[Path]) -> list[Path]:
    found, emotions = common.subfolders(folder), [p.relative_to(images).parts[0] for p in paths]
    of_emotion = [found.get(emotion.lower(), folder / emotion) for emotion in emotions]
    files = [place / path.name for place, path in zip(of_emotion, paths, strict=True)]
    if missing := [f.relative_to(folder) for f in files if not f.exists()]:
        many = f"{len(missing)} of {len(files)} stimuli maps are not in {folder}"
        advice = "copy them again or move the folder away"
        raise FileNotFoundError(f"{name}: {many}, the first is {missing[0]}; {advice}")
    return files


def _measured(
    dataset: str, file: Path, names: list[str], index: dict, images: Path
) -> pd.DataFrame:
    """Emotion6's valence and arousal (1 to 9) and shares of votes, a row for each of `names`."""
    columns, rows = list(MEASURED), {}
    for row, line in common.filled_lines(file):
        here, cells = f"{dataset}: {file} line {row}", [cell.strip() for cell in line.split("\t")]
        name = cells.pop(0)
        if row == 1 and Path(name).suffix.lower() not in SUFFIXES:
            columns = [c.strip("[] ").lower().removeprefix("prob.").strip() for c in cells]
            if not set(MEASURED) <= set(columns) or len(set(columns)) < len(columns):
                wanted = f"a name and {', '.join(MEASURED)}, parted by tabs"
                raise ValueError(f"{here} is {shown(line)}; expected {wanted}")
            continue
        key = common.case_folded(name)
        if key not in index or key in rows:
            wrong = "as an earlier line does" if key in rows else f"not in {images}"
            raise ValueError(f"{here} names {shown(name)}, {wrong}")
        try:
            values = dict(zip(columns, map(float, cells), strict=True))
        except ValueError as error:
            raise ValueError(f"{here} is {shown(line)} ({common.shortened(str(error))})") from error
        if not all(map(math.isfinite, values.values())):
            raise ValueError(f"{here} is {shown(line)}, not all numbers")
        for measure in ("valence", "arousal"):
            if not SCALE[0] <= values[measure] <= SCALE[1]:
                scale = "Emotion6's scale from 1 to 9"
                raise ValueError(f"{here}: {measure} {values[measure]:g} is not on {scale}")
        if wrong := common.wrong_votes([values[name] for name in VOTED]):
            raise ValueError(f"{here} {wrong}")
        rows[key] = values
    missing = [name for name in names if common.case_folded(name) not in rows]
    if missing:
        many = f"{len(missing)} of {len(names)} pictures, the first is {missing[0]!r}"
        raise ValueError(f"{dataset}: {file} has no line for {many}")
    return pd.DataFrame([rows[common.case_folded(name)] for name in names])[list(MEASURED)]
