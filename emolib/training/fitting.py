"""A network trained on pictures of a set without a run folder: for estimators and for trials."""

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..base import progress
from ..base.devices import pick_device
from ..data.batches import Pictures
from ..data.datasets import Dataset
from ..network.build import build_network
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from . import loop
from .answering import answers_for
from .frozen import FrozenViews
from .run import computing


@dataclass(frozen=True)
class Fitted:
    """What `fitted` gives."""

    spec: RunSpec
    network: nn.Module  # in evaluation mode
    pictures: Pictures | FrozenViews  # the set as the network sees it
    device: torch.device
    history: list[dict]  # one an epoch

    def answers(self, indices) -> np.ndarray:
        """The task's answers for pictures of the set, N×classes float64; for polarity both
        probabilities."""
        with computing(self.spec, self.device, alone=True):
            return answers_for(self.network, self.pictures, indices, self.device, self.spec)


def fitted(
    spec: RunSpec, data: Dataset, weights: str = "", device: str = "auto", train=None
) -> Fitted:
    """Trains the spec's system on the pictures `train` of a set (indices; all of them without one),
    and prints what it does.

    The spec's fold, share and stages are not read: it starts from random or ImageNet weights.
    weights: a file of the backbone's, or a folder with it. Raises what `build_network` and
    `train_network` do.
    """
    chosen, train = pick_device(device), np.arange(len(data)) if train is None else train
    with computing(spec, chosen):  # what is kept of a frozen backbone is the same bits as a run's
        network = build_network(spec, weights, classes=len(data.classes))
        print(_says(spec, len(train), chosen))
        network = loop.moved(network, chosen)
        pictures = loop.pictures_of(spec, data, weights, network)
        if spec.head_epochs:  # its views too
            loop.pictures_of(spec.phases[0], data, model=network)
    epochs = 0 if system_of(spec.model).fitted else sum(one.epochs for one in spec.phases)
    steps = progress.bar(range(epochs), "epochs") if epochs else ()
    ticks = (step for step in steps)
    with contextlib.closing(ticks), computing(spec, chosen, alone=True):
        next(ticks, None)  # it shows what is done when the next one is asked for
        history = loop.train_network(
            network,
            spec,
            loop.Material(pictures, np.asarray(train)),
            chosen,
            after_epoch=lambda state: next(ticks, None),
        )
    return Fitted(spec, network.eval(), pictures, chosen, history)


def _says(spec: RunSpec, pictures: int, device: torch.device) -> str:
    """What will be trained, for a person."""
    who = " on ".join(filter(None, [spec.model, spec.backbone]))
    seen = f"{who} learns {pictures} pictures at {spec.image_size} px ({spec.init}, {device.type})"
    if system_of(spec.model).fitted:
        return f"{seen}: fitted, without epochs"
    head = f"the head alone, on {spec.views} views of each"
    what = head if spec.freeze else "all of it"
    first = f"{head}, {spec.head_epochs} epochs, then " if spec.head_epochs else ""
    return f"{seen}: {first}{what}, {spec.epochs} epochs, {spec.optimizer}, rate {spec.lr:g}"
