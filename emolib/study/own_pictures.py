"""A classifier for pictures of one's own: what is to be expected of it, and the network itself."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from ..base.metrics import calibration_error, cross_tempered, fitted_temperature
from ..spec.run_spec import RunSpec
from ..tables.comparison import Row, tidy_rows, with_verdicts
from ..tables.frame import frame_of, near_twins
from ..training.fitting import fitted
from ..use.load import of_folder
from ..use.predict import Predictor
from ..use.saved import short_card
from .settings import alone
from .study import Study

BESIDE = "frozen_probe"  # what a trained network has to be better than
COOLEST = 1.0  # temperature: a few easy pictures are no ground to be surer than was learnt
STANDING = "method mean ci_low ci_high majority difference low high p_holm verdict".split()


def chosen(study: Study) -> Study:
    """The study on one set alone: `own`, or the first where there is none."""
    return study.only("own" if "own" in study.datasets else study.datasets[0])


def runs(study: Study) -> list[RunSpec]:
    """The set's folds, by the network and by a logistic regression on its backbone's features."""
    return study.specs() + study.rivals(BESIDE, "matched")


def standing(study: Study, results) -> pd.DataFrame:
    """Accuracy of each system of `results` over the set's folds, in percent with its interval over
    test pictures; what a constant answer reaches (majority); how far the others are from the
    network (STANDING)."""
    found = frame_of((r.folder for r in results), near_twins(study.folder))
    groups = dict(list(found.groupby("method", sort=False)))
    own, (dataset,) = groups.pop("normal"), study.datasets
    positive = 100 * pd.concat(own["answers"].tolist())["label"].mean()
    facts = {"majority": max(positive, 100 - positive)}
    rows = [Row(dataset, "maiafa", own, None, facts)]
    rows += [Row(dataset, method, theirs, own, facts) for method, theirs in groups.items()]
    return with_verdicts(tidy_rows("own", rows, ("accuracy",)), STANDING)


def most_wrong(results, count: int = 12) -> pd.DataFrame:
    """The test pictures of the network's runs whose label it gave the least probability: path,
    label, p_positive. Where it is sure and wrong, look at the label too."""
    tested = _tested(results).drop_duplicates("path")
    distance = (tested["label"] - tested["p_positive"]).abs()
    worst = tested.loc[distance.to_numpy() >= 0.5].assign(distance=distance)
    return worst.nlargest(count, "distance")[["path", "label", "p_positive"]]


def calibration_frame(results) -> pd.DataFrame:
    """How far the network's p_positive is from what happens, as trained and by the temperature of
    `train_on_all`, here each fold by that of the others: the calibration error (ten bins of equally
    many pictures, percent) and the log loss. Of one fold, each fifth by that of the others."""
    tested = _tested(results)
    labels, p, fold = tested["label"], tested["p_positive"], tested["fold"].to_numpy()
    parts = fold if len(set(fold)) > 1 else np.arange(len(fold)) % 5
    rows, calibrated = [], cross_tempered(labels, p, parts, COOLEST)
    for way, q in {"as trained": p, "calibrated": calibrated}.items():
        loss = log_loss(labels, q, labels=[0, 1])
        rows.append({"p_positive": way, "ece": calibration_error(labels, q), "log_loss": loss})
    return pd.DataFrame(rows)


def train_on_all(study: Study, results) -> Predictor:
    """A network trained on all pictures of the set by the settings of its folds' runs, but without
    a chain's start from another set. Its temperature is fitted on what the folds' networks, in
    `results`, said of their test pictures; 1 where `calibration_frame` is no better for one."""
    data, of_a_fold = study.open(study.datasets[0]), study.specs()[0]
    spec = alone(of_a_fold)
    found = fitted(spec, data, study.weights, study.device)
    tested, (before, after) = _tested(results), calibration_frame(results)["log_loss"]
    labels, p = tested["label"], tested["p_positive"]
    heat = fitted_temperature(labels, p, COOLEST) if after < before else 1.0
    kind, right = "drawn " if data.demo else "", 100 * ((p >= 0.5) == labels).mean()
    first = f" (and on {', '.join(of_a_fold.stages)} before)" * bool(of_a_fold.stages)
    said = (
        f"It learnt all {len(data)} {kind}pictures of a list, {data.labels.sum()} of them labelled "
        f"positive. Networks with the same settings, each trained without a part of the "
        f"list{first}, were right on {right:.1f} % of the pictures of that part."
    )
    said += f" Its temperature, {heat:.2f}, is fitted on what they said of these." * (heat != 1)
    card = short_card(spec, said)
    return Predictor(spec, found.network, found.device, study.weights, heat, data.demo, card=card)


def saved_and_loaded(study: Study, results) -> tuple[Path, Predictor]:
    """(the folder own_network/ of the study, the network of `train_on_all` loaded from there).
    Where the pictures are drawn the study's note says it, and no warning once more."""
    folder = train_on_all(study, results).save(study.folder / "own_network")
    return folder, of_folder(folder, study.device)


def _tested(results) -> pd.DataFrame:
    """path, label, p_positive and fold of the test pictures of the network's runs."""
    mine = [r for r in results if r.spec.method == "normal"]
    return pd.concat([r.predictions.assign(fold=r.spec.fold) for r in mine], ignore_index=True)
