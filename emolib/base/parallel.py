"""One training in several processes (torchrun), equal to one process: the same batch of the paper's
size shared out, its batch norm over the whole of it, each test picture counted once. Three rivals
are only nearly equal: wu2019's mean over salient pictures, yao2019's pairs and rao2020's sampled
anchors are taken within each process's share.

Every process runs the same code; the first one alone writes files.
"""

import functools
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from .devices import pick_device

PATIENCE = timedelta(days=7)  # the first process may wait for another job's run to end


@dataclass(frozen=True)
class Ranks:
    """This process's number among `size`; (0, 1) where there is only one."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> "Ranks":
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, items: list) -> list:
        """This process's share of a batch; all of one that is too small to give each something."""
        return items[self.rank :: self.size] if len(items) >= self.size else items

    def weight(self, mine: int, size: int) -> float:
        """What the mean loss of `mine` pictures counts among the processes of a batch of `size`."""
        return mine * self.size / size if size >= self.size else 1.0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model` with gradients averaged over the processes and batch norm over their batches."""
        if self.size == 1:
            return model
        if device.type == "cuda":
            model = convert_sync_batchnorm(model)
        else:  # torch's own synchronised batch norm knows only GPUs
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    forward = functools.partial(_synchronised, module, module.forward)
                    module.forward = forward  # type: ignore[method-assign]
        return DistributedDataParallel(model, find_unused_parameters=True)

    def sum(self, *numbers: Tensor) -> list[float]:
        """Each number added up over the processes."""
        total = torch.stack([n.float() for n in numbers])
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    def agree(self, value):
        """The first process's value."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def join(self, mine: list, count: int) -> list:
        """The `count` items of which each process has every size-th (`part`), in their order."""
        if self.size == 1 or count < self.size:
            return mine
        parts: list = [None] * self.size
        dist.all_gather_object(parts, mine)
        return [parts[i % self.size][i // self.size] for i in range(count)]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def start(device: str = "auto") -> str | None:
    """Joins the processes that torchrun started; this one's device, None where there is only one.
    On GPUs ("auto", "cuda") each process takes the one of its number. Raises ValueError for any
    other device than these and "cpu", or one that is not there."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return None
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={device!r}: several processes take auto, cpu or cuda")
    if pick_device(device).type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        torch.cuda.set_device(local)
        dist.init_process_group("nccl", timeout=PATIENCE)
        return f"cuda:{local}"
    dist.init_process_group("gloo", timeout=PATIENCE)
    return "cpu"


def _synchronised(m: _BatchNorm, as_it_was, x: Tensor) -> Tensor:
    """The forward of a batch norm module whose statistics are those of all processes' batches."""
    if not m.training:
        return as_it_was(x)
    assert m.running_mean is not None and m.running_var is not None
    assert m.num_batches_tracked is not None
    wide, dims, rows = x.float(), [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
    count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
    total = all_reduce(torch.cat([wide.sum(dims), count]))  # so are the gradients
    count = total[-1].detach()
    mean = (total[:-1] / count).view(rows)
    var = all_reduce((wide - mean).square().sum(dims)) / count
    with torch.no_grad():
        m.num_batches_tracked += 1
        rate = 1 / float(m.num_batches_tracked) if m.momentum is None else m.momentum
        m.running_mean.lerp_(mean.flatten(), rate)
        m.running_var.lerp_(var * count / (count - 1), rate)
    scale = ((var + m.eps).rsqrt() * m.weight).view(rows)
    found = ((wide - mean) * scale + m.bias.view(rows)).to(x.dtype)
    return m.act(m.drop(found)) if isinstance(m, BatchNormAct2d) else found
