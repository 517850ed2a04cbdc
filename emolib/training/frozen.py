"""What a frozen backbone makes of a set: computed once, kept in the cache folder, read by heads.

Each picture is seen in `spec.views` views. View 0 is the centre crop, which tests see. The others
are random crops and flips. Their draws follow from the view's number alone, so that all seeds and
folds share them. In each epoch a training sees one view of a picture, by (seed, epoch, index).

What the backbone gives for one view of the whole set is one file, in float16 (`data.cache`). Where
it cannot be kept, or with cache="off", the same numbers are computed anew in every step.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import Tensor

from ..base import progress
from ..base.devices import on
from ..data import cache
from ..data.batches import Batches, Pictures, draws, normalise
from ..data.datasets import Dataset
from ..network import backbones
from ..network.backbones import Seen
from ..spec.run_spec import RunSpec

VERSION = 1  # of what is computed for a view
AT_ONCE = 16  # pictures through the backbone


class FrozenViews:
    """A set as the head of `model` sees it through its frozen backbone, in place of `Pictures`.

    The views are computed here where that has not been done. What `Pictures` raises for a picture
    that is not readable is raised here too.
    """

    def __init__(self, spec: RunSpec, data: Dataset, model, emotions: bool = False):
        self.data, self.count, self.seed = data, spec.views, spec.seed
        self.pictures = Pictures(data, spec.image_size, spec.crop, 0, spec.cache, None, emotions)
        self.backbone, self.cfg = model.backbone.requires_grad_(False), model.pretrained_cfg
        self.device = next(model.parameters()).device
        blank = torch.zeros(1, spec.image_size, spec.image_size, 3, dtype=torch.uint8)
        maps = backbones.seen(self.backbone, normalise(blank, self.cfg, self.device)).maps
        self.shapes = [m.movedim(1, -1).shape[1:] for m in maps]  # as kept, channels last
        made_by = [VERSION, spec.backbone, self.cfg["mean"], self.cfg["std"], self.shapes]
        made_by += [spec.image_size, spec.crop, backbones.digest(self.backbone), data.names]
        made_by += [version(name) for name in ("pillow", "torchvision", "torch", "timm")]
        key = hashlib.sha256(repr([*made_by, self.device.type]).encode()).hexdigest()[:16]
        name = f"{data.name}-{data.pictures_hash()}-view{{}}-{key}"
        self.kept: list[Tensor] = []  # one a view, or none of them
        if spec.cache == "packed":
            for v in range(self.count):
                if (kept := self._kept(name.format(v), v)) is None:
                    self.kept = []
                    break
                self.kept.append(kept)

    def feed(self, batches: Batches, device: torch.device, cfg: dict) -> "FrozenFeed":
        """`batches` of these views, as `Pictures.feed` gives those of pictures."""
        return FrozenFeed(self, batches)

    def view(self, epoch: int, index: int) -> int:
        """The view of a picture in an epoch; in a negative one, evaluation's."""
        if epoch < 0:
            return 0
        return int(draws(self.seed, epoch, len(self.data))[index, 0] * self.count)

    def batch(self, items: list[tuple[int, int]]) -> tuple[Seen, Tensor, dict]:
        """What (epoch, index) items give: maps, targets and extras, on the device."""
        views = [(self.view(*item), item[1]) for item in items]
        if self.kept:
            rows = torch.stack([self.kept[v][i] for v, i in views])
        else:
            rows = self._computed(views)
        flat = rows.to(self.device).float().split([int(np.prod(s)) for s in self.shapes], dim=1)
        maps = [m.unflatten(1, s).movedim(-1, 1) for m, s in zip(flat, self.shapes, strict=True)]
        labels = torch.from_numpy(self.data.targets[[i for _, i in items]])
        extras = {}
        if self.pictures.emotions is not None:
            extras["emotions"] = torch.from_numpy(self.pictures.emotions[[i for _, i in items]])
        return Seen(maps), labels.to(self.device), on(self.device, extras)

    def _computed(self, views: list[tuple[int, int]]) -> Tensor:
        """N×K float16 on the CPU: all maps of each (view, index), one after the other."""
        images = torch.stack([self.pictures[v or -1, index][0] for v, index in views])
        maps = backbones.seen(self.backbone, normalise(images, self.cfg, self.device)).maps
        rows = torch.cat([m.movedim(1, -1).flatten(1) for m in maps], dim=1).half().cpu()
        if not rows.isfinite().all():
            raise ValueError(
                f"{self.data.name}: what the frozen backbone gives is beyond float16's range, as "
                "with random weights; start from trained ones (init), or let it learn (freeze='')"
            )
        return rows

    def _kept(self, name: str, view: int) -> Tensor | None:
        """n×K float16, memory-mapped; None where it cannot be kept."""
        shapes = np.array([(*s, 1, 1)[:3] for s in self.shapes], np.int64)
        numbers = int(shapes.prod(1).sum())

        def whole(tensors) -> bool:
            return tensors["maps"].shape == (len(self.data), numbers)

        def read(file: Path) -> Tensor | None:
            tensors = cache.read_tensors(file, whole)
            return tensors["maps"] if tensors else None

        def write(file: Path) -> None:
            cache.write_stream(file, "maps", shapes, self._in_turn(view))

        needed = 2.0 * numbers * len(self.data) * (self.count - view)  # room for the others too
        words = "a frozen backbone's maps cannot be kept", "they are computed anew in every step"
        return cache.made_once(self.data, name, read, lambda: needed, write, words)

    def _in_turn(self, view: int) -> Iterator[Tensor]:
        """`_computed` for the whole set, a few pictures at a time, on all cores: each batch on as
        many threads as the training has, so that the bits do not depend on the others."""
        items = [(view, i) for i in range(len(self.data))]
        batches = [items[start:][:AT_ONCE] for start in range(0, len(items), AT_ONCE)]
        words = f"{self.data.name}: view {view + 1} of {self.count} through the backbone"
        if self.device.type != "cpu":
            yield from map(self._computed, progress.bar(batches, words))
            return
        workers = max(1, joblib.cpu_count() // torch.get_num_threads())
        with ThreadPoolExecutor(workers) as pool:
            for start in progress.bar(range(0, len(batches), 4 * workers), words):
                yield from pool.map(self._computed, batches[start:][: 4 * workers])


class FrozenFeed:
    """Batches of `views`: (Seen, targets, extras)."""

    def __init__(self, views: FrozenViews, batches: Batches):
        self.views, self.batches = views, batches

    def __iter__(self):
        for items in self.batches:
            yield self.views.batch(items)
