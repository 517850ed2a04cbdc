"""What every wing stands on: files, the run folder, devices, processes, metrics.

May import `spec`. Read `run_folder` first: it says what a run leaves behind. Then `reuse` (when
that is the run asked for), `checkpoints`, `files` (whole or not there), `metrics` (Eq. 11 and 12),
`devices`, `parallel`, `lifeline`, `progress`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["run_folder", "reuse", "checkpoints", "files", "metrics", "devices", "parallel", "lifeline"]
    + ["progress"],
)
