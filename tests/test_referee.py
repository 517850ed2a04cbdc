"""Lists of sets, anyone's predictions on them, and the leaderboard."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import emolib
from emolib import cli
from emolib.data import splits
from emolib.tables import comparison, entrants, leaderboard, referee, rows, significance
from emolib.tables.checks.verify import findings
from emolib.tables.sheet import read_sheet

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "results" / "measured"
REAL = Path(__file__).parents[2] / "shared" / "data"
MATCHED = MEASURED / "matched-lite0-128"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(referee, "TIMES", 20)


@pytest.fixture(scope="module")
def probe():
    """The frozen probe's committed answers to Twitter I's folds."""
    return predictions("twitter1-frozen_probe")


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    """A results folder with one system, on Twitter I."""
    root = tmp_path_factory.mktemp("weak")
    for run in MATCHED.glob("runs/twitter1-rao2016-*"):
        shutil.copytree(run, root / "one/runs" / run.name)
    return root


def predictions(runs: str, study: Path = MATCHED) -> pd.DataFrame:
    files = sorted(study.glob(f"runs/{runs}-*/predictions.csv"))
    return pd.concat(map(pd.read_csv, files), ignore_index=True)


def test_the_lists_have_the_counts_that_are_known():
    twitter, roi = splits.tested("twitter1"), splits.tested("emotionroi")
    assert (len(twitter), len(roi)) == (1265, 1980)  # four pictures are in no public fold
    assert splits.tested("twitter1", "grouped")["label"].value_counts().to_dict() == {
        1: 769,
        0: 500,
    }
    assert roi["label"].sum() == 660
    assert [len(splits.tested("twitter1", f"folds-{n}-agree")) for n in ("four", "five")] == [
        1115,
        880,
    ]
    for name, count, trained in (("emotionroi", 594, 1386), ("fi", 3407, 19290)):
        part = splits.tested(name, "split")
        assert (len(part), part["trained"].unique().tolist()) == (count, [trained])
    assert set(twitter["trained"]) == {1012} and set(twitter["of_fold"]) == {253}


@pytest.mark.parametrize("name", splits.listed_sets())
def test_groups_stay_on_one_side_and_each_picture_is_tested_once(name):
    for protocol in splits.protocols(name):
        found = splits.tested(name, protocol)
        assert found["path"].is_unique
        if protocol == "grouped":
            assert (found.groupby("group")["fold"].nunique() == 1).all()


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside this checkout")
@pytest.mark.parametrize("name", splits.listed_sets())
@pytest.mark.filterwarnings("ignore")
def test_a_list_is_what_the_real_set_gives(name):
    again = splits.made(name, REAL).astype(str)
    committed = pd.read_csv(splits.LISTS / f"{name}.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(again, committed)


def test_names_are_found_whatever_their_case_suffix_and_folders():
    paths = ["images/joy/1.jpg", "images/anger/1.jpg", "images/joy/é b.JPG"]
    names = ["JOY/1.png", "c:\\mine\\Joy\\1.jpg", "1.jpg", "anger/1", "x/e\u0301 B.webp", "2.jpg"]
    assert splits.positions(names, paths).tolist() == [0, 0, splits.UNCLEAR, 1, 2, splits.FOREIGN]


def test_each_committed_system_gets_its_own_row_of_the_matched_table():
    table = pd.read_csv(MATCHED / "matched.csv").set_index(["dataset", "method", "metric"])
    systems, names = entrants.entrants_of(MATCHED), set(table.index.get_level_values("method"))
    checked = 0
    for (dataset, protocol, system), (_, p) in systems.items():
        listed = splits.tested(dataset, protocol)
        own = referee.runs_of(listed.assign(p_positive=p[listed["path"]].to_numpy()), dataset)
        method = system.partition("/")[2]
        for metric in ("accuracy", "recall"):
            row = table.loc[(dataset, method, metric)] if method in names else None
            if row is None or row["runs"] != len(own):  # the lists hold one seed
                continue
            found = rows.statistics(own, metric)
            for name in ("mean", "std", "ci_low", "ci_high", "nb_low", "nb_high"):
                assert found[name] == pytest.approx(row[name], abs=2e-3), (system, metric, name)
            checked += 1
    assert checked >= 2 * 10


def test_evaluate_holds_them_against_every_other_system(probe):
    found = emolib.evaluate(probe, "twitter1", against=MATCHED)
    assert found.sheet.whole and not found.sheet.repeated
    right = (probe["p_positive"] >= 0.5) == probe["label"]
    assert found.scores.set_index("metric")["value"]["accuracy"] == pytest.approx(
        100 * right.mean(), abs=0.01
    )
    beside = found.against.set_index("system")
    itself = beside.loc[f"{MATCHED.name}/frozen_probe"]
    assert itself["difference"] == 0 and itself["p_holm"] == 1
    assert beside.loc[f"{MATCHED.name}/rao2016", "verdict"] == "better"
    table = pd.read_csv(MATCHED / "matched.csv")
    table = table[(table["dataset"] == "twitter1") & (table["metric"] == "accuracy")]
    ours = beside.loc[f"{MATCHED.name}/maiafa", "difference"]
    theirs = table.set_index("method")["minus_maiafa"]["frozen_probe"]
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert "better" in found.constant["verdict"].lower()


@pytest.mark.parametrize("how", ["shuffled", "constant"])
def test_an_answer_that_says_nothing_is_not_better_than_a_constant_one(
    probe, weak, how, tmp_path, capsys
):
    p = np.random.default_rng(0).permutation(probe["p_positive"]) if how == "shuffled" else 0.9
    probe.assign(p_positive=p).to_csv(tmp_path / "p.csv", index=False)
    words = ["evaluate", str(tmp_path / "p.csv"), "--set", "twitter1", "--against", str(weak)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "Not better than a constant answer" in said and "Better than" not in said
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"evaluation.md", "evaluation.png", "row.md", "row.csv", "against.csv"} <= written


def test_a_strangers_file_gets_a_useful_answer(probe):
    theirs = probe.drop(columns="label").sample(frac=1, random_state=1)
    missing, theirs = theirs["path"].iloc[:3].tolist(), theirs.iloc[3:].reset_index(drop=True)
    upper = theirs["path"].str.rpartition("/")[2].str.upper()
    theirs["path"] = theirs["path"].where(theirs.index % 2 == 0, upper)
    foreign = pd.DataFrame({"path": ["holiday.jpg"], "p_positive": [0.5]})
    found = emolib.evaluate(pd.concat([theirs, foreign, theirs.iloc[:1]]), "twitter1")
    assert sorted(found.sheet.missing) == sorted(missing)
    assert (found.sheet.foreign, found.sheet.repeated) == (["holiday.jpg"], [theirs["path"][0]])
    text = found.text()
    assert "1262 of 1265 pictures answered" in text and missing[0] in text
    assert len(found.against) >= 20  # of the leaderboard, on the pictures that are answered
    assert len(found.mistakes) and set(found.label_errors) == {"path", "label", "p_positive"}


def test_turned_answers_are_told_so(probe, weak):
    turned = probe.assign(p_positive=1 - probe["p_positive"])
    turned = emolib.evaluate(turned, "twitter1", against=weak)
    assert "negative* class?" in turned.text()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"p_positive": np.nan}, "row 7: .*p_positive is nan, not in 0 to 1"),
        ({"p_positive": 1.5}, "row 7: .*p_positive is 1.5"),
        ({"p_positive": "much"}, "row 7: .*p_positive is much"),
    ],
)
def test_what_is_no_probability_is_refused_with_its_row(probe, change, message):
    wrong = probe.astype({"p_positive": object})
    wrong.loc[7, "p_positive"] = change["p_positive"]
    with pytest.raises(ValueError, match=message):
        emolib.evaluate(wrong, "twitter1")


def test_what_cannot_be_right_is_refused(probe, weak, tmp_path):
    twice = pd.concat([probe, probe.iloc[:1].assign(p_positive=0.123)])
    with pytest.raises(ValueError, match=r"several answers: row 0 \(.*\) and row 1265 \(0.123\)"):
        emolib.evaluate(twice, "twitter1")
    with pytest.raises(ValueError, match="columns path and p_positive are needed, not path, label"):
        emolib.evaluate(probe[["path", "label"]], "twitter1")
    with pytest.raises(ValueError, match="fold 1: 1 of its 253 pictures are answered"):
        listed = splits.tested("twitter1").sort_values("fold", kind="stable")
        emolib.evaluate(listed.iloc[:254].assign(p_positive=0.5), "twitter1", against=weak)
    with pytest.raises(ValueError, match="none of 1 names, such as 'x.jpg'"):
        emolib.evaluate(pd.DataFrame({"path": ["x.jpg"], "p_positive": [1]}), "twitter1")
    with pytest.raises(ValueError, match="no list of the set 'own'; there are emotionroi, fi"):
        emolib.evaluate(probe, "own")
    with pytest.raises(ValueError, match="twitter1 has no protocol 'split'; it has folds"):
        emolib.evaluate(probe, "twitter1", "split")
    run = next(MATCHED.glob("runs/twitter1-frozen_probe-*-fold2-*"))
    with pytest.raises(ValueError, match="learnt 1012 of the 1265 pictures that it answers"):
        emolib.evaluate(probe, "twitter1", trained_on=run)
    with pytest.raises(ValueError, match="learnt 1 of the 1265 pictures"):
        emolib.evaluate(probe, "twitter1", trained_on=[probe["path"][0].upper()])
    with pytest.raises(ValueError, match="learnt 1012 of the 1265"):
        emolib.evaluate(probe, "twitter1", trained_on=probe[splits.tested("twitter1").fold.ne(0)])
    (tmp_path / "names.csv").write_text("name\na.jpg\n")
    with pytest.raises(ValueError, match="trained_on: a column path is needed, not name"):
        emolib.evaluate(probe, "twitter1", trained_on=tmp_path / "names.csv")
    other = next(MEASURED.glob("transfer-lite0-128/runs/twitter1-maiafa-*-emotionroi-fold0-*"))
    roi = splits.tested("emotionroi").assign(p_positive=0.4)
    with pytest.raises(ValueError, match="learnt 1980 of the 1980 pictures"):
        emolib.evaluate(roi, "emotionroi", trained_on=other)
    with pytest.raises(FileNotFoundError, match="no study with complete runs"):
        emolib.evaluate(probe, "twitter1", against=tmp_path)


def test_one_fold_by_the_network_that_has_not_learnt_it_is_taken(weak):
    run = next(MATCHED.glob("runs/twitter1-frozen_probe-*-fold2-*"))
    found = emolib.evaluate(run / "predictions.csv", "twitter1", trained_on=run, against=weak)
    assert len(found.sheet.tested) == 253 and len(found.sheet.missing) == 1012
    metrics = pd.read_json(run / "metrics.json", typ="series")
    values = found.scores.set_index("metric")["value"]
    assert values["accuracy"] == pytest.approx(metrics["accuracy"])


def test_resampled_bounds_of_the_log_loss_are_those_of_a_mean(probe, monkeypatch):
    monkeypatch.setattr(referee, "TIMES", 200)
    listed = splits.tested("twitter1").set_index("path")
    tested = listed.assign(p_positive=probe.set_index("path")["p_positive"]).reset_index()
    tested["group"] = tested["path"]
    right = np.where(tested["label"] == 1, tested["p_positive"], 1 - tested["p_positive"])
    loss = -np.log(np.clip(right, 1e-7, 1))
    low, high = referee._bounds(tested, np.full(4, loss.mean()))[:, 2]
    half = 1.96 * loss.std() / np.sqrt(len(loss))
    assert (low, high) == pytest.approx((loss.mean() - half, loss.mean() + half), abs=half / 4)


def test_systems_share_a_letter_exactly_where_no_pair_is_told_apart():
    listed = splits.tested("twitter1")
    answers, runs = {}, {}
    for (dataset, _, system), (_, p) in entrants.entrants_of(MATCHED).items():
        if dataset == "twitter1":
            tested = listed.assign(p_positive=p[listed["path"]].to_numpy())
            runs[system] = referee.runs_of(tested, dataset)
            answers[system] = rows.answers(runs[system], "accuracy")
    order = sorted(runs, key=lambda s: -runs[s]["accuracy"].mean())[::2]
    letters = leaderboard.groups(answers, order, listed)
    pairs = list(combinations(order, 2))
    found = [comparison.paired(runs[a], runs[b], "accuracy") for a, b in pairs]
    holm = significance.holm([f["p"] for f in found])
    for (a, b), pair, p in zip(pairs, found, holm, strict=True):
        apart = p < 0.05 and pair["p_t"] < 0.05
        assert bool(set(letters[a].split()) & set(letters[b].split())) != apart
    assert letters[order[0]].split()[0] == "a" and len(set(letters.values())) > 1


def test_a_row_is_added_by_one_csv_and_one_command(probe, weak, tmp_path, capsys):
    """As CONTRIBUTING.md says."""
    shutil.copytree(weak / "one", tmp_path / "measured/one")
    place = tmp_path / "leaderboard/submissions/twitter1-folds"
    place.mkdir(parents=True)
    probe[["path", "p_positive"]].to_csv(place / "probe.csv", index=False)
    assert cli.main(["leaderboard", str(tmp_path)]) == 2
    assert "probe.md: one line is needed" in capsys.readouterr().err
    (place / "probe.md").write_text("Logistic regression on frozen maps; example.org/probe\n")
    assert cli.main(["leaderboard", str(tmp_path)]) == 0
    page = (tmp_path / "leaderboard/leaderboard.md").read_text("utf-8")
    assert "`probe` | 77.0" in page and "example.org/probe" in page and "`one/rao2016`" in page
    table = pd.read_csv(tmp_path / "leaderboard/leaderboard.csv")
    assert table["groups"].tolist() == ["a", "b"]

    def said():
        found = {f.file: f.status for f in findings(tmp_path)}
        return {name: status for name, status in found.items() if name.startswith("leaderboard/")}

    assert said()["leaderboard/leaderboard.csv"] == "ok"
    file = tmp_path / "leaderboard/answers/twitter1-folds.csv"
    file.write_text(file.read_text().replace(",0.5", ",0.6", 1))
    assert said()["leaderboard/answers/twitter1-folds.csv"] == "wrong"
    probe.iloc[5:][["path", "p_positive"]].to_csv(place / "probe.csv", index=False)
    assert cli.main(["leaderboard", str(tmp_path)]) == 2
    assert "5 pictures are missing or foreign" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "answers.csv is no CSV file"),
        ("path;p_positive\na.jpg;0.5\n", "columns path and p_positive are needed, not path;p"),
        ("path,p_positive\n", "there is no answer in it"),
        ('path,p_positive\n"a.jpg,0.5\n', "answers.csv is no CSV file"),
        ("path,p_positive\n\na.jpg,2\n", "answers.csv line 3: a.jpg: p_positive is 2"),
    ],
)
def test_a_file_that_is_no_sheet_of_answers_is_named(tmp_path, text, message):
    file = tmp_path / "answers.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        emolib.evaluate(file, "twitter1")


def test_a_file_in_another_encoding_is_named_and_headings_may_be_written_otherwise(probe, tmp_path):
    file = tmp_path / "answers.csv"
    probe[["path", "p_positive"]].to_csv(file, index=False, encoding="utf-16")
    with pytest.raises(ValueError, match=r"answers.csv is no CSV file in UTF-8"):
        read_sheet(file, "twitter1", "folds")
    text = probe[["path", "p_positive"]].to_csv(index=False, header=["Path", " P_Positive"])
    file.write_text("\ufeff" + text, encoding="utf-8")
    assert read_sheet(file, "twitter1", "folds").whole


def test_one_split_of_one_class_or_of_few_pictures_claims_nothing(weak):
    split = splits.tested("emotionroi", "split")
    found = emolib.evaluate(
        split.assign(p_positive=0.5 + split["label"] / 3), "emotionroi", "split"
    )
    values = found.scores.set_index("metric")
    assert values.loc["auroc", "value"] == 100
    assert "right threshold" in found.text() and "nothing to compare with" in found.text()
    some = split.assign(p_positive=np.where(split.index % 3, split["label"], 1 - split["label"]))
    scored = emolib.evaluate(some, "emotionroi", "split").scores
    assert scored["low"].notna().all() and (scored["low"] <= scored["value"]).all()
    assert (scored["value"] <= scored["high"]).all()
