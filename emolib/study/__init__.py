"""What the notebooks ask.

May import every other wing; none may import it. Read `settings` (parameters become specs) and
`study` (what a notebook holds in its hand). Then the questions: `rivals`, `readings`, `transfer`,
`regions`, `deletion`, `own_pictures`, `beyond_polarity`. `ahead`, `words`, `frames`, `figures` and
`region_figures` are what notebooks show.
"""

import lazy_loader

_files = "settings study ahead words rivals readings transfer regions deletion own_pictures".split()
_files += "beyond_polarity frames figures region_figures".split()
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files)
