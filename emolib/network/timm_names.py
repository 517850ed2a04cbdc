"""The network in timm's registry: `timm.create_model("maiafa_hrnet_w48", num_classes=2)`.

Registered when emolib is imported, for the backbones below; `emolib.create_model` takes any.
timm lists these names as without weights, because the whole network has none to download:
`pretrained=True` starts the *backbone* from ImageNet, the head is fresh. A tag chooses among the
backbone's weights ("maiafa_resnet50.a1_in1k"), `pretrained_cfg_overlay={"file": …}` is a local
file of them. `timm.data.resolve_model_data_config` gives the backbone's size, mean and std.
"""

from dataclasses import replace

import timm
from timm.models import generate_default_cfgs, register_model

REGISTERED = "hrnet_w18_small hrnet_w18 hrnet_w32 hrnet_w48 resnet18 resnet50 resnet101".split()
REGISTERED += "tf_efficientnet_lite0 tf_efficientnet_lite2 efficientnet_b0".split()
REGISTERED += ["mobilenetv3_large_100", "convnext_tiny"]
PREFIX = "maiafa_"


def _entrypoint(backbone: str):
    def make(
        pretrained: bool = False,
        pretrained_cfg: str | None = None,
        pretrained_cfg_overlay: dict | None = None,
        cache_dir=None,
        in_chans: int = 3,
        num_classes: int = 2,
        drop_rate: float = 0.5,
        **options,
    ):
        """options: mai, afa, head, readings, width of `MaiAfa`. ValueError for anything else."""
        from .create import create_model  # when one is made: importing emolib stays light

        name = PREFIX + backbone
        if in_chans != 3:
            raise ValueError(f"in_chans={in_chans!r}: {name} takes colour pictures, 3 channels")
        if options.pop("features_only", False):
            raise ValueError(f"{name} has no features_only: its maps(images) gives A, O and D")
        overlay = dict(pretrained_cfg_overlay or {})
        file = overlay.pop("file", "")
        weights = file if pretrained else ""  # as timm does
        if overlay or cache_dir or not isinstance(pretrained_cfg or "", str):
            raise ValueError(
                f"{name}: of timm's settings for weights it takes a tag and "
                "pretrained_cfg_overlay={'file': …}"
            )
        tag = f".{pretrained_cfg}" if pretrained_cfg else ""
        return create_model(
            "maiafa", backbone + tag, num_classes, pretrained, weights, dropout=drop_rate, **options
        )

    make.__name__ = make.__qualname__ = PREFIX + backbone
    return make


def _cfg(backbone: str):
    """How the backbone's pictures are prepared, without its weights."""
    cfg = timm.get_pretrained_cfg(backbone)
    no_weights: dict = {"url": None, "file": None, "hf_hub_id": None, "tag": None}
    return replace(cfg, **no_weights, num_classes=2, classifier="classifier.6")  # type: ignore[type-var]


# where register_model looks for them
default_cfgs = generate_default_cfgs({PREFIX + b: _cfg(b) for b in REGISTERED})
for _backbone in REGISTERED:
    register_model(_entrypoint(_backbone))
