"""The Hugging Face layout on disk: config.json, model.safetensors and README.md, the model card.

config.json holds {"spec": the RunSpec, "classes": what the answers are of} and, where they apply,
"temperature": what logits are divided by, and "drawn": true for a network that learnt drawn
pictures. Nothing but plain values is read, whoever wrote them.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from ..base.files import read_json, whole_file, write_json, write_text
from ..data.tasks import POLARITIES, TASKS
from ..spec.run_spec import RunSpec

MOST_CLASSES = 1000  # a stranger's file may name any number
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Config:
    """What config.json says of a network."""

    spec: RunSpec
    temperature: float = 1.0
    drawn: bool = False
    classes: tuple[str, ...] = POLARITIES

    def write(self, file: Path) -> None:
        values: dict = {"spec": self.spec.to_dict(), "classes": list(self.classes)}
        values |= {"temperature": self.temperature} if self.temperature != 1 else {}
        write_json(file, values | ({"drawn": True} if self.drawn else {}))


def read_config(file) -> Config:
    """The Config in a config.json, whoever wrote it. Raises ValueError that names the file where it
    holds none, classes that are not the task's, or a temperature that is no number above 0."""
    values = read_json(file)
    if not isinstance(values, dict) or not isinstance(values.get("spec"), dict):
        raise ValueError(f"{file}: no config of emolib's: it has no 'spec' with a run's settings")
    heat = values.get("temperature", 1.0)
    if not isinstance(heat, (int, float)) or not 0 < heat < math.inf:
        raise ValueError(f"{file}: temperature={str(heat)[:100]}, not a number above 0")
    try:
        spec = RunSpec.from_dict(values["spec"])
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{file}: 'spec' is not a RunSpec ({str(error)[:300]})") from error
    classes = checked_classes(file, spec, values.get("classes"))
    return Config(spec, float(heat), values.get("drawn") is True, classes)


def checked_classes(file, spec: RunSpec, classes) -> tuple[str, ...]:
    """The classes that a file says a network answers with. ValueError names it where they are
    none, or others than the two polarities, or valence and arousal, where the task has these."""
    fixed = TASKS[spec.task].fixed
    names = isinstance(classes, list) and all(isinstance(c, str) and c for c in classes)
    several = names and 2 <= len(set(classes)) == len(classes) <= MOST_CLASSES
    if not several or (fixed and tuple(classes) != fixed):
        wanted = list(fixed) or f"2 to {MOST_CLASSES} different names"
        raise ValueError(f"{file}: classes={str(classes)[:100]}, not {wanted}")
    return tuple(classes)


def write_weights(file: Path, network: nn.Module, half: bool = False) -> None:
    """The network's tensors under its own names; half: in float16, which halves the file."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    if half:
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
        for name, t in tensors.items():
            if not t.isfinite().all():
                raise ValueError(
                    f"{name} has numbers beyond float16's range; save it with half=False"
                )
    with whole_file(file) as part:
        save_file(tensors, part, metadata={"format": "pt"})


def write(folder, config: Config, card: str, put_weights: Callable[[Path], object]) -> Path:
    """The whole layout; returns the folder. put_weights: writes the file that it is given. An
    earlier network stays until the weights are written; then the config goes first and comes last,
    because a folder without one is no network. Raises FileExistsError where a README.md is there
    that is no network's card."""
    folder = Path(folder)
    old, new = folder / CARD, folder / f"{WEIGHTS}.new"
    if old.exists() and not (folder / WEIGHTS).exists() and old.read_bytes()[:3] != b"---":
        wanted = "choose a folder of its own, or take the file away"
        raise FileExistsError(f"{folder} has a {CARD} and no network: {wanted}")
    put_weights(new)
    (folder / CONFIG).unlink(missing_ok=True)
    os.replace(new, folder / WEIGHTS)
    write_text(folder / CARD, card)
    config.write(folder / CONFIG)
    return folder


def short_card(spec: RunSpec, known: str = "") -> str:
    """The card of a network of which a few sentences are known, or none."""
    known = known or "How its weights were trained is not known here, and nothing was measured."
    who = " on ".join(filter(None, [spec.model, spec.backbone]))
    return (
        "---\nlibrary_name: emolib\npipeline_tag: image-classification\n---\n\n"
        f"# {who}, {spec.image_size} px\n\nA network of emolib's. {known}\n"
    )
