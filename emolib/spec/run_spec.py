"""What a run is: the open readings of the paper, and RunSpec, the settings of one training."""

import hashlib
import json
import typing
from dataclasses import asdict, dataclass, field, fields, replace

from . import recipe
from .sets import DATASETS, SETS, EmotionSet
from .systems import SYSTEMS, System, system_of
from .values import checked, members

STARTS = ("imagenet", "scratch")
TaskName = typing.Literal["polarity", "emotion", "distribution", "multilabel", "valence"]
# the same along a chain, whose trainings are of one network
NETWORK = ("dataset", "model", "backbone", "mai", "afa", "width", "init")
# matters of the chain's last training alone, as its earlier ones have them
OF_THE_TARGET: dict[str, typing.Any] = {"fold": 0, "grouped": False, "official": True, "share": 1.0}
OF_THE_TARGET |= {"task": "polarity", "least_votes": 0.2, "split": "folds"}
# of the systems whose record names them
ARCHITECTURE = ("mai", "afa", "readings", "width", "dropout")
# of the systems that the loop trains
TRAINING: tuple[str, ...] = ("crop", "epochs", "batch_size", "lr", "schedule", "lr_step", "head_lr")
TRAINING += ("momentum", "optimizer", "weight_decay", "freeze", "head_epochs", "views")
TRAINING += ("layer_decay", "freeze_bn", "precision", "deterministic")
# a stranger's spec.json may ask for anything
LARGEST = {"width": 8192, "image_size": 4096, "views": 64}
PLAIN_NAMES = str.maketrans("/:@ ", "____")


def _open(default, why: str):
    """A reading: its default and the sentence of the paper that leaves it open."""
    return field(default=default, metadata={"why": why})


@dataclass(frozen=True)
class Readings:
    """The points where the paper contradicts itself or is silent; the first value is the default.

    Raises ValueError for a value that is not listed.
    """

    levels: typing.Literal["branches", "increased"] = _open(
        "branches",
        "§3.2 “HRNetV2-w48 networks as the backbone”: its four outputs, or those after its "
        "ImageNet head's channel-increase blocks (1024…128 channels)?",
    )
    attention: typing.Literal["spatial", "shuffle"] = _open(
        "spatial", "Eq. 1 and 3 are CBAM's spatial gate; the text and Fig. 2 say Shuffle Attention."
    )
    gate: typing.Literal["original", "fused"] = _open(
        "original",
        "Eq. 4 multiplies A_m with C_m; the text of §3.2 says “A2 is multiplied with O2”.",
    )
    psi: typing.Literal["raw", "softmax", "sigmoid"] = _open(
        "raw", "Eq. 6 has no normalisation; “adaptive aggregated weights” are often normalised."
    )
    without_afa: typing.Literal["gated", "region"] = _open(
        "gated",
        "Table 7's third column classifies “directly using the high resolution emotional region "
        "features”: ECA(O4), or D⊗F without the residual?",
    )

    def __post_init__(self):
        for f in fields(self):
            checked("readings." + f.name, getattr(self, f.name), f.type)


@dataclass(frozen=True)
class RunSpec:
    """One training and its test. Defaults are Table 6; None means "the paper's for this set".

    Immutable and checked on creation: ValueError names the field and what it may be.
    """

    dataset: str
    model: str = "maiafa"
    backbone: str | None = None  # None: the system's own, `systems.System`
    fold: int = 0
    # a chain, right to left: "imagenet", "scratch", "fi:imagenet", …; None becomes the paper's
    init: str = None  # type: ignore[assignment]
    seed: int = 0
    split_seed: int = 0  # apart from seed, so that repeated seeds keep the folds
    grouped: bool = False  # near-twins on one side of every fold, in place of the paper's folds
    official: bool = True  # False: five random folds also where the set brings its own
    apart: tuple = ()  # sets whose pictures' near-twins are left out of training and validation
    share: float = 1.0  # of the fold's training pictures that are used
    agree: typing.Literal[3, 4, 5] = 3  # Twitter I: how many of five annotators agreed
    labels: typing.Literal["keyword", "valence"] = "keyword"  # EmotionROI: whose polarity
    split: typing.Literal["folds", "usual"] = "folds"  # "usual": the single one that a set brings
    task: TaskName = "polarity"  # what is learnt, one of `data.tasks.TASKS`
    least_votes: float = 0.2  # multilabel: the share of votes from which an emotion is there
    mai: bool = True
    afa: bool = True
    readings: Readings = field(default_factory=Readings)
    width: int = 512  # channels of C1..C4 (4 × 512 = §3.4's 2048)
    detector: typing.Literal[
        "opencv", "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"
    ] = "opencv"  # who finds the boxes that some rivals look at
    image_size: int = 224  # px; not stated in the paper
    crop: typing.Literal["random", "resized"] = "random"
    cache: typing.Literal["packed", "off"] = "packed"  # decoded once, or anew in each epoch
    epochs: int = 90
    batch_size: int = 32
    lr: float | None = None  # None: 0.001 on FI, 0.0001 on the small sets
    schedule: typing.Literal["step", "cosine"] = "step"  # `schedules`
    lr_step: int | None = None  # None: a third of the epochs; then the rate is divided by 10
    head_lr: float = 1.0  # the rate of everything but the backbone, as a multiple of lr
    optimizer: typing.Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-3
    dropout: float = 0.5
    precision: typing.Literal["float32", "bf16"] = "float32"  # the backbone's; the head: float32
    freeze: typing.Literal["", "backbone"] = ""  # what learns nothing
    head_epochs: int = 0  # of the head alone, on the frozen backbone, before everything learns
    views: int = 6  # of each picture that a frozen backbone sees: the centre and random crops
    layer_decay: float = 1.0  # of the rate, from each of the backbone's layers to the one below
    freeze_bn: bool = False  # the backbone's running statistics frozen, affine weights trained
    deterministic: bool | None = None  # the same bits from every run; None: on CPUs, not on GPUs
    pretrain: tuple = ()  # settings of the chain's earlier trainings: (("fi.epochs", 3), …)

    def __post_init__(self):
        checked("dataset", self.dataset, typing.Literal[DATASETS])
        system, of_set = system_of(self.model), SETS[self.dataset]
        if isinstance(self.readings, dict):
            self._put(readings=Readings(**self.readings))
        init = of_set.init if self.init is None else checked("init", self.init, str)
        self._put(init=_whole_chain(init))
        if self.dataset in self.stages:
            raise ValueError(f"init={self.init!r}: {self.dataset} cannot be pre-trained on itself")
        if system.backbone in (None, self.model) and self.backbone not in (None, self.model):
            what = "is its own backbone" if system.backbone else "has no backbone"
            raise ValueError(f"backbone={self.backbone!r}: model {self.model!r} {what}")
        self._put(backbone=self.backbone or system.backbone)
        self._forget_what_does_not_apply(system, of_set)
        self._put(lr=of_set.lr if self.lr is None else self.lr)
        if self.lr_step is None:
            self._put(lr_step=max(1, -(-self.epochs // 3)) if isinstance(self.epochs, int) else 1)
        if isinstance(self.apart, (list, tuple)):
            self._put(apart=tuple(sorted({*self.apart})))
        pretrain = self.pretrain.items() if isinstance(self.pretrain, dict) else self.pretrain
        self._put(pretrain=tuple(sorted((str(k), v) for k, v in pretrain)))
        for f in fields(self):
            self._put(**{f.name: checked(f.name, getattr(self, f.name), f.type)})
        self._check_ranges()
        self.predecessor()  # raises for a wrong name or value in pretrain

    def _put(self, **values) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _forget_what_does_not_apply(self, system: System, of_set: EmotionSet) -> None:
        """Sets what the system or the set does not have to the defaults, so that equal runs have
        equal names."""
        names = [n for n in ARCHITECTURE if n not in system.settings]
        names += [] if system.boxes else ["detector"]
        names += TRAINING if system.fitted else ()
        names += ["least_votes"] if self.task != "multilabel" else []
        names += ["views"] if not (self.freeze or self.head_epochs) else []
        names += ["freeze_bn", "precision", "head_epochs", "layer_decay"] if self.freeze else []
        names += ["head_lr"] if self.layer_decay != 1 else []
        names += ["lr_step"] if self.schedule == "cosine" else []
        names += {name for one in SETS.values() for name in one.options} - {*of_set.options}
        if self.grouped or not of_set.brings_folds:
            names += ["official"]
        default = {f.name: f.default for f in fields(self)} | {"readings": Readings()}
        self._put(**{name: default[name] for name in names})
        *stages, start = self.init.split(":")
        if system.fitted:
            self._put(epochs=1)
        if system.before == "nobody":
            self._put(pretrain=())
            stages = []
        self._put(init=":".join([*stages, start if self.backbone else "scratch"]))

    def _check_ranges(self) -> None:
        for name in (*LARGEST, "epochs", "batch_size", "lr_step", "lr", "head_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be above 0")
        if self.head_epochs < 0:
            raise ValueError(f"head_epochs={self.head_epochs!r}: must be 0 or more")
        if (self.freeze or self.head_epochs) and not system_of(self.model).can_freeze:
            can = ", ".join(name for name, one in SYSTEMS.items() if one.can_freeze)
            raise ValueError(
                f"freeze={self.freeze!r}, head_epochs={self.head_epochs}: model {self.model!r} "
                "learns from more than its backbone's maps; those that can be trained so are "
                f"{can}, and freeze='' with head_epochs=0 trains everything"
            )
        if self.task != "polarity" and not system_of(self.model).any_task:
            can = ", ".join(name for name, one in SYSTEMS.items() if one.any_task)
            raise ValueError(
                f"task={self.task!r}: model {self.model!r} learns polarity alone; those that learn "
                f"this are {can} and timm's own models"
            )
        for name in ("share", "layer_decay", "least_votes"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be above 0 and at most 1")
        for name in self.apart:
            if name not in DATASETS or name == self.dataset:
                others = ", ".join(d for d in DATASETS if d != self.dataset)
                raise ValueError(f"apart={self.apart!r}: {name!r} is none of {others}")
        for name, most in LARGEST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be at most {most}")
        for key, _ in self.pretrain:
            if key.partition(".")[0] not in self.stages:
                raise ValueError(f"{key}: init={self.init!r} has no training on that set")

    @property
    def data_options(self) -> dict:
        """What `open_dataset` is told besides name and folder."""
        names = ("agree", "labels", "split", "task", "least_votes")
        return {name: getattr(self, name) for name in names}

    @property
    def stages(self) -> list[str]:
        """The sets trained on before this one, nearest first."""
        return self.init.split(":")[:-1]

    @property
    def start(self) -> str:
        """What the first training of the chain starts from: "imagenet" or "scratch"."""
        return self.init.rpartition(":")[2]

    def predecessor(self) -> "RunSpec | None":
        """The training this one starts from: the same network on the chain's next set. A frozen
        probe starts from its backbone's own training there.

        It inherits this one's settings, but for OF_THE_TARGET, the learning rate (Table 6's for
        that set) and the rate's step. Then it takes what `pretrain` says. Where this one is
        `grouped`, near-twins of its set's pictures are left out all along the chain (`apart`). That
        is so for the whole set's pictures, so that all its folds share one chain.
        """
        if not self.stages:
            return None
        dataset, _, init = self.init.partition(":")
        mine = {k.partition(".")[2]: v for k, v in self.pretrain if k.startswith(dataset + ".")}
        for name in mine:
            field_type(name)
            if name.startswith("readings.") or name in NETWORK:
                raise ValueError(f"{dataset}.{name}: the pre-training trains the same network")
        changes = OF_THE_TARGET | {"lr": None, "lr_step": None, "dataset": dataset, "init": init}
        if self.grouped:
            changes["apart"] = (*self.apart, self.dataset)
        if system_of(self.model).before == "its backbone":
            changes |= {"model": self.backbone, "epochs": 90}
        rest = tuple(p for p in self.pretrain if not p[0].startswith(dataset + "."))
        return replace(self, **changes | {"pretrain": rest} | mine)

    @property
    def phases(self) -> list["RunSpec"]:
        """The parts of the training, one after the other: the head alone by the recipe's settings,
        where there are `head_epochs`, and everything."""
        if not self.head_epochs:
            return [self]
        alone = {"freeze": "backbone", "epochs": self.head_epochs, "head_lr": 1.0}
        head = replace(self, **recipe.SETTINGS["backbone"] | alone)
        return [head, replace(self, head_epochs=0)]

    @property
    def step(self) -> "RunSpec":
        """Equal for runs whose training steps take the same time and memory."""
        same = OF_THE_TARGET | dict(dataset="fi", init="scratch", pretrain=(), apart=(), lr=1.0)
        return replace(self, **same, seed=0, split_seed=0, epochs=1, head_epochs=0, lr_step=1)

    def to_dict(self) -> dict:
        """Plain values, as in spec.json."""
        return asdict(self) | {"pretrain": dict(self.pretrain), "apart": list(self.apart)}

    @classmethod
    def from_dict(cls, values: dict) -> "RunSpec":
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}")
        return cls(**values)

    @property
    def method(self) -> str:
        """The row of Table 7 (and 9) that this run belongs to."""
        if self.model != "maiafa":
            return self.model
        without = [part for part in ("mai", "afa") if not getattr(self, part)]
        if len(without) == 2:
            return "without_both"
        return f"without_{without[0]}" if without else "normal"

    @property
    def id(self) -> str:
        """Readable, unique and the same on any machine: names, fold, seed and a hash.

        The hash covers the settings that differ from the defaults, so that a field added later
        leaves the names of earlier runs as they are.
        """
        default = RunSpec(self.dataset, model=self.model).to_dict()
        changed = {k: v for k, v in self.to_dict().items() if v != default[k]}
        text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        plain = self.backbone in (None, self.model)
        name = self.model if plain else f"{self.model}-{self.backbone}"
        variant = "" if self.method in (self.model, "normal") else "-" + self.method
        stem = f"{self.dataset}-{name}{variant}-{'-'.join(self.stages) or self.init}"
        return f"{stem}-fold{self.fold}-seed{self.seed}-{digest}".translate(PLAIN_NAMES)


def _whole_chain(init: str) -> str:
    """The chain with its start: "fi" is "fi:imagenet". ValueError where it names anything but sets
    and, last, what to start from."""
    init = init if init.rpartition(":")[2] in STARTS else init + ":imagenet"
    check_init(init)
    return init


def check_init(init: str) -> None:
    """ValueError where the chain names anything but the sets and, last, what to start from."""
    *stages, last = init.split(":")
    wrong = [s for s in stages if s not in DATASETS] + [last] * (last not in DATASETS + STARTS)
    if wrong:
        raise ValueError(
            f"init={init!r}: {wrong[0]!r} is none of {', '.join(DATASETS + STARTS)}; "
            "a chain reads 'fi:imagenet'"
        )


def field_type(name: str):
    """The type of a RunSpec field ("epochs") or reading ("readings.gate"); ValueError if none."""
    no_text = ("readings", "pretrain", "apart")
    types_ = {f.name: f.type for f in fields(RunSpec) if f.name not in no_text}
    types_ |= {f"readings.{f.name}": f.type for f in fields(Readings)}
    if name not in types_:
        raise ValueError(f"unknown setting {name!r}; there are {', '.join(types_)}")
    return types_[name]


def parse(name: str, text: str):
    """The value of setting `name` written as text ("true", "0.003", "fused")."""
    allowed = members(field_type(name))
    if text.lower() in ("true", "false") and bool in allowed:
        return text.lower() == "true"
    for member in allowed:
        for value in typing.get_args(member):
            if str(value) == text:
                return value
    for kind in (int, float):
        if kind in allowed:
            try:
                return kind(text)
            except ValueError:
                continue
    return checked(name, text, field_type(name))
