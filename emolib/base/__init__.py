"""What all wings above stand on: files, the run folder, devices, processes, metrics.

May import `spec`. Read `run_folder` first: it says what a run leaves behind. Then `reuse` (when
that is the run asked for), `checkpoints`, `files` (whole or not there), `metrics` (Eq. 11 and 12),
`emotions` (their names, polarity and wheel), `task_scores` (of answers beyond polarity), `devices`,
`parallel`, `progress`, `old_names`.
"""

import lazy_loader

_files = "run_folder reuse checkpoints files metrics emotions task_scores".split()
_files += "devices parallel progress old_names".split()
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files)
