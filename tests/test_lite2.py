"""The network that comes with the package, what is saved of a predictor, and calibration."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scripts import script
from sklearn.datasets import load_sample_images
from sklearn.metrics import log_loss
from trees import picture

import emolib
from emolib.base.metrics import calibration_error, fitted_temperature, tempered
from emolib.cli import main
from emolib.network.build import build_network
from emolib.use import hub
from emolib.use.load import comes_with_it
from emolib.use.predict import Predictor

ROOT = Path(__file__).parents[1]
HERE = ROOT / "models" / "emolib-lite2"
TINY = dict(backbone="test_efficientnet", width=32, image_size=32, init="scratch")


@pytest.fixture(scope="module")
def predictor():
    spec = emolib.RunSpec("own", **TINY)
    return Predictor(spec, build_network(spec).eval(), torch.device("cpu"))


@pytest.fixture(scope="module")
def photographs():
    return load_sample_images().images  # a temple and a flower


def test_a_saved_predictor_comes_back_with_its_temperature(predictor, photographs, tmp_path):
    warm = replace(predictor, temperature=2.5)
    cold, ours = predictor.predict(photographs), warm.predict(photographs)
    logit = [np.log(p / (1 - p)) for p in (cold["p_positive"], ours["p_positive"])]
    np.testing.assert_allclose(logit[0], 2.5 * logit[1], rtol=1e-9)
    folder = warm.save(tmp_path / "mine", "# Mine\n")
    assert (folder / "README.md").read_text() == "# Mine\n"
    again = emolib.load(folder, device="cpu")
    assert again.spec == warm.spec and again.temperature == 2.5 and not again.drawn
    pd.testing.assert_frame_equal(again.predict(photographs), ours)
    hub.Network.from_pretrained(folder).save_pretrained(tmp_path / "pushed")
    again = emolib.load(tmp_path / "pushed", device="cpu").predict(photographs)
    pd.testing.assert_frame_equal(again, ours)


def test_half_the_bytes_give_nearly_the_same_answers(predictor, photographs, tmp_path):
    files = [predictor.save(tmp_path / str(h), half=h) / "model.safetensors" for h in (False, True)]
    assert files[1].stat().st_size < 0.55 * files[0].stat().st_size
    saved = load_file(files[1])
    assert {t.dtype for t in saved.values() if t.is_floating_point()} == {torch.float16}
    again = emolib.load(tmp_path / "True", device="cpu")
    assert next(again.model.parameters()).dtype == torch.float32
    ours = predictor.predict(photographs)["p_positive"]
    assert np.allclose(again.predict(photographs)["p_positive"], ours, atol=2e-3)
    huge = replace(predictor, model=build_network(predictor.spec))
    with torch.no_grad():
        next(huge.model.parameters()).fill_(1e6)
    with pytest.raises(ValueError, match="beyond float16's range"):
        huge.save(tmp_path / "huge", half=True)
    assert not (tmp_path / "huge" / "config.json").exists()


@pytest.mark.parametrize("heat", [0, -1, "warm", float("inf"), None])
def test_a_temperature_is_a_number_above_0(predictor, tmp_path, heat):
    config = predictor.save(tmp_path / "m") / "config.json"
    values = json.loads(config.read_text()) | {"temperature": heat}
    config.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="config.json: temperature="):
        emolib.load(tmp_path / "m")


def test_what_learnt_drawn_pictures_warns(predictor, tmp_path, capsys, recwarn):
    for name, drawn in (("drawn", True), ("real", False)):
        replace(predictor, drawn=drawn).save(tmp_path / name)
    emolib.load(tmp_path / "real")
    assert not recwarn
    with pytest.warns(UserWarning, match="drawn: it learnt drawn pictures"):
        assert emolib.load(tmp_path / "drawn").drawn


def test_a_fit_says_what_it_does_and_whether_the_pictures_are_drawn(tmp_path, capsys):
    emolib.make_demo_data(tmp_path, sizes={"twitter1": 24})
    data = emolib.open_dataset("twitter1", tmp_path)
    settings = dict(backbone="test_efficientnet", init="scratch", image_size=32, epochs=3)
    drawn = emolib.fit(data.paths, data.labels, freeze="backbone", device="cpu", **settings)
    said = capsys.readouterr().out
    assert "24 pictures, " in said and "maiafa on test_efficientnet learns 24 pictures" in said
    assert "at 32 px" in said and "the head alone, on 6 views of each, 3 epochs, adamw" in said
    assert drawn.drawn
    copies = [shutil.copy(path, tmp_path / path.name) for path in data.paths]
    assert not emolib.fit(copies, data.labels, freeze="", device="cpu", **settings).drawn
    assert "all of it, 3 epochs" in capsys.readouterr().out


def test_a_frozen_probe_is_fitted_saved_and_read_in_three_lines(tmp_path):
    files = [picture(tmp_path / f"{i}.png", seed=i) for i in range(8)]
    probe = emolib.fit(
        files, [0, 1] * 4, model="frozen_probe", backbone="test_efficientnet", init="scratch"
    )
    again = emolib.load(probe.save(tmp_path / "probe"), device="cpu")
    pd.testing.assert_frame_equal(again.predict(files), probe.predict(files))


def test_calibration_error_is_the_gap_in_equally_full_bins():
    rng = np.random.default_rng(0)
    p = rng.random(997)
    labels = (rng.random(997) < p**2).astype(int)
    expected, order = 0.0, sorted(range(997), key=lambda i: p[i])
    for k in range(10):
        part = order[100 * k :][:100] if k < 7 else order[700 + 99 * (k - 7) :][:99]
        expected += abs(sum(labels[i] for i in part) - sum(p[i] for i in part)) / 997
    assert calibration_error(labels, p) == pytest.approx(100 * expected)
    assert calibration_error([1, 0], [1.0, 0.0]) == 0


@pytest.mark.parametrize("heat", [0.5, 3.0])
def test_the_fitted_temperature_is_the_one_that_spoilt_the_answers(heat):
    rng = np.random.default_rng(1)
    p = rng.beta(1, 1, 40000)
    labels = (rng.random(40000) < p).astype(int)
    spoilt = tempered(p, 1 / heat)
    found = fitted_temperature(labels, spoilt)
    assert found == pytest.approx(heat, rel=0.03)
    assert calibration_error(labels, tempered(spoilt, found)) < 1
    assert log_loss(labels, tempered(spoilt, found)) < log_loss(labels, spoilt)
    assert 1 / 20 <= fitted_temperature([1, 1], [0.9, 1.0]) <= 20


def test_without_a_name_the_package_s_own_network_answers(photographs, tmp_path, capsys):
    predictor = emolib.load(device="cpu")
    assert "emolib-lite2, for research only" in capsys.readouterr().out
    assert comes_with_it() == HERE and not predictor.drawn and predictor.temperature != 1
    temple, flower = predictor.predict(photographs)["p_positive"]
    assert flower > 0.5 and 0.01 < temple < 0.99
    for i, image in enumerate(photographs):
        emolib.use.predict.Image.fromarray(image).save(tmp_path / f"{i}.png")
    out, regions = tmp_path / "answers.csv", tmp_path / "regions.png"
    assert main(["predict", str(tmp_path), "--device", "cpu", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "2 pictures" in said.out and "research only" in said.err
    assert np.allclose(pd.read_csv(out)["p_positive"], [temple, flower], atol=1e-5)
    assert main(["explain", str(tmp_path / "1.png"), "--out", str(regions)]) == 0
    assert f"p_positive {flower:.3f}" in capsys.readouterr().out and regions.exists()


def test_its_card_says_what_the_runs_say():
    make = script(HERE / "make.py")
    assert (HERE / "README.md").read_text(encoding="utf-8") == make.card()


GUARD = ROOT / "results/measured/guard-lite2/guard.py"
PICTURES = (ROOT / "docs/pictures.md").read_text(encoding="utf-8")


def test_the_guards_page_is_that_of_its_draws():
    guard = script(GUARD)
    said = guard.page(pd.read_csv(guard.FILE))
    assert guard.FILE.with_suffix(".md").read_text(encoding="utf-8") == said
    found = guard.ahead(pd.read_csv(guard.FILE))
    assert len(found) == 8 and (found["draws"] == 5).all()
    own = found[found["labels"] == "its own"]
    assert (own["low"] > -2).all()
    ahead = own[own["low"] > 0]
    assert ahead["set"].tolist() == ["emotionroi"] * 2 and ahead["n"].tolist() == [500, 1000]
    assert "by {:.1f} and {:.1f} points".format(*ahead["mean"]) in PICTURES
    nothing = found[found["labels"] == "shuffled"]
    constant = pd.read_csv(guard.FILE).query("labels == 'shuffled'").groupby("set")["majority"]
    assert (nothing.set_index("set")["recipe"] < constant.mean()).all()


@pytest.mark.parametrize("alike", [0.5, 1.0])  # of the pictures, in every draw
def test_the_guards_interval_holds_the_truth(alike):
    """Two equally good systems on draws of one finite set: 0 is inside in at least 93 %."""
    guard, rng, rows = script(GUARD), np.random.default_rng(0), []
    pictures, n, sets = 1269, 500, 400
    for number in range(sets):
        kinds = rng.choice([-1, 0, 1], pictures, p=[0.06, 0.88, 0.06])
        same = rng.random(pictures) < alike
        for draw in range(5):
            test = rng.permutation(pictures)[n:]
            new = rng.choice([-1, 0, 1], pictures, p=[0.06, 0.88, 0.06])
            better = np.where(same, kinds, new)[test]  # 1: the recipe alone is right
            row = {"set": f"{number:03}", "n": n, "draw": draw, "labels": "", "tested": len(test)}
            row |= {"recipe_alone": (better > 0).sum(), "probe_alone": (better < 0).sum()}
            rows.append(row | {"recipe": 500 + better.sum(), "probe": 500})
    found = guard.ahead(pd.DataFrame(rows))
    inside = ((found["low"] <= 0) & (0 <= found["high"])).mean()
    assert len(found) == sets and 0.93 <= inside < 1
    width = (found["high"] - found["low"]).mean() / 2
    assert width < 1.96 * 100 * np.sqrt(0.12 / 769)  # narrower than one draw's alone
