"""Emotion6 (Peng et al., CVPR 2015): EmotionROI's pictures, always with the measured valence."""

from pathlib import Path

from ...base.emotions import ROI
from . import common
from .common import Listing, layout
from .emotionroi import six_folders


@layout(
    "emotion6",
    "ground_truth.txt and images/ with six emotion folders (anger/, …)",
    lambda folder: common.has(ROI, folder / "images") and (folder / "ground_truth.txt").is_file(),
)
def emotion6_source(folder: Path, agree: int) -> Listing:
    return six_folders("emotion6", folder, folder / "images")
