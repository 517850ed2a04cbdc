"""Demo data: pictures drawn by code, in the real sets' own layouts, for those without the data.

What the pictures show, and why it is a fair miniature of the task, is said in `scenes`.
"""

import dataclasses
import pathlib
import tempfile

import joblib
import numpy as np

from ..datasets import DEMO_MARK
from .objects import NEGATIVE, POSITIVE
from .scenes import draw_picture
from .styles import STYLES

DEMO_VERSION = 3  # raise it when the same seed gives other pictures: old demo data is then refused
DEFAULT_SIZES = {"fi": 800, "twitter1": 200, "emotionroi": 300}
SET_NUMBERS = {"fi": 0, "twitter1": 1, "emotionroi": 2}
# Of a picture and its stimuli map, by its emotion, its number among these and among all.
PATHS = {
    "fi": ["{0}/{0}_{1:04d}.jpg"],
    "twitter1": ["Agg_AMT_Candidates/demo_{2:04d}.jpg"],
    "emotionroi": ["images/{0}/{1}.jpg", "ground_truth/{0}/{1}.jpg"],
}
FEWEST = 24  # below it a fold or an emotion could be empty
CHUNK = 25  # pictures handed to a process at a time
AMBIGUOUS = 0.04  # share of pictures with two objects of opposite valence
TWO_OBJECTS = 0.4  # share of the others with two objects of the same valence
# As in the real set, where Twitter I's folds part twins and some twins have two labels. So many of
# the first pictures have a smaller copy among the last: of these with their label, with the other.
COPIES, COPY_SCALE = {"twitter1": (2, 1)}, 0.9

# The shares are those of the real sets: FI's emotions (You et al. 2016) scaled to the paper's
# 70.94% positive, Twitter I's three-agree labels, EmotionROI's equal sixths.
MIX = {
    "fi": dict(amusement=0.213, awe=0.136, contentment=0.232, excitement=0.128)
    | dict(anger=0.053, disgust=0.070, fear=0.044, sadness=0.124),
    "twitter1": {"positive": 0.606, "negative": 0.394},
    "emotionroi": dict.fromkeys(["anger", "disgust", "fear", "joy", "sadness", "surprise"], 1 / 6),
}
OBJECTS_OF = {
    "amusement": ["laughing face", "balloons", "kitten"],
    "awe": ["rainbow", "sun", "butterfly"],
    "contentment": ["smiling face", "flower", "kitten"],
    "excitement": ["cake", "gift", "heart"],
    "joy": ["smiling face", "laughing face", "flower"],
    "surprise": ["surprised face", "gift", "balloons"],
    "anger": ["angry face", "knife", "broken glass"],
    "disgust": ["disgusted face", "fly"],
    "fear": ["spider", "snake", "skull"],
    "sadness": ["crying face", "wilted flower", "storm cloud"],
}
OBJECTS_OF["positive"] = sorted({k for e in MIX["fi"] for k in OBJECTS_OF[e] if k in POSITIVE})
OBJECTS_OF["negative"] = sorted({k for e in MIX["fi"] for k in OBJECTS_OF[e] if k in NEGATIVE})


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One picture to draw: its number within the set (from 1), emotion and paths in the set."""

    number: int
    emotion: str
    path: str
    map_path: str | None = None
    # what it is a smaller copy of: a number of the set
    copied: int | None = dataclasses.field(default=None, kw_only=True)


def make_demo_data(root, seed=0, sizes=None):
    """Draw the demo data below `root` and return `root` as a Path.

    Writes `<root>/fi`, `<root>/twitter1` and `<root>/emotionroi`, each in the layout of the real
    set, with as many pictures as `sizes` says (a dict from set to number, at least 24; only the
    sets named are written; default 800, 200 and 300). A file DEMO_DATA.txt marks each as drawn.
    The pictures depend on `seed` alone. A set that is there with the same version, seed and size is
    left as it is. Raises FileExistsError where a set's folder holds anything else (nothing is ever
    overwritten) and ValueError for an unknown set or too small a size.
    """
    root = pathlib.Path(root)
    sizes = DEFAULT_SIZES if sizes is None else sizes
    for name, size in sizes.items():
        if name not in DEFAULT_SIZES:
            raise ValueError(f"no demo set {name!r}; there are {', '.join(DEFAULT_SIZES)}")
        if size < FEWEST:
            raise ValueError(f"{name}: {size} pictures; demo data needs at least {FEWEST}")
    missing = [name for name in sizes if not _is_there(root / name, seed, sizes[name])]
    root.mkdir(parents=True, exist_ok=True)
    for name in missing:
        # Written beside its place and renamed when whole: a killed call leaves nothing half.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as scratch:
            folder = pathlib.Path(scratch, name)
            write_set(folder, name, seed, sizes[name], joblib.cpu_count())
            try:
                folder.rename(root / name)
            except OSError:  # another process may have been faster with the same set
                if not _is_there(root / name, seed, sizes[name]):
                    raise
    return root


def _marker(name, seed, size):
    return (
        f"The pictures of this {name} were drawn by emolib as a stand-in; they are not the set.\n"
        f"version={DEMO_VERSION} seed={seed} pictures={size}\n"
    )


def _is_there(folder, seed, size):
    """Whether this very demo set is there; raises where something else is in its place."""
    if not folder.exists():
        return False
    wanted, marker = _marker(folder.name, seed, size), folder / DEMO_MARK
    if not marker.is_file():
        other = f"{folder} exists and is not demo data (it has no {DEMO_MARK})"
        advice = "Choose another root for the demo data."
        raise FileExistsError(f"{other}; nothing was written. {advice}")
    found = marker.read_text(encoding="utf-8")
    if found != wanted:
        there, asked = (text.strip().splitlines()[-1] for text in (found, wanted))
        other = f"{folder} holds other demo data ({there}) than asked for ({asked})"
        raise FileExistsError(f"{other}. Delete the folder or choose another root.")
    return True


def write_set(folder, name, seed, size, processes):
    """Write one whole set into `folder`; the number of processes changes nothing in the files."""
    rng = np.random.default_rng([seed, SET_NUMBERS[name]])
    jobs = _plan(name, size, rng)
    emotions = {job.number: job.emotion for job in jobs}
    for job in jobs:
        for path in filter(None, (job.path, job.map_path)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    processes = min(processes, len(chunks) // 6)  # starting one costs as much as 100 pictures
    draw = joblib.delayed(_draw_chunk)
    joblib.Parallel(n_jobs=max(1, processes))(draw(folder, name, seed, c, emotions) for c in chunks)
    if name == "twitter1":
        _write_twitter1_lists(folder / "ground_truth", jobs, rng)
    elif name == "emotionroi":
        _write_emotionroi_split(folder / "training_testing_split", jobs, rng)
    (folder / DEMO_MARK).write_text(_marker(name, seed, size), encoding="utf-8")


def _plan(name, size, rng):
    """The set's jobs, in random order of emotions, with counts as near to the shares as can be."""
    exact = size * np.array(list(MIX[name].values())) / sum(MIX[name].values())
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    emotions = rng.permutation(np.repeat(list(MIX[name]), counts)).tolist()
    jobs = []
    for number, emotion in enumerate(emotions, start=1):
        nth = emotions[:number].count(emotion)
        paths = [path.format(emotion, nth, number) for path in PATHS[name]]
        jobs.append(Drawing(number, emotion, *paths))
    return _plant_copies(jobs, *COPIES.get(name, (0, 0)))


def _plant_copies(jobs, same, other):
    """Of the first `same` + `other` jobs, each once more, in place of the last that are labelled as
    it is, or otherwise."""
    left = list(jobs)
    for i in range(same + other):
        fits = [job for job in left if (job.emotion == jobs[i].emotion) == (i < same)]
        left.remove(fits[-1])
        jobs[fits[-1].number - 1] = dataclasses.replace(fits[-1], copied=i + 1)
    return jobs


def _draw_chunk(folder, name, seed, jobs, emotions):
    for job in jobs:
        # The numbers begin at 1: SeedSequence([seed, set, 0]) is the set's own [seed, set].
        drawn = job.copied or job.number
        rng = np.random.default_rng([seed, SET_NUMBERS[name], drawn])
        shown, counterparts, clutter = _choose_objects(name, emotions[drawn], rng)
        picture, stimuli = draw_picture(shown, counterparts, clutter, STYLES[name], rng)
        if job.copied:
            picture = picture.resize([round(side * COPY_SCALE) for side in picture.size])
        # Subsampled chroma would colour the dark lines inside objects: a global trace of the label.
        picture.save(folder / job.path, quality=STYLES[name].quality, subsampling=0)
        if job.map_path:
            stimuli.save(folder / job.map_path, quality=95)


def is_positive(emotion):
    """Whether the emotion (of any of the three sets) counts as positive."""
    return OBJECTS_OF[emotion][0] in POSITIVE


def _choose_objects(name, emotion, rng):
    """Names of the objects shown, of their counterparts, of the clutter."""

    def of(positive):
        """An object as the set's pictures of this valence show it, so that colours tell nothing."""
        emotions = [e for e in MIX[name] if is_positive(e) == positive]
        shares = np.array([MIX[name][e] for e in emotions])
        return str(rng.choice(OBJECTS_OF[rng.choice(emotions, p=shares / shares.sum())]))

    positive = is_positive(emotion)
    clutter = [of(rng.uniform() < 0.5)]
    chance = rng.uniform()
    if chance < AMBIGUOUS:  # the picture does not say which of the two gave the label
        shown = [str(rng.choice(OBJECTS_OF[emotion])), of(not positive)]
        return [shown[i] for i in rng.permutation(2)], [], clutter
    count = 2 if chance < AMBIGUOUS + TWO_OBJECTS else 1
    shown = [str(rng.choice(OBJECTS_OF[emotion])) for _ in range(count)]
    return shown, [of(not positive) for _ in range(count)], clutter


def _write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_twitter1_lists(folder, jobs, rng):
    """The label list and five stratified folds, in the format of the public lists."""
    lines = [f"{pathlib.Path(j.path).name} {int(is_positive(j.emotion))}" for j in jobs]
    _write_lines(folder / "twitter_three_agrees.txt", lines)
    # Dealing the shuffled lines out label by label gives each fold its share of both.
    dealt = sorted(rng.permutation(lines).tolist(), key=lambda line: line[-1])
    for fold in range(5):
        test = set(dealt[fold::5])
        target = folder / "three_agrees" / f"test{fold + 1}"
        _write_lines(target / "train.txt", [line for line in lines if line not in test])
        _write_lines(target / "test.txt", [line for line in lines if line in test])


def _write_emotionroi_split(folder, jobs, rng):
    """70% of each emotion for training, as in the usual split."""
    training = set()
    for emotion in MIX["emotionroi"]:
        paths = [job.path for job in jobs if job.emotion == emotion]
        training.update(rng.permutation(paths)[: round(0.7 * len(paths))].tolist())
    for name, chosen in (("training", True), ("testing", False)):
        lines = [j.path.removeprefix("images/") for j in jobs if (j.path in training) == chosen]
        _write_lines(folder / f"{name}.txt", lines)
