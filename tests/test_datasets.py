"""The three sets in their real layouts, and what is said when something is wrong with them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from trees import make_fi, make_roi, make_twitter, picture

import emolib

REAL = Path(__file__).parents[2] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside this checkout")


def test_fi_is_80_5_15_from_its_seed(tmp_path):
    make_fi(tmp_path, each=20)
    data = emolib.open_dataset("fi", tmp_path)
    assert len(data.paths) == 160 and data.labels.sum() == 80
    ((train, test),) = data.folds(seed=3)
    validation = data.validation(0, seed=3)
    assert (len(train), len(validation), len(test)) == (136, 8, 24)
    assert set(validation) <= set(train) and not set(train) & set(test)
    assert not np.array_equal(test, data.folds(seed=4)[0][1])
    np.testing.assert_array_equal(test, emolib.open_dataset("fi", tmp_path).folds(seed=3)[0][1])


def test_labels_follow_the_emotion_folders(tmp_path):
    make_fi(tmp_path, each=1)
    make_roi(tmp_path, each=1)
    fi, roi = (emolib.open_dataset(n, tmp_path) for n in ("fi", "emotionroi"))
    assert set(fi.emotions[fi.labels == 1]) == {"amusement", "awe", "contentment", "excitement"}
    assert set(roi.emotions[roi.labels == 1]) == {"joy", "surprise"}
    assert all(p.parent.name == e for p, e in zip(fi.paths, fi.emotions, strict=True))


def test_emotionroi_folds_are_a_stratified_partition(tmp_path):
    make_roi(tmp_path, each=10)
    data = emolib.open_dataset("emotionroi", tmp_path)
    tests = [test for _, test in data.folds(seed=0)]
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(60))
    for test in tests:
        assert sorted(np.unique(data.emotions[test], return_counts=True)[1]) == [2] * 6
    assert data.validation(0) is None
    assert [m.parts[-2:] for m in data.maps] == [p.parts[-2:] for p in data.paths]


def test_twitter_takes_its_own_folds_and_else_draws_stratified_ones(tmp_path):
    names = make_twitter(tmp_path / "own")
    data = emolib.open_dataset("twitter1", tmp_path / "own")
    train, test = data.folds(seed=9)[2]
    assert {data.paths[i].name for i in test} == set(names[8:12])
    assert len(train) == 16
    assert data.labels[[p.name for p in data.paths].index(names[3])] == 0
    make_twitter(tmp_path / "none", folds=False)
    data = emolib.open_dataset("twitter1", tmp_path / "none")
    positives = [int(data.labels[test].sum()) for _, test in data.folds(seed=9)]
    assert sorted(positives) == [2, 2, 2, 3, 3]  # 12 positives of 20, as even as can be


def test_fingerprint_follows_contents_and_labels_and_not_the_place(tmp_path):
    make_twitter(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (emolib.open_dataset("twitter1", tmp_path / x) for x in "ab")
    assert one.fingerprint() == other.fingerprint()
    picture(other.paths[0], seed=5, format="JPEG")
    changed = other.fingerprint()
    assert changed != one.fingerprint()
    other.labels[0] ^= 1
    assert other.fingerprint() not in (changed, one.fingerprint())


def break_missing_folder(root):
    shutil.rmtree(root / "fi" / "awe")


def break_missing_picture(root):
    next((root / "twitter1/Agg_AMT_Candidates").glob("7_*")).unlink()


def break_label(root):
    file = root / "twitter1/ground_truth/three_agrees/test2/test.txt"
    file.write_text(file.read_text().replace(" 1", " 2", 1))


def break_fold_label(root):
    file = root / "twitter1/ground_truth/three_agrees/test2/train.txt"
    file.write_text(file.read_text().replace(" 1", " 0", 1))


def break_fold_overlap(root):
    folder = root / "twitter1/ground_truth/three_agrees/test4"
    train = folder / "train.txt"
    train.write_text(train.read_text() + "\n" + (folder / "test.txt").read_text())


def break_fold_file(root):
    (root / "twitter1/ground_truth/three_agrees/test5/train.txt").unlink()


def break_map(root):
    (root / "emotionroi/ground_truth/joy/1.jpg").unlink()


def break_split(root):
    folder = root / "emotionroi/training_testing_split"
    folder.mkdir()
    (folder / "training.txt").write_text("joy/1.jpg\njoy/99.jpg\n")


@pytest.mark.parametrize("damage, name, message", [
    (break_missing_folder, "fi", "no pictures in .*awe"),
    (break_missing_picture, "twitter1", r"twitter_three_agrees.txt line 8 names '7_é b.JPG'"),
    (break_label, "twitter1", r"test2.test.txt line 2 is .*expected '<file> <0 or 1>'"),
    (break_fold_label, "twitter1", r"test2.train.txt line 1 gives .* it already has 1"),
    (break_fold_overlap, "twitter1", "test4: .* is in both lists"),
    (break_fold_file, "twitter1", r"no file .*test5.train.txt"),
    (break_map, "emotionroi", r"1 of 12 stimuli maps .*joy.1.jpg"),
    (break_split, "emotionroi", "training.txt line 2 names 'joy/99.jpg'"),
])  # fmt: skip
def test_a_damaged_set_names_the_file_and_row(tmp_path, damage, name, message):
    make_fi(tmp_path, each=1)
    make_roi(tmp_path, each=2)
    make_twitter(tmp_path)
    emolib.open_dataset(name, tmp_path)
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        emolib.open_dataset(name, tmp_path)


def test_absent_and_unknown_sets_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="fi: there is no folder"):
        emolib.open_dataset("fi", tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'flickr': one of fi, twitter1"):
        emolib.open_dataset("flickr", tmp_path)


@real
def test_the_real_sets_have_the_published_counts():
    twitter = emolib.open_dataset("twitter1", REAL)
    assert (twitter.labels.sum(), (twitter.labels == 0).sum()) == (769, 500)
    assert sorted(len(test) for _, test in twitter.folds()) == [253] * 5
    assert len(np.unique(np.concatenate([test for _, test in twitter.folds()]))) == 1265
    roi = emolib.open_dataset("emotionroi", REAL)
    assert (roi.labels.sum(), (roi.labels == 0).sum()) == (660, 1320)
    assert not twitter.demo and roi.maps is None
