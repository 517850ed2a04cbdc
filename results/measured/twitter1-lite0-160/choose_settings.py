"""Which settings for Twitter I with a small ImageNet backbone? Decided without any test picture.

Fold 0's training list is cut in five; the network is trained on four fifths and scored on the
fifth. No test list is read. Each setting tried is a row of settings.csv, in the order tried.

    python results/measured/twitter1-lite0-160/choose_settings.py DATA_ROOT WEIGHTS SETTING...
    SETTING is like "epochs=8,lr=0.003,head_lr=1"
"""

import sys
import time
from pathlib import Path

import pandas as pd
import torch
from sklearn.model_selection import StratifiedKFold

import emolib
from emolib import runs, training
from emolib.spec import parse

FIXED = dict(backbone="tf_efficientnet_lite0", init="imagenet", image_size=160, freeze_bn=True)
HERE = Path(__file__).parent


def held_out(data):
    """Four fifths and a fifth of fold 0's training list."""
    listed, _ = data.folds()[0]
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    train, held = next(split.split(listed, data.labels[listed]))
    return listed[train], listed[held]


def main(data_root, weights, settings):
    torch.set_num_threads(1)
    data = emolib.open_dataset("twitter1", data_root)
    train, held = held_out(data)
    for text in settings:
        changes = dict(item.split("=") for item in text.split(","))
        changes = {key: parse(key, value) for key, value in changes.items()}
        spec = emolib.RunSpec("twitter1", **FIXED | changes)
        model = runs.build(spec, weights).to(memory_format=torch.channels_last)
        started = time.time()
        # the held-out part is passed as a validation split only to see each epoch
        history = training.train(model, spec, data, train, held, torch.device("cpu"), fresh=True)
        last = history[-1]
        row = {
            "settings": text,
            "held_out_accuracy_last_epoch": last["val_accuracy"],
            "held_out_loss_last_epoch": last["val_loss"],
            "train_accuracy_last_epoch": last["train_accuracy"],
            "held_out_accuracy_by_epoch": " ".join(f"{r['val_accuracy']:.1f}" for r in history),
            "held_out_pictures": len(held),
            "seconds": round(time.time() - started),
        }
        file = HERE / "settings.csv"
        pd.DataFrame([row]).to_csv(file, mode="a", header=not file.exists(), index=False)
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
