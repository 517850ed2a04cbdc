"""One training and many.

May import every wing but `study`. Read `loop` first: the one loop (Table 6). Then `run` (a spec
becomes a run folder), `sweep` (many runs side by side), `launch` (torchrun, SLURM), `cost` and
`plan` (how long it will take), `compiling`, `estimator` (the same loop with scikit-learn's
manners).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["loop", "run", "sweep", "launch", "cost", "plan", "compiling", "estimator"],
)
