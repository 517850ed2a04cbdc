"""timm backbones: made, given their ImageNet weights, and read, as levels or as one map."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from timm.layers import Format
from timm.models import FeatureInfo, group_parameters, load_state_dict, model_entrypoint
from timm.models.hrnet import HighResolutionNetFeatures
from torch import Tensor, nn

from .resample import average

STRIDES = (32, 16, 8, 4)
Backbone = Any  # an nn.Module of timm's, with what its kind has besides: feature_info, …


def with_levels(
    name: str, pretrained: bool = False, weights: str | Path = "", increased: bool = False
) -> Backbone:
    """A backbone that gives its feature maps, strides 4 to 32 among them.

    increased: an HRNet's levels after its ImageNet head's channel-increase blocks. Raises
    ValueError for an unknown name or a model without feature maps.
    """
    _check_name(name)
    options: dict[str, Any] = {"features_only": True}
    if name.startswith("hrnet"):
        options["feature_location"] = "incre" if increased else ""
    try:
        return make(name, pretrained, weights, **options)
    except (AttributeError, NotImplementedError, AssertionError) as error:
        raise ValueError(f"backbone {name!r} has no feature maps in timm: {error}") from error


def without_classifier(name: str, pretrained: bool = False, weights: str | Path = "") -> Backbone:
    """A timm model without its classifier. Of an HRNet its four branches, without the ImageNet
    head, which is as large as the rest of a small one. Raises ValueError for an unknown name."""
    _check_name(name)
    if name.startswith("hrnet"):
        return with_levels(name, pretrained, weights)
    return make(name, pretrained, weights, num_classes=0)


def four_levels(backbone: Backbone) -> tuple[list[int], list[int]]:
    """Places of B1..B4 (strides 32, 16, 8, 4) among the backbone's features, and their channels.

    Raises ValueError for a backbone that lacks one of the strides.
    """
    info = backbone.feature_info
    strides = info.reduction()
    missing = [s for s in STRIDES if s not in strides]
    if missing:
        name = backbone.pretrained_cfg.get("architecture", "?")
        raise ValueError(
            f"backbone {name!r} has features at strides {strides} and none at {missing}; "
            "the network needs 4, 8, 16 and 32"
        )
    indices = [strides.index(s) for s in STRIDES]
    return indices, [info.channels()[i] for i in indices]


@dataclass(frozen=True)
class Seen:
    """What a frozen backbone made of N pictures, in their place: B1..B4 of a feature network, the
    last map of another. A head that looks at pictures by `levels`, `feature_map` or `pooled` alone
    takes it for them."""

    maps: list[Tensor]

    @property
    def device(self) -> torch.device:
        return self.maps[0].device


@torch.no_grad()
def seen(backbone: Backbone, images: Tensor) -> Seen:
    """What the backbone gives for `images` in a test. It is in eval mode from then on."""
    backbone.eval()
    if isinstance(backbone.feature_info, FeatureInfo):
        return Seen(levels(backbone, four_levels(backbone)[0], images))
    return Seen([backbone.forward_features(images)])


def levels(backbone: Backbone, indices: list[int], images: Tensor | Seen) -> list[Tensor]:
    """B1..B4, N×c_i×h_i×w_i. Raises ValueError for pictures that are not N×3×H×W, floating point
    and 32 px a side or more, and for sides that an HRNet refuses."""
    if isinstance(images, Seen):
        return images.maps
    if not torch.compiler.is_compiling():  # what is asked of a size there is asked of every size
        _check(backbone, images)
    features = backbone(images)
    return [channels_first(backbone, features[i]) for i in indices]


def feature_map(backbone: Backbone, images: Tensor | Seen) -> Tensor:
    """The last map of what `without_classifier` made, N×channels(backbone)×h×w. Of an HRNet: its
    four branches, averaged down to stride 32 and joined.

    Raises ValueError for a backbone without one, such as a ViT.
    """
    if _has_branches(backbone):
        B = levels(backbone, four_levels(backbone)[0], images)
        return torch.cat([average(b, B[0].shape[2:]) for b in B], 1)
    found = images.maps[0] if isinstance(images, Seen) else backbone.forward_features(images)
    if found.dim() != 4:
        name = backbone.pretrained_cfg.get("architecture", "?")
        raise ValueError(f"backbone {name!r} has no last feature map; take a convolutional one")
    return channels_first(backbone, found)


def channels(backbone: Backbone) -> int:
    """Of `feature_map`."""
    if _has_branches(backbone):
        return sum(four_levels(backbone)[1])
    return backbone.num_features


def pooled(backbone: Backbone, images: Tensor | Seen) -> Tensor:
    """What the own classifier of the backbone would see, N×width(backbone). Of an HRNet:
    `feature_map`'s global average."""
    if _has_branches(backbone):
        return feature_map(backbone, images).mean((2, 3))
    if isinstance(images, Seen):
        return backbone.forward_head(images.maps[0])
    return _widened(backbone(images))


def width(backbone: Backbone) -> int:
    """Length of `pooled`'s vectors."""
    if _has_branches(backbone):
        return channels(backbone)
    return getattr(backbone, "head_hidden_size", None) or backbone.num_features


def depths(backbone: Backbone, coarse: bool = False) -> Callable[[str], tuple]:
    """For layer-wise rates: a function from the name of a parameter or module to its place, tuples
    that sort from the stem upwards.

    The order is timm's own where the backbone brings it. Else it is that of the backbone's children
    and, unless `coarse`, of the numbered blocks in them. A norm belongs to what it follows.
    """
    name, inner = next(
        ((f"{n}.", m) for n, m in backbone.named_children() if n in ("model", "body")),
        ("", backbone),  # some of timm's feature networks wrap the whole one
    )
    if hasattr(inner, "group_matcher"):
        found = group_parameters(inner, inner.group_matcher(coarse), reverse=True)
        found |= {k.rpartition(".")[0]: layer for k, layer in found.items()}  # of modules
        return lambda key: (found[key.removeprefix(name)],)
    parents = {n for n, m in inner.named_modules() if any(m.children())}  # else no block: a layer
    order: dict[str, int] = {}
    at = 0
    for child, module in inner.named_children():
        at += any(p.dim() > 1 for p in module.parameters())
        order[child] = at

    def place(key: str) -> tuple:
        key = key.removeprefix(name)
        if not (found := _BLOCK.match(key)):
            raise KeyError(key)
        blocks = [int(found[i]) for i in (2, 3) if found[i] and key[: found.end(i)] in parents]
        return (order[found[1]], *(blocks[:-1] if coarse else blocks))

    return place


# a child and its block's number: "layer1.0.conv1", "blocks.1.0.conv_pw", "stages_1.blocks.0.norm"
_BLOCK = re.compile(r"([^.]+)(?:\.blocks)?(?:\.(\d+))?(?:\.(\d+))?(?:\.|$)")


def set_grad_checkpointing(backbone: Backbone, enable: bool = True) -> None:
    """timm's gradient checkpointing, in a feature network too. ValueError for a backbone that timm
    has none for."""
    inner: Backbone = getattr(backbone, "model", backbone)
    try:
        inner.set_grad_checkpointing(enable)
    except (AttributeError, AssertionError) as error:
        name = backbone.pretrained_cfg.get("architecture", "?")
        raise ValueError(
            f"backbone {name!r}: timm has no gradient checkpointing for it (a smaller batch or "
            "precision='bf16' save memory too)"
        ) from error


def _has_branches(backbone: Backbone) -> bool:
    return isinstance(backbone, HighResolutionNetFeatures)


class Conv1x1(nn.Conv2d):
    """A 1×1 convolution with a bias, as the reductions of §3.3: C = W B + b."""

    bias: Tensor

    def __init__(self, channels: int, width: int):
        super().__init__(channels, width, kernel_size=1)


@torch.no_grad()
def standardise(conv: Conv1x1, found: Tensor) -> None:
    """Scales a convolution so that what it gave, `found` (N×c×h×w), would have had mean 0 and
    variance 1 in each channel (Krähenbühl et al. 2016)."""
    std, mean = torch.std_mean(found, dim=(0, 2, 3), correction=0)
    std = std.clamp(min=1e-6)
    conv.weight /= std[:, None, None, None]
    conv.bias.copy_((conv.bias - mean) / std)


def _check(backbone: Backbone, images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise ValueError(f"the network takes a tensor of pictures, not {type(images).__name__}")
    shape = "×".join(map(str, images.shape))
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(
            f"pictures of shape {shape}: the network takes N×3×H×W, red, green and blue "
            "(Pillow's image.convert('RGB') makes such of any picture)"
        )
    if not images.is_floating_point():
        raise ValueError(
            f"pictures of {images.dtype}: the network takes floating point, scaled to 0…1 and "
            "normalised by the mean and std in its pretrained_cfg (Predictor.predict does both)"
        )
    H, W = images.shape[-2:]
    if min(H, W) < STRIDES[0]:
        raise ValueError(
            f"pictures of {H}×{W}: the network takes {STRIDES[0]} px a side or more, the stride "
            "of its highest level (enlarge them)"
        )
    if (H % 32 or W % 32) and "hrnet" in backbone.pretrained_cfg.get("architecture", ""):
        raise ValueError(
            f"pictures of {H}×{W}: timm's HRNet takes heights and widths that are multiples "
            "of 32 only (crop or resize them, or take a ResNet, which takes any size)"
        )


def channels_first(backbone: Backbone, B: Tensor) -> Tensor:
    """N×c×h×w, no less than float32: Swin and its kin put the channels last, autocast leaves 16
    bits."""
    if getattr(backbone, "output_fmt", Format.NCHW) == Format.NHWC:
        B = B.permute(0, 3, 1, 2)
    return _widened(B)


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        raise ValueError(f"unknown backbone {name!r}: not a model of timm {timm.__version__}")


def make(name: str, pretrained: bool, weights: str | Path, **options) -> Backbone:
    """A timm model. A file of `weights` is checked, then read by timm's own loader."""
    if model_entrypoint(name).__module__.endswith("vision_transformer"):
        options.setdefault("dynamic_img_size", True)  # its position embedding fits any crop
    if not pretrained:
        return timm.create_model(name, pretrained=False, **options)
    if weights:
        _check_weights(name, Path(weights))
        options["pretrained_cfg_overlay"] = {"file": str(weights)}
    # timm's loader logs the tensors that a feature network leaves aside, hundreds for an HRNet
    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        net: Backbone = timm.create_model(name, pretrained=True, **options)
        if not weights:
            net.downloaded = digest(net)
        return net
    except (OSError, RuntimeError) as error:
        if weights:
            raise ValueError(f"weights {weights}: {error}") from error
        raise RuntimeError(
            f"timm could not download the ImageNet weights of {name!r} ({type(error).__name__}). "
            f'On a machine with a network: python -c "import timm; from safetensors.torch import '
            f"save_file; save_file(timm.create_model('{name}', pretrained=True).state_dict(), "
            f"'{name}.safetensors')\"; then pass that file, or a folder that holds it, as weights. "
            "Or start from random weights with init='scratch' (':scratch' at the end of a chain)."
        ) from error
    finally:
        logger.setLevel(level)


def downloaded(model: nn.Module) -> str | None:
    """SHA-256 of the tensors that timm downloaded for a network just made. None where it downloaded
    nothing."""
    found = {str(m.downloaded) for m in model.modules() if hasattr(m, "downloaded")}
    return ";".join(sorted(found)) or None


def digest(net: Backbone) -> str:
    """SHA-256 over the names and values of all tensors but the classifier's, which may be new."""
    digest, new = hashlib.sha256(), _classifier(net)
    for key, tensor in net.state_dict().items():
        if key.rpartition(".")[0] not in new:
            digest.update(key.encode())
            digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _classifier(net: Backbone) -> tuple[str, ...]:
    """The modules that timm names as a network's classifier."""
    found = net.pretrained_cfg.get("classifier") or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _check_weights(name: str, file: Path) -> None:
    """ValueError where the file is not this network's. timm's loader says nothing where the
    classifier differs too."""
    if not file.is_file():
        raise ValueError(f"weights: there is no file {str(file)!r}")
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as tensors:
                found = {k: tuple(tensors.get_slice(k).get_shape()) for k in tensors.keys()}
        else:
            found = {k: tuple(t.shape) for k, t in load_state_dict(str(file)).items()}
    except Exception as error:  # whatever the file's format makes the readers raise
        raise ValueError(f"weights {file}: not a readable weights file ({error})") from error
    plain = timm.create_model(name, pretrained=False)
    classifier = _classifier(plain)
    for key, tensor in plain.state_dict().items():
        if key.endswith("num_batches_tracked") or key.rpartition(".")[0] in classifier:
            continue
        if found.get(key) != tuple(tensor.shape):
            has = f"has it as {found[key]}" if key in found else "lacks it"
            raise ValueError(
                f"weights {file}: not the weights of {name!r}, which has {key} as "
                f"{tuple(tensor.shape)}; the file {has}"
            )
