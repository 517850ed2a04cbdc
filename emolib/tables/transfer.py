"""Does what was learnt on one set help on another? Table 8 as a curve over the amount of target
data, and each trained network tested on the other sets.

Runs on a share of the training pictures are kept in <study>/shares, apart from the tables' own.
"""

import pandas as pd

from ..base.metrics import scores, wilson
from ..spec.sets import in_words
from . import pages, plots
from .comparison import PAIR_COLUMNS, VERDICT_COLUMNS, Row, tidy_rows, with_verdicts
from .frame import StudyRuns
from .rows import check_one_setting, staged_ones
from .table import Table

TRANSFER_COLUMNS = [
    *("table", "dataset", "method", "metric", "share", "pictures"),
    *("mean", "std", "ci_low", "ci_high", "runs"),
    *PAIR_COLUMNS,
    *VERDICT_COLUMNS,
    *("run_ids", "nb_low", "nb_high"),
]


def transfer_rows(study: StudyRuns, tables: dict) -> pd.DataFrame:
    """A row for each set, share, start and metric. Empty if there are no runs on a share.

    pictures: trained on, mean over folds. difference: without the set-to-set stage minus with it,
    on the same share.
    """
    rows = []
    both = study.together("own", "shares")
    both = both[[s.method == "normal" and not s.grouped for s in both["spec"]]]
    for dataset in study.shares["dataset"].unique() if len(study.shares) else ():
        there = both[both["dataset"] == dataset]
        for share, group in there.groupby([s.share for s in there["spec"]]):
            staged = staged_ones(group)
            default = group[staged] if staged.any() else None
            for method, part in (("normal", group[staged]), ("without_transfer", group[~staged])):
                check_one_setting(study.folder, part)
                if len(part):
                    facts = {"share": share, "pictures": part["trained_on"].mean()}
                    against = default if method == "without_transfer" else None
                    rows.append(Row(dataset, method, part, against, facts))
    return with_verdicts(tidy_rows("transfer", rows), TRANSFER_COLUMNS)


def transfer_page(tables: dict, runs: pd.DataFrame) -> list[str]:
    """One line a set, share and start."""
    columns: list[pages.Column] = [
        pages.SET,
        pages.METHOD,
        ("share", pages.number("share", ".0%")),
        ("pictures", pages.number("pictures", ".0f")),
        pages.ACCURACY,
        *pages.minus("normal"),
        pages.RECALL,
        pages.runs_column(runs),
        pages.VERDICT,
    ]
    rows = pages.line_a_method(tables["transfer"]).to_dict("records")
    return [
        *pages.markdown_table(columns, rows),
        "",
        pages.HOW + " `normal` has the set-to-set stage, `without_transfer` starts without it. "
        "With `profile=best` fewer pictures are seen in more epochs, for about as many steps. "
        "Minus normal: on the same share, folds and seeds; corrected as if all training "
        "pictures were used, of which folds have more in common. " + pages.TESTS,
    ]


TRANSFER = Table(
    "transfer",
    TRANSFER_COLUMNS,
    transfer_rows,
    "Transfer: the set-to-set stage against the amount of training pictures",
    transfer_page,
    lambda tables, title: plots.draw_transfer(tables["transfer"], title),
    recall_interval=False,
)


def conclusion(table: pd.DataFrame) -> str:
    """A sentence a set, Markdown: what is lost without the set-to-set stage on each share."""
    rows = table[(table["metric"] == "accuracy") & table["difference"].notna()]
    lines = []
    for dataset, group in rows.groupby("dataset", sort=False):
        found = (
            f"on {row['share']:.0%} of the training pictures ({row['pictures']:.0f}) "
            f"{pages.difference(row)} points, {row['verdict']}"
            for _, row in group.iterrows()
        )
        lines.append(f"- **{in_words(dataset)}**, without the stage: {'; '.join(found)}.")
    return "\n".join(lines) or "There is no run with a set-to-set stage to compare."


def own_row(results) -> dict:
    """`cross`'s numbers of networks on their own set, from their predictions.csv alone."""
    results = list(results)
    frame = pd.DataFrame([scored_answers(r.predictions) | {"pre_trained": False} for r in results])
    return {"trained_on": results[0].spec.dataset} | cross_line(frame, True)


def scored_answers(frame: pd.DataFrame) -> dict:
    return scores(frame["label"], frame["p_positive"]) | {"positive": frame["label"].mean()}


def cross_line(group: pd.DataFrame, own: bool) -> dict:
    """One row of `cross`, of networks that were all tested on the same pictures or, on their own
    set, each on its own."""
    accuracy, positive = group["accuracy"].mean(), group["positive"].mean()
    tested = int(group["n"].sum() if own else group["n"].iloc[0])
    low, high = wilson(accuracy / 100 * tested, tested)
    return (
        {"networks": len(group), "pictures": tested}
        | {"pre_trained": bool(group["pre_trained"].any())}
        | {"accuracy": accuracy, "low": low, "high": high}
        | {"lowest": group["accuracy"].min(), "highest": group["accuracy"].max()}
        | {"recall": group["recall"].astype(float).mean()}
        | {"majority": 100 * max(positive, 1 - positive)}
    )
