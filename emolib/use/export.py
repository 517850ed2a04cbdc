"""A network outside emolib: as a torch.export program, as an ONNX file.

Both take images N×3×H×W float32, normalised by the network's `pretrained_cfg`, of any number and
size (of an HRNet and of timm's `tf_…` models: sides that are multiples of 32), and give the logits
N×classes and, where the network has them, the regions D, N×1×H/4×W/4. Neither needs emolib to run.
The logits of a Predictor are divided by its temperature; of polarity their softmax is its answer.
Where its own pictures have sides that are no multiples of 32, and the network needs that, the
program takes pictures of its own size alone.
"""

import contextlib
import functools
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.models.hrnet import HighResolutionNet
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..base.files import whole_file
from .predict import Predictor

PACKAGES = ("onnx", "onnxscript")
SIDE_STEP = 32  # px
AXES = {0: "batch", 2: "height", 3: "width"}


class _Outputs(nn.Module):
    """(logits, D) in one pass, or the logits alone."""

    net: Any  # an nn.Module

    def __init__(self, net: nn.Module | Predictor):
        super().__init__()
        self.temperature, size = 1.0, SIDE_STEP
        if isinstance(net, Predictor):
            self.temperature, size, net = net.temperature, net.spec.image_size, net.model
        net = getattr(net, "net", net)  # `hub.Network` holds the network itself
        kind = type(net).__name__
        if not isinstance(net, nn.Module):
            raise ValueError(f"a {kind} is no network: take create_model's, or a Predictor")
        if hasattr(net, "finder") or hasattr(net, "predict_proba"):
            raise ValueError(f"{kind} takes more than pictures (boxes or files): it has no export")
        if next(net.parameters(), None) is None:
            raise ValueError(f"{kind} has no parameters: not a network")
        # of HRNet and of `_constant_padding` the sides are multiples of 32
        in_steps = any(isinstance(m, (Conv2dSame, HighResolutionNet)) for m in net.modules())
        self.side = size if in_steps and size % SIDE_STEP else None  # the only one, in px
        self.in_steps = in_steps and not self.side
        self.net = net
        self.names = ["logits", "regions"] if getattr(net, "has_regions", False) else ["logits"]

    def forward(self, images: Tensor):
        if self.in_steps:  # a reshape that fails, also in ONNX, for any other size
            images = images.unflatten(3, (-1, SIDE_STEP)).unflatten(2, (-1, SIDE_STEP))
            images = images.flatten(4, 5).flatten(2, 3)
        if len(self.names) == 1:
            return self.net(images) / self.temperature
        logits, regions = self.net.with_regions(images)
        return logits / self.temperature, regions


def exported(net: nn.Module | Predictor, image_size: int = 224) -> ExportedProgram:
    """The network, or a Predictor's, as it is in evaluation, without Python: save it by
    `torch.export.save`.

    image_size: px, of the pictures it is traced with; it takes others too, above 32 px a side
    (a Predictor's own size alone, as said above).
    Raises ValueError for a system that looks at boxes or is fitted without gradients, and for a
    network that torch cannot export with free sizes.
    """
    return _traced(_Outputs(net), image_size)


def to_onnx(net: nn.Module | Predictor, file, image_size: int = 224) -> Path:
    """Writes the network, or a Predictor's, as an ONNX file: input "images", outputs "logits" and
    "regions".

    image_size: as in `exported`. Returns the file's path. Raises what `exported` does, and
    ImportError where the packages for it are not installed.
    """
    if absent := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ImportError(f"ONNX needs {' and '.join(absent)}: install emolib's extra [onnx]")
    outputs = _Outputs(net)
    program = _traced(outputs, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of its inner parts
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=outputs.names,
            dynamic_shapes={"images": {0: "batch"} if outputs.side else AXES},
            verbose=False,
        )
    with whole_file(Path(file)) as part:
        onnx.save(part, external_data=False)  # type: ignore[union-attr]
    return Path(file)


def _traced(outputs: _Outputs, image_size: int) -> ExportedProgram:
    if not isinstance(image_size, int) or image_size % 32 or image_size < 64:
        raise ValueError(f"image_size={image_size!r}: a multiple of 32, 64 or more")
    weight, training = next(outputs.net.parameters()), outputs.net.training
    sizes: dict = {0: Dim.AUTO}
    if outputs.side:
        shape = outputs.side, outputs.side
    else:
        shape, sides = (image_size, image_size + SIDE_STEP), [Dim.AUTO, Dim.AUTO]
        if outputs.in_steps:
            sides = [SIDE_STEP * Dim(name, min=2, max=128) for name in ("h32", "w32")]
        sizes |= {2: sides[0], 3: sides[1]}
    images = torch.zeros(2, 3, *shape, device=weight.device)
    outputs.eval()
    try:
        with torch.no_grad(), _constant_padding(outputs):
            return torch.export.export(outputs, (images,), dynamic_shapes={"images": sizes})
    except (torch._dynamo.exc.UserError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"torch.export cannot take this network: {reason}") from error
    finally:
        outputs.net.train(training)


@contextlib.contextmanager
def _constant_padding(outputs: _Outputs):
    """Inside the block TensorFlow's padding is that of sides that the convolution's stride divides.
    In general it depends on the sides, by terms that torch takes minutes over where they are free.
    """
    free = () if outputs.side else outputs.modules()
    convolutions = [m for m in free if isinstance(m, Conv2dSame)]
    for conv in convolutions:
        conv.forward = functools.partial(_padded, conv)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for conv in convolutions:
            del conv.forward


def _padded(conv: Conv2dSame, x: Tensor) -> Tensor:
    sides = zip(conv.kernel_size, conv.dilation, conv.stride, strict=True)
    h, w = (max((k - 1) * d + 1 - s, 0) for k, d, s in sides)
    x = F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
