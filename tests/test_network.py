"""The network against the paper's equations, written out the long way in NumPy."""

import copy
import itertools

import numpy as np
import pytest
import timm
import torch
from nets import Pooled

import emolib
from emolib.network import folded
from emolib.network.attention import ShuffleAttention, SpatialAttention
from emolib.network.maiafa import AFA, MAI, MaiAfa
from emolib.network.resample import adjoint, taps, up

GATES = list(itertools.product(("spatial", "shuffle"), ("original", "fused")))
PSI = ("raw", "softmax", "sigmoid")
NETWORKS = [  # every reading where it says something
    *[dict(attention=a, gate=g, psi=p) for (a, g), p in itertools.product(GATES, PSI)],
    *[
        dict(afa=False, attention=a, gate=g, without_afa=w)
        for (a, g), w in itertools.product(GATES, ("gated", "region"))
    ],
    *[dict(mai=False, psi=p) for p in PSI],
    dict(mai=False, afa=False),
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bilinear(x, H, W):
    """C×h×w → C×H×W, align_corners=False, by the definition, one output at a time."""
    C, h, w = x.shape
    out = np.zeros((C, H, W))
    for i, j in itertools.product(range(H), range(W)):
        y = max((i + 0.5) * h / H - 0.5, 0)
        z = max((j + 0.5) * w / W - 0.5, 0)
        y0, z0 = int(y), int(z)
        y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
        a, b = y - y0, z - z0
        out[:, i, j] = (1 - a) * ((1 - b) * x[:, y0, z0] + b * x[:, y0, z1]) + a * (
            (1 - b) * x[:, y1, z0] + b * x[:, y1, z1]
        )
    return out


def spatial_gate(x, weight):
    """Eq. 1 for one picture: x C×h×w, weight 2×7×7 → h×w."""
    pooled = np.stack([x.mean(0), x.max(0)])
    padded = np.pad(pooled, ((0, 0), (3, 3), (3, 3)))
    out = np.zeros(x.shape[1:])
    for i, j in itertools.product(*map(range, out.shape)):
        out[i, j] = (padded[:, i : i + 7, j : j + 7] * weight).sum()
    return sigmoid(out)


@pytest.fixture
def levels():
    """C1..C4 of two pictures, odd and not square, 16 channels."""
    rng = np.random.default_rng(0)
    sizes = [(2, 3), (4, 5), (7, 9), (13, 17)]
    return [torch.tensor(rng.normal(size=(2, 16, *s))) for s in sizes]


def test_spatial_attention_is_eq_1():
    torch.manual_seed(0)
    module = SpatialAttention().double()
    x = torch.randn(2, 5, 6, 9, dtype=torch.double)
    expected = [spatial_gate(p, module.conv.weight[0].detach().numpy()) for p in x.numpy()]
    np.testing.assert_allclose(module.gate(x)[:, 0].detach().numpy(), expected, rtol=1e-12)


def test_shuffle_attention_is_sa_net_module():
    """Zhang & Yang 2021, Eq. 1–5 of SA-Net, group by group and channel by channel."""
    torch.manual_seed(0)
    groups, half, h, w = 4, 3, 5, 7
    module = ShuffleAttention(2 * half * groups, groups).double()
    for p in module.parameters():
        p.data.normal_()
    x = torch.randn(1, 2 * half * groups, h, w, dtype=torch.double)
    cw, cb, sw, sb, gw, gb = (
        p.detach().numpy().ravel()
        for p in (
            module.channel_weight,
            module.channel_bias,
            module.spatial_weight,
            module.spatial_bias,
            module.norm.weight,
            module.norm.bias,
        )
    )
    picture = x[0].numpy()
    gated = np.zeros_like(picture)
    for g, c in itertools.product(range(groups), range(half)):
        first, second = g * 2 * half + c, g * 2 * half + half + c
        gated[first] = picture[first] * sigmoid(cw[c] * picture[first].mean() + cb[c])
        s = picture[second]
        normed = gw[c] * (s - s.mean()) / np.sqrt(s.var() + 1e-5) + gb[c]
        gated[second] = s * sigmoid(sw[c] * normed + sb[c])
    # the shuffle between two groups: halves of the channels are interleaved
    n = len(gated) // 2
    shuffled = np.stack([gated[i // 2 + (i % 2) * n] for i in range(2 * n)])
    np.testing.assert_allclose(module(x)[0].detach().numpy(), shuffled, rtol=1e-10)


def test_shuffle_attention_starts_as_a_constant_times_the_shuffle():
    x = torch.randn(2, 128, 3, 3)
    shuffled = x.reshape(2, 2, 64, 3, 3).transpose(1, 2).reshape(x.shape)
    expected = torch.sigmoid(torch.tensor(1.0)) * shuffled
    torch.testing.assert_close(ShuffleAttention(128)(x), expected)


def test_shuffle_attention_refuses_channels_it_cannot_group():
    with pytest.raises(ValueError, match="100 channels are not divisible by 2 × 64"):
        ShuffleAttention(100)


@pytest.mark.parametrize("gate", ["original", "fused"])
def test_mai_is_eq_1_to_5(levels, gate):
    torch.manual_seed(0)
    mai = MAI(16, emolib.Readings(gate=gate)).double()
    gates = [a.conv.weight[0].detach().numpy() for a in mai.attention]
    eca = mai.eca.conv.weight.detach().numpy().ravel()
    k = mai.conv.weight.detach().numpy().ravel()
    D = mai(*levels).detach().numpy()
    for n in range(2):
        C = [c[n].numpy() for c in levels]
        O = C[0]
        for m in range(3):
            A = spatial_gate(O, gates[m])
            source = O if gate == "fused" else C[m]
            O = bilinear(A * source, *C[m + 1].shape[1:]) * C[m + 1]
        pooled = np.pad(O.mean((1, 2)), len(eca) // 2)
        weights = sigmoid(np.array([pooled[c : c + len(eca)] @ eca for c in range(16)]))
        logit = np.einsum("c,chw->hw", k * weights, O) + mai.conv.bias.item()
        np.testing.assert_allclose(D[n, 0], sigmoid(logit), rtol=1e-10)


@pytest.mark.parametrize("psi", ["raw", "softmax", "sigmoid"])
def test_afa_is_eq_6_to_8(levels, psi):
    torch.manual_seed(0)
    afa = AFA(16, emolib.Readings(psi=psi)).double()
    torch.nn.init.normal_(afa.W2.weight)
    W1, b1, W2, b2 = (p.detach().numpy() for p in afa.parameters())
    F = afa(*levels).detach().numpy()
    for n in range(2):
        C = [c[n].numpy() for c in levels]
        Z = np.concatenate([c.mean((1, 2)) for c in C])
        weights = W2 @ np.maximum(W1 @ Z + b1, 0) + b2
        if psi == "softmax":
            weights = np.exp(weights) / np.exp(weights).sum()
        if psi == "sigmoid":
            weights = sigmoid(weights)
        expected = np.concatenate(
            [bilinear(c * w, 13, 17) for c, w in zip(C, weights, strict=True)]
        )
        np.testing.assert_allclose(F[n], expected, rtol=1e-9, atol=1e-12)


def test_fusion_is_eq_9():
    torch.manual_seed(0)
    net = small("reference").double().eval()
    images = torch.randn(2, 3, 75, 101, dtype=torch.double)
    C = net._reduce(net.levels(images))
    F, D = net.afa(*C), net.mai(*C)
    torch.testing.assert_close(net.forward_features(images), (D * F + F).mean((2, 3)))


def test_adjoint_is_the_adjoint_of_up():
    x = torch.randn(2, 3, 13, 17, dtype=torch.double)
    y = torch.randn(2, 3, 7, 5, dtype=torch.double)
    torch.testing.assert_close((adjoint(x, y) * y).sum(), (x * up(y, x)).sum())


@pytest.mark.parametrize("small, large", [(1, 1), (1, 4), (2, 4), (3, 5), (5, 5), (4, 9)])
def test_taps_are_the_inputs_of_each_output_and_their_weights(small, large):
    index, weights = taps(small, large, torch.zeros((), dtype=torch.double))
    x = np.random.default_rng(0).normal(size=(1, small, 1))
    read = (torch.tensor(x[0, :, 0])[index] * weights).sum(0)
    np.testing.assert_allclose(read, bilinear(x, large, 1)[0, :, 0], atol=1e-12)


@pytest.mark.parametrize("channels", [5, 64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_largest_product_has_the_values_and_gradients_of_the_whole_map(
    monkeypatch, channels, layout
):
    """Channels a few at a time, against O = up(G)⊗C and its amax, built and differentiated."""
    monkeypatch.setattr(folded, "CHANNELS", channels)
    torch.manual_seed(0)
    for h, w, H, W in [(2, 3, 4, 6), (1, 2, 3, 3), (3, 3, 5, 7)]:
        shapes = (2, 12, h, w), (2, 4, H, W), (12, 4, 1, 1), (12,)
        tensors = [torch.randn(s, dtype=torch.double) for s in shapes]
        tensors[:2] = [t.contiguous(memory_format=layout) for t in tensors[:2]]
        G, B, weight, bias = (t.requires_grad_() for t in tensors)
        O = up(G, B) * torch.nn.functional.conv2d(B, weight, bias)
        plain, ours = O.amax(1, keepdim=True), folded.LargestProduct.apply(G, B, weight, bias)
        torch.testing.assert_close(ours, plain)
        factor = torch.randn_like(plain)
        for a, b in zip(
            torch.autograd.grad(ours, (G, B, weight, bias), factor),
            torch.autograd.grad(plain, (G, B, weight, bias), factor),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


def test_no_map_of_the_default_head_is_larger_than_B4_and_C2():
    """hrnet_w18_small at 448 px: 16 channels at stride 4, 512 at stride 16, kept or passing."""
    net, largest = small("folded", "hrnet_w18_small", 512), []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **kwargs or {})
            parts = out if isinstance(out, (tuple, list)) else [out]
            largest.extend(t.numel() for t in parts if isinstance(t, torch.Tensor))
            return out

    images = torch.randn(1, 3, 448, 448)
    B = [b.detach().requires_grad_() for b in net.levels(images)]
    with Watch():
        net.classifier(net._folded(B)[0]).sum().backward()
    weights = {p.numel() for p in net.parameters()}
    assert max(b.numel() for b in B) == B[-1].numel() == 16 * 112 * 112
    assert max(n for n in largest if n not in weights) == 512 * 28 * 28
    with Watch():
        net.head = "reference"
        net._reference(B)
    assert max(largest) == 2048 * 112 * 112


def small(head, backbone="resnet10t", width=128, **options):
    return emolib.create_model("maiafa", backbone=backbone, head=head, width=width, **options)


def difference(one, other, images):
    """Relative difference of logits and of all gradients between two networks."""
    values, gradients = [], []
    for net in (one, other):
        logits = net(images)
        net.zero_grad()
        logits.square().sum().backward()
        values.append(logits.detach())
        gradients.append(
            torch.cat([p.grad.ravel() for p in net.parameters() if p.grad is not None])
        )
    return [
        float((a - b).norm() / a.norm()) if len(a) == len(b) else float("inf")
        for a, b in (values, gradients)
    ]


@pytest.mark.parametrize(
    "dtype, value, gradient",
    [
        (torch.double, 1e-9, 1e-9),
        (torch.float, 1e-5, 1e-4),
    ],
)
def test_both_heads_are_one_function_for_every_reading(dtype, value, gradient):
    draws = torch.randn(3, 2, 3, 43, 69, dtype=dtype)
    for case in NETWORKS:
        torch.manual_seed(1)
        modules = {k: v for k, v in case.items() if k in ("mai", "afa")}
        readings = emolib.Readings(**{k: v for k, v in case.items() if k not in modules})
        options = {"backbone": "test_resnet", "readings": readings, **modules}
        pair = [small(h, **options) for h in ("reference", "folded")]
        pair = [net.to(dtype).eval() for net in pair]
        with torch.no_grad():
            pair[0].calibrate(draws[0])
            if pair[0].afa:
                pair[0].afa.W2.weight.normal_(std=0.05)
        pair[1].load_state_dict(pair[0].state_dict())
        # in float32 a maximum or ReLU may fall on either side of its kink, in one draw of three
        off = [difference(*pair, images) for images in draws]
        assert max(v for v, _ in off) < value, (case, off)
        assert sorted(g for _, g in off)[1] < gradient, (case, off)


@pytest.mark.parametrize("levels", ["branches", "increased"])
def test_both_heads_are_one_function_on_hrnet(levels):
    torch.manual_seed(0)
    readings = emolib.Readings(levels=levels)
    pair = [
        small(h, "hrnet_w18_small", 512, readings=readings).double().eval()
        for h in ("reference", "folded")
    ]
    images = torch.randn(1, 3, 64, 96, dtype=torch.double)
    pair[0].calibrate(images)
    pair[1].load_state_dict(pair[0].state_dict())
    assert max(difference(*pair, images)) < 1e-9
    torch.testing.assert_close(pair[0].regions(images), pair[1].regions(images))
    assert pair[0].regions(images).shape == (1, 1, 16, 24)


def test_parameters_are_as_the_docstring_says():
    net = emolib.create_model("maiafa", backbone="hrnet_w48")
    count = {n: f"{sum(p.numel() for p in m.parameters()):,}" for n, m in net.named_children()}
    count["all"] = f"{sum(p.numel() for p in net.parameters()):,}"
    text = type(net).__doc__
    assert all(number in text for number in count.values()), count


def test_calibration_gives_channels_of_mean_0_and_variance_1():
    torch.manual_seed(0)
    net, images = small("folded").eval(), torch.randn(4, 3, 64, 64)
    net.calibrate(images)
    for C in net._reduce(net.levels(images)):
        mean, variance = C.mean((0, 2, 3)), C.var((0, 2, 3), correction=0)
        torch.testing.assert_close(mean, torch.zeros(128), atol=1e-5, rtol=0)
        torch.testing.assert_close(variance, torch.ones(128), atol=1e-4, rtol=0)


def test_networks_without_D_say_so():
    images = torch.randn(1, 3, 64, 64)
    for options in ({"mai": False}, {"afa": False}):
        with pytest.raises(RuntimeError, match="no region map D"):
            small("folded", **options).regions(images)
    readings = emolib.Readings(without_afa="region")
    D = small("folded", afa=False, readings=readings).regions(images)
    assert D.shape == (1, 1, 16, 16) and 0 < D.min() and D.max() < 1


# one of each way through the head
WAYS = [
    dict(backbone=True),
    *[dict(attention=a, gate=g) for a, g in GATES],
    dict(afa=False),
    dict(afa=False, without_afa="region"),
    dict(mai=False),
    dict(mai=False, afa=False),
]


def timm_features():
    return timm.create_model("resnet10t", features_only=True, out_indices=(1, 2, 3, 4))


def of_one_way(head, options):
    """A network by RunSpec's names on the pictures' own averages, calibrated on two pictures, and
    these pictures."""
    options = dict(options)
    backbone = timm_features() if options.pop("backbone", False) else Pooled()
    modules = {k: options.pop(k) for k in ("mai", "afa") if k in options}
    readings = emolib.Readings(**options)
    net = MaiAfa(backbone, head=head, readings=readings, width=128, **modules).eval()
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    net.calibrate(images)
    return net, images


@pytest.mark.parametrize("head", ["folded", "reference"])
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_a_network_of_16_bits_answers_in_them_and_as_the_wide_one_does(options, head):
    net, images = of_one_way(head, options)
    for dtype, close in ((torch.float16, 2**-10), (torch.bfloat16, 2**-7)):
        narrow = copy.deepcopy(net).to(dtype)
        few, wide = images.to(dtype), copy.deepcopy(narrow).float()
        wide.backbone = narrow.backbone  # its rounding is timm's matter: the head's is compared
        with torch.no_grad():
            logits, features = narrow(few), narrow.forward_features(few)
            exact = wide.forward_features(few)
            assert (features - exact).abs().max() <= close * exact.abs().max()
            assert (logits - wide(few)).abs().max() < 4 * close
            assert logits.dtype == features.dtype == dtype and logits.shape == (2, 2)
            if net.mai:
                assert {m.dtype for m in narrow.maps(few).values()} == {dtype}
            if net.has_regions:
                D = narrow.regions(few)
                assert D.dtype == dtype and (D - wide.regions(few)).abs().max() <= close
        assert {p.dtype for p in narrow.parameters()} == {dtype}  # what was lent is given back


def test_in_float16_sums_over_many_positions_do_not_overflow():
    net = MaiAfa(Pooled(), width=128).eval()
    images = 10 + 10 * torch.rand(1, 3, 512, 512)  # 20 · 20 at 64² positions is beyond 65,504
    net.calibrate(images)
    exact, D = net.with_regions(images)
    got, narrow = net.half().with_regions(images.half())
    assert (got - exact).abs().max() < 0.01 and (narrow - D).abs().max() < 0.02


@pytest.mark.parametrize("head", ["folded", "reference"])
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_an_empty_batch_has_no_answers_and_no_error(options, head):
    net, _ = of_one_way(head, options)
    none = torch.zeros(0, 3, 64, 96)
    for network in (net, net.train()):
        assert network(none).shape == (0, 2)
        network(none).sum().backward()
    if net.mai:
        assert {len(m) for m in net.maps(none).values()} == {0}
    if net.has_regions:
        assert net.regions(none).shape == (0, 1, 16, 24)


@pytest.mark.parametrize("attention, gate", GATES)
def test_maps_are_those_that_D_comes_from(attention, gate):
    net = emolib.create_model(
        "maiafa", "resnet18", readings=emolib.Readings(attention=attention, gate=gate)
    ).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = net.maps(images)
        assert list(maps) == ["A1", "O2", "A2", "O3", "A3", "O4", "D"]
        assert [tuple(maps[f"O{m}"].shape) for m in (2, 3, 4)] == [
            (2, 512, 4, 6),
            (2, 512, 8, 12),
            (2, 512, 16, 24),
        ]
        assert maps["A1"].shape[-2:] == (2, 3)
        torch.testing.assert_close(maps["D"], net.regions(images))
        D = net.mai.conv(net.mai.eca(maps["O4"])).sigmoid()  # Eq. 5
        torch.testing.assert_close(D, maps["D"])
    without = emolib.create_model("maiafa", "resnet18", mai=False)
    with pytest.raises(RuntimeError, match="mai=False"):
        without.maps(images)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backbone": "vit_tiny_patch16_224"}, "strides.*none at"),
        ({"backbone": "no_such_net"}, "unknown backbone 'no_such_net'"),
        ({"backbone": "resnet10t", "readings": emolib.Readings(levels="increased")}, "HRNet"),
        ({"backbone": "resnet10t", "head": "fast"}, "'folded' or 'reference'"),
        ({"name": "maiafb"}, "unknown model 'maiafb'"),
        ({"name": "wscnet", "backbone": "no_such_net"}, "unknown backbone 'no_such_net'"),
        ({"name": "mcpnet", "backbone": "vit_tiny_patch16_224"}, "strides.*none at"),
        ({"name": "wscnet", "width": 5}, "wscnet.*'width'"),
        ({"name": "pcnn", "backbone": "resnet10t"}, "'pcnn' has no backbone"),
        ({"name": "frozen_probe", "backbone": "resnet10t", "num_classes": 3}, "num_classes=3"),
    ],
)
def test_wrong_models_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        emolib.create_model(**{"name": "maiafa"} | options)


def test_hrnet_says_which_sizes_it_takes():
    net = small("folded", "hrnet_w18_small", 512)
    with pytest.raises(ValueError, match="multiples of 32"):
        net(torch.randn(1, 3, 75, 64))


def test_weights_of_another_network_are_refused(tmp_path):
    import timm
    from safetensors.torch import save_file

    file = tmp_path / "resnet10t.safetensors"
    donor = timm.create_model("resnet10t")
    save_file(donor.state_dict(), file)
    net = small("folded", pretrained=True, weights=file)
    torch.testing.assert_close(
        net.backbone.state_dict()["layer4.0.conv1.weight"], donor.layer4[0].conv1.weight
    )
    with pytest.raises(ValueError, match="not the weights of 'resnet18'"):
        small("folded", "resnet18", pretrained=True, weights=file)
    with pytest.raises(ValueError, match="no file"):
        small("folded", pretrained=True, weights=tmp_path / "absent.safetensors")
    file.write_bytes(b"not tensors")
    with pytest.raises(ValueError, match="not a readable weights file"):
        small("folded", pretrained=True, weights=file)
