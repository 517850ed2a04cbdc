"""The three sets in their real layouts, and what is said when something is wrong with them."""

import collections
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from trees import (
    ROI,
    fi_names,
    files,
    make_fi,
    make_fi_json,
    make_fi_parts,
    make_fi_votes,
    make_own,
    make_roi,
    make_twitter,
    make_twitter_agree,
    make_valence,
    picture,
    write,
)

import emolib
from emolib.data.layouts.fi import fi_list

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


def test_the_usual_split_is_the_sets_own_lists(tmp_path):
    make_roi(tmp_path, each=6)
    lists = tmp_path / "emotionroi/training_testing_split"
    lists.mkdir()
    names = [f"{emotion}/{i}.jpg" for emotion in ROI for i in range(6)]
    parts = {"training": names[::3], "testing": sorted({*names} - {*names[::3]})}
    for part, held in parts.items():
        (lists / f"{part}.txt").write_text("\n".join(held), encoding="utf-8")
    (tmp_path / "emotionroi/excluded.csv").write_text("path,reason\nimages/anger/0.jpg,blank\n")
    data = emolib.open_dataset("emotionroi", tmp_path, split="usual")
    ((train, test),) = data.folds(seed=5)
    assert [data.names[i] for i in test] == sorted(f"images/{n}" for n in parts["testing"])
    kept = sorted({f"images/{n}" for n in parts["training"]} - {"images/anger/0.jpg"})
    assert [data.names[i] for i in train] == kept
    with pytest.raises(ValueError, match="a single split cannot keep near-twins together"):
        data.folds(grouped=np.arange(len(data)))
    assert len(emolib.open_dataset("emotionroi", tmp_path).folds()) == 5
    assert len(data.folds(official=False)) == 5
    left = "".join(f"images/{name},blank\n" for name in parts["testing"])
    (tmp_path / "emotionroi/excluded.csv").write_text("path,reason\n" + left)
    spec = emolib.RunSpec("emotionroi", backbone="test_efficientnet", init="scratch", split="usual")
    with pytest.raises(ValueError, match="left out by excluded.csv.* has no picture to test"):
        emolib.run(spec, tmp_path, tmp_path / "results", device="cpu")
    (lists / "training.txt").unlink()
    with pytest.raises(ValueError, match="split='usual' needs two lists"):
        emolib.open_dataset("emotionroi", tmp_path, split="usual")
    (lists / "training.txt").write_text("anger/1.jpg\nanger/1.jpg\n")
    with pytest.raises(ValueError, match="training.txt line 2 names 'anger/1.jpg', a second time"):
        emolib.open_dataset("emotionroi", tmp_path)
    assert emolib.RunSpec("twitter1", split="usual") == emolib.RunSpec("twitter1")


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


@pytest.mark.parametrize(
    "damage, name, message",
    [
        (break_missing_folder, "fi", "no pictures in .*awe"),
        (break_missing_picture, "twitter1", r"twitter_three_agrees.txt line 8 names '7_é b.JPG'"),
        (break_label, "twitter1", r"test2.test.txt line 2 is .*expected '<file> <0 or 1>'"),
        (break_fold_label, "twitter1", r"test2.train.txt line 1 gives .* it already has 1"),
        (break_fold_overlap, "twitter1", "test4: .* is in both lists"),
        (break_fold_file, "twitter1", r"no file .*test5.train.txt"),
        (break_map, "emotionroi", r"1 of 12 stimuli maps .*joy.1.jpg"),
        (break_split, "emotionroi", "training.txt line 2 names 'joy/99.jpg'"),
    ],
)
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


# Layouts ------------------------------------------------------------------------------------


def test_fi_parts_are_joined_and_remembered_but_are_no_folds(tmp_path):
    make_fi_parts(tmp_path)
    data = emolib.open_dataset("fi", tmp_path)
    assert len(data) == 48 and data.labels.sum() == 24
    assert data.extra["part"].value_counts().to_dict() == {"train": 24, "test": 16, "val": 8}
    assert data.official_folds is None and len(data.folds()[0][1]) == 7
    assert all(p.parent.name.lower() == e for p, e in zip(data.paths, data.emotions, strict=True))


@pytest.mark.parametrize("images", ["", "emotion_dataset"])
def test_fi_lists_find_pictures_below_or_one_folder_further_whatever_the_case(tmp_path, images):
    make_fi_json(tmp_path, images=images)
    data = emolib.open_dataset("fi", tmp_path)
    assert len(data) == 24 and data.labels.sum() == 12
    assert set(data.extra["part"][[" 0." in n for n in data.names]]) == {"test"}
    assert "train.json" in data.layout and (images or "the same folder") in data.layout


def test_fi_text_lists_take_names_and_numbers_and_warn_of_pictures_they_leave_out(tmp_path):
    names = fi_names(2)
    files(tmp_path / "fi/images", [unicodedata.normalize("NFD", n) for n in names])
    lines = [
        f"{n}\t{n.split('/')[0]}" if " 0" in n else f"./{n} {i // 2}" for i, n in enumerate(names)
    ]
    write(tmp_path / "fi/train_list.txt", *lines[1:], end="\r\n", encoding="utf-8-sig")
    write(tmp_path / "fi/readme.txt", "Please cite us.")
    with pytest.warns(UserWarning, match="fi: 1 pictures in .*images are not in any list"):
        data = emolib.open_dataset("fi", tmp_path)
    assert collections.Counter(data.emotions.tolist())["amusement"] == 1
    assert len(data) == 15 and data.extra is None


@pytest.mark.parametrize("header, images", [(True, "images/"), (False, "images/"), (True, "")])
def test_fi_votes_keep_pictures_with_enough_votes_and_count_the_rest(tmp_path, header, images):
    make_fi_votes(tmp_path, header=header, images=images)
    warning = "8 of 40 URLs have no picture, 8 pictures have fewer than 3 agreeing votes, 0 have"
    with pytest.warns(UserWarning, match=warning):
        data = emolib.open_dataset("fi", tmp_path)
    assert len(data) == 24 and data.labels.sum() == 12 and data.options == {"agree": 3}
    assert set(data.extra["agree"]) == {4} and set(data.extra["disagree"]) == {1}
    assert "8 of 40 URLs have no picture" in data.layout
    with pytest.raises(FileNotFoundError, match="fi: nothing of amusement, awe"):
        emolib.open_dataset("fi", tmp_path, agree=5)


def test_fi_votes_under_two_emotions_leave_the_picture_out(tmp_path):
    make_fi_votes(tmp_path)
    row = (tmp_path / "fi/awe.csv").read_text().splitlines()[2]
    with open(tmp_path / "fi/fear.csv", "a") as file:
        file.write(row + "\n")
    with pytest.warns(UserWarning, match="1 have two emotions"):
        data = emolib.open_dataset("fi", tmp_path)
    assert len(data) == 23 and "images/awe_1.jpg" not in data.names


def test_twitter_agreement_picks_its_list_and_its_folds(tmp_path):
    make_twitter_agree(tmp_path)
    for agree, count in ((3, 20), (4, 15), (5, 10)):
        data = emolib.open_dataset("twitter1", tmp_path, agree=agree)
        assert len(data) == count and data.options == {"agree": agree}
        assert sum(len(test) for _, test in data.folds()) == count
    assert "twitter_five_agrees.txt, public folds, 10 pictures not listed" in data.layout


@pytest.mark.parametrize("name", ["twitter_three_agrees.txt", "labels.txt"])
@pytest.mark.parametrize("place", ["", "ground_truth"])
def test_twitter_images_with_a_list_of_any_name(tmp_path, name, place):
    files(tmp_path / "twitter1/images", [f"{i} ö.jpg" for i in range(4)])
    lines = [f"{i} ö.jpg\t{i % 2}" for i in range(4)]
    write(tmp_path / "twitter1" / place / name, *lines, end="\r\n", encoding="utf-8-sig")
    data = emolib.open_dataset("twitter1", tmp_path)
    assert data.labels.tolist() == [0, 1, 0, 1] and data.official_folds is None
    with pytest.raises((ValueError, FileNotFoundError), match="twitter_four_agrees|agree=4 needs"):
        emolib.open_dataset("twitter1", tmp_path, agree=4)


def test_twitter_polarity_folders_know_nothing_of_agreement(tmp_path):
    files(tmp_path / "twitter1", ["Positive/a.jpg", "Positive/b.jpg", "neg/c.jpg"])
    data = emolib.open_dataset("twitter1", tmp_path)
    assert dict(zip(data.names, data.labels.tolist(), strict=True)) == {
        "Positive/a.jpg": 1,
        "Positive/b.jpg": 1,
        "neg/c.jpg": 0,
    }
    with pytest.raises(ValueError, match="agree=4 needs to know how many voters agreed"):
        emolib.open_dataset("twitter1", tmp_path, agree=4)


@pytest.mark.parametrize("images", ["images/", ""])
def test_emotionroi_valence_labels_leave_out_the_very_middle(tmp_path, images):
    make_valence(
        tmp_path, images=images, valence={"joy/0.jpg": 7, "fear/1.jpg": 5.1, "joy/2.jpg": 5}
    )
    files(tmp_path / "emotionroi/ground_truth", [f"{e}/{i}.jpg" for e in ROI for i in range(3)])
    data = emolib.open_dataset("emotionroi", tmp_path)
    assert len(data) == 18 and data.labels.sum() == 6 and data.options == {"labels": "keyword"}
    assert data.extra.columns.tolist() == [
        "valence",
        "arousal",
        "anger",
        "disgust",
        "fear",
        "joy",
        "sadness",
        "surprise",
        "neutral",
    ]
    with pytest.warns(UserWarning, match=r"1 pictures have a valence of exactly 5.*joy/2\.jpg"):
        data = emolib.open_dataset("emotionroi", tmp_path, labels="valence")
    positive = {
        n.removeprefix("images/") for n, y in zip(data.names, data.labels, strict=True) if y
    }
    assert positive == {"joy/0.jpg", "fear/1.jpg"} and len(data) == len(data.maps) == 17
    assert data.extra["valence"].gt(5).astype(int).tolist() == data.labels.tolist()
    assert data.options == {"labels": "valence"} and "labels by valence" in data.layout


def test_own_set_brings_its_folds_and_emotions(tmp_path):
    make_own(tmp_path)
    data = emolib.open_dataset("own", tmp_path)
    assert data.labels.tolist() == [1, 0, 1, 0, 1, 0] and set(data.emotions) == {"calm", "angry"}
    assert [test.tolist() for _, test in data.folds(seed=7)] == [[0, 1], [2, 3], [4, 5]]
    make_own(
        tmp_path,
        *(f"sub/ü {i}.PNG,{('Negative', 'positive')[i % 2]}" for i in range(6)),
        header="path,label",
    )
    data = emolib.open_dataset("own", tmp_path)
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1] and data.emotions is data.official_folds
    assert data.layout == "labels.csv, no folds"


# What is wrong with them --------------------------------------------------------------------


def edit(file, old, new):
    def damage(root):
        text = (root / file).read_text(encoding="utf-8")
        assert old in text
        (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def remove(file):
    return lambda root: (root / file).unlink()


@pytest.mark.parametrize(
    "make, name, damage, message",
    [
        (
            make_fi_parts,
            "fi",
            lambda r: shutil.rmtree(r / "fi/test/Awe"),
            "no pictures in .*test.awe",
        ),
        (
            make_fi_parts,
            "fi",
            lambda r: files(r / "fi", ["awe/x.jpg"]),
            "several layouts.*eight .* and train/, val/",
        ),
        (
            make_fi_json,
            "fi",
            remove("fi/awe/awe é 1.jpg"),
            "train.json entry 3 names 'Awe/awe é 1.jpg'.*1 of the 24 listed pictures",
        ),
        (
            make_fi_json,
            "fi",
            edit("fi/test.json", '0.jpg", 4]', '0.jpg", 5]'),
            "test.json entry 6 gives 'Disgust/.* the label 5; earlier entries give it to excite",
        ),
        (make_fi_json, "fi", edit("fi/test.json", ", 0]", "]"), r"test.json entry 1 is .*\[path"),
        (make_fi_json, "fi", edit("fi/test.json", "]]", ""), "test.json is not readable as JSON"),
        (
            make_fi_json,
            "fi",
            lambda r: write(r / "fi/x.txt", "fear/fear é 1.jpg 1", "awe/b.jpg 1"),
            "x.txt entry 2 gives 'awe/b.jpg' the label 1; earlier entries give it to fear",
        ),
        (
            make_fi_json,
            "fi",
            lambda r: write(r / "fi/x.txt", "fear/awe é 1.jpg awe"),
            "x.txt entry 1 gives 'fear/.* label awe; its folder is fear",
        ),
        (
            make_fi_json,
            "fi",
            lambda r: write(r / "fi/x.txt", "a.jpg 3"),
            "x.txt entry 1: 'a.jpg' with label '3' does not say which emotion",
        ),
        (
            make_fi_json,
            "fi",
            lambda r: files(r / "fi/copy", [n.lower() for n in fi_names(3)]),
            "are both in .* and in .*copy",
        ),
        (make_fi_votes, "fi", remove("fi/awe.csv"), "nothing of awe in the CSV files"),
        (
            make_fi_votes,
            "fi",
            edit("fi/awe.csv", ",2,3", ",2,x"),
            "awe.csv line 2 .*expected a URL",
        ),
        (make_fi_votes, "fi", edit("fi/awe.csv", "url,", "link,"), "awe.csv line 1 .*expected url"),
        (make_fi_votes, "fi", edit("fi/awe.csv", "awe_1", "awe_0"), "awe.csv line 3 gives awe_0"),
        (
            make_twitter,
            "twitter1",
            lambda r: files(r / "twitter1", ["pos/x.jpg"]),
            "several layouts at once, Agg_AMT_Candidates/ .* and pos/",
        ),
        (
            make_twitter,
            "twitter1",
            lambda r: shutil.rmtree(r / "twitter1/Agg_AMT_Candidates"),
            "twitter1: .* holds ground_truth; looked for Agg_AMT_Candidates/ .* or images/ .* "
            "or pos/",
        ),
        (
            make_valence,
            "emotionroi",
            remove("emotionroi/images/fear/1.jpg"),
            "ground_truth.txt line 9 names 'fear/1.jpg', not in .*images",
        ),
        (
            make_valence,
            "emotionroi",
            lambda r: files(r / "emotionroi/images", ["joy/9.jpg"]),
            "ground_truth.txt has no line for 1 of 19 pictures, the first is 'joy/9.jpg'",
        ),
        (
            make_valence,
            "emotionroi",
            edit("emotionroi/ground_truth.txt", "\t2\t", "\tx\t"),
            "ground_truth.txt line 2 is .*could not convert",
        ),
        (
            make_valence,
            "emotionroi",
            edit("emotionroi/ground_truth.txt", "\t2\t", "\t-0.5\t"),
            "line 2: valence -0.5 is not on Emotion6's scale",
        ),
        (
            make_own,
            "own",
            remove("own/sub/ü 3.PNG"),
            "labels.csv line 5 names 'sub/ü 3.PNG', which",
        ),
        (
            make_own,
            "own",
            edit("own/labels.csv", "2.PNG,1", "2.PNG,yes"),
            "line 4 has the label 'yes'",
        ),
        (
            make_own,
            "own",
            edit("own/labels.csv", "1,0,calm", "1,-1,calm"),
            "line 2 has the fold '-1'",
        ),
        (make_own, "own", edit("own/labels.csv", "3.PNG,0,1", "3.PNG,0,7"), "fold 3 has no row"),
        (
            make_own,
            "own",
            edit("own/labels.csv", "ü 3", "ü 1"),
            "line 5 names .* again, after line 3",
        ),
        (make_own, "own", edit("own/labels.csv", "1,calm", "1"), "line 4 has 3 cells instead of 4"),
        (
            make_own,
            "own",
            edit("own/labels.csv", ",fold", ",fodl"),
            r"columns path,label,fodl,emotion; expected path\[,label",
        ),
        (make_own, "own", remove("own/labels.csv"), "own: .* holds sub; looked for labels.csv"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_layout_is_one_error_that_names_file_and_row(
    tmp_path, make, name, damage, message
):
    make(tmp_path)
    emolib.open_dataset(name, tmp_path)
    damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        emolib.open_dataset(name, tmp_path)


def test_pictures_that_differ_only_in_case_are_ambiguous(tmp_path):
    make_fi_json(tmp_path)
    files(tmp_path / "fi/awe", ["AWE é 1.jpg"])
    if len(list((tmp_path / "fi/awe").iterdir())) == 3:
        pytest.skip("this file system knows no case")
    with pytest.raises(ValueError, match="'Awe/awe é 1.jpg' may be .*AWE é 1.jpg or .*awe é 1.jpg"):
        emolib.open_dataset("fi", tmp_path)
    files(tmp_path / "fi", ["AWE/x.jpg"])
    (tmp_path / "fi/train.json").unlink()
    (tmp_path / "fi/test.json").unlink()
    with pytest.raises(ValueError, match="AWE and .*awe differ only in case"):
        emolib.open_dataset("fi", tmp_path)


def test_choices_that_a_set_does_not_offer_are_errors(tmp_path):
    make_roi(tmp_path, each=1)
    with pytest.raises(ValueError, match="agree=2: one of 3, 4, 5"):
        emolib.open_dataset("emotionroi", tmp_path, agree=2)
    with pytest.raises(ValueError, match="labels='mood': one of keyword, valence"):
        emolib.open_dataset("emotionroi", tmp_path, labels="mood")
    with pytest.raises(ValueError, match="labels='valence' needs .*ground_truth.txt"):
        emolib.open_dataset("emotionroi", tmp_path, labels="valence")


# Pictures left out, and groups --------------------------------------------------------------


def test_excluded_pictures_leave_the_set_and_its_folds(tmp_path):
    names = make_twitter(tmp_path)
    files(tmp_path / "twitter1/Agg_AMT_Candidates", ["unlabelled.jpg"])
    file = write(
        tmp_path / "twitter1/excluded.csv",
        "path,reason",
        f'Agg_AMT_Candidates/{names[3]},"a twin, opposite label"',
        "Agg_AMT_Candidates/unlabelled.jpg,blurred",
    )
    with pytest.warns(UserWarning, match="1 pictures in"):
        data = emolib.open_dataset("twitter1", tmp_path)
    assert len(data) == 19 and names[3] not in {p.name for p in data.paths}
    assert [len(test) for _, test in data.folds()] == [3, 4, 4, 4, 4]
    assert {data.paths[i].name for i in data.folds()[0][1]} == {names[i] for i in (0, 1, 2)}
    assert data.layout.endswith("1 pictures left out by excluded.csv")
    file.write_text("path,reason\n\nAgg_AMT_Candidates/gone.jpg,twin\n")
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match=r"excluded.csv line 3 names .*gone"),
    ):
        emolib.open_dataset("twitter1", tmp_path)


def test_without_keeps_every_column_aligned(tmp_path):
    make_roi(tmp_path, each=2)
    make_valence(tmp_path, each=2, valence={"joy/1.jpg": 8})
    data = emolib.open_dataset("emotionroi", tmp_path)
    less = data.without([0, 5])
    assert less.names == [n for i, n in enumerate(data.names) if i not in (0, 5)]
    assert [m.parts[-2:] for m in less.maps] == [p.parts[-2:] for p in less.paths]
    assert all(p.parent.name == e for p, e in zip(less.paths, less.emotions, strict=True))
    assert less.names[less.extra["valence"].argmax()] == "images/joy/1.jpg"
    assert len(data) == 12 and data.without([]).names == data.names


def test_grouped_folds_never_part_a_group(tmp_path):
    make_twitter(tmp_path)
    files(tmp_path / "fi", fi_names(25))
    twitter, fi = (emolib.open_dataset(n, tmp_path) for n in ("twitter1", "fi"))
    groups = np.arange(20) // 2
    tests = [test for _, test in twitter.folds(grouped=groups)]
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(20))
    for train, test in twitter.folds(grouped=groups):
        assert not set(groups[train]) & set(groups[test])
    groups = np.arange(200) // 2
    ((train, test),) = fi.folds(seed=3, grouped=groups)
    validation = fi.validation(0, seed=3, grouped=groups)
    assert (len(train), len(test), len(validation)) == (170, 30, 10)
    rest = np.setdiff1d(train, validation)
    assert not set(groups[rest]) & set(groups[validation]) and set(validation) <= set(train)
    assert not set(groups[train]) & set(groups[test])
    np.testing.assert_array_equal(validation, fi.validation(0, seed=3, grouped=groups))
    with pytest.raises(ValueError, match=r"fi: grouped has shape \(3,\); expected .* 200 pictures"):
        fi.folds(grouped=[0, 1, 1])


@real
def test_the_real_twitter_lists_hold_1116_and_882_pictures_at_four_and_five():
    for agree, count, tested in ((4, 1116, 1115), (5, 882, 880)):
        data = emolib.open_dataset("twitter1", REAL, agree=agree)
        assert len(data) == count and sum(len(test) for _, test in data.folds()) == tested


@real
def test_the_real_valence_agrees_with_four_of_five_keywords():
    with pytest.warns(UserWarning, match="38 pictures have a valence of exactly 5"):
        data = emolib.open_dataset("emotionroi", REAL, labels="valence")
    assert len(data) == 1942
    assert np.mean(data.labels == np.isin(data.emotions, ["joy", "surprise"])) == pytest.approx(
        0.803, abs=0.001
    )


@real
def test_the_real_fi_lists_name_19290_and_3407_pictures():
    train, test = (fi_list(REAL / f"fi_lists/{part}.json") for part in ("train", "test"))
    assert (len(train), len(test)) == (19_290, 3_407)
    emotions = collections.Counter(emotion for _, _, emotion in train + test)
    assert emotions == {
        "amusement": 4859,
        "awe": 3054,
        "contentment": 5291,
        "excitement": 2826,
        "anger": 1236,
        "disgust": 1616,
        "fear": 1000,
        "sadness": 2815,
    }


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n{names[0]},1\n{names[1]},0\n",
        "\ufeffpath;label\r\n{names[0]};1\r\n{names[1]};0\r\n",  # a spreadsheet's, in Germany
        "sep=;\npath;label\n{names[0]};1\n{names[1]};0\n",
        "path\tlabel\n{names[0]}\t1.0\n{names[1]}\t0.0\n",  # pandas', once a label is missing
        "path,label,,\n{names[0]},positive,,\n{names[1]},Negative,,\n",
        "path,label\n.\\a, b.jpg;1\nsub\\c.jpg;0\n".replace(",label", ";label"),
        'path,label\n{here}/{names[1]},0\n"{names[0]}",1\n',
    ],
)
def test_lists_as_spreadsheets_and_windows_write_them(tmp_path, text):
    names = ["a, b.jpg" if ";" in text else "a b.jpg", "sub/c.jpg"]
    for name in names:
        picture(tmp_path / "own" / name)
    made = text.format(names=names, here=(tmp_path / "own").as_posix())
    (tmp_path / "own/labels.csv").write_text(made, encoding="utf-8", newline="")
    data = emolib.open_dataset("own", tmp_path)
    assert (data.names, data.labels.tolist()) == (names, [1, 0])


def test_a_decimal_comma_is_a_point(tmp_path):
    picture(tmp_path / "own/a.jpg")
    (tmp_path / "own/labels.csv").write_text("path;valence;arousal\na.jpg;6,5;2\n")
    data = emolib.open_dataset("own", tmp_path, task="valence")
    assert data.extra[["valence", "arousal"]].to_numpy().tolist() == [[6.5, 2]]


def test_a_list_says_all_that_is_wrong_with_it(tmp_path):
    picture(tmp_path / "own/a.jpg")
    (tmp_path / "own/b.heic").write_text("")
    picture(tmp_path / "own.jpg")
    rows = [
        "a.jpg,5",
        "b.heic,1",
        "../own.jpg,1",
        "x" * 999 + ",1",
        *(f"{i}.jpg,1" for i in range(30)),
    ]
    (tmp_path / "own/labels.csv").write_text("\n".join(["path,label", *rows]))
    with pytest.raises(ValueError) as caught:
        emolib.open_dataset("own", tmp_path)
    said = str(caught.value).splitlines()
    assert len(said) == 21 and said[-1] == "… and 14 more lines"
    assert "labels.csv line 2 has the label '5'" in said[0]
    assert said[1].endswith("of a kind that is read; save it as JPEG or PNG")
    assert said[2].endswith(str(tmp_path / "own")) and "line 5 names" in said[3]
    (tmp_path / "own/labels.csv").write_text("path,label,rater\na.jpg,1,7\n")
    with pytest.raises(ValueError, match="and no others: take out 'rater'"):
        emolib.open_dataset("own", tmp_path)
    (tmp_path / "own/labels.csv").write_text("path,label\ngrün.jpg,1\n", encoding="cp1252")
    with pytest.raises(ValueError, match="not UTF-8 text .*save it as UTF-8 .a spreadsheet's CSV"):
        emolib.open_dataset("own", tmp_path)
