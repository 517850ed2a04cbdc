"""torch.compile where it pays for itself, decided by timing a few steps of the training at hand.

It is tried on GPUs, where a small batch waits for Python to launch thousands of kernels. On CPUs it
takes a minute, and the steps become no quicker (results/bench/compile.csv). EMOLIB_COMPILE=off
tries it nowhere, =on everywhere: compiled networks round differently, so whoever needs the same
bits switches it off.
"""

import os
import time
import warnings

import torch
from torch import nn

from ..base import devices

WORTH = 600.0  # seconds of training ahead from which compiling, a minute or three, is tried
GAIN = 1.02  # below this it is not kept
_decided: dict[
    tuple, bool
] = {}  # what was found, so that the folds of one network do not time it again


def quickest(
    network: nn.Module, device: torch.device, one_step, steps_ahead: int, key: tuple
) -> nn.Module:
    """`network` itself or, where its steps are quicker, compiled.

    one_step(network): a step's forward and backward pass on the device; it may change buffers and
    gradients, which are put back. key: equal for networks that are timed alike. A network that
    cannot be compiled is left as it is, with a warning.
    """
    if key in _decided:
        return for_one_size(network) if _decided[key] else network
    before = {name: b.detach().clone() for name, b in network.named_buffers()}
    eager = _seconds(lambda: one_step(network), device)
    chosen = network
    if eager * steps_ahead > WORTH or os.environ.get("EMOLIB_COMPILE") == "on":
        _decided[key] = False
        try:
            compiled = for_one_size(network)
            quicker = eager > GAIN * _seconds(lambda: one_step(compiled), device)
            _decided[key] = quicker or torch.are_deterministic_algorithms_enabled()
            chosen = compiled if _decided[key] else network
        except Exception as error:  # the compiler's stack raises kinds of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"torch.compile failed, going on without: {reason}", stacklevel=2)
    network.zero_grad(set_to_none=True)
    for name, buffer in network.named_buffers():
        buffer.copy_(before[name])
    return chosen


def for_one_size(network: nn.Module) -> nn.Module:
    """Compiled for the shapes it meets. Left to itself, torch takes a second network's size for one
    that may vary, and compiles for minutes what is slower."""
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]


def was_kept(key) -> bool:
    """Whether networks of this key were compiled in this process."""
    return _decided.get(key, False)


def wanted(device: torch.device) -> bool:
    """Whether compiling may be tried. Raises ValueError for another EMOLIB_COMPILE."""
    chosen = os.environ.get("EMOLIB_COMPILE", "auto")
    if chosen not in ("auto", "on", "off"):
        raise ValueError(f"EMOLIB_COMPILE={chosen!r}: one of auto, on, off")
    # whether it pays is timed, and may come out otherwise when a run goes on after a kill
    exact = torch.are_deterministic_algorithms_enabled()
    return chosen == "on" or (chosen == "auto" and device.type == "cuda" and not exact)


def _seconds(call, device: torch.device, calls: int = 5) -> float:
    """A call's seconds once it has been called."""
    for _ in range(2):
        call()
    devices.wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    devices.wait(device)
    return (time.perf_counter() - started) / calls
