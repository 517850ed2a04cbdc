"""Deletion and insertion: on a network whose answer is known to hang on one half of the picture."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn
from trees import picture

from emolib.spec.run_spec import RunSpec
from emolib.study import deletion, region_figures, words


class LeftHalf(nn.Module):
    """Sees how rough the left half of a picture is, and says that with D."""

    pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, images):
        rough = (images[..., :31] - images[..., 1:32]).abs().mean((1, 2, 3))
        return torch.stack([-4 * rough, 4 * rough], 1)

    def regions(self, images):
        D = torch.zeros(len(images), 1, 16, 16)
        D[..., :8] = torch.linspace(0.6, 0.9, 128).view(16, 8)
        return D


class Predictor:
    spec = RunSpec("twitter1", image_size=64, init="scratch")
    model, device = LeftHalf(), torch.device("cpu")

    def view(self, path):
        return np.random.default_rng(int(path)).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_blurring_what_the_answer_hangs_on_lowers_it_and_blurring_the_rest_does_not():
    frame = deletion.blurred(Predictor(), [str(i) for i in range(40)], shares=(0.25, 0.5))
    assert len(frame) == 40 * 2 * len(deletion.PLACES)
    means = frame.groupby(["share", "blurred"])["fall"].mean()
    assert means[0.5, "where D is highest"] > 20
    assert abs(means[0.5, "where D is lowest"]) < 1
    assert means[0.25, "where D is highest"] > means[0.25, "the centre"] > 0
    assert means[0.25, "where D is highest"] > means[0.25, "the same shape elsewhere"]
    again = deletion.blurred(Predictor(), [str(i) for i in range(40)], shares=(0.25, 0.5))
    pd.testing.assert_frame_equal(frame, again)


@pytest.fixture(scope="module")
def curves():
    frame = deletion.curves(Predictor(), [str(i) for i in range(12)])
    return frame.assign(set="twitter1", network=0, fold=0)


def test_curves_run_from_the_picture_to_its_blur_and_back(curves):
    wide = curves.pivot(index=["path", "way", "place"], columns="share", values="p")
    assert list(wide.columns) == list(deletion.STEPS)
    whole, soft = wide.xs("deletion", level="way"), wide.xs("insertion", level="way")
    np.testing.assert_allclose(whole[0.0], soft[1.0], atol=1e-6)
    np.testing.assert_allclose(whole[1.0], soft[0.0], atol=1e-6)
    assert (whole[0.0] > 0.5).all()  # p of the class that was predicted
    # sharpening D's highest is blurring its lowest: 256 positions make the shares exact
    lowest = whole.xs("where D is lowest", level="place").to_numpy()[:, ::-1]
    np.testing.assert_allclose(soft.xs("where D is highest", level="place"), lowest, atol=1e-6)


def test_an_answer_that_hangs_on_the_left_half_falls_and_comes_back_with_it(curves):
    means = deletion.mean_curves(curves).set_index(["way", "place", "share"])["p"]
    high, low = deletion.PLACES[0], deletion.PLACES[2]
    assert means["deletion", high, 0.5] == pytest.approx(means["deletion", high, 1.0], abs=0.02)
    assert means["deletion", low, 0.5] == pytest.approx(means["deletion", low, 0.0], abs=0.02)
    assert means["insertion", high, 0.5] == pytest.approx(means["insertion", high, 1.0], abs=0.02)
    areas = deletion.areas(curves).set_index(["way", "place"])
    for place in deletion.PLACES[1:]:
        assert areas.loc[("deletion", place), "d_low"] > 0
        assert areas.loc[("insertion", place), "d_high"] < 0
    said = words.what_curves_say(areas.reset_index())
    assert said.count("it hangs more on *D*'s highest") == 6
    region_figures.draw_curves(means.reset_index(), areas.reset_index(), "t").canvas.draw()


def test_areas_are_trapezoids_with_intervals_over_pictures_folds_or_seeds(curves):
    rows = curves[(curves["way"] == "deletion") & (curves["place"] == deletion.PLACES[3])]
    each = [
        sum((a + b) / 20 for a, b in zip(p, p[1:], strict=False))
        for p in rows.sort_values("share").groupby("path")["p"].apply(list)
    ]
    found = deletion.areas(curves).set_index(["way", "place"]).loc[("deletion", deletion.PLACES[3])]
    assert found["area"] == pytest.approx(np.mean(each))
    interval = stats.ttest_1samp(each, np.mean(each)).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert found["over"] == "12 pictures of one network"
    number = curves["path"].astype(int)
    folds = deletion.areas(curves.assign(fold=number % 3))
    assert set(folds["over"]) == {"3 folds"} and set(folds["networks"]) == {3}
    seeds = deletion.areas(curves.assign(network=number % 2))
    assert set(seeds["over"]) == {"2 seeds"}


@pytest.mark.parametrize("place", deletion.PLACES)
def test_as_much_is_blurred_everywhere(place):
    D = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    mask = deletion._mask(D, 0.25, place, 3)
    assert mask.sum() == 144
    if place == "where D is highest":
        assert D[mask].min() > D[~mask].max()
    if place == "where D is lowest":
        assert D[mask].max() < D[~mask].min()


def test_the_comparison_is_wilcoxons_with_students_interval():
    rng = np.random.default_rng(0)
    high, low = rng.normal(3, 1, 30), rng.normal(1, 1, 30)
    rows = [
        (f"{i}", 0.1, place, value)
        for place, values in zip(deletion.PLACES[::2], (high, low), strict=True)
        for i, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["path", "share", "blurred", "fall"])
    found = deletion.compare_falls(frame).set_index("blurred")
    assert found.loc["where D is lowest", "p"] == pytest.approx(stats.wilcoxon(high - low).pvalue)
    assert np.isnan(found.loc["where D is highest", "p"])
    interval = stats.ttest_1samp(high, 0).confidence_interval()
    assert found.loc["where D is highest", "low"] == pytest.approx(interval.low)


def test_it_runs_on_a_trained_network(root, tmp_path):
    import emolib

    spec = RunSpec(
        "twitter1",
        backbone="test_resnet",
        width=128,
        image_size=32,
        epochs=1,
        init="scratch",
        batch_size=8,
    )
    folder = emolib.run(spec, root, tmp_path, device="cpu").folder
    files = [picture(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    frame = deletion.blurred(emolib.load(folder, device="cpu"), files)
    assert len(frame) == 3 * 3 * 4 and frame["fall"].abs().max() <= 100
