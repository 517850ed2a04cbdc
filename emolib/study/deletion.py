"""Does the answer hang on what D marks? Blur it, blur as much elsewhere, and look: deletion and
insertion (Petsiuk et al., BMVC 2018), with a blur in place of grey, whose edges would be new.

Works on any pictures: no known regions are needed.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms.v2.functional import gaussian_blur

from ..base.files import write_csv
from ..base.progress import bar
from ..data.batches import derived_seed, normalise
from ..spec.sets import in_words
from ..tables import significance, sources
from ..use.load import load

BLURRED_SHARES = (0.1, 0.25, 0.5)  # of the picture that is blurred
PLACES = ("where D is highest", "the same shape elsewhere", "where D is lowest", "the centre")
STEPS = tuple(i / 10 for i in range(11))  # of a curve
WAYS = ("deletion", "insertion")
BATCH = 32


def blurred(predictor, paths, shares=BLURRED_SHARES) -> pd.DataFrame:
    """One row a picture, share and place: how far the probability of the class that was predicted
    falls (points) when that share of the centre crop is blurred there.

    predictor: of a network with D (`emolib.load`). "The same shape elsewhere" is D's mask shifted
    round the picture by a random offset that follows from the picture's number. The blur's sigma is
    an eighth of the side.
    """
    frame = _tested(predictor, paths, shares, WAYS[:1])
    frame["fall"] = 100 * (frame.pop("before") - frame.pop("p"))
    return frame.rename(columns={"place": "blurred"})[["path", "share", "blurred", "fall"]]


def curves(predictor, paths) -> pd.DataFrame:
    """One row a picture, way, place and share: p of the class that was predicted when that share of
    the centre crop is blurred, the place first (deletion), or when the whole is blurred but for
    that share, the place first (insertion). Shares 0 to 1 in tenths; places as in `blurred`.

    Where the answer hangs on the place, the first curve falls early and the second rises early.
    Sharpening D's highest is blurring its lowest, so that one place's insertion is the other's
    deletion read from the right.
    """
    frame = _tested(predictor, paths, STEPS, WAYS)
    return frame[["path", "way", "place", "share", "p"]]


def of_runs(test, results, data, device: str = "auto", most: int = 100) -> pd.DataFrame:
    """`blurred` or `curves` (test) over the test pictures of each run, `most` of each, with the
    columns set, network (the seed) and fold."""
    frames = []
    for result in results:
        names = result.predictions["path"].sample(frac=1, random_state=0).head(most)
        frame = test(load(result.folder, device), [data.root / name for name in names])
        spec = result.spec
        frames.append(frame.assign(set=data.name, network=spec.seed, fold=spec.fold))
    return pd.concat(frames, ignore_index=True)


def curves_of_study(study, pictures: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`mean_curves` and `areas` of the default in every fold of a `Study`'s small sets (FI where it
    is alone), on so many test pictures of each; also written to its curves.csv and areas.csv, with
    the runs they come from (`sources`). Runs are trained where they are missing."""
    if not str(pictures).isdecimal() or int(pictures) < 1:
        raise ValueError(f"pictures={pictures!r}: a number of test pictures, at least 1")
    frames, named = [], {}
    for name in [d for d in study.datasets if d != "fi"] or study.datasets:
        results = study.run(study.specs(datasets=[name]))
        frames.append(of_runs(curves, results, study.open(name), study.device, int(pictures)))
        named[name] = sources.source_columns([result.folder for result in results])
    frame = pd.concat(frames, ignore_index=True)
    found = mean_curves(frame), areas(frame)
    for stem, table in zip(("curves", "areas"), found, strict=True):
        columns = [table["set"].map(lambda d, c=c: named[d][c]) for c in sources.SOURCE_COLUMNS]
        whose = dict(zip(sources.SOURCE_COLUMNS, columns, strict=True))
        write_csv(study.folder / f"{stem}.csv", table.assign(**whose))
    return found


def at_shares(study, pictures: int) -> tuple[str, pd.DataFrame]:
    """(which network, `compared` of `blurred`) of the default on the first fold of a `Study`'s
    first small set (FI where it is alone); as it is one network, four times as many pictures."""
    name = [*study.small, *study.datasets][0]
    (result,) = study.run(study.specs(datasets=[name])[:1])
    falls = of_runs(blurred, [result], study.open(name), study.device, 4 * int(pictures))
    return f"{in_words(name)}, fold {result.spec.fold}", compare_falls(falls)


def mean_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a set, way, place and share of `curves`: the mean p over pictures, then networks, with
    its 95% interval; `over` says over what."""
    return _over(frame, ["set", "way", "place", "share"], "p")


def areas(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a set, way and place of `curves`: the mean area under the curve, 0 to 1, and its
    difference to the area where D is highest, each with its 95% interval, `over` saying over what:
    `significance.over_runs` of the networks' means or, of one network, Student's t over pictures.

    Negative differences speak against D in deletion, positive ones in insertion.
    """
    keys = ["set", "network", "fold", "path", "way"]
    wide = frame.pivot(index=[*keys, "place"], columns="share", values="p")
    area = pd.Series(np.trapezoid(wide, wide.columns, axis=1), wide.index)
    each = area.unstack("place")[list(PLACES)]
    by = ["set", "way", "place"]
    found = _over(each.stack().rename("area").reset_index(), by, "area")
    minus = each.sub(each[PLACES[0]], axis=0).stack().rename("difference").reset_index()
    minus = _over(minus, by, "difference")
    for column, name in (("difference", "difference"), ("low", "d_low"), ("high", "d_high")):
        found[name] = minus[column].where(found["place"] != PLACES[0])
    return found


def compare_falls(frame: pd.DataFrame) -> pd.DataFrame:
    """A line for each share and place of `blurred`: the mean fall, its 95% interval over pictures,
    and p of Wilcoxon's signed-rank test against the blur where D is highest (1 where none differ).
    """
    rows = []
    wide = frame.pivot_table("fall", ["share", "path"], "blurred", sort=False)
    for share, falls in wide.groupby("share", sort=False):
        for place in (p for p in PLACES if p in falls):
            values = falls[place].to_numpy()
            half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
            differ = falls[PLACES[0]].to_numpy() - values
            p = stats.wilcoxon(differ).pvalue if differ.any() else np.nan
            rows.append(
                {
                    "share": share,
                    "blurred": place,
                    "fall": values.mean(),
                    "low": values.mean() - half,
                    "high": values.mean() + half,
                    "p": 1.0 if place != PLACES[0] and not differ.any() else p,
                    "pictures": len(values),
                }
            )
    return pd.DataFrame(rows)


def _over(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    rows = []
    for key, group in frame.groupby(by, sort=False):
        runs = group.groupby(["network", "fold"])[value].mean()
        found = significance.over_runs(runs, runs.index.get_level_values("network"))
        if len(runs) == 1 and len(group) > 1:
            low, high = significance.interval(group[value], 0)
            found |= {"low": low, "high": high, "over": f"{len(group)} pictures of one network"}
        found[value] = found.pop("mean")
        order = [value, "low", "high", "over"]
        rows.append(
            dict(zip(by, key, strict=True))
            | {k: found[k] for k in order}
            | {"networks": len(runs), "pictures": len(group)}
        )
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
        before = p.gather(1, chosen[:, None])[:, 0]
        D = predictor.model.regions(images)[:, 0].cpu()
        for way in ways:
            for share in shares:
                places = PLACES if 0 < share < 1 else PLACES[:1]  # all or nothing: no place
                masks = torch.stack(
                    [_mask(d, share, place, start + i) for place in places for i, d in enumerate(D)]
                )
                masks = ~masks if way == "insertion" else masks
                masks = F.interpolate(masks[:, None].float(), (size, size))[:, 0, :, :, None] > 0.5
                many = [each.repeat(len(places), 1, 1, 1) for each in (soft, views)]
                changed = torch.where(masks, *many)
                changed = normalise(changed, predictor.model.pretrained_cfg, predictor.device)
                after = predictor.model(changed).float().softmax(1)
                after = after.gather(1, chosen.repeat(len(places))[:, None]).view(len(places), -1)
                after = after.expand(len(PLACES), -1)
                rows += [
                    {
                        "path": str(path),
                        "way": way,
                        "share": share,
                        "place": place,
                        "before": float(before[i]),
                        "p": float(after[k, i]),
                    }
                    for k, place in enumerate(PLACES)
                    for i, path in enumerate(part)
                ]
    columns = ["path", "way", "share", "place", "before", "p"]
    return pd.DataFrame(rows, columns=columns)


def _blur(views: torch.Tensor, size: int) -> torch.Tensor:
    """N×S×S×3 uint8, blurred with a sigma of an eighth of the side."""
    sigma = size / 8
    kernel = 2 * int(2 * sigma) + 1
    kernel = min(kernel, 2 * (size - 1) - 1 if size > 1 else 1)  # reflection needs a smaller half
    return gaussian_blur(views.permute(0, 3, 1, 2), [kernel, kernel], [sigma, sigma]).permute(
        0, 2, 3, 1
    )


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
