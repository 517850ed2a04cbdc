"""MAI and AFA alone, on feature maps of any number, channels and size."""

import pytest
import timm
import torch
import torch.nn.functional as F

import emolib

CHANNELS, SIZES = [6, 9, 14], [(13, 17), (7, 9), (4, 5)]


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.randn(2, c, *s, dtype=torch.double) for c, s in zip(CHANNELS, SIZES, strict=True)]


def up(x, like):
    return F.interpolate(x, like.shape[-2:], mode="bilinear")


def reduced(block, maps):
    """The highest level first: its reduction is the first."""
    return [
        torch.einsum("oc,nchw->nohw", r.weight[:, :, 0, 0], m) + r.bias[:, None, None]
        for r, m in zip(block.reductions, maps[::-1], strict=True)
    ]


@pytest.mark.parametrize("levels", [2, 3])
def test_mai_is_eq_1_to_5_on_any_number_of_levels(maps, levels):
    block, maps = emolib.MAI(CHANNELS[:levels], width=16).double(), maps[:levels]
    C = reduced(block, maps)
    O = C[0]
    for m in range(levels - 1):
        pools = torch.cat([O.mean(1, keepdim=True), O.max(1, keepdim=True)[0]], 1)
        A = F.conv2d(pools, block.mai.attention[m].conv.weight, padding=3).sigmoid()
        O = up(A * C[m], C[m + 1]) * C[m + 1]
    gate = F.conv1d(O.mean((2, 3))[:, None], block.mai.eca.conv.weight, padding=1).sigmoid()
    E = O * gate[:, 0, :, None, None]
    D = (E * block.mai.conv.weight[0, :, 0, 0][:, None, None]).sum(1) + block.mai.conv.bias
    torch.testing.assert_close(block(maps)[:, 0], D.sigmoid())


@pytest.mark.parametrize("psi", ["raw", "softmax"])
def test_afa_starts_as_the_concatenation_of_any_number_of_levels(maps, psi):
    block = emolib.AFA(CHANNELS, width=16, readings=emolib.Readings(psi=psi)).double()
    expected = torch.cat([up(c, maps[0]) for c in reduced(block, maps)], 1)
    torch.testing.assert_close(block(maps), expected / (3 if psi == "softmax" else 1))
    torch.nn.init.normal_(block.afa.W2.weight)
    scaled = block(maps).unflatten(1, (3, 16)) / expected.unflatten(1, (3, 16))
    first = scaled[:, :, :1, :1, :1]
    torch.testing.assert_close(scaled, first.expand_as(scaled))  # ψ: one number a level
    assert first.std() > 0.01


def test_a_trained_network_s_parts_fit_its_backbone_s_maps():
    net = emolib.create_model("maiafa", "resnet10t", width=128).eval()
    backbone = timm.create_model("resnet10t", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    backbone.load_state_dict(net.backbone.state_dict())
    block = emolib.MAI(backbone.feature_info.channels(), width=128)
    missing, _ = block.load_state_dict(net.state_dict(), strict=False)
    assert not missing
    images = torch.randn(2, 3, 75, 101)
    with torch.no_grad():
        torch.testing.assert_close(block(backbone(images)), net.regions(images))


def test_calibration_keeps_a_fresh_block_s_regions_from_saturating(maps):
    block = emolib.MAI(CHANNELS, width=128).double()
    large = [30 * m + 20 for m in maps]
    block.calibrate(large)
    for c in reduced(block, large):
        torch.testing.assert_close(c.mean((0, 2, 3)), torch.zeros(128, dtype=torch.double))
    assert block(large).std() < 0.3


@pytest.mark.parametrize("block", [emolib.MAI, emolib.AFA])
def test_wrong_maps_are_named(maps, block):
    net = block(CHANNELS, width=16).double()
    for wrong, message in (
        (maps[:2], r"takes a list of 3 maps N×c×h×w with \[6, 9, 14\] channels"),
        (maps[0], "a Tensor: the block takes a list of 3 maps"),
        ([m[0] for m in maps], "takes a list of 3 maps"),
        (maps[::-1], "takes a list of 3 maps"),
    ):
        with pytest.raises(ValueError, match=message):
            net(wrong)
    same = block([4, 4], width=16)
    with pytest.raises(ValueError, match="takes the largest first"):
        same([torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 5, 5)])
    for channels in ([8], 8, [8, 0], [8, "8"], []):
        with pytest.raises(ValueError, match="two feature maps or more"):
            block(channels)


@pytest.mark.parametrize("block", [emolib.MAI, emolib.AFA])
def test_blocks_take_maps_of_16_bits_and_none_at_all(maps, block):
    block = block(CHANNELS, width=16).double()
    exact = block(maps)
    assert block([m[:0] for m in maps]).shape == (0, *exact.shape[1:])
    for dtype, close in ((torch.float16, 0.01), (torch.bfloat16, 0.1)):
        found = block.to(dtype)([m.to(dtype) for m in maps])
        assert found.dtype == dtype and (found - exact).abs().max() < close * exact.abs().max()


@pytest.mark.parametrize("block", [emolib.MAI, emolib.AFA])
def test_autocast_changes_nothing(maps, block):
    maps = [m.float() for m in maps]
    made = block(CHANNELS, width=16)
    expected = made(maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(maps)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    made.calibrate([m.bfloat16() for m in maps])  # as a backbone gives them there
    assert all(torch.isfinite(p).all() for p in made.parameters())
    assert made.to("meta")([m.to("meta") for m in maps]).shape == expected.shape


def test_maps_with_the_channels_last_are_told_how_to_turn(maps):
    block = emolib.MAI(CHANNELS, width=16)
    with pytest.raises(ValueError, match="channels come last .b.permute.0, 3, 1, 2. puts them"):
        block([m.permute(0, 2, 3, 1) for m in maps])
