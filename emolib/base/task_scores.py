"""What answers beyond polarity are worth, from a predictions.csv: libraries' measures, one place.

Numbers are plain: shares are 0…1 but for accuracy, F1 and confidence, which are in percent. None
where a measure is not defined, as a correlation with a constant answer.
"""

import math
import warnings

import numpy as np
import pandas as pd
import torch
from scipy.special import rel_entr
from sklearn import metrics as sk

from .emotions import NEGATIVE, POSITIVE, WHEEL, distances_on_wheel

LOWER = ("kl", "chebyshev", "clark", "canberra", "valence_mae", "arousal_mae")  # is better


def of_emotion(frame: pd.DataFrame) -> dict:
    """Of one emotion a picture, in percent: accuracy, balanced accuracy and macro F1; where the
    emotions have a polarity, how often the answer has the right one; where they are FI's eight, the
    confidence in confusions and in mistakes (`_on_wheel`)."""
    known, said = np.unique(_emotions(frame), return_inverse=True)[1].reshape(2, -1)  # numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of emotions that no test picture has
        balanced = sk.balanced_accuracy_score(known, said)
        f1 = sk.f1_score(known, said, labels=np.unique(known), average="macro", zero_division=0)
    means = {name: values.mean() for name, values in right_emotions(frame).items()}
    found = means | {"balanced_accuracy": 100 * balanced, "macro_f1": 100 * f1}
    return _whole(**found, **_of_mistakes(frame), n=len(frame))


def right_emotions(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Those scores of `of_emotion` that are a mean over pictures, picture by picture."""
    known, said = _emotions(frame)
    found = {"accuracy": 100.0 * (known == said)} | right_polarities(frame)
    if (apart := _on_wheel(frame)) is not None:
        found["ecc"] = 100 / apart
    return found


def right_polarities(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """{"polarity_accuracy": N of 100 or 0}: whether the emotions of the known one's polarity have
    at least as large a sum as the others. {} where some emotion known has no polarity."""
    names, p = columns(frame, "p_")
    if "emotion" not in frame or not {*frame["emotion"]} <= POSITIVE | NEGATIVE:
        return {}
    sides = [p[:, np.isin(names, list(side))].sum(1) for side in (NEGATIVE, POSITIVE)]
    known = frame["emotion"].isin(POSITIVE).to_numpy()
    return {"polarity_accuracy": 100.0 * ((sides[1] >= sides[0]) == known)}


def _emotions(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The known ones and the most probable ones."""
    names, p = columns(frame, "p_")
    return frame["emotion"].astype(str).to_numpy(), np.array(names)[p.argmax(1)]


def _on_wheel(frame: pd.DataFrame) -> np.ndarray | None:
    """W of each picture's known and answered emotion; None where an emotion is not on the wheel.
    ECC, the emotion confusion confidence (Zhao et al. 2024, Eq. 3), is the mean of 1/W."""
    known, said = _emotions(frame)
    on_it = {*columns(frame, "p_")[0], *known} <= {*WHEEL}
    return distances_on_wheel(known, said) if on_it else None


def _of_mistakes(frame: pd.DataFrame) -> dict[str, float]:
    """{"emc"}, the emotional mistake confidence (Eq. 4): the mean of 1/(W − 1) over the mistakes,
    in percent, no number without one. {} off the wheel."""
    if (apart := _on_wheel(frame)) is None:
        return {}
    wrong = apart[apart > 1]
    return {"emc": 100 * (1 / (wrong - 1)).mean() if len(wrong) else math.nan}


def of_distribution(frame: pd.DataFrame) -> dict:
    """Of people's votes: the six measures of Geng (TKDE 2016), each the mean over the pictures.
    Kullback-Leibler divergence from the votes, in nats; Chebyshev, Clark and Canberra distance:
    lower is better. Cosine and intersection: higher is better. And `right_polarities`, in percent,
    of the word for the picture where there is one."""
    return _whole(**{k: v.mean() for k, v in each_distribution(frame).items()}, n=len(frame))


def each_distribution(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The scores of `of_distribution` picture by picture."""
    return distances(frame) | right_polarities(frame)


def distances(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The six measures of `of_distribution` for each picture."""
    (_, known), (_, p) = columns(frame, "label_"), columns(frame, "p_")
    gap, total = np.abs(known - p), known + p
    ratio = np.divide(gap, total, out=np.zeros_like(gap), where=total > 0)
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(p, axis=1)
    return {
        "kl": rel_entr(known, np.maximum(p, np.finfo(float).tiny)).sum(1),
        "cosine": (known * p).sum(1) / lengths,
        "chebyshev": gap.max(1),
        "clark": np.sqrt((ratio**2).sum(1)),
        "canberra": ratio.sum(1),
        "intersection": np.minimum(known, p).sum(1),
    }


def of_several(frame: pd.DataFrame) -> dict:
    """Of several emotions a picture: mean average precision over those that some picture has, 0…1,
    and F1 averaged over the pictures, in percent, from 0.5 on; 100 where nothing is there to find
    and nothing was found."""
    (_, known), (_, p) = columns(frame, "label_"), columns(frame, "p_")
    there = np.flatnonzero(known.any(0))
    found = [sk.average_precision_score(known[:, k], p[:, k]) for k in there]
    precision = float(np.mean(found)) if found else None
    f1 = f1_of_several(frame)["example_f1"].mean()
    return _whole(mean_average_precision=precision, example_f1=f1, n=len(frame))


def f1_of_several(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The F1 of `of_several` picture by picture."""
    (_, known), (_, p) = columns(frame, "label_"), columns(frame, "p_")
    said = p >= 0.5
    both, all_of_them = (known * said).sum(1), known.sum(1) + said.sum(1)
    f1 = np.divide(2 * both, all_of_them, out=np.ones(len(frame)), where=all_of_them > 0)
    return {"example_f1": 100 * f1}


def of_scales(frame: pd.DataFrame) -> dict:
    """Of valence and arousal: Pearson's correlation, Lin's concordance, mean absolute error in
    points of the scale."""
    from torchmetrics.functional.regression import concordance_corrcoef, pearson_corrcoef

    found: dict = {}
    for name in (c.removeprefix("label_") for c in frame.columns if c.startswith("label_")):
        known, said = (torch.tensor(frame[c].to_numpy(float)) for c in (f"label_{name}", name))
        constant = len(known.unique()) == 1 or len(said.unique()) == 1
        found[f"{name}_pearson"] = None if constant else pearson_corrcoef(said, known)
        found[f"{name}_ccc"] = None if constant else concordance_corrcoef(said, known)
        found[f"{name}_mae"] = errors_of_scales(frame)[f"{name}_mae"].mean()
    return _whole(**found, n=len(frame))


def errors_of_scales(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The absolute errors of `of_scales` picture by picture."""
    names = [c.removeprefix("label_") for c in frame.columns if c.startswith("label_")]
    return {f"{n}_mae": (frame[n] - frame[f"label_{n}"]).abs().to_numpy(float) for n in names}


def columns(frame: pd.DataFrame, prefix: str) -> tuple[list[str], np.ndarray]:
    """(names, N×names float64) of the columns that begin with the prefix."""
    chosen = [c for c in frame.columns if c.startswith(prefix)]
    return [c.removeprefix(prefix) for c in chosen], frame[chosen].to_numpy(float)


def _whole(n: int, **found) -> dict:
    """Plain numbers, None for those that are none."""
    plain = {name: None if v is None else float(v) for name, v in found.items()}
    return {name: v if v is None or math.isfinite(v) else None for name, v in plain.items()} | {
        "n": n
    }
