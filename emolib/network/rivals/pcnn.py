"""pcnn: You, Luo, Jin, Yang, “Robust image sentiment analysis using progressively trained and
domain transferred deep networks”, AAAI 2015 (Table 9's “PCNN [32]”).

Known: two convolutions (96 of 11×11 at stride 4, 256 of 5×5), each normalised and pooled, and fully
connected layers of 512, 512 and 24 (Plutchik's) before the classes, on 227 px. Trained on half a
million weakly labelled Flickr pictures; then each is dropped with probability
max(0, 2 − exp|p₊ − p₋|), which is 1 at a tie and 0 from a difference of ln 2 on, and the training
goes on with the others (progressive); then fine-tuned on the target (transfer).
Not to be had: the Flickr pictures. **The weak set here is FI's training part or, without FI, the
other small set**, whose labels are much better than Flickr's: the filter has little to do.
Chosen: the filter once, after half of the epochs of a training that starts from nothing; dropout
0.5; the maps are averaged to 6×6, whatever the picture's size. The source of 76.36 and 74.06 in
Table 9 is unknown.
"""

import numpy as np
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from ...data.batches import derived_seed
from ...spec.run_spec import RunSpec
from ..precision import full_precision
from ..resample import average


class _AcrossChannels(nn.Module):
    """nn.LocalResponseNorm(5), on maps whose positions are in one row: torch then takes another
    pooling, whose gradient on a GPU is the same each time. The values are the same."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.local_response_norm(x.flatten(2), 5).view(x.shape)


class _SixBySix(nn.Module):
    """Maps averaged to 6×6, whatever their size."""

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            return average(x.float(), (6, 6)).to(x.dtype)


class PCNN(nn.Module):
    def __init__(self, num_classes: int = 2):
        super().__init__()
        self.pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4, padding=2),
            nn.ReLU(),
            _AcrossChannels(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2),
            nn.ReLU(),
            _AcrossChannels(),
            nn.MaxPool2d(3, 2),
            _SixBySix(),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(
            nn.Linear(256 * 36, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 24),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(24, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.hidden(self.features(images)))

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def choose_pictures(self, spec: RunSpec, epoch: int, probabilities) -> np.ndarray | None:
        """The loop asks this after each epoch: which training pictures it goes on with, a bool
        each, or None for all that it has. probabilities(): each one's of "positive", as it is now.
        """
        if spec.stages or epoch + 1 != spec.epochs // 2:
            return None
        return kept(probabilities(), np.random.default_rng(derived_seed(spec.seed, epoch, 2)))


def kept(p_positive: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which pictures stay, a bool each, by their probability of "positive"; all if none would."""
    drop = np.maximum(0, 2 - np.exp(np.abs(2 * p_positive - 1)))
    stay = rng.random(len(drop)) >= drop
    return stay if stay.any() else ~stay
