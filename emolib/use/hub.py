"""Runs in the Hugging Face layout: config.json, model.safetensors and README.md, the model card.

    hub.save("results/study/runs/twitter1-…", "my-model")      # a run → a folder to share
    net = hub.Network.from_pretrained("my-model")              # or "owner/name", from the hub
    net.push_to_hub("owner/name")

`saved` says what these files hold.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import Tensor, nn

from ..base.files import read_json, sha256, whole_file
from ..data.tasks import TASKS
from ..network import build
from ..spec.run_spec import RunSpec
from . import card
from .load import check_there, folder_of, of_run, warn_drawn
from .saved import (
    CARD,
    CONFIG,
    WEIGHTS,
    Config,
    checked_classes,
    read_config,
    short_card,
    write,
    write_weights,
)


def save(run, folder) -> Path:
    """Writes a complete run into `folder` in the Hugging Face layout; returns the folder.

    run: its run folder. Where it lies in its study, the card has the mean of its folds too. Raises
    FileNotFoundError where the folder is no complete run or its weights were not kept, ValueError
    where files are no longer those that the run wrote, FileExistsError where `folder` has a
    README.md and no network.
    """
    run, folder = Path(run), Path(folder)
    check_there(run, "spec.json", WEIGHTS, "predictions.csv", "environment.json", "metrics.json")
    for name, written in read_json(run / "environment.json").get("files", {}).items():
        if (run / name).is_file() and sha256(run / name) != written:
            raise ValueError(f"{run / name} is not the file that the run wrote; run its spec again")
    text = card.text(run)  # before anything is written: it reads the most

    def copied(file: Path) -> None:
        with whole_file(file) as part:
            shutil.copyfile(run / WEIGHTS, part)

    return write(folder, of_run(run), text, copied)


class Network(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="emolib",
    tags=["image-classification", "visual-sentiment-analysis"],
):
    """A run's network with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    `net` is the network itself (`create_model`): images N×3×H×W float, normalised by
    `net.pretrained_cfg` → logits N×classes, before any temperature. Made from a spec it has random
    weights; classes: what its answers are of, as in config.json. `card` is that of the weights it
    came with: write another after training it.
    """

    def __init__(self, spec: RunSpec | dict, classes=None):
        super().__init__()
        spec = spec if isinstance(spec, RunSpec) else RunSpec.from_dict(spec)
        classes = list(classes or TASKS[spec.task].fixed)
        classes = checked_classes("Network", spec, classes)
        self.spec, self.config = spec, Config(spec, classes=classes)
        start = replace(self.spec, init="scratch", pretrain=())
        self.net = build.build_network(start, classes=len(classes))
        self.card = short_card(spec)

    def forward(self, images: Tensor, **extras) -> Tensor:
        return self.net(images, **extras)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name, revision: str | None = None, **download
    ) -> "Network":
        """In evaluation mode, from what `save` or `save_pretrained` wrote: a folder, or as
        `folder_of` says. With a warning where it learnt drawn pictures. Raises what `folder_of` and
        `read_config` do, FileNotFoundError for a missing file, ValueError for weights that are not
        the spec's."""
        folder = folder_of(name, revision, **download)
        check_there(folder, CONFIG, WEIGHTS, why="not what hub.save writes")
        config = read_config(folder / CONFIG)
        if config.drawn:
            warn_drawn(name)
        network = cls(config.spec, config.classes)
        network.config = config
        take = getattr(network.net, "start_from", network.net.load_state_dict)
        with build.fitting_weights(folder / WEIGHTS, "its config"):
            take(load_file(folder / WEIGHTS))
        if (folder / CARD).is_file():
            network.card = (folder / CARD).read_text("utf-8", "replace")
        return network.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        self.config.write(save_directory / CONFIG)
        write_weights(save_directory / WEIGHTS, self.net)

    def generate_model_card(self, *args, **kwargs) -> ModelCard:
        """The card that came with the weights."""
        return ModelCard(self.card, ignore_metadata_errors=True)
