"""A trained run as a predictor."""

import math
import numbers
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import default_collate

from ..base.devices import autocast, on
from ..base.progress import bar
from ..data.batches import centre_box, cut, normalise, short_side
from ..data.pictures import check_all, shrink, without_frames
from ..data.proposals import BoxFinder, in_view
from ..data.tasks import POLARITIES, TASKS
from ..spec.run_spec import RunSpec
from .explain import Explanation, highest_regions
from .inputs import as_pixels, listed
from .saved import Config, short_card, write, write_weights


@dataclass(frozen=True)
class Predictor:
    """Made by `emolib.load` and `emolib.fit`. It sees a picture's centre crop, as its test did.

    `pictures` is everywhere what `inputs.listed` takes: a path, a folder, a PIL image, an array
    H×W×3, a tensor 3×H×W, or any of them in a list. Raises ValueError or FileNotFoundError that
    names the picture where one is none of these or cannot be read. Whoever trains `model` on calls
    `model.train()` again after it has answered.
    """

    spec: RunSpec
    model: Any = field(repr=False)  # an nn.Module, as `create_model` makes it
    device: torch.device
    weights: str = ""  # the folder with the weights of the run's detector, if it had one
    temperature: float = 1.0  # what logits are divided by, so that p_positive is calibrated
    drawn: bool = False  # whether it learnt drawn pictures
    classes: tuple[str, ...] = POLARITIES  # what the answers of its task are of
    card: str = field(default="", repr=False)  # what is known of it, Markdown; "": its settings

    @torch.inference_mode()
    def predict(
        self, pictures, batch_size: int = 32, unreadable: list[Exception] | None = None
    ) -> pd.DataFrame:
        """One row a picture: path (as given; in memory "picture 0", …), then its task's answer:
        label (1 = positive), p_positive; emotion (the most probable), p_<emotion> of each; or
        valence, arousal from 1 to 9.

        unreadable: a list, which takes the error of each file or image that cannot be decoded.
        These have no row then. Without it such a picture is an error that names all of them.
        """
        named = listed(pictures)
        self.model.eval()
        if hasattr(self.model, "predict_proba"):
            if not all(isinstance(file, Path) for _, file in named):
                raise ValueError(f"model {self.spec.model!r} reads picture files: give it paths")
            if unreadable is not None:
                named = _usable(_decodable, named, unreadable)
            names, given = [name for name, _ in named], [file for _, file in named]
            try:
                found = np.array(self.model.predict_proba(given) if given else np.zeros((0, 2)))
            except (ValueError, FileNotFoundError):
                check_all(lambda one: as_pixels(*one), named)
                raise
        else:
            names, logits = [], [torch.zeros(0, len(self.classes), dtype=torch.double)]
            with autocast(self.spec.precision, self.device):  # as in the run's own test
                for part, images, extras in self._batches(named, batch_size, unreadable):
                    logits.append(self.model(images, **extras).cpu().double())
                    names += part
            every = torch.cat(logits) / self.temperature
            found = TASKS[self.spec.task].answers(every).numpy()
        said = TASKS[self.spec.task].said(self.classes, found)
        paths = pd.Series(names, dtype=str)
        return pd.DataFrame({"path": paths} | said)

    @torch.inference_mode()
    def regions(self, pictures, batch_size: int = 32) -> np.ndarray:
        """D of Eq. 5 for each picture's centre crop: n×h×w in (0, 1), a quarter of its size.
        ValueError where the system has none."""
        self._check_D()
        self.model.eval()
        with autocast(self.spec.precision, self.device):
            batches = self.batches(pictures, batch_size)
            D = [self.model.regions(x)[:, 0] for x, _ in batches]
        return torch.cat(D).cpu().numpy() if D else np.zeros((0, 0, 0), np.float32)

    def explain(self, picture) -> Explanation:
        """The answer for one picture and where D is high. ValueError where the system has no D."""
        self._check_D()
        name, picture = _one(picture)
        whole = as_pixels(name, picture)  # 3×H×W
        (said,) = self.predict(whole).drop(columns="path").to_dict("records")
        D = torch.from_numpy(self.regions(whole))[:, None]
        image, (top, left, size, _, _) = self._shrunk(name, whole)
        scale_y, scale_x = whole.shape[1] / image.shape[0], whole.shape[2] / image.shape[1]

        def in_picture(x0, y0, x1, y1) -> tuple:
            """From px of the view to those of the whole picture, outwards."""
            low = math.floor((left + x0) * scale_x), math.floor((top + y0) * scale_y)
            return (*low, math.ceil((left + x1) * scale_x), math.ceil((top + y1) * scale_y))

        cell = size / D.shape[-1]
        return Explanation(
            path=name,
            answers=said,
            said=TASKS[self.spec.task].words(said),
            picture=Image.fromarray(whole.permute(1, 2, 0).numpy()),
            crop=in_picture(0, 0, size, size),
            view=self.view(whole),
            D=F.interpolate(D, (size, size), mode="bilinear")[0, 0].numpy(),
            boxes=[
                (*in_picture(*(cell * side for side in sides)), score)
                for *sides, score in highest_regions(D[0, 0].numpy())
            ],
        )

    def save(self, folder, card: str = "", half: bool = False) -> Path:
        """Writes the network into `folder` in the Hugging Face layout, for `emolib.load`; returns
        the folder. card: README.md, Markdown; "": the one that it came with or was trained with.
        half: weights in float16. Raises ValueError for numbers beyond float16's range,
        FileExistsError where the folder has a README.md and no network."""
        config = Config(self.spec, self.temperature, self.drawn, self.classes)
        known = card or self.card or short_card(self.spec)
        return write(folder, config, known, lambda file: write_weights(file, self.model, half))

    def view(self, picture) -> np.ndarray:
        """The centre crop the model sees: S×S×3 uint8."""
        image, box = self._shrunk(*_one(picture))
        return cut(image, box, self.spec.image_size).numpy()

    def _check_D(self) -> None:
        if not getattr(self.model, "has_regions", False):
            raise ValueError(f"{self.spec.id}: this system makes no region map D to look at")

    def batches(self, pictures, batch_size: int = 32):
        """(images, extras) of the pictures as the model takes them, batch by batch."""
        for _, images, extras in self._batches(listed(pictures), batch_size):
            yield images, extras

    def _batches(self, named, batch_size: int, unreadable: list[Exception] | None = None):
        """(names, images, extras) of `listed` pictures, batch by batch; `predict` has the rest."""
        whole = isinstance(batch_size, numbers.Integral) and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r}: a whole number above 0")
        for start in bar(range(0, len(named), batch_size), "pictures"):
            try:
                usable = _usable(self._seen, named[start:][:batch_size], unreadable)
            except (ValueError, FileNotFoundError):  # others may be broken too
                check_all(lambda one: as_pixels(*one), named[start:])
                raise
            if usable:
                names, seen = zip(*usable, strict=True)
                views, extras = zip(*seen, strict=True)
                images = normalise(torch.stack(views), self.model.pretrained_cfg, self.device)
                yield names, images, on(self.device, default_collate(list(extras)))

    def _seen(self, name: str, picture) -> tuple[torch.Tensor, dict]:
        """The centre crop and, for a system that looks at boxes, those in it, as in the test."""
        size, (image, box) = self.spec.image_size, self._shrunk(name, picture)
        extras = {}
        if hasattr(self.model, "finder"):
            finder = BoxFinder(self.model.finder, self.spec.detector, self.weights)
            extras["boxes"] = in_view(finder.find(image), image.shape[:2], box, size)
        return cut(image, box, size), extras

    def _shrunk(self, name: str, picture) -> tuple[torch.Tensor, tuple]:
        """The picture as crops are taken from it, h×w×3 uint8, and the centre crop's box in it."""
        size = self.spec.image_size
        image = shrink(as_pixels(name, picture), short_side(size)).permute(1, 2, 0)
        h, w, _ = image.shape
        return image, centre_box(h, w, size)


def speed(predictor: Predictor, paths) -> float:
    """Pictures a second, from file to probability: decoding, boxes and network; 64 pictures at
    most. On a CPU it counts the process's own time: the rate of one core, whatever runs beside."""
    paths = list(paths)[:64]
    predictor.predict(paths[:2])
    clock = time.process_time if predictor.device.type == "cpu" else time.perf_counter
    started = clock()
    predictor.predict(paths)
    return len(paths) / (clock() - started)


def _usable(read, named, unreadable: list[Exception] | None) -> list[tuple[str, Any]]:
    """(name, what `read` makes of it) of `listed` pictures. The errors of those that it cannot read
    go into `unreadable`; where that is None, the first is raised."""
    found = []
    for name, picture in named:
        try:
            found.append((name, read(name, picture)))
        except (ValueError, FileNotFoundError) as error:
            if unreadable is None:
                raise
            unreadable.append(without_frames(error))
    return found


def _decodable(name: str, picture):
    """The picture, of which it is known now that it can be decoded."""
    as_pixels(name, picture)
    return picture


def _one(picture) -> tuple[str, object]:
    named = listed(picture)
    if len(named) != 1:
        raise ValueError(f"one picture is asked for, {len(named)} were given")
    return named[0]
