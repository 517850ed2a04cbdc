"""Do smoothed labels or averaged weights help the two recipes of the package?

No test picture of the public folds' own networks is scored. Heads on a frozen backbone learn four
fifths of each of Twitter I's training lists and answer for the fifth; a network that is fine-tuned
whole learns 1,012 pictures of EmotionROI and answers for the 968 others, as in the trials that
chose the recipes' settings. A row of smoothing.csv is a recipe, a smoothing of the labels and what
weights answer: the last epoch's, or the mean of those at the ends of the last three. Numbers are
means over the splits.

    python results/measured/smoothing/smoothing.py DATA_ROOT WEIGHTS RECIPE SMOOTHING...
    RECIPE is head or everything, SMOOTHING like 0 or 0.1
"""

import functools
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.model_selection import StratifiedKFold, train_test_split

import emolib
from emolib.base.metrics import calibration_error, scores
from emolib.data.tasks import TASKS
from emolib.spec import recipe
from emolib.training import loop
from emolib.training.fitting import fitted

FILE, LAST = Path(__file__).parent / "smoothing.csv", 3
HEAD = dict(dataset="twitter1", backbone="tf_efficientnet_lite2", image_size=224, freeze="backbone")
HEAD |= dict(epochs=recipe.EPOCHS, init="imagenet") | recipe.SETTINGS["backbone"]
EVERYTHING = dict(dataset="emotionroi", backbone="tf_efficientnet_lite0", image_size=160, epochs=6)
EVERYTHING |= dict(init="imagenet") | recipe.SETTINGS[""]
RECIPES = {"head": HEAD, "everything": EVERYTHING}


def splits(data) -> list[tuple[np.ndarray, np.ndarray]]:
    """(learnt, held out), each indices."""
    if not data.official_folds:
        both = train_test_split(
            np.arange(len(data)), train_size=1012, stratify=data.labels, random_state=0
        )
        return [tuple(map(np.sort, both))]
    found = []
    for listed, _ in data.folds():
        parts = StratifiedKFold(5, shuffle=True, random_state=0)
        train, held = next(parts.split(listed, data.labels[listed]))
        found.append((listed[train], listed[held]))
    return found


def learnt(spec, data, weights: str, train, smoothing: float):
    """What `fitted` gives, and the network's state at the end of each of the last epochs."""
    states: deque[dict] = deque(maxlen=LAST)
    train_network = loop.train_network

    def watched(*args, after_epoch, **more):
        def keeping(state):
            states.append({name: t.clone() for name, t in state["model"].items()})
            after_epoch(state)

        return train_network(*args, after_epoch=keeping, **more)

    loss = functools.partial(F.cross_entropy, label_smoothing=smoothing)
    task = replace(TASKS["polarity"], loss=loss)
    with patch.object(loop, "train_network", watched), patch.dict(TASKS, polarity=task):
        return fitted(spec, data, weights, "cpu", train), list(states)


def mean_of(states: list[dict]) -> dict:
    """The mean of each floating-point tensor; of others the last."""

    def mean(name, last):
        same = torch.stack([state[name] for state in states])
        return same.mean(0) if last.is_floating_point() else last

    return {name: mean(name, tensor) for name, tensor in states[-1].items()}


def tried(data, weights: str, name: str, smoothing: float) -> list[dict]:
    """Both rows of a recipe and a smoothing."""
    each = []
    for fold, (train, held) in enumerate(splits(data)):
        spec = emolib.RunSpec(fold=fold, **RECIPES[name])
        found, states = learnt(spec, data, weights, train, smoothing)
        truth = data.labels[held]
        for answering, state in (("last", states[-1]), ("mean of three", mean_of(states))):
            found.network.load_state_dict(state)
            p = found.answers(held)[:, 1]
            loss = -np.log(np.where(truth == 1, p, 1 - p)).mean()
            row = {"recipe": name, "smoothing": smoothing, "weights": answering}
            row |= {"held_out_accuracy": scores(truth, p)["accuracy"], "log_loss": loss}
            each.append(row | {"calibration_error": calibration_error(truth, p)})
    keys = ["recipe", "smoothing", "weights"]
    return pd.DataFrame(each).groupby(keys).mean().reset_index().to_dict("records")


def main(data_root: str, weights: str, name: str, smoothings: list[str]) -> None:
    data = emolib.open_dataset(RECIPES[name]["dataset"], data_root)
    for smoothing in map(float, smoothings):
        table = pd.DataFrame(tried(data, weights, name, smoothing)).round(4)
        table.to_csv(FILE, mode="a", header=not FILE.exists(), index=False)
        print(table.to_string(), flush=True)


if __name__ == "__main__":
    data_root, weights, name, *smoothings = sys.argv[1:]
    main(data_root, weights, name, smoothings)
