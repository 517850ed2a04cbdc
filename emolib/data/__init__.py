"""From picture files to batches.

May import `spec` and `base`. Follow a picture: `pictures` decodes one file, `layouts` finds a
set's files and labels, `datasets` makes folds, `manifest` and `audit` look for what is wrong,
`cache` keeps what is computed once, `batches` cuts crops, `on_device` does so on a GPU. `proposals`
finds boxes for the rivals that look at them. `tasks` says what is to be learnt of a set,
`predictions` what a network answered. `splits` has lists and folds without pictures, for those who
have answers to evaluate. `demo` draws stand-ins for the sets.
"""

import lazy_loader

_files = "pictures layouts datasets manifest audit cache batches on_device".split()
_files += ["proposals", "tasks", "predictions", "splits", "demo"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files)
