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
from .comparison import NOT_TRAINED, Row, paired, tidy_rows, with_verdicts
from .evaluation import SURE_AT, Evaluation, difference_cell
from .frame import answers_of
from .rows import answers, mean_over_pictures, statistics
from .sheet import columns_of, read_answers, read_sheet
from .task_referee import TaskEvaluation, evaluate_task, task_of

# scores whose interval is over resampled pictures; of the others `rows.statistics` gives it
RESAMPLED = ["f1", "auroc", "log_loss", "ece"]
EVALUATED = ["accuracy", "recall", "recall_negative", "balanced_accuracy", *RESAMPLED]
SCORE_COLUMNS = ["metric", "value", "low", "high"]
AGAINST = "system accuracy difference low high p_holm margin verdict".split()
TIMES = 100  # resamples
NOT_BETTER = "Not better than a constant answer"


def evaluate(
    predictions,
    set: str,
    protocol: str = "folds",
    against=None,
    trained_on=None,
    name="yours",
    task="",
    data_root=None,
) -> Evaluation | TaskEvaluation:
    """What predictions are worth on a set whose list is public, and how they stand beside others.

    predictions: a frame or CSV files with the columns path and p_positive, a row a picture of all
    folds, each answered by a network that has not learnt it. Names are matched whatever their
    case, suffix and leading folders. set, protocol: of `splits`. against: a results folder, whose
    runs they are held against; unless given, every system of the leaderboard. trained_on: what the
    network learnt, as a run folder, a CSV with a column path, or names.

    Beyond polarity, `task_referee.evaluate_task` is asked: the columns are then p_<emotion>, or
    valence and arousal, and what is known as in a predictions.csv of that task. task: which one,
    where the columns fit several. data_root: where the set lies, if what is known is read there.

    Raises what `sheet.read_sheet` does, ValueError where the network learnt a picture that it
    answers, and FileNotFoundError where `against` holds no complete run.
    """
    set = set.lower()
    if isinstance(predictions, (pd.Series, dict)):
        raise ValueError("predictions: a frame or CSV files with the columns path and p_positive")
    if not isinstance(predictions, (pd.DataFrame, str, Path)):
        predictions = list(predictions)  # they are read twice
    if (task or task_of(columns_of(predictions))) != "polarity":
        found = evaluate_task(predictions, set, protocol, against, name, task, data_root)
        _check_not_learnt(found.sheet.tested, set, trained_on)
        return found
    sheet = read_sheet(predictions, set, protocol)
    tested = sheet.tested
    _check_not_learnt(tested, set, trained_on)
    own, others = runs_of(tested, set), {}
    constant = _beside_constant(own, tested, set)
    for system, p in entrants.answers_of_all(set, protocol, against).items():
        if p.reindex(tested["path"]).notna().all():
            others[system] = runs_of(tested.assign(p_positive=p[tested["path"]].to_numpy()), set)
    return Evaluation(
        set,
        protocol,
        name,
        sheet,
        _scores(own, tested),
        constant,
        _beside(own, others, set),
        _sure_and_wrong(tested),
        _label_errors(tested, constant),
    )


def runs_of(tested: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Answers to a protocol's test pictures as runs, a row a fold, as `frame.frame_of` has them.
    tested: what `splits.tested` has, p_positive."""
    rows = []
    for fold, part in tested.groupby("fold"):
        part = part.reset_index(drop=True)
        both = part["label"], part["p_positive"]
        found = scores(*both) | more_scores(*both) | {"log_loss": _log_loss(*both)}
        answered = answers_of(part, part["group"])
        ratio = part["of_fold"].iloc[0] / part["trained"].iloc[0]
        spec = RunSpec(dataset, fold=int(fold))
        rows.append(found | {"id": spec.id, "spec": spec, "answers": answered, "ratio": ratio})
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(frame.columns.intersection(EVALUATED), float))


def _check_not_learnt(tested: pd.DataFrame, dataset: str, trained_on) -> None:
    """Raises ValueError where the network learnt one of the pictures that it answers."""
    if trained_on is None:
        return
    if isinstance(trained_on, (str, Path)) and Path(trained_on).is_dir():
        names = _learnt_by_run(Path(trained_on), dataset)
    else:
        frame = trained_on
        if isinstance(frame, (str, Path)):
            frame = read_answers(frame)
        if isinstance(frame, pd.DataFrame):
            if "path" not in frame:
                there = ", ".join(map(str, frame.columns))
                raise ValueError(f"trained_on: a column path is needed, not {there}")
            frame = frame["path"].dropna()
        names = list(map(str, frame))
    every = splits.every_path(dataset)
    hit = splits.positions(names, every)
    if (hit == splits.UNCLEAR).any():
        example = names[int(np.argmax(hit == splits.UNCLEAR))]
        raise ValueError(f"trained_on: {example} may be several pictures; give its folder")
    learnt = np.flatnonzero(tested["path"].isin(every[hit[hit >= 0]]))
    if len(learnt):
        example = tested["path"].iloc[learnt[0]]
        raise ValueError(
            f"the network learnt {len(learnt)} of the {len(tested)} pictures that it answers, such "
            f"as {example}: each fold needs a network of its own, which has not learnt its pictures"
        )


def _learnt_by_run(folder: Path, dataset: str) -> list[str]:
    """Of the set's pictures those that a run learnt: all where its chain began on the set, all but
    those that it tested where it is a run on it."""
    spec, every = read_spec(folder / "spec.json"), splits.every_path(dataset)
    if dataset in spec.stages:
        return every.tolist()
    if spec.dataset != dataset:
        return []
    its = read_answers(folder / "predictions.csv")["path"]
    tested = splits.positions(its, every)
    return every.drop(tested[tested >= 0]).tolist()


def _log_loss(labels, p_positive) -> float:
    return float(log_loss(labels, np.clip(p_positive, 1e-7, 1 - 1e-7), labels=[0, 1]))


def _scores(own: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """SCORE_COLUMNS: the mean over the folds of each of EVALUATED, with its 95% interval."""
    rows = []
    for metric in EVALUATED[: -len(RESAMPLED)]:
        found = statistics(own, metric)
        low, high = found["ci_low"], found["ci_high"]
        if np.isnan(low) and not np.isnan(found["mean"]):  # of one fold
            low, high = np.clip(mean_over_pictures(answers(own, metric)).interval(), 0, 100)
        rows.append((metric, found["mean"], low, high))
    values = own[RESAMPLED].mean()
    lows, highs = _bounds(tested, values.to_numpy())
    rows += list(zip(RESAMPLED, values, lows, highs, strict=True))
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def _bounds(tested: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """The 95% intervals of RESAMPLED around `values`, lows and highs: the basic bootstrap of the
    mean over folds, near-twins of a fold drawn together. They hold their value, which the bias of
    the calibration error could else leave outside."""
    folds = []
    for _, part in tested.groupby("fold"):
        part = part.reset_index(drop=True)
        groups = list(part.groupby("group").indices.values())
        folds.append((part["label"].to_numpy(), part["p_positive"].to_numpy(), groups))
    rng = np.random.default_rng(0)
    drawn = np.array([_resampled(folds, rng) for _ in range(TIMES)])
    known = ~np.isnan(values) & ~np.isnan(drawn).all(axis=0)
    bounds = np.full((2, len(values)), math.nan)
    apart = np.nanpercentile(drawn[:, known] - values[known], (97.5, 2.5), axis=0)
    low, high = values[known] - apart
    bounds[:, known] = np.minimum(low, values[known]), np.maximum(high, values[known])
    return np.maximum(bounds, 0)


def _resampled(folds: list[tuple], rng) -> np.ndarray:
    """RESAMPLED, the mean over folds, of pictures drawn again."""
    found = []
    for labels, p, groups in folds:
        rows = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        more = more_scores(labels[rows], p[rows]) | {"log_loss": _log_loss(labels[rows], p[rows])}
        found.append([math.nan if more[m] is None else more[m] for m in RESAMPLED])
    return np.mean(found, axis=0)


def _beside_constant(own: pd.DataFrame, tested: pd.DataFrame, dataset: str) -> dict:
    """How far the predictions are from always answering with the more frequent class."""
    share = tested["label"].mean()
    always = runs_of(tested.assign(p_positive=float(share >= 0.5)), dataset)
    found = paired(own, always, "accuracy")
    accuracy = always["accuracy"].mean()
    words = f"always answering with the more frequent class has {accuracy:.1f}%"
    if math.isnan(found["low"]):
        verdict = "Too few pictures to hold them against a constant answer."
    else:  # one seed, so that the interval over folds has a say, where there is one
        good = found["low"] > 0 and not found["t_low"] <= 0
        verdict = "Better than a constant answer" if good else NOT_BETTER
        verdict = f"{verdict}: {difference_cell(found)} points; {words}."
    chosen = {name: found[name] for name in ("difference", "low", "high")}
    return chosen | {"accuracy": accuracy, "verdict": verdict}


def _beside(own: pd.DataFrame, others: dict[str, pd.DataFrame], dataset: str) -> pd.DataFrame:
    """AGAINST, the best system first."""
    rows = [
        Row(dataset, "", own, runs, {"system": system, "accuracy": runs["accuracy"].mean()})
        for system, runs in others.items()
    ]
    found = with_verdicts(tidy_rows("evaluation", rows, ("accuracy",)), AGAINST)
    one_class = "one of the two answers with one class alone"
    found["verdict"] = found["verdict"].replace(NOT_TRAINED, one_class)
    return found.sort_values("accuracy", ascending=False, ignore_index=True)


def _sure_and_wrong(tested: pd.DataFrame) -> pd.DataFrame:
    """The pictures whose label got a probability of at most 1 − SURE_AT, the least first."""
    p = tested["p_positive"].where(tested["label"] == 1, 1 - tested["p_positive"])
    chosen = p[p <= 1 - SURE_AT + 1e-9].sort_values(kind="stable").index
    return tested.loc[chosen, ["path", "label", "p_positive"]].reset_index(drop=True)


def _label_errors(tested: pd.DataFrame, constant: dict) -> pd.DataFrame:
    """What cleanlab takes for errors of the labels, the likeliest first. None where the answers are
    not better than constant ones or a class is absent: they would blame labels for themselves."""
    from cleanlab.filter import find_label_issues

    columns = ["path", "label", "p_positive"]
    one_class = tested["label"].nunique() < 2 or (tested["p_positive"] >= 0.5).nunique() < 2
    if one_class or constant["verdict"].startswith(NOT_BETTER):
        return tested.iloc[:0][columns]
    p = tested["p_positive"].to_numpy()
    chosen = find_label_issues(
        tested["label"].to_numpy(),
        np.stack([1 - p, p], axis=1),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return tested.iloc[chosen][columns].reset_index(drop=True)
