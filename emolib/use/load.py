"""A trained network as a predictor: from a run folder, from the Hugging Face hub or by name."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import timm
import torch

from ..base.devices import pick_device
from ..base.files import read_json
from ..base.run_folder import read_spec
from ..data.tasks import TASKS
from ..network.build import build_network, fitting_weights
from ..spec.run_spec import RunSpec
from .predict import Predictor
from .saved import CARD, CONFIG, WEIGHTS, Config, checked_classes, read_config

BUNDLED = "emolib-lite2"  # comes with the package, in models/
REPOSITORY = re.compile(r"(hf-hub:)?(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?")
NOT_A_RUN = "not a complete run folder, or one whose weights were not kept; run its spec again"


def load(source=None, device: str = "auto", weights="") -> Predictor:
    """The predictor of a trained network.

    source: a complete run's folder; a folder in the Hugging Face layout (`saved`); such a
    repository by name, "owner/name" or "hf-hub:owner/name@revision", where no folder here has that
    name; a network's name in timm, such as "maiafa_hrnet_w48": untrained, with a warning, from
    ImageNet weights where `weights` has them; None: emolib-lite2, which comes with the package and
    is for research only. weights: the folder with its detector's weights.

    A network that learnt drawn pictures is loaded with a warning. Raises FileNotFoundError where
    the folder holds no run, ValueError that names the file where its spec or weights are none.
    """
    there = pick_device(device)
    if source is None:
        source = comes_with_it()
        print(f"No model is named: {BUNDLED}, for research only ({source / CARD} says why)")
    if not isinstance(source, (str, Path)) or not str(source) or Path(source).is_file():
        raise ValueError(
            f"load({str(source)!r}): takes a run folder, a folder in the Hugging Face layout, "
            "'owner/name' or a name such as 'maiafa_resnet50'"
        )
    if isinstance(source, str) and not Path(source).exists():
        backbone = source.removeprefix("maiafa_")
        if backbone != source and timm.is_model(backbone):
            warnings.warn(
                f"{source}: its classifier is untrained, its answers are chance", stacklevel=2
            )
            spec = RunSpec("own", backbone=backbone, init="imagenet" if weights else "scratch")
            return _ready(Config(spec), build_network(spec, str(weights)), there, "")
        if _on_hub(source):
            source = folder_of(source.removeprefix("hf-hub:"))
    predictor = of_folder(Path(source), there, str(weights))
    if predictor.drawn:
        warn_drawn(source)
    return predictor


def warn_drawn(source) -> None:
    """Of a network that learnt drawn pictures; the warning is of who called the caller."""
    words = "it learnt drawn pictures, its answers on photographs mean nothing"
    warnings.warn(f"{source}: {words}", stacklevel=3)


def of_folder(folder: Path, device: torch.device | str = "auto", weights: str = "") -> Predictor:
    """`load` of a folder that is there, without a warning."""
    device = pick_device(device) if isinstance(device, str) else device
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    about, file = folder / "spec.json", folder / WEIGHTS
    if not about.exists() and (folder / CONFIG).exists():
        about = folder / CONFIG
    check_there(folder, about.name, file.name)
    config = read_config(about) if about.name == CONFIG else of_run(folder)
    # its weights come from the file, so the start they were trained from is not needed
    with fitting_weights(file, f"this folder's {about.name}"):
        model = build_network(config.spec, before=file, classes=len(config.classes))
    known = folder / CARD  # a run folder has none
    card = known.read_text("utf-8", "replace") if known.is_file() else ""
    return replace(_ready(config, model, device, weights), card=card)


def comes_with_it() -> Path:
    """The folder of BUNDLED: in the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    places = [home / "models" / BUNDLED for home in (package, package.parent)]
    return next((place for place in places if (place / CONFIG).is_file()), places[0])


def of_run(folder: Path) -> Config:
    """What a run folder says of its network."""
    about = folder / "environment.json"
    facts, spec = read_json(about) if about.is_file() else {}, read_spec(folder / "spec.json")
    drawn = bool(facts.get("data", {}).get("demo"))
    said = facts.get("classes", list(TASKS[spec.task].fixed))
    return Config(spec, drawn=drawn, classes=checked_classes(about, spec, said))


def _ready(config: Config, model: torch.nn.Module, device: torch.device, weights: str) -> Predictor:
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    how = config.temperature, config.drawn, config.classes
    return Predictor(config.spec, model.eval(), device, weights, *how)


def _on_hub(source: str) -> bool:
    """Whether it names a repository: no folder here has the owner's name, or it says "hf-hub:"."""
    found = REPOSITORY.fullmatch(source)
    return found is not None and (bool(found[1]) or not Path(found[2]).parent.exists())


def folder_of(name, revision: str | None = None, **download) -> Path:
    """The folder `name` or, downloaded into huggingface_hub's cache, the repository "owner/name"
    ("hf-hub:owner/name@revision"). download: token, cache_dir, force_download, local_files_only.

    Raises FileNotFoundError where there is neither, and where the hub cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    found = REPOSITORY.fullmatch(str(name))
    if not found:
        raise FileNotFoundError(
            f"{str(name)!r}: there is no such folder, and it is no Hugging Face name (owner/name)"
        )
    try:
        from huggingface_hub import snapshot_download  # not where a folder is loaded

        files = [CONFIG, WEIGHTS, CARD]
        revision = revision or found[3]
        return Path(
            snapshot_download(found[2], revision=revision, allow_patterns=files, **download)
        )
    except Exception as error:  # the client and what it is built on have many kinds
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        raise FileNotFoundError(
            f"{str(name)!r}: there is no such folder, and the Hugging Face hub does not give it "
            f"({type(error).__name__}: {reason}). Without a network, copy the folder here"
        ) from error


def check_there(folder: Path, *names: str, why: str = NOT_A_RUN) -> None:
    """FileNotFoundError where a folder has not all these files."""
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: {why}")
