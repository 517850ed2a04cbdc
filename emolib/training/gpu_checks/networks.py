"""Checks of a GPU: single steps of every network, against the CPU and against the clock."""

import copy
import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from ...base import devices
from ...data.batches import Batches, Pictures
from ...data.datasets import open_dataset
from ...data.on_device import OnDevice, pixels_of
from ...network import create
from ...network.build import build_network
from ...spec.run_spec import RunSpec
from ...spec.sets import SMALL
from .. import cost, plan
from . import shared
from .shared import ABLATIONS, STEADY, Here, Stepper, called, check_device, naming

LIMITS = {"logits": 1e-4, "gradients": 1e-3, "logits_tf32": 2e-2}  # relative, of STEADY's


def steps(here: Here) -> dict:
    """Each system, ablation and reading in float32 and bf16: one step with finite numbers, and the
    device's answers against the CPU's."""
    specs, worst = list(shared.network_specs(here)), dict.fromkeys(LIMITS, 0.0)
    figures: dict[str, float] = {"networks": len(specs)}
    for spec in specs:
        with naming(spec):
            for precision in ("float32", "bf16"):
                shared.one_step(here, replace(spec, precision=precision))
            off = _from_the_cpu(here, spec)
        if spec.model not in STEADY:
            figures[f"{called(spec)}_logits"] = _short(off["logits"])
            continue
        for name, value in off.items():
            assert value < LIMITS[name], f"{called(spec)}: {name} off by {value:.2g}"
            worst[name] = max(worst[name], value)
    return figures | {name: _short(value) for name, value in worst.items()} | _heads(here)


def input_paths(here: Here) -> dict:
    """Batches cut on the device against the DataLoader's: equal, a resized crop within 1 of 255."""
    data, figures = open_dataset("twitter1", here.data), {}
    for crop, limit in (("random", 0), ("resized", 1)):
        pictures = Pictures(data, here.image_size, crop, seed=3)
        batches = Batches(np.arange(len(data)), 8, seed=3, shuffle=True)
        batches.epoch = 1
        pixels = pixels_of(pictures.pack, here.device)
        assert pixels is not None, "the pack does not fit into the device's memory"
        cut = OnDevice(pictures, batches, pixels)
        off = 0
        for one, other in zip(cut, DataLoader(pictures, batch_sampler=batches), strict=True):
            check_device(here, one[0].device)
            assert torch.equal(one[1].cpu(), other[1]), f"{crop}: other labels"
            off = max(off, int((one[0].cpu().int() - other[0].int()).abs().max()))
        assert off <= limit, f"{crop} crops differ by {off} of 255"
        figures[f"{crop}_levels"] = off
    return figures


def host_syncs(here: Here) -> dict:
    """What makes the host wait in three steps: nothing in STEADY's, counted for the others."""
    if here.device.type != "cuda":
        return {"skipped": "only a GPU can be waited for"}
    figures, cuda = {}, torch.cuda
    for spec in shared.network_specs(here):
        step = Stepper(here, spec)
        step()
        mode = "error" if spec.model in STEADY else "warn"  # what torch does where the host waits
        with (
            naming(spec),
            warnings.catch_warnings(record=True, action="always") as seen,
            devices.changed(cuda.get_sync_debug_mode, cuda.set_sync_debug_mode, mode),
        ):
            for _ in range(3):
                step()
        if spec.model not in STEADY:
            found = sum("called a synchronizing" in str(w.message) for w in seen)
            figures[f"{called(spec)}_a_step"] = round(found / 3, 1)
    return figures


def paper_step(here: Here) -> dict:
    """The paper's step, in TF32 and bf16, with and without cuDNN's own search for algorithms."""
    figures: dict[str, float | str] = {}
    pictures = _pictures_of_tables_7_and_8()
    for precision, benchmark in itertools.product(("float32", "bf16"), (False, True)):
        spec = here.spec(**dict(here.step), width=512, precision=precision)
        name = precision + ("_benchmark" if benchmark else "")
        devices.give_back(here.device)
        if here.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(here.device)
        searched = devices.flag(torch.backends.cudnn, "benchmark", benchmark)
        with searched, devices.tf32_in_convolutions():
            step = Stepper(here, spec, spec.batch_size)
            ms = milliseconds(step)
            figures[f"{name}_ms"] = round(ms, 2)
            figures[f"{name}_kernels_of_the_time"] = _busy(here.device, step, ms)
        figures[f"{name}_hours_tables_7_8"] = round(pictures / spec.batch_size * ms / 3.6e6, 2)
        if here.device.type == "cuda":
            figures[f"{name}_gb"] = round(torch.cuda.max_memory_allocated(here.device) / 1e9, 2)
            reserved = torch.cuda.max_memory_reserved(here.device) / 1e9
            figures[f"{name}_gb_reserved"] = round(reserved, 2)
        del step
    return figures


def _from_the_cpu(here: Here, spec: RunSpec) -> dict:
    """Relative differences in evaluation: of logits and gradients without TF32, of logits with."""
    model: Any = build_network(spec).eval()
    images, labels, extras = cost.random_batch(spec, 2, model, torch.device("cpu"))
    extras = {name: t for name, t in extras.items() if name == "boxes"}
    if hasattr(model, "calibrate"):
        model.calibrate(images)
    twin = copy.deepcopy(model).to(here.device)
    there = devices.on(here.device, extras)

    def logits_of(network, x, more):
        with torch.no_grad():
            return network(x, **more).cpu().double()

    exact, found = logits_of(model, images, extras), {}
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    with devices.tf32_in_convolutions():
        found["logits_tf32"] = _off(logits_of(twin, images.to(here.device), there), exact)
        with devices.flag(convolutions, "fp32_precision", "ieee"):
            found["logits"] = _off(logits_of(twin, images.to(here.device), there), exact)
            if spec.model == "maiafa":
                found["gradients"] = _off(*(_gradients(n, images, labels) for n in (twin, model)))
    return found


def _gradients(net, images, labels) -> torch.Tensor:
    device = next(net.parameters()).device
    F.cross_entropy(net(images.to(device)), labels.to(device)).backward()
    found = (p.grad for p in net.parameters() if p.grad is not None)
    return torch.cat([gradient.flatten().cpu().double() for gradient in found])


def _heads(here: Here) -> dict:
    """The folded head against the printed equations, in float64 on the device."""
    torch.manual_seed(0)
    size = here.image_size
    images = torch.randn(2, 3, size, size + 32, dtype=torch.double, device=here.device)
    labels = torch.tensor([0, 1], device=here.device)
    nets: list[Any] = []
    for head in ("reference", "folded"):
        net = create.create_model("maiafa", here.backbone, head=head, width=128)
        nets.append(net.to(here.device, torch.double).eval())
    nets[0].calibrate(images)
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        logits = _off(nets[1](images), nets[0](images))
    gradients = _off(*(_gradients(net, images, labels) for net in nets[::-1]))
    assert max(logits, gradients) < 1e-9, f"the heads differ by {max(logits, gradients):.2g}"
    return {"heads_logits": _short(logits), "heads_gradients": _short(gradients)}


def _off(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm().clamp(min=1e-30))


def _short(value: float) -> float:
    return float(f"{value:.2g}")


def _pictures_of_tables_7_and_8() -> int:
    """Of all epochs: the four variants, without_transfer, and what they start from."""
    small = [
        RunSpec(dataset, fold=fold, **variant)
        for dataset in SMALL
        for fold in range(5)
        for variant in (*ABLATIONS, {"init": "imagenet"})
    ]
    every = {*small, *filter(None, (s.predecessor() for s in small))}
    return sum(s.epochs * plan.count_pictures(s)[0] for s in every)


def milliseconds(step, warm: int = 10, count: int = 20) -> float:
    """A step's milliseconds, with the device waited for before and after `count` of them."""
    from torch.utils.benchmark import Timer  # says much where there is no GPU

    for _ in range(warm):
        step()
    timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())
    return 1000 * timer.timeit(count).mean


def _busy(device: torch.device, step, ms: float) -> float | str:
    """The share of a step in which a kernel runs, or why it is not known."""
    if device.type != "cuda":
        return "not a GPU"
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(3):
                step()
            devices.wait(device)
        kernels = sum(e.self_device_time_total for e in seen.key_averages())  # µs
    except (RuntimeError, AttributeError) as error:  # a machine may forbid it
        return str(error).splitlines()[0][:80]
    return round(kernels / 3 / 1000 / ms, 2)
