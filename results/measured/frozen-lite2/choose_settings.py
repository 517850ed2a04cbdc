"""Which settings for heads on frozen backbones? Decided on parts of Twitter I's training lists.

The training list of each of the five public folds is cut in five. A head is trained on four fifths
and scored on the fifth. No head is scored on its own fold's test list; but one setting serves all
folds, and a picture that one fold tests is in the training lists of the others. Each setting tried
is a row of settings.csv.

    python results/measured/frozen-lite2/choose_settings.py DATA_ROOT WEIGHTS SETTING...
    SETTING is like "epochs=8,lr=0.0003"
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

import emolib
from emolib.base.metrics import scores
from emolib.spec.run_spec import parse
from emolib.study.settings import VARIANTS
from emolib.training.fitting import fitted

FIXED = dict(backbone="tf_efficientnet_lite2", init="imagenet", image_size=224, freeze="backbone")
FIXED |= dict(optimizer="adamw", schedule="cosine", weight_decay=0.01)
HERE = Path(__file__).parent


def held_out(data, fold):
    """Four fifths and a fifth of the fold's training list."""
    listed, _ = data.folds()[fold]
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    train, held = next(split.split(listed, data.labels[listed]))
    return listed[train], listed[held]


def tried(data, weights, text, row):
    """Mean held-out accuracy and log loss over the folds, and their spread."""
    changes = dict(item.split("=") for item in text.split(","))
    changes = {key: parse(key, value) for key, value in changes.items()}
    found, started = [], time.time()
    for fold in range(5):
        spec = emolib.RunSpec("twitter1", fold=fold, **FIXED | VARIANTS[row] | changes)
        train, held = held_out(data, fold)
        p = fitted(spec, data, weights, "cpu", train).answers(held)[:, 1]
        labels = data.labels[held]
        loss = -np.log(np.where(labels == 1, p, 1 - p)).mean()
        found.append((scores(labels, p)["accuracy"], loss))
    accuracy, loss = np.mean(found, 0)
    each = " ".join(f"{a:.1f}" for a, _ in found)
    minutes = round((time.time() - started) / 60, 1)
    return {"settings": text, "row": row, "held_out_accuracy": accuracy, "held_out_loss": loss} | {
        "by_fold": each,
        "minutes": minutes,
    }


def main(data_root, weights, settings):
    data, file = emolib.open_dataset("twitter1", data_root), HERE / "settings.csv"
    for text in settings:
        for row in ("without_both", "without_mai", "normal", "without_afa"):
            there = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["settings", "row"])
            if ((there["settings"] == text) & (there["row"] == row)).any():
                continue
            found = tried(data, weights, text, row)
            pd.DataFrame([found]).to_csv(file, mode="a", header=not file.exists(), index=False)
            print(found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
