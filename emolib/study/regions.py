"""Does D find the emotional regions? Predicted maps held against known ones (EmotionROI's stimuli
maps, Peng et al., ICIP 2016), and against maps that cost nothing."""

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from ..base import run_folder
from ..base.devices import autocast
from ..base.files import write_csv
from ..data.batches import centre, centre_box, cut, short_side
from ..data.cache import shrunk
from ..network.backbones import channels_first
from ..spec.run_spec import RunSpec
from ..tables import significance, sources
from ..tables.readings import READINGS_FOLDER, name_of
from ..use.load import of_folder
from .study import Study

MEASURES = ("AUC", "NSS", "CC", "precision", "recall", "F", "MAE")
CHANCE = {"AUC": 0.5, "NSS": 0.0, "CC": 0.0}  # what a map scores that knows nothing
MAPS = ("D", "D before", "A1", "A2", "A3", "Grad-CAM", "centre", "uniform")
REGION_COLUMNS = ["set", "reading", "network", "fold", "map", *MEASURES, "pictures", "left out"]
REGION_COLUMNS += ["run", *sources.SOURCE_COLUMNS]
COMPARED_COLUMNS = ["set", "reading", "map", "measure", "mean", "low", "high", "over"]
COMPARED_COLUMNS += ["D_minus", "D_minus_low", "D_minus_high"]
BETA = 0.3**0.5  # precision counts more (Achanta et al., CVPR 2009)


def measures(predicted, known) -> pd.DataFrame:
    """MEASURES of n predicted maps, a row each.

    predicted: n×h×w, any scale. known: n×h×w in 0…1; positions above 0.5 are inside.

    - AUC: the chance that a position inside scores higher than one outside.
    - NSS: the mean inside, of the map with mean 0 and variance 1.
    - CC: Pearson's correlation with the known map.
    - precision, recall and F (β² = 0.3): of the positions that reach twice the map's mean, or its
      maximum where that is less (Achanta et al.).
    - MAE: the mean distance to the known map (the measure of Peng et al.'s Fig. 6).

    The last four are of the map stretched to 0…1, as in saliency benchmarks. A constant map cannot
    be stretched and counts as ½ everywhere: AUC ½, NSS and CC 0, everything chosen.

    All nan where the known regions are everything or nothing, because they do not say where. Raises
    ValueError for maps of two shapes, and for values that are no numbers.
    """
    from torchmetrics.functional import classification as of_binary

    predicted, known = np.asarray(predicted, float), np.asarray(known, float)
    if predicted.shape != known.shape:
        shapes = f"predicted maps are {predicted.shape}, known ones {known.shape}"
        raise ValueError(f"{shapes}: bring them to one size")
    if not np.isfinite(predicted).all() or not np.isfinite(known).all():
        raise ValueError("predicted or known: values that are no finite numbers")
    P, K = predicted.reshape(len(predicted), -1), known.reshape(len(known), -1)
    inside = K > 0.5
    says = inside.any(1) & ~inside.all(1)
    low, high = P.min(1, keepdims=True), P.max(1, keepdims=True)
    unit = np.where(high > low, (P - low) / np.where(high > low, high - low, 1), 0.5)
    z, of_known = _standardised(unit), _standardised(K)
    threshold = np.minimum(2 * unit.mean(1), unit.max(1))
    chosen = torch.from_numpy(unit >= threshold[:, None]).int(), torch.from_numpy(inside).int()
    each: dict[str, Any] = {"multidim_average": "samplewise"}
    three = zip(inside, unit, says, strict=True)
    found = {
        "AUC": [roc_auc_score(i, u) if s else np.nan for i, u, s in three],
        "NSS": (z * inside).sum(1) / inside.sum(1).clip(min=1),
        "CC": (z * of_known).mean(1),
        "precision": of_binary.binary_precision(*chosen, **each).numpy(),
        "recall": of_binary.binary_recall(*chosen, **each).numpy(),
        "F": of_binary.binary_fbeta_score(*chosen, beta=BETA, **each).numpy(),
        "MAE": np.abs(unit - K).mean(1),
    }
    frame = pd.DataFrame(found, dtype=float)
    frame[~says] = np.nan
    return frame


def known_map(map_file, picture, image_size: int, size: int) -> np.ndarray:
    """A stimuli map, of any size, cropped as its picture is in a test: size×size in 0…1, by areas.
    Raises ValueError that names it where it is of another shape, or not readable."""
    side = short_side(image_size)
    there, its = shrunk(map_file, side), shrunk(picture, side)
    h, w = there.shape[:2]
    if max(abs(h - its.shape[0]), abs(w - its.shape[1])) > 1:  # one: rounding
        both = f"{h}×{w} against {its.shape[0]}×{its.shape[1]} at the same short side"
        shape = f"another shape than its picture {Path(picture).name} ({both})"
        raise ValueError(f"{map_file}: a map of {shape}; make it anew")
    view = cut(there, centre_box(h, w, image_size), image_size)[:, :, 0].float() / 255
    return F.interpolate(view[None, None], size=(size, size), mode="area")[0, 0].numpy()


def maps(result, paths, device: str = "auto") -> dict[str, np.ndarray]:
    """{name: n×h×w} of MAPS, all at D's size, of a run and its relatives on some pictures.

    A1 to A3 are the gates of Eq. 1 and 3 (Shuffle Attention's: mean over channels). "D before" is
    the D of the run that this one starts from. "Grad-CAM" is of the plain backbone's run
    (`plain_run`). Both are there only where that run is, weights included. "centre" is a Gaussian.
    """
    predictor = of_folder(result.folder, device)
    parts: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad(), autocast(predictor.spec.precision, predictor.device):
        for images, _ in predictor.batches(list(paths)):
            for name, one in predictor.model.maps(images).items():
                if name in MAPS:
                    parts.setdefault(name, []).append(one.mean(1).float().cpu())
    D = torch.cat(parts.pop("D"))
    found = {"D": D.numpy()}
    if before := _before(result):
        found["D before"] = of_folder(before, device).regions(paths)
    found |= {name: _at(torch.cat(gates), D) for name, gates in parts.items()}
    if plain := plain_run(result):
        predictor = of_folder(plain.folder, device)
        cams = [grad_cam(predictor.model, x).cpu() for x, _ in predictor.batches(list(paths))]
        found["Grad-CAM"] = _at(torch.cat(cams), D)
    y, x = (np.linspace(-1, 1, side) for side in D.shape[1:])
    spot = np.exp(-(y[:, None] ** 2 + x[None] ** 2))
    return found | {"centre": np.broadcast_to(spot, D.shape), "uniform": np.ones(D.shape)}


def plain_run(result):
    """The complete run of `result`'s backbone alone beside it: on the same set and fold, else the
    one on a set that `result` was pre-trained on; None where there is neither."""
    spec = result.spec
    seen = operator.attrgetter("model", "image_size", "seed")
    names = "dataset fold split_seed grouped apart official agree labels split".split()
    split = operator.attrgetter(*names)
    wanted = (spec.backbone, spec.image_size, spec.seed)
    plain = [r for r in _runs(result.folder.parent) if seen(r.spec) == wanted]
    found = [r for r in plain if split(r.spec) == split(spec)]
    found += [r for stage in spec.stages for r in plain if r.spec.dataset == stage]
    return found[0] if found else None


def measured(results, data, default: RunSpec, device: str = "auto") -> pd.DataFrame:
    """A row (REGION_COLUMNS) a run and map, on the run's own test pictures of `data`.

    reading: what differs from `default`. network: the seed. The measures are means over pictures.
    left out: pictures whose known regions fill all or nothing of the crop. run: whose map it is.
    run_ids, weights: as `sources` says, of the run whose test pictures these are, then of `run`.
    Raises ValueError for a set without stimuli maps, and for a map that does not fit.
    """
    if not data.maps:
        raise ValueError(f"{data.name}: {data.root} has no stimuli maps to measure against")
    index, rows = {name: i for i, name in enumerate(data.names)}, []
    for result in results:
        tested = [index[name] for name in result.predictions["path"]]
        found, known = _both_maps(result, data, tested, device)
        spec, of_plain = result.spec, plain_run(result)
        of_run = {"set": data.name, "reading": name_of(spec, default)}
        of_run |= {"network": spec.seed, "fold": spec.fold}
        others = {"D before": _before(result), "Grad-CAM": of_plain and of_plain.folder}
        others |= dict.fromkeys(("centre", "uniform"))
        for name in (name for name in MAPS if name in found):
            scores = measures(found[name], known)
            said = scores["AUC"].notna()
            folder = others.get(name, result.folder)
            row = of_run | {"map": name, "run": folder.name if folder else ""}
            row |= {"pictures": int(said.sum()), "left out": int((~said).sum())}
            row |= sources.source_columns([result.folder, folder or result.folder])
            rows.append(row | dict(scores[said].mean()))
    return pd.DataFrame(rows, columns=REGION_COLUMNS)


def regions_of_study(study: Study, networks: int | str = "") -> pd.DataFrame:
    """`measured` for every set of the study that has maps, also written to its regions.csv. Empty
    where none has. The runs: the default in every fold and from other seeds
    (`Study.other_networks`), trained where they are missing; and those of <study>/readings with D.
    """
    frames = [pd.DataFrame(columns=REGION_COLUMNS)]
    for name in (name for name in study.datasets if study.open(name).maps):
        results = study.run(study.specs(datasets=[name])) + study.other_networks(name, networks)
        known = {r.spec for r in results}
        for run in _runs(study.folder / READINGS_FOLDER / "runs"):
            if run.spec.dataset == name and run.spec not in known and has_regions(run.spec):
                results.append(run)
        frames.append(measured(results, study.open(name), study.spec(name), study.device_here))
    frame = pd.concat(frames[1:] or frames, ignore_index=True)
    if len(frame):
        write_csv(study.folder / "regions.csv", frame)
    return frame


def examples(result, data, device: str = "auto", count: int = 8) -> tuple:
    """(views n×S×S×3, maps, known n×h×w, emotions) of random test pictures of a run, to look at."""
    names = result.predictions["path"].sample(frac=1, random_state=1).head(count)
    chosen = [data.names.index(name) for name in names]
    found, known = _both_maps(result, data, chosen, device)
    views = [centre(data.paths[i], result.spec.image_size).numpy() for i in chosen]
    found = {name: found[name] for name in found if name not in ("centre", "uniform")}
    return views, found, known, data.emotions[chosen]


def compare_maps(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a set, reading, map and measure of `measured`: the mean over networks with its 95%
    interval (`significance.over_runs`), and D's minus it (D_minus), over the runs that have both.
    `over` says over what the intervals are."""
    rows = []
    for (name, reading), group in frame.groupby(["set", "reading"], sort=False):
        runs = group.set_index(["network", "fold"])
        D = runs[runs["map"] == "D"]
        for kind in (kind for kind in MAPS if (runs["map"] == kind).any()):
            its = runs[runs["map"] == kind]
            for measure in MEASURES:
                values = its[measure].dropna()
                row = {"set": name, "reading": reading, "map": kind, "measure": measure}
                row |= _over(values) if len(values) else _NOTHING
                difference = (D[measure] - its[measure]).dropna()
                if kind != "D" and len(difference):
                    found = _over(difference)
                    row |= {"D_minus": found["mean"]}
                    row |= {f"D_minus_{end}": found[end] for end in ("low", "high")}
                rows.append(row)
    return pd.DataFrame(rows, columns=COMPARED_COLUMNS)


def has_regions(spec: RunSpec) -> bool:
    """Whether the spec's network has a D."""
    only_O4 = not spec.afa and spec.readings.without_afa == "gated"
    return spec.model == "maiafa" and spec.mai and not only_O4


_NOTHING = {"mean": np.nan, "low": np.nan, "high": np.nan, "over": "no picture says where"}


def _both_maps(result, data, chosen, device: str) -> tuple[dict, np.ndarray]:
    """`maps`, and the known ones at their size, of the pictures at the indices `chosen`."""
    found = maps(result, [data.paths[i] for i in chosen], device)
    side, size = result.spec.image_size, found["D"].shape[-1]
    known = [known_map(data.maps[i], data.paths[i], side, size) for i in chosen]
    return found, np.stack(known)


def _standardised(maps: np.ndarray) -> np.ndarray:
    """n×positions with mean 0 and variance 1, 0 where constant."""
    centred, spread = maps - maps.mean(1, keepdims=True), maps.std(1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(maps), where=spread > 0)


def _over(values: pd.Series) -> dict:
    return significance.over_runs(values, values.index.get_level_values("network"))


def _at(found: torch.Tensor, D: torch.Tensor) -> np.ndarray:
    """n×h×w at D's size."""
    return F.interpolate(found[:, None], D.shape[1:], mode="bilinear")[:, 0].numpy()


def _runs(folder: Path) -> list:
    """The complete runs in `folder` whose weights are there."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return [run_folder.read_run(f) for f in there if run_folder.has_weights(f)]


def _before(result) -> Path | None:
    """The folder of the run that `result` started from, where it is there with its weights and saw
    pictures of the same size."""
    earlier = result.spec.predecessor()
    if earlier is None or earlier.image_size != result.spec.image_size:
        return None
    folder = result.folder.parent / earlier.id
    return folder if run_folder.has_weights(folder) else None


def grad_cam(model: nn.Module, images: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017), a plain backbone's own answer to where: images
    N×3×H×W → N×h×w, at least 0, of the class that each is predicted to be.

    The last map's channels, each weighted by the mean over positions of the gradient of that
    class's logit (their Eq. 1), summed and cut at 0 (Eq. 2). All 0 where nothing speaks for it.

    model: a timm model used whole, in eval mode. Raises ValueError where its last features are no
    map, such as a ViT's.
    """
    with torch.no_grad():
        found = model.forward_features(images)  # type: ignore[operator]
    if found.dim() != 4:
        name = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
        wrong = "it has no last feature map; take a convolutional backbone"
        raise ValueError(f"Grad-CAM of {name!r}: {wrong}")
    with torch.enable_grad():
        found.requires_grad_()
        best = model.forward_head(found).amax(1).sum()  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(best, found)
    weights = channels_first(model, gradient).mean((2, 3), keepdim=True)
    return (weights * channels_first(model, found.detach())).sum(1).relu()
