"""The one loop: pre-training, fine-tuning, ablations and rivals are all trained here.

Table 6: SGD with momentum and weight decay, the rate divided by 10 every `lr_step` epochs,
cross-entropy. Eq. 10's λ‖θ‖² has the gradient 2λθ where SGD's weight_decay w has wθ; Table 6's
0.001 is taken as weight_decay.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..base.devices import autocast, on
from ..base.metrics import scores
from ..base.parallel import Ranks
from ..data.batches import Batches, Pictures, derived_seed, loader, normalise, seed_all
from ..data.proposals import BoxFinder
from ..network.rivals import pcnn, rival_class
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from . import compiling

TESTED_AT_ONCE = 64


def train_network(
    model: nn.Module,
    spec: RunSpec,
    pictures: Pictures,
    train_indices: np.ndarray,
    validation_indices: np.ndarray | None,
    device: torch.device,
    fresh: bool = False,
    state: dict | None = None,
    after_epoch=lambda state: None,
) -> list[dict]:
    """Trains `model` in place and returns its history, one dict an epoch.

    fresh: the head is new and its scale is set by the first batch (`MaiAfa.calibrate`). The model
    ends with the weights of its last epoch or, where there is a validation split, of
    the epoch with the best validation accuracy (the earliest of equals). `after_epoch` gets the
    whole state after each epoch; given back as `state`, training goes on from there to the same
    result: order, crops and random numbers of an epoch follow from (seed, epoch) alone, so that no
    generator's state is needed. Raises FloatingPointError where the loss or a weight is no longer a
    number.

    Where torchrun has started several processes, each calls this and trains on its share of every
    batch; all end with the same model and history.
    """
    ranks = Ranks.here()
    optimizer = make_optimizer(model, spec)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, spec.lr_step, gamma=0.1)
    history, best, kept = [], None, None
    fresh = fresh and not state
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history, best, kept = state["history"], state["best"], state.get("kept")

    indices = train_indices if kept is None else kept
    batches = Batches(indices, spec.batch_size, spec.seed, shuffle=True, ranks=ranks)
    train_loader = loader(pictures, batches, device)
    if fresh and hasattr(model, "calibrate"):
        training_mode(model, spec.freeze_bn)
        all_of_it = Batches(train_indices, spec.batch_size, spec.seed, shuffle=True)
        all_of_it.epoch = 0
        first = next(iter(loader(pictures, all_of_it, device)))[0]
        model.calibrate(normalise(first, model.pretrained_cfg, device))
    network = ranks.wrap(model, device)
    ahead = len(history) < spec.epochs and not rival_class(spec.model)  # rivals: as they are
    if ranks.size == 1 and ahead and compiling.wanted(device):
        network = _quickest(model, spec, batches, device, len(history))
    for epoch in range(len(history), spec.epochs):
        started = time.perf_counter()
        batches.epoch = epoch
        others = [ranks.rank] * (ranks.rank > 0)  # each process has its own dropout
        seed_all(spec.seed, epoch, *others)
        row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
        row |= one_epoch(network, train_loader, batches, optimizer, device, spec)
        schedule.step()
        if validation_indices is not None:
            row |= validate(model, pictures, validation_indices, device, spec.precision)
            if best is None or row["val_accuracy"] > best["accuracy"]:
                best = {"accuracy": row["val_accuracy"], "model": snapshot(model)}
        if spec.model == "pcnn" and not spec.stages and epoch + 1 == spec.epochs // 2:
            p_positive = probabilities(model, pictures, train_indices, device, spec.precision)
            rng = np.random.default_rng(derived_seed(spec.seed, epoch, 2))
            kept = train_indices[pcnn.kept(p_positive, rng)].tolist()
            batches.indices = np.array(kept)
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        after_epoch(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "history": history,
                "best": best,
                "kept": kept,
            }
        )
    if best:
        model.load_state_dict(best["model"])
    return history


def _quickest(model, spec: RunSpec, batches: Batches, device, done: int) -> nn.Module:
    """The model or, where that is quicker for the epochs ahead, the compiled one."""
    size = (spec.batch_size, spec.image_size, spec.image_size, 3)
    images = torch.zeros(size, dtype=torch.uint8)
    images = normalise(images, model.pretrained_cfg, device)
    labels = torch.zeros(spec.batch_size, dtype=torch.long, device=device)
    training_mode(model, spec.freeze_bn)

    def one_step(network):
        with autocast(spec.precision, device):
            logits = network(images).float()
        F.cross_entropy(logits, labels).backward()

    ahead = len(batches) * (spec.epochs - done)
    return compiling.quickest(model, images, one_step, ahead, (spec.step, device))


def of_spec(spec: RunSpec, data, weights: str = "") -> Pictures:
    """The pictures as the spec's system sees them; weights: the folder with a detector's."""
    kind = getattr(rival_class(spec.model), "finder", "")
    finder = BoxFinder(kind, spec.detector, weights) if kind else None
    emotions = system_of(spec.model).uses_emotions
    return Pictures(data, spec.image_size, spec.crop, spec.seed, spec.cache, finder, emotions)


def one_epoch(network, train_loader, batches: Batches, optimizer, device, spec: RunSpec) -> dict:
    """One pass over the training pictures: mean loss and accuracy (percent) as it went.

    Raises FloatingPointError, naming the step, where a loss is no number, and where a weight is
    none afterwards. The host waits for a GPU once, at the end, for all of these.
    """
    training_mode(network, spec.freeze_bn)
    cfg, ranks = unwrapped(network).pretrained_cfg, batches.ranks
    loss_sum, correct, seen = torch.zeros(3, device=device).unbind()
    losses = []  # looked at when all is done: a look at each would make the host wait
    for (images, labels, extras), size in zip(train_loader, batches.sizes, strict=True):
        labels = labels.to(device, non_blocking=True)
        images, weight = normalise(images, cfg, device), ranks.weight(len(labels), size)
        # a batch of another size would be compiled anew
        usual = size == spec.batch_size
        its = network if usual else getattr(network, "_orig_mod", network)
        extras = on(device, extras)
        loss, logits = step(its, images, labels, optimizer, spec.precision, weight, extras)
        share = len(labels) / (ranks.size if size < ranks.size else 1)
        losses.append(loss)
        loss_sum += loss * share
        correct += (logits.argmax(1) == labels).float().mean() * share
        seen += share
    weights = [t for t in unwrapped(network).state_dict().values() if t.is_floating_point()]
    largest = torch.nn.utils.get_total_norm(weights, math.inf)
    loss_sum, correct, seen, largest = ranks.sum(loss_sum, correct, seen, largest)
    if not np.isfinite(loss_sum):
        wrong = (~torch.stack(losses).isfinite()).nonzero().flatten().tolist()
        step_ = f"step {wrong[0] + 1} of {len(losses)}" if wrong else "another process"
        raise no_number(
            spec, f"the training loss is no number in epoch {batches.epoch + 1}, {step_}"
        )
    if not np.isfinite(largest):
        raise no_number(spec, f"a weight is no number after epoch {batches.epoch + 1}")
    return {"train_loss": loss_sum / seen, "train_accuracy": 100 * correct / seen}


def no_number(spec: RunSpec, what: str) -> FloatingPointError:
    return FloatingPointError(
        f"{spec.id}: {what}; lower lr (now {spec.lr:g}) or head_lr (now {spec.head_lr:g}). The "
        "last epoch that was kept, if there was one, is in the run folder's checkpoint.pt"
    )


def step(
    network, images, labels, optimizer, precision: str, weight: float = 1.0, extras=None
) -> tuple:
    """One step of SGD: (loss, logits), detached, and nothing that makes the host wait.

    weight: what this loss counts among several processes' (`Ranks.weight`). extras: what else the
    system is given (`Pictures.extras`).
    """
    optimizer.zero_grad(set_to_none=True)  # first, so that the forward pass has their memory
    loss, logits = loss_of(network, images, labels, precision, extras or {})
    (loss * weight).backward()
    optimizer.step()
    return loss.detach(), logits.detach()


def loss_of(network, images, labels, precision: str, extras: dict) -> tuple:
    """The system's own loss or Eq. 10's cross-entropy, and the logits."""
    with autocast(precision, images.device):
        if getattr(unwrapped(network), "own_loss", False):
            loss, logits = network(images, labels=labels, **extras)
            return loss, logits.float()
        logits = network(images, **extras).float()
    return F.cross_entropy(logits, labels), logits


def unwrapped(network: nn.Module) -> nn.Module:
    """The model itself behind several processes' or the compiler's wrapper."""
    return getattr(network, "module", getattr(network, "_orig_mod", network))


def make_optimizer(model: nn.Module, spec: RunSpec) -> torch.optim.Optimizer:
    """Table 6's SGD, or what a rival was published with; fused, one pass over each parameter."""
    options = {"weight_decay": spec.weight_decay, "fused": True}
    groups = parameter_groups(model, spec)
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=spec.momentum, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer]
    return kind(groups, **options)


def training_mode(model: nn.Module, freeze_bn: bool) -> None:
    """model.train(), with the running statistics of the backbone's batch norm left alone where
    freeze_bn says so (a fresh head's have nothing in them worth keeping)."""
    model.train()
    if freeze_bn:
        inner = unwrapped(model)
        for module in getattr(inner, "backbone", inner).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@torch.inference_mode()
def probabilities(
    model,
    pictures: Pictures,
    indices,
    device,
    precision: str = "float32",
    batch_size: int = TESTED_AT_ONCE,
) -> np.ndarray:
    """The probability of "positive" for each index, float64, from evaluation's centre crop.

    Several processes share the pictures out, each picture once.
    """
    model.eval()
    ranks = Ranks.here()
    mine = ranks.part(list(indices))
    parts = []
    for images, _, extras in loader(pictures, Batches(mine, batch_size), device):
        with autocast(precision, device):
            logits = model(normalise(images, model.pretrained_cfg, device), **on(device, extras))
        parts.append(logits)
    p = torch.cat(parts).cpu().double().softmax(1)[:, 1]  # Apple's GPUs have no float64
    return np.array(ranks.join(p.tolist(), len(indices)))


def validate(model, pictures, indices, device, precision: str = "float32") -> dict:
    p = probabilities(model, pictures, indices, device, precision)
    labels = pictures.data.labels[indices]
    likelihood = np.where(labels == 1, p, 1 - p)
    result = scores(labels, p)
    return {
        "val_loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "val_accuracy": result["accuracy"],
        "val_recall": result["recall"],
    }


def parameter_groups(model: nn.Module, spec: RunSpec) -> list[dict]:
    """The backbone at `lr`, everything else at `lr · head_lr`."""
    if hasattr(model, "backbone"):
        head = [p for n, p in model.named_parameters() if not n.startswith("backbone.")]
    else:  # a timm model used whole
        head = list(model.get_classifier().parameters())
    ids = {id(p) for p in head}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [{"params": rest, "lr": spec.lr}, {"params": head, "lr": spec.lr * spec.head_lr}]


def snapshot(model: nn.Module) -> dict:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
