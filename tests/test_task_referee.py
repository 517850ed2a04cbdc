"""Anyone's answers beyond polarity, held against the sets and against the committed runs."""

import json
import shutil
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
    about = {"fold", "seed", "run"}
    return {
        task: frame[[c for c in frame if c not in about and not c.startswith(tasks.ALWAYS)]]
        for (_, task, method), frame in found.items()
        if method == "without_both"
    }


def rows_of(task: str) -> pd.DataFrame:
    """The committed table's rows of the networks in `committed`."""
    table = pd.read_csv(STUDY / "tasks.csv")
    mine = (table["task"] == task) & (table["method"] == "without_both")
    return table[mine].set_index("measure")


@pytest.mark.parametrize("task", OTHERS)
def test_the_committed_answers_have_their_own_row_of_the_table(task, committed):
    found = emolib.evaluate(committed[task].sample(frac=1, random_state=0), "emotionroi")
    assert found.task == task and found.sheet.whole
    table = rows_of(task)
    scores = found.scores.set_index("measure")
    for column in ("value", "constant", "difference"):
        theirs = table.loc[scores.index, column]
        assert np.allclose(scores[column], theirs, rtol=1e-4, equal_nan=True)
    # beside itself it is not told apart
    itself = found.against[found.against["system"].str.startswith("without")]
    assert len(itself) == len(TASKS[task].by_picture(found.answers)) == len(found.against) / 2
    assert (itself["difference"] == 0).all() and (itself["verdict"] == "cannot tell").all()
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
    right = rows_of("emotion").loc["accuracy", "value"]
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
    with pytest.raises(ValueError, match="distribution has the columns p_anger, .*, not p_joy"):
        emolib.evaluate(frame[["path", "p_joy"]].assign(p_joy=1), "emotionroi", **how)


@pytest.mark.parametrize(
    "change, dataset, how, message",
    [
        (lambda f: f.assign(p_joy=2), "emotionroi", {}, r"row 0: images/.*: p_joy is 2, not in 0"),
        (lambda f: f.assign(p_joy=f["p_joy"] + 0.1), "emotionroi", {}, "sum to 1.1; 1 is needed"),
        (lambda f: f.drop(columns="p_joy"), "emotionroi", {}, "p_joy is missing; each of its"),
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
    assert found.scores["constant"].isna().all() and "is not known" in found.text()
    assert "nothing to compare with" in found.text()


def test_what_is_known_has_to_be_of_what_is_answered(committed):
    votes, several = committed["distribution"], committed["multilabel"]
    with pytest.raises(ValueError, match="of the same names; neutral is on one side alone"):
        emolib.evaluate(votes.drop(columns="p_neutral"), "emotionroi")
    joyless = votes.drop(columns=["p_joy", "label_joy"])
    with pytest.raises(
        ValueError, match=r"anger/\d+.jpg: label_anger, … sum to 0.9.*; 1 is needed"
    ):
        emolib.evaluate(joyless, "emotionroi")
    with pytest.raises(ValueError, match=r"there \(1\) or not \(0\) in multilabel"):
        emolib.evaluate(votes, "emotionroi", task="multilabel")
    with pytest.raises(ValueError, match="say which task it is"):
        emolib.evaluate(committed["emotion"], "emotionroi", data_root="/nowhere")
    one = emolib.evaluate(several[["path", "label_joy", "p_joy"]], "emotionroi")
    assert one.task == "multilabel" and one.against.empty  # the runs answer for more emotions


@pytest.mark.parametrize("task", ["emotion", "distribution"])
def test_digits_that_a_file_has_rounded_change_little(task, committed):
    frame = committed[task]
    rounded = frame.assign(**frame.filter(like="p_").round(3))
    found = emolib.evaluate(rounded, "emotionroi")
    table = rows_of(task)
    values = found.scores.set_index("measure")["value"]
    assert found.task == task
    assert np.allclose(values, table.loc[values.index, "value"], rtol=0.03)


def test_runs_on_drawn_pictures_are_no_systems(committed, tmp_path):
    for run in sorted((STUDY / "runs").iterdir()):
        if json.loads((run / "spec.json").read_text()).get("task") == "valence":
            shutil.copytree(run, tmp_path / "s/runs" / run.name)
    valence = committed["valence"]
    assert len(emolib.evaluate(valence, "emotionroi", against=tmp_path).against) == 2 * 2
    for file in tmp_path.glob("s/runs/*/environment.json"):
        about = json.loads(file.read_text())
        about["data"]["demo"] = True
        file.write_text(json.dumps(about))
    assert emolib.evaluate(valence, "emotionroi", against=tmp_path).against.empty


def test_a_measure_that_is_no_number_has_no_verdict():
    counts = tasks.resamples(pd.Series(list("abcd")))
    rows = [
        {"measure": name} | tasks.apart(np.array(gap), counts)
        for name, gap in (("cosine", [0.1, np.nan, 0.1, 0.1]), ("kl", [-1.0, -1.1, -1.0, -0.9]))
    ]
    tasks.judge(rows, "better", "worse", "cannot tell")
    assert [row["verdict"] for row in rows] == [None, "better"]


def test_files_may_come_from_an_iterator_and_have_no_empty_path_or_column_twice(
    committed, tmp_path
):
    frame = committed["valence"]
    for name, part in (("a", frame.iloc[:900]), ("b", frame.iloc[900:])):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    assert emolib.evaluate(tmp_path.glob("?.csv"), "emotionroi").sheet.whole
    frame.assign(path=frame["path"].where(frame.index != 4)).to_csv(tmp_path / "c.csv", index=False)
    assert cli.main(["evaluate", str(tmp_path / "c.csv"), "--set", "emotionroi"]) == 2
    with pytest.raises(ValueError, match="c.csv line 6: there is an answer and no path"):
        emolib.evaluate(tmp_path / "c.csv", "emotionroi")
    with pytest.raises(ValueError, match="row 1: column valence is there twice"):
        emolib.evaluate(frame.assign(Valence=5), "emotionroi")


def test_a_set_whose_list_has_no_emotions_says_so():
    listed = splits.tested("twitter1")
    with pytest.raises(ValueError, match="twitter1: its list has no emotions"):
        emolib.evaluate(pd.DataFrame({"path": listed["path"], "p_joy": 1.0}), "twitter1")


def test_answers_to_learnt_pictures_are_refused(committed):
    with pytest.raises(ValueError, match="learnt 1 of the 1980 pictures"):
        first = committed["valence"]["path"][:1]
        emolib.evaluate(committed["valence"], "emotionroi", trained_on=list(first))
