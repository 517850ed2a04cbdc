"""`create_model`, the one door to every system, and where its ImageNet weights come from."""

import logging
from pathlib import Path

import timm
from safetensors import safe_open
from timm.models import load_state_dict
from torch import nn

from .network import MaiAfa
from .spec import Readings

# Rivals of Tables 1 and 9 that are named in the tables and not built yet.
PLANNED = (
    "rao2016", "ar", "wscnet", "rao2020", "pcnn", "wu2019", "mcpnet", "yao2019", "priya2020",
)  # fmt: skip


def create_model(
    name: str = "maiafa",
    backbone: str | None = None,
    num_classes: int = 2,
    pretrained: bool = False,
    weights: str | Path = "",
    **kwargs,
) -> nn.Module:
    """The network (`"maiafa"`) or a rival: `"resnet101"` and any other timm model by its name.

    backbone: for maiafa a timm model with features at strides 4, 8, 16 and 32 (default
    hrnet_w48). pretrained: start from ImageNet weights, timm's download or the local file
    `weights` (safetensors or torch, timm's names). kwargs: mai, afa, head, readings, width,
    dropout of `MaiAfa`.

    The model carries `pretrained_cfg` with the mean and std its pictures are normalised by.

    Raises ValueError for an unknown name or backbone, one without the four strides, a weights
    file of another network; RuntimeError where weights cannot be downloaded.
    """
    if name == "maiafa":
        return _maiafa(backbone or "hrnet_w48", num_classes, pretrained, weights, **kwargs)
    if name in PLANNED:
        raise ValueError(f"model {name!r} is in the paper's tables but not built yet")
    if not timm.is_model(name):
        raise ValueError(
            f"unknown model {name!r}: 'maiafa' or a timm model name such as 'resnet101'"
        )
    if backbone not in (None, name):
        raise ValueError(
            f"model {name!r} is its own backbone; backbone={backbone!r} does not apply"
        )
    if kwargs:
        raise ValueError(f"model {name!r} takes no {sorted(kwargs)}")
    return _timm(name, pretrained, weights, num_classes=num_classes)


def _maiafa(
    backbone: str,
    num_classes: int,
    pretrained: bool,
    weights: str | Path,
    readings: Readings = Readings(),
    **kwargs,
) -> MaiAfa:
    if not timm.is_model(backbone):
        raise ValueError(f"unknown backbone {backbone!r}: not a model of timm {timm.__version__}")
    options = {"features_only": True}
    if backbone.startswith("hrnet"):
        options["feature_location"] = "incre" if readings.levels == "increased" else ""
    elif readings.levels == "increased":
        raise ValueError(
            "readings.levels='increased' names the channel-increase blocks of HRNet's ImageNet "
            f"head; backbone {backbone!r} has none (take levels='branches')"
        )
    try:
        features = _timm(backbone, pretrained, weights, **options)
    except (AttributeError, NotImplementedError, AssertionError) as error:
        raise ValueError(f"backbone {backbone!r} has no feature maps in timm: {error}") from error
    return MaiAfa(features, num_classes, readings=readings, **kwargs)


def _timm(name: str, pretrained: bool, weights: str | Path, **options) -> nn.Module:
    """A timm model; `weights` goes through timm's own loader once its tensors are seen to fit."""
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
        return timm.create_model(name, pretrained=True, **options)
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


def _check_weights(name: str, file: Path) -> None:
    """timm's loader takes a file of another network in silence where the classifier differs too."""
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
    classifier = plain.pretrained_cfg.get("classifier") or ()
    classifier = (classifier,) if isinstance(classifier, str) else classifier
    for key, tensor in plain.state_dict().items():
        if key.endswith("num_batches_tracked") or key.rpartition(".")[0] in classifier:
            continue
        if found.get(key) != tuple(tensor.shape):
            has = f"has it as {found[key]}" if key in found else "lacks it"
            raise ValueError(
                f"weights {file}: not the weights of {name!r}, which has {key} as "
                f"{tuple(tensor.shape)}; the file {has}"
            )
