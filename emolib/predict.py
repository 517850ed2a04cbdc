"""A trained run as a predictor."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import default_collate

from . import proposals
from .cache import shrunk
from .pipeline import centre, centre_box, cut, normalise, short_side
from .progress import bar
from .spec import RunSpec
from .training import autocast, on


@dataclass(frozen=True)
class Predictor:
    """Made by `emolib.load`. Pictures are treated as in the run's own test: its centre crop."""

    spec: RunSpec
    model: torch.nn.Module
    device: torch.device
    weights: str = ""  # the folder with the weights of the run's detector, if it had one

    @torch.inference_mode()
    def predict(self, paths, batch_size: int = 32) -> pd.DataFrame:
        """One row a picture: path (as given), label (1 = positive), p_positive.

        Raises ValueError or FileNotFoundError naming a picture that cannot be read.
        """
        paths = _as_list(paths)
        if hasattr(self.model, "predict_proba"):
            p = self.model.predict_proba([Path(path) for path in paths])[:, 1] if paths else []
            return _frame(paths, np.array(p, float))
        with autocast(self.spec.precision, self.device):  # as in the run's own test
            p = [
                self.model(x, **extras).cpu().double().softmax(1)[:, 1]
                for x, extras in self.batches(paths, batch_size)
            ]
        return _frame(paths, torch.cat(p).numpy() if p else np.zeros(0))

    @torch.inference_mode()
    def regions(self, paths, batch_size: int = 32) -> np.ndarray:
        """D of Eq. 5 for each picture's centre crop: n×h×w in (0, 1), a quarter of its size."""
        with autocast(self.spec.precision, self.device):
            batches = self.batches(_as_list(paths), batch_size)
            D = [self.model.regions(x)[:, 0] for x, _ in batches]
        return torch.cat(D).cpu().numpy()

    def view(self, path) -> np.ndarray:
        """The centre crop the model sees: S×S×3 uint8."""
        return centre(path, self.spec.image_size).numpy()

    def batches(self, paths: list, batch_size: int = 32):
        """(images, extras) of the pictures as the model takes them, batch by batch."""
        for start in bar(range(0, len(paths), batch_size), "pictures"):
            views, extras = zip(*map(self._seen, paths[start:][:batch_size]), strict=True)
            images = normalise(torch.stack(views), self.model.pretrained_cfg, self.device)
            yield images, on(self.device, default_collate(list(extras)))

    def _seen(self, path) -> tuple[torch.Tensor, dict]:
        """The centre crop and, for a system that looks at boxes, those in it, as in the test."""
        size = self.spec.image_size
        image = shrunk(path, short_side(size))
        shape = tuple(image.shape[:2])
        box = centre_box(*shape, size)
        extras = {}
        if hasattr(self.model, "finder"):
            found = proposals.find(self.model.finder, image, self.spec.detector, self.weights)
            extras["boxes"] = proposals.in_view(found, shape, box, size)
        return cut(image, box, size), extras


def speed(predictor: Predictor, paths) -> float:
    """Pictures a second, from file to probability: decoding, boxes and network, 64 pictures at
    most. On a CPU by the process's own time, so that it is the rate of one core and what runs
    beside does not count."""
    paths = list(paths)[:64]
    predictor.predict(paths[:2])
    clock = time.process_time if predictor.device.type == "cpu" else time.perf_counter
    started = clock()
    predictor.predict(paths)
    return len(paths) / (clock() - started)


def _frame(paths, p: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"path": [str(p) for p in paths], "label": (p >= 0.5).astype(int), "p_positive": p}
    )


def _as_list(paths) -> list:
    return [paths] if isinstance(paths, (str, Path)) else list(paths)
