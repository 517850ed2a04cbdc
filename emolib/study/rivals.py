"""Which systems stand beside maiafa in Table 9 and in the matched table, and which cannot here."""

import itertools
from dataclasses import replace

from ..network import build
from ..spec.run_spec import RunSpec
from ..spec.sets import FINE_TUNED
from ..spec.systems import COMPARED, COMPARISONS, SYSTEMS, published_on, system_of
from ..spec.values import named
from .settings import PROFILES, Settings

# what authors' settings are where they do not say otherwise, whatever the study's are
USUAL = {"optimizer": "sgd", "schedule": "step", "freeze": "", "freeze_bn": False}
USUAL |= {"head_epochs": 0, "head_lr": 1.0, "layer_decay": 1.0}


def rival_runs(settings: Settings, systems: str = "", comparisons: str = "") -> dict[RunSpec, str]:
    """The runs of Table 9's other systems and of the matched table, and why each cannot be trained
    here: "" where it can. A run cannot where `weights` is a folder without its backbone's file,
    where its system needs a weak set and none is there, and where backbones are frozen and it needs
    more than their maps.

    systems: comma-separated names of `create_model`, trained on every set of the study, whatever
    speaks against it. "": the profile's.
    comparisons: "published" (Table 9's rows, each on its own backbone), "matched" (all on the
    study's, and that backbone alone), or both with a comma. "": the profile's. Raises ValueError
    for another.
    """
    profile, found = PROFILES[settings.profile], {}
    kinds = named("comparisons", comparisons, COMPARISONS) or profile.comparisons
    for dataset in settings.datasets:
        for kind in kinds:
            backbone = None if kind == "published" else ""
            models = named("systems", systems) or _rows(settings, dataset, kind)
            for model, fold in itertools.product(models, settings.folds(dataset)):
                spec = settings.spec(dataset, fold, model=model, backbone=backbone)
                why = _needs_its_backbone(settings, spec)
                if systems and why:
                    raise ValueError(f"systems={systems!r}: {model} cannot be trained here: {why}")
                found[spec] = "" if systems else why or _why_not(settings, spec)
    return found


def left_out(settings: Settings, systems: str = "", comparisons: str = "") -> dict[RunSpec, str]:
    """Those of `rival_runs` that cannot be trained here, and why."""
    return {spec: why for spec, why in rival_runs(settings, systems, comparisons).items() if why}


def cannot_be_fetched(settings: Settings, specs) -> dict[RunSpec, str]:
    """Those of the runs whose ImageNet weights timm cannot download, and why. It is asked for each
    backbone that the study's `weights` does not bring."""
    if settings.weights_folder:
        return {}
    found, tried = {}, {settings.backbone: ""}
    for spec in (s for s in specs if s.start == "imagenet"):
        if spec.backbone not in tried:
            first = spec
            while before := first.predecessor():
                first = before
            try:
                build.build_network(replace(first, fold=0, seed=0))
                tried[spec.backbone] = ""
            except RuntimeError:
                tried[spec.backbone] = f"the weights of {spec.backbone} could not be downloaded"
        if why := tried[spec.backbone]:
            found[spec] = why
    return found


def recipe_specs(settings: Settings, systems: str = "") -> list[RunSpec]:
    """Runs with their authors' settings (`System.recipe`), from ImageNet weights. systems:
    comma-separated names; "": all that have a recipe. Raises ValueError for another."""
    # those with Table 6's optimizer first
    known = [name for name in COMPARED if SYSTEMS[name].recipe]
    known.sort(key=lambda name: SYSTEMS[name].recipe.get("optimizer", ""))
    specs, chosen = [], named("systems", systems, known) or known
    for dataset in settings.datasets:
        for name, fold in itertools.product(chosen, settings.folds(dataset)):
            recipe = USUAL | SYSTEMS[name].recipe | {"model": name, "backbone": None}
            specs.append(settings.spec(dataset, fold, **recipe, init="imagenet"))
    return specs


def _rows(settings: Settings, dataset: str, kind: str) -> list[str]:
    """The profile's systems on one set. In a matched table: of all that stand on the study's
    backbone, and that backbone alone. Else of Table 9's rows."""
    if kind == "matched":
        on_their_own = [name for name in COMPARED if SYSTEMS[name].takes == "its own"]
        rows = [n for n in (settings.backbone, *COMPARED) if n not in on_their_own]
    else:
        rows = list(published_on(dataset))
    chosen = PROFILES[settings.profile].systems
    return [n for n in rows if not chosen or n in (settings.backbone, *chosen)]


def _why_not(settings: Settings, spec: RunSpec) -> str:
    """Why the run cannot be trained here, as far as the disk tells; "" where nothing is."""
    if system_of(spec.model).weak_set and spec.dataset in FINE_TUNED and not spec.stages:
        weak = "a weak set, FI or the other small one, and neither is there"
        return f"{spec.model} starts from {weak}"
    folder, file = settings.weights_folder, f"{spec.backbone}.safetensors"
    if spec.start == "imagenet" and folder and not (folder / file).is_file():
        return f"the folder of weights has no {file}"
    return ""


def _needs_its_backbone(settings: Settings, spec: RunSpec) -> str:
    """Why the run, which would train all of its network, has no place among heads on frozen
    backbones; "" where it trains a head or the study's runs train everything."""
    if spec.freeze or system_of(spec.model).fitted or not settings.spec(spec.dataset).freeze:
        return ""
    return "it needs more than the maps of a frozen backbone"
