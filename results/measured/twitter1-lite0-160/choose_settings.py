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
from emolib.network.build import build_network
from emolib.spec.run_spec import parse
from emolib.training import loop
from emolib.training.run import computing

FIXED = dict(backbone="tf_efficientnet_lite0", init="imagenet", image_size=160, freeze_bn=True)
HERE, CPU = Path(__file__).parent, torch.device("cpu")


def held_out(data):
    """Four fifths and a fifth of fold 0's training list."""
    listed, _ = data.folds()[0]
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    train, held = next(split.split(listed, data.labels[listed]))
    return listed[train], listed[held]


def main(data_root, weights, settings):
    data = emolib.open_dataset("twitter1", data_root)
    train, held = held_out(data)
    for text in settings:
        changes = dict(item.split("=") for item in text.split(","))
        changes = {key: parse(key, value) for key, value in changes.items()}
        spec = emolib.RunSpec("twitter1", **FIXED | changes)
        started = time.time()
        with computing(spec, CPU):
            model = loop.moved(build_network(spec, weights), CPU)
            # the held-out part is passed as a validation split only to see each epoch
            material = loop.Material(loop.pictures_of(spec, data), train, held)
            history = loop.train_network(model, spec, material, CPU)
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
