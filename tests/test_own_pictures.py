"""Notebook 09's numbers, against counting by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trees import picture

import emolib
from emolib.study import own_pictures


def listed(folder, labels):
    """Pictures of one's own with these labels, in `folder`/own."""
    for i in range(len(labels)):
        picture(folder / f"own/{i}.png", seed=i)
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": labels})
    frame.to_csv(folder / "own/labels.csv", index=False)
    return emolib.RunSpec("own", backbone="test_efficientnet", image_size=32, init="scratch")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Thirty pictures of one's own, two in three positive, and a network too small to be good."""
    folder = tmp_path_factory.mktemp("mine")
    listed(folder / "data", [1, 1, 0] * 10)
    small = "epochs=1,image_size=32,init=scratch,width=16"
    where = ("demo", folder / "data", folder / "results", "mine", "own")
    return own_pictures.chosen(emolib.Study.configure(*where, "resnet10t", overrides=small))


def test_too_few_pictures_of_a_class_are_said(tmp_path, recwarn):
    spec = listed(tmp_path / "one", [1] * 12)
    with pytest.raises(ValueError, match="own: all 12 pictures have the label 1; a network needs"):
        emolib.run(spec, tmp_path / "one", tmp_path, device="cpu")
    spec = listed(tmp_path / "six", [1, 0] * 3)
    few = "own: 6 pictures, no more than 3 of one class; 5 folds need 5 of a class at least"
    with pytest.raises(ValueError, match=few):
        emolib.run(spec, tmp_path / "six", tmp_path, device="cpu")
    assert not recwarn
    listed(tmp_path / "rare", [1, 1] + [0] * 198)
    with pytest.warns(UserWarning, match="label 1 has only 2 of the 200 pictures: of 5 folds"):
        folds = emolib.open_dataset("own", tmp_path / "rare").folds()
    assert len(folds) == 5 and len(recwarn) == 0


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


def surer(fold, method="normal", by=3):
    """A run's answers, so many times as sure as they should be."""
    rng = np.random.default_rng(fold)
    logits = rng.normal(0, 1.5, 2000)
    label = (rng.random(2000) < 1 / (1 + np.exp(-logits))).astype(int)
    sure = 1 / (1 + np.exp(-by * logits))
    frame = pd.DataFrame({"path": "a", "label": label, "p_positive": sure})
    return SimpleNamespace(spec=SimpleNamespace(method=method, fold=fold), predictions=frame)


def test_what_is_saved_is_the_network_that_was_trained(study):
    folder, loaded = own_pictures.saved_and_loaded(study, [surer(0), surer(1)])
    assert folder == study.folder / "own_network"
    paths = study.open("own").paths[:6]
    again = own_pictures.train_on_all(study, [surer(0), surer(1)])
    assert np.array_equal(loaded.predict(paths)["p_positive"], again.predict(paths)["p_positive"])
    assert (loaded.spec.image_size, loaded.spec.backbone) == (32, "resnet10t")
    assert not loaded.drawn
    right = pd.concat([surer(0).predictions, surer(1).predictions])
    assert f"It learnt all {len(study.open('own'))} pictures of a list" in loaded.card
    share = 100 * ((right["p_positive"] >= 0.5) == right["label"]).mean()
    assert f"right on {share:.1f} %" in loaded.card and "Its temperature, " in loaded.card
    assert loaded.temperature == pytest.approx(3, rel=0.1)
    # a few easy pictures make no network surer
    easy = surer(0).predictions[:40].assign(p_positive=lambda frame: 0.3 + 0.4 * frame["label"])
    easy = SimpleNamespace(spec=surer(0).spec, predictions=easy)
    assert own_pictures.train_on_all(study, [easy]).temperature == pytest.approx(1)
    # where it is no better there is none
    unsure = SimpleNamespace(spec=surer(0).spec, predictions=surer(0).predictions[:10])
    unsure.predictions = unsure.predictions.assign(p_positive=0.5)
    found = own_pictures.train_on_all(study, [unsure])
    assert found.temperature == 1 and "temperature" not in found.card


@pytest.mark.parametrize("results", [[surer(0), surer(1), surer(2, "frozen_probe")], [surer(0)]])
def test_calibration_is_told_of_pictures_that_the_temperature_has_not_seen(results):
    found = own_pictures.calibration_frame(results).set_index("p_positive")
    assert found["ece"]["as trained"] > 10 and found["ece"]["calibrated"] < 4
    assert found["log_loss"]["calibrated"] < found["log_loss"]["as trained"]
