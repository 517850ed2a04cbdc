"""What a comparison may say: the order of verdicts, pooled sets, seeds, runs that did not train."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from test_tables import fabricate, rival, row, spec

import emolib
from emolib.base.metrics import scores
from emolib.spec.sets import BOTH
from emolib.tables import comparison, frame, significance, study_tables
from emolib.tables import readings as variations

PICTURES = 200  # a fold


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(study_tables, "write_page", lambda *args: None)


def answer(folder, run, right, seed=0, classes=(0, 1)):
    """A run of PICTURES pictures a fold, each right with probability `right` or as the array says;
    classes: what it can answer."""
    folder = fabricate(folder, run, 0)
    rng = np.random.default_rng([seed, run.fold])
    label = np.arange(PICTURES) % 2
    hits = rng.random(PICTURES) < right if np.isscalar(right) else right[run.fold]
    p = np.where(hits, label, 1 - label).clip(*classes) * 0.8 + 0.1
    paths = [f"{run.fold}-{i}.jpg" for i in range(PICTURES)]
    frame = pd.DataFrame({"path": paths, "label": label, "p_positive": p})
    frame.to_csv(folder / "predictions.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(scores(label, p)))
    return folder


def hits(share, seed=0):
    return np.random.default_rng(seed).random((5, PICTURES)) < share


def changed(base, good, bad, seed=1):
    """`base` with shares of its wrong answers made right (good) and of its right ones wrong."""
    draw = np.random.default_rng(seed).random(base.shape)
    return np.where(base, draw >= bad, draw < good)


def table(tmp_path, name="differences"):
    return emolib.tables.build(tmp_path, "s")["s"][name]


def test_a_part_of_the_network_needs_three_seeds_for_a_verdict(tmp_path):
    base = hits(0.8)
    for seed in range(3):
        for fold in range(5):
            ours = changed(base, 0.1, 0.02, seed=10 + seed)
            answer(tmp_path / "s", spec(fold=fold, seed=seed), ours)
            worse = changed(ours, 0.02, 0.12, seed=20 + seed)
            answer(tmp_path / "s", spec(fold=fold, seed=seed, mai=False), worse)
        found = row(table(tmp_path), "twitter1", "without_mai")
        assert found["seeds"] == seed + 1
        few = "cannot tell; it takes 3 seeds"
        assert found["verdict"] == (few if seed < 2 else "worse")
    assert found["decides"] == "pictures" and found["high"] < 0


def test_with_one_seed_both_intervals_have_to_exclude_nothing(tmp_path):
    """A rival that is worse on all folds is worse; one that is worse on one fold alone, by enough
    for the pictures but not for the folds, waits for seeds."""
    base = hits(0.8)
    everywhere, once = changed(base, 0.0, 0.15), base.copy()
    once[0] = changed(base, 0.0, 0.6)[0]
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base)
        answer(tmp_path / "s", rival("wscnet", fold), everywhere)
        answer(tmp_path / "s", rival("ar", fold), once)
    found = table(tmp_path)
    worse, unclear = row(found, "twitter1", "wscnet"), row(found, "twitter1", "ar")
    assert worse["verdict"] == "worse" and worse["nb_high"] < 0
    assert unclear["p_holm"] < 0.001 and unclear["nb_high"] > 0 and unclear["decides"] == "folds"
    assert unclear["verdict"] == "cannot tell; it takes 3 seeds"


def test_one_run_speaks_of_these_pictures_alone(tmp_path):
    base = hits(0.8)
    answer(tmp_path / "s", spec(), base)
    answer(tmp_path / "s", rival("wscnet", 0), changed(base, 0, 0.3))
    answer(tmp_path / "s", rival("ar", 0), base)
    found = table(tmp_path)
    assert row(found, "twitter1", "wscnet")["verdict"] == "worse on these pictures, one run"
    same = row(found, "twitter1", "ar")  # never another answer, yet no claim of certainty
    assert same["verdict"] == "no difference larger than 1 point on these pictures, one run"
    assert 0 < same["margin"] < 1 and same["low"] < 0 < same["high"]


def test_runs_that_answer_with_one_class_are_not_trained_rather_than_worse(tmp_path):
    base = hits(0.9)
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base)
        flat = (0, 0) if fold < 3 else (0, 1)
        answer(tmp_path / "s", rival("wscnet", fold), base, classes=flat)
        flat = (0, 0) if fold < 2 else (0, 1)
        answer(tmp_path / "s", rival("ar", fold), base, classes=flat)
    built = emolib.tables.build(tmp_path, "s")["s"]
    found = row(built["differences"], "twitter1", "wscnet")
    assert found["verdict"] == "not trained" and found["untrained"] == 3 and found["high"] < 0
    assert row(built["differences"], "twitter1", "ar")["untrained"] == 2
    runs = emolib.tables.read_runs(tmp_path / "s")
    page = study_tables.page_text(9, built, runs)
    assert "| 5, 3 of them not trained |" in page and "| 5, 2 of them not trained |" in page


def test_equal_within_a_point_is_said_only_where_the_margin_allows_it(tmp_path):
    base = hits(0.8)
    for seed in range(3):
        for fold in range(5):
            ours = changed(base, 0.01, 0.002, seed=30 + seed)
            answer(tmp_path / "s", spec(fold=fold, seed=seed), ours)
            answer(tmp_path / "s", spec(fold=fold, seed=seed, afa=False), ours)
            other = changed(ours, 0.2, 0.05, seed=40 + seed)
            answer(tmp_path / "s", spec(fold=fold, seed=seed, mai=False), other)
    found = table(tmp_path)
    same, apart = (row(found, "twitter1", m) for m in ("without_afa", "without_mai"))
    assert same["margin"] <= 1 and same["verdict"] == "no difference larger than 1 point"
    assert apart["margin"] > 1 and apart["verdict"].startswith("cannot tell; it would take ")


def test_what_it_would_take_is_more_than_there_is(tmp_path):
    """At the level that Holm's correction applies: never a number that is there already."""
    base = hits(0.8)
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base)
        for number, model in enumerate(("wscnet", "ar", "mcpnet", "wu2019", "priya2020")):
            answer(tmp_path / "s", rival(model, fold), changed(base, 0.1, 0.05, seed=number))
    found = table(tmp_path)
    verdicts = found[found["verdict"].str.contains("about")]
    assert len(verdicts) > 2
    for _, line in verdicts.iterrows():
        number = int(line["verdict"].split("about ")[1].split()[0].replace(",", ""))
        assert number > line["tested"]
        assert "3 seeds and about" in line["verdict"]  # with one, the folds decide


def pair(tmp_path, changes):
    """maiafa and wscnet on both small sets, three seeds; the rival's share of answers spoilt."""
    for number, (dataset, spoilt) in enumerate(changes.items()):
        for seed in range(3):
            base = hits(0.8, seed=50 + number)
            for fold in range(5):
                ours = spec(dataset, fold=fold, seed=seed)
                answer(tmp_path / "s", ours, base)
                theirs = changed(base, *spoilt, seed=60 + 10 * number + seed)
                theirs_spec = emolib.RunSpec(
                    dataset,
                    model="wscnet",
                    fold=fold,
                    seed=seed,
                    init=ours.init,
                    image_size=32,
                    backbone="test_resnet",
                    epochs=1,
                    lr=0.01,
                )
                answer(tmp_path / "s", theirs_spec, theirs)
    found = table(tmp_path)
    return [row(found, d, "wscnet") for d in (*changes, BOTH)]


def test_both_sets_together_are_weighted_by_their_pictures(tmp_path):
    one, other, both = pair(tmp_path, {"twitter1": (0, 0.06), "emotionroi": (0, 0.09)})
    assert both["difference"] == pytest.approx((one["difference"] + other["difference"]) / 2)
    assert both["se_pictures"] == pytest.approx(
        math.hypot(one["se_pictures"], other["se_pictures"]) / 2
    )
    assert (both["verdict"], both["tested"], both["seeds"]) == ("worse", 2 * 5 * PICTURES, 3)
    assert set(both["run_ids"].split(";")) == {
        *one["run_ids"].split(";"),
        *other["run_ids"].split(";"),
    }


def test_seeds_of_both_sets_are_averaged_seed_by_seed(tmp_path):
    """Networks of one seed may share their start: their sets' errors are not independent."""
    one, other, both = pair(tmp_path, {"twitter1": (0.02, 0.06), "emotionroi": (0.01, 0.09)})
    runs = emolib.tables.read_runs(tmp_path / "s")
    accuracy = runs.assign(seed=[s.seed for s in runs["spec"]])
    mean = accuracy.groupby(["method", "seed"])["accuracy"].mean()
    by_seed = mean["wscnet"] - mean["normal"]
    assert both["se_seeds"] == pytest.approx(by_seed.std() / math.sqrt(3))
    assert both["difference"] == pytest.approx(by_seed.mean())


def test_a_pooled_row_is_not_trained_where_one_of_its_sets_is_not(tmp_path):
    base = hits(0.9)
    for dataset, classes in (("twitter1", (0, 0)), ("emotionroi", (0, 1))):
        for fold in range(5):
            ours = spec(dataset, fold=fold)
            answer(tmp_path / "s", ours, base)
            theirs = emolib.RunSpec(
                dataset,
                model="wscnet",
                fold=fold,
                init=ours.init,
                image_size=32,
                backbone="test_resnet",
                epochs=1,
                lr=0.01,
            )
            answer(tmp_path / "s", theirs, changed(base, 0, 0.1), classes=classes)
    found = table(tmp_path)
    verdicts = [row(found, d, "wscnet")["verdict"] for d in ("twitter1", BOTH)]
    assert verdicts == ["not trained", "not trained"]


def test_pairs_of_which_either_has_not_trained_say_nothing(tmp_path):
    """Theirs is flat on two folds and ours on two others: four of five pairs."""
    base = hits(0.9)
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base, classes=(0, 0) if fold < 2 else (0, 1))
        flat = (0, 0) if 2 <= fold < 4 else (0, 1)
        answer(tmp_path / "s", rival("wscnet", fold), base, classes=flat)
    assert row(table(tmp_path), "twitter1", "wscnet")["verdict"] == "not trained"


def test_a_half_finished_sweep_over_two_sets_waits_for_its_folds(tmp_path):
    """One fold a set, one seed: there is no interval over folds that could agree."""
    base = hits(0.9)
    for dataset in ("twitter1", "emotionroi"):
        ours = spec(dataset)
        answer(tmp_path / "s", ours, base)
        theirs = emolib.RunSpec(
            dataset,
            model="wscnet",
            init=ours.init,
            image_size=32,
            backbone="test_resnet",
            epochs=1,
            lr=0.01,
        )
        answer(tmp_path / "s", theirs, changed(base, 0, 0.4))
    found = table(tmp_path)
    assert row(found, "twitter1", "wscnet")["verdict"] == "worse on these pictures, one run"
    both = row(found, BOTH, "wscnet")
    assert (both["decides"], both["verdict"]) == ("folds", "cannot tell; it takes 3 seeds")


def test_an_unknown_margin_over_folds_is_no_small_one():
    alike = {
        "pairs": 2,
        "flat": False,
        "seeds": 1,
        "table": 9,
        "decides": "folds",
        "tested": 400,
        "p_holm": 1.0,
        "p_t": math.nan,
        "margin": 0.5,
        "t_margin": math.nan,
        "means": (significance.Mean(0.0, 0.3, 0.0, 399), None),
    }
    assert comparison.verdict(alike, 0.05).startswith("cannot tell; it would take 3 seeds")
    assert comparison.verdict(alike | {"t_margin": 0.9}, 0.05).startswith("no difference")


def test_seeds_on_different_folds_are_not_mixed(tmp_path):
    base, other = hits(0.8), changed(hits(0.8), 0, 0.1)
    for seed, folds in ((0, (0, 1, 2)), (1, (2, 3, 4))):
        for fold in folds:
            answer(tmp_path / "s", spec(fold=fold, seed=seed), base)
            answer(tmp_path / "s", rival("wscnet", fold, seed=seed), other)
    built = emolib.tables.build(tmp_path, "s")["s"]
    found = row(built["differences"], "twitter1", "wscnet")
    assert (found["seeds"], found["pairs"], found["tested"]) == (1, 3, 3 * PICTURES)
    expected = 100 * (other[:3].mean() - base[:3].mean())
    assert found["difference"] == pytest.approx(expected)
    assert row(built[9], "twitter1", "maiafa")["runs"] == 6
    for number in (2, 1):  # as few as one fold of each seed
        for run in (tmp_path / "s/runs").glob(f"*fold{number}-seed*"):
            shutil.rmtree(run)
    for run in (tmp_path / "s/runs").glob("*fold4-seed*"):
        shutil.rmtree(run)
    line = row(emolib.tables.build(tmp_path, "s")["s"][9], "twitter1", "maiafa")
    assert line["runs"] == 2 and line["ci_low"] < line["mean"] < line["ci_high"]


def test_leakage_free_runs_stand_beside_readings_and_are_none(tmp_path):
    base = hits(0.8)
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base)
        answer(tmp_path / "s", spec(fold=fold, init="scratch", grouped=True), base)
        other = spec(fold=fold, readings=emolib.Readings(gate="fused"))
        answer(tmp_path / "s/readings", other, changed(base, 0.1, 0.02))
    assert set(table(tmp_path, "readings")["method"]) == {"normal", "gate=fused"}


def test_what_is_not_tested_is_not_pooled(tmp_path):
    """The epoch chosen on the test pictures has no p, and no row over both sets."""
    base = hits(0.8)
    for dataset in ("twitter1", "emotionroi"):
        for fold in range(5):
            answer(tmp_path / "s", spec(dataset, fold=fold, epochs=2), base)
            stopped = spec(dataset, fold=fold, lr_step=1)
            answer(tmp_path / "s/readings", stopped, changed(base, 0.1, 0.02))
    found = table(tmp_path, "readings")
    chosen = found[found["method"] == variations.CHOSEN]
    assert set(chosen["dataset"]) == {"twitter1", "emotionroi"} and chosen["p_holm"].isna().all()
    assert BOTH in set(found["dataset"])


def test_where_the_sets_disagree_there_is_no_verdict(tmp_path):
    one, other, both = pair(tmp_path, {"twitter1": (0, 0.1), "emotionroi": (0.4, 0)})
    assert (one["verdict"], other["verdict"], both["verdict"]) == ("worse", "better", "")


def test_near_twins_of_the_audit_count_as_one_picture(tmp_path):
    base = hits(0.8)
    for fold in range(5):
        answer(tmp_path / "s", spec(fold=fold), base)
    alone = row(emolib.tables.build(tmp_path, "s")["s"][7], "twitter1", "normal")
    named = {"dataset": "twitter1", "other_dataset": "twitter1", "finding": "near-twin"}
    twins = [named | {"path": f"0-{i}.jpg", "other_path": f"1-{i}.jpg"} for i in range(PICTURES)]
    twins.append(named | {"path": "1-0.jpg", "other_path": "2-0.jpg"})  # a twin of a twin
    pd.DataFrame(twins).to_csv(tmp_path / "s/audit.csv", index=False)
    found = frame.near_twins(tmp_path / "s")
    assert found["twitter1", "0-0.jpg"] == found["twitter1", "2-0.jpg"]
    assert len(set(found.values())) == PICTURES
    built = emolib.tables.build(tmp_path, "s")["s"]
    twinned = row(built[7], "twitter1", "normal")
    assert twinned["mean"] == alone["mean"] and twinned["ci_low"] != alone["ci_low"]
    right = 100 * base.astype(float)
    clusters = np.arange(5 * PICTURES)
    clusters[PICTURES : 2 * PICTURES] = np.arange(PICTURES)
    clusters[2 * PICTURES] = 0
    expected = significance.over_pictures(right.ravel(), clusters=clusters)
    assert twinned["ci_low"] == pytest.approx(expected.interval()[0])


def test_only_common_seeds_are_compared(tmp_path):
    base = hits(0.8)
    for seed in range(2):
        for fold in range(5):
            answer(tmp_path / "s", spec(fold=fold, seed=seed), base)
    for fold in range(5):
        answer(tmp_path / "s", rival("wscnet", fold, seed=1), changed(base, 0, 0.1))
    for fold in range(2):  # a seed that has not run to its end
        answer(tmp_path / "s", rival("wscnet", fold, seed=0), changed(base, 0, 0.9))
    found = row(table(tmp_path), "twitter1", "wscnet")
    assert (found["seeds"], found["pairs"]) == (1, 5) and -12 < found["difference"] < -5
