"""What is wrong with a copy of the sets: pictures that repeat, above all across folds.

Works on manifests (`manifest.manifest`): identical pictures have the same sha256, near-twins
perceptual hashes (pHash, 64 bits, the ImageHash library) that differ in at most NEAR bits.
"""

import itertools

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..base.emotions import ROI_POSITIVE
from ..spec.sets import in_words
from .layouts.common import NEUTRAL

FILE = "audit.csv"  # of a study, what `audit` found in its sets
NEAR = 6  # bits of 64; unrelated photographs differ in 32 on average
BLOCK = 1024  # rows compared with all others at a time
FINDING_COLUMNS = "finding dataset path label other_dataset other_path other_label".split()
FINDING_COLUMNS += ["distance", "conflict", "leaks", "detail"]


def twins(ours: pd.DataFrame, others: pd.DataFrame | None = None, near: int = NEAR) -> pd.DataFrame:
    """All pairs of readable pictures that are identical or near-twins.

    ours, others: manifests; without `others` pairs within `ours`, each once. Returns columns a, b
    (row positions), distance (bits) and identical (the same bytes), nearest pairs first.
    """
    within = others is None
    others = ours if others is None else others
    hashes, other_hashes = _hashes(ours), _hashes(others)
    rows, other_rows = (np.flatnonzero(f["status"].to_numpy() == "ok") for f in (ours, others))
    found = []
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        bits = np.bitwise_count(hashes[part, None] ^ other_hashes[None, other_rows])
        i, j = np.nonzero(bits <= near)
        found.append(np.stack([part[i], other_rows[j], bits[i, j]], axis=1))
    a, b, distance = np.concatenate(found or [np.empty((0, 3), int)]).astype(int).T
    keep = a < b if within else np.ones(len(a), bool)
    pairs = pd.DataFrame({"a": a[keep], "b": b[keep], "distance": distance[keep]})
    content, other_content = ours["sha256"].to_numpy(), others["sha256"].to_numpy()
    pairs["identical"] = content[pairs["a"]] == other_content[pairs["b"]]
    order = ["identical", "distance", "a", "b"]
    return pairs.sort_values(order, ascending=[False, True, True, True], ignore_index=True)


def twin_groups(frame: pd.DataFrame) -> np.ndarray:
    """A group number for each picture of a manifest: twins, and twins of twins, share one."""
    pairs = twins(frame)
    links = coo_array((np.ones(len(pairs)), (pairs["a"], pairs["b"])), shape=(len(frame),) * 2)
    return connected_components(links, directed=False)[1]


def linked(frame: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Row positions in the manifest `frame` of what would share a group with a picture of the
    manifest `others` in `twin_groups` of both."""
    found, new = np.zeros(len(frame), bool), others
    while len(new):
        fresh = np.setdiff1d(twins(new, frame)["b"], np.flatnonzero(found))
        found[fresh] = True
        new = frame.iloc[fresh]
    return np.flatnonzero(found)


def audit(datasets: list, frames: dict[str, pd.DataFrame], image_size: int = 224) -> pd.DataFrame:
    """Everything found, one row a finding (FINDING_COLUMNS); `frames` are the sets' manifests.

    Of one picture: "unreadable"; "smaller than the crop" (short side below `image_size` px); "in no
    fold"; "valence against keyword", where EmotionROI's measured valence contradicts its folder.
    Of pairs within a set or between two: "identical" and "near-twin". `conflict` says that their
    known labels differ, `leaks` which folds' test and training lists they connect.
    """
    found = []
    for data in datasets:
        found += _single(data, frames[data.name], image_size)
        found += _pairs(data, data, frames)
    # what the pre-training set shows of a fine-tuning set's pictures
    for data, other in itertools.combinations(datasets, 2):
        found += _pairs(data, other, frames)
    return pd.DataFrame(found, columns=FINDING_COLUMNS)


def summary(datasets: list, found: pd.DataFrame) -> pd.DataFrame:
    """A column a set: how many of each finding, and how many test pictures have a twin."""
    columns = {}
    for data in datasets:
        own = found[found["dataset"] == data.name]
        within = own[own["other_dataset"] == data.name]
        same, near = within["finding"] == "identical", within["finding"] == "near-twin"
        conflict = within["conflict"].astype(bool)  # text where no finding is a pair
        # with the sets of `datasets` that come before this one (FI, for the small sets), then after
        before = (found["other_dataset"] == data.name) & (found["dataset"] != data.name)
        across = int(before.sum() + (own["other_dataset"] > "").sum() - len(within))
        columns[data.name] = {
            "pictures": len(data),
            "unreadable": int((own["finding"] == "unreadable").sum()),
            "smaller than the crop": int((own["finding"] == "smaller than the crop").sum()),
            "in no fold": int((own["finding"] == "in no fold").sum()),
            "identical pairs": int(same.sum()),
            "identical pairs with different labels": int(conflict[same].sum()),
            f"near-twin pairs (pHash ≤ {NEAR}), identical ones apart": int(near.sum()),
            "near-twin pairs with different labels": int(conflict[near].sum()),
            "test pictures over all folds": sum(len(test) for _, test in data.folds()),
            "… with an identical one in training": _leaking(data, within[same]),
            f"… with a twin in training (pHash ≤ {NEAR})": _leaking(data, within),
            "twins in another set": across,
            "valence against keyword": int((own["finding"] == "valence against keyword").sum()),
        }
    return pd.DataFrame(columns).rename_axis("")


def pairs(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The pairs by title, nearest first. Each set's come first: those with two labels, those that
    leak, the others. Then come the pairs between two sets."""
    found = found[found["other_path"] != ""]
    kinds = {}
    for (name, other), of_sets in found.groupby(["dataset", "other_dataset"], sort=False):
        conflict, leak = of_sets["conflict"].astype(bool), of_sets["leaks"] != ""
        sets = " and ".join(in_words(one) for one in dict.fromkeys((name, other)))
        for kind, chosen in (
            ("twins with different labels", conflict),
            ("twins across training and test", leak & ~conflict),
            ("other twins", ~leak & ~conflict),
        ):
            if chosen.any():
                kinds[f"{sets}: {kind} ({chosen.sum()})"] = of_sets[chosen]
    return kinds


def _hashes(frame: pd.DataFrame) -> np.ndarray:
    return np.array([int(h or "0", 16) for h in frame["phash"]], np.uint64)


def _row(finding: str, data, i: int) -> dict:
    row = dict.fromkeys(FINDING_COLUMNS, "") | {"finding": finding, "dataset": data.name}
    return row | {"path": data.names[i], "label": int(data.labels[i])}


def _single(data, frame: pd.DataFrame, image_size: int) -> list[dict]:
    """Findings about one picture each."""
    readable = (frame["status"] == "ok").to_numpy()
    short = (frame[["width", "height"]].min(axis=1) < image_size).to_numpy()
    sides = zip(frame["width"], frame["height"], strict=True)
    sizes = [f"{w}×{h} px, crop {image_size}" for w, h in sides]
    in_no_fold = np.ones(len(data), bool)
    for train, test in data.folds():
        in_no_fold[train] = in_no_fold[test] = False
    findings = [
        ("unreadable", ~readable, frame["status"].tolist()),
        ("smaller than the crop", readable & short, sizes),
        ("in no fold", in_no_fold, [""] * len(data)),
    ]
    if data.extra is not None and "labels" in data.options:
        valence = data.extra["valence"].to_numpy()
        positive = np.isin(data.emotions, ROI_POSITIVE)
        against = (valence != NEUTRAL) & ((valence > NEUTRAL) != positive)
        findings.append(("valence against keyword", against, [f"valence {v:g}" for v in valence]))
    return [
        _row(finding, data, i) | {"detail": details[i]}
        for finding, where, details in findings
        for i in np.flatnonzero(where).tolist()
    ]


def _pairs(data, other, frames: dict) -> list[dict]:
    """Twins within a set (other is data) or between two."""
    within = other is data
    pairs = twins(frames[data.name], None if within else frames[other.name])
    sides = _sides(data)
    found = []
    for pair in pairs.itertuples():
        row = _row("identical" if pair.identical else "near-twin", data, pair.a)
        other_label = int(other.labels[pair.b])
        row |= {"other_dataset": other.name, "other_path": other.names[pair.b]}
        row |= {"other_label": other_label, "distance": pair.distance}
        both_known = min(row["label"], other_label) >= 0
        row["conflict"] = both_known and row["label"] != other_label
        if within:
            apart = sides[:, pair.a] * sides[:, pair.b] == -1
            row["leaks"] = " ".join(map(str, np.flatnonzero(apart)))
        found.append(row)
    return found


def _sides(data) -> np.ndarray:
    """folds×pictures: 1 in training, −1 in test, 0 in neither."""
    folds = data.folds()
    sides = np.zeros((len(folds), len(data)), int)
    for k, (train, test) in enumerate(folds):
        sides[k, train], sides[k, test] = 1, -1
    return sides


def _leaking(data, pairs: pd.DataFrame) -> int:
    """Test pictures, over all folds, that one of the pairs connects to their training list."""
    index, sides = {name: i for i, name in enumerate(data.names)}, _sides(data)
    leaking = set()
    for pair in pairs[pairs["leaks"] != ""].itertuples():
        both = index[pair.path], index[pair.other_path]
        folds = [int(fold) for fold in pair.leaks.split()]
        leaking |= {(fold, i) for fold in folds for i in both if sides[fold, i] == -1}
    return len(leaking)
