"""A spec's network: as it starts, and as a run left it."""

import re
import warnings
from pathlib import Path

import timm
import torch

from ..base.devices import pick_device
from ..base.run_folder import read_spec
from ..network.build import build_network, fitting_weights
from ..spec.run_spec import RunSpec
from .predict import Predictor


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
    device = pick_device(device)
    if not isinstance(source, (str, Path)) or not str(source) or Path(source).is_file():
        raise ValueError(
            f"load({str(source)!r}): takes a run folder, a folder in the Hugging Face layout, "
            "'owner/name' or a name such as 'maiafa_resnet50'"
        )
    if isinstance(source, str) and not Path(source).exists():
        if source.startswith("maiafa_") and timm.is_model(source.removeprefix("maiafa_")):
            return _untrained(source, device, str(weights))
        if _on_hub(source):
            from .hub import folder_of

            source = folder_of(source.removeprefix("hf-hub:"))
    folder = Path(source)
    hub_layout = (folder / "config.json").exists() and not (folder / "spec.json").exists()
    about = folder / ("config.json" if hub_layout else "spec.json")
    for file in (about, folder / "model.safetensors"):
        if not file.exists():
            raise FileNotFoundError(
                f"{folder} has no {file.name}: not a complete run folder, or one whose weights "
                "were not kept; run its spec again"
            )
    if hub_layout:
        from .hub import read_config

        spec = read_config(about)
    else:
        spec = read_spec(about)
    # its weights come from the file below, so the start they were trained from is not needed
    file = folder / "model.safetensors"
    with fitting_weights(file, f"this folder's {about.name}"):
        model = build_network(spec, before=file)
    return _ready(spec, model, device, str(weights))


def _untrained(name: str, device: torch.device, weights: str) -> Predictor:
    """The network that timm knows as `name`, with a new head."""
    warnings.warn(f"{name}: its classifier is untrained, its answers are chance", stacklevel=3)
    start = "imagenet" if weights else "scratch"
    spec = RunSpec("own", backbone=name.removeprefix("maiafa_"), init=start)
    return _ready(spec, build_network(spec, weights), device, "")


def _ready(spec: RunSpec, model, device: torch.device, weights: str) -> Predictor:
    model = model.to(device, memory_format=torch.channels_last).eval()
    return Predictor(spec, model, device, weights)


def _on_hub(source: str) -> bool:
    """Whether it names a repository rather than a folder that is not there: two plain words with a
    slash between them, perhaps @revision, the first of which is no folder here."""
    owner, slash, name = source.removeprefix("hf-hub:").partition("/")
    plain = re.fullmatch(r"\w[\w.-]*", owner) and re.fullmatch(r"\w[\w.-]*(@[\w./-]+)?", name)
    return bool(slash and plain) and (source.startswith("hf-hub:") or not Path(owner).exists())
