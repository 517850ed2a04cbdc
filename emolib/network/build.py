"""A spec's network as it starts: random, from ImageNet weights or from another run's."""

import contextlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..base.files import content
from ..data.batches import seed_all
from ..data.proposals import OPENCV, detector_identity
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from . import create


def build_network(
    spec: RunSpec,
    weights: str = "",
    before: Path | None = None,
    classes: int = 2,
    new_last: bool = False,
) -> torch.nn.Module:
    """The spec's network at its start: random, ImageNet or the weights of the run `before`.

    The fully connected layers of a fine-tuning start from its predecessor's too. classes: how
    many the last layer has. new_last: `before` has other ones, so that this layer stays random.
    """
    seed_all(spec.seed)
    options = {name: getattr(spec, name) for name in system_of(spec.model).settings}
    pretrained = before is None and spec.init == "imagenet"
    file = weights_file(spec, weights) if pretrained else ""
    model = create.create_model(spec.model, spec.backbone, classes, pretrained, file, **options)
    if before:
        state = load_file(before)
        if new_last:  # what has another shape with another number of classes
            wider = create.create_model(spec.model, spec.backbone, classes + 1, **options)
            own, other = model.state_dict(), wider.state_dict()
            state |= {name: t for name, t in own.items() if t.shape != other[name].shape}
        getattr(model, "start_from", model.load_state_dict)(state)
    return model


@contextlib.contextmanager
def fitting_weights(file: Path, whose: str):
    """ValueError, in one line that names it, where what is read from `file` does not fit."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{file}: not the weights of {whose} ({reason})") from error


def weights_file(spec: RunSpec, weights: str) -> str:
    """The file of this run's ImageNet weights: `weights`, or in the folder `weights`."""
    if weights and Path(weights).is_dir() and spec.backbone:
        return str(Path(weights) / f"{spec.backbone}.safetensors")
    return str(weights)


def weights_hash(spec: RunSpec, weights: str) -> str:
    """What the chain starts from: "scratch", a local file's hash, or "timm:" and the model name."""
    if spec.init.endswith("scratch"):
        found = "scratch"
    else:
        file = weights_file(spec, weights)
        found = f"sha256:{content(Path(file))[:16]}" if file else f"timm:{spec.backbone}"
    if spec.detector != OPENCV:
        found += f"; {detector_identity(spec.detector, weights)}"
    return found
