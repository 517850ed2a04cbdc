"""Heads on a frozen backbone: what is kept of it, and that training on that changes nothing."""

import os
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from trees import make_roi, make_twitter, picture

import emolib
from emolib.base.files import read_json
from emolib.base.run_folder import read_run
from emolib.data import batches as pipeline
from emolib.network import backbones
from emolib.network.build import build_network
from emolib.spec import recipe
from emolib.spec.schedules import rate
from emolib.spec.systems import SYSTEMS
from emolib.tables.checks.verify import findings
from emolib.training import cost
from emolib.training import loop as training
from emolib.training.frozen import FrozenViews

CAN = [name for name, one in SYSTEMS.items() if one.can_freeze]
CPU = torch.device("cpu")


def frozen(dataset="twitter1", **changes):
    settings = dict(backbone="test_efficientnet", image_size=32, epochs=3, batch_size=8, lr=0.01)
    settings |= {"init": "scratch", "freeze": "backbone", "views": 3} | changes
    if settings.get("model", "maiafa") == "maiafa":
        settings["width"] = 16
    return emolib.RunSpec(dataset, **settings)


@pytest.fixture
def data(tmp_path):
    make_twitter(tmp_path / "data")
    return emolib.open_dataset("twitter1", tmp_path / "data")


def views_of(spec, data):
    network = build_network(spec)
    return network, training.pictures_of(spec, data, model=network)


def test_a_view_is_what_the_backbone_makes_of_the_crop(data, own_cache):
    spec = frozen()
    network, views = views_of(spec, data)
    assert len(views.kept) == 3
    pictures = pipeline.Pictures(data, 32, seed=0)
    images = [torch.stack([pictures[v, i][0] for i in range(len(data))]) for v in (-1, 1, 2)]
    network.eval()
    for view, pixels in enumerate(images):
        with torch.no_grad():
            B = network.levels(pipeline.normalise(pixels, network.pretrained_cfg, CPU))
        views.view = lambda epoch, index, view=view: view
        seen, labels, extras = views.batch([(0, i) for i in range(len(data))])
        assert labels.tolist() == data.labels.tolist() and not extras
        for kept, b in zip(seen.maps, B, strict=True):
            assert kept.shape == b.shape and kept.dtype == torch.float32
            assert (kept - b).abs().max() <= 2**-10 * b.abs().max()  # float16's rounding


def test_tests_see_the_centre_and_trainings_every_view_alike(data, own_cache):
    _, views = views_of(frozen(views=4), data)
    assert {views.view(-1, i) for i in range(len(data))} == {0}
    drawn = [views.view(epoch, i) for epoch in range(500) for i in range(20)]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert np.abs(shares - 0.25).max() < 0.02 and len(shares) == 4
    _, other = views_of(frozen(views=4, seed=1), data)
    assert drawn[:200] != [other.view(epoch, i) for epoch in range(10) for i in range(20)]
    # the pack, and four views each of two random backbones
    assert len(views.kept) == 4 and len(list(own_cache.glob("*.safetensors"))) == 9


@pytest.mark.parametrize("model", CAN)
def test_a_head_trained_on_kept_views_is_the_one_trained_through_the_backbone(
    root, tmp_path, model
):
    spec = frozen("emotionroi", model=model)
    kept = emolib.run(spec, root, tmp_path, "kept", device="cpu")
    anew = emolib.run(replace(spec, cache="off"), root, tmp_path, "anew", device="cpu")
    assert np.allclose(kept.history["train_loss"], anew.history["train_loss"], atol=1e-4)
    p = kept.predictions["p_positive"]
    assert np.abs(p - anew.predictions["p_positive"]).max() < 1e-4
    start, end = build_network(spec).state_dict(), load_file(kept.folder / "model.safetensors")
    same = {name: torch.equal(start[name], tensor) for name, tensor in end.items()}
    assert all(equal for name, equal in same.items() if name.startswith("backbone."))
    assert not all(equal for name, equal in same.items() if not name.startswith("backbone."))
    # whoever loads it sees pictures through the whole network
    answers = emolib.load(kept.folder, device="cpu").predict(
        [root / "emotionroi" / name for name in kept.predictions["path"]]
    )
    assert np.abs(answers["p_positive"].to_numpy() - p.to_numpy()).max() < 2e-3
    wrong = [one for one in findings(tmp_path) if one.status == "wrong"]
    assert not wrong, wrong


def test_a_head_that_was_stopped_goes_on_to_the_same_bytes(root, tmp_path, monkeypatch):
    spec, one_epoch = frozen("emotionroi", schedule="cosine", optimizer="adamw"), training.one_epoch

    def interrupted(network, loader, batches, *args):
        if batches.epoch == 2:
            raise KeyboardInterrupt
        return one_epoch(network, loader, batches, *args)

    whole = emolib.run(spec, root, tmp_path, "whole", device="cpu")
    monkeypatch.setattr(training, "one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emolib.run(spec, root, tmp_path, "cut", device="cpu")
    monkeypatch.undo()
    cut = emolib.run(spec, root, tmp_path, "cut", device="cpu")
    for name in ("predictions.csv", "model.safetensors", "metrics.json"):
        assert (whole.folder / name).read_bytes() == (cut.folder / name).read_bytes(), name
    assert read_run(cut.folder).spec == spec


def test_other_pictures_weights_and_sizes_are_other_files(data, own_cache):
    def files():
        return {f.name for f in own_cache.glob("*.safetensors") if "view" in f.name}

    spec = frozen(views=1)
    views_of(spec, data)
    first = files()
    for other in (replace(spec, image_size=64), replace(spec, seed=1), replace(spec, width=8)):
        views_of(other, data)  # another seed gives other random weights; another width the same
    assert len(first) == 1 and len(files()) == 3
    assert replace(spec, crop="resized").id != spec.id
    views_of(spec, replace(data, labels=1 - data.labels))  # other labels, the same pictures
    assert len(files()) == 3
    picture(data.root / "Agg_AMT_Candidates/3_é b.JPG", seed=9, format="JPEG")
    views_of(spec, emolib.open_dataset("twitter1", data.root.parent))
    assert len(files()) == 4


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"?" * 900]
)
def test_a_damaged_file_is_computed_again(data, own_cache, damage):
    spec = frozen(views=1)
    _, views = views_of(spec, data)
    (file,) = [f for f in own_cache.glob("*.safetensors") if "view" in f.name]
    expected, whole = views.kept[0].clone(), file.read_bytes()
    del views
    file.unlink()
    file.write_bytes(damage(whole))
    _, views = views_of(spec, data)
    assert torch.equal(views.kept[0], expected) and file.read_bytes() == whole


def test_without_room_the_maps_are_computed_in_every_step_and_it_is_said(
    root, tmp_path, own_cache, monkeypatch
):
    spec = frozen("emotionroi")
    kept = emolib.run(spec, root, tmp_path, "kept", device="cpu")
    largest = 0
    for file in own_cache.glob("*.safetensors"):
        largest = max(largest, file.stat().st_size)
        file.unlink()
    monkeypatch.setenv("EMOLIB_CACHE_GB", str(2.5e-9 * largest))  # not for three views
    with pytest.warns(UserWarning, match="frozen backbone's maps cannot be kept in .*are allowed"):
        anew = emolib.run(spec, root, tmp_path, "anew", device="cpu")
    assert not [*own_cache.glob("*view*")]  # none is computed that would not be used
    p = kept.predictions["p_positive"] - anew.predictions["p_positive"]
    assert np.abs(p).max() < 1e-4


def test_two_views_of_one_set_keep_to_the_budget_and_to_one_maker(data, own_cache):
    spec = frozen(views=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, views = views_of(spec, data)
    stamps = {f.name: os.stat(f).st_ino for f in own_cache.glob("*.safetensors")}
    _, again = views_of(spec, data)
    assert stamps == {f.name: os.stat(f).st_ino for f in own_cache.glob("*.safetensors")}
    assert torch.equal(views.kept[1], again.kept[1])


def test_a_backbone_in_training_mode_is_seen_as_in_a_test(data, own_cache):
    network, views = views_of(frozen(cache="off"), data)
    network.train()
    images = pipeline.normalise(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), views.cfg, CPU)
    before = {k: t.clone() for k, t in network.backbone.state_dict().items()}
    assert not views.kept and len(backbones.seen(network.backbone, images).maps) == 4
    assert all(torch.equal(t, before[k]) for k, t in network.backbone.state_dict().items())


@pytest.mark.parametrize("cache", ["packed", "off"])
def test_maps_beyond_float16_are_one_clear_error(data, own_cache, cache):
    network = build_network(frozen())
    torch.nn.init.constant_(network.backbone.bn1.bias, 1e6)
    torch.nn.init.constant_(network.backbone.bn1.weight, 0.0)
    with pytest.raises(ValueError, match="beyond float16's range.*start from trained ones"):
        views = FrozenViews(frozen(cache=cache), data, network)
        views.batch([(0, 0), (0, 1)])
    assert not [f for f in own_cache.glob("*.safetensors") if "view" in f.name]


def test_systems_that_look_at_more_than_maps_are_refused():
    for model in ("ar", "rao2020", "wu2019", "priya2020", "pcnn", "resnet18"):
        settings = {} if model in ("pcnn", "resnet18") else {"backbone": "test_efficientnet"}
        with pytest.raises(ValueError, match=f"model '{model}' learns from more"):
            emolib.RunSpec("twitter1", model=model, freeze="backbone", **settings)
    for views in (0, 65):
        with pytest.raises(ValueError, match=f"views={views}: must be"):
            frozen(views=views)
    # nothing of it applies to what is fitted without gradients, or to a backbone that learns
    assert emolib.RunSpec("twitter1", model="frozen_probe", freeze="backbone").freeze == ""
    assert frozen(freeze="", views=9).views == emolib.RunSpec("twitter1").views


def test_what_a_head_costs_is_measured_without_its_backbone(monkeypatch):
    calls = []
    monkeypatch.setattr(cost, "seen", lambda *args: calls.append(1) or backbones.seen(*args))
    found = cost.measure(frozen(width=8), "cpu")
    assert calls and 0 < found.train and 0 < found.test and 0 < found.memory


def test_frozen_views_take_the_place_of_pictures_where_the_spec_says_so(data, own_cache):
    network, views = views_of(frozen(), data)
    assert isinstance(views, FrozenViews)
    assert not any(p.requires_grad for p in network.backbone.parameters())
    assert all(p.requires_grad for n, p in network.named_parameters() if "backbone." not in n)
    optimizer = training.make_optimizer(network, frozen())
    learnt = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    whole = sum(p.numel() for p in network.parameters())
    assert learnt == whole - sum(p.numel() for p in network.backbone.parameters())
    assert isinstance(training.pictures_of(frozen(), data), pipeline.Pictures)


def test_the_rate_of_the_step_schedule_is_table_6s():
    spec = emolib.RunSpec("twitter1")
    for epoch, expected in ((0, 1e-4), (29, 1e-4), (30, 1e-5), (59, 1e-5), (60, 1e-6), (89, 1e-6)):
        assert rate(spec, epoch + 0.5) == pytest.approx(expected, rel=1e-12)
    for epochs in range(1, 40):  # never a fourth rate
        spec = emolib.RunSpec("twitter1", epochs=epochs)
        rates = {f"{rate(spec, epoch + 0.5):.3g}" for epoch in range(epochs)}
        assert len(rates) == min(3, epochs) or (epochs == 4 and len(rates) == 2), epochs


def test_the_rate_of_the_cosine_schedule_rises_for_a_tenth_and_ends_at_nothing():
    spec = emolib.RunSpec("twitter1", schedule="cosine", epochs=10, lr=0.5)
    assert [rate(spec, t) for t in (0, 0.5, 1)] == [0, 0.25, 0.5]
    assert rate(spec, 5.5) == pytest.approx(0.25) and rate(spec, 10) == pytest.approx(0, abs=1e-12)
    assert rate(spec, 5.5, 1.0) == pytest.approx(0.5)  # of parameters with a rate of their own
    assert spec == replace(spec, lr_step=7) and spec.id == replace(spec, lr_step=7).id


def test_every_step_has_its_own_rate(root, tmp_path, monkeypatch):
    used, step = [], training.step

    def watched(network, images, labels, optimizer, *args):
        used.append([group["lr"] for group in optimizer.param_groups])
        return step(network, images, labels, optimizer, *args)

    monkeypatch.setattr(training, "step", watched)
    spec = frozen("emotionroi", freeze="", schedule="cosine", head_lr=10.0)
    found = emolib.run(spec, root, tmp_path, device="cpu")
    n = len(used) // spec.epochs
    at = [(k + 0.5) / n for k in range(len(used))]
    assert np.allclose(used, [[rate(spec, t), 10 * rate(spec, t)] for t in at])
    assert np.allclose(found.history["lr"], [rate(spec, e + 0.5) for e in range(3)], rtol=1e-5)


def test_specs_from_before_keep_their_names_and_meaning():
    old = emolib.RunSpec("twitter1", epochs=4, lr_step=1, image_size=128, init="imagenet")
    values = {k: v for k, v in old.to_dict().items() if k not in ("freeze", "views", "schedule")}
    again = emolib.RunSpec.from_dict(values)
    assert again == old and again.lr_step == 1 and again.id.endswith("fold0-seed0-440673a6")
    assert emolib.RunSpec("twitter1", epochs=4, init="imagenet").lr_step == 2


PHASES = dict(freeze="", head_epochs=2, epochs=2, layer_decay=0.5, optimizer="adamw", views=2)


def test_the_head_learns_first_and_then_everything(root, tmp_path, monkeypatch):
    spec, trained, one_epoch = frozen("emotionroi", **PHASES), [], training.one_epoch

    def watched(network, loader, batches, optimizer, *args):
        row = one_epoch(network, loader, batches, optimizer, *args)
        weights = {k: t.clone() for k, t in network.state_dict().items()}
        trained.append((weights, len(optimizer.param_groups)))
        return row

    monkeypatch.setattr(training, "one_epoch", watched)
    found = emolib.run(spec, root, tmp_path, device="cpu")
    start, name = build_network(spec).state_dict(), "backbone.conv_stem.weight"
    for weights, groups in trained[:2]:
        assert torch.equal(weights[name], start[name]) and groups == 1
    assert not torch.equal(trained[2][0][name], start[name]) and trained[2][1] > 4
    assert not torch.equal(trained[0][0]["classifier.0.weight"], start["classifier.0.weight"])
    history, (head, whole) = found.history, spec.phases
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    rates = [rate(part, n + 0.5) for part in (head, whole) for n in (0, 1)]
    assert (
        np.allclose(history["lr"], rates, rtol=1e-5)
        and head.lr == recipe.SETTINGS["backbone"]["lr"]
    )
    assert not [one for one in findings(tmp_path) if one.status == "wrong"]
    # the first phase is the training of the head alone
    alone = emolib.run(replace(head, epochs=2), root, tmp_path, "alone", device="cpu")
    assert np.allclose(alone.history["train_loss"], history["train_loss"][:2], atol=1e-6)
    plan = emolib.estimate([spec], root, device="cpu")
    assert (
        plan["pictures"].iloc[0] == 4 * read_json(found.folder / "environment.json")["trained_on"]
    )


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_phases_that_were_stopped_go_on_to_the_same_bytes(root, tmp_path, monkeypatch, cut_after):
    spec, one_epoch, calls = frozen("emotionroi", **PHASES), training.one_epoch, []

    def interrupted(*args):
        if len(calls) == cut_after:
            raise KeyboardInterrupt
        calls.append(1)
        return one_epoch(*args)

    whole = emolib.run(spec, root, tmp_path, "whole", device="cpu")
    monkeypatch.setattr(training, "one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emolib.run(spec, root, tmp_path, "cut", device="cpu")
    monkeypatch.setattr(training, "one_epoch", lambda *args: calls.append(1) or one_epoch(*args))
    cut = emolib.run(spec, root, tmp_path, "cut", device="cpu")
    assert len(calls) == 4  # nothing is trained twice
    for name in ("predictions.csv", "model.safetensors"):
        assert (whole.folder / name).read_bytes() == (cut.folder / name).read_bytes(), name


def test_each_layer_learns_at_a_share_of_the_rate_above_it():
    spec = frozen(freeze="", layer_decay=0.5, weight_decay=0.1, lr=1.0)
    network = build_network(spec)
    groups = training.parameter_groups(network, spec)
    at = {id(p): group for group in groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert at.keys() == {id(p) for p in named.values()}
    place = backbones.depths(network.backbone)
    by_depth: dict = {}
    for name, p in named.items():
        group = at[id(p)]
        assert group["weight_decay"] == (0.0 if p.ndim <= 1 else 0.1)
        if name.startswith("backbone."):
            by_depth.setdefault(place(name.removeprefix("backbone.")), set()).add(group["lr"])
        else:
            assert group["lr"] == 1.0, name
    rates = [by_depth[depth] for depth in sorted(by_depth)]
    assert all(len(one) == 1 for one in rates)
    flat = [one.pop() for one in rates]
    assert all(b == pytest.approx(2 * a) for a, b in pairwise(flat)) and flat[-1] == 0.5


def test_phases_are_refused_where_they_make_no_sense():
    for decay in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"layer_decay={decay}: must be above 0 and at most 1"):
            emolib.RunSpec("twitter1", layer_decay=decay)
    with pytest.raises(ValueError, match="head_epochs=-1: must be 0 or more"):
        emolib.RunSpec("twitter1", head_epochs=-1)
    with pytest.raises(ValueError, match="head_epochs=3: model 'ar' learns from more"):
        emolib.RunSpec("twitter1", model="ar", head_epochs=3)
    spec = frozen(head_epochs=3, layer_decay=0.5)  # a frozen backbone has no second phase
    assert spec.phases == [spec] and (spec.head_epochs, spec.layer_decay) == (0, 1.0)
    assert frozen(**PHASES).step == frozen(**PHASES).phases[-1].step  # what was timed is one


def test_a_chain_may_be_trained_on_frozen_maps(tmp_path):
    make_roi(tmp_path / "data", each=5)
    make_twitter(tmp_path / "data")
    spec = frozen(init="emotionroi:scratch", epochs=2)
    found = emolib.run(spec, tmp_path / "data", tmp_path / "results", device="cpu")
    before = tmp_path / "results/demo/runs" / spec.predecessor().id / "model.safetensors"
    start, end = load_file(before), load_file(found.folder / "model.safetensors")
    name = "backbone.conv_stem.weight"
    assert spec.predecessor().freeze == "backbone" and torch.equal(start[name], end[name])
    assert not torch.equal(start["classifier.0.weight"], end["classifier.0.weight"])
