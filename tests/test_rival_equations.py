"""The rivals' equations, the long way."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

import emolib
from emolib.data import proposals
from emolib.network.rivals import (
    affective_regions,
    mcpnet,
    pcnn,
    priya2020,
    rao2016,
    rao2020,
    yao2019,
)


def make(name, num_classes=2):
    torch.manual_seed(0)
    return emolib.create_model(name, "resnet10t", num_classes)


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
    loss = (
        cross_entropy(torch.stack(detected), labels) + cross_entropy(torch.stack(logits), labels)
    ) / 2
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


@pytest.mark.parametrize("image_size", [32, 96])
def test_rao2020s_proposals_are_torchvisions_picture_by_picture(image_size):
    ours = make("rao2020").rpn
    torch.manual_seed(1)
    torch.nn.init.normal_(ours.head.cls_logits.weight, std=0.1)  # scores that differ
    images = ImageList(torch.zeros(6, 3, image_size, image_size), [(image_size, image_size)] * 6)
    features = {
        s: torch.randn(6, 256, image_size // int(s), image_size // int(s))
        for s in rao2020.WITH_REGIONS
    }
    corners = torch.rand(6, 4, 2, 2).sort(2).values.flatten(2) * image_size
    targets = [{"boxes": rows[:n]} for n, rows in enumerate(corners[:, :, [0, 1, 2, 3]])]
    theirs = copy.deepcopy(ours)
    theirs.__class__ = RegionProposalNetwork
    theirs.fg_bg_sampler = BalancedPositiveNegativeSampler(64, 0.5)
    theirs.proposal_matcher = Matcher(0.6, 0.3, allow_low_quality_matches=True)
    for training in (True, False):
        results = []
        for rpn in (ours, theirs):
            torch.manual_seed(2)
            found, losses = rpn.train(training)(images, features, targets)
            results.append((found, losses, torch.rand(1)))  # the same draws were made
        (a, losses, drawn), (b, expected, also_drawn) = results
        assert [len(boxes) for boxes in a] == [len(boxes) for boxes in b]
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True)) and drawn == also_drawn
        assert losses.keys() == expected.keys()
        assert all(torch.equal(loss, expected[name]) for name, loss in losses.items())
