"""The network among timm's: registry, interface, layer-wise rates, checkpointing, compiling."""

import pytest
import timm
import torch
from nets import Pooled
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

import emolib
from emolib.network.maiafa import MaiAfa
from emolib.network.timm_names import REGISTERED

HEADS = ("folded", "reference")


def tiny(backbone="resnet10t", **options):
    return emolib.create_model("maiafa", backbone, **{"width": 128} | options).eval()


def test_timm_makes_what_emolib_makes():
    torch.manual_seed(0)
    one = timm.create_model("maiafa_resnet18", num_classes=3, drop_rate=0.2, width=64)
    torch.manual_seed(0)
    other = emolib.create_model("maiafa", "resnet18", num_classes=3, dropout=0.2, width=64)
    assert str(one) == str(other)
    for (name, a), (same, b) in zip(
        one.state_dict().items(), other.state_dict().items(), strict=True
    ):
        assert name == same and torch.equal(a, b)
    seen, plain = (
        timm.data.resolve_model_data_config(m) for m in (one, timm.create_model("resnet18"))
    )
    assert seen == plain


def test_pretrained_is_of_the_backbone_and_timm_is_told_so(tmp_path):
    from safetensors.torch import save_file

    assert {f"maiafa_{b}" for b in REGISTERED} == set(timm.list_models("maiafa_*"))
    assert not timm.list_models("maiafa_*", pretrained=True)
    donor = timm.create_model("resnet18")
    save_file(donor.state_dict(), tmp_path / "r.safetensors")
    overlay = {"file": str(tmp_path / "r.safetensors")}
    net = timm.create_model("maiafa_resnet18", pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(net.backbone.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    with pytest.raises(RuntimeError, match="could not download the ImageNet weights of 'resnet18'"):
        timm.create_model("maiafa_resnet18", pretrained=True)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"in_chans": 1}, "in_chans=1: maiafa_resnet18 takes colour pictures"),
        ({"features_only": True}, "no features_only: its maps"),
        ({"heads": 3}, "unexpected keyword argument 'heads'"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"pretrained_cfg_overlay": {"mean": 0}}, "it takes a tag and"),
    ],
)
def test_timm_is_told_what_the_network_does_not_take(options, message):
    with pytest.raises(ValueError, match=message):
        timm.create_model("maiafa_resnet18", **options)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", REGISTERED)
def test_each_registered_network_runs_and_has_a_place_for_every_parameter(backbone):
    net = timm.create_model(f"maiafa_{backbone}", num_classes=2).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 64, 64)).shape == (1, 2)
    for coarse in (False, True):
        places = group_parameters(net, net.group_matcher(coarse), reverse=True)
        assert set(places) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize("backbone", ["resnet10t", "test_efficientnet"])
@pytest.mark.parametrize("coarse", [False, True])
def test_the_backbone_is_layered_as_timm_layers_it(backbone, coarse):
    """Against the group_matcher of timm's whole model, whose parameters have the same names."""
    net, whole = tiny(backbone), timm.create_model(backbone)
    ours = group_parameters(net, net.group_matcher(coarse), reverse=True)
    theirs = group_parameters(whole, whole.group_matcher(coarse), reverse=True)
    names = [n for n, _ in net.backbone.named_parameters()]
    ranks = {layer: rank for rank, layer in enumerate(sorted({theirs[n] for n in names}))}
    assert {n: ours[f"backbone.{n}"] for n in names} == {n: ranks[theirs[n]] for n in names}
    head = {layer for n, layer in ours.items() if not n.startswith("backbone.")}
    assert head == {len(ranks)}


def test_layer_wise_rates_fall_from_the_head_to_the_stem():
    net = tiny()
    groups = param_groups_layer_decay(net, layer_decay=0.5)
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    assert set(scale) == {id(p) for p in net.parameters()}
    assert scale[id(net.classifier[6].weight)] == scale[id(net.reductions[0].weight)] == 1
    assert scale[id(net.backbone.layer4[0].conv1.weight)] == 0.5
    assert scale[id(net.backbone.conv1[0].weight)] == 0.5**5  # four blocks above the stem


def test_a_new_classifier_leaves_the_rest():
    net, images = tiny().double(), torch.randn(2, 3, 64, 64, dtype=torch.double)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    features = net.forward_features(images)
    hidden = net.forward_head(features, pre_logits=True)
    assert features.shape == (2, net.num_features) and hidden.shape == (2, net.head_hidden_size)
    last = net.get_classifier()
    torch.testing.assert_close(hidden @ last.weight.T + last.bias, net(images))
    net.reset_classifier(5)
    assert net(images).shape == (2, 5) and net.num_classes == 5
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before if "classifier.6" not in k)
    net.reset_classifier(0)
    torch.testing.assert_close(net(images), hidden)
    with pytest.raises(ValueError, match="global_pool='max'"):
        net.reset_classifier(2, "max")


def test_logits_and_regions_come_in_one_pass():
    images = torch.randn(2, 3, 64, 96)
    for head in HEADS:
        net = tiny(head=head)
        with torch.no_grad():
            logits, D = net.with_regions(images)
            torch.testing.assert_close(logits, net(images))
            torch.testing.assert_close(D, net.regions(images))
    with pytest.raises(RuntimeError, match="no region map D"):
        tiny(mai=False).with_regions(images)


def test_checkpointing_computes_again_and_changes_no_gradient():
    net, images, calls = tiny().double(), torch.randn(2, 3, 64, 64, dtype=torch.double), []
    net.backbone.layer2.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients = []
    for enable in (False, True):
        net.set_grad_checkpointing(enable)
        net.zero_grad()
        net(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert len(calls) == 1 + 2
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="'hrnet_w18_small': timm has no gradient checkpointing"):
        tiny("hrnet_w18_small").set_grad_checkpointing()


def test_weights_of_another_number_of_classes_are_named():
    net = tiny(num_classes=8)
    with pytest.raises(RuntimeError, match="of 8 classes and this network has 2: make it with num"):
        tiny().load_state_dict(net.state_dict())
    net.reset_classifier(2)
    tiny().load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    "images, message",
    [
        (
            torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
            "torch.uint8: the network takes floating point",
        ),
        (torch.zeros(1, 4, 64, 64), "shape 1×4×64×64: the network takes N×3×H×W"),
        (torch.zeros(1, 1, 64, 64), "shape 1×1×64×64"),
        (torch.zeros(3, 64, 64), "shape 3×64×64"),
        (torch.zeros(1, 3, 1, 1), "pictures of 1×1: the network takes 32 px a side or more"),
        ([[0.0]], "takes a tensor of pictures, not list"),
    ],
)
def test_wrong_pictures_are_named(images, message):
    net = tiny()
    for call in (net, net.regions, net.maps, net.with_regions):
        with pytest.raises(ValueError, match=message) as error:
            call(images)
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error::UserWarning:torch._dynamo")
@pytest.mark.parametrize(
    "head, dynamic",
    [
        ("folded", False),
        *[pytest.param(h, True, marks=pytest.mark.slow) for h in HEADS],
    ],
)
def test_compiles_as_one_graph(head, dynamic):
    torch._dynamo.reset()
    net = MaiAfa(Pooled(), head=head, width=64).eval()
    compiled = torch.compile(net, fullgraph=True, dynamic=dynamic, backend="eager")
    with torch.no_grad():
        for shape in [(2, 3, 64, 96), (3, 3, 71, 69)][: 1 + dynamic]:
            images = torch.randn(shape)
            torch.testing.assert_close(compiled(images), net(images))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_compiled_gradients_are_the_same(head):
    torch._dynamo.reset()
    net, images = tiny(head=head).double(), torch.randn(2, 3, 64, 96, dtype=torch.double)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    gradients = []
    for one in (net, compiled):
        net.zero_grad()
        one(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
