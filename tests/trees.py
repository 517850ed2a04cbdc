"""Small real data sets on disk, in their owners' layouts."""

import numpy as np
from PIL import Image

FI = ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness")
ROI = ("anger", "disgust", "fear", "joy", "sadness", "surprise")


def picture(path, seed=0, size=(48, 40), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
        path, **options
    )
    return path


def make_fi(root, each=5):
    for e, emotion in enumerate(FI):
        for i in range(each):
            picture(root / "fi" / emotion / f"{emotion} {i}.jpg", seed=100 * e + i)


def make_roi(root, each=5, maps=True):
    for e, emotion in enumerate(ROI):
        for i in range(each):
            picture(root / f"emotionroi/images/{emotion}/{i}.jpg", seed=1000 + 100 * e + i)
            if maps:
                picture(root / f"emotionroi/ground_truth/{emotion}/{i}.jpg", seed=7)


def make_twitter(root, n=20, folds=True):
    """n pictures, 3 of 5 positive; five folds of n/5."""
    names = [f"{i}_é b.JPG" for i in range(n)]
    for i, name in enumerate(names):
        picture(root / "twitter1/Agg_AMT_Candidates" / name, seed=2000 + i, format="JPEG")
    lines = [f"{name} {int(i % 5 < 3)}" for i, name in enumerate(names)]
    truth = root / "twitter1/ground_truth"
    truth.mkdir(parents=True)
    (truth / "twitter_three_agrees.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for fold in range(5 if folds else 0):
        folder = truth / f"three_agrees/test{fold + 1}"
        folder.mkdir(parents=True)
        test = lines[fold * n // 5 : (fold + 1) * n // 5]
        train = [line for line in lines if line not in test]
        (folder / "test.txt").write_text("\n".join(test), encoding="utf-8")
        (folder / "train.txt").write_text("\n".join(train), encoding="utf-8")
    return names
