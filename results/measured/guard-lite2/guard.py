"""Does the recipe hold on few pictures? Trained on n pictures of a set, tested on all others.

    python results/measured/guard-lite2/guard.py DATA_ROOT WEIGHTS SET...

Five draws for each n. Beside it a frozen_probe on the same pictures: a logistic regression on the
same backbone's pooled features. "no labels": the labels of the training pictures are shuffled.
Each draw is a row of guard.csv: how many test pictures each got right, and how many it alone.
Without arguments it writes guard.md from them: the mean over draws, in percent, and how far the
recipe is ahead. The variance of that is what any two draws have in common, and the draws' own over
their number. In common they have a share of the test pictures, tested / (n + tested) on average:
that share of the pictures' variance of one draw, as if both answered these alike.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import emolib
from emolib.data.datasets import Dataset
from emolib.network.build import build_network
from emolib.network.rivals.probe import both_classes, fit_logistic
from emolib.training import loop
from emolib.training.answering import answers_for
from emolib.training.run import computing

FILE, CPU, DRAWS = Path(__file__).parent / "guard.csv", torch.device("cpu"), 5


def recipe_answers(data, seen: Dataset, weights: str, train, test, draw: int) -> np.ndarray:
    """p of the test pictures, as `EmotionClassifier()` trains."""
    spec = emolib.EmotionClassifier(seed=draw)._spec(len(train))
    with computing(spec, CPU):
        network = loop.moved(build_network(spec, weights), CPU)
        pictures = loop.pictures_of(spec, data, weights, network)
        pictures.data = seen  # the same pictures, perhaps with other labels
        loop.train_network(network, spec, loop.Material(pictures, train), CPU)
        return answers_for(network, pictures, test, CPU, spec)[:, 1]


def main(data_root, weights, sets):
    for name in sets:
        data, features = emolib.open_dataset(name, data_root), None
        for n in (200, 500, 1000):
            for draw in range(DRAWS):
                for labels in ("its own", "shuffled") if n == 500 else ("its own",):
                    done = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=["set"])
                    if (
                        len(done)
                        and done.eval(
                            "set == @name and n == @n and draw == @draw and labels == @labels"
                        ).any()
                    ):
                        continue
                    rng = np.random.default_rng([n, draw])
                    order = rng.permutation(len(data))
                    train, test = np.sort(order[:n]), np.sort(order[n:])
                    seen, truth = data, data.labels
                    if labels == "shuffled":
                        mixed = data.labels.copy()
                        mixed[train] = rng.permutation(mixed[train])
                        seen = Dataset(name, data.root, data.paths, mixed, layout="shuffled")
                    if features is None:
                        probe = build_network(
                            emolib.RunSpec(
                                name,
                                model="frozen_probe",
                                backbone="tf_efficientnet_lite2",
                                init="imagenet",
                            ),
                            weights,
                        )
                        features = probe.features(data.paths)
                    w, b = fit_logistic(features[train], seen.labels[train], C=0.01)
                    theirs = both_classes(features[test] @ w + b)[:, 1]
                    started = time.time()
                    ours = recipe_answers(data, seen, weights, train, test, draw)
                    right, probes = ((p >= 0.5) == truth[test] for p in (ours, theirs))
                    most = max(truth[test].mean(), 1 - truth[test].mean())
                    row = dict(set=name, n=n, draw=draw, labels=labels, tested=len(test))
                    row |= dict(recipe=int(right.sum()), probe=int(probes.sum()))
                    row |= dict(recipe_alone=int((right & ~probes).sum()))
                    row |= dict(probe_alone=int((probes & ~right).sum()))
                    row |= dict(majority=round(100 * most, 2), positives=int((ours >= 0.5).sum()))
                    row |= dict(seconds=round(time.time() - started))
                    pd.DataFrame([row]).to_csv(
                        FILE, mode="a", header=not FILE.exists(), index=False
                    )
                    print(row, flush=True)


def summary(frame: pd.DataFrame) -> str:
    """Markdown: a row a set, number of pictures and kind of labels."""
    heads = ["set", "pictures", "labels", "draws", "the recipe", "frozen probe"]
    heads += ["ahead by (95 %)", "always the more frequent class", "lowest draw"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for (name, n, labels), rows in frame.groupby(["set", "n", "labels"]):
        tested = rows["tested"]
        ahead = (rows["recipe_alone"] - rows["probe_alone"]) / tested
        differ = (rows["recipe_alone"] + rows["probe_alone"]) / tested
        in_common = tested / (n + tested)
        of_pictures = (in_common * (differ - ahead**2) / tested).mean()
        of_draws = ahead.var(ddof=1) / len(rows) if len(rows) > 1 else 0.0
        half = 1.96 * np.sqrt(of_pictures + of_draws)
        low, mean, high = (100 * (ahead.mean() + sign * half) for sign in (-1, 0, 1))
        cells = [name, n, labels, len(rows)]
        cells += [f"{100 * (rows[c] / tested).mean():.1f}" for c in ("recipe", "probe")]
        cells += [f"{mean:+.1f} ({low:+.1f} to {high:+.1f})", f"{rows['majority'].mean():.1f}"]
        cells += [f"{100 * (rows['recipe'] / tested).min():.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines).replace("-", "−").replace("−−−", "---") + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    table = summary(pd.read_csv(FILE))
    FILE.with_suffix(".md").write_text("# The recipe on few pictures\n\n" + table, "utf-8")
