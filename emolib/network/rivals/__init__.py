"""The rivals of Tables 1 and 9, one file a system, each with a model card on top.

`emolib.create_model(name, …)` makes them; the record in `spec.systems` names file and class. A
system is an `nn.Module` of one of two kinds.

Trained by the loop: `net(images)` gives logits, N×num_classes.
- `takes`: which form of the backbone it is given, "levels" (feature maps at strides 4 to 32) or
  "whole" (a timm model without its classifier). `backbones`: how many, where it is more than one.
- `finder`: which boxes (`proposals.FINDERS`) it looks at, by `net(images, boxes=…)`, N×COUNT×5 in
  px of the view. It finds them in the images where they are not given.
- `own_loss`: `net(images, labels=…)` gives (loss, logits).
- `uses_emotions`: the same with `emotions=…` for the finer classes, N ints, −1 for none.

Fitted without gradients: `fit(paths, labels)` and `predict_proba(paths)`, N×2. Its arrays are
buffers, so that state_dict and safetensors hold them.
"""

import importlib

from torch import nn

from ...spec.systems import system_of


def rival_class(name: str) -> type[nn.Module] | None:
    """The class of the rival `name`; None for our network and for a timm model used whole."""
    file, _, name_in_file = system_of(name).made_by.partition(".")
    return getattr(importlib.import_module(f"{__name__}.{file}"), name_in_file) if file else None
