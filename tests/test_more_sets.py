"""Layouts in which people have sets beyond the paper's, and trees that go round of the paper's own,
each on a small real tree."""

import json

import numpy as np
import pytest
from trees import FI, make_valence, picture

import emolib
from emolib.spec.sets import SETS
from emolib.study import figures, frames


def two(folder, count=4, shift=0):
    """count pictures in negative/ and one more in positive/."""
    for label, name in enumerate(("negative", "positive")):
        for i in range(count + label):
            picture(folder / name / f"{name}_{i + shift}.jpg", seed=100 * label + i)


def test_emoset_is_read_from_its_lists_with_its_own_test_pictures(tmp_path):
    root, lists = tmp_path / "emoset", {"train": [], "val": [], "test": []}
    for e, emotion in enumerate(FI):
        for i, part in enumerate(["train"] * 4 + ["val"] + ["test"] * 2):
            name = f"image/{emotion}/{emotion}_{i:05d}.jpg"
            picture(root / name, seed=10 * e + i)
            entry = [emotion, f"{emotion}_{i:05d}", name, name.replace("image", "annotation")]
            lists[part].append(entry)
    for part, entries in lists.items():
        (root / f"{part}.json").write_text(json.dumps(entries), encoding="utf-8")
    data = emolib.open_dataset("emoset", tmp_path)
    assert len(data) == 56 and set(data.emotions[data.labels == 1]) == set(FI[:4])
    ((train, test),) = data.folds()
    assert (len(train), len(test)) == (40, 16)
    assert data.extra["part"][test].unique().tolist() == ["test"]
    held = data.validation(0)
    assert len(held) == round(0.05 * 56) and set(held) <= set(train)
    assert "positive is 1; EmoSet.py's two classes have it 0" in data.layout
    lists["test"][0] = ["joy", "x", "image/x.jpg", ""]
    (root / "test.json").write_text(json.dumps(lists["test"]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"test.json entry 1 is \['joy'.*expected \[emotion"):
        emolib.open_dataset("emoset", tmp_path)
    lists["test"][0] = ["awe", "x", "image/x.jpg", ""]
    (root / "test.json").write_text(json.dumps(lists["test"]), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="test.json entry 1 names 'image/x.jpg'"):
        emolib.open_dataset("emoset", tmp_path)


@pytest.mark.parametrize("name", ["flickr_ldl", "twitter_ldl"])
def test_voted_sets_are_read_in_both_of_their_forms(name, tmp_path):
    counts = {f"{i}.jpg": [i % 3, 1, 0, 0, 2, 0, 0, i % 2] for i in range(11)}
    for i, file in enumerate(counts):
        picture(tmp_path / name / "images" / file, seed=i)
    header = "images-name Amusement Awe Contentment Excitement Anger Disgust Fear Sadness"
    lines = [f"{file} {' '.join(map(str, row))} " for file, row in counts.items()]
    votes_file = tmp_path / name / "ground_truth.txt"
    votes_file.write_text("\n".join([header, *lines]), encoding="utf-8")
    data = emolib.open_dataset(name, tmp_path, task="distribution")
    for file, row in zip(data.names, data.targets, strict=True):
        expected = np.array(counts[file.removeprefix("images/")]) / sum(counts[file[7:]])
        np.testing.assert_allclose(row, expected, rtol=1e-6)
    assert data.classes == tuple(header.lower().split()[1:]) and len(data.folds()) == 5
    several = emolib.open_dataset(name, tmp_path, task="multilabel", least_votes=0.5)
    assert several.targets[data.names.index("images/0.jpg")].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    for task in ("polarity", "emotion"):
        with pytest.raises(ValueError, match=f"{name}: task='{task}' needs"):
            emolib.open_dataset(name, tmp_path, task=task).targets  # noqa: B018
    with pytest.raises(ValueError, match="split='usual' needs two lists"):
        emolib.open_dataset(name, tmp_path, split="usual")
    # StyleEDL's form: no header, shares, the class behind them
    votes_file.unlink()
    parts = {"train": lines[:8], "test": lines[8:]}
    for part, held in parts.items():
        shares = [[file, *counts[file]] for file in (line.split()[0] for line in held)]
        text = [f"{n} {' '.join(f'{v / sum(row):.6f}' for v in row)} 4" for n, *row in shares]
        (tmp_path / name / f"ground_truth_{part}.txt").write_text("\n".join(text))
    cut = emolib.open_dataset(name, tmp_path, task="distribution", split="usual")
    np.testing.assert_allclose(cut.targets, data.targets, atol=1e-5)
    ((train, test),) = cut.folds()
    assert (len(train), len(test)) == (8, 3)
    assert {cut.names[i] for i in test} == {f"images/{line.split()[0]}" for line in lines[8:]}
    assert len(emolib.open_dataset(name, tmp_path, task="distribution").folds()) == 5


def test_a_set_that_does_not_say_what_is_positive_is_shown_without_that(tmp_path):
    lines = ["images-name Amusement Awe Contentment Excitement Anger Disgust Fear Sadness"]
    for i in range(10):
        picture(tmp_path / f"flickr_ldl/images/{i}.jpg", seed=i)
        lines.append(f"{i}.jpg 1 0 0 0 0 0 0 {i}")
    (tmp_path / "flickr_ldl/ground_truth.txt").write_text("\n".join(lines))
    study = emolib.Study.configure("best", tmp_path, tmp_path / "results", "mine")
    table = frames.table5(study)
    assert table["pictures (found)"].tolist() == [10]
    assert table["positive (found)"].isna().all()
    assert frames.splits(study)["positive in test (%)"].isna().all()
    figure = figures.samples(study.open("flickr_ldl"))
    assert figure.get_suptitle() == "Flickr_LDL: some of its pictures"
    assert sum(bool(axis.images) for axis in figure.axes) == 10
    assert not any(axis.get_title() for axis in figure.axes)
    assert not any(text.get_text() for text in figures.class_balance(table).axes[0].texts)


@pytest.mark.parametrize(
    "second, message",
    [
        ("2.jpg 1 0 0 0 0 0 0 0", "test.txt line 1 is .*expected a name, eight shares and a class"),
        ("2.jpg 1 0 0 0 0 0 0 0 joy", "test.txt line 1 is .*eight shares and a class"),
        ("1.jpg 1 0 0 0 0 0 0 0 0", "test.txt line 1 names '1.jpg' a second time"),
        ("A.jpg 1 0 0 0 0 0 0 0 0", "test.txt line 1 names 'A.jpg' may be .*differ only in case"),
        ("a  b.jpg .5 0 0 0 0 0 0 0 0", "test.txt line 1 has shares of votes that sum to 0.5"),
        ("", "ground_truth_test.txt names no picture"),
    ],
)
def test_what_is_wrong_in_the_second_of_two_lists_names_it(second, message, tmp_path):
    for file in ("1.jpg", "2.jpg", "a.JPG", "A.JPG", "a  b.jpg"):
        picture(tmp_path / "twitter_ldl/images" / file)
    for part, text in (("train", "1.jpg 1 0 0 0 0 0 0 0 0"), ("test", second)):
        (tmp_path / f"twitter_ldl/ground_truth_{part}.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        emolib.open_dataset("twitter_ldl", tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1.jpg 1 0 0 0 0 0 0 0", "line 1 is '1.jpg 1 0.*expected images-name amusement awe"),
        ("{header}\n9.jpg 1 0 0 0 0 0 0 0", "line 2 names '9.jpg', which is not in .*images"),
        ("{header}\n1.jpg 1 0 0 0 0 0 0", "line 2 is '1.jpg 1.*expected a name and eight counts"),
        ("{header}\n1.jpg 1 0 0 0 x 0 0 0", "line 2 is '1.jpg 1 0 0 0 x.*a name and eight counts"),
        ("{header}\n1.jpg 1 0 0 0 -1 0 0 0", "line 2 has a negative share of votes, -1"),
        ("{header}\n1.jpg 0 0 0 0 0 0 0 0", "line 2 has shares of votes that sum to 0, not to 1"),
        ("{header}\n1.jpg .2 .2 0 0 0 0 0 0", "line 2 has shares of votes that sum to 0.4"),
        ("{header}\n1.jpg nan 1 0 0 0 0 0 0", "line 2 has a negative share of votes, nan"),
        ("{header}\n1.jpg 1 0 0 0 0 0 0 0\n1.jpg 1 0 0 0 0 0 0 0", "line 3 names '1.jpg' a second"),
        ("{header}", "names no picture"),
    ],
)
def test_what_is_wrong_in_a_list_of_votes_names_the_line(text, message, tmp_path):
    picture(tmp_path / "flickr_ldl/images/1.jpg")
    header = "images-name Amusement Awe Contentment Excitement Anger Disgust Fear Sadness"
    (tmp_path / "flickr_ldl/ground_truth.txt").write_text(text.format(header=header))
    with pytest.raises(ValueError, match=message):
        emolib.open_dataset("flickr_ldl", tmp_path)


def test_emotion6_always_has_its_measured_valence(tmp_path):
    make_valence(tmp_path, each=5, valence={"joy/1.jpg": 7})
    (tmp_path / "emotionroi").rename(tmp_path / "emotion6")
    data = emolib.open_dataset("emotion6", tmp_path)
    assert len(data) == 30 and "valence" in data.extra and len(data.folds()) == 5
    by_valence = emolib.open_dataset("emotion6", tmp_path, labels="valence")
    positive = [n for n, y in zip(by_valence.names, by_valence.labels, strict=True) if y]
    assert positive == ["images/joy/1.jpg"]
    (tmp_path / "emotion6/ground_truth.txt").unlink()
    with pytest.raises(FileNotFoundError, match="emotion6: .*looked for ground_truth.txt and"):
        emolib.open_dataset("emotion6", tmp_path)


@pytest.mark.parametrize("inner", ["", "testImages_artphoto"])
def test_artphoto_is_labelled_by_the_names_of_its_files(tmp_path, inner):
    for e, word in enumerate(("amusement", "sad", "Fear", "awe")):
        for i in range(5):
            picture(tmp_path / "artphoto" / inner / f"{word}_{i:04d}.jpg", seed=10 * e + i)
    data = emolib.open_dataset("artphoto", tmp_path)
    assert set(data.emotions) == {"amusement", "sadness", "fear", "awe"}
    assert data.labels.tolist() == [e in ("amusement", "awe") for e in data.emotions]
    picture(tmp_path / "artphoto" / inner / "joy_1.jpg")
    with pytest.raises(ValueError, match="joy_1.jpg is named 'joy', none of amusement"):
        emolib.open_dataset("artphoto", tmp_path)


def test_abstract_paintings_have_the_emotion_that_most_voted_for(tmp_path):
    root = tmp_path / "abstract/testImages_abstract"
    head = "'','Amusement','Anger','Awe','Content','Disgust','Excitement','Fear','Sad'"
    rows = ["'a.jpg',5,1,0,2,0,0,1,0", "'b.jpg',0,0,0,1,0,0,0,6", "'c.jpg',3,3,0,0,0,0,0,0"]
    for name in "abc":
        picture(root / f"{name}.jpg", seed=ord(name))
    file = root / "ABSTRACT_groundTruth.csv"
    file.write_text("\n".join([head, *rows]), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 pictures have no one emotion: c.jpg"):
        data = emolib.open_dataset("abstract", tmp_path)
    assert data.emotions.tolist() == ["amusement", "sadness"] and data.labels.tolist() == [1, 0]
    assert data.extra.loc[0, ["amusement", "contentment"]].tolist() == [5, 2]
    file.write_text("\n".join([head, "'a.jpg',5,1,0,2,0,0,-1,0"]), encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 has not eight counts"):
        emolib.open_dataset("abstract", tmp_path)
    file.write_text("\n".join([head, "'d.jpg',5,1,0,2,0,0,1,0"]), encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 names a picture that is not there"):
        emolib.open_dataset("abstract", tmp_path)


@pytest.mark.parametrize("name", ["twitter1", "twitter2"])
def test_two_folders_of_polarity_are_a_set(tmp_path, name):
    two(tmp_path / name)
    data = emolib.open_dataset(name, tmp_path)
    assert data.labels.tolist() == [0] * 4 + [1] * 5 and data.emotions is None


@pytest.mark.parametrize("name", ["fi", "emotionroi", "twitter2"])
def test_polarity_in_parts_is_joined(tmp_path, name):
    for k, part in enumerate(("train", "val", "test")):
        two(tmp_path / name / part, shift=10 * k)
    data = emolib.open_dataset(name, tmp_path)
    assert len(data) == 27 and data.labels.sum() == 15 and data.emotions is None
    assert data.extra["part"].value_counts().to_dict() == {"train": 9, "val": 9, "test": 9}
    assert len(data.folds()) == SETS[name].folds


def test_folders_of_folds_are_one_set_with_these_folds(tmp_path):
    names = [(label, f"{label}_{i}.jpg") for label in ("negative", "positive") for i in range(5)]
    for fold in range(5):
        for i, (label, name) in enumerate(names):
            part = "test" if i % 5 == fold else "train"
            picture(tmp_path / f"twitter1/total/{fold + 1}/{part}/{label}/{name}", seed=i)
    data = emolib.open_dataset("twitter1", tmp_path)
    assert len(data) == 10 and data.labels.sum() == 5
    for fold, (train, test) in enumerate(data.folds()):
        assert sorted([*train, *test]) == list(range(10))
        assert {data.paths[i].stem[-1] for i in test} == {str(fold)}
    moved = tmp_path / "twitter1/total/3/train/negative/negative_0.jpg"
    moved.rename(moved.parents[1] / "positive" / moved.name)
    with pytest.raises(ValueError, match=r"3.train.positive.negative_0.jpg has the label 0 in"):
        emolib.open_dataset("twitter1", tmp_path)
    (moved.parents[1] / "positive" / moved.name).unlink()
    with pytest.raises(ValueError, match=r"total.3 has not the pictures of .*1, each once"):
        emolib.open_dataset("twitter1", tmp_path)


def test_every_set_says_where_it_is_from_and_how_many_pictures_to_expect():
    for one in SETS.values():
        assert one.where and one.pictures and one.source and one.labelled
    assert np.isclose([sum(one.shares) for one in SETS.values()], 1).all()
