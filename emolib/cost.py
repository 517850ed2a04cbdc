"""What a training costs on this machine: seconds and memory, measured on random pictures."""

import functools
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import devices, training
from .pipeline import normalise
from .runs import build
from .spec import RunSpec

SECONDS = 2.0  # where a batch takes longer, a step of fewer pictures is timed
CONTEXT = 600e6  # bytes of GPU memory that a process takes before it has any tensor


@dataclass(frozen=True)
class Cost:
    """Of one training on one device: seconds a picture and bytes at once."""

    train: float
    test: float
    memory: float


def measure(spec: RunSpec, device: str = "auto") -> Cost:
    """What the spec's training costs, whatever it starts from; measured once for each network."""
    return _measure(spec.step, devices.pick_device(device), devices.cpu_threads(spec.dataset))


@functools.lru_cache(maxsize=64)
def _measure(spec: RunSpec, device: torch.device, threads: int) -> Cost:
    devices.keep_freed_memory()
    before = _allocated(device)
    model = build(spec).to(device, memory_format=torch.channels_last)
    optimizer = training.make_optimizer(model, spec)

    def seconds(count: int, step) -> float:
        """The quicker of two steps with `count` pictures."""
        images, labels = _random(spec, count, model, device)
        found = []
        for _ in range(2):
            started = time.perf_counter()
            step(images, labels)
            devices.wait(device)
            found.append(time.perf_counter() - started)
        return min(found)

    def train(images, labels):
        training.training_mode(model, spec.freeze_bn)
        training.step(model, images, labels, optimizer, spec.precision)

    @torch.inference_mode()
    def test(images, labels):
        model.eval()
        with training.autocast(spec.precision, device):
            model(images)

    with devices.threads(threads if device.type == "cpu" else torch.get_num_threads()):
        seconds(2, train)
        few = seconds(2, train)
        count = spec.batch_size if few * spec.batch_size / 2 < SECONDS else 4
        count = max(2, min(count, spec.batch_size))
        cost = seconds(count, train) / count, seconds(count, test) / count
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            seconds(spec.batch_size, train)  # the memory of a whole batch
            memory = torch.cuda.max_memory_allocated(device) - before + CONTEXT
        else:
            memory = _kept(spec, model, device)
    model = optimizer = None
    devices.give_back(device)
    return Cost(*cost, memory)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _random(spec: RunSpec, count: int, model, device):
    size = spec.image_size
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    labels = torch.arange(count, device=device) % 2
    return normalise(images, model.pretrained_cfg, device), labels


def _kept(spec: RunSpec, model, device) -> float:
    """Bytes of a training on a CPU: a batch's tensors kept for backward, four times the weights."""
    images, labels = _random(spec, 2, model, device)
    model.train()
    kept = kept_for_backward(model, images, labels, spec.precision)
    weights = sum(p.nbytes for p in model.parameters())
    return kept * spec.batch_size / 2 + 4 * weights


def kept_for_backward(model, images, labels, precision: str = "float32") -> int:
    """Bytes of tensors that a training step keeps for backward, each storage once, without the
    parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would be held by its own graph for ever

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        with training.autocast(precision, images.device):
            logits = model(images).float()
        loss = F.cross_entropy(logits, labels)
        total = sum(sizes.values())
    del loss, logits
    return total
