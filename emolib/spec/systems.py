"""A record for each system: its backbone, its kind, where the paper has a number for it.

A new rival is one file in `network/rivals/` and one record here. A timm model used whole needs no
record: `system_of("resnet50")` makes one.
"""

from dataclasses import dataclass, field
from typing import Literal

CLIP = "vit_base_patch16_clip_224.openai"


@dataclass(frozen=True)
class System:
    """What the protocol needs to know of a system before its network is made."""

    made_by: str = ""  # "file.Class" in network/rivals; "": our network, or a timm model used whole
    backbone: str | None = None  # its own, a timm model; None: it has none
    # whose backbone it takes in a study: both in turn, always the study's, always its own
    takes: Literal["either", "the study's", "its own"] = "either"
    settings: tuple[str, ...] = ()  # fields of RunSpec that its class is given
    boxes: bool = False  # it looks at boxes
    can_freeze: bool = False  # its head needs no more than what a frozen backbone makes of a view
    any_task: bool = False  # its last layer may give more than two logits, by any task's loss
    uses_emotions: bool = False  # it learns the finer classes, where a set has them
    fitted: bool = False  # without gradients: nothing of Table 6 applies
    # who is trained on the sets that a chain begins with: itself, its backbone, or nobody
    before: Literal["itself", "its backbone", "nobody"] = "itself"
    weak_set: bool = False  # it needs another set first, and learns from its own guesses there
    published: tuple[str, ...] = ()  # the sets that Table 9 has it on
    recipe: dict = field(default_factory=dict)  # its authors' settings, where they are known


# In the order of Table 9's rows.
SYSTEMS = {
    "maiafa": System(
        backbone="hrnet_w48",
        takes="the study's",
        settings=("mai", "afa", "readings", "width", "dropout"),
        can_freeze=True,
        any_task=True,
    ),
    "rao2016": System(
        "rao2016.Rao2016",
        settings=("image_size", "seed"),
        fitted=True,
        before="nobody",
        published=("fi",),
    ),
    "resnet101": System(backbone="resnet101", takes="its own", any_task=True, published=("fi",)),
    "pcnn": System("pcnn.PCNN", weak_set=True, published=("twitter1", "emotionroi")),
    "ar": System(
        "affective_regions.AffectiveRegions",
        "vgg16",
        boxes=True,
        published=("fi", "twitter1", "emotionroi"),
        recipe=dict(epochs=35, lr=1e-4, lr_step=7, head_lr=10.0, weight_decay=5e-4),
    ),
    "rao2020": System(
        "rao2020.Rao2020",
        "resnet101",
        boxes=True,
        published=("fi",),
        # its first stage's; the step of the rate had no effect there
        recipe=dict(crop="resized", epochs=150, batch_size=16, optimizer="adam")
        | dict(lr=1e-4, lr_step=150, head_lr=10.0, weight_decay=1e-4),
    ),
    "wu2019": System(
        "wu2019.Wu2019", "resnet101", boxes=True, published=("twitter1", "emotionroi")
    ),
    "mcpnet": System(
        "mcpnet.MCPNet",
        "resnet101",
        can_freeze=True,
        any_task=True,
        published=("fi", "twitter1", "emotionroi"),
    ),
    "wscnet": System(
        "wscnet.WSCNet",
        "resnet101",
        can_freeze=True,
        recipe=dict(image_size=448, crop="resized", epochs=25, batch_size=10)
        | dict(lr=1e-4, lr_step=7, weight_decay=0.0),
    ),
    "yao2019": System("yao2019.Yao2019", "resnet50", uses_emotions=True, can_freeze=True),
    "priya2020": System("priya2020.Priya2020", "resnet101", any_task=True),
    "frozen_probe": System(
        "probe.Probe",
        "hrnet_w48",
        "the study's",
        settings=("image_size",),
        fitted=True,
        before="its backbone",
    ),
    "clip_probe": System(
        "probe.Probe", CLIP, "its own", settings=("image_size",), fitted=True, before="nobody"
    ),
    "clip_finetune": System(
        "tower.Tower",
        CLIP,
        "its own",
        can_freeze=True,
        any_task=True,
        recipe=dict(epochs=25, lr=1e-6, head_lr=1000.0, optimizer="adamw", weight_decay=1e-5),
    ),
}
COMPARED = tuple(name for name in SYSTEMS if name != "maiafa")
RIVALS = tuple(name for name, one in SYSTEMS.items() if one.made_by)
UNPUBLISHED = tuple(name for name in COMPARED if not SYSTEMS[name].published)
COMPARISONS = ("published", "matched")


def system_of(name: str) -> System:
    """The system's record; of a name that has none, a timm model used whole, which is its own
    backbone."""
    return SYSTEMS.get(name) or System(backbone=name, takes="its own", any_task=True)


def published_on(dataset: str) -> tuple[str, ...]:
    """Table 9's rows on a set, in the paper's order, ours left out."""
    return tuple(name for name in COMPARED if dataset in SYSTEMS[name].published)
