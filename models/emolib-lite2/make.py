"""Makes the network in this folder, and what its card says, from Twitter I and EmotionROI.

    python models/emolib-lite2/make.py DATA_ROOT WEIGHTS WORK

DATA_ROOT holds twitter1/ and emotionroi/ (with Emotion6's ground_truth.txt), WEIGHTS is a file or
folder of the backbone's ImageNet weights, WORK a folder for copies of the pictures. Half an hour
on two cores; killed, it goes on.

1. WORK/own: the pictures of both sets and their labels.csv. Twitter I's labels are those on which
   at least three of five people agree. EmotionROI's are by measured valence, because the keyword
   of a search is no polarity; at exactly 5 a picture is left out. So are near-twins: of those with
   one label the first stays, of those with two none. pictures.csv here lists what is left.
2. Within: five folds, Twitter I's public ones and five stratified ones of EmotionROI. Across: all
   of one set, tested on the other. Both are studies in results/measured, of this network and of a
   frozen probe.
3. All pictures: `emolib.fit`. The temperature is fitted on the answers of the folds.
"""

import shutil
import sys
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

import emolib
from emolib.base.files import write_csv, write_text
from emolib.base.metrics import calibration_error, cross_tempered, fitted_temperature, wilson
from emolib.base.run_folder import read_run
from emolib.data import audit, manifest
from emolib.spec import recipe
from emolib.tables import pages

HERE = Path(__file__).parent
MEASURED, LIST = HERE.parents[1] / "results" / "measured", HERE / "pictures.csv"
WITHIN, ACROSS = "lite2-within", "lite2-across"
NAMES = {"twitter1": "Twitter I", "emotionroi": "EmotionROI"}
SYSTEMS = {"maiafa": "this network", "frozen_probe": "a frozen probe"}


def pictures(data_root, work: Path) -> pd.DataFrame:
    """Copies both sets into WORK/own and lists what is to be learnt: path, label, set, fold."""
    rows = []
    for name, options in (("twitter1", {}), ("emotionroi", {"labels": "valence"})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pictures at exactly 5, which are left out
            data = emolib.open_dataset(name, data_root, **options)
        fold = np.arange(len(data)) % 5  # of the few that are in no public fold
        for k, (_, test) in enumerate(data.folds()):
            fold[test] = k
        for path, file, label, k in zip(data.names, data.paths, data.labels, fold, strict=True):
            rows.append({"path": f"{name}/{path}", "label": label, "set": name, "fold": k})
            copy = work / "own" / name / path
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    frame = pd.DataFrame(rows)
    write_csv(work / "own" / "labels.csv", frame[["path", "label"]])
    data = emolib.open_dataset("own", work)
    frame = frame.set_index("path").loc[data.names].reset_index()
    groups = pd.Series(audit.twin_groups(manifest.manifest(data, work / "manifest.csv")))
    first, one_label = (
        ~groups.duplicated(),
        frame.groupby(groups)["label"].transform("nunique") == 1,
    )
    for path in frame["path"][~(first & one_label)]:
        (work / "own" / path).unlink()
    return frame[first & one_label].sort_values(["set", "path"], ascending=[False, True])


def spec_of(model: str, fold: int, trained: int) -> emolib.RunSpec:
    """The run of a system of SYSTEMS on a fold, whose training list has so many pictures."""
    common = dict(fold=fold, backbone=recipe.BACKBONE, init="imagenet", image_size=224)
    learnt = recipe.SETTINGS["backbone"] | {"epochs": recipe.epochs(trained, 32)}
    by_model = {"maiafa": learnt | {"freeze": "backbone"}, "frozen_probe": {}}
    return emolib.RunSpec("own", model=model, **common | by_model[model])


def answers(study: str) -> pd.DataFrame:
    """Of each test picture of a study in results/measured: system, fold, path, set, label,
    p_positive."""
    parts = []
    for folder in sorted(f.parent for f in (MEASURED / study / "runs").glob("*/metrics.json")):
        run = read_run(folder)
        frame = run.predictions
        frame["set"] = frame["path"].str.partition("/")[0]
        parts.append(frame.assign(system=run.spec.model, fold=run.spec.fold))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def figures() -> dict:
    """Every number of the card, from the runs' predictions."""
    within, across = answers(WITHIN), answers(ACROSS)
    ours = within[within["system"] == "maiafa"].reset_index(drop=True)
    before = ours["p_positive"]
    after = cross_tempered(ours["label"], before, ours["fold"])
    folds = ours["fold"].nunique()
    return {
        "tables": {"within": _table(within), "across": _table(across)},
        "folds": "Five folds" if folds == 5 else f"{folds} of 5 folds so far",
        "temperature": fitted_temperature(ours["label"], before),
        "ece": [calibration_error(ours["label"], p) for p in (before, after)],
        "loss": [log_loss(ours["label"], p) for p in (before, after)],
        "positives": {name: float(100 * f["label"].mean()) for name, f in ours.groupby("set")},
    }


def _table(found: pd.DataFrame) -> list[str]:
    """Markdown: a row a set, with the systems that have run."""
    if found.empty:
        return ["Not measured yet."]
    systems = [name for name in SYSTEMS if name in set(found["system"])]
    heads = [head for name in systems for head in (f"{SYSTEMS[name]}, accuracy", "AUC")]
    rows = []
    for name, words in NAMES.items():
        cells = [words]
        for system in systems:
            frame = found[(found["set"] == name) & (found["system"] == system)]
            right = (frame["p_positive"] >= 0.5) == frame["label"]
            low, high = wilson(int(right.sum()), len(frame))
            auc = roc_auc_score(frame["label"], frame["p_positive"])
            cells += [f"{100 * right.mean():.1f} ({low:.1f} to {high:.1f})", f"{auc:.3f}"]
        share = 100 * frame["label"].mean()
        rows.append([*cells, f"{max(share, 100 - share):.1f}"])
    return pages.grid(["tested on", *heads, "always the more frequent class"], rows)


def card() -> str:
    """README.md here, from card.md and what was measured."""
    found, listed = figures(), pd.read_csv(LIST)
    counts = {name: str(int((listed["set"] == name).sum())) for name in NAMES}
    text = (HERE / "card.md").read_text(encoding="utf-8")
    values = {
        "within": "\n".join(found["tables"]["within"]),
        "across": "\n".join(found["tables"]["across"]),
        "folds": found["folds"],
        "temperature": f"{found['temperature']:.2f}",
        "ece_before": f"{found['ece'][0]:.1f}",
        "ece_after": f"{found['ece'][1]:.1f}",
        "loss_before": f"{found['loss'][0]:.3f}",
        "loss_after": f"{found['loss'][1]:.3f}",
        "pictures": str(len(listed)),
        **{f"{name}_pictures": count for name, count in counts.items()},
        **{f"{name}_positive": f"{share:.0f}" for name, share in found["positives"].items()},
    }
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def main(data_root, weights, work) -> None:
    work = Path(work)
    if not (work / "own" / "labels.csv").exists() or not LIST.exists():
        write_csv(LIST, pictures(data_root, work))
    listed = pd.read_csv(LIST)
    of_set = (listed["set"] == "emotionroi").astype(int)  # fold 0: Twitter I is tested
    for model, (study, fold) in product(SYSTEMS, ((WITHIN, listed["fold"]), (ACROSS, of_set))):
        write_csv(work / "own" / "labels.csv", listed[["path", "label"]].assign(fold=fold))
        trained = (len(listed) - fold.value_counts().sort_index()).items()
        runs = [spec_of(model, k, count) for k, count in trained]
        emolib.run_all(runs, work, MEASURED, study, weights, "cpu")
    write_csv(work / "own" / "labels.csv", listed[["path", "label"]])
    save(emolib.fit(work / "own", weights=weights, device="cpu"))


def save(predictor: emolib.Predictor) -> None:
    predictor = replace(predictor, temperature=round(figures()["temperature"], 4))
    predictor.save(HERE, card(), half=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--card"]:
        write_text(HERE / "README.md", card())
    else:
        main(*sys.argv[1:])
