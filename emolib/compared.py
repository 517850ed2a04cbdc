"""Which systems stand beside maiafa in Table 9 and the matched table, and with which settings."""

from pathlib import Path

from .profiles import PROFILES
from .spec import RunSpec
from .systems import BACKBONES, COMPARED, COMPARISONS, OWN_TOWER, PUBLISHED, UNPUBLISHED

# What is known of how a system was trained by its authors; the model cards say where from.
RECIPES = {
    "ar": {"epochs": 35, "lr": 1e-4, "lr_step": 7, "head_lr": 10.0, "weight_decay": 5e-4},
    "wscnet": {
        "image_size": 448, "crop": "resized", "epochs": 25, "batch_size": 10, "lr": 1e-4,
        "lr_step": 7, "weight_decay": 0.0,
    },
    "rao2020": {  # its first stage's; the step of the rate had no effect there
        "crop": "resized", "epochs": 150, "batch_size": 16, "lr": 1e-4, "lr_step": 150,
        "head_lr": 10.0, "optimizer": "adam", "weight_decay": 1e-4,
    },
    "clip_finetune": {
        "epochs": 25, "lr": 1e-6, "head_lr": 1000.0, "optimizer": "adamw", "weight_decay": 1e-5,
    },
}  # fmt: skip


def rivals(study, systems: str = "", comparisons: str = "") -> list[RunSpec]:
    """The runs of Table 9's other systems and of the matched table in a `study.Study`.

    systems: comma-separated names of `create_model`, trained on every set of the study; "": the
    profile's, less those whose backbone has no file where `weights` is a folder. comparisons:
    "published" (each on its own backbone), "matched" (all on the study's, and that backbone
    alone), or both with a comma; "": the profile's, only "matched" where `weights` is a file.
    Raises ValueError for another.
    """
    profile, specs = PROFILES[study.profile], []
    kinds = _names(comparisons)
    for kind in kinds:
        if kind not in COMPARISONS:
            raise ValueError(
                f"comparisons={comparisons!r}: {kind!r} is none of {', '.join(COMPARISONS)}"
            )
    for dataset in study.datasets:
        folds = range(len(study.open(dataset).folds()))[: profile["rival_folds"]]
        for kind in kinds or _comparisons(study):
            backbone = None if kind == "published" else ""
            for model in _names(systems) or _rows(study, dataset, kind):
                specs += [study.spec(dataset, f, model=model, backbone=backbone) for f in folds]
    return list(dict.fromkeys(specs))


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
    """The profile's systems on one set; in the matched table also the study's backbone alone."""
    matched = kind == "matched"
    if not PROFILES[study.profile]["everywhere"]:
        names = [*PUBLISHED.get(dataset, ()), *(UNPUBLISHED if dataset == "emotionroi" else ())]
        return [n for n in names if n not in OWN_TOWER or _has_weights(study, n)]
    if matched:
        names = [study.backbone, *COMPARED]
        return [n for n in names if n not in (*OWN_TOWER, "resnet101")]
    if study.weights:
        return [n for n in COMPARED if _has_weights(study, n)]
    return list(COMPARED)


def _comparisons(study) -> tuple[str, ...]:
    """The profile's; one file of weights is the study's backbone's, so that there is no other."""
    if study.weights and not Path(study.weights).is_dir():
        return ("matched",)
    return PROFILES[study.profile]["comparisons"]


def _has_weights(study, model: str) -> bool:
    """Whether the folder `weights` has the file of a system's own backbone, if it has one."""
    backbone = BACKBONES.get(model, model)
    if model == "frozen_probe":
        backbone = study.backbone
    return backbone is None or (Path(study.weights or "?") / f"{backbone}.safetensors").is_file()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
