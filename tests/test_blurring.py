"""The deletion test: on a network whose answer is known to hang on one half of the picture."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn
from trees import picture

from emolib import blurring
from emolib.spec import RunSpec


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
    frame = blurring.blurred(Predictor(), [str(i) for i in range(40)], shares=(0.25, 0.5))
    assert len(frame) == 40 * 2 * len(blurring.PLACES)
    means = frame.groupby(["share", "blurred"])["fall"].mean()
    assert means[0.5, "where D is highest"] > 20
    assert abs(means[0.5, "where D is lowest"]) < 1
    assert means[0.25, "where D is highest"] > means[0.25, "the centre"] > 0
    assert means[0.25, "where D is highest"] > means[0.25, "the same shape elsewhere"]
    again = blurring.blurred(Predictor(), [str(i) for i in range(40)], shares=(0.25, 0.5))
    pd.testing.assert_frame_equal(frame, again)


@pytest.mark.parametrize("place", blurring.PLACES)
def test_as_much_is_blurred_everywhere(place):
    D = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    mask = blurring._mask(D, 0.25, place, 3)
    assert mask.sum() == 144
    if place == "where D is highest":
        assert D[mask].min() > D[~mask].max()
    if place == "where D is lowest":
        assert D[mask].max() < D[~mask].min()


def test_the_comparison_is_wilcoxons_with_students_interval():
    rng = np.random.default_rng(0)
    high, low = rng.normal(3, 1, 30), rng.normal(1, 1, 30)
    rows = [(f"{i}", 0.1, place, value) for place, values in zip(blurring.PLACES[::2], (high, low),
            strict=True) for i, value in enumerate(values)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["path", "share", "blurred", "fall"])
    found = blurring.compared(frame).set_index("blurred")
    assert found.loc["where D is lowest", "p"] == pytest.approx(stats.wilcoxon(high - low).pvalue)
    assert np.isnan(found.loc["where D is highest", "p"])
    interval = stats.ttest_1samp(high, 0).confidence_interval()
    assert found.loc["where D is highest", "low"] == pytest.approx(interval.low)


def test_it_runs_on_a_trained_network(root, tmp_path):
    import emolib

    spec = RunSpec("twitter1", backbone="resnet10t", width=128, image_size=32, epochs=1,
                   init="scratch", batch_size=8)  # fmt: skip
    folder = emolib.run(spec, root, tmp_path, device="cpu").folder
    files = [picture(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    frame = blurring.blurred(emolib.load(folder, device="cpu"), files)
    assert len(frame) == 3 * 3 * 4 and frame["fall"].abs().max() <= 100
