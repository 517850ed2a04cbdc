"""Every system beside maiafa with the same backbone, pictures, folds and budget.

Table 9 mixes backbones and training; here the head is what differs. Each row is compared with
maiafa's on the folds and seeds that both have.
"""

import pandas as pd

from ..spec.run_spec import TRAINING, RunSpec
from ..spec.systems import system_of
from . import pages, plots
from .comparison import Row, tidy_rows, with_verdicts
from .frame import COST, StudyRuns
from .rows import check_one_setting, default_runs, one_kind
from .table import Table, contradicts_itself

# Of `comparison.paired`, under the names of this table.
RENAMED = {
    "difference": "minus_maiafa",
    "low": "minus_low",
    "high": "minus_high",
    "p_mcnemar": "p_value",
    "t_low": "minus_nb_low",
    "t_high": "minus_nb_high",
}
MATCHED_COLUMNS = (
    "table dataset method metric mean std ci_low ci_high runs minus_maiafa minus_low minus_high "
    "p_value p_t p_holm verdict parameters macs pictures_per_second run_ids nb_low nb_high "
    "minus_nb_low minus_nb_high p decides pairs seeds tested se_pictures se_seeds discordance "
    "margin t_margin untrained default_untrained"
).split()
SYSTEM = {"model", "mai", "afa", "readings", "width", "dropout", "fold", "seed"}  # may differ


def same_protocol(spec: RunSpec, ours: RunSpec) -> bool:
    """Whether a system's run has maiafa's backbone, data and training, as far as it has them."""
    free, system = set(SYSTEM), system_of(spec.model)
    if system.fitted:
        free |= {*TRAINING, "pretrain"}
    if system.before == "nobody":
        free.add("init")
    if spec.backbone is None:
        free |= {"backbone", "init", "pretrain"}
    theirs, own = spec.to_dict(), ours.to_dict()
    return all(theirs[k] == own[k] for k in own if k not in free)


def matched_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """The matched table. Empty if no trained system shares maiafa's protocol."""
    rows = []
    for dataset, own in default_runs(study.own).items():
        spec, weights = own["spec"].iloc[0], own["weights"].iloc[0]
        like_ours = [
            s.model != "maiafa" and same_protocol(s, spec) and (s.backbone is None or w == weights)
            for s, w in zip(study.own["spec"], study.own["weights"], strict=True)
        ]
        there = study.own[like_ours]
        if not any(s.backbone and not system_of(s.model).fitted for s in there["spec"]):
            continue
        rows.append(Row(dataset, "maiafa", own, None, own[COST].median().to_dict()))
        for method, group in there.groupby("method", sort=False):
            group = one_kind(group)
            check_one_setting(study.folder, group)
            rows.append(Row(dataset, method, group, own, group[COST].median().to_dict()))
    return with_verdicts(tidy_rows("matched", rows), MATCHED_COLUMNS, RENAMED)


def matched_page(tables: dict, runs: pd.DataFrame) -> list[str]:
    """One line a set and method, the best accuracy first."""
    table = tables["matched"]
    rows = pages.line_a_method(table).rename(columns={new: old for old, new in RENAMED.items()})
    groups = [group for _, group in rows.groupby("dataset", sort=False)]
    best_first = [g.sort_values("mean", ascending=False, kind="stable") for g in groups]
    columns = [pages.SET, pages.METHOD, pages.ACCURACY, *pages.minus("maiafa"), pages.VERDICT]
    columns += [pages.RECALL, pages.runs_column(runs), *pages.COSTS]
    return [
        *pages.markdown_table(columns, pd.concat(best_first).to_dict("records")),
        *pages.fewer_folds(table, runs),
        "",
        f"{pages.HOW} Minus maiafa: over the {pages.COMMON} {pages.TESTS} pcnn and rao2016 have no "
        "backbone to match.",
        "",
        pages.COSTS_SAID,
    ]


MATCHED = Table(
    "matched",
    MATCHED_COLUMNS,
    matched_rows,
    "Matched: every system with the same backbone, pictures, folds and budget",
    matched_page,
    lambda tables, title: plots.draw_matched(tables["matched"], title),
    contradicts_itself,
    recall_interval=False,
)
