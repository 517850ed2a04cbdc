"""One training and many.

May import every wing but `study`. Read `loop` first: the one loop (Table 6). Then `answering` (what
a network answers), `task` (what a run is made from), `check` (what is wrong with it) and `run` (a
spec becomes a run folder). `sweep` trains many: `cost` says how many at once, `local` trains them
on this machine, `launch` by torchrun or SLURM; `lifeline` ends them with the one that started them.
`plan` says how long that will take. `frozen` keeps what a frozen backbone makes of a set,
`compiling` tries torch.compile, `fitting` is the same loop without a run folder, `estimator` that
with scikit-learn's manners, `gpu_checks` is what `emolib.gpu_check` runs.
"""

import lazy_loader

_files = "loop answering task check run local launch lifeline sweep cost plan".split()
_files += "frozen compiling fitting estimator gpu_checks".split()
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files)
