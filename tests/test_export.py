"""Outside Python: torch.export and ONNX give eager's numbers for any batch and size."""

import importlib.util
import itertools

import pytest
import torch
from nets import Pooled

import emolib
from emolib.network.maiafa import MaiAfa
from emolib.use import export

SHAPES = [(1, 3, 64, 64), (3, 3, 96, 160)]


def network(backbone="", width=64, **options):
    """A network whose outputs vary; without a backbone's name one that costs nothing."""
    torch.manual_seed(0)
    if backbone:
        net = emolib.create_model("maiafa", backbone, width=width, **options)
    else:
        net = MaiAfa(Pooled(), width=width, **options)
    net.calibrate(torch.randn(4, 3, 64, 64))
    if net.afa:
        torch.nn.init.normal_(net.afa.W2.weight, std=0.05)
    return net


def differences(net, run, shapes=SHAPES):
    """The largest difference of each output to eager's, over the shapes."""
    net.eval()
    found = []
    with torch.no_grad():
        for shape in shapes:
            images = torch.randn(shape)
            expected = net.with_regions(images) if net.has_regions else (net(images),)
            outputs = run(images)
            assert [tuple(o.shape) for o in outputs] == [tuple(e.shape) for e in expected]
            found += [
                float((torch.as_tensor(o) - e).abs().max())
                for o, e in zip(outputs, expected, strict=True)
            ]
    return max(found)


def by_onnx(net, file):
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(export.to_onnx(net, file, 64)))
    return session, lambda images: session.run(None, {"images": images.numpy()})


def test_an_onnx_file_gives_eager_s_logits_and_regions(tmp_path):
    pytest.importorskip("onnxscript")
    net = network(head="reference").train()
    session, run = by_onnx(net, tmp_path / "new" / "net.onnx")
    assert net.training  # as it was
    assert [o.name for o in session.get_outputs()] == ["logits", "regions"]
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert differences(net, run, [*SHAPES, (2, 3, 71, 69)]) < 1e-4


READINGS = [
    dict(attention=a, gate=g, psi=p)
    for (a, g), p in zip(
        itertools.product(("spatial", "shuffle"), ("original", "fused")),
        ("raw", "softmax", "sigmoid", "raw"),
        strict=True,
    )
]
NETWORKS = [
    *[dict(readings=emolib.Readings(**r)) for r in READINGS],
    dict(mai=False),
    dict(afa=False),
    dict(afa=False, readings=emolib.Readings(without_afa="region")),
    dict(mai=False, afa=False),
    dict(num_classes=7),
]
BACKBONES = ["hrnet_w18_small", "resnet18", "tf_efficientnet_lite0", "convnext_atto"]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["folded", "reference"])
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_every_reading_and_head_as_onnx(tmp_path, options, head):
    net = network("resnet10t", 128, head=head, **options)
    _, run = by_onnx(net, tmp_path / "net.onnx")
    assert differences(net, run) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("levels", ["branches", "increased"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_as_onnx_and_as_programs(tmp_path, backbone, levels):
    if levels == "increased" and backbone != "hrnet_w18_small":
        pytest.skip("HRNet's alone")
    net = network(backbone, 512, readings=emolib.Readings(levels=levels))
    program = export.exported(net, 64)
    torch.export.save(program, tmp_path / "net.pt2")
    assert differences(net, torch.export.load(tmp_path / "net.pt2").module()) < 1e-4
    _, run = by_onnx(net, tmp_path / "net.onnx")
    assert differences(net, run) < 1e-4
    if backbone.startswith(("hrnet", "tf_")):  # sides in steps of 32: any other is refused
        with pytest.raises(Exception, match="cannot be reshaped"):
            run(torch.randn(1, 3, 100, 80))


def test_a_predictors_softmax_is_its_answer():
    net = network()
    spec = emolib.RunSpec("own", backbone="resnet10t", image_size=64)
    predictor = emolib.Predictor(spec, net.eval(), torch.device("cpu"), temperature=2.0)
    picture = torch.randint(0, 256, (3, 90, 80), dtype=torch.uint8)
    (images, _), *_ = predictor.batches(picture)
    run = export.exported(predictor, 64).module()
    logits, D = (found.detach() for found in run(images.repeat(2, 1, 1, 1)))
    p = predictor.predict(picture)["p_positive"][0]
    assert float(logits.softmax(1)[0, 1]) == pytest.approx(p, abs=1e-6)
    assert float(net(images).detach().softmax(1)[0, 1]) != pytest.approx(p, abs=1e-3)
    assert D[0, 0].numpy() == pytest.approx(predictor.regions(picture)[0], abs=1e-6)


@pytest.mark.slow
def test_a_predictor_of_an_odd_size_is_exported_for_that_size(tmp_path):
    pytest.importorskip("onnxscript")
    ort = pytest.importorskip("onnxruntime")
    net = network("tf_efficientnet_lite0", 128).eval()
    spec = emolib.RunSpec("own", backbone="tf_efficientnet_lite0", image_size=68)
    predictor = emolib.Predictor(spec, net, torch.device("cpu"), temperature=2.0)
    pictures = torch.randint(0, 256, (3, 3, 90, 80), dtype=torch.uint8)
    (images, _), *_ = predictor.batches(pictures)
    session = ort.InferenceSession(str(export.to_onnx(predictor, tmp_path / "net.onnx")))
    assert session.get_inputs()[0].shape == ["batch", 3, 68, 68]
    logits, _ = session.run(None, {"images": images.numpy()})
    p = torch.as_tensor(logits).softmax(1)[:, 1]
    assert p.numpy() == pytest.approx(predictor.predict(pictures)["p_positive"], abs=1e-5)


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch):
    net = network()
    for wrong, size, message in (
        (net, 100, "image_size=100: a multiple of 32"),
        (net, "64", "image_size='64'"),
        (emolib.create_model("rao2016"), 64, "Rao2016 takes more than pictures"),
        ("net.safetensors", 64, "a str is no network"),
        (torch.nn.ReLU(), 64, "ReLU has no parameters"),
    ):
        with pytest.raises(ValueError, match=message):
            export.exported(wrong, size)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnx" else found(name, *a)
    )
    with pytest.raises(ImportError, match=r"ONNX needs onnx: install emolib's extra \[onnx\]"):
        export.to_onnx(net, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
