"""Does the recipe hold on few pictures? Trained on n pictures of a set, tested on all others.

    python results/measured/guard-lite2/guard.py DATA_ROOT WEIGHTS SET...

Five draws for each n. Beside it a frozen_probe on the same pictures: a logistic regression on the
same backbone's pooled features. "shuffled": the labels of the training pictures are.
Each draw is a row of guard.csv: how many test pictures each got right, and how many it alone.
Without arguments it writes guard.md from them: the mean over draws, in percent, and how far the
recipe is ahead. The variance of that is what any two draws have in common, and the draws' own over
their number. In common they have a share of the test pictures, tested / (n + tested) on average:
that share of the pictures' variance of one draw, as if both answered these alike.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import emolib
from emolib.network.build import build_network
from emolib.network.rivals.probe import both_classes, fit_logistic
from emolib.spec import recipe
from emolib.tables import pages
from emolib.training.fitting import fitted

FILE = Path(__file__).parent / "guard.csv"
PICTURES, DRAWS = (200, 500, 1000), 5
PROBE = dict(model="frozen_probe", backbone=recipe.BACKBONE, init="imagenet")


def asked_for(name: str) -> list[tuple]:
    """(set, n, draw, labels) of a set's rows."""
    own = [(name, n, draw, "its own") for n in PICTURES for draw in range(DRAWS)]
    return own + [(name, 500, draw, "shuffled") for draw in range(DRAWS)]


def drawn(data, features: np.ndarray, weights: str, n: int, draw: int, labels: str) -> dict:
    """What the recipe and the probe make of one draw of n pictures."""
    rng, truth = np.random.default_rng([n, draw]), data.labels
    order = rng.permutation(len(data))
    train, test = np.sort(order[:n]), np.sort(order[n:])
    learnt = truth.copy()
    if labels == "shuffled":
        learnt[train] = rng.permutation(truth[train])
    started = time.time()
    spec = emolib.EmotionClassifier(seed=draw)._spec(n)
    found = fitted(spec, replace(data, labels=learnt), weights, "cpu", train)
    ours = found.answers(test)[:, 1] >= 0.5
    seconds = time.time() - started
    w, b = fit_logistic(features[train], learnt[train], C=0.01)
    theirs = both_classes(features[test] @ w + b)[:, 1] >= 0.5
    right, probes, positive = ours == truth[test], theirs == truth[test], truth[test].mean()
    return {
        "tested": len(test),
        "recipe": int(right.sum()),
        "probe": int(probes.sum()),
        "recipe_alone": int((right & ~probes).sum()),
        "probe_alone": int((probes & ~right).sum()),
        "majority": round(100 * max(positive, 1 - positive), 2),
        "positives": int(ours.sum()),
        "seconds": round(seconds),
    }


def main(data_root: str, weights: str, sets: list[str]) -> None:
    """Adds the rows that guard.csv does not have."""
    for name in sets:
        data = emolib.open_dataset(name, data_root)
        features = build_network(emolib.RunSpec(name, **PROBE), weights).features(data.paths)
        for one in asked_for(name):
            keys = pd.read_csv(FILE)[["set", "n", "draw", "labels"]] if FILE.exists() else None
            if keys is not None and one in [*keys.itertuples(index=False, name=None)]:
                continue
            row = dict(zip(("set", "n", "draw", "labels"), one, strict=True))
            row |= drawn(data, features, weights, *one[1:])
            pd.DataFrame([row]).to_csv(FILE, mode="a", header=not FILE.exists(), index=False)
            print(row, flush=True)


def ahead(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a set, number of pictures and kind of labels: draws; the mean share of right answers of
    the recipe and the probe, the recipe's lowest; and how far it is ahead (mean, low, high), all in
    percent."""
    found = []
    for keys, rows in frame.groupby(["set", "n", "labels"]):
        tested = rows["tested"]
        lead = (rows["recipe_alone"] - rows["probe_alone"]) / tested
        differ = (rows["recipe_alone"] + rows["probe_alone"]) / tested
        in_common = tested / (keys[1] + tested)
        of_pictures = (in_common * (differ - lead**2) / tested).mean()
        of_draws = lead.var(ddof=1) / len(rows) if len(rows) > 1 else 0.0
        half = 1.96 * np.sqrt(of_pictures + of_draws)
        right = rows["recipe"] / tested
        row = dict(zip(("set", "n", "labels"), keys, strict=True)) | {"draws": len(rows)}
        row |= {"recipe": right.mean(), "probe": (rows["probe"] / tested).mean()}
        row |= {"lowest": right.min(), "mean": lead.mean()}
        row |= {"low": lead.mean() - half, "high": lead.mean() + half}
        found.append({k: 100 * v if isinstance(v, float) else v for k, v in row.items()})
    return pd.DataFrame(found)


def page(frame: pd.DataFrame) -> str:
    """guard.md."""
    heads = ["set", "pictures", "labels", "draws", "the recipe", "frozen probe"]
    heads += ["ahead by (95 %)", "always the more frequent class", "lowest draw"]
    rows = []
    constant = frame.groupby(["set", "n", "labels"])["majority"].mean()
    for row in ahead(frame).itertuples():
        cells = [row.set, row.n, row.labels, row.draws, f"{row.recipe:.1f}", f"{row.probe:.1f}"]
        cells += [f"{row.mean:+.1f} ({row.low:+.1f} to {row.high:+.1f})"]
        cells += [f"{constant[row.set, row.n, row.labels]:.1f}", f"{row.lowest:.1f}"]
        rows.append(cells)
    table = "\n".join(pages.grid(heads, rows)).replace("-", "−").replace("−−−", "---")
    return f"# The recipe on few pictures\n\n{table}\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    FILE.with_suffix(".md").write_text(page(pd.read_csv(FILE)), "utf-8")
