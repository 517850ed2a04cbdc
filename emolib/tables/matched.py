"""The matched table: every system on maiafa's backbone, pictures, folds, seeds and budget.

Table 9 mixes backbones and training; here the head is what differs. Each row is compared with
maiafa's on the folds and seeds that both have.
"""

import numpy as np
import pandas as pd

from ..spec.run_spec import TRAINING, RunSpec
from ..spec.systems import FITTED
from . import differences
from .differences import NOTHING

# Of `differences.paired`, under the names of this table.
RENAMED = {
    "difference": "minus_maiafa",
    "low": "minus_low",
    "high": "minus_high",
    "p_mcnemar": "p_value",
    "t_low": "minus_nb_low",
    "t_high": "minus_nb_high",
}
MATCHED_COLUMNS = [
    "table",
    "dataset",
    "method",
    "metric",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "runs",
    "minus_maiafa",
    "minus_low",
    "minus_high",
    "p_value",
    "p_t",
    "p_holm",
    "verdict",
    "parameters",
    "macs",
    "pictures_per_second",
    "run_ids",
    "nb_low",
    "nb_high",
    "minus_nb_low",
    "minus_nb_high",
    "p",
    "decides",
    "pairs",
    "seeds",
    "tested",
    "se_pictures",
    "se_seeds",
    "discordance",
    "margin",
    "t_margin",
    "untrained",
    "default_untrained",
]
SYSTEM = {"model", "mai", "afa", "readings", "width", "dropout", "fold", "seed"}  # may differ


def same_protocol(spec: RunSpec, ours: RunSpec) -> bool:
    """Whether a system's run has maiafa's backbone, data and training, as far as it has them."""
    free = set(SYSTEM)
    if spec.model in FITTED:
        free |= {*TRAINING, "pretrain"}
        if spec.model != "frozen_probe":
            free.add("init")
    if spec.backbone is None:
        free |= {"backbone", "init", "pretrain"}
    theirs, own = spec.to_dict(), ours.to_dict()
    return all(theirs[k] == own[k] for k in own if k not in free)


def matched_table(runs: pd.DataFrame, ours: dict, rows_of, statistics) -> pd.DataFrame:
    """The matched table, empty where no trained system shares maiafa's protocol.

    runs: the study's (`tables.read_runs`); ours: {set: maiafa's runs on it}; rows_of: a method's
    runs → those of its row, checked to have one setting; statistics: (runs, metric) → mean, std,
    interval. minus_…, p_t, p_value (McNemar): `differences.paired` with maiafa; p_holm: corrected
    for the number of systems.
    """
    rows = []
    for dataset, own in ours.items():
        spec = own["spec"].iloc[0]
        weights = own["weights"].iloc[0]
        there = runs[
            np.array(
                [
                    s.model != "maiafa"
                    and same_protocol(s, spec)
                    and (s.backbone is None or w == weights)
                    for s, w in zip(runs["spec"], runs["weights"], strict=True)
                ],
                bool,
            )
        ]
        if not any(s.model not in FITTED and s.backbone for s in there["spec"]):
            continue
        others = [(m, rows_of(g)) for m, g in there.groupby("method", sort=False)]
        for method, group in [("maiafa", own), *others]:
            for metric in ("accuracy", "recall"):
                row = {"table": "matched", "dataset": dataset, "method": method, "metric": metric}
                row |= statistics(group, metric)
                row |= differences.paired(group, own, metric) if method != "maiafa" else NOTHING
                row |= {k: group[k].median() for k in ("parameters", "macs", "pictures_per_second")}
                rows.append(row)
    if not rows:
        return pd.DataFrame(columns=MATCHED_COLUMNS)
    return differences.with_verdicts(rows).rename(columns=RENAMED)[MATCHED_COLUMNS]
