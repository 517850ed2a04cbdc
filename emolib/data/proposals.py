"""Where a picture may hold something: boxes that some rivals look at more closely.

A finder turns a picture into COUNT×5 numbers, one row a box: left, top, right, bottom as shares of
the picture's sides, and a score above 0. Rows that are not needed are zero. Boxes of a whole set
are found once and kept beside the packed cache.

They are OpenCV's, or a detector's of torchvision's, COCO-trained (`RunSpec.detector`). Its weights
come from the folder `weights` (<name>.safetensors or <name>.pth, torchvision's tensors) or from
torchvision's download; without either it is an error, never a random detector.
"""

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import filelock
import joblib
import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from sklearn.cluster import SpectralClustering
from timm.models import load_state_dict
from torch import Tensor

from ..base.devices import changed
from ..base.files import sha256, whole_file
from . import cache
from .pictures import shrink

BOXES_VERSION = 3  # of what the finders below give
COUNT = 20  # boxes a picture, at most: the m of affective regions' code
SIDE = 96  # px; short side at which boxes are looked for
MOST_BOXES = 100  # boxes before the choice
SMALLEST_SIDE = 0.125  # of the short side; the code asks for 28 px, whatever the picture's size
SURE = 0.7  # score from which on a torchvision detection is a salient object
LEAST = 0.05  # torchvision's own: below it nothing is detected
SLIMMEST = 6.0  # ratio of the sides, the code's


def object_boxes(image: np.ndarray) -> np.ndarray:
    """COUNT×5 boxes that objects may fill, of h×w×3 uint8 RGB: EdgeBoxes (Zitnick & Dollár 2014,
    OpenCV), then `one_a_cluster`. Edges are Sobel's on Canny's lines; OpenCV's structured edges
    would need a model file."""
    h, w = image.shape[:2]
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (3, 3), 0)
    dx, dy = cv2.Sobel(grey, cv2.CV_16S, 1, 0), cv2.Sobel(grey, cv2.CV_16S, 0, 1)
    # not cv2.magnitude, whose last bits follow from where the arrays lie in memory
    strength = np.hypot(dx, dy, dtype=np.float32)
    strong = max(float(np.quantile(strength, 0.8)), 1.0)
    edges = np.where(cv2.Canny(dx, dy, strong / 2, strong) > 0, strength, 0)
    edges = edges / strength.max(initial=1)
    direction = np.arctan2(dy, dx).astype(np.float32) % np.pi
    finder = cv2.ximgproc.createEdgeBoxes(maxBoxes=MOST_BOXES)
    found, scores = finder.getBoundingBoxes(edges.astype(np.float32), direction)
    if not len(found):
        return np.zeros((COUNT, 5), np.float32)
    left, top, width, height = np.asarray(found, float).T
    keep = np.minimum(width, height) >= SMALLEST_SIDE * min(h, w)
    keep &= np.maximum(width, height) <= SLIMMEST * np.minimum(width, height)
    boxes = np.stack([left / w, top / h, (left + width) / w, (top + height) / h], 1)
    return _rows(*one_a_cluster(boxes[keep].clip(0, 1), np.ravel(scores)[keep]))


def one_a_cluster(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best-scored box of each of COUNT clusters of boxes that overlap (normalised cut, as in
    affective regions' code): W_ij = inter(i,j)/area(i), made symmetric. All of up to COUNT."""
    if len(boxes) <= COUNT:
        return boxes, scores
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    overlap = np.minimum(high, boxes[None, :, 2:]) - np.maximum(low, boxes[None, :, :2])
    inter = overlap.clip(min=0).prod(2)
    W = inter / (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]
    how = {"affinity": "precomputed", "assign_labels": "cluster_qr", "random_state": 0}
    # 1e-6: every box is of one piece with the rest
    clusters = SpectralClustering(COUNT, **how).fit_predict(W + W.T + 1e-6)
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(clusters[order], return_index=True)
    return boxes[order[first]], scores[order[first]]


def salient(image: np.ndarray) -> np.ndarray:
    """COUNT×5, one box at most, of h×w×3 uint8 RGB: the salient object, where there is one.

    OpenCV's spectral residual saliency (Hou & Zhang 2007), Otsu's threshold; the largest connected
    part is an object where it holds at least half of what is above the threshold (that is its
    score) and its box is 2% to 60% of the picture.
    """
    h, w = image.shape[:2]
    finder = cv2.saliency.StaticSaliencySpectralResidual_create()  # type: ignore[attr-defined]
    _, saliency = finder.computeSaliency(image)
    saliency = np.nan_to_num(saliency)
    grey = (255 * saliency / max(saliency.max(), 1e-6)).astype(np.uint8)
    _, above = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    count, _, stats, _ = cv2.connectedComponentsWithStats(above)
    parts = stats[1:]  # the first is what lies below the threshold
    if count > 1:
        left, top, width, height, area = parts[parts[:, cv2.CC_STAT_AREA].argmax()].tolist()
        share = area / parts[:, cv2.CC_STAT_AREA].sum()
        if share >= 0.5 and 0.02 <= width * height / (h * w) <= 0.6:
            box = [left / w, top / h, (left + width) / w, (top + height) / h]
            return _rows(np.array([box]), np.array([share]))
    return np.zeros((COUNT, 5), np.float32)


def _rows(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    rows = np.zeros((COUNT, 5), np.float32)
    order = np.argsort(-scores, kind="stable")[:COUNT]
    rows[: len(order), :4], rows[: len(order), 4] = boxes[order], scores[order]
    return rows


def file_of(name: str, weights: str | Path) -> Path | None:
    """The detector's file in the folder `weights`, or None."""
    files = (Path(weights or "?") / (name + suffix) for suffix in (".safetensors", ".pth"))
    return next((file for file in files if file.is_file()), None)


def detector_identity(name: str, weights: str | Path) -> str:
    """What a run's boxes depend on: the file's hash, or that torchvision's download is meant."""
    file = file_of(name, weights)
    return f"{name} sha256:{sha256(file)[:16]}" if file else f"{name} torchvision"


@functools.lru_cache(maxsize=2)
def load_detector(name: str, weights: str) -> torch.nn.Module:
    """The detector. Raises RuntimeError where its weights can be had nowhere, ValueError where the
    file holds others."""
    file = file_of(name, weights)
    if file is None:
        try:
            return torchvision.models.get_model(name, weights="DEFAULT").eval()
        except (OSError, RuntimeError) as error:
            make = (
                "import torch, torchvision; torch.save(torchvision.models.get_model("
                f"'{name}', weights='DEFAULT').state_dict(), '{name}.pth')"
            )
            raise RuntimeError(
                f"detector {name!r}: torchvision could not download its weights "
                f'({type(error).__name__}). On a machine with a network: python -c "{make}"; then '
                "put that file into the folder that weights names, or take detector='opencv'"
            ) from error
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    try:
        model.load_state_dict(load_state_dict(str(file)))
    except Exception as error:  # whatever the file's format makes the readers raise
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: not torchvision's weights of {name!r} ({reason})") from error
    return model.eval()


@torch.inference_mode()
def detect(model: torch.nn.Module, image: Tensor, salient: bool) -> tuple[np.ndarray, np.ndarray]:
    """Boxes k×4 as shares of the sides and their scores, the best first; salient: the one surest
    detection from SURE on. image: h×w×3 uint8."""
    h, w = image.shape[:2]
    (found,) = model([image.permute(2, 0, 1).contiguous().float() / 255])
    boxes = found["boxes"].numpy() / np.array([w, h, w, h], np.float32)
    scores = found["scores"].numpy()
    keep = scores >= (SURE if salient else LEAST)
    boxes, scores = boxes[keep].clip(0, 1), scores[keep]
    return (boxes[:1], scores[:1]) if salient else (boxes, scores)


FINDERS = {"objects": object_boxes, "salient": salient}
OPENCV = "opencv"


@dataclass(frozen=True)
class BoxFinder:
    """Who finds the boxes of a picture, and which."""

    kind: str  # of FINDERS
    by: str = OPENCV  # which looks for them at SIDE px; or a detector of torchvision's
    weights: str = ""  # the folder that holds that detector's

    def find(self, image: Tensor) -> Tensor:
        """COUNT×5: the boxes of an image h×w×3 uint8."""
        if self.by != OPENCV:
            model = load_detector(self.by, str(self.weights))
            return torch.from_numpy(_rows(*detect(model, image, self.kind == "salient")))
        small = shrink(image.permute(2, 0, 1), SIDE).permute(1, 2, 0)
        with one_thread():
            return torch.from_numpy(FINDERS[self.kind](np.ascontiguousarray(small.numpy())))

    def of_set(self, pictures) -> Tensor:
        """n×COUNT×5: the boxes of all of `pictures` (`batches.Pictures`), found once."""
        made_by = [self.kind, BOXES_VERSION, pictures.image_size, cv2.__version__]
        made_by += [version(name) for name in ("scikit-learn", "torchvision", "pillow")]
        if self.by != OPENCV:
            made_by.append(detector_identity(self.by, self.weights))
        digest = hashlib.sha256(repr([made_by, pictures.data.names]).encode()).hexdigest()[:12]
        name = f"{pictures.data.name}-{pictures.data.fingerprint()}-{self.kind}-{digest}.boxes"
        file, found = cache.folder() / name, None  # a few MB: the cache's budget is for more
        with contextlib.suppress(OSError):  # no folder to keep them in
            file.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{file}.lock"):
                kept = cache.read_tensors(file, lambda there: len(there["boxes"]) == len(pictures))
                if kept:
                    return kept["boxes"]
                found = self._all(pictures)
                with whole_file(file) as part:
                    save_file({"boxes": found}, part)
        return self._all(pictures) if found is None else found

    def _all(self, pictures) -> Tensor:
        numbers = range(len(pictures))
        if self.by != OPENCV:  # torch brings threads of its own
            return torch.stack([self.find(pictures.image(i)) for i in numbers])
        with one_thread(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
            return torch.stack(list(pool.map(lambda i: self.find(pictures.image(i)), numbers)))


def one_thread():
    """OpenCV with one thread inside the block. Several add up in any order, and a last bit may
    decide between two boxes."""
    return changed(cv2.getNumThreads, cv2.setNumThreads, 1)


def in_view(boxes: Tensor, shape: Sequence[int], box: tuple, size: int) -> Tensor:
    """A picture's boxes as they lie in one view of it: COUNT×5, sides in px of the size×size view.

    shape: the picture's (height, width); box: the view's (top, left, height, width, flip). What is
    cut off is gone; a box of which less than a quarter or fewer than 4 px are left becomes zeros.
    """
    h, w = shape
    top, left, height, width, flip = box
    scale = torch.tensor([size / width, size / height] * 2)
    sides = boxes[:, :4] * torch.tensor([w, h, w, h]) - torch.tensor([left, top, left, top])
    before = (sides[:, 2:] - sides[:, :2]).prod(1)
    sides = torch.minimum(sides.clamp(min=0), torch.tensor([width, height] * 2))
    after = (sides[:, 2:] - sides[:, :2]).prod(1)
    sides = sides * scale
    if flip:
        sides = torch.stack([size - sides[:, 2], sides[:, 1], size - sides[:, 0], sides[:, 3]], 1)
    keep = (boxes[:, 4] > 0) & (after >= 0.25 * before)
    keep &= (sides[:, 2:] - sides[:, :2]).amin(1) >= 4
    return torch.cat([sides, boxes[:, 4:]], 1) * keep[:, None]
