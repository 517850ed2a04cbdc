"""The rivals: each system's equations the long way; each is trained, kept and loaded."""

import copy
import dataclasses

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

import emolib
from emolib import models, pipeline, proposals, runs, spec, training
from emolib.files import read_json
from emolib.rivals import SYSTEMS, affective_regions, mcpnet, pcnn, priya2020, rao2016, yao2019

TRAINED = [name for name, system in SYSTEMS.items() if not hasattr(system, "fit")]
TINY = "vit_tiny_patch16_224"
PROTOCOL = dict(image_size=32, epochs=20, lr=0.01, lr_step=16, batch_size=8, init="scratch")


def backbone_of(name):
    if spec.BACKBONES[name] is None:
        return None
    return TINY if name.startswith("clip") else "resnet10t"


def make(name, num_classes=2, **options):
    torch.manual_seed(0)
    return emolib.create_model(name, backbone_of(name), num_classes, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """own/: twenty pictures of a disc or a cross, four of them fold 0's test."""
    root, rows = tmp_path_factory.mktemp("data"), ["path,label,fold"]
    rng = np.random.default_rng(0)
    (root / "own").mkdir()
    for i in range(20):
        image = Image.new("RGB", (80, 72), tuple(rng.integers(0, 120, 3).tolist()))
        draw, colour = ImageDraw.Draw(image), tuple(rng.integers(150, 256, 3).tolist())
        x, y = rng.integers(20, 32, 2).tolist()
        if i % 2:
            draw.ellipse((x, y, x + 26, y + 26), fill=colour)
        else:
            draw.line((x, y, x + 26, y + 26), fill=colour, width=6)
            draw.line((x, y + 26, x + 26, y), fill=colour, width=6)
        image.save(root / f"own/{i}.png")
        rows.append(f"{i}.png,{i % 2},{int(i >= 4)}")
    (root / "own/labels.csv").write_text("\n".join(rows) + "\n")
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


@pytest.mark.parametrize("name", [n for n in SYSTEMS if not n.startswith("clip")])
def test_each_overfits_sixteen_pictures_and_loads_to_equal_predictions(name, root, tmp_path):
    own = {"pcnn": {"epochs": 50, "lr_step": 50}}.get(name, {})
    one = emolib.RunSpec("own", model=name, backbone=backbone_of(name), **PROTOCOL | own)
    result = emolib.run(one, root, tmp_path)
    predictor = emolib.load(result.folder)
    data = emolib.open_dataset("own", root)
    test, train = data.folds()[0][1], data.folds()[0][0]
    again = predictor.predict([data.paths[i] for i in test])
    assert np.allclose(again["p_positive"], result.predictions["p_positive"], atol=1e-6)
    learnt = predictor.predict([data.paths[i] for i in train])
    assert (learnt["label"] == data.labels[train]).mean() >= 15 / 16


def test_wscnet_is_its_equations_with_the_means_own_gradient():
    net = make("wscnet", num_classes=3).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.double)
    features = net.backbone.forward_features(images).detach()
    weight = net.detect.weight.detach().clone().requires_grad_()
    logits = []
    detected = []
    for F in features:  # c×h×w
        maps = torch.einsum("kc,chw->khw", weight[:, :, 0, 0], F) + net.detect.bias[:, None, None]
        of_class = [sum(maps[4 * c + k] for k in range(4)) / 4 for c in range(3)]
        v = [m.mean() for m in of_class]
        M = sum(m * s for m, s in zip(of_class, v, strict=True)) / 3
        both = torch.cat([F, torch.stack([f * M for f in F])]).mean((1, 2))
        logits.append(net.classifier(both))
        detected.append(torch.stack(v))
    labels = torch.tensor([2, 0])
    loss = (cross_entropy(torch.stack(detected), labels)
            + cross_entropy(torch.stack(logits), labels)) / 2  # fmt: skip
    loss.backward()
    net.eval(), net.backbone.train()
    ours, found = net(images, labels=labels)
    ours.backward()
    assert torch.allclose(found, torch.stack(logits)) and torch.allclose(ours, loss)
    assert torch.allclose(net.detect.weight.grad, weight.grad)


def test_affective_regions_fuses_the_eight_best_boxes_by_both_scores():
    rng = np.random.default_rng(1)
    whole, of_boxes = rng.normal(size=(1, 2)), rng.normal(size=(1, 12, 2))
    objectness = np.append(rng.uniform(0.1, 1, 11), 0)[None]  # the last is no box

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    p = softmax(of_boxes[0, :11])
    sentiment = 1 + (p * np.log(p)).sum(1)
    scaled = [(s - s.min()) / (s.max() - s.min()) for s in (sentiment, objectness[0, :11])]
    best = np.argsort(-(0.4 * scaled[0] + 0.6 * scaled[1]))[:8]
    expected = 0.7 * softmax(whole)[0] + 0.3 * p[best].mean(0)
    tensors = [torch.tensor(a) for a in (whole, of_boxes, objectness)]
    assert np.allclose(affective_regions.fuse(*tensors).softmax(-1)[0], expected)
    nothing = affective_regions.fuse(*tensors[:2], torch.zeros(1, 12))
    assert np.allclose(nothing.softmax(-1)[0], softmax(whole)[0])


def test_wu2019_is_the_whole_picture_alone_where_nothing_is_salient():
    net = make("wu2019").eval()
    images = torch.randn(2, 3, 64, 64)
    boxes = torch.zeros(2, proposals.COUNT, 5)
    boxes[1, 0] = torch.tensor([8, 8, 40, 40, 0.9])
    with torch.no_grad():
        p = net(images, boxes=boxes).softmax(1)
        whole = net.classifiers[0](net.backbone[0](images)).softmax(1)
        part = torch.nn.functional.interpolate(images[1:, :, 8:40, 8:40], (64, 64), mode="bilinear")
        local = net.classifiers[1](net.backbone[1](part)).softmax(1)
    assert torch.allclose(p[0], whole[0])
    assert torch.allclose(p[1], (whole[1] + local[0]) / 2, atol=0.02)  # two kinds of resampling
    assert not torch.allclose(p[1], whole[1], atol=1e-3)


def test_mcpnets_context_is_the_adaptive_context_module_as_printed():
    module = mcpnet.AdaptiveContext(8, scale=3).double()
    x = torch.randn(2, 8, 7, 9, dtype=torch.double)
    y = module.regions(torch.nn.functional.adaptive_avg_pool2d(x, 3))
    affinity = module.affinity(x + module.whole(x.mean((2, 3), keepdim=True))).sigmoid()
    z = torch.zeros_like(x)
    for i in range(7):
        for j in range(9):
            for region in range(9):
                z[:, :, i, j] += affinity[:, region, i, j, None] * y[:, :, region // 3, region % 3]
    assert torch.allclose(module(x), (module.norm(module.out(z)) + x).relu())


def test_the_pair_loss_is_a_sum_over_pairs():
    torch.manual_seed(0)
    e = torch.nn.functional.normalize(torch.randn(7, 5, dtype=torch.double), dim=1)
    labels, emotions = torch.tensor([1, 1, 1, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 2, 2, 3, -1])
    P = torch.rand(7, 2, dtype=torch.double).softmax(1)
    intra, inter = [], []
    for i in range(6):
        same = [j for j in range(6) if j != i and labels[j] == labels[i]]
        other = [j for j in range(6) if labels[j] != labels[i]]
        s = {j: e[i] @ e[j] for j in same}
        s |= {j: e[i] @ e[j] * (P[i, labels[j]] + P[j, labels[i]]).exp() for j in other}
        all_ = torch.stack([s[j] for j in same]).exp().sum()
        alike = [-(s[j].exp() / all_).log() for j in same if emotions[j] == emotions[i]]
        if alike:
            intra.append(sum(alike) / len(alike))
        cousins = [j for j in same if emotions[j] != emotions[i]]
        a, b = (sum(s[j] for j in group) / len(group) for group in (cousins, other))
        inter.append(-(a.exp() / (a.exp() + b.exp())).log())
    expected = sum(intra) / len(intra) / 2 + sum(inter) / len(inter) / 2
    assert torch.allclose(yao2019.pair_loss(e, labels, emotions, P), expected)
    assert yao2019.pair_loss(e, labels, torch.full((7,), -1), P) == 0  # polarity only


def test_colours_and_edges_are_counted():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 16, 3), dtype=np.uint8)
    view = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
    expected, _ = np.histogramdd(pixels.reshape(-1, 3) / 255, bins=4, range=[(0, 1)] * 3)
    assert np.allclose(priya2020.colours(view)[0], expected.ravel() / (24 * 16))
    grey, filters = view[0].mean(0).numpy(), priya2020.EDGES.numpy()
    found = np.zeros((5, 4, 4))
    for i in range(12):
        for j in range(8):
            square = grey[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            response = np.abs((filters * square).sum((1, 2)))
            if response.max() > 11 / 255:
                found[response.argmax(), i // 3, j // 2] += 1 / 6
    assert np.allclose(priya2020.edges(view)[0], found.ravel(), atol=1e-6)
    assert priya2020.edges(torch.full((1, 3, 16, 16), 0.5)).sum() == 0


def test_pcnn_drops_ties_and_keeps_the_certain():
    rng = np.random.default_rng(0)
    p = np.repeat([0.5, 0.6, 0.86, 0.02], 5000)
    share = pcnn.kept(p, rng).reshape(4, 5000).mean(1)
    assert share[0] == 0 and share[2:].tolist() == [1, 1]
    assert share[1] == pytest.approx(np.exp(0.2) - 1, abs=0.02)  # 1 − (2 − exp 0.2)
    assert pcnn.kept(np.full(3, 0.5), rng).all()


def test_pcnns_filter_acts_once_and_a_resumed_run_keeps_it(root, monkeypatch):
    one = emolib.RunSpec("own", model="pcnn", **PROTOCOL | {"epochs": 4})
    data = emolib.open_dataset("own", root)
    train = data.folds()[0][0]
    calls, states = [], []
    monkeypatch.setattr(pcnn, "kept", lambda p, rng: calls.append(len(p)) or np.arange(len(p)) < 9)

    def trained(state=None, after_epoch=lambda state: None):
        net = runs.build(one)
        history = training.train(
            net,
            one,
            training.of_spec(one, data),
            train,
            None,
            torch.device("cpu"),
            state=state,
            after_epoch=after_epoch,
        )
        return net.state_dict(), [row["train_loss"] for row in history]  # fmt: skip

    whole, losses = trained(after_epoch=lambda s: states.append(copy.deepcopy(s)))
    assert calls == [16] and [s["kept"] is None for s in states] == [True, False, False, False]
    assert states[1]["kept"] == train[:9].tolist()
    for killed_after in (0, 2):  # before and after the filter
        again, other_losses = trained(states[killed_after])
        assert other_losses == losses and all(torch.equal(v, again[k]) for k, v in whole.items())
    assert calls == [16, 16]
    tuned = dataclasses.replace(one, dataset="twitter1", init="emotionroi:scratch")
    assert tuned.predecessor().model == "pcnn" and tuned.stages


def test_boxes_follow_the_view_of_their_picture():
    """A white rectangle's box, through crop, resize and flip, is where the rectangle is."""
    image = torch.zeros(60, 80, 3, dtype=torch.uint8)
    image[18:42, 16:48] = 255
    boxes = torch.zeros(proposals.COUNT, 5)
    boxes[0] = torch.tensor([16 / 80, 18 / 60, 48 / 80, 42 / 60, 0.5])
    boxes[1] = torch.tensor([0, 0, 2 / 80, 1, 0.4])  # outside the views below
    for view in ((6, 10, 48, 48, False), (6, 10, 48, 48, True), (10, 12, 40, 50, True)):
        seen = pipeline.cut(image, view, 32)[..., 0] > 127
        rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
        truth = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        found = proposals.in_view(boxes, (60, 80), view, 32)
        assert (found[0, :4] - truth).abs().max() <= 1 and found[0, 4] == 0.5
        assert not found[1:].any()


def test_finders_find_a_disc_and_nothing_in_an_empty_picture():
    empty = torch.full((90, 120, 3), 128, dtype=torch.uint8)
    disc = cv2.circle(np.full((90, 120, 3), 60, np.uint8), (80, 40), 18, (250, 240, 90), -1)
    truth = np.array([62 / 120, 22 / 90, 98 / 120, 58 / 90])
    for finder in proposals.FINDERS:
        assert not proposals.find(finder, empty).any()
        boxes = proposals.find(finder, torch.from_numpy(disc)).numpy()
        boxes = boxes[boxes[:, 4] > 0]
        low, high = np.maximum(boxes[:, :2], truth[:2]), np.minimum(boxes[:, 2:4], truth[2:])
        inter = (high - low).clip(0).prod(1)
        area = (boxes[:, 2:4] - boxes[:, :2]).prod(1) + (truth[2:] - truth[:2]).prod()
        assert (inter / (area - inter)).max() > 0.5, finder
    noise = torch.randint(0, 256, (300, 40, 3), dtype=torch.uint8)
    assert proposals.find("objects", noise).shape == (proposals.COUNT, 5)


def test_one_box_of_each_cluster_is_chosen():
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid([0.1, 0.3, 0.5, 0.7, 0.9], [0.12, 0.37, 0.62, 0.87]), -1)
    middle = np.repeat(centres.reshape(-1, 2), 5, 0) + rng.normal(0, 0.004, (100, 2))
    boxes, scores = np.concatenate([middle - 0.07, middle + 0.07], 1), rng.uniform(size=100)
    chosen, best = proposals.one_a_cluster(boxes, scores)
    assert sorted(best) == sorted(scores.reshape(20, 5).max(1))


def test_rao2016_reads_shapes_not_colours_and_knows_one_class():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = 200
    descriptors, blocks = rao2016.describe(picture)
    assert descriptors.shape == (512, 128) and blocks.shape == (5, 512)
    assert [len(set(own)) for own in blocks[:3]] == [1, 4, 16]
    assert [own.min() for own in blocks[:4]] == [0, 1, 5, 21]
    assert len(np.unique(blocks)) == blocks.max() + 1  # numbers without gaps
    corner = blocks[2].reshape(2, 16, 16)[0]  # the grid of 16×16 in blocks of 4×4
    assert (corner[:4, :4] == corner[0, 0]).all() and corner[0, 4] != corner[0, 0]
    assert np.allclose((descriptors**2).sum(1)[descriptors.any(1)], 1, atol=1e-5)


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
    with pytest.raises((RuntimeError, ValueError), match=spec.CLIP):
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


def test_a_detector_comes_from_its_file_or_is_an_error(root, tmp_path, monkeypatch):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    small = {k: v for k, v in PROTOCOL.items() if k != "epochs"}
    one = emolib.RunSpec(
        "own", model="wu2019", backbone="resnet10t", epochs=1, detector=name, **small
    )
    where = dict(data_root=root, results_root=tmp_path / "r")
    with pytest.raises(RuntimeError, match=f"{name}.*put that file into the folder"):
        emolib.run(one, **where)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / f"{name}.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{name}.pth: not torchvision's weights"):
        emolib.run(one, weights=folder, **where)
    (folder / f"{name}.pth").unlink()
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    save_file(net.state_dict(), folder / f"{name}.safetensors")
    result = emolib.run(one, weights=folder, **where)
    assert name in read_json(result.folder / "environment.json")["weights"]
    data = emolib.open_dataset("own", root)
    test = [data.root / path for path in result.predictions["path"]]
    again = emolib.load(result.folder, weights=folder).predict(test)
    assert np.allclose(again["p_positive"], result.predictions["p_positive"], atol=1e-5)
    boxes = proposals.find("objects", pipeline.shrunk(data.paths[0], 64), name, str(folder))
    with torch.no_grad():
        found = net.eval()([pipeline.shrunk(data.paths[0], 64).permute(2, 0, 1).float() / 255])[0]
    count = int((boxes[:, 4] > 0).sum())
    assert count == min(len(found["scores"]), proposals.COUNT)
    sides = torch.tensor([71.0, 64, 71, 64])
    assert torch.allclose(boxes[:count, :4] * sides, found["boxes"][:count], atol=0.1)
    assert emolib.RunSpec("own", detector=name, init="scratch").detector == "opencv"


def test_the_spec_knows_which_systems_look_at_boxes_and_which_are_fitted():
    assert set(spec.WITH_BOXES) == {n for n, s in SYSTEMS.items() if hasattr(s, "finder")}
    assert set(spec.FITTED) == {n for n, s in SYSTEMS.items() if hasattr(s, "fit")}
    assert set(spec.BACKBONES) == {"maiafa", *SYSTEMS}


def test_boxes_are_kept_by_set_and_size_and_the_predictor_finds_the_same(root):
    data = emolib.open_dataset("own", root)
    for size in (32, 64):
        pictures = pipeline.Pictures(data, size, finder="objects")
        for i in (0, 7):
            image = pipeline.shrunk(data.paths[i], pipeline.short_side(size))
            assert torch.equal(pictures.boxes[i], proposals.find("objects", image))
    again = pipeline.Pictures(data, 64, finder="objects", cache="off")
    assert torch.equal(again.boxes, pictures.boxes)


@pytest.mark.parametrize("name", ["wscnet", "mcpnet", "yao2019", "priya2020", "ar", "wu2019"])
def test_in_bf16_the_backbone_alone_loses_bits(name):
    net = make(name).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        exact = net(images)
        with training.autocast("bf16", images.device):
            logits = net(images)
    assert logits.dtype == torch.float32 and not torch.equal(logits, exact)
    assert torch.allclose(logits, exact, atol=0.15)
