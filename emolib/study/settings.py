"""From a study's parameters to the specs of its runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from ..data.datasets import Dataset, open_dataset
from ..spec import recipe
from ..spec.run_spec import DATASETS, OF_THE_TARGET, TRAINING, Readings, RunSpec, parse
from ..spec.sets import FINE_TUNED, SETS, SMALL
from ..spec.systems import system_of


@dataclass(frozen=True)
class Profile:
    """What a study's runs are like unless overrides say otherwise; settings by RunSpec's names."""

    backbone: str = "hrnet_w48"
    by_freeze: dict[str, dict] = field(default_factory=dict)  # what follows from RunSpec's `freeze`
    every_run: dict = field(default_factory=dict)
    pre_training: dict = field(default_factory=dict)  # on FI and others with one split
    fine_tuning: dict = field(default_factory=dict)  # on every other set
    # how many epochs follow from so many training pictures and the batch size; None: RunSpec's
    epochs: Callable[[int, int], int] | None = None
    # those of a comparison's systems that are trained, beside the backbone alone; (): all
    systems: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ("published",)
    networks: int = 0  # from other seeds, to measure D on


PROFILES = {
    # Table 6, RunSpec's own defaults. The matched table is many runs more.
    "paper": Profile(pre_training={"init": "imagenet"}, fine_tuning={"init": "fi:imagenet"}),
    # For accuracy rather than for the paper: heads on a frozen backbone, minutes on a CPU.
    "best": Profile(
        backbone=recipe.BACKBONE,
        by_freeze=recipe.SETTINGS,
        every_run={"freeze": "backbone", "init": "imagenet"},
        epochs=recipe.epochs,
        comparisons=("matched",),
    ),
    # Small enough for two CPU cores.
    "demo": Profile(
        backbone="hrnet_w18_small",
        every_run={"image_size": 64},
        pre_training={"init": "scratch", "epochs": 8, "lr": 0.03, "schedule": "cosine"},
        # A small part of FI's rate, as in Table 6. Batch norm's statistics are FI's: 160 pictures
        # in another style would pull them, and D with them, away before the weights follow.
        fine_tuning={
            "init": "fi:scratch",
            "epochs": 2,
            "lr": 0.002,
            "lr_step": 2,
            "freeze_bn": True,
        },
        # At maiafa's own budget. Those with boxes, towers or stages of their own take too long.
        systems=("frozen_probe", "mcpnet"),
        comparisons=("matched",),
        networks=2,
    ),
}
# What may differ between the trainings of one chain; the rest belongs to the network they share.
PROTOCOL = ("image_size", *(name for name in TRAINING if name != "deterministic"))
# each a matter of one set, in whatever place of a chain
LABELLING = tuple(dict.fromkeys(name for one in SETS.values() for name in one.options))
SET_ELSEWHERE = {
    "dataset": "the parameter datasets",
    "backbone": "the parameter backbone",
    "model": "the notebook",
    "task": "notebook 10",
    "fold": "the notebook",
}
VARIANTS: dict[str, dict] = {
    "normal": {},
    "without_mai": {"mai": False},
    "without_afa": {"afa": False},
    "without_both": {"mai": False, "afa": False},
}


@dataclass(frozen=True)
class Settings:
    """A study's parameters, checked. Every run of the study follows from them."""

    profile: str
    data_root: Path
    there: tuple[str, ...]  # the sets that data_root holds
    datasets: tuple[str, ...]  # those of the study
    backbone: str
    weights: str  # a file of the backbone's weights, a folder of every backbone's, or ""
    overrides: dict

    def only(self, *datasets: str) -> Self:
        """The same study on some of its sets. Raises ValueError for one it does not hold."""
        for name in datasets:
            if name not in self.datasets:
                raise ValueError(
                    f"this notebook needs {name}; the study has {', '.join(self.datasets)} "
                    "(parameters data_root and datasets)"
                )
        return replace(self, datasets=datasets)

    @property
    def small(self) -> list[str]:
        """The sets that are fine-tuned on."""
        return [name for name in self.datasets if name in FINE_TUNED]

    @property
    def absent(self) -> list[str]:
        """Sets that the profile's chains begin on and `data_root` does not hold.

        The runs start without them. None where `overrides` choose the chain.
        """
        if "init" in self.overrides:
            return []
        stages = [s for d in self.datasets for s in self._profile(d)["init"].split(":")[:-1]]
        return [s for s in dict.fromkeys(stages) if s not in self.there]

    @property
    def first(self) -> list[str]:
        """The sets that chains of the study begin on."""
        stages = [s for d in self.datasets for s in self._init(d).split(":")]
        return [s for s in dict.fromkeys(stages) if s in DATASETS]

    @property
    def weights_folder(self) -> Path | None:
        """The folder that holds every backbone's weights; None where `weights` is no folder."""
        return Path(self.weights) if self.weights and Path(self.weights).is_dir() else None

    def open(self, dataset: str) -> Dataset:
        """The set, labelled as `overrides` say."""
        chosen = {k: self.overrides[k] for k in LABELLING if k in self.overrides}
        return open_dataset(dataset, self.data_root, **RunSpec(dataset, **chosen).data_options)

    def folds(self, dataset: str) -> range:
        """The numbers of the set's folds."""
        return range(len(self.open(dataset).folds()))

    def spec(
        self,
        dataset: str,
        fold: int = 0,
        variant: str = "normal",
        model: str = "maiafa",
        backbone: str | None = "",
        **changes,
    ) -> RunSpec:
        """The run of a variant of Table 7, or of another system, on one fold.

        Its settings are the profile's. General overrides (`epochs=3`) replace them, then those of
        the set (`fi.epochs=3`), then `changes`. backbone: of another system; "" is the study's,
        None its own.

        Where other sets of the study are pre-trained on this one, general overrides of the
        protocol do not count: this run is the very one that the others start from.
        """
        general = self._general_overrides()
        if dataset in self.first:
            general = {k: v for k, v in general.items() if k not in (*PROTOCOL, "grouped")}
        settings = self._settings(dataset, model, general) | VARIANTS[variant]
        settings |= {"model": model, "backbone": self._backbone_of(model, backbone)}
        settings |= {"init": self._init(dataset, model)} | changes
        spec = make_spec(dataset, fold, settings)
        return replace(spec, pretrain=self._pretrain(spec))

    def specs(self, variant: str = "normal", datasets=None, **changes) -> list[RunSpec]:
        """`spec` for every fold of every set of the study, or of `datasets`."""
        return [
            self.spec(dataset, fold, variant, **changes)
            for dataset in (self.datasets if datasets is None else datasets)
            for fold in self.folds(dataset)
        ]

    def pretraining(self) -> list[RunSpec]:
        """Notebook 02's run. None where every set of the study is fine-tuned on."""
        first = tuple(name for name in self.datasets if name not in FINE_TUNED)
        return replace(self, datasets=first).specs()

    def ablations(self) -> list[RunSpec]:
        """Table 7's runs."""
        return [spec for variant in VARIANTS for spec in self.specs(variant)]

    def without_transfer(self) -> list[RunSpec]:
        """Table 8's second rows: the small sets' runs without their set-to-set stage."""
        small = self.specs(datasets=self.small)
        return [alone(spec) for spec in small]

    def _profile(self, dataset: str) -> dict:
        """The profile's settings on a set."""
        profile = PROFILES[self.profile]
        if dataset in FINE_TUNED:
            return profile.every_run | profile.fine_tuning
        return profile.every_run | profile.pre_training

    def _settings(self, dataset: str, model: str, general: dict) -> dict:
        """The profile's settings, then `general` overrides, then those of the set."""
        own = {
            key.partition(".")[2]: value
            for key, value in self.overrides.items()
            if key.partition(".")[0] == dataset
        }
        changed = with_changes(with_changes(self._profile(dataset), general), own)
        if not system_of(model).can_freeze:
            changed["freeze"] = ""  # `rivals` says so
        settings = PROFILES[self.profile].by_freeze.get(changed.get("freeze", ""), {}) | changed
        if "epochs" not in settings and (epochs := PROFILES[self.profile].epochs):
            trained, _ = self.open(dataset).folds()[0]
            size = settings.get("batch_size", RunSpec.batch_size)
            share = settings.get("share", 1.0)
            share = share if 0 < share <= 1 else 1.0  # RunSpec says what is wrong
            settings["epochs"] = epochs(max(1, round(share * len(trained))), size)
        return settings

    def _general_overrides(self) -> dict:
        """The overrides that do not begin with a set's name."""
        return {k: v for k, v in self.overrides.items() if k.partition(".")[0] not in DATASETS}

    def _backbone_of(self, model: str, chosen: str | None) -> str | None:
        """A system's backbone; None: its own."""
        system = system_of(model)
        study_s = chosen == "" and system.takes == "either" and system.backbone is not None
        return self.backbone if study_s or system.takes == "the study's" else chosen or None

    def _init(self, dataset: str, model: str = "maiafa") -> str:
        """The set's chain: the override, or the profile's on the sets that are `there`.

        Of a chain that holds the set itself, what comes after it. A system that needs a weak set
        and finds none in the chain starts from the other small set.
        """
        stages = str(self.overrides.get("init", self._profile(dataset)["init"])).split(":")
        if "init" not in self.overrides:
            stages = [s for s in stages if s not in DATASETS or s in self.there]
        if dataset in stages:
            stages = stages[stages.index(dataset) + 1 :] or ["imagenet"]
        if brings_tower(model):  # it is not there to be trained from random weights
            stages = [*stages[:-1], "imagenet"]
        if system_of(model).weak_set and dataset in SMALL and not set(stages) & set(DATASETS):
            stages = [d for d in SMALL if d != dataset and d in self.there] + stages
        return ":".join(stages)

    def _pretrain(self, spec: RunSpec) -> tuple:
        """What the chain's earlier trainings change of what they inherit from `spec`."""
        general = self._general_overrides()
        labelling = {k: v for k, v in general.items() if k in LABELLING and k not in OF_THE_TARGET}
        protocol = {k: v for k, v in general.items() if k in PROTOCOL}
        found: dict = {}
        later = spec
        while inherited := later.predecessor():
            stage = inherited.dataset
            # a weak set is trained on as the set itself is
            weak = system_of(spec.model).weak_set and stage in SMALL
            settings = self._settings(stage, spec.model, labelling | (protocol if weak else {}))
            target = make_spec(stage, 0, settings | {"init": "scratch"})
            changed = {
                k: getattr(target, k)
                for k in PROTOCOL + LABELLING
                if getattr(target, k) != getattr(inherited, k)
            }
            found |= {f"{stage}.{k}": v for k, v in changed.items()}
            later = replace(inherited, **changed)
        return tuple(found.items())


def brings_tower(model: str) -> bool:
    """Whether a system of `network/rivals` stands on pre-trained weights of its own alone (CLIP's
    image tower)."""
    system = system_of(model)
    return bool(system.made_by) and system.takes == "its own"


def with_changes(settings: dict, changes: dict) -> dict:
    """Settings with changes. Other epochs bring back the step that follows from them, a third."""
    if "epochs" in changes:
        settings = {k: v for k, v in settings.items() if k != "lr_step"}
    return settings | changes


def make_spec(dataset: str, fold: int, settings: dict) -> RunSpec:
    """A RunSpec from flat settings, "readings.gate" among them."""
    readings = {k.partition(".")[2]: v for k, v in settings.items() if k.startswith("readings.")}
    others = {k: v for k, v in settings.items() if not k.startswith("readings.")}
    return RunSpec(dataset, fold=fold, readings=Readings(**readings), **others)


def parse_overrides(text: str) -> dict:
    """ "epochs=3,readings.gate=fused,fi.epochs=3" → {name: value}; ValueError for what is wrong."""
    values = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not (value or key.endswith("freeze")):  # "freeze=": nothing is frozen
            raise ValueError(f"overrides: {item!r} is not of the form key=value")
        if key in values:
            raise ValueError(f"overrides: {key} is given twice")
        stage, _, name = key.partition(".") if key.partition(".")[0] in DATASETS else ("", "", key)
        if name in SET_ELSEWHERE:
            raise ValueError(f"overrides: {key} is set by {SET_ELSEWHERE[name]}")
        if stage and name not in PROTOCOL:
            raise ValueError(f"overrides: {key}: of a pre-training only {', '.join(PROTOCOL)}")
        try:
            values[key] = parse(name, value)
        except ValueError as error:
            raise ValueError(f"overrides: {error}") from error
    return values


def alone(spec: RunSpec) -> RunSpec:
    """The same run without the trainings before it."""
    return replace(spec, init=spec.start, pretrain=())
