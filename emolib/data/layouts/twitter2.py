"""Twitter II (Borth et al., ACM MM 2013): folders of polarity."""

from pathlib import Path

from . import polarity
from .common import Listing, layout


@layout("twitter2", "pos/ and neg/ (or positive/ and negative/)", polarity.two_folders)
def twitter2_folders(folder: Path, agree: int) -> Listing:
    return polarity.in_two_folders("twitter2", folder)


@layout("twitter2", "train/, val/ or test/ with positive/ and negative/ in each", polarity.parts)
def twitter2_parts(folder: Path, agree: int) -> Listing:
    return polarity.joined_parts("twitter2", folder)
