"""Which settings for a network that is trained whole? Chosen on EmotionROI, used on Twitter I.

The normal network learns 1,012 pictures of EmotionROI, as many as a fold of Twitter I has, and is
scored on the 968 others. No picture of Twitter I is read. Each setting tried is a row of
settings.csv.

    python results/measured/whole-lite0-160/choose_settings.py DATA_ROOT WEIGHTS SETTING...
    SETTING is like "epochs=8,lr=0.0003"
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

import emolib
from emolib.base.metrics import scores
from emolib.spec.run_spec import parse
from emolib.training.fitting import fitted

FIXED = dict(backbone="tf_efficientnet_lite0", init="imagenet", image_size=160, freeze_bn=True)
FIXED |= dict(optimizer="adamw", schedule="cosine", weight_decay=0.01)
FILE, PICTURES = Path(__file__).parent / "settings.csv", 1012


def tried(data, weights: str, text: str) -> dict:
    """Accuracy and log loss on the pictures that were held out."""
    changes = dict(item.split("=") for item in text.split(","))
    spec = emolib.RunSpec("emotionroi", **FIXED | {k: parse(k, v) for k, v in changes.items()})
    train, held = train_test_split(
        np.arange(len(data)), train_size=PICTURES, stratify=data.labels, random_state=0
    )
    started = time.time()
    p = fitted(spec, data, weights, "cpu", np.sort(train)).answers(held)[:, 1]
    truth = data.labels[held]
    return {
        "settings": text,
        "held_out": len(held),
        "accuracy": round(scores(truth, p)["accuracy"], 2),
        "log_loss": round(float(-np.log(np.where(truth == 1, p, 1 - p)).mean()), 4),
        "minutes": round((time.time() - started) / 60, 1),
    }


def main(data_root, weights, settings):
    data = emolib.open_dataset("emotionroi", data_root)
    for text in settings:
        found = tried(data, weights, text)
        pd.DataFrame([found]).to_csv(FILE, mode="a", header=not FILE.exists(), index=False)
        print(found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
