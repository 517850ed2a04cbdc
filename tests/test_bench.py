"""The bench measures what it says; no test here depends on how long anything takes."""

import time

import pandas as pd
import pytest
import torch

from benchmarks import bench, bench_compile, bench_systems
from emolib.spec import systems
from emolib.training import cost


def test_competitors_take_turns_and_the_order_moves_on(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    called = []
    seconds = bench.alternate(
        {name: lambda name=name: called.append(name) for name in "abc"}, turns=2, at_least=0
    )
    assert called == [*"abc", *"abc", *"bca"]  # a warm-up, then two turns
    assert seconds.shape == (2, 3) and list(seconds) == list("abc")


def test_a_ratio_is_the_median_of_the_turns_ratios():
    seconds = pd.DataFrame({"a": [1.0, 2.0, 10.0], "b": [2.0, 6.0, 15.0]})
    row = bench.ratios(seconds, to="a").loc["b"]
    assert row["ratio"] == pytest.approx(2.0) and row["ms"] == pytest.approx(6000)
    assert row["ratio_low"] == pytest.approx(1.75) and row["ratio_high"] == pytest.approx(2.5)


def test_what_is_kept_for_backward_is_counted_once_and_without_parameters():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(256, 2, bias=False)

        def forward(self, x):
            return self.layer(x * 1.0) + self.layer(x) * 0

    images = torch.zeros(1024, 256, requires_grad=True)
    kept = cost.kept_for_backward(Two(), images, torch.zeros(1024).long()) / 2**20
    # x and its copy: 2 × 1024 × 256 floats; besides these the logits' softmax and the labels
    assert 2.0 <= kept < 2.1


def test_every_layers_output_is_counted():
    """Linear and ReLU keep one output each a pair, 1 MB, whatever is freed in between."""
    layers = [m for _ in range(12) for m in (torch.nn.Linear(256, 256), torch.nn.ReLU())]
    images, labels = torch.zeros(1024, 256), torch.zeros(1024).long()
    kept = cost.kept_for_backward(torch.nn.Sequential(*layers), images, labels) / 2**20
    assert 13 <= kept <= 16  # 12 outputs, the images, log-softmax


def test_counting_what_is_kept_keeps_nothing():
    import gc
    import weakref

    class Doubled(torch.nn.Module):
        def forward(self, x):
            self.seen = weakref.ref(out := (x * 2).exp())  # exp keeps its own output
            return out

    net = Doubled()
    cost.kept_for_backward(net, torch.zeros(4, 2, requires_grad=True), torch.zeros(4).long())
    gc.collect()
    assert net.seen() is None


def test_steps_compare_three_networks_in_both_kinds_of_step():
    table = bench.steps("resnet10t", 32, 2, torch.device("cpu"), turns=1)
    assert list(zip(table["step"], table["network"], strict=True)) == [
        (step, name)
        for step in ("inference", "training")
        for name in ("backbone", "emolib", "plain")
    ]
    assert (table.loc[table["network"] == "backbone", "ratio"] == 1).all()
    kept = table[table["step"] == "training"].set_index("network")["memory_mb"]
    assert kept["backbone"] < kept["emolib"] < kept["plain"]


def test_our_input_and_image_folder_read_the_same_number_of_pictures():
    table = bench.pictures_per_second(count=8, size=32, turns=1)
    assert table["crop"].tolist() == ["random"] * 3 + ["resized"] * 3
    assert table["input"].str.startswith("ImageFolder").sum() == 4
    assert (table["pictures_per_second"] > 0).all()


@pytest.mark.slow
def test_whole_trainings_are_timed_beside_the_plain_script(root):
    table = bench.trainings(root, backbone="resnet10t", width=128, image_size=32)
    assert table["what"].tolist() == ["one epoch"] * 2 + ["five folds"] * 2
    assert (table["seconds"] > 0).all()


@pytest.mark.slow
def test_every_trained_system_is_timed_against_maiafa():
    found = bench_systems.systems("resnet10t", 32, 2, torch.device("cpu"), turns=1)
    trained = {name for name, one in systems.SYSTEMS.items() if not one.fitted}
    trained = trained - {"clip_finetune", "resnet101"} | {"plain"}
    for kind in ("training", "test"):
        rows = found[found["kind"] == kind].set_index("system")
        assert set(rows.index) == trained and rows.loc["maiafa", "ratio"] == 1
        assert (rows["ms"] > 0).all()


@pytest.mark.slow
def test_compiled_steps_are_timed_beside_eager_ones():
    found = bench_compile.compiled("resnet10t", 32, 2, turns=1).set_index("form")
    assert found.loc["compiled", "ratio"] == 1 and (found["ms"] > 0).all()
    assert found.loc["compiled", "compile_s"] > found.loc["compiled", "ms"] / 1000
