"""A trained network as a predictor: from a run folder, from the Hugging Face hub or by name."""

import warnings
from pathlib import Path

import timm
import torch

from ..base.devices import pick_device
from ..base.run_folder import read_spec
from ..network.build import build_network, fitting_weights
from ..spec.run_spec import RunSpec
from .hub_layout import REPOSITORY, check_there, folder_of, read_config
from .predict import Predictor

# a name on the Hugging Face hub: "owner/name", perhaps with "hf-hub:" before it, "@revision" behind


def load(source, device: str = "auto", weights="") -> Predictor:
    """The predictor of a trained network.

    source: a complete run's folder; a folder as on the Hugging Face hub (config.json, whose "spec"
    is a RunSpec's, and model.safetensors); such a repository by name, "owner/name" or
    "hf-hub:owner/name@revision", where no folder here has that name; or a network's name in timm,
    such as "maiafa_hrnet_w48": untrained, with a warning, from ImageNet weights where `weights`
    has them.
    weights: the folder with its detector's weights, for a system whose boxes come from one.

    Raises FileNotFoundError where the folder holds no run, ValueError that names the file where its
    spec or weights are none.
    """
    there = pick_device(device)
    if not isinstance(source, (str, Path)) or not str(source) or Path(source).is_file():
        raise ValueError(
            f"load({str(source)!r}): takes a run folder, a folder in the Hugging Face layout, "
            "'owner/name' or a name such as 'maiafa_resnet50'"
        )
    if isinstance(source, str) and not Path(source).exists():
        backbone = source.removeprefix("maiafa_")
        if backbone != source and timm.is_model(backbone):
            warnings.warn(
                f"{source}: its classifier is untrained, its answers are chance", stacklevel=2
            )
            spec = RunSpec("own", backbone=backbone, init="imagenet" if weights else "scratch")
            return _ready(spec, build_network(spec, str(weights)), there, "")
        if _on_hub(source):
            source = folder_of(source.removeprefix("hf-hub:"))
    folder = Path(source)
    hub_layout = (folder / "config.json").exists() and not (folder / "spec.json").exists()
    about = folder / ("config.json" if hub_layout else "spec.json")
    file = folder / "model.safetensors"
    check_there(folder, about.name, file.name)
    if hub_layout:
        spec = read_config(about)
    else:
        spec = read_spec(about)
    # its weights come from the file, so the start they were trained from is not needed
    with fitting_weights(file, f"this folder's {about.name}"):
        model = build_network(spec, before=file)
    return _ready(spec, model, there, str(weights))


def _ready(spec: RunSpec, model: torch.nn.Module, device: torch.device, weights: str) -> Predictor:
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Predictor(spec, model.eval(), device, weights)


def _on_hub(source: str) -> bool:
    """Whether it names a repository rather than a folder that is not there: no folder has the
    owner's name here, or it says "hf-hub:"."""
    found = REPOSITORY.fullmatch(source)
    return found is not None and (bool(found[1]) or not Path(found[2]).parent.exists())
