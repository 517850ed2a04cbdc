"""Notebook 09's numbers, against counting by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trees import picture

import emolib
from emolib.study import own_pictures


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Thirty pictures of one's own, two in three positive, and a network too small to be good."""
    folder = tmp_path_factory.mktemp("mine")
    for i in range(30):
        picture(folder / f"data/own/{i}.png", seed=i)
    labels = pd.DataFrame({"path": [f"{i}.png" for i in range(30)], "label": [1, 1, 0] * 10})
    labels.to_csv(folder / "data/own/labels.csv", index=False)
    small = "epochs=1,image_size=32,init=scratch,width=16"
    where = ("demo", folder / "data", folder / "results", "mine", "own")
    return own_pictures.chosen(emolib.Study.configure(*where, "resnet10t", overrides=small))


def test_each_system_stands_where_its_answers_put_it(study):
    results = study.run(own_pictures.runs(study))
    table = own_pictures.standing(study, results).set_index("method")
    assert set(table.index) == {"maiafa", "frozen_probe"}
    assert table["majority"].to_numpy() == pytest.approx(200 / 3)
    for row, method in (("maiafa", "normal"), ("frozen_probe", "frozen_probe")):
        mine = [r.predictions for r in results if r.spec.method == method]
        right = [((p["p_positive"] > 0.5) == p["label"]).mean() for p in mine]
        assert len(right) == 5
        assert table.loc[row, "mean"] == pytest.approx(100 * np.mean(right))
    behind = table.loc["frozen_probe", "mean"] - table.loc["maiafa", "mean"]
    assert table.loc["frozen_probe", "difference"] == pytest.approx(behind)


def test_the_most_wrong_are_the_labels_least_believed():
    def of(method, *rows):
        frame = pd.DataFrame(rows, columns=["path", "label", "p_positive"])
        return SimpleNamespace(spec=SimpleNamespace(method=method, fold=0), predictions=frame)

    network = of("normal", ("a", 1, 0.1), ("b", 0, 0.95), ("c", 1, 0.8), ("d", 0, 0.6))
    other = of("frozen_probe", ("e", 1, 0.0))
    found = own_pictures.most_wrong([network, other], count=2)
    assert found["path"].tolist() == ["b", "a"]
    assert own_pictures.most_wrong([network, other])["path"].tolist() == ["b", "a", "d"]


def test_what_is_saved_is_the_network_that_was_trained(study):
    results = study.run(own_pictures.runs(study))
    folder, loaded = own_pictures.saved_and_loaded(study, results)
    assert folder == study.folder / "own_network"
    paths = study.open("own").paths[:6]
    again = own_pictures.train_on_all(study, results)
    assert np.array_equal(loaded.predict(paths)["p_positive"], again.predict(paths)["p_positive"])
    assert (loaded.spec.image_size, loaded.spec.backbone) == (32, "resnet10t")
    assert not loaded.drawn
    # no other temperature gives the folds' test pictures less log loss
    mine = pd.concat([r.predictions for r in results if r.spec.method == "normal"])
    p, label = mine["p_positive"].to_numpy(), mine["label"].to_numpy()
    logits = np.log(p / (1 - p))
    losses = []
    for heat in loaded.temperature * np.array([0.9, 1.0, 1.1]):
        q = 1 / (1 + np.exp(-logits / heat))
        losses.append(-np.mean(np.log(np.where(label == 1, q, 1 - q))))
    assert losses[1] == min(losses)


def test_calibration_is_told_of_folds_that_the_temperature_has_not_seen():
    rng = np.random.default_rng(0)

    def run(fold, method="normal"):
        logits = rng.normal(0, 1.5, 2000)
        label = (rng.random(2000) < 1 / (1 + np.exp(-logits))).astype(int)
        sure = 1 / (1 + np.exp(-3 * logits))  # three times as sure as it should be
        frame = pd.DataFrame({"path": "a", "label": label, "p_positive": sure})
        spec = SimpleNamespace(method=method, fold=fold)
        return SimpleNamespace(spec=spec, predictions=frame)

    found = own_pictures.calibration_frame([run(0), run(1), run(2, "frozen_probe")])
    assert found["ece"]["as trained"] > 10 and found["ece"]["calibrated"] < 3
    assert found["log_loss"]["calibrated"] < found["log_loss"]["as trained"]
