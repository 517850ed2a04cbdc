"""Twitter_LDL (Yang et al., AAAI 2017): laid out as Flickr_LDL is."""

from pathlib import Path

from .common import Listing, layout
from .flickr_ldl import IN_WORDS, counted, cut_in_two, of_counts, of_parts


@layout("twitter_ldl", IN_WORDS[counted], counted)
def twitter_votes(folder: Path, agree: int) -> Listing:
    return of_counts("twitter_ldl", folder)


@layout("twitter_ldl", IN_WORDS[cut_in_two], cut_in_two)
def twitter_parts(folder: Path, agree: int) -> Listing:
    return of_parts("twitter_ldl", folder)
