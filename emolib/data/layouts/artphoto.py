"""ArtPhoto (Machajdik & Hanbury, ACM MM 2010): <emotion>_<number>.jpg in one folder."""

from pathlib import Path

from ...base.emotions import FI, FI_POSITIVE
from . import common
from .common import Listing, layout, shown

SPELT = {emotion: emotion for emotion in FI} | {"sad": "sadness", "content": "contentment"}


def pictures(folder: Path) -> list[Path]:
    """Those of testImages_artphoto/, or of the folder itself, whose names begin with an emotion."""
    inner = folder / "testImages_artphoto"
    found = common.picture_files(inner if inner.is_dir() else folder)
    return found if any(_emotion(path) in SPELT for path in found) else []


@layout("artphoto", "<emotion>_<number>.jpg (also in testImages_artphoto/)", pictures)
def named_files(folder: Path, agree: int) -> Listing:
    rows = []
    for path in pictures(folder):
        if _emotion(path) not in SPELT:
            known = ", ".join(SPELT)
            raise ValueError(f"artphoto: {path} is named {shown(_emotion(path))}, none of {known}")
        rows.append((path, SPELT[_emotion(path)]))
    return common.by_emotion(rows, FI_POSITIVE, layout="<emotion>_<number>.jpg")


def _emotion(path: Path) -> str:
    return path.name.partition("_")[0].lower()
