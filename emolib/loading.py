"""A spec's network: as it starts, and as a run left it."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from . import detector, models
from .devices import pick_device
from .files import content
from .pipeline import seed_all
from .predict import Predictor
from .proposals import OPENCV
from .rivals import SYSTEMS
from .run_folder import read_spec
from .spec import RunSpec
from .systems import FITTED


def build(spec: RunSpec, weights: str = "", before: Path | None = None) -> torch.nn.Module:
    """The spec's network at its start: random, ImageNet or the weights of the run `before`.

    The fully connected layers of a fine-tuning start from its predecessor's too.
    """
    seed_all(spec.seed)
    weights, options = weights_file(spec, weights), {}
    if spec.model == "maiafa":
        names = ("backbone", "mai", "afa", "readings", "width", "dropout")
        options = {name: getattr(spec, name) for name in names}
    elif spec.model in SYSTEMS:
        options = {"backbone": spec.backbone}
        if spec.model in FITTED:
            options["image_size"] = spec.image_size
        if spec.model == "rao2016":
            options["seed"] = spec.seed
    pretrained = before is None and spec.init == "imagenet"
    model = models.create_model(
        spec.model, pretrained=pretrained, weights=weights if pretrained else "", **options
    )
    if before:
        getattr(model, "start_from", model.load_state_dict)(load_file(before))
    return model


def load(run_folder, device: str = "auto", weights="") -> Predictor:
    """The predictor of a complete run. weights: the folder with its detector's weights, for a
    system whose boxes come from one. Raises FileNotFoundError where the folder holds no run,
    ValueError that names the file where its spec or weights are none."""
    folder = Path(run_folder)
    for name in ("spec.json", "model.safetensors"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder} has no {name}: not a complete run folder, or one whose weights were "
                "not kept; run its spec again"
            )
    spec = read_spec(folder / "spec.json")
    device = pick_device(device)
    # its weights come from the file below, so the start they were trained from is not needed
    try:
        model = build(spec, before=folder / "model.safetensors")
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{folder / 'model.safetensors'}: not the weights of this folder's spec.json ({reason})"
        ) from error
    model = model.to(device, memory_format=torch.channels_last).eval()
    return Predictor(spec, model, device, str(weights))


def weights_file(spec: RunSpec, weights: str) -> str:
    """The file of this run's ImageNet weights: `weights`, or in the folder `weights`."""
    if weights and Path(weights).is_dir() and spec.backbone:
        return str(Path(weights) / f"{spec.backbone}.safetensors")
    return str(weights)


def weights_hash(spec: RunSpec, weights: str) -> str:
    """What the chain starts from: "scratch", a local file's hash, or "timm:" and the model name."""
    file = "" if spec.init.endswith("scratch") else weights_file(spec, weights)
    found = f"sha256:{content(Path(file))[:16]}" if file else f"timm:{spec.backbone}"
    found = "scratch" if spec.init.endswith("scratch") else found
    if spec.detector != OPENCV:
        found += f"; {detector.identity(spec.detector, weights)}"
    return found
