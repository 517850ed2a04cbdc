"""A timm model's manners for our network: another last layer, layer-wise rates, checkpointing."""

import numbers

from torch import nn

from . import backbones
from .backbones import Backbone


class TimmManners(nn.Module):
    """What timm's users expect of a network: `backbone`, then `classifier`, whose last layer gives
    `num_classes` logits of `head_hidden_size` numbers."""

    backbone: Backbone
    classifier: nn.Sequential
    pretrained_cfg: dict
    num_classes: int
    head_hidden_size: int

    def get_classifier(self) -> nn.Module:
        """The last layer: what `reset_classifier` replaces."""
        return self.classifier[-1]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh last layer for `num_classes`; 0: none, `net(images)` then gives N×128.

        Raises ValueError for another pooling than the paper's, "avg".
        """
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool={global_pool!r}: the network has 'avg' only (§3.4)")
        there = next(self.classifier.parameters())
        self.classifier[-1] = last_layer(self.head_hidden_size, num_classes).to(there)
        self.num_classes = num_classes

    def group_matcher(self, coarse: bool = False):
        """timm's key for layer-wise rates: a parameter's or module's name → its place, the
        backbone's layers (coarse: stages) from the stem on, then the head as one."""
        place, prefix = backbones.depths(self.backbone, coarse), "backbone."
        return lambda name: (
            (0, *place(name.removeprefix(prefix))) if name.startswith(prefix) else (1,)
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """The backbone's activations are computed again in the backward pass rather than kept; the
        head keeps little. ValueError for a backbone that timm does not do this for: HRNet."""
        backbones.set_grad_checkpointing(self.backbone, enable)

    def load_state_dict(self, state_dict, *args, **kwargs):
        """torch's own; RuntimeError in one line for the weights of another number of classes."""
        last = state_dict.get("classifier.6.weight")
        if last is not None and self.num_classes not in (0, len(last)):
            raise RuntimeError(
                f"these weights are of {len(last)} classes and this network has "
                f"{self.num_classes}: make it with num_classes={len(last)}, load them, then "
                f"reset_classifier({self.num_classes})"
            )
        return super().load_state_dict(state_dict, *args, **kwargs)


def last_layer(width: int, num_classes: int) -> nn.Module:
    """Logits of `num_classes` from `width` numbers; nothing at all for 0."""
    whole = isinstance(num_classes, numbers.Integral) and not isinstance(num_classes, bool)
    if not whole or num_classes < 0:
        raise ValueError(
            f"num_classes={num_classes!r}: must be a whole number, 0 for no last layer"
        )
    return nn.Linear(width, num_classes) if num_classes else nn.Identity()
