"""Does the answer hang on what D marks? Deletion and insertion (Petsiuk et al., BMVC 2018).

A picture is blurred where D is high, and as much of it elsewhere. The paper's grey is a blur here,
because the edges of grey would be new. No known regions are needed.
"""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms.v2.functional import gaussian_blur

from ..base.files import write_csv
from ..base.progress import bar
from ..base.run_folder import has_weights
from ..data.batches import derived_seed, normalise
from ..spec.sets import in_words
from ..tables import significance, sources
from ..use.load import of_folder
from .study import Study

BLURRED_SHARES = (0.1, 0.25, 0.5)  # of the picture that is blurred
PLACES = ("where D is highest", "the same shape elsewhere", "where D is lowest", "the centre")
STEPS = tuple(i / 10 for i in range(11))  # of a curve
WAYS = ("deletion", "insertion")
BATCH = 32


def blurred(predictor, paths, shares=BLURRED_SHARES) -> pd.DataFrame:
    """One row a picture, share and place: how far the probability of the class that was predicted
    falls (points) when that share of the centre crop is blurred there.

    predictor: of a network with D (`emolib.load`). "The same shape elsewhere" is D's mask, shifted
    round the picture by a random offset that follows from the picture's number.
    """
    frame = _tested(predictor, paths, shares, WAYS[:1])
    frame["fall"] = 100 * (frame.pop("before") - frame.pop("p"))
    return frame.rename(columns={"place": "blurred"})[["path", "share", "blurred", "fall"]]


def curves(predictor, paths) -> pd.DataFrame:
    """One row a picture, way, place and share: p of the class that was predicted.

    Deletion: that share of the centre crop is blurred, beginning at the place. Insertion: all but
    that share is. Shares are 0 to 1 in tenths, places those of `blurred`. Where the answer hangs on
    the place, deletion's curve falls early and insertion's rises early. D's lowest inserted is its
    highest deleted, read from the right.
    """
    return _tested(predictor, paths, STEPS, WAYS)[["path", "way", "place", "share", "p"]]


def of_runs(test, results, data, device: str, most: int) -> pd.DataFrame:
    """`blurred` or `curves` (test) over the test pictures of each run, `most` of each, with the
    columns set, network (the seed) and fold."""
    frames = []
    for result in results:
        names = result.predictions["path"].sample(frac=1, random_state=0).head(most)
        frame = test(of_folder(result.folder, device), [data.root / name for name in names])
        spec = result.spec
        frames.append(frame.assign(set=data.name, network=spec.seed, fold=spec.fold))
    return pd.concat(frames, ignore_index=True)


def curves_of_study(study: Study, pictures: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`mean_curves` and `areas` of the default in every fold of the small sets, or of FI where it
    is alone, trained where they are missing, and of the study's other seeds (`of_other_seeds`) that
    have every fold, with its weights. Also written to the study's curves.csv and areas.csv, with
    their runs (`sources`). pictures: test pictures of each network; ValueError for less than 1.
    """
    if not str(pictures).isdecimal() or int(pictures) < 1:
        raise ValueError(f"pictures={pictures!r}: a number of test pictures, at least 1")
    frames, whose = [], []
    for name in study.small or study.datasets:
        specs = study.specs(datasets=[name])
        results = study.run(specs) + _whole_seeds(study.of_other_seeds(specs), len(specs))
        frames.append(of_runs(curves, results, study.open(name), study.device_here, int(pictures)))
        whose.append({"set": name} | sources.source_columns([r.folder for r in results]))
    frame = pd.concat(frames, ignore_index=True)
    means, of_curves = mean_curves(frame), areas(frame)
    for stem, table in (("curves", means), ("areas", of_curves)):
        write_csv(study.folder / f"{stem}.csv", table.merge(pd.DataFrame(whose), on="set"))
    return means, of_curves


def _whole_seeds(results: list, folds: int) -> list:
    """Those of seeds of which every fold is there with its weights; the others' number is said."""
    with_weights = [r for r in results if has_weights(r.folder)]
    count = Counter(r.spec.seed for r in with_weights)
    kept = [r for r in with_weights if count[r.spec.seed] == folds]
    if len(kept) < len(results):
        print(f"Left out: {len(results) - len(kept)} runs of seeds without every fold's weights.")
    return sorted(kept, key=lambda r: (r.spec.seed, r.spec.fold))


def at_shares(study: Study, pictures: int) -> tuple[str, pd.DataFrame]:
    """(which network, `compare_falls` of it): the default on the first fold of the first small set,
    or of FI where it is alone. As it is one network, four times as many pictures."""
    name = [*study.small, *study.datasets][0]
    (result,) = study.run(study.specs(datasets=[name])[:1])
    falls = of_runs(blurred, [result], study.open(name), study.device_here, 4 * int(pictures))
    return f"{in_words(name)}, fold {result.spec.fold}", compare_falls(falls)


def mean_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a set, way, place and share of `curves`: the mean p over pictures, then networks, with
    its 95% interval. `over` says over what the interval is."""
    return _means(frame, ["set", "way", "place", "share"], "p")


def areas(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a set, way and place of `curves`: the mean area under the curve, 0 to 1, and its
    difference to the area where D is highest. Each has its 95% interval (d_low and d_high: the
    difference's). `over` says over what.

    Intervals are `significance.over_runs` of the networks' means or, of one network, Student's t
    over pictures. Negative differences speak against D in deletion, positive ones in insertion.
    """
    keys = ["set", "network", "fold", "path", "way"]
    wide = frame.pivot(index=[*keys, "place"], columns="share", values="p")
    area = pd.Series(np.trapezoid(wide, wide.columns, axis=1), wide.index)
    each = area.unstack("place")[list(PLACES)]
    difference = each.sub(each[PLACES[0]], axis=0)
    found, minus = (
        _means(values.stack().rename("area").reset_index(), ["set", "way", "place"], "area")
        for values in (each, difference)
    )
    for column, name in (("area", "difference"), ("low", "d_low"), ("high", "d_high")):
        found[name] = minus[column].where(found["place"] != PLACES[0])
    return found


def compare_falls(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a share and place of `blurred`: the mean fall, its 95% interval over pictures, and
    Wilcoxon's signed-rank p against the blur where D is highest (1 where none differ)."""
    rows = []
    wide = frame.pivot_table("fall", ["share", "path"], "blurred", sort=False)
    for share, falls in wide.groupby("share", sort=False):
        for place in (p for p in PLACES if p in falls):
            values = falls[place].to_numpy()
            low, high = significance.interval(values, 0)
            differ = falls[PLACES[0]].to_numpy() - values
            p = stats.wilcoxon(differ).pvalue if differ.any() else 1.0
            p = np.nan if place == PLACES[0] else p
            rows.append((share, place, values.mean(), low, high, p, len(values)))
    return pd.DataFrame(rows, columns="share blurred fall low high p pictures".split())


def _means(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """A line a group: the mean of `value` over its runs' means, with its interval."""
    rows = []
    for key, group in frame.groupby(by, sort=False):
        runs = group.groupby(["network", "fold"])[value].mean()
        found = significance.over_runs(runs, runs.index.get_level_values("network"))
        if len(runs) == 1 and len(group) > 1:
            low, high = significance.interval(group[value], 0)
            found |= {"low": low, "high": high, "over": f"{len(group)} pictures of one network"}
        row = dict(zip(by, key, strict=True)) | {value: found.pop("mean")} | found
        rows.append(row | {"networks": len(runs), "pictures": len(group)})
    return pd.DataFrame(rows)


@torch.inference_mode()
def _tested(predictor, paths, shares, ways) -> pd.DataFrame:
    """One row a picture, way, share and place: p of the class that was predicted, on the picture as
    it is (`before`) and with its mask blurred (`p`)."""
    size, rows, paths = predictor.spec.image_size, [], list(paths)
    for start in bar(range(0, len(paths), BATCH), "pictures"):
        part = paths[start:][:BATCH]
        views = torch.stack([torch.from_numpy(predictor.view(path)) for path in part])
        soft = _blur(views, size)
        images = normalise(views, predictor.model.pretrained_cfg, predictor.device)
        p = predictor.model(images).float().softmax(1)
        chosen = p.argmax(1)
        before = p.gather(1, chosen[:, None])[:, 0].tolist()
        D = predictor.model.regions(images)[:, 0].cpu()
        for way, share in itertools.product(ways, shares):
            places = PLACES if 0 < share < 1 else PLACES[:1]  # all or nothing: no place
            each = itertools.product(places, enumerate(D, start))
            masks = torch.stack([_mask(d, share, place, i) for place, (i, d) in each])
            masks = ~masks if way == "insertion" else masks
            masks = F.interpolate(masks[:, None].float(), (size, size))[:, 0, :, :, None] > 0.5
            times = (len(places), 1, 1, 1)
            mixed = torch.where(masks, soft.repeat(times), views.repeat(times))
            mixed = normalise(mixed, predictor.model.pretrained_cfg, predictor.device)
            after = predictor.model(mixed).float().softmax(1)
            after = after.gather(1, chosen.repeat(len(places))[:, None]).view(len(places), -1)
            for place, p_there in zip(PLACES, after.expand(len(PLACES), -1).tolist(), strict=True):
                seen = zip(map(str, part), before, p_there, strict=True)
                rows += [(path, way, share, place, *both) for path, *both in seen]
    return pd.DataFrame(rows, columns=["path", "way", "share", "place", "before", "p"])


def _blur(views: torch.Tensor, size: int) -> torch.Tensor:
    """N×S×S×3 uint8, blurred with a sigma of an eighth of the side."""
    sigma = size / 8
    kernel = 2 * int(2 * sigma) + 1
    kernel = min(kernel, 2 * (size - 1) - 1 if size > 1 else 1)  # reflection needs a smaller half
    soft = gaussian_blur(views.permute(0, 3, 1, 2), [kernel, kernel], [sigma, sigma])
    return soft.permute(0, 2, 3, 1)


def _mask(D: torch.Tensor, share: float, place: str, number: int) -> torch.Tensor:
    """h×w bool: the first `share` of the positions, at least one unless it is 0."""
    h, w = D.shape
    value = D if place != "where D is lowest" else -D
    if place == "the centre":
        y, x = torch.linspace(-1, 1, h)[:, None], torch.linspace(-1, 1, w)
        value = -(y**2 + x**2)
    count = max(share > 0, round(share * h * w))
    mask = torch.zeros(h * w, dtype=torch.bool)
    mask[value.flatten().argsort(descending=True, stable=True)[:count]] = True
    mask = mask.view(h, w)
    if place == "the same shape elsewhere":
        rng = np.random.default_rng(derived_seed(number, 8))
        mask = mask.roll((int(rng.integers(1, h)), int(rng.integers(1, w))), (0, 1))
    return mask
