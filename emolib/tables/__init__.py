"""From run folders to Tables 7 to 9, their pages and figures.

May import `spec`, `base` and `data`, not `network`. Read in this order: `significance` (what a mean
is worth), `frame` (the runs of a study), `rows` (which are one row), `comparison` (what two
systems' difference is). Then `table`, the record of one table; `pages`, `plots` and `names`, what
pages and figures share; and the tables themselves: `paper` (7 to 9 and their differences),
`matched`, `readings`, `transfer`. `study_tables` lists and writes them. `tasks` and `task_plots`
have the runs beyond polarity. `sources` says which runs a measurement comes from, `report` sums
up. For everybody's predictions: `sheet` (what they answer),
`entrants` (which systems there are), `evaluation` (what is found), `referee`, `task_referee`
(beyond polarity), `leaderboard`. And `checks` asks whether all of it follows from the runs.
"""

import lazy_loader

_files = "significance frame rows comparison table pages plots names paper matched readings".split()
_files += "transfer tasks task_plots study_tables sources report".split()
_files += "sheet entrants evaluation task_referee referee leaderboard checks".split()
_names = {
    "frame": ["missing", "read_runs"],
    "pages": ["marked"],
    "rows": ["statistics"],
    "study_tables": ["build", "published", "tables_of_study", "title"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _files, _names)
