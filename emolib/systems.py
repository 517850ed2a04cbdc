"""The systems by name: their backbones, their kinds, and where the paper has a number for them."""

CLIP = "vit_base_patch16_clip_224.openai"
# Each system's own backbone; None: it has none. A timm model used whole is its own.
BACKBONES = {
    "maiafa": "hrnet_w48",
    "rao2016": None,
    "pcnn": None,
    "ar": "vgg16",
    "wscnet": "resnet101",
    "wu2019": "resnet101",
    "yao2019": "resnet50",
    "rao2020": "resnet101",
    "priya2020": "resnet101",
    "mcpnet": "resnet101",
    "frozen_probe": "hrnet_w48",
    "clip_probe": CLIP,
    "clip_finetune": CLIP,
}
WITH_BOXES = ("ar", "wu2019", "rao2020")  # systems that look at boxes
FITTED = ("rao2016", "frozen_probe", "clip_probe")  # without gradients: nothing of Table 6 applies
# Table 9's rows on each set, and those systems that the paper has no number for.
PUBLISHED = {
    "fi": ("rao2016", "resnet101", "ar", "rao2020", "mcpnet"),
    "twitter1": ("pcnn", "ar", "wu2019", "mcpnet"),
    "emotionroi": ("pcnn", "ar", "wu2019", "mcpnet"),
}
UNPUBLISHED = (
    "wscnet",
    "yao2019",
    "priya2020",
    "frozen_probe",
    "clip_probe",
    "clip_finetune",
)
COMPARED = tuple(dict.fromkeys([*(m for row in PUBLISHED.values() for m in row), *UNPUBLISHED]))
COMPARISONS = ("published", "matched")
OWN_TOWER = ("clip_probe", "clip_finetune")  # a backbone of their own, in no matched table
