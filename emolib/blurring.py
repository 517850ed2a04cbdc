"""Does the answer hang on what D marks? Blur it, blur as much elsewhere, and look: the deletion
test of Petsiuk et al. (BMVC 2018), with a blur in place of grey, whose edges would be new.

Works on any pictures: no known regions are needed.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms.v2.functional import gaussian_blur

from .pipeline import derived_seed, normalise
from .progress import bar

SHARES = (0.1, 0.25, 0.5)  # of the picture that is blurred
PLACES = ("where D is highest", "the same shape elsewhere", "where D is lowest", "the centre")
BATCH = 32


@torch.inference_mode()
def blurred(predictor, paths, shares=SHARES) -> pd.DataFrame:
    """One row a picture, share and place: how far the probability of the class that was predicted
    falls (points) when that share of the centre crop is blurred there.

    predictor: of a network with D (`emolib.load`). "The same shape elsewhere" is D's mask shifted
    round the picture by a random offset that follows from the picture's number. The blur's sigma is
    an eighth of the side.
    """
    size, rows = predictor.spec.image_size, []
    for start in bar(range(0, len(paths), BATCH), "pictures"):
        part = list(paths)[start:][:BATCH]
        views = torch.stack([torch.from_numpy(predictor.view(path)) for path in part])
        soft = _blur(views, size)
        images = normalise(views, predictor.model.pretrained_cfg, predictor.device)
        p = predictor.model(images).float().softmax(1)
        chosen = p.argmax(1)
        D = predictor.model.regions(images)[:, 0].cpu()
        for share in shares:
            for place in PLACES:
                masks = torch.stack([_mask(d, share, place, start + i) for i, d in enumerate(D)])
                masks = F.interpolate(masks[:, None].float(), (size, size))[:, 0, :, :, None] > 0.5
                changed = torch.where(masks, soft, views)
                changed = normalise(changed, predictor.model.pretrained_cfg, predictor.device)
                after = predictor.model(changed).float().softmax(1)
                falls = 100 * (p - after).gather(1, chosen[:, None])[:, 0]
                rows += [
                    {"path": str(path), "share": share, "blurred": place, "fall": float(fall)}
                    for path, fall in zip(part, falls, strict=True)
                ]
    return pd.DataFrame(rows, columns=["path", "share", "blurred", "fall"])


def compared(frame: pd.DataFrame) -> pd.DataFrame:
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


def _blur(views: torch.Tensor, size: int) -> torch.Tensor:
    """N×S×S×3 uint8, blurred with a sigma of an eighth of the side."""
    sigma = size / 8
    kernel = 2 * int(2 * sigma) + 1
    kernel = min(kernel, 2 * (size - 1) - 1 if size > 1 else 1)  # reflection needs a smaller half
    return gaussian_blur(views.permute(0, 3, 1, 2), [kernel, kernel], [sigma, sigma]).permute(
        0, 2, 3, 1
    )


def _mask(D: torch.Tensor, share: float, place: str, number: int) -> torch.Tensor:
    """h×w bool: which positions are blurred, `share` of them."""
    h, w = D.shape
    value = D if place != "where D is lowest" else -D
    if place == "the centre":
        y, x = torch.linspace(-1, 1, h)[:, None], torch.linspace(-1, 1, w)
        value = -(y**2 + x**2)
    count = max(1, round(share * h * w))
    mask = torch.zeros(h * w, dtype=torch.bool)
    mask[value.flatten().argsort(descending=True, stable=True)[:count]] = True
    mask = mask.view(h, w)
    if place == "the same shape elsewhere":
        rng = np.random.default_rng(derived_seed(number, 8))
        mask = mask.roll((int(rng.integers(1, h)), int(rng.integers(1, w))), (0, 1))
    return mask
