"""A pretend GPU: tensors on the CPU whose storage says that they are on a GPU.

Inside `with gpu(count) as seen:` the package finds `count` GPUs and trains on them. What is made
for "cuda:0" is made on the CPU and marked; what follows from marked tensors is marked. torch's own
rules are kept: tensors of two devices do not mix, but for numbers without dimensions; NumPy does
not see a GPU's memory; memory is pinned on the CPU only; with deterministic algorithms what torch
lists as having none is refused. `seen` counts what makes the host wait, and copies from memory
that is not pinned.

What cannot be seen this way: the kernels themselves and their rounding (TF32 above all), which
operations autocast lowers on a GPU (the CPU's lists are taken), memory running out, streams (a
result read before it is there), NCCL, torch.compile and what goes through it (torchvision's
roi_align where runs are to be deterministic), graph capture, and other threads and processes: the
thread that pins a DataLoader's memory, a sweep's workers.

How it works. A torch function mode sees Python's calls with their device=; it takes the device
away and marks what comes back. A torch dispatch mode sees each operation below them, those of the
backward pass too. While a function of torch's runs, its tensors say that they are on the CPU; what
it makes without a tensor (a range, say) is marked by the device of its arguments.
"""

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch._decomp.decompositions import _upsample_linear_vec
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.data import DataLoader

DRIVER = "580.65.06"
CPU = torch.device("cpu")
# Operations whose result's size, or whose result itself, the host must know.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "equal",
    "is_nonzero",
    "nms",
    "histc",
    "repeat_interleave",
}
INDEXED = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"}
MIXED = {"copy_", "_to_copy", "set_"} | INDEXED  # these have rules of their own
FACTORIES = {
    torch.arange,
    torch.as_tensor,
    torch.empty,
    torch.eye,
    torch.from_numpy,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.scalar_tensor,
    torch.tensor,
    torch.zeros,
}
COPYING = {torch.tensor, torch.as_tensor}
# Asked for so often that nothing else is done about them.
HARMLESS = {
    Tensor.untyped_storage,
    Tensor.dim,
    Tensor.numel,
    Tensor.size,
    Tensor.stride,
    Tensor.is_floating_point,
    Tensor.is_contiguous,
    Tensor.shape.__get__,
    Tensor.dtype.__get__,
    Tensor.layout.__get__,
    Tensor.requires_grad.__get__,
    Tensor.grad.__get__,
    Tensor.grad_fn.__get__,
    Tensor.is_leaf.__get__,
    Tensor.is_sparse.__get__,
}
# The words of `torch.use_deterministic_algorithms`' list of what has no deterministic algorithm on
# a GPU → the operations that they mean.
NONE_DETERMINISTIC = {
    "torch.nn.AvgPool3d": {"avg_pool3d_backward"},
    "torch.nn.AdaptiveAvgPool2d": {"_adaptive_avg_pool2d_backward"},
    "torch.nn.AdaptiveAvgPool3d": {"_adaptive_avg_pool3d_backward"},
    "torch.nn.AdaptiveMaxPool2d": {"adaptive_max_pool2d_backward"},
    "torch.nn.FractionalMaxPool2d": {"fractional_max_pool2d_backward"},
    "torch.nn.MaxUnpool2d": {"max_unpool2d"},
    "torch.nn.functional.interpolate": {
        "upsample_linear1d_backward",
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_trilinear3d_backward",
        "_upsample_bilinear2d_aa_backward",
        "_upsample_bicubic2d_aa_backward",
    },
    "torch.nn.ReflectionPad2d": {"reflection_pad2d_backward"},
    "torch.nn.NLLLoss": {"nll_loss2d_forward"},
    "torch.nn.CTCLoss": {"_ctc_loss_backward"},
    "torch.Tensor.put_": {"put_"},
    "torch.histc": {"histc"},
    "torch.median": {"median"},
    "torch.nn.functional.grid_sample": {"grid_sampler_2d_backward"},
    "torch.Tensor.scatter_reduce": {"scatter_reduce", "scatter_reduce_"},
}
REFUSED = set().union(*NONE_DETERMINISTIC.values())


@dataclass
class Seen:
    """What has been counted since `clear`: {(what, where in the package): how often}."""

    waits: Counter = field(default_factory=Counter)
    pageable: Counter = field(default_factory=Counter)
    devices: Counter = field(default_factory=Counter)  # operations on each

    def clear(self) -> None:
        for counter in (self.waits, self.pageable, self.devices):
            counter.clear()


class Mixed(RuntimeError):
    """What torch says where tensors are on two devices."""


def device_of(tensor: Tensor) -> torch.device:
    try:
        return getattr(tensor.untyped_storage(), "pretended", CPU)
    except (NotImplementedError, RuntimeError):  # it has no storage
        return CPU


def mark(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        tensor.untyped_storage().pretended = device
    return tensor


def is_pinned(tensor: Tensor) -> bool:
    return getattr(tensor.untyped_storage(), "pinned", False)


def tensors_in(*values) -> list[Tensor]:
    """Those among the values, and in lists, tuples and dicts among them."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(*value)
        elif isinstance(value, dict):
            found += tensors_in(*value.values())
    return found


def gpu_among(*values) -> torch.device:
    """The first GPU that a tensor is on, else the CPU."""
    return next((d for t in tensors_in(*values) if (d := device_of(t)) != CPU), CPU)


def place() -> str:
    """The innermost line of the package that is being run."""
    frame = sys._getframe(1)
    while frame and "/emolib/" not in frame.f_code.co_filename:
        frame = frame.f_back
    if not frame:
        return "elsewhere"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


class _Operations(TorchDispatchMode):
    def __init__(self, pretended: "_Gpu"):
        super().__init__()
        self.gpu, self.seen = pretended, pretended.seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = tensors_in(args, kwargs)
        devices = [device_of(t) for t in given]
        device = next((d for d in devices if d != CPU), CPU)
        name = func._schema.name.partition("::")[2]
        if device != CPU:
            self._check(func, name, given, devices, args)
            self.seen.devices[str(device)] += 1
            self._count(name, args)
        elif not given:
            device = self.gpu.around[-1]
        out = func(*args, **kwargs)
        if name != "copy_":
            own = {t.untyped_storage()._cdata for t in given if t.layout == torch.strided}
            for t in tensors_in(out):
                if t.layout == torch.strided and t.untyped_storage()._cdata not in own:
                    mark(t, device)
        return out

    def _check(self, func, name, given, devices, args) -> None:
        if torch.are_deterministic_algorithms_enabled() and name in REFUSED:
            raise RuntimeError(f"{name}_cuda does not have a deterministic implementation")
        on_cpu = [t for t, d in zip(given, devices, strict=True) if d == CPU]
        wrong = [t for t in on_cpu if t.dim() and t.numel()]
        first = func._schema.arguments[0].alias_info
        if first is not None and first.is_write and isinstance(args[0], Tensor):
            wrong += [t for t in on_cpu if t is args[0]]  # a number that is written to
        if name in INDEXED:  # indices may be on the CPU where the tensor is on a GPU
            wrong = [] if device_of(args[0]) != CPU else given[:1]
        elif name in MIXED:
            wrong = []
        if wrong or len({d for d in devices if d != CPU}) > 1 and name not in MIXED:
            shapes = [f"{tuple(t.shape)} on {d}" for t, d in zip(given, devices, strict=True)]
            raise Mixed(
                f"Expected all tensors to be on the same device: {name} of {', '.join(shapes)}"
            )

    def _count(self, name, args) -> None:
        if name in WAITING:
            self.seen.waits[name, place()] += 1
        if name in INDEXED:
            for index in tensors_in(args[1]):
                if index.dtype in (torch.bool, torch.uint8):
                    self.seen.waits["a mask as index", place()] += 1
                if device_of(index) == CPU:
                    self.seen.pageable["an index on the CPU", place()] += 1
        if name == "copy_":
            to, source = device_of(args[0]), device_of(args[1])
            if to == CPU:
                self.seen.waits["copy_ to the CPU", place()] += 1
            elif source == CPU and not is_pinned(args[1]):
                self.seen.pageable["copy_", place()] += 1


class _Calls(TorchFunctionMode):
    def __init__(self, pretended: "_Gpu"):
        super().__init__()
        self.gpu, self.seen = pretended, pretended.seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in HARMLESS:
            return func(*args, **kwargs)
        if func == Tensor.device.__get__:
            return device_of(args[0])
        if func == Tensor.is_cuda.__get__:
            return device_of(args[0]) != CPU
        if func == Tensor.is_cpu.__get__:
            return device_of(args[0]) == CPU
        here = gpu_among(args, kwargs)
        if func is Tensor.get_device:
            return -1 if here == CPU else here.index
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self._to(func, *args, **kwargs)
        if func is Tensor.pin_memory:
            if here != CPU:
                raise RuntimeError("cannot pin 'torch.cuda.FloatTensor': only CPU memory")
            out = args[0].clone()
            out.untyped_storage().pinned = True
            return out
        if func is Tensor.is_pinned:
            return is_pinned(args[0])
        if func in (Tensor.numpy, Tensor.__array__) and here != CPU:
            raise TypeError(f"can't convert {here} device type tensor to numpy")
        if func is Tensor.tolist and here != CPU:
            self.seen.waits["tolist", place()] += 1
        if func is Tensor.backward:
            return self._backward(*args, **kwargs)
        if func is torch.nn.functional.interpolate and self._decomposed(here, **kwargs):
            func = _slow_bilinear
        asked = None
        if kwargs.get("device") is not None:
            asked = self.gpu.numbered(kwargs["device"])
            kwargs["device"] = CPU if asked.type == "cuda" else asked
            if asked.type == "cuda" and func in COPYING:
                self.seen.pageable["torch.tensor", place()] += 1
        inner = asked or (CPU if func in FACTORIES else here)
        with self.gpu.inside(inner):
            out = func(*args, **kwargs)
        if asked is not None:
            for tensor in tensors_in(out):
                if tensor.device.type == "cpu":
                    mark(tensor, asked)
        return out

    def _to(self, func, x, *args, copy=False, **kwargs):
        here, dtype, non_blocking, layout = device_of(x), None, False, kwargs.get("memory_format")
        if func is Tensor.cpu:
            target = CPU
        elif func is Tensor.cuda:
            target = self.gpu.numbered(args[0] if args else kwargs.get("device") or "cuda")
        elif args and isinstance(args[0], Tensor):
            target, dtype = device_of(args[0]), args[0].dtype
        else:
            target, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
            target = here if target is None else self.gpu.numbered(target)
        options = {"dtype": dtype or x.dtype}
        if layout is not None:
            options["memory_format"] = layout
        if target == here:
            with self.gpu.inside(here):
                return x.to(copy=copy, **options)
        if target == CPU:
            self.seen.waits["a copy to the CPU", place()] += 1
        elif x.numel() and here == CPU and not is_pinned(x):
            self.seen.pageable["a copy to the GPU", place()] += 1
        with _disable_current_modes():
            out = x.to(copy=True, **options)
        return mark(out, target)

    def _backward(self, loss, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Python's own backward functions see this mode too."""
        with self.gpu.inside(device_of(loss)):
            gradient = torch.ones_like(loss) if gradient is None else gradient
            with _Calls(self.gpu):
                torch.autograd.graph._engine_run_backward(
                    (loss,),
                    (gradient,),
                    bool(retain_graph),
                    create_graph,
                    inputs or (),
                    allow_unreachable=True,
                    accumulate_grad=True,
                )

    def _decomposed(self, here, mode="nearest", antialias=False, **_) -> bool:
        """What `interpolate` does on a GPU where algorithms are to be deterministic."""
        exact = torch.are_deterministic_algorithms_enabled()
        return here != CPU and exact and mode == "bilinear" and not antialias


def _slow_bilinear(x, size=None, mode="", align_corners=None, **_):
    return _upsample_linear_vec(x, list(size), bool(align_corners), None)


class _Gpu:
    """How many there are, the current one, and the device that is being computed on."""

    def __init__(self, count: int):
        self.count, self.current, self.around, self.seen = count, 0, [CPU], Seen()

    def numbered(self, device) -> torch.device:
        device = torch.device(device)
        if device.type != "cuda":
            return device
        index = self.current if device.index is None else device.index
        if index >= self.count:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return torch.device("cuda", index)

    @contextlib.contextmanager
    def inside(self, device: torch.device):
        self.around.append(device)
        try:
            yield
        finally:
            self.around.pop()

    def set_device(self, device) -> None:
        self.current = torch.cuda._utils._get_device_index(device)  # refuses one without a number

    def synchronize(self, device=None) -> None:
        self.seen.waits["synchronize", place()] += 1


class _Autocast(torch.autocast):
    """The CPU's lists; there are no kernels to run the GPU's."""

    def __init__(self, device_type, *args, **kwargs):
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def _unpinned_by_threads(*args, **options):
    """A DataLoader; the thread that would pin what its processes bring is outside the modes."""
    if options.get("num_workers"):
        options["pin_memory"] = False
    return DataLoader(*args, **options)


@contextlib.contextmanager
def gpu(patch, count: int = 1, memory: float = 80e9):
    """`count` GPUs inside the block; gives `Seen`. patch: pytest's MonkeyPatch, which is undone."""
    pretended = _Gpu(count)
    with patch.context() as inner:
        for name, call in {
            "is_available": lambda: True,
            "device_count": lambda: count,
            "init": lambda: None,
            "current_device": lambda: pretended.current,
            "set_device": pretended.set_device,
            "synchronize": pretended.synchronize,
            "mem_get_info": lambda device=None: (int(memory), int(memory)),
            "get_device_name": lambda device=None: "Pretend GPU",
            "get_device_capability": lambda device=None: (9, 0),
            "empty_cache": lambda: None,
            "memory_allocated": lambda device=None: 0,
            "max_memory_allocated": lambda device=None: int(10e9),
            "reset_peak_memory_stats": lambda device=None: None,
            "manual_seed_all": lambda seed: None,
            "is_current_stream_capturing": lambda: False,
        }.items():
            inner.setattr(torch.cuda, name, call)
        inner.setattr(torch.accelerator, "is_available", lambda: True)
        inner.setattr(torch.accelerator, "current_device_index", lambda: pretended.current)
        # asked by Adam, before each step, of the stream that it might be captured on
        inner.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
        inner.setattr("emolib.data.batches.DataLoader", _unpinned_by_threads)
        inner.setattr(torch, "autocast", _Autocast)
        inner.setattr("emolib.base.devices.nvidia_driver", lambda: DRIVER)
        with _Calls(pretended), _Operations(pretended):
            yield pretended.seen
