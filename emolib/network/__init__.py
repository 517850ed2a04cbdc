"""Section 3 of the paper, and the other systems.

May import `spec`, `base` and `data`. Read `maiafa` beside the paper: Eq. 1 to 9 as printed. Then
`attention` (Eq. 1 and 3), `folded` (the same sums, quicker), `resample`, `backbones`, `blocks`
(the two modules for other networks), `create` (one door to every system), `build` (a spec's
network), `manners` (what timm's users expect), `precision`, `timm_names`; `rivals`, one file a
system.
"""

import lazy_loader

_files = "maiafa attention folded resample backbones blocks create build".split()
_files += ["manners", "precision", "timm_names", "rivals"]
_names = {"maiafa": ["MaiAfa", "MAI", "AFA"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files, _names)
