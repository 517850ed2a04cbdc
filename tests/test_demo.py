import math

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import emolib
from emolib.data import audit, manifest
from emolib.data.demo import demo, objects, scenes, styles
from emolib.data.demo.demo import make_demo_data

SIZES = {"fi": 120, "twitter1": 80, "emotionroi": 100}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_demo_data(tmp_path_factory.mktemp("demo"), sizes=SIZES)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def label_of(root):
    """Every picture of the demo data with its label, read from the sets' layouts."""
    labels = {path: demo.is_positive(path.parent.name) for path in root.glob("fi/*/*.jpg")}
    for path in root.glob("emotionroi/images/*/*.jpg"):
        labels[path] = path.parent.name in ("joy", "surprise")
    table = root / "twitter1/ground_truth/twitter_three_agrees.txt"
    for line in table.read_text().splitlines():
        name, label = line.split(" ")
        labels[root / "twitter1/Agg_AMT_Candidates" / name] = label == "1"
    return labels


def test_each_set_holds_as_many_pictures_as_asked_for_and_is_marked(root):
    for name, size in SIZES.items():
        pictures = [p for p in (root / name).rglob("*.jpg") if "ground_truth" not in p.parts]
        assert len(pictures) == size
        lines = (root / name / "DEMO_DATA.txt").read_text().splitlines()
        assert "drawn by emolib" in lines[0]
        assert lines[1] == f"version={demo.DEMO_VERSION} seed=0 pictures={size}"
    assert sorted(path.name for path in root.iterdir()) == sorted(SIZES)  # no scratch left


def test_labels_have_the_shares_of_the_real_sets(root):
    labels = label_of(root)
    for name, share in (("fi", 0.71), ("twitter1", 0.606), ("emotionroi", 1 / 3)):
        own = [label for path, label in labels.items() if root / name in path.parents]
        assert np.mean(own) == pytest.approx(share, abs=1.1 / SIZES[name])
    assert {path.parent.name for path in root.glob("fi/*/*")} == set(demo.MIX["fi"])
    counts = [len(list(f.iterdir())) for f in (root / "emotionroi/images").iterdir()]
    assert len(counts) == 6 and max(counts) - min(counts) <= 1


def test_twitter1_folds_part_the_pictures_into_stratified_fifths(root):
    truth = root / "twitter1/ground_truth"
    everything = (truth / "twitter_three_agrees.txt").read_text().splitlines()
    positives = sum(line.endswith(" 1") for line in everything)
    tested = []
    for fold in range(1, 6):
        folder = truth / f"three_agrees/test{fold}"
        train, test = (
            (folder / f"{part}.txt").read_text().splitlines() for part in ("train", "test")
        )
        assert sorted(train + test) == sorted(everything)
        assert abs(sum(line.endswith(" 1") for line in test) - positives / 5) < 1
        tested += test
    assert sorted(tested) == sorted(everything)


def test_emotionroi_split_takes_seventy_percent_of_each_emotion(root):
    split = root / "emotionroi/training_testing_split"
    training, testing = (
        (split / f"{n}.txt").read_text().splitlines() for n in ("training", "testing")
    )
    images = root / "emotionroi/images"
    present = [path.relative_to(images).as_posix() for path in images.glob("*/*.jpg")]
    assert sorted(training + testing) == sorted(present)
    for emotion in demo.MIX["emotionroi"]:
        ours = [path for path in present if path.startswith(emotion)]
        in_training = sum(path.startswith(emotion) for path in training)
        assert abs(in_training - 0.7 * len(ours)) <= 0.5


def test_pictures_vary_in_shape_within_the_promised_sizes(root):
    sizes = {Image.open(path).size for path in label_of(root)}
    smallest = 96 * demo.COPY_SCALE  # of a planted copy
    assert all(smallest - 1 < min(s) <= 128 and max(s) <= 1.5 * min(s) + 1 for s in sizes)
    assert any(w > h for w, h in sizes) and any(h > w for w, h in sizes)


def test_the_audit_finds_the_planted_copies_and_nothing_else(root, tmp_path):
    data = emolib.open_dataset("twitter1", root)
    found = audit.twins(manifest.manifest(data, tmp_path / "manifest.csv"))
    assert sorted(found["a"]) == [0, 1, 2] and found["b"].min() > SIZES["twitter1"] - 10
    assert not found["identical"].any()
    labels = np.asarray(data.labels)
    differ = labels[found["a"]] != labels[found["b"]]
    assert dict(zip(found["a"], differ, strict=True)) == {0: False, 1: False, 2: True}


def test_stimuli_maps_fit_their_pictures_and_mark_regions_of_the_promised_size(root):
    # A disc of side s covers π/4·s² of a picture of area 1 to 1.5; two have sides of at most
    # 1/2 and 1/3. Blurring leaves the area above half brightness nearly as it is.
    smallest = math.pi / 4 / 8**2 / 1.5
    largest = math.pi / 4 * (1 / 2**2 + 1 / 3**2)
    maps = sorted((root / "emotionroi/ground_truth").glob("*/*.jpg"))
    assert len(maps) == SIZES["emotionroi"]
    for path in maps:
        stimuli = Image.open(path)
        picture = root / "emotionroi/images" / path.parent.name / path.name
        assert stimuli.mode == "L" and stimuli.size == Image.open(picture).size
        pixels = np.asarray(stimuli)
        assert 0.7 * smallest < (pixels > 127).mean() < 1.1 * largest
        assert pixels.max() > 245
        assert ((pixels > 40) & (pixels < 215)).any()  # soft edges


def test_the_number_of_processes_changes_no_byte_and_another_seed_every_picture(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(demo, "CHUNK", 2)
    for folder, seed, processes in (("one", 3, 1), ("two", 3, 2), ("other", 4, 1)):
        demo.write_set(tmp_path / folder, "emotionroi", seed, 12, processes)
    one, two, other = (contents(tmp_path / folder) for folder in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    pictures = [name for name in one if name.startswith("images")]
    assert len(pictures) == 12 and all(one[name] != other[name] for name in pictures)


@pytest.mark.parametrize("name", styles.STYLES)
def test_an_object_taken_apart_keeps_its_very_pixels(name):
    rng = np.random.default_rng(0)

    def pixels(images):
        every = np.concatenate([np.asarray(image).reshape(-1, 4) for image in images])
        return np.sort(every[every[:, 3] > 0].view("V4").ravel().view(np.uint32))

    for kind in objects.OBJECTS:
        whole = scenes._object(kind, 40, styles.STYLES[name], rng)
        parts = scenes._take_apart(whole, rng)
        assert len(parts) > 1
        assert np.array_equal(pixels(parts), pixels([whole]))


def test_colours_of_the_whole_picture_do_not_tell_the_label(root):
    labels = label_of(root)
    paths = sorted(labels)
    y = np.array([labels[path] for path in paths], float)
    x = np.stack([colour_features(path) for path in paths])
    sets = np.array([path.relative_to(root).parts[0] for path in paths])
    for name in SIZES:  # the sets differ in looks and in shares: only what varies within counts
        own = sets == name
        x[own] = (x[own] - x[own].mean(axis=0)) / (x[own].std(axis=0) + 1e-9)
    fold = np.random.default_rng(0).permutation(len(y)) % 5
    weights = np.array([1 / np.sum((sets == s) & (y == v)) for s, v in zip(sets, y, strict=True)])
    score = np.empty(len(y))
    for k in range(5):
        train = fold != k
        score[~train] = x[~train] @ logistic_fit(x[train], y[train], weights[train])
    hits = [np.mean((score > np.median(score))[y == label] == label) for label in (0, 1)]
    # 300 pictures: a useless predictor has a standard error of 0.029; three of them are allowed.
    assert np.mean(hits) < 0.5 + 3 * 0.029


def colour_features(path):
    """Means, deviations and eight-bin histograms of RGB and HSV."""
    picture = Image.open(path)
    pixels = np.concatenate(
        [np.asarray(picture.convert(m)).reshape(-1, 3) for m in ("RGB", "HSV")], 1
    )
    histograms = [np.histogram(c, 8, (0, 256))[0] / len(c) for c in pixels.T]
    return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0), *histograms])


def logistic_fit(x, y, weights, ridge=10.0):
    """Coefficients of a ridge logistic regression on centred features, by Newton's steps."""
    weights, beta = weights * len(y) / weights.sum(), np.zeros(x.shape[1])
    for _ in range(8):
        p = expit(x @ beta)
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
        beta += np.linalg.solve(hessian, x.T @ (weights * (y - p)) - ridge * beta)
    return beta


def test_a_folder_without_the_marker_is_refused_and_left_as_it_is(tmp_path):
    theirs = tmp_path / "twitter1"
    theirs.mkdir()
    (theirs / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"twitter1.*another root"):
        make_demo_data(tmp_path, sizes={"fi": 24, "twitter1": 24})
    assert contents(tmp_path) == {"twitter1/holiday.jpg": b"mine"}  # not even fi was begun


def test_a_second_call_rewrites_nothing_and_one_with_another_seed_or_size_is_refused(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_demo_data(root, sizes=SIZES) == root
    with pytest.raises(FileExistsError, match=r"seed=0.*seed=1.*Delete the folder"):
        make_demo_data(root, seed=1, sizes={"fi": SIZES["fi"]})
    with pytest.raises(FileExistsError, match="pictures=120.*pictures=121"):
        make_demo_data(root, sizes={"fi": 121})
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_call_that_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        if list(tmp_path.rglob("*.jpg")):
            raise KeyboardInterrupt
        return scenes.draw_picture(*arguments)

    monkeypatch.setattr(demo, "draw_picture", fail)
    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path, sizes={"fi": 24})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_set_and_too_small_a_size_are_errors_that_name_what_is_allowed(tmp_path):
    with pytest.raises(ValueError, match="'flickr'.*fi, twitter1, emotionroi"):
        make_demo_data(tmp_path, sizes={"flickr": 100})
    with pytest.raises(ValueError, match="fi: 23 pictures.*at least 24"):
        make_demo_data(tmp_path, sizes={"fi": 23})
    assert list(tmp_path.iterdir()) == []
