"""Anyone's predictions on a set whose list is public: what they are worth, and how they stand
beside every system of the leaderboard."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from ..base.metrics import more_scores, scores
from ..base.run_folder import read_spec
from ..data import splits
from ..spec.run_spec import RunSpec
from . import entrants
from .comparison import Row, paired, tidy_rows, with_verdicts
from .evaluation import SURE, Evaluation
from .frame import answers_of
from .rows import statistics
from .sheet import read_sheet

# scores whose interval is over resampled pictures; of the others `rows.statistics` gives it
RESAMPLED = ["f1", "auroc", "log_loss", "ece"]
SCORES = ["accuracy", "recall", "recall_negative", "balanced_accuracy", *RESAMPLED]
SCORE_COLUMNS = ["metric", "value", "low", "high"]
AGAINST = "system accuracy difference low high p_holm margin verdict".split()
TIMES = 200  # resamples
NOT_BETTER = "Not better than a constant answer"


def evaluate(
    predictions, set: str, protocol: str = "folds", against=None, trained_on=None, name="yours"
) -> Evaluation:
    """What predictions are worth on a set whose list is public, and how they stand beside others.

    predictions: a frame or CSV files with the columns path and p_positive, a row a picture of all
    folds, each answered by a network that has not learnt it. Names are matched whatever their
    case, suffix and leading folders. set, protocol: of `splits`. against: a results folder, whose
    runs they are held against; unless given, every system of the leaderboard. trained_on: what the
    network learnt, as a run folder, a CSV with a column path, or names.

    Raises what `sheet.read_sheet` does, ValueError where the network learnt a picture that it
    answers, and FileNotFoundError where `against` holds no complete run.
    """
    sheet = read_sheet(predictions, set, protocol)
    tested = sheet.tested
    _check_not_learnt(tested, set, trained_on)
    own, others = runs_of(tested, set), {}
    for system, p in entrants.answers_of_all(set, protocol, against).items():
        if p.reindex(tested["path"]).notna().all():
            others[system] = runs_of(tested.assign(p_positive=p[tested["path"]].to_numpy()), set)
    return Evaluation(
        set,
        protocol,
        name,
        sheet,
        _scores(own, tested),
        _beside_constant(own, tested, set),
        _beside(own, others, set),
        _sure_and_wrong(tested),
        _label_errors(tested),
    )


def runs_of(tested: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Answers to a protocol's test pictures as runs, a row a fold, as `frame.frame_of` has them.
    tested: path, label, group, fold, trained, p_positive."""
    rows = []
    for fold, part in tested.groupby("fold"):
        part = part.reset_index(drop=True)
        found = {**scores(part["label"], part["p_positive"])}
        found |= more_scores(part["label"], part["p_positive"])
        found["log_loss"] = _log_loss(part["label"], part["p_positive"])
        answers = answers_of(part, part["group"])
        ratio = len(part) / part["trained"].iloc[0]
        spec = RunSpec(dataset, fold=int(fold))
        rows.append(found | {"id": spec.id, "spec": spec, "answers": answers, "ratio": ratio})
    return pd.DataFrame(rows)


def _check_not_learnt(tested: pd.DataFrame, dataset: str, trained_on) -> None:
    """Raises ValueError where the network learnt one of the pictures that it answers."""
    if trained_on is None:
        return
    if isinstance(trained_on, (str, Path)) and Path(trained_on).is_dir():
        spec = read_spec(Path(trained_on) / "spec.json")
        kind = "grouped" if spec.grouped else "folds"
        its = splits.tested(spec.dataset, kind)
        names = its.loc[its["fold"] != spec.fold, "path"] if spec.dataset == dataset else []
    elif isinstance(trained_on, (str, Path)):
        names = pd.read_csv(trained_on, dtype=str)["path"]
    else:
        names = list(trained_on)
    hit = splits.positions(names, tested["path"])
    learnt = np.unique(hit[hit >= 0])
    if len(learnt):
        example = tested["path"].iloc[learnt[0]]
        raise ValueError(
            f"the network learnt {len(learnt)} of the {len(tested)} pictures that it answers, such "
            f"as {example}: each fold needs a network of its own, which has not learnt its pictures"
        )


def _log_loss(labels, p_positive) -> float:
    return float(log_loss(labels, np.clip(p_positive, 1e-7, 1 - 1e-7), labels=[0, 1]))


def _scores(own: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """SCORE_COLUMNS: the mean over the folds of each of SCORES, with its 95% interval."""
    rows = []
    for metric in SCORES[: -len(RESAMPLED)]:
        found = statistics(own, metric)
        rows.append((metric, found["mean"], found["ci_low"], found["ci_high"]))
    values = own[RESAMPLED].mean()
    lows, highs = _bounds(tested, values.to_numpy())
    rows += list(zip(RESAMPLED, values, lows, highs, strict=True))
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def _bounds(tested: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """The 95% intervals of RESAMPLED around `values`, lows and highs: the basic bootstrap, of the
    pictures of all folds together, near-twins drawn together."""
    groups = list(tested.reset_index(drop=True).groupby("group").indices.values())
    labels, p = tested["label"].to_numpy(), tested["p_positive"].to_numpy()
    rng, drawn = np.random.default_rng(0), []
    for _ in range(TIMES):
        rows = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        drawn.append(_resampled_scores(labels[rows], p[rows]))
    apart = np.array(drawn) - _resampled_scores(labels, p)
    return np.maximum(values - np.nanpercentile(apart, (97.5, 2.5), axis=0), 0)


def _resampled_scores(labels, p) -> list[float]:
    more = more_scores(labels, p) | {"log_loss": _log_loss(labels, p)}
    return [math.nan if more[m] is None else more[m] for m in RESAMPLED]


def _beside_constant(own: pd.DataFrame, tested: pd.DataFrame, dataset: str) -> dict:
    """How far the predictions are from always answering with the more frequent class."""
    share = tested["label"].mean()
    always = runs_of(tested.assign(p_positive=float(share >= 0.5)), dataset)
    found = paired(own, always, "accuracy")
    accuracy = always["accuracy"].mean()
    apart = f"{found['difference']:+.1f} points, {found['low']:+.1f} to {found['high']:+.1f}"
    words = f"{apart}, beside always answering with the more frequent class ({accuracy:.1f}%)"
    good = found["low"] > 0
    verdict = ("Better than a constant answer" if good else NOT_BETTER) + f": {words}."
    return {"accuracy": accuracy, "verdict": verdict.replace("-", "−")} | {
        k: found[k] for k in ("difference", "low", "high")
    }


def _beside(own: pd.DataFrame, others: dict[str, pd.DataFrame], dataset: str) -> pd.DataFrame:
    """AGAINST, the best system first."""
    rows = [
        Row(dataset, "", own, runs, {"system": system, "accuracy": runs["accuracy"].mean()})
        for system, runs in others.items()
    ]
    found = with_verdicts(tidy_rows("evaluation", rows, ("accuracy",)), AGAINST)
    return found.sort_values("accuracy", ascending=False, ignore_index=True)


def _sure_and_wrong(tested: pd.DataFrame) -> pd.DataFrame:
    """The pictures whose label got a probability of at most 1 − SURE, the least first."""
    p = tested["p_positive"].where(tested["label"] == 1, 1 - tested["p_positive"])
    chosen = p[p <= 1 - SURE].sort_values(kind="stable").index
    return tested.loc[chosen, ["path", "label", "p_positive"]].reset_index(drop=True)


def _label_errors(tested: pd.DataFrame) -> pd.DataFrame:
    """What cleanlab takes for errors of the labels, the likeliest first; none of constant answers,
    or where a class is absent."""
    from cleanlab.filter import find_label_issues

    columns = ["path", "label", "p_positive"]
    if tested["label"].nunique() < 2 or (tested["p_positive"] >= 0.5).nunique() < 2:
        return tested.iloc[:0][columns]
    p = tested["p_positive"].to_numpy()
    chosen = find_label_issues(
        tested["label"].to_numpy(),
        np.stack([1 - p, p], axis=1),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return tested.iloc[chosen][columns].reset_index(drop=True)
