"""The rivals: each can be trained, kept, loaded and resumed; settings that reach them."""

import copy
import dataclasses

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from trees import make_shapes

import emolib
from emolib.base import devices
from emolib.data import batches as pipeline
from emolib.network import create as models
from emolib.network.build import build_network
from emolib.network.rivals import pcnn, rival_class
from emolib.spec import systems
from emolib.training import loop as training

TRAINED = [name for name in systems.RIVALS if not systems.system_of(name).fitted]
TINY = "vit_tiny_patch16_224"
PROTOCOL = dict(image_size=32, epochs=20, lr=0.01, lr_step=16, batch_size=8, init="scratch")


def backbone_of(name, small="resnet10t"):
    if systems.system_of(name).backbone is None:
        return None
    return TINY if name.startswith("clip") else small


def make(name, num_classes=2, **options):
    torch.manual_seed(0)
    return emolib.create_model(name, backbone_of(name), num_classes, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_shapes(root)
    return root


@pytest.mark.parametrize("name", TRAINED)
def test_logits_for_any_size_and_a_gradient_for_every_parameter(name):
    net = make(name, num_classes=3)
    images, labels = (
        torch.randn(4, 3, 64, 96 if name != "clip_finetune" else 64),
        torch.arange(4) % 3,
    )
    extras = {}
    if hasattr(net, "finder"):
        extras["boxes"] = torch.tensor([[4.0, 8, 40, 60, 0.7], [0, 0, 0, 0, 0]]).expand(4, 2, 5)
    if hasattr(net, "uses_emotions"):
        extras["emotions"] = torch.tensor([0, 1, 2, 0])
    for module in net.modules():  # timm's ResNets start with blocks that add nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    assert net(images).shape == (4, 3)
    loss, logits = training.loss_of(net, images, labels, "float32", extras)
    loss.backward()
    assert logits.shape == (4, 3)
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # a step of the proposals' boxes may find no box to learn from; nothing else may be idle
    assert [n for n in without if "bbox_pred" not in n] == []
    net.eval()
    with torch.no_grad():
        assert net(images).isfinite().all() and net(images[:1]).shape == (1, 3)


@pytest.mark.parametrize("name", [n for n in systems.RIVALS if not n.startswith("clip")])
def test_each_overfits_sixteen_pictures_and_loads_to_equal_predictions(
    name, root, tmp_path, monkeypatch
):
    monkeypatch.setenv("EMOLIB_CHECKPOINT_SECONDS", "60")  # writing them takes longer than training
    own = {"pcnn": {"epochs": 50, "lr_step": 50}}.get(name, {})
    one = emolib.RunSpec(
        "own", model=name, backbone=backbone_of(name, "test_resnet"), **PROTOCOL | own
    )
    result = emolib.run(one, root, tmp_path)
    predictor = emolib.load(result.folder)
    data = emolib.open_dataset("own", root)
    test, train = data.folds()[0][1], data.folds()[0][0]
    again = predictor.predict([data.paths[i] for i in test])
    assert np.allclose(again["p_positive"], result.predictions["p_positive"], atol=1e-6)
    learnt = predictor.predict([data.paths[i] for i in train])
    assert (learnt["label"] == data.labels[train]).mean() >= 15 / 16


def test_pcnns_filter_acts_once_and_a_resumed_run_keeps_it(root, monkeypatch):
    one = emolib.RunSpec("own", model="pcnn", **PROTOCOL | {"epochs": 4})
    data = emolib.open_dataset("own", root)
    train = data.folds()[0][0]
    calls, states = [], []
    monkeypatch.setattr(pcnn, "kept", lambda p, rng: calls.append(len(p)) or np.arange(len(p)) < 9)

    def trained(state=None, after_epoch=lambda state: None):
        net = build_network(one)
        history = training.train_network(
            net,
            one,
            training.Material(training.pictures_of(one, data), train),
            torch.device("cpu"),
            state=state,
            after_epoch=after_epoch,
        )
        return net.state_dict(), [row["train_loss"] for row in history]

    whole, losses = trained(after_epoch=lambda s: states.append(copy.deepcopy(s)))
    assert calls == [16] and [s["kept"] is None for s in states] == [True, False, False, False]
    assert states[1]["kept"] == train[:9].tolist()
    for killed_after in (0, 2):  # before and after the filter
        again, other_losses = trained(states[killed_after])
        assert other_losses == losses and all(torch.equal(v, again[k]) for k, v in whole.items())
    assert calls == [16, 16]
    tuned = dataclasses.replace(one, dataset="twitter1", init="emotionroi:scratch")
    assert tuned.predecessor().model == "pcnn" and tuned.stages


@pytest.mark.parametrize("name", ["rao2016", "frozen_probe"])
def test_a_training_list_of_one_class_predicts_that_class(name, root):
    data = emolib.open_dataset("own", root)
    net = make(name, image_size=32)
    for label in (0, 1):
        p = net.fit(data.paths[:6], [label] * 6).predict_proba(data.paths)
        assert p.shape == (20, 2) and np.allclose(p.sum(1), 1)
        assert (p.argmax(1) == label).all()


def test_the_probe_is_scikit_learns_regression_on_the_backbones_features(root):
    data = emolib.open_dataset("own", root)
    net = make("frozen_probe", image_size=64)
    before = {k: v.clone() for k, v in net.backbone.state_dict().items()}
    p = net.fit(data.paths, data.labels).predict_proba(data.paths)[:, 1]
    views = torch.stack([pipeline.centre(path, 64) for path in data.paths])
    images = pipeline.normalise(views, net.pretrained_cfg, torch.device("cpu"))
    with torch.no_grad():
        features = net.backbone(images).double().numpy()
        logits = net(images).softmax(1)[:, 1]
    scaled = StandardScaler().fit_transform(features)
    expected = LogisticRegression(C=0.01, max_iter=2000).fit(scaled, data.labels)
    assert np.allclose(p, expected.predict_proba(scaled)[:, 1], atol=1e-5)
    assert np.allclose(p, logits, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.backbone.state_dict().items())
    plain = timm.create_model("resnet10t", num_classes=2).state_dict()
    net.start_from(plain)
    assert torch.equal(net.backbone.conv1[0].weight, plain["conv1.0.weight"])


def test_clip_needs_its_file_and_takes_any_tower(root, tmp_path):
    where = dict(data_root=root, results_root=tmp_path / "r")
    small = dict(PROTOCOL, epochs=1, init="imagenet")
    with pytest.raises((RuntimeError, ValueError), match=systems.CLIP):
        emolib.run(emolib.RunSpec("own", model="clip_probe", **small), **where)
    tower = timm.create_model(TINY)
    save_file(tower.state_dict(), tmp_path / f"{TINY}.safetensors")
    for name in ("clip_probe", "clip_finetune"):
        one = emolib.RunSpec("own", model=name, backbone=TINY, **small)
        result = emolib.run(one, weights=tmp_path, **where)
        assert result.metrics["n"] == 4
        kept = emolib.load(result.folder).model.backbone.patch_embed.proj.weight
        same = torch.equal(kept, tower.patch_embed.proj.weight)
        assert same == (name == "clip_probe")  # frozen, and tuned


def test_what_does_not_apply_to_a_system_is_in_no_name():
    a = emolib.RunSpec("fi", model="rao2016", lr=0.5, epochs=7, mai=False)
    assert a == emolib.RunSpec("fi", model="rao2016") and a.init == "scratch"
    assert a.backbone is None and "rao2016" in a.id
    b = emolib.RunSpec("twitter1", model="wscnet", backbone="resnet18", width=64)
    assert b == emolib.RunSpec("twitter1", model="wscnet", backbone="resnet18")
    assert "wscnet-resnet18" in b.id and b.predecessor().model == "wscnet"
    probe = emolib.RunSpec("twitter1", model="frozen_probe", backbone="resnet18")
    assert probe.predecessor().model == probe.predecessor().backbone == "resnet18"
    assert emolib.RunSpec("twitter1", model="clip_probe").init == "imagenet"
    with pytest.raises(ValueError, match="'pcnn' has no backbone"):
        emolib.RunSpec("fi", model="pcnn", backbone="resnet18")


def test_sizes_are_the_known_ones():
    found = models.size(emolib.create_model("resnet18", num_classes=1000), 224)
    assert found["parameters"] == 11_689_512
    assert found["macs"] == pytest.approx(1.82e9, rel=0.01)  # timm's list
    probe = emolib.create_model("frozen_probe", "resnet18", image_size=224)
    assert models.size(probe, 224)["parameters"] == 11_689_512 - 513 * 1000 + 513
    assert models.size(emolib.create_model("rao2016"), 224)["macs"] is None


@pytest.mark.parametrize("name", systems.RIVALS)
def test_a_systems_record_says_what_its_class_does(name):
    record, made_by = systems.system_of(name), rival_class(name)
    assert record.boxes == hasattr(made_by, "finder")
    assert record.uses_emotions == hasattr(made_by, "uses_emotions")
    assert record.fitted == hasattr(made_by, "fit")
    assert (record.backbone is None) == (not hasattr(made_by, "takes"))


@pytest.mark.parametrize("name", ["wscnet", "mcpnet", "yao2019", "priya2020", "ar", "wu2019"])
def test_in_bf16_the_backbone_alone_loses_bits(name):
    net = make(name).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        exact = net(images)
        with devices.autocast("bf16", images.device):
            logits = net(images)
    assert logits.dtype == torch.float32 and not torch.equal(logits, exact)
    assert torch.allclose(logits, exact, atol=0.15)
