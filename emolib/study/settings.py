"""The two profiles, the variants of Table 7, and overrides: settings on their way to a RunSpec."""

from ..spec.run_spec import DATASETS, Readings, RunSpec, parse

# Settings of each profile, by RunSpec's names: those of every run, and those of one set alone.
# "paper" is Table 6, RunSpec's own defaults. "demo" is small enough for two CPU cores.
PROFILES = {
    "paper": {
        "all": {},
        "fi": {"init": "imagenet"},
        "small": {"init": "fi:imagenet"},
        "rivals": {},
        "rival_folds": None,  # all
        "everywhere": True,  # in a matched table every system on every set
        "comparisons": ("published",),  # Table 9's rows; the matched table is many runs more
        "networks": 0,
    },
    "demo": {
        "all": {"backbone": "hrnet_w18_small", "image_size": 64},
        "fi": {"init": "scratch", "epochs": 10, "lr": 0.02, "lr_step": 8},
        # As in Table 6, a tenth of FI's rate. Batch norm's statistics are FI's: 160 pictures in
        # another style would pull them, and D with them, away before the weights follow.
        "small": {"init": "fi:scratch", "epochs": 3, "lr": 0.002, "lr_step": 3, "freeze_bn": True},
        # Twelve systems more, so that each gets three epochs and two folds; on the small backbone,
        # because a ResNet-101 costs as much as ten of it; at a quarter of the rate, because wscnet
        # from random weights overflows at half of it.
        "rivals": {"fi": {"epochs": 3, "lr": 0.005}, "small": {}},
        "rival_folds": 2,
        "everywhere": False,  # on the sets that the paper has a number for; the rest on EmotionROI
        "comparisons": ("matched",),
        "networks": 4,
    },
}
# What may differ between the trainings of one chain; the rest belongs to the network they share.
PROTOCOL = (
    "image_size",
    "crop",
    "epochs",
    "batch_size",
    "lr",
    "lr_step",
    "head_lr",
    "momentum",
    "optimizer",
    "weight_decay",
    "dropout",
    "freeze_bn",
    "precision",
)
LABELLING = ("agree", "labels")  # each a matter of one set, in whatever place of a chain
SET_ELSEWHERE = {
    "dataset": "the parameter datasets",
    "backbone": "the parameter backbone",
    "model": "the notebook",
    "fold": "the notebook",
}
VARIANTS = {
    "normal": {},
    "without_mai": {"mai": False},
    "without_afa": {"afa": False},
    "without_both": {"mai": False, "afa": False},
}


def with_changes(settings: dict, changes: dict) -> dict:
    """Settings with changes; other epochs bring back the step that follows from them, a third."""
    if "epochs" in changes:
        settings = {k: v for k, v in settings.items() if k != "lr_step"}
    return settings | changes


def make_spec(dataset: str, fold: int, settings: dict) -> RunSpec:
    """A RunSpec from flat settings, "readings.gate" among them."""
    readings = {k.partition(".")[2]: v for k, v in settings.items() if k.startswith("readings.")}
    plain = {k: v for k, v in settings.items() if not k.startswith("readings.")}
    return RunSpec(dataset, fold=fold, readings=Readings(**readings), **plain)


def parse_overrides(text: str) -> dict:
    """ "epochs=3,readings.gate=fused,fi.epochs=3" → {name: value}; ValueError for what is wrong."""
    values = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not value:
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
