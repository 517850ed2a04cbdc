"""One training in several processes (torchrun), equal to one process: the same batch of the paper's
size shared out, its batch norm over the whole of it, each test picture counted once. Three rivals
are only nearly equal: wu2019's mean over salient pictures, yao2019's pairs and rao2020's sampled
anchors are taken within each process's share.

Every process runs the same code; the first one alone writes files.
"""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
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
                    module.forward = _Synchronised(module)
        return DistributedDataParallel(model, find_unused_parameters=True)

    def sum(self, *numbers: Tensor) -> list[float]:
        """Each number added up over the processes."""
        total = torch.stack([n.float() for n in numbers])
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    def agree(self, value):
        """The first process's value."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def join(self, mine: list, count: int) -> list:
        """The `count` items of which each process has every size-th (`part`), in their order."""
        if self.size == 1 or count < self.size:
            return mine
        parts = [None] * self.size
        dist.all_gather_object(parts, mine)
        return [parts[i % self.size][i // self.size] for i in range(count)]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def start(device: str = "auto") -> str | None:
    """Joins the processes that torchrun started; this one's device, None where there is only one.

    On GPUs ("auto", "cuda") each process takes the one of its number. Raises ValueError for any
    other device than these and "cpu", or one that is not there.
    """
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


class _Synchronised:
    """The forward of a batch norm module whose statistics are those of all processes' batches."""

    def __init__(self, module: _BatchNorm):
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        m = self.module
        if m.training:
            x = self._normalised(x)
        else:
            x = F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, eps=m.eps)
        return m.act(m.drop(x)) if isinstance(m, BatchNormAct2d) else x

    def _normalised(self, x: Tensor) -> Tensor:
        m, wide = self.module, x.float()
        dims = [0, *range(2, x.dim())]
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        total = _Sum.apply(torch.cat([wide.sum(dims), count]))
        count = total[-1].detach()
        mean = _column(total[:-1] / count, x)
        var = _Sum.apply((wide - mean).square().sum(dims)) / count
        with torch.no_grad():
            m.num_batches_tracked += 1
            rate = 1 / float(m.num_batches_tracked) if m.momentum is None else m.momentum
            m.running_mean.lerp_(mean.flatten(), rate)
            m.running_var.lerp_(var * count / (count - 1), rate)
        wide = (wide - mean) * _column((var + m.eps).rsqrt() * m.weight, x) + _column(m.bias, x)
        return wide.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad


def _column(per_channel: Tensor, x: Tensor) -> Tensor:
    return per_channel.view(1, -1, *[1] * (x.dim() - 2))
