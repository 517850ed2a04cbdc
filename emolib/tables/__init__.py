"""From run folders to Tables 7 to 9, their pages and figures.

May import `spec`, `base` and `data`, not `network`. Read `paper` first: Tables 7 to 9. Then
`significance` (what a mean is worth) and `differences` (what two systems' difference is),
`matched`, `readings`, `transfer`; `pages`, `plots` and `report` write them down; `checks` asks
whether all of it follows from the runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    [
        "paper",
        "significance",
        "differences",
        "matched",
        "readings",
        "transfer",
        "sources",
        "pages",
        "plots",
        "report",
        "checks",
    ],
    {"paper": ["build", "marked", "missing", "published", "read_runs", "title"]},
)
