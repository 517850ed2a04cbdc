"""The rivals of Tables 1 and 9, one file a system, each with a model card on top.

`emolib.create_model(name, …)` makes them. A system is an `nn.Module` of one of two kinds:

- trained by the loop: `net(images)` gives logits, N×num_classes. `takes` says which form of the
backbone it is given: "levels" (feature maps at strides 4 to 32) or "whole" (a timm model without
its classifier), `backbones` how many where it is more than one. `finder` names the boxes
(`proposals.FINDERS`) it looks at: `net(images, boxes=…)` with N×COUNT×5 in px of the view, found
in the images where they are not given. Where `own_loss` is true, `net(images, labels=…, …)` gives
(loss, logits), with `emotions=` for the finer classes (N ints, −1 for none) where `uses_emotions`
is true. - fitted without gradients: `fit(paths, labels)` and `predict_proba(paths)`, N×2. Their
arrays are buffers, so that state_dict and safetensors hold them.
"""

from .affective_regions import AffectiveRegions
from .mcpnet import MCPNet
from .pcnn import PCNN
from .priya2020 import Priya2020
from .probe import Probe
from .rao2016 import Rao2016
from .rao2020 import Rao2020
from .tower import Tower
from .wscnet import WSCNet
from .wu2019 import Wu2019
from .yao2019 import Yao2019

SYSTEMS = {
    "rao2016": Rao2016,
    "pcnn": PCNN,
    "ar": AffectiveRegions,
    "wscnet": WSCNet,
    "wu2019": Wu2019,
    "yao2019": Yao2019,
    "rao2020": Rao2020,
    "priya2020": Priya2020,
    "mcpnet": MCPNet,
    "frozen_probe": Probe,
    "clip_probe": Probe,
    "clip_finetune": Tower,
}
