"""How the sets lie on disk: one small function a layout turns a folder into `Pictures`.

`LAYOUTS` says for each set what is looked for, how it is recognised and who reads it. Readers
raise FileNotFoundError or ValueError that names the file and the row; none guesses a label.
"""

from pathlib import Path

from . import emotionroi, fi, own, twitter1
from .common import FI, ROI_NEGATIVE, ROI_POSITIVE, Listing, has, shortened

# What is looked for, how it is recognised, who reads it.
LAYOUTS = {
    "fi": [
        (
            "eight emotion folders (amusement/, …)",
            lambda f: has(FI, f) and fi.without_lists(f),
            fi.fi_folders,
        ),
        (
            "train/, val/ or test/ with the emotion folders in each",
            lambda f: any(has(FI, p) for _, p in fi.fi_parts(f)) and fi.without_lists(f),
            fi.in_parts,
        ),
        ("lists (*.json of [path, class], *.txt of '<path> <label>')", fi.list_files, fi.lists),
        ("the source's CSV files of URLs and votes (amusement.csv, …)", fi.vote_files, fi.votes),
    ],
    "twitter1": [
        (
            "Agg_AMT_Candidates/ with ground_truth/twitter_three_agrees.txt",
            lambda f: (f / "Agg_AMT_Candidates").is_dir(),
            twitter1.source,
        ),
        ("images/ with a list", lambda f: (f / "images").is_dir(), twitter1.beside_images),
        (
            "pos/ and neg/ (or positive/ and negative/)",
            twitter1.polarity,
            twitter1.by_polarity,
        ),
    ],
    "emotionroi": [
        (
            "images/ with six emotion folders (anger/, …)",
            lambda f: has(ROI_POSITIVE + ROI_NEGATIVE, f / "images"),
            emotionroi.in_images,
        ),
        (
            "six emotion folders (anger/, …)",
            lambda f: has(ROI_POSITIVE + ROI_NEGATIVE, f),
            emotionroi.in_folders,
        ),
    ],
    "own": [
        (
            "labels.csv with the columns path,label[,fold][,emotion]",
            lambda f: (f / "labels.csv").is_file(),
            own.own_labels,
        )
    ],
}


def read_layout(name: str, folder: Path, agree: int = 3) -> Listing:
    """What `folder` holds of the set `name`, in the one layout of `LAYOUTS` that it has.

    Raises FileNotFoundError where it has none, ValueError where it has several, and what the
    reader raises.
    """
    there = [(what, reader) for what, recognised, reader in LAYOUTS[name] if recognised(folder)]
    if len(there) == 1:
        return there[0][1](folder, agree)
    entries = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    held = shortened(", ".join(entries[:12]) + (", …" if len(entries) > 12 else "")) or "nothing"
    if there:
        raise ValueError(
            f"{name}: {folder} has several layouts at once, {' and '.join(w for w, _ in there)}; "
            f"move all but one away (it holds {held})"
        )
    wanted = "; or ".join(what for what, _, _ in LAYOUTS[name])
    raise FileNotFoundError(f"{name}: {folder} holds {held}; looked for {wanted}")
