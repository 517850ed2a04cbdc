"""Which systems stand beside maiafa in Table 9 and the matched table, and with which settings."""

from dataclasses import replace
from pathlib import Path

from ..base.run_folder import is_complete
from ..network import build
from ..spec.run_spec import RunSpec
from ..spec.systems import BACKBONES, COMPARED, COMPARISONS, OWN_TOWER, PUBLISHED, UNPUBLISHED
from .settings import PROFILES

# What is known of how a system was trained by its authors; the model cards say where from.
RECIPES = {
    "ar": {"epochs": 35, "lr": 1e-4, "lr_step": 7, "head_lr": 10.0, "weight_decay": 5e-4},
    "wscnet": {
        "image_size": 448,
        "crop": "resized",
        "epochs": 25,
        "batch_size": 10,
        "lr": 1e-4,
        "lr_step": 7,
        "weight_decay": 0.0,
    },
    "rao2020": {  # its first stage's; the step of the rate had no effect there
        "crop": "resized",
        "epochs": 150,
        "batch_size": 16,
        "lr": 1e-4,
        "lr_step": 150,
        "head_lr": 10.0,
        "optimizer": "adam",
        "weight_decay": 1e-4,
    },
    "clip_finetune": {
        "epochs": 25,
        "lr": 1e-6,
        "head_lr": 1000.0,
        "optimizer": "adamw",
        "weight_decay": 1e-5,
    },
}


def rival_specs(study, systems: str = "", comparisons: str = "") -> list[RunSpec]:
    """The runs of Table 9's other systems and of the matched table in a `study.Study`.

    systems: comma-separated names of `create_model`, trained on every set of the study; "": the
    profile's, less those that cannot be trained here (`left_out`). comparisons: "published" (Table
    9's rows, each on its own backbone), "matched" (all on the study's, and that backbone alone), or
    both with a comma; "": the profile's. Raises ValueError for another.
    """
    return [spec for spec, why in _wanted(study, systems, comparisons).items() if not why]


def left_out(study, systems: str = "", comparisons: str = "") -> dict[RunSpec, str]:
    """The runs that `rivals` leaves out, and why: where `weights` is a folder without its
    backbone's file; pcnn where it has no weak set. None of those that `systems` names."""
    return {spec: why for spec, why in _wanted(study, systems, comparisons).items() if why}


def cannot_be_fetched(study, specs) -> dict[RunSpec, str]:
    """Those of the runs, not there yet, whose ImageNet weights timm cannot download, and why. Asks
    for the weights of each backbone that the study's `weights` does not bring."""
    found, tried = {}, {study.backbone: ""}
    for spec in specs:
        first = spec
        while first.stages:
            first = first.predecessor()
        there = _in_folder(study) or is_complete(study.folder / "runs" / spec.id)
        if there or first.init != "imagenet":
            continue
        if spec.backbone not in tried:
            try:
                build.build_network(replace(first, fold=0, seed=0))
                tried[spec.backbone] = ""
            except RuntimeError:
                tried[spec.backbone] = f"the weights of {spec.backbone} could not be downloaded"
        found |= {spec: tried[spec.backbone]} if tried[spec.backbone] else {}
    return found


def _wanted(study, systems: str, comparisons: str) -> dict[RunSpec, str]:
    """Every run, and why it cannot be trained here: "" where it can."""
    profile, found = PROFILES[study.profile], {}
    kinds = _names(comparisons)
    for kind in kinds:
        if kind not in COMPARISONS:
            raise ValueError(
                f"comparisons={comparisons!r}: {kind!r} is none of {', '.join(COMPARISONS)}"
            )
    for dataset in study.datasets:
        folds = range(len(study.open(dataset).folds()))[: profile["rival_folds"]]
        for kind in kinds or profile["comparisons"]:
            backbone = None if kind == "published" else ""
            for model in _names(systems) or _rows(study, dataset, kind):
                for fold in folds:
                    spec = study.spec(dataset, fold, model=model, backbone=backbone)
                    found[spec] = "" if systems else _why_not(study, spec)
    return found


def recipes(study, systems: str = "") -> list[RunSpec]:
    """The runs of the systems in RECIPES with their authors' settings, from ImageNet weights."""
    chosen = _names(systems) or list(RECIPES)
    for name in chosen:
        if name not in RECIPES:
            raise ValueError(f"systems={systems!r}: recipes are known of {', '.join(RECIPES)}")
    return [
        study.spec(d, fold, model=name, backbone=None, **RECIPES[name] | {"init": "imagenet"})
        for d in study.datasets
        for name in chosen
        for fold in range(len(study.open(d).folds()))
    ]


def _rows(study, dataset: str, kind: str) -> list[str]:
    """The profile's systems on one set: Table 9's rows, or in a matched table every one and the
    study's backbone alone."""
    everywhere = PROFILES[study.profile]["everywhere"]
    if everywhere and kind == "matched":
        names = [study.backbone, *COMPARED]
        return [n for n in names if n not in (*OWN_TOWER, "resnet101")]
    names = list(PUBLISHED.get(dataset, ()))
    if not everywhere and dataset == "emotionroi":
        names += UNPUBLISHED
    return [n for n in names if n not in OWN_TOWER or _file(study, BACKBONES[n]).is_file()]


def _why_not(study, spec: RunSpec) -> str:
    """Why the run cannot be trained here, as far as the disk tells; "" where nothing is."""
    if spec.model == "pcnn" and spec.dataset != "fi" and not spec.stages:
        return "pcnn starts from a weak set, FI or the other small one, and neither is there"
    from_file = spec.init.endswith("imagenet") and _in_folder(study)
    if from_file and not _file(study, spec.backbone).is_file():
        return f"the folder of weights has no {spec.backbone}.safetensors"
    return ""


def _in_folder(study) -> bool:
    """Whether `weights` is a folder, which holds everybody's; else it is the study's backbone's."""
    return bool(study.weights) and Path(study.weights).is_dir()


def _file(study, backbone: str) -> Path:
    """Of a backbone's weights in the folder `weights`."""
    return Path(study.weights or "?") / f"{backbone}.safetensors"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
