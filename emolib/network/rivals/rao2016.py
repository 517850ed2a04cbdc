"""rao2016: Rao, Xu, Liu, Wang, Burnett, “Multi-scale blocks based image emotion classification
using multiple instance learning”, ICIP 2016 (Table 9's “Rao et al. [34]”).

Known: blocks of a picture at several scales by pyramid and SLIC segmentation; each a bag of visual
words over SIFT descriptors, then its topics by pLSA; a multiple-instance classifier that gives the
picture its label from its blocks. Scales, vocabulary, topics and solver are not known; no code.
Chosen: pyramid of 1 + 4 + 16 blocks, SLIC superpixels of a quarter and an eighth of the side
(OpenCV); dense upright SIFT over 16 and 32 px every 8 px (8, 16 and 4 for pictures under 128 px),
RootSIFT; 200 words by k-means, 50 topics by NMF with the Kullback–Leibler divergence, which
maximises pLSA's likelihood (Ding et al. 2008); mi-SVM (Andrews et al. 2003): every block of a
negative picture is negative, of a positive one those that the last round called positive, at least
one; at most five rounds of a linear SVM with balanced classes; a logistic regression turns the best
block's value into a probability. A training list of one class predicts that class. Everything is
fitted on training pictures alone.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import joblib
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import non_negative_factorization
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from ...data.batches import centre
from ...data.proposals import one_thread
from .probe import both_classes, fit_logistic

WORDS, TOPICS, ROUNDS = 200, 50, 5
SAMPLE, LOOKED_AT = 60_000, 2000  # descriptors and pictures that the words are made of
CHUNK, AHEAD = 20_000, 64  # blocks and pictures in memory at once
PYRAMID = (1, 2, 4)


class Rao2016(nn.Module):
    logistic: Tensor

    def __init__(self, num_classes: int = 2, image_size: int = 224, seed: int = 0):
        super().__init__()
        if num_classes != 2:
            raise ValueError(f"num_classes={num_classes}: mi-SVM knows two")
        self.image_size, self.seed = image_size, seed
        shapes: dict[str, tuple] = {"words": (WORDS, 128), "topics": (TOPICS, WORDS)}
        for name, shape in (shapes | {"svm": (TOPICS + 1,), "logistic": (2,)}).items():
            self.register_buffer(name, torch.zeros(shape))

    def fit(self, paths, labels) -> "Rao2016":
        """labels: 1 positive, 0 negative. Raises ValueError for fewer than WORDS descriptors."""
        labels = np.asarray(labels)
        if len(set(labels.tolist())) < 2:
            self.logistic[1] = fit_logistic(np.zeros((len(labels), 1)), labels, C=1.0)[1]
            return self
        self._put("words", self._vocabulary(paths))
        counts, bag = self._blocks(paths)
        self._put("topics", self._plsa(counts))
        mixtures = self._mixtures(counts)
        value = self._mi_svm(mixtures, bag, labels)
        weights, intercept = fit_logistic(_best(value, bag, len(labels))[:, None], labels, C=1.0)
        self._put("logistic", np.array([weights[0], intercept]))
        return self

    def predict_proba(self, paths) -> np.ndarray:
        """n×2: the probabilities of "negative" and "positive"."""
        slope, intercept = self.logistic.tolist()
        z = np.full(len(paths), intercept)
        if slope and len(paths):
            counts, bag = self._blocks(paths)
            svm = self._get("svm")
            value = self._mixtures(counts) @ svm[:-1] + svm[-1]
            z = z + slope * _best(value, bag, len(paths))
        return both_classes(z)

    def _put(self, name: str, values: np.ndarray) -> None:
        getattr(self, name).copy_(torch.from_numpy(np.asarray(values, np.float32)))

    def _get(self, name: str) -> np.ndarray:
        return getattr(self, name).cpu().double().numpy()

    def _vocabulary(self, paths) -> np.ndarray:
        """Words from some descriptors of each of at most LOOKED_AT pictures."""
        rng = np.random.default_rng(self.seed)
        chosen = [paths[i] for i in np.sort(rng.permutation(len(paths))[:LOOKED_AT])]
        each = -(-SAMPLE // len(chosen))
        of_each = _described(chosen, self.image_size)
        found = np.concatenate([rng.permutation(d)[:each] for d, _ in of_each])
        if len(found) < WORDS:
            raise ValueError(f"rao2016: {len(found)} descriptors do not make {WORDS} words")
        words = MiniBatchKMeans(WORDS, n_init=1, batch_size=2048, random_state=self.seed)
        return words.fit(found).cluster_centers_

    def _blocks(self, paths) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the words, blocks×WORDS uint16, and each block's picture."""
        words = self._get("words").astype(np.float32)
        length = (words**2).sum(1)
        counts, bag = [], []
        for number, (descriptors, blocks) in enumerate(_described(paths, self.image_size)):
            word = (length - 2 * descriptors @ words.T).argmin(1)
            found = np.zeros((blocks.max() + 1, WORDS), np.uint16)
            for own in blocks:
                np.add.at(found, (own, word), 1)
            counts.append(found)
            bag += [number] * len(found)
        return np.concatenate(counts), np.array(bag)

    def _plsa(self, counts: np.ndarray) -> np.ndarray:
        """Topics, each a distribution over the words."""
        rng = np.random.default_rng(self.seed)
        part = counts[np.sort(rng.permutation(len(counts))[:8000])]
        _, topics, _ = self._factor(part.astype(np.float64), max_iter=60)
        return topics / topics.sum(1, keepdims=True).clip(min=1e-12)

    def _mixtures(self, counts: np.ndarray) -> np.ndarray:
        """Each block's share of every topic."""
        topics, found = self._get("topics"), []
        for start in range(0, len(counts), CHUNK):
            part = counts[start:][:CHUNK].astype(np.float64)
            mixtures, _, _ = self._factor(part, H=topics, update_H=False, max_iter=30)
            found.append(mixtures / mixtures.sum(1, keepdims=True).clip(min=1e-12))
        return np.concatenate(found)

    def _factor(self, counts: np.ndarray, **options):
        options |= {"n_components": TOPICS, "solver": "mu", "beta_loss": "kullback-leibler"}
        options |= {"init": None if "H" in options else "random", "random_state": self.seed}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of steps
            return non_negative_factorization(counts, tol=0, **options)

    def _mi_svm(self, mixtures: np.ndarray, bag: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Fits `svm`; returns its value of each training block."""
        positive = labels[bag] == 1
        guess = positive
        for _ in range(ROUNDS):
            machine = LinearSVC(C=1.0, class_weight="balanced", dual=False, random_state=self.seed)
            machine.fit(mixtures, guess)
            value = machine.decision_function(mixtures)
            best = _best(value, bag, len(labels))
            before, guess = guess, positive & ((value > 0) | (value == best[bag]))
            if (guess == before).all():
                break
        self._put("svm", np.append(machine.coef_[0], machine.intercept_))
        return value


def _best(value: np.ndarray, bag: np.ndarray, count: int) -> np.ndarray:
    """The largest value of each picture's blocks."""
    best = np.full(count, -np.inf)
    np.maximum.at(best, bag, value)
    return best


def _described(paths, image_size: int):
    """Of each picture what `describe` gives, some of them ahead of their time."""
    with one_thread(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        for start in range(0, len(paths), AHEAD):
            part = paths[start:][:AHEAD]
            yield from pool.map(lambda path: describe(centre(path, image_size).numpy()), part)


def describe(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of S×S×3 uint8 RGB: RootSIFT descriptors n×128 float32 on a grid, and in each of five
    segmentations the number of the block that each lies in, 5×n; numbers go on from one
    segmentation to the next."""
    S = image.shape[0]
    step, sizes = (8, (16, 32)) if S >= 128 else (4, (8, 16))
    places = np.arange(step / 2, S, step)
    x, y = (a.ravel() for a in np.meshgrid(places, places))
    # OpenCV's descriptor covers six times the size of its keypoint
    at = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    points = [cv2.KeyPoint(*place, size / 6, 0) for size in sizes for place in at]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, found = cv2.SIFT_create().compute(grey, points)  # type: ignore[attr-defined]
    found = np.sqrt(found / np.maximum(found.sum(1, keepdims=True), 1e-12))
    row, column = (np.tile(a.astype(int), len(sizes)) for a in (y, x))
    blocks = [row * n // S * n + column * n // S for n in PYRAMID]
    for side in (S // 4, S // 8):
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLIC, side)
        slic.iterate(5)
        blocks.append(np.unique(slic.getLabels()[row, column], return_inverse=True)[1])
    first = np.cumsum([0] + [own.max() + 1 for own in blocks[:-1]])
    return found.astype(np.float32), np.stack(blocks) + first[:, None]
