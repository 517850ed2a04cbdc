"""What the checks of a GPU share: where they run, and the networks that they step."""

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base import run_folder
from ...data.demo.demo import make_demo_data
from ...network.build import build_network
from ...spec.run_spec import Readings, RunSpec
from ...spec.systems import COMPARED, system_of
from .. import cost, loop

PICTURES = 40  # drawn
PAPERS_STEP = dict(backbone="hrnet_w48", image_size=224, batch_size=32)  # the paper's
SHORT: dict[str, Any] = dict(
    dataset="twitter1", width=128, init="scratch", epochs=2, batch_size=8, lr=0.001
)
# Nothing in a step of these makes the host wait, and nothing in their answers is a choice between
# near-equal numbers, which another device might make otherwise.
STEADY = ("maiafa", "resnet18", "ar", "wscnet", "mcpnet", "pcnn", "clip_finetune")
ABLATIONS: list[dict[str, Any]] = [
    dict(mai=mai, afa=afa) for mai, afa in itertools.product((True, False), repeat=2)
]


@dataclass(frozen=True)
class Here:
    """Where the checks run and how large they are; the tests' are smaller, on a CPU."""

    device: torch.device
    folder: Path  # for what is thrown away
    results: Path
    names: tuple[str, ...] = ("auto", "cuda", "cuda:0")  # what a user may call the device
    backbone: str = "hrnet_w18_small"
    image_size: int = 64
    step: tuple = tuple(PAPERS_STEP.items())

    def spec(self, **changes) -> RunSpec:
        """A short run on drawn pictures."""
        size = {"backbone": self.backbone, "image_size": self.image_size}
        return RunSpec(**SHORT | size | changes)

    @property
    def data(self) -> Path:
        """The folder with the drawn pictures."""
        return make_demo_data(self.folder / "data", sizes={"twitter1": PICTURES})


def network_specs(here: Here):
    """A spec of each system that is trained, each ablation and each reading."""
    for ablation in ABLATIONS:
        yield here.spec(**ablation)
    yield here.spec(afa=False, readings=Readings(without_afa="region"))
    readings = [Readings(attention="shuffle"), Readings(gate="fused")]
    readings += [Readings(psi="softmax"), Readings(psi="sigmoid")]
    if here.backbone.startswith("hrnet"):
        readings.append(Readings(levels="increased"))
    for reading in readings:
        yield here.spec(readings=reading)
    for name in (*COMPARED, "resnet18"):
        system = system_of(name)
        if system.fitted or name == "resnet101":  # resnet18 is its like, and smaller
            continue
        own = system.takes == "its own" or not system.backbone
        backbone = None if own else here.backbone
        if name == "clip_finetune":
            backbone = "vit_tiny_patch16_224"
        # a set with finer emotions, which some look at
        yield here.spec(dataset="emotionroi", model=name, backbone=backbone)


def called(spec: RunSpec) -> str:
    """The network in one word: the system or the ablation, and the readings that are not usual."""
    changed = [v for k, v in vars(spec.readings).items() if v != getattr(Readings(), k)]
    return "_".join([spec.model if spec.method == "normal" else spec.method, *changed])


@contextlib.contextmanager
def naming(spec: RunSpec):
    """torch's errors get the network's name."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{called(spec)}: {error}") from error


class Stepper:
    """Steps of a spec's fresh network on one random batch."""

    def __init__(self, here: Here, spec: RunSpec, count: int = 4):
        self.spec = spec
        self.model: Any = loop.moved(build_network(spec), here.device)
        self.optimizer = loop.make_optimizer(self.model, spec)
        self.batch = cost.random_batch(spec, count, self.model, here.device)
        loop.training_mode(self.model, spec.freeze_bn)
        if hasattr(self.model, "calibrate"):
            self.model.calibrate(self.batch[0])

    def __call__(self) -> tuple:
        images, labels, extras = self.batch
        precision = self.spec.precision
        return loop.step(self.model, images, labels, self.optimizer, precision, extras=extras)


def one_step(here: Here, spec: RunSpec) -> None:
    """A step of a fresh network. AssertionError where it leaves the device or a number is none."""
    step = Stepper(here, spec)
    loss, logits = step()
    name = f"{called(spec)} in {spec.precision}"
    check_device(here, logits.device)
    assert loss.isfinite() and logits.isfinite().all(), f"{name}: the loss is no number"
    for parameter, p in step.model.named_parameters():
        if p.grad is not None:
            check_device(here, p.grad.device)
            assert p.grad.isfinite().all(), f"{name}: the gradient of {parameter} is no number"


def check_device(here: Here, device) -> None:
    """AssertionError where a tensor, or a run's own account, is of another device."""
    wanted = (here.device, run_folder.computed_on(here.device)["device"])
    assert device in wanted, f"it is on {device}, not on {here.device}"
