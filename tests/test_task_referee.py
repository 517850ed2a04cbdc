"""Anyone's answers beyond polarity, held against the sets and against the committed runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import make_voted

import emolib
from emolib import cli
from emolib.data import splits
from emolib.data.tasks import TASKS
from emolib.tables import tasks

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "results/measured/tasks-lite2"
OTHERS = [task for task in TASKS if task != "polarity"]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(tasks, "TIMES", 200)
    monkeypatch.setattr(tasks, "FEW", 20)


@pytest.fixture(scope="module")
def committed():
    """{task: the committed answers of its five networks}"""
    found = tasks.answers_by_task(STUDY)
    about = ["fold", "seed", "run"]
    return {task: f.drop(columns=about) for (_, task, _), f in found.items()}


@pytest.mark.parametrize("task", OTHERS)
def test_the_committed_answers_have_their_own_row_of_the_table(task, committed):
    found = emolib.evaluate(committed[task].sample(frac=1, random_state=0), "emotionroi")
    assert found.task == task and found.sheet.whole
    table = pd.read_csv(STUDY / "tasks.csv").query("task == @task").set_index("measure")
    scores = found.scores.set_index("measure")
    for column in ("value", "constant", "difference"):
        theirs = table.loc[scores.index, column]
        assert np.allclose(scores[column], theirs, rtol=1e-4, equal_nan=True)
    # beside itself it is not told apart
    assert len(found.against) == len(TASKS[task].by_picture(found.answers))
    assert (found.against["difference"] == 0).all()
    assert (found.against["verdict"] == "cannot tell").all()
    words = found.text()
    assert "1980 of 1980 pictures" in words and "better than a constant answer" in words


def test_answers_in_any_order_are_no_better_than_a_constant_one(committed, tmp_path):
    frame = committed["distribution"]
    said = [c for c in frame if c.startswith("p_")]
    mixed = frame[said].sample(frac=1, random_state=0).to_numpy()
    mixed = frame.assign(**dict(zip(said, mixed.T, strict=True)))
    found = emolib.evaluate(mixed, "emotionroi")
    distances = found.scores.set_index("measure").loc[["kl", "chebyshev", "cosine"]]
    assert (distances["verdict"] == tasks.NOT_BETTER).all()
    worse = found.against.set_index("measure").loc[["kl", "chebyshev", "cosine"]]
    assert (worse["verdict"] == "worse").all() and (worse["p_holm"] < 0.05).all()
    mixed.to_csv(tmp_path / "answers.csv", index=False)
    given = [str(tmp_path / "answers.csv"), "--set", "emotionroi", "--out", str(tmp_path / "out")]
    assert cli.main(["evaluate", *given]) == 0
    kept = {file.name for file in (tmp_path / "out").iterdir()}
    assert kept == {"evaluation.md", "evaluation.png", "row.csv", "scores.csv", "against.csv"}


def test_a_strangers_file_gets_a_useful_answer(committed):
    frame = committed["emotion"].drop(columns="emotion")  # the list knows it
    other_case = frame["path"].where(frame.index % 2 == 0, frame["path"].str.upper())
    frame = frame.assign(path=other_case).iloc[3:]
    frame = pd.concat([frame, frame.iloc[:1].assign(path="nowhere.jpg")])
    found = emolib.evaluate(frame, "emotionroi", name="mine")
    assert (len(found.sheet.missing), found.sheet.foreign) == (3, ["nowhere.jpg"])
    right = pd.read_csv(STUDY / "tasks.csv").set_index("measure").loc["accuracy", "value"]
    value = found.scores.set_index("measure")["value"]
    assert value["accuracy"] == pytest.approx(right, abs=0.2) and value["polarity_accuracy"] > 70
    assert "mine on EmotionROI" in found.text() and "3 without an answer" in found.text()


def test_what_is_known_can_be_read_from_the_set(tmp_path, monkeypatch):
    make_voted(tmp_path)
    data = emolib.open_dataset("emotionroi", tmp_path, task="distribution")
    monkeypatch.setattr(splits, "tested", lambda *a: listed)
    monkeypatch.setattr(splits, "every_path", lambda name: pd.Series(data.names))
    about = {"group": data.names, "fold": np.arange(len(data)) % 2}
    about |= {"of_fold": len(data) // 2, "trained": len(data) // 2, "label": data.labels}
    listed = pd.DataFrame({"path": data.names} | about)
    same = {f"p_{name}": data.targets[:, k] for k, name in enumerate(data.classes)}
    frame = pd.DataFrame({"path": data.names} | same)
    how = {"task": "distribution", "data_root": tmp_path}
    found = emolib.evaluate(frame, "emotionroi", **how).scores.set_index("measure")["value"]
    assert found["kl"] == pytest.approx(0, abs=1e-5) and found["cosine"] == pytest.approx(1)
    with pytest.raises(ValueError, match="distribution has the columns p_anger, .*, not joy"):
        emolib.evaluate(frame[["path", "p_joy"]].assign(p_joy=1), "emotionroi", **how)


@pytest.mark.parametrize(
    "change, dataset, how, message",
    [
        (lambda f: f.assign(p_joy=2), "emotionroi", {}, r"row 0: images/.*: p_joy is 2, not in 0"),
        (lambda f: f.assign(p_joy=f["p_joy"] + 0.1), "emotionroi", {}, "sum to 1.1; 1 is needed"),
        (lambda f: f.drop(columns="p_joy"), "emotionroi", {}, "each emotion; not p_joy"),
        (
            lambda f: f,
            "emotionroi",
            {"task": "distribution"},
            "no people's votes.*; give data_root",
        ),
        (lambda f: f, "emotionroi", {"task": "valence"}, "no measured valence and arousal; give"),
        (lambda f: f, "emotionroi", {"task": "joy"}, "must be one of emotion, .*, or polarity"),
        (lambda f: f, "twitter1", {}, "none of 1980 names"),
    ],
)
def test_what_cannot_be_right_names_the_row(change, dataset, how, message, committed):
    frame = change(committed["emotion"])
    if message.startswith("sum"):
        frame = frame.assign(p_joy=frame["p_joy"].clip(upper=1))
    with pytest.raises(ValueError, match=message):
        emolib.evaluate(frame, dataset, **how)


def test_one_split_has_no_constant_answer_and_says_so():
    split = splits.tested("fi", "split").iloc[::2]
    named = ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness")
    p = np.random.default_rng(0).dirichlet(np.ones(8), len(split))
    columns = {f"p_{name}": p[:, k] for k, name in enumerate(named)}
    found = emolib.evaluate(pd.DataFrame({"path": split["path"]} | columns), "fi", "split")
    value = found.scores.set_index("measure")["value"]
    assert 9 < value["accuracy"] < 16 and value["accuracy"] < value["ecc"] < 50
    assert found.scores["constant"].isna().all() and "no constant answer" in found.text()
    assert "nothing to compare with" in found.text()


def test_a_set_whose_list_has_no_emotions_says_so():
    listed = splits.tested("twitter1")
    with pytest.raises(ValueError, match="twitter1: its list has no emotions"):
        emolib.evaluate(pd.DataFrame({"path": listed["path"], "p_joy": 1.0}), "twitter1")


def test_answers_to_learnt_pictures_are_refused(committed):
    with pytest.raises(ValueError, match="learnt 1 of the 1980 pictures"):
        first = committed["valence"]["path"][:1]
        emolib.evaluate(committed["valence"], "emotionroi", trained_on=list(first))
