"""Names of emotions, their polarity, and how far apart two of them are on Mikels' wheel."""

import numpy as np

FI_POSITIVE = ("amusement", "awe", "contentment", "excitement")
FI_NEGATIVE = ("anger", "disgust", "fear", "sadness")
FI = FI_POSITIVE + FI_NEGATIVE
ROI_POSITIVE = ("joy", "surprise")
ROI_NEGATIVE = ("anger", "disgust", "fear", "sadness")
ROI = ROI_POSITIVE + ROI_NEGATIVE
POSITIVE, NEGATIVE = {*FI_POSITIVE, *ROI_POSITIVE}, {*FI_NEGATIVE, *ROI_NEGATIVE}
#: FI's emotions around the wheel, as the public code of Zhao et al. (NeurIPS 2024) numbers them.
WHEEL = "amusement contentment awe excitement fear sadness disgust anger".split()
OTHER_POLARITY = 3  # is so much further off: C − 1, as they chose


def distances_on_wheel(known: np.ndarray, said: np.ndarray) -> np.ndarray:
    """W of Zhao et al., “To Err Like Human” (NeurIPS 2024), Eq. 1, for each pair of WHEEL's names:
    1 for the same emotion, 1 + the steps between them for others of its polarity, 4 + the steps for
    those of the other one. N float64."""
    place = {name: k for k, name in enumerate(WHEEL)}
    a, b = (np.array([place[name] for name in names], int) for names in (known, said))
    steps = np.minimum(abs(a - b), len(WHEEL) - abs(a - b))
    other = np.isin(known, FI_POSITIVE) != np.isin(said, FI_POSITIVE)
    return 1.0 + steps + OTHER_POLARITY * other
