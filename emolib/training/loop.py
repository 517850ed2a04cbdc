"""The one loop: pre-training, fine-tuning, ablations and rivals are all trained here.

Table 6: SGD with momentum and weight decay, the rate divided by 10 every `lr_step` epochs (or
another of `schedules`), cross-entropy. Eq. 10's λ‖θ‖² has the gradient 2λθ where SGD's weight_decay
w has wθ; Table 6's 0.001 is taken as weight_decay.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from timm.optim import param_groups_layer_decay
from torch import nn

from ..base.devices import autocast
from ..base.parallel import Ranks
from ..data.batches import Batches, Pictures, normalise, seed_all
from ..data.datasets import Dataset
from ..data.proposals import BoxFinder
from ..data.tasks import TASKS
from ..network.rivals import rival_class
from ..spec.run_spec import RunSpec
from ..spec.schedules import rate
from ..spec.systems import system_of
from . import compiling
from .answering import answers_for, validate
from .frozen import FrozenViews


@dataclass(frozen=True)
class Material:
    """What a network is trained on: a set as its system sees it, and which of its pictures."""

    pictures: Pictures | FrozenViews
    train: np.ndarray  # indices
    validation: np.ndarray = field(default_factory=lambda: np.array([], int))  # may be empty


def train_network(
    model,
    spec: RunSpec,
    material: Material,
    device: torch.device,
    state: dict | None = None,
    after_epoch: Callable[[dict], object] = lambda state: None,
) -> list[dict]:
    """Trains `model` in place and returns its history, one dict an epoch.

    Without a validation part, the model ends with the weights of its last epoch. With one, it ends
    with those of the epoch that had the best validation accuracy, or of another task its `best`
    score (the earliest of equals). Checkpoints keep that score under "accuracy".

    `after_epoch` gets the whole state after each epoch. Given back as `state`, it lets the training
    go on from there to the same result. No generator's state is needed for that: order, crops and
    random numbers of an epoch follow from (seed, epoch) alone.

    Of several `RunSpec.phases` each begins with the model that the one before ended with. A head
    that starts from nothing gets its scale from the first batch (`MaiAfa.calibrate`). A system
    without gradients is fitted instead. Where torchrun has started several processes, each of them
    calls this and trains on its share of every batch. All end with the same model and the same
    history.

    Raises FloatingPointError where the loss or a weight is no longer a number.
    """
    if hasattr(model, "fit"):
        return _fit(model, material)
    history: list[dict] = []
    for phase in spec.phases:
        until, mine = len(history) + phase.epochs, material
        if state and len(state["history"]) > until:  # of a later phase
            history = state["history"][:until]
            continue
        if phase.freeze and not spec.freeze:
            seen = pictures_of(phase, material.pictures.data, model=model)
            mine = replace(material, pictures=seen)
        elif not phase.freeze:
            model.requires_grad_(True)
        history = _train_phase(model, phase, mine, device, state, after_epoch, history)
        state = None
    return history


def _train_phase(
    model, spec: RunSpec, material: Material, device, state, after_epoch, before: list[dict]
) -> list[dict]:
    """`train_network` of one phase. before: the history of those before it."""
    ranks, pictures = Ranks.here(), material.pictures
    optimizer = make_optimizer(model, spec)
    parts = {"model": model, "optimizer": optimizer}
    history, best, kept = list(before), None, None
    if state:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history, best, kept = state["history"], state["best"], state.get("kept")

    indices = material.train if kept is None else kept
    batches = Batches(indices, spec.batch_size, spec.seed, shuffle=True, ranks=ranks)
    train_loader = pictures.feed(batches, device, model.pretrained_cfg)
    if not (state or before or spec.stages) and hasattr(model, "calibrate"):
        training_mode(model, spec.freeze_bn)
        all_of_it = Batches(material.train, spec.batch_size, spec.seed, shuffle=True)
        all_of_it.epoch = 0
        first, *_ = next(iter(pictures.feed(all_of_it, device, model.pretrained_cfg)))
        model.calibrate(first)
    ask = getattr(model, "choose_pictures", None)

    def of_positive():
        return answers_for(model, pictures, material.train, device, spec)[:, 1]

    network = ranks.wrap(model, device)
    done = len(history) - len(before)
    if ranks.size == 1 and done < spec.epochs:
        network = _quickest(model, spec, pictures, batches, device, done)
    for epoch in range(done, spec.epochs):
        started = time.perf_counter()
        batches.epoch = epoch
        others = [ranks.rank] * (ranks.rank > 0)  # each process has its own dropout
        seed_all(spec.seed, epoch, *others)
        row = {"epoch": len(history) + 1, "lr": rate(spec, epoch + 0.5)}
        row |= one_epoch(network, train_loader, batches, optimizer, device, spec)
        if len(material.validation):
            row |= validate(model, pictures, material.validation, device, spec)
            score = row[f"val_{TASKS[spec.task].best}"]
            if best is None or score > best["accuracy"]:
                weights = {name: t.detach().clone() for name, t in model.state_dict().items()}
                best = {"accuracy": score, "model": weights}
        chosen = ask(spec, epoch, of_positive) if ask else None
        if chosen is not None:
            kept = material.train[chosen].tolist()
            batches.indices = np.array(kept)
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        states = {name: part.state_dict() for name, part in parts.items()}
        after_epoch(states | {"history": history, "best": best, "kept": kept})
    if best:
        model.load_state_dict(best["model"])
    return history


def _fit(model, material: Material) -> list[dict]:
    """Fits a system without gradients. Its history is one row with the time alone. Several
    processes all do the same."""
    data, started = material.pictures.data, time.perf_counter()
    with threadpool_limits(torch.get_num_threads()):  # scikit-learn's and BLAS's too
        model.fit([data.paths[i] for i in material.train], data.labels[material.train])
    seconds = time.perf_counter() - started
    nothing = dict.fromkeys(("lr", "train_loss", "train_accuracy"), float("nan"))
    return [{"epoch": 1, **nothing, "seconds": seconds}]


def _quickest(model, spec: RunSpec, pictures, batches: Batches, device, done: int) -> nn.Module:
    """The model or, where that is quicker for the epochs ahead, the compiled one. Rivals, and heads
    on a frozen backbone, are left as they are."""
    kept = spec.freeze or system_of(spec.model).made_by
    if kept or not compiling.wanted(device):
        return model
    size = (spec.batch_size, spec.image_size, spec.image_size, 3)
    images = normalise(torch.zeros(size, dtype=torch.uint8), model.pretrained_cfg, device)
    # of any pictures
    some = np.resize(pictures.data.targets, (spec.batch_size, *pictures.data.targets.shape[1:]))
    targets, loss = torch.from_numpy(some).to(device), TASKS[spec.task].loss
    training_mode(model, spec.freeze_bn)

    def one_step(network):
        loss_of(network, images, targets, spec.precision, {}, loss)[0].backward()

    ahead = len(batches) * (spec.epochs - done)
    return compiling.quickest(model, device, one_step, ahead, (spec.step, device))


def pictures_of(spec: RunSpec, data: Dataset, weights: str = "", model=None):
    """The set as the spec's system sees it, `Pictures` or `FrozenViews`. weights: the folder with
    a detector's. model: whose backbone is frozen, where the spec says so.

    A system without gradients reads the files itself, so that nothing is packed for it.
    """
    kind, system = getattr(rival_class(spec.model), "finder", ""), system_of(spec.model)
    finder = BoxFinder(kind, spec.detector, weights) if kind else None
    cache, emotions = "off" if system.fitted else spec.cache, system.uses_emotions
    if model is not None and spec.freeze == "backbone":
        return FrozenViews(spec, data, model, emotions)
    return Pictures(data, spec.image_size, spec.crop, spec.seed, cache, finder, emotions)


def one_epoch(network, train_loader, batches: Batches, optimizer, device, spec: RunSpec) -> dict:
    """One pass over the training pictures: mean loss and accuracy (percent) as it went.

    Raises FloatingPointError, naming the step, where a loss is no number, and where a weight is
    none afterwards. The host waits for a GPU once, at the end, for all of these.
    """
    training_mode(network, spec.freeze_bn)
    ranks, task = batches.ranks, TASKS[spec.task]
    loss_sum, correct, seen = torch.zeros(3, device=device).unbind()
    losses = []  # looked at when all is done: a look at each would make the host wait
    sizes, epochs = batches.sizes, batches.epoch + (np.arange(len(batches)) + 0.5) / len(batches)
    for (images, targets, extras), size, done in zip(train_loader, sizes, epochs, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate(spec, done, group["initial_lr"])
        weight = ranks.weight(len(targets), size)
        # a batch of another size would be compiled anew
        usual = size == spec.batch_size
        its = network if usual else getattr(network, "_orig_mod", network)
        loss, logits = step(
            its, images, targets, optimizer, spec.precision, weight, extras, task.loss
        )
        share = len(targets) / (ranks.size if size < ranks.size else 1)
        losses.append(loss)
        loss_sum += loss * share
        correct += task.right(logits, targets).mean() * share
        seen += share
    weights = [t for t in unwrapped(network).state_dict().values() if t.is_floating_point()]
    largest = torch.nn.utils.get_total_norm(weights, math.inf)
    loss, right, count, peak = ranks.sum(loss_sum, correct, seen, largest)
    if not math.isfinite(loss):
        wrong = (~torch.stack(losses).isfinite()).nonzero().flatten().tolist()
        where = f"step {wrong[0] + 1} of {len(losses)}" if wrong else "another process"
        where = f"epoch {batches.epoch + 1}, {where}"
        raise no_number(spec, f"the training loss is no number in {where}")
    if not math.isfinite(peak):
        raise no_number(spec, f"a weight is no number after epoch {batches.epoch + 1}")
    return {"train_loss": loss / count, "train_accuracy": 100 * right / count}


def no_number(spec: RunSpec, what: str) -> FloatingPointError:
    return FloatingPointError(
        f"{spec.id}: {what}; lower lr (now {spec.lr:g}) or head_lr (now {spec.head_lr:g}). A run's "
        "last epoch that was kept is in its checkpoint.pt"
    )


def step(
    network,
    images,
    targets,
    optimizer,
    precision: str,
    weight: float = 1.0,
    extras=None,
    loss=F.cross_entropy,
) -> tuple:
    """One step of the optimizer: (loss, logits), detached, and nothing that makes the host wait.

    weight: what this loss counts among several processes' (`Ranks.weight`). extras: what else the
    system is given (`Pictures.extras`). loss: the task's.
    """
    optimizer.zero_grad(set_to_none=True)  # first, so that the forward pass has their memory
    value, logits = loss_of(network, images, targets, precision, extras or {}, loss)
    (value * weight).backward()
    optimizer.step()
    return value.detach(), logits.detach()


def loss_of(network, images, targets, precision: str, extras: dict, loss=F.cross_entropy) -> tuple:
    """The system's own loss or the task's, for polarity Eq. 10's cross-entropy, and the logits."""
    with autocast(precision, images.device):
        if getattr(unwrapped(network), "own_loss", False):
            own, logits = network(images, labels=targets, **extras)
            return own, logits.float()
        logits = network(images, **extras).float()
    return loss(logits, targets), logits


def unwrapped(network: nn.Module):
    """The model itself behind several processes' or the compiler's wrapper."""
    return getattr(network, "module", getattr(network, "_orig_mod", network))


def make_optimizer(model, spec: RunSpec) -> torch.optim.Optimizer:
    """Table 6's SGD, or what a rival was published with; fused, one pass over each parameter."""
    options: dict = {"weight_decay": spec.weight_decay, "fused": True}
    groups = parameter_groups(model, spec)
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=spec.momentum, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer]
    return kind(groups, **options)


def moved(model: nn.Module, device: torch.device):
    """The model on the device, its tensors in channels_last, which is quicker everywhere."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def training_mode(model: nn.Module, freeze_bn: bool) -> None:
    """model.train(), with the running statistics of the backbone's batch norm left alone where
    freeze_bn says so (a fresh head's have nothing in them worth keeping)."""
    model.train()
    if freeze_bn:
        inner = unwrapped(model)
        for module in getattr(inner, "backbone", inner).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def parameter_groups(model, spec: RunSpec) -> list[dict]:
    """The backbone at `lr`, unless it is frozen; everything else at `lr · head_lr`. With a
    `layer_decay`, timm's groups: each of the backbone's layers at that share of the rate above it,
    no weight decay on biases and norms."""
    if spec.layer_decay != 1:
        groups = param_groups_layer_decay(model, spec.weight_decay, layer_decay=spec.layer_decay)
        rates = [spec.lr * group.pop("lr_scale") for group in groups]
        return [g | {"lr": lr, "initial_lr": lr} for g, lr in zip(groups, rates, strict=True)]
    if hasattr(model, "backbone"):
        head = [p for n, p in model.named_parameters() if not n.startswith("backbone.")]
    else:  # a timm model used whole
        head = list(model.get_classifier().parameters())
    assert spec.lr is not None  # RunSpec has put the paper's in its place
    ids = {id(p) for p in head}
    rest = [p for p in model.parameters() if id(p) not in ids]
    groups = [(rest, spec.lr)] * (not spec.freeze) + [(head, spec.lr * spec.head_lr)]
    return [{"params": params, "lr": lr, "initial_lr": lr} for params, lr in groups]
