"""Maps against known regions: every measure by its definition, and what is around them."""

import types

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import fbeta_score, precision_score, recall_score
from torch import nn
from trees import picture

import emolib
from emolib.spec.run_spec import Readings, RunSpec
from emolib.study import region_figures, regions, words
from emolib.tables import report, significance


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return rng.random((6, 4, 5)), rng.random((6, 4, 5))


def test_auc_counts_pairs(pairs):
    found = regions.measures(*pairs)["AUC"]
    for value, P, K in zip(found, *pairs, strict=True):
        inside, outside = P[K > 0.5], P[K <= 0.5]
        assert value == pytest.approx(np.mean(inside[:, None] > outside))


def test_nss_and_correlation_are_their_definitions_and_blind_to_scale(pairs):
    predicted, known = pairs
    found = regions.measures(predicted, known)
    for i, (P, K) in enumerate(zip(predicted, known, strict=True)):
        assert found["NSS"][i] == pytest.approx((P[K > 0.5].mean() - P.mean()) / P.std())
        assert found["CC"][i] == pytest.approx(np.corrcoef(P.ravel(), K.ravel())[0, 1])
    scaled = regions.measures(0.48 + 0.01 * predicted, known)
    pd.testing.assert_frame_equal(found, scaled)


def test_the_threshold_is_twice_the_mean_of_the_stretched_map_or_its_maximum():
    # stretched: 0, .1, .2, .8, 1, .3 → mean .4, so that .8 and 1 are chosen
    P = np.array([[[1, 2, 3], [9, 11, 4]]])
    K = np.array([[[0, 1, 1], [1, 0, 0]]])
    found = regions.measures(P, K).iloc[0]
    assert (found["precision"], found["recall"]) == pytest.approx((1 / 2, 1 / 3))
    assert found["F"] == pytest.approx(1.3 * (1 / 2) * (1 / 3) / (0.3 * (1 / 2) + 1 / 3))
    assert found["MAE"] == pytest.approx((0 + 0.9 + 0.8 + 0.2 + 1 + 0.3) / 6)
    # mean .8: twice that is above every value, so that the maximum alone is chosen
    found = regions.measures([[[0, 1, 1, 1, 1]]], [[[1, 1, 0, 0, 0]]]).iloc[0]
    assert (found["precision"], found["recall"]) == pytest.approx((1 / 4, 1 / 2))


def test_precision_recall_and_f_agree_with_scikit_learn(pairs):
    predicted, known = pairs
    found = regions.measures(predicted, known)
    for i, (P, K) in enumerate(zip(predicted, known, strict=True)):
        P, inside = (P - P.min()) / (P.max() - P.min()), K.ravel() > 0.5
        chosen = P.ravel() >= min(2 * P.mean(), 1)
        assert found["precision"][i] == pytest.approx(precision_score(inside, chosen))
        assert found["recall"][i] == pytest.approx(recall_score(inside, chosen))
        assert found["F"][i] == pytest.approx(fbeta_score(inside, chosen, beta=0.3**0.5))


def test_a_constant_map_has_chance_values_and_regions_that_are_all_or_nothing_none():
    known = np.array([[[1, 0], [0, 0.2]]] * 2 + [[[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    found = regions.measures(np.stack([np.full((2, 2), v) for v in (0.1, 7, 0, 0)]), known)
    for i in (0, 1):
        row = found.loc[i]
        assert (row["AUC"], row["NSS"], row["CC"]) == (0.5, 0, 0)
        assert (row["precision"], row["recall"]) == (0.25, 1)  # everything is chosen
        assert row["MAE"] == pytest.approx((0.5 + 0.5 + 0.5 + 0.3) / 4)
    assert found.loc[2:].isna().all(axis=None)


def test_maps_of_two_sizes_and_values_that_are_no_numbers_are_errors():
    with pytest.raises(ValueError, match="bring them to one size"):
        regions.measures(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="no finite numbers"):
        regions.measures(np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)))


def test_a_known_map_is_cropped_as_its_picture_whatever_its_size_but_not_its_shape(tmp_path):
    size = (96, 64)
    shot = picture(tmp_path / "a.png", size=size)
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, 48, 64))  # the left half
    expected = np.zeros((8, 8))
    expected[:, :4] = 1
    for scale in (1, 2):
        file = tmp_path / f"map{scale}.png"
        mask.resize((size[0] * scale, size[1] * scale), Image.NEAREST).save(file)
        assert np.abs(regions.known_map(file, shot, 32, 8) - expected).max() < 0.3
    mask.resize((64, 64)).save(tmp_path / "square.png")
    with pytest.raises(ValueError, match="square.png: a map of another shape than its picture"):
        regions.known_map(tmp_path / "square.png", shot, 32, 8)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.png: not a readable picture"):
        regions.known_map(tmp_path / "broken.png", shot, 32, 8)


class Linear(nn.Module):
    """A 1×1 convolution, the mean over positions, one linear layer: Grad-CAM is known."""

    def __init__(self):
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def forward_features(self, images):
        return self.conv(images)

    def forward_head(self, features):
        return self.classifier(features.mean((2, 3)))


def test_grad_cam_of_a_linear_network_is_the_class_activation_map():
    torch.manual_seed(0)
    net, images = Linear().eval(), 3 * torch.randn(8, 3, 1, 1) + torch.randn(8, 3, 6, 7)
    with torch.no_grad():
        A = net.conv(images)
        best = net.forward_head(A).argmax(1)
        expected = torch.einsum("nk,nkhw->nhw", net.classifier.weight[best] / 42, A).clamp(min=0)
    assert set(best.tolist()) == {0, 1}
    torch.testing.assert_close(regions.grad_cam(net, images), expected)
    assert all(p.grad is None for p in net.parameters())
    net.forward_features = lambda x: x.flatten(2)
    with pytest.raises(ValueError, match="no last feature map"):
        regions.grad_cam(net, images)


def test_intervals_are_over_seeds_else_over_folds():
    found = significance.over_runs([0.5, 0.7, 0.9, 0.4], [0, 0, 1, 2])
    assert found["mean"] == pytest.approx((0.6 + 0.9 + 0.4) / 3) and found["over"] == "3 seeds"
    assert (found["low"], found["high"]) == pytest.approx(significance.interval([0.6, 0.9, 0.4], 0))
    folds = significance.over_runs([0.5, 0.7, 0.9], [0, 0, 0])
    assert folds["over"] == "3 folds"
    assert (folds["low"], folds["high"]) == significance.interval([0.5, 0.7, 0.9], 0.25)
    one = significance.over_runs([0.5], [3])
    assert np.isnan(one["low"]) and one["over"] == "one run: no interval"


@pytest.fixture(scope="module")
def study(root, tmp_path_factory):
    """Runs on EmotionROI, the default and a reading, with a predecessor and a plain backbone."""
    results = tmp_path_factory.mktemp("results")
    small = {"backbone": "test_resnet", "image_size": 32, "epochs": 1, "batch_size": 8, "lr": 1e-3}
    ours = RunSpec("emotionroi", init="twitter1:scratch", width=128, **small)
    plain = RunSpec("twitter1", model="test_resnet", init="scratch", **small)
    shuffle = Readings(attention="shuffle")
    shuffle = RunSpec("emotionroi", init="scratch", width=128, readings=shuffle, **small)
    result = emolib.run(ours, root, results, "s", device="cpu")
    emolib.run(plain, root, results, "s", device="cpu")
    other = emolib.run(shuffle, root, results, "s/readings", device="cpu")
    return types.SimpleNamespace(results=results, ours=ours, plain=plain, runs=[result, other])


def test_all_maps_of_a_run_are_measured_on_its_test_pictures(root, study):
    data = emolib.open_dataset("emotionroi", root)
    frame = regions.measured(study.runs, data, study.ours, "cpu")
    ours = frame[frame["reading"] == "normal"].set_index("map")
    assert list(ours.index) == list(regions.MAPS)
    assert set(ours["pictures"] + ours["left out"]) == {len(study.runs[0].predictions)}
    assert ours.loc["D before", "run"] == study.ours.predecessor().id
    assert ours.loc["Grad-CAM", "run"] == study.plain.id
    assert ours.loc["uniform", "AUC"] == 0.5 and ours.loc["uniform", "NSS"] == 0
    found = emolib.load(study.runs[0].folder, "cpu").regions(
        [data.root / name for name in study.runs[0].predictions["path"]]
    )
    known = [
        regions.known_map(data.maps[i], data.paths[i], 32, 8)
        for i in map(data.names.index, study.runs[0].predictions["path"])
    ]
    expected = regions.measures(found, np.stack(known))["AUC"].mean()
    assert ours.loc["D", "AUC"] == pytest.approx(expected)
    other = frame[frame["reading"] != "normal"]
    assert set(other["map"]) == set(regions.MAPS) - {"D before", "Grad-CAM"}


def test_what_was_measured_is_said_in_sentences_figures_and_the_report(root, study):
    data = emolib.open_dataset("emotionroi", root)
    frame = regions.measured(study.runs, data, study.ours, "cpu")
    table = regions.compare_maps(frame)
    said = words.what_regions_say(table)
    assert "one run cannot tell it from chance" in said and "Grad-CAM" in said
    more = [frame.assign(network=k, AUC=frame["AUC"] + k / 100) for k in range(3)]
    table = regions.compare_maps(pd.concat(more))
    D, centre = (
        frame[(frame["map"] == m) & (frame["reading"] == "normal")]["AUC"].iloc[0]
        for m in ("D", "centre")
    )
    row = table[(table["map"] == "centre") & (table["measure"] == "AUC")].iloc[0]
    assert row["D_minus"] == pytest.approx(D - centre) and row["over"] == "3 seeds"
    for figure in (
        region_figures.draw_scores(table[table["reading"] == "normal"], "t"),
        region_figures.draw_readings(table, "t"),
    ):
        figure.canvas.draw()
    region_figures.draw_maps(*regions.examples(study.runs[0], data, "cpu", 2)).canvas.draw()
    assert "3 networks" in report._regions(pd.concat(more), demo=False)[0]


def test_a_set_without_maps_cannot_be_measured(root, study):
    data = emolib.open_dataset("twitter1", root)
    with pytest.raises(ValueError, match="no stimuli maps"):
        regions.measured(study.runs, data, study.ours, "cpu")
    nothing = regions.compare_maps(pd.DataFrame(columns=regions.REGION_COLUMNS))
    assert nothing.empty and words.what_regions_say(nothing) == ""


def test_a_plain_run_trained_on_these_very_test_pictures_is_not_taken(root, study, tmp_path):
    run = study.runs[0]
    assert regions.plain_run(run).spec == study.plain
    elsewhere = types.SimpleNamespace(spec=run.spec, folder=tmp_path / "runs" / "x")
    assert regions.plain_run(elsewhere) is None
    other_fold = RunSpec(**{**study.plain.to_dict(), "dataset": "emotionroi", "fold": 1})
    emolib.run(other_fold, root, tmp_path, "s", device="cpu")
    beside = types.SimpleNamespace(spec=run.spec, folder=tmp_path / "s" / "runs" / "x")
    assert regions.plain_run(beside) is None
