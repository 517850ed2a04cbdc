"""`create_model`, the one door to every system."""

from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..data.proposals import COUNT
from ..spec.run_spec import Readings
from ..spec.systems import BACKBONES
from . import backbones
from .maiafa import MaiAfa, check_settings
from .rivals import SYSTEMS


def create_model(
    name: str = "maiafa",
    backbone: str | None = None,
    num_classes: int = 2,
    pretrained: bool = False,
    weights: str | Path = "",
    **kwargs,
) -> nn.Module:
    """The network (`"maiafa"`), a rival (`rivals.SYSTEMS`) or any timm model by its own name.

    backbone: a timm model; default the system's own (`systems.BACKBONES`). maiafa, mcpnet, rao2020
    and yao2019 need features at strides 4, 8, 16 and 32; pcnn and rao2016 have no backbone.
    pretrained: start from ImageNet weights, timm's download or the local file `weights`
    (safetensors or torch, timm's names). kwargs: mai, afa, head, readings, width, dropout of
    `MaiAfa`; for a rival what its class takes.

    images N×3×H×W float, normalised by `pretrained_cfg`'s mean and std → logits N×num_classes.
    What else a rival offers is said in `rivals`.

    Raises ValueError for an unknown name or backbone, one without the four strides, a weights
    file of another network; RuntimeError where weights cannot be downloaded.
    """
    if not isinstance(name, str):
        raise ValueError(f"name={name!r}: the name of a system, such as 'maiafa' or 'wscnet'")
    if name == "maiafa":
        return _maiafa(backbone or BACKBONES[name], num_classes, pretrained, weights, **kwargs)
    if name in SYSTEMS:
        return _rival(name, backbone, num_classes, pretrained, weights, **kwargs)
    if not timm.is_model(name):
        raise ValueError(
            f"unknown model {name!r}: 'maiafa', {', '.join(SYSTEMS)} "
            "or a timm model name such as 'resnet101'"
        )
    if backbone not in (None, name):
        raise ValueError(
            f"model {name!r} is its own backbone; backbone={backbone!r} does not apply"
        )
    if kwargs:
        raise ValueError(f"model {name!r} takes no {sorted(kwargs)}")
    net = backbones.make(name, pretrained, weights, num_classes=num_classes)
    if isinstance(net.get_classifier(), nn.Linear):
        # some of timm's start with logits of ±10 for few classes; every system starts as torch does
        net.get_classifier().reset_parameters()
    return net


@torch.no_grad()
def size(model: nn.Module, image_size: int) -> dict:
    """{"parameters", "macs"}: how many numbers were learnt or frozen, and how many multiplications
    and additions one picture takes by torch's count (every box there is; None without a network).
    """
    own = model.buffers(recurse=False) if hasattr(model, "fit") else []
    parameters = sum(t.numel() for t in [*model.parameters(), *own])
    if not list(model.parameters()):
        return {"parameters": parameters, "macs": None}
    device, extras, training = next(model.parameters()).device, {}, model.training
    if hasattr(model, "finder"):
        whole = torch.tensor([0, 0, image_size, image_size, 1.0], device=device)
        extras = {"boxes": whole.expand(1, COUNT, 5)}
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device), **extras)
    model.train(training)
    return {"parameters": parameters, "macs": counter.get_total_flops() // 2}


def _maiafa(
    backbone: str,
    num_classes: int,
    pretrained: bool,
    weights: str | Path,
    readings: Readings = Readings(),
    **kwargs,
) -> MaiAfa:
    check_settings(kwargs.get("width", 1), readings)
    increased = readings.levels == "increased"
    if increased and timm.is_model(backbone) and not backbone.startswith("hrnet"):
        raise ValueError(
            "readings.levels='increased' names the channel-increase blocks of HRNet's ImageNet "
            f"head; backbone {backbone!r} has none (take levels='branches')"
        )
    features = backbones.with_levels(backbone, pretrained, weights, increased)
    return _made("maiafa", MaiAfa, features, num_classes, readings=readings, **kwargs)


def _rival(name, backbone, num_classes, pretrained, weights, **kwargs) -> nn.Module:
    system, own = SYSTEMS[name], BACKBONES[name]
    if own is None:
        if backbone:
            raise ValueError(
                f"model {name!r} has no backbone; backbone={backbone!r} does not apply"
            )
        return _made(name, system, num_classes, **kwargs)
    make = backbones.with_levels if system.takes == "levels" else backbones.without_classifier
    copies = range(getattr(system, "backbones", 1))
    made = [make(backbone or own, pretrained, weights) for _ in copies]
    return _made(name, system, *made, num_classes, **kwargs)


def _made(name, system, *args, **kwargs) -> nn.Module:
    try:
        return system(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"model {name!r}: {error}") from error
