"""What a run is: settings, systems and sets, and the paper's numbers. No torch.

May import nothing of emolib. Read `run_spec` first: `Readings` lists what the paper leaves open,
`RunSpec` one training. `schedules` has the course of its learning rate, `recipe` settings for
accuracy, `values` what a field takes. `systems` and `sets` have a record for each system and each
set; `published` the paper's own tables.
"""

import lazy_loader

_files = "run_spec schedules recipe values systems sets published".split()
_names = {"run_spec": ["Readings", "RunSpec"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files, _names)
