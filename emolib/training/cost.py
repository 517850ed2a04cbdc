"""What a training costs on this machine, measured on random pictures, and how many fit side by
side."""

import contextlib
import functools
import tempfile
import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import joblib
import numpy as np
import psutil
import torch
from PIL import Image

from ..base import devices
from ..data.batches import normalise, short_side
from ..data.proposals import COUNT
from ..network.backbones import seen
from ..network.build import build_network
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from . import loop
from .answering import TESTED_AT_ONCE
from .task import Places

SECONDS = 2.0  # where a batch takes longer, a step of fewer pictures is timed
CONTEXT = 600e6  # bytes of GPU memory that a process takes before it has any tensor


@dataclass(frozen=True)
class Cost:
    """Of one training on one device: seconds a picture and bytes at once. view: seconds a picture
    for one view through a frozen backbone, once a set."""

    train: float
    test: float
    memory: float
    view: float = 0.0


def measure(spec: RunSpec, device: str = "auto") -> Cost:
    """What the spec's training costs, whatever it starts from; measured once for each network."""
    return _measure(spec.step, devices.pick_device(device), devices.cpu_threads(spec.dataset))


@functools.lru_cache(maxsize=64)
def _measure(spec: RunSpec, device: torch.device, threads: int) -> Cost:
    devices.keep_freed_memory()
    if device.type != "cpu":
        threads = torch.get_num_threads()
    with devices.threads(threads):
        cost = (_of_fit if system_of(spec.model).fitted else _of_steps)(spec, device)
    devices.give_back(device)
    return cost


def _of_steps(spec: RunSpec, device: torch.device) -> Cost:
    """Of a system that the loop trains, by steps on random pictures."""
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    model = loop.moved(build_network(spec), device)
    optimizer = loop.make_optimizer(model, spec)

    def seconds(count: int, step) -> float:
        """The quicker of two steps with `count` pictures."""
        batch = random_batch(spec, count, model, device)
        found = []
        for _ in range(2):
            started = time.perf_counter()
            step(*batch)
            devices.wait(device)
            found.append(time.perf_counter() - started)
        return min(found)

    def train(images, labels, extras):
        loop.training_mode(model, spec.freeze_bn)
        loop.step(model, images, labels, optimizer, spec.precision, extras=extras)

    @torch.inference_mode()
    def test(images, labels, extras):
        model.eval()
        with devices.autocast(spec.precision, device):
            model(images, **extras)

    seconds(2, train)
    few = seconds(2, train)
    count = spec.batch_size if few * spec.batch_size / 2 < SECONDS else 4
    count = max(2, min(count, spec.batch_size))
    each = seconds(count, train) / count, seconds(count, test) / count
    view = 0.0
    if spec.freeze:
        started = time.perf_counter()
        random_batch(spec, count, model, device)
        view = (time.perf_counter() - started) / count
    if not on_gpu:  # a batch's tensors kept for backward, and four times the weights
        images, labels, extras = random_batch(spec, 2, model, device)
        model.train()
        kept = kept_for_backward(model, images, labels, spec.precision, extras)
        weights = sum(p.nbytes for p in model.parameters())
        return Cost(*each, kept * spec.batch_size / 2 + 4 * weights, view)
    torch.cuda.reset_peak_memory_stats(device)
    seconds(spec.batch_size, train)  # the memory of a whole batch
    seconds(TESTED_AT_ONCE, test)
    return Cost(*each, torch.cuda.max_memory_allocated(device) - before + CONTEXT, view)


def random_batch(spec: RunSpec, count: int, model, device):
    size = spec.image_size
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    labels = torch.arange(count, device=device) % 2
    extras = {}
    if hasattr(model, "finder"):  # half of the picture, as many as there can be
        box = torch.tensor([0, 0, size / 2, size, 1.0], device=device)
        extras["boxes"] = box.expand(count, COUNT, 5)
    if hasattr(model, "uses_emotions"):
        extras["emotions"] = labels
    images = normalise(images, model.pretrained_cfg, device)
    return (seen(model.backbone, images) if spec.freeze == "backbone" else images), labels, extras


def _of_fit(spec: RunSpec, device: torch.device) -> Cost:
    """Of a system without gradients: both kinds of work, timed on pictures of noise."""
    model = loop.moved(build_network(spec), device)
    side = short_side(spec.image_size)
    noise = np.random.default_rng(0).integers(0, 256, (16, side, side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.png") for i in range(len(noise))]
        for path, pixels in zip(paths, noise, strict=True):
            Image.fromarray(pixels).save(path)
        started = time.perf_counter()
        model.fit(paths, np.arange(len(paths)) % 2)
        fitted = time.perf_counter()
        model.predict_proba(paths)
        ended = time.perf_counter()
    memory = 4 * sum(t.nbytes for t in model.state_dict().values()) + CONTEXT
    return Cost((fitted - started) / len(paths), (ended - fitted) / len(paths), memory)


def kept_for_backward(model, images, labels, precision: str = "float32", extras=None) -> int:
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
        loss, logits = loop.loss_of(model, images, labels, precision, extras or {})
        total = sum(sizes.values())
    del loss, logits
    return total


def share_devices(stage: list[RunSpec], places: Places) -> list[tuple[list[RunSpec], list[str]]]:
    """A stage's runs in groups that may go side by side, and for each group its slots: the devices,
    each as often as it takes a run at the same time.

    A CPU takes runs with the same number of threads, as many as it has cores for. A GPU takes as
    many as its free memory holds, by the measured need of the largest. Neither takes more than
    RUNS_AT_ONCE. A GPU that has no room for one, or does not say, gets none while another does.
    """
    names = devices.every_device(places.device)
    on_cpu = names == ["cpu"]
    by_threads: dict[int, list[RunSpec]] = {}
    for spec in stage:
        by_threads.setdefault(devices.cpu_threads(spec.dataset) if on_cpu else 1, []).append(spec)
    found = []
    for threads, group in by_threads.items():
        most = 1 if names[0].startswith("mps") else min(devices.RUNS_AT_ONCE, len(group))
        if on_cpu:
            most = max(1, min(most, joblib.cpu_count() // threads))
        room = _room(group, names) if most > 1 or len(names) > 1 else {names[0]: 1}
        slots = [name for turn in range(most) for name, runs in room.items() if runs > turn]
        found.append((group, slots[: len(group)]))
    return found


def _memory_of(names: list[str]) -> dict[str, float]:
    """The bytes free on each device that tells. One that is full or has failed may not."""
    free = {}
    for name in names:
        with contextlib.suppress(RuntimeError, MemoryError):
            free[name] = _free_memory(name)
    return free


def _room(group: list[RunSpec], names: list[str]) -> dict[str, int]:
    """{device: how many of the runs fit into its memory at once}, the emptiest first, without those
    that have no room. Where none has, or it cannot be found out, as on GPUs that have failed: 1
    each, and the runs themselves will say what is wrong."""
    free = dict(sorted(_memory_of(names).items(), key=itemgetter(1), reverse=True))
    if not free:
        return dict.fromkeys(names, 1)
    emptiest = next(iter(free))
    try:
        need = max(measure(spec, emptiest).memory for spec in group)
    except (RuntimeError, MemoryError):
        need = None
    if need is None:
        devices.give_back(emptiest)  # here, where the error holds its tensors no more
        return dict.fromkeys(free, 1)
    room = {name: int(has // need) for name, has in free.items()}
    return {name: runs for name, runs in room.items() if runs} or {emptiest: 1}


def _free_memory(device: str) -> float:
    """Bytes for trainings: on a GPU less what their packs may take (`batches.loader`)."""
    if device.startswith("cuda"):
        return 0.6 * torch.cuda.mem_get_info(device)[0]
    return 0.9 * psutil.virtual_memory().available
