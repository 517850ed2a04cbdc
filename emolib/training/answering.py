"""What a network answers for pictures of a set, while it is trained and after."""

import numpy as np
import torch

from ..base.devices import autocast
from ..base.parallel import Ranks
from ..data.batches import Batches, Pictures
from ..data.predictions import predictions_of
from ..data.tasks import TASKS
from ..spec.run_spec import RunSpec
from .frozen import FrozenViews

TESTED_AT_ONCE = 64


def answers_for(
    model, pictures: Pictures | FrozenViews, indices, device: torch.device, spec: RunSpec
) -> np.ndarray:
    """The task's answers for each index, N×classes float64, from evaluation's centre crop.

    Several processes share the pictures out, each picture once.
    """
    if hasattr(model, "predict_proba"):
        return model.predict_proba([pictures.data.paths[i] for i in indices])
    return TASKS[spec.task].answers(_logits(model, pictures, indices, device, spec)).numpy()


@torch.inference_mode()
def _logits(model, pictures, indices, device, spec: RunSpec) -> torch.Tensor:
    """N×classes float64 on the CPU."""
    model.eval()
    ranks = Ranks.here()
    batches = Batches(ranks.part(list(indices)), TESTED_AT_ONCE)
    parts = []
    for images, _, extras in pictures.feed(batches, device, model.pretrained_cfg):
        with autocast(spec.precision, device):
            logits = model(images, **extras)
        parts.append(logits)
    mine = torch.cat(parts).cpu().double()  # Apple's GPUs have no float64
    return torch.tensor(ranks.join(mine.tolist(), len(indices)), dtype=torch.float64)


def validate(model, pictures: Pictures | FrozenViews, indices, device, spec: RunSpec) -> dict:
    """The history's "val_loss" and, as "val_…", the task's scores on these pictures but for n."""
    task, data = TASKS[spec.task], pictures.data
    logits = _logits(model, pictures, indices, device, spec)
    frame = predictions_of(data, indices, task.answers(logits).numpy())
    targets = torch.from_numpy(data.targets[indices])
    loss = float(task.loss(logits, targets if targets.ndim == 1 else targets.double()))
    scored = {f"val_{name}": v for name, v in task.scores(frame).items() if name != "n"}
    return {"val_loss": loss} | scored
