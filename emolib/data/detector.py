"""A detector of torchvision's, COCO-trained, in place of OpenCV's boxes: `RunSpec.detector`.

Its weights come from the folder `weights` (<name>.safetensors or <name>.pth, torchvision's tensors)
or from torchvision's download; without either it is an error, never a random detector.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import torchvision
from timm.models import load_state_dict
from torch import Tensor

from ..base.files import sha256

SURE = 0.7  # score from which on a detection is a salient object
LEAST = 0.05  # torchvision's own: below it nothing is detected


def file_of(name: str, weights: str | Path) -> Path | None:
    """The detector's file in the folder `weights`, or None."""
    files = (Path(weights or "?") / (name + suffix) for suffix in (".safetensors", ".pth"))
    return next((file for file in files if file.is_file()), None)


def identity(name: str, weights: str | Path) -> str:
    """What a run's boxes depend on: the file's hash, or that torchvision's download is meant."""
    file = file_of(name, weights)
    return f"{name} sha256:{sha256(file)[:16]}" if file else f"{name} torchvision"


@functools.lru_cache(maxsize=2)
def load_detector(name: str, weights: str) -> torch.nn.Module:
    """The detector. Raises RuntimeError where its weights can be had nowhere, ValueError where the
    file holds others."""
    file = file_of(name, weights)
    if file is None:
        try:
            return torchvision.models.get_model(name, weights="DEFAULT").eval()
        except (OSError, RuntimeError) as error:
            make = (
                "import torch, torchvision; torch.save(torchvision.models.get_model("
                f"'{name}', weights='DEFAULT').state_dict(), '{name}.pth')"
            )
            raise RuntimeError(
                f"detector {name!r}: torchvision could not download its weights "
                f'({type(error).__name__}). On a machine with a network: python -c "{make}"; then '
                "put that file into the folder that weights names, or take detector='opencv'"
            ) from error
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    try:
        model.load_state_dict(load_state_dict(str(file)))
    except Exception as error:  # whatever the file's format makes the readers raise
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: not torchvision's weights of {name!r} ({reason})") from error
    return model.eval()


@torch.inference_mode()
def detect(model: torch.nn.Module, image: Tensor, salient: bool) -> tuple[np.ndarray, np.ndarray]:
    """Boxes k×4 as shares of the sides and their scores, the best first; salient: the one surest
    detection from SURE on. image: h×w×3 uint8."""
    h, w = image.shape[:2]
    (found,) = model([image.permute(2, 0, 1).contiguous().float() / 255])
    boxes = found["boxes"].numpy() / np.array([w, h, w, h], np.float32)
    scores = found["scores"].numpy()
    keep = scores >= (SURE if salient else LEAST)
    boxes, scores = boxes[keep].clip(0, 1), scores[keep]
    return (boxes[:1], scores[:1]) if salient else (boxes, scores)
