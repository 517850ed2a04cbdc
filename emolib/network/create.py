"""`create_model`, the one door to every system."""

from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..data.proposals import COUNT
from ..spec.run_spec import Readings
from ..spec.systems import RIVALS, SYSTEMS, system_of
from . import backbones
from .maiafa import MaiAfa, check_settings
from .rivals import rival_class


def create_model(
    name: str = "maiafa",
    backbone: str | None = None,
    num_classes: int = 2,
    pretrained: bool = False,
    weights: str | Path = "",
    **kwargs,
) -> nn.Module:
    """The network (`"maiafa"`), a rival (`systems.RIVALS`) or any timm model by its own name.

    backbone: a timm model; default the system's own (`systems.SYSTEMS`). maiafa, mcpnet, rao2020
    and yao2019 need features at strides 4, 8, 16 and 32; pcnn and rao2016 have no backbone.
    pretrained: start from ImageNet weights, timm's download or the local file `weights`
    (safetensors or torch, timm's names). kwargs: mai, afa, head, readings, width, dropout of
    `MaiAfa`; for a rival what its class takes.

    images N×3×H×W float, normalised by `pretrained_cfg`'s mean and std → logits N×num_classes.
    What else a rival offers is said in `rivals`. Before a training of your own, set the head's
    scale on a first batch: `net.calibrate(images)` (`MaiAfa.calibrate`).

    Raises ValueError for an unknown name or backbone, one without the four strides, a weights
    file of another network or without `pretrained`; RuntimeError where weights cannot be
    downloaded.
    """
    if not isinstance(name, str):
        raise ValueError(f"name={name!r}: the name of a system, such as 'maiafa' or 'wscnet'")
    if name not in SYSTEMS and not timm.is_model(name):
        raise ValueError(
            f"unknown model {name!r}: 'maiafa', {', '.join(RIVALS)} "
            "or a timm model name such as 'resnet101'"
        )
    if weights and not pretrained:
        raise ValueError(f"weights={str(weights)!r}: pretrained=True starts from them")
    own = system_of(name).backbone
    if own in (None, name) and backbone not in (None, "", own):
        what = "is its own backbone" if own else "has no backbone"
        raise ValueError(f"model {name!r} {what}; backbone={backbone!r} does not apply")
    source = (backbone or str(own), pretrained, weights)
    if name == "maiafa":
        return _made(name, MaiAfa, [_levels(*source, **kwargs)], num_classes, kwargs)
    if rival := rival_class(name):
        read = getattr(rival, "takes", "") == "levels"
        make = backbones.with_levels if read else backbones.without_classifier
        copies = getattr(rival, "backbones", 1) if own else 0
        return _made(name, rival, [make(*source) for _ in range(copies)], num_classes, kwargs)
    if kwargs:
        raise ValueError(f"model {name!r} takes no {sorted(kwargs)}")
    net = backbones.make(*source, num_classes=num_classes)
    if isinstance(net.get_classifier(), nn.Linear):
        # some of timm's start with logits of ±10 for few classes; every system starts as torch does
        net.get_classifier().reset_parameters()
    return net


def _levels(name: str, pretrained: bool, weights, readings=Readings(), width=1, **others):
    """Our network's backbone. ValueError for settings that the network cannot be made with."""
    check_settings(width, readings)
    increased = readings.levels == "increased"
    if increased and timm.is_model(name) and not name.startswith("hrnet"):
        raise ValueError(
            "readings.levels='increased' names the channel-increase blocks of HRNet's ImageNet "
            f"head; backbone {name!r} has none (take levels='branches')"
        )
    return backbones.with_levels(name, pretrained, weights, increased)


def _made(name: str, system: type, parts: list, num_classes: int, settings: dict) -> nn.Module:
    try:
        return system(*parts, num_classes, **settings)
    except TypeError as error:
        raise ValueError(f"model {name!r}: {error}") from error


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
