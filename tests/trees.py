"""Small real data sets on disk, in their owners' layouts."""

import json

import numpy as np
from PIL import Image, ImageDraw

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


def files(folder, names):
    """Files with a picture's name that nobody opens: enough for whatever reads only folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def write(path, *lines, end="\n", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def fi_names(each):
    return [f"{emotion.title()}/{emotion} é {i}.jpg" for emotion in FI for i in range(each)]


def make_fi_parts(root, train=3, val=1, test=2):
    for part, each in (("train", train), ("Valid", val), ("test", test)):
        files(root / "fi" / part, fi_names(each))


def make_fi_json(root, each=3, images=""):
    """train.json and test.json as one public copy has them; test.json lists each emotion's 0."""
    names = fi_names(each)
    files(root / "fi" / images, [n.lower() for n in names])
    pairs = [[n, sorted(FI).index(n.split("/")[0].lower())] for n in names]
    for part, chosen in (
        ("train", [p for p in pairs if " 0." not in p[0]]),
        ("test", [p for p in pairs if " 0." in p[0]]),
    ):
        write(root / f"fi/{part}.json", json.dumps(chosen))


def make_fi_votes(root, each=4, header=True, images="images/"):
    """Picture 0 of an emotion has 2 agreeing votes, the others 4; one more URL has no picture."""
    for emotion in FI:
        names = [f"{emotion}_{i}.jpg" for i in range(each + 1)]
        files(root / "fi" / (images or emotion), names[:each])
        urls = [f"https://farm.example.org/a/{name}?zz=1" for name in names]
        votes = [(2, 3)] + [(4, 1)] * each
        if header:
            rows = [f"{url},{yes},{no}" for url, (yes, no) in zip(urls, votes, strict=True)]
            write(root / f"fi/{emotion}.csv", "url,agree votes,disagree votes", *rows)
        else:  # as the source has them: number, URL, disagree, agree
            rows = [f"7,{url},{no},{yes}" for url, (yes, no) in zip(urls, votes, strict=True)]
            write(root / f"fi/{emotion}_0.csv", *rows)


def make_twitter_agree(root):
    """`make_twitter` with lists and folds at four (15 pictures) and five (10) agreeing votes."""
    make_twitter(root)
    truth = root / "twitter1/ground_truth"
    lines = (truth / "twitter_three_agrees.txt").read_text(encoding="utf-8").splitlines()
    for word, count in (("four", 15), ("five", 10)):
        write(truth / f"twitter_{word}_agrees.txt", *lines[:count])
        for fold in range(5):
            test = lines[:count][fold::5]
            train = [line for line in lines[:count] if line not in test]
            write(truth / f"{word}_agrees/test{fold + 1}/test.txt", *test)
            write(truth / f"{word}_agrees/test{fold + 1}/train.txt", *train)


def make_valence(root, each=3, images="images/", valence=None):
    """Six emotion folders and Emotion6's ground_truth.txt; `valence`: {picture: value}, else 2."""
    names = [f"{emotion}/{i}.jpg" for emotion in ROI for i in range(each)]
    files(root / "emotionroi" / images, names)
    head = ["[image_filename]", "[valence]", "[arousal]"]
    head += [f"[prob. {e}]" for e in (*ROI, "neutral")]
    rows = [
        [name, (valence or {}).get(name, 2), 3.8, 0.1, 0.7, 0, 0, 0.1, 0, 0.1] for name in names
    ]
    lines = ["\t".join(map(str, row)) for row in [head, *rows]]
    write(root / "emotionroi/ground_truth.txt", *lines, end="\r\n")


def make_voted(root, each=5, seed=0):
    """EmotionROI that can be read, each picture with votes, valence and arousal of its own."""
    make_roi(root, each, maps=False)
    rng, names = np.random.default_rng(seed), [f"{e}/{i}.jpg" for e in ROI for i in range(each)]
    votes = rng.multinomial(15, np.full(7, 1 / 7), size=len(names)) / 15
    scales = rng.uniform(1, 9, (len(names), 2)).round(1)
    rows = zip(names, scales.tolist(), votes.tolist(), strict=True)
    lines = ["\t".join(map(str, [name, *scale, *vote])) for name, scale, vote in rows]
    write(root / "emotionroi/ground_truth.txt", *lines)


def make_own(root, *rows, header="path,label,fold,emotion"):
    """own/labels.csv with `rows`, else six pictures in three folds."""
    files(root / "own", [f"sub/ü {i}.PNG" for i in range(6)])
    emotions = ("calm", "angry")
    rows = rows or [f"sub/ü {i}.PNG,{(i + 1) % 2},{i // 2},{emotions[i % 2]}" for i in range(6)]
    write(root / "own/labels.csv", header, *rows, end="\r\n", encoding="utf-8-sig")


def make_shapes(root):
    """own/: twenty pictures of a disc (1) or a cross (0), four of them fold 0's test."""
    rows, rng = ["path,label,fold"], np.random.default_rng(0)
    (root / "own").mkdir()
    for i in range(20):
        image = Image.new("RGB", (80, 72), tuple(rng.integers(0, 120, 3).tolist()))
        draw, colour = ImageDraw.Draw(image), tuple(rng.integers(150, 256, 3).tolist())
        x, y = rng.integers(20, 32, 2).tolist()
        if i % 2:
            draw.ellipse((x, y, x + 26, y + 26), fill=colour)
        else:
            draw.line((x, y, x + 26, y + 26), fill=colour, width=6)
            draw.line((x, y + 26, x + 26, y), fill=colour, width=6)
        image.save(root / f"own/{i}.png")
        rows.append(f"{i}.png,{i % 2},{int(i >= 4)}")
    (root / "own/labels.csv").write_text("\n".join(rows) + "\n")
