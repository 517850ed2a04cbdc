"""Does the mean of a head's answers for several views do better than its answer for the centre?

Heads learn four fifths of each of Twitter I's training lists, by the package's recipe, and answer
for the fifth (`choose_settings.held_out`): for view 0, the centre crop, and for all six views. A
row of views.csv is a row of Table 7 and a way to answer, the mean over the five folds.

    python results/measured/frozen-lite2/average_views.py DATA_ROOT WEIGHTS ROW...
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from choose_settings import FIXED, held_out

import emolib
from emolib.base.metrics import scores
from emolib.spec import recipe
from emolib.study.settings import VARIANTS
from emolib.training.fitting import fitted

FILE = Path(__file__).parent / "views.csv"


def answers(found, indices, view: int) -> np.ndarray:
    """p_positive of the pictures, each seen in that view."""
    found.pictures.view = lambda epoch, index: view
    return found.answers(indices)[:, 1]


def tried(data, weights: str, row: str) -> list[dict]:
    """The ways of one row of Table 7."""
    each = []
    for fold in range(5):
        settings = FIXED | recipe.SETTINGS["backbone"] | VARIANTS[row]
        spec = emolib.RunSpec("twitter1", fold=fold, epochs=recipe.EPOCHS, **settings)
        train, held = held_out(data, fold)
        found = fitted(spec, data, weights, "cpu", train)
        p = np.stack([answers(found, held, view) for view in range(spec.views)])
        truth = data.labels[held]
        for way, q in (("the centre", p[0]), ("the mean of six views", p.mean(0))):
            loss = -np.log(np.where(truth == 1, q, 1 - q)).mean()
            right = scores(truth, q)["accuracy"]
            each.append({"row": row, "way": way, "held_out_accuracy": right, "log_loss": loss})
    return pd.DataFrame(each).groupby(["row", "way"]).mean().reset_index().to_dict("records")


if __name__ == "__main__":
    data_root, weights, *rows = sys.argv[1:]
    data = emolib.open_dataset("twitter1", data_root)
    table = pd.DataFrame([line for row in rows for line in tried(data, weights, row)])
    table.round({"held_out_accuracy": 2, "log_loss": 4}).to_csv(FILE, index=False)
    print(table.to_string())
