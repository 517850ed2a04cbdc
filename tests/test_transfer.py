"""Shares of the training pictures, random folds, stopped trainings, networks on other sets."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from test_tables import fabricate, quick_figures, row, spec  # noqa: F401
from trees import make_valence, picture

import emolib
from emolib.base import reuse
from emolib.study import transfer
from emolib.tables import readings as variations
from emolib.tables.checks import verify as provenance
from emolib.tables.frame import SHARES_FOLDER
from emolib.tables.significance import interval
from emolib.training.task import Places, split

TINY = "backbone=test_resnet,image_size=32,width=32,batch_size=8"


def test_a_share_is_stratified_nested_and_of_the_training_part_alone(root):
    data = emolib.open_dataset("twitter1", root)
    places = Places.of(root, root, "s", "", "cpu")
    before = None
    for share in (1.0, 0.5, 0.2):
        run = emolib.RunSpec("twitter1", fold=1, init="scratch", share=share)
        train, _, test = split(run, data, places)
        whole, held = data.folds()[1]
        np.testing.assert_array_equal(test, held)
        for label in (0, 1):
            of_class = data.labels[whole] == label
            assert (data.labels[train] == label).sum() == max(1, round(share * of_class.sum()))
        assert before is None or set(train) < before
        before = set(train)
    smallest = data.part(whole, 1e-9)
    assert sorted(data.labels[smallest]) == [0, 1]
    for share in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match="share="):
            emolib.RunSpec("twitter1", share=share)


def test_what_a_chain_starts_from_has_all_of_its_pictures_and_its_own_folds():
    run = emolib.RunSpec("twitter1", init="emotionroi:scratch", share=0.1, official=False)
    assert run.predecessor() == emolib.RunSpec("twitter1", init="emotionroi:scratch").predecessor()
    assert emolib.RunSpec("emotionroi", official=False) == emolib.RunSpec("emotionroi")


def test_random_folds_part_all_pictures_otherwise_than_the_sets_own(root):
    data = emolib.open_dataset("twitter1", root)
    own, random = data.folds(), data.folds(official=False)
    tested = np.concatenate([test for _, test in random])
    assert sorted(tested) == list(range(len(data)))
    assert not np.array_equal(own[0][1], random[0][1])


def test_the_curve_is_each_share_with_and_without_the_stage(tmp_path):
    study = tmp_path / "s"
    start = fabricate(study, spec().predecessor(), 15) / "environment.json"
    sealed = {"files": {"model.safetensors": "0" * 64}}  # what the runs started from
    start.write_text(json.dumps(json.loads(start.read_text()) | sealed))
    rights = {0.1: (12, 8), 1.0: (16, 15)}
    for share, (staged, plain) in rights.items():
        folder = study if share == 1 else study / SHARES_FOLDER
        for fold in range(3):
            fabricate(folder, spec(fold=fold, share=share), staged + fold)
            fabricate(folder, spec(fold=fold, share=share, init="scratch"), plain + fold % 2)
    built = emolib.tables.build(tmp_path)
    assert list(built) == ["s"] and row(built["s"][8], "twitter1", "normal")["mean"] == 85
    table = built["s"]["transfer"]
    table = table[table["metric"] == "accuracy"].set_index(["share", "method"])
    assert table.loc[0.1, "normal"]["mean"].item() == pytest.approx(65)
    plain = table.loc[0.1, "without_transfer"].squeeze()
    differences = [5 * (8 - 12), 5 * (9 - 13), 5 * (8 - 14)]
    assert plain["difference"] == pytest.approx(np.mean(differences))
    assert (plain["t_low"], plain["t_high"]) == pytest.approx(interval(differences, 0.25))
    assert plain["low"] == pytest.approx(plain["difference"] - 2.001 * plain["se_pictures"], 1e-3)
    assert "| twitter1 | without_transfer | 10% |" in (study / "transfer.md").read_text("utf-8")
    found = {f.file: f for f in provenance.findings(tmp_path)}
    assert {found[f"s/transfer.{end}"].status for end in ("csv", "md")} == {"ok"}
    for runs in (study / "runs", study / SHARES_FOLDER):
        shutil.rmtree(runs)
    found = {f.file: f for f in provenance.findings(tmp_path)}  # as on a fresh clone
    assert {found[f"s/transfer.{end}"].status for end in ("csv", "md")} == {"unchecked"}


def test_the_curve_has_figures(tmp_path):
    for share in (0.1, 1.0):
        folder = tmp_path / "s" / (SHARES_FOLDER if share < 1 else "")
        for fold in range(2):
            fabricate(folder, spec(fold=fold, share=share), 12 + fold)
    emolib.tables.build(tmp_path)
    assert (tmp_path / "s/transfer.png").read_bytes()[:4] == b"\x89PNG"


def test_choosing_the_epoch_on_the_test_pictures_is_the_best_of_each_fold(tmp_path):
    study = tmp_path / "s"
    last, first, second = (14, 15, 13), (13, 17, 12), (16, 15, 10)
    for fold in range(3):
        fabricate(study, spec(fold=fold, epochs=3, lr_step=1), last[fold])
        fabricate(study, spec(fold=fold, epochs=3, lr_step=1, seed=1), 20)  # never stopped early
        for epochs, right in ((1, first), (2, second)):
            stopped = spec(fold=fold, epochs=epochs, lr_step=1)
            fabricate(study / "readings", stopped, right[fold])
    table = emolib.tables.build(tmp_path)["s"]["readings"]
    chosen = row(table, "twitter1", variations.CHOSEN)
    assert chosen["mean"] == pytest.approx(5 * np.mean([16, 17, 13]))
    assert chosen["difference"] == pytest.approx(5 * np.mean([2, 2, 0]))
    assert np.isnan(chosen["p_t"]) and chosen["verdict"] == "what such a choice adds"
    assert row(table, "twitter1", "epochs=1")["mean"] == pytest.approx(5 * np.mean(first))


def test_random_folds_are_held_against_the_sets_own_picture_by_picture(tmp_path):
    study, names = tmp_path / "s", np.array([f"{i}.jpg" for i in range(40)])
    order = np.random.default_rng(0).permutation(40)
    right, other_right = np.arange(40) % 4 > 0, np.arange(40) % 5 > 0
    for fold in range(2):
        for folder, official, places, truth in (
            (study, True, np.arange(20) + 20 * fold, right),
            (study / "readings", False, order[20 * fold :][:20], other_right),
        ):
            run = fabricate(folder, spec(fold=fold, official=official), 0)
            label = places % 2
            p = np.where(truth[places], label, 1 - label) * 0.8 + 0.1
            frame = pd.DataFrame({"path": names[places], "label": label, "p_positive": p})
            frame.to_csv(run / "predictions.csv", index=False)
    half = study / "readings/runs" / run.name
    half.rename(tmp_path / "away")  # a sweep that was killed
    table = emolib.tables.build(tmp_path)["s"]["readings"]
    common = np.intersect1d(order[:20], np.arange(20))  # of the one fold that both have
    expected = 100 * (other_right[common].mean() - right[common].mean())
    found = row(table, "twitter1", variations.RANDOM_FOLDS)
    assert found["difference"] == pytest.approx(expected)
    (tmp_path / "away").rename(half)
    table = emolib.tables.build(tmp_path)["s"]["readings"]
    found = row(table, "twitter1", variations.RANDOM_FOLDS)
    assert found["difference"] == pytest.approx(100 * (other_right.mean() - right.mean()))
    assert found["tested"] == 40 and np.isnan(found["p_t"])  # pictures are paired, folds are not
    each = 100 * (other_right.astype(int) - right.astype(int))
    half = 2.022691 * each.std(ddof=1) / np.sqrt(40)  # t with 39 degrees of freedom
    assert found["low"] == pytest.approx(found["difference"] - half, abs=1e-3)


def test_networks_answer_for_pictures_they_never_saw_and_lent_runs_are_not_trained_again(
    root, tmp_path
):
    study = emolib.Study.configure(
        data_root=str(root),
        results_root=str(tmp_path),
        device="cpu",
        datasets="fi,twitter1",
        backbone="test_resnet",
        overrides=f"{TINY[TINY.index(',') + 1 :]},epochs=1,fi.epochs=1",
    )
    whole = study.spec("twitter1")
    results = study.run([whole, study.spec("fi")])
    table = transfer.cross_tested(study, results).set_index(["trained_on", "tested_on"])
    assert len(table) == 4 and table["pre_trained"].sum() == 1
    fi, twitter = emolib.open_dataset("fi", root), emolib.open_dataset("twitter1", root)
    seen = len(fi.folds()[0][1])
    assert table.loc[("twitter1", "fi"), "pictures"] == seen  # its chain began on FI
    assert table.loc[("fi", "fi"), "pictures"] == seen
    assert table.loc[("fi", "twitter1"), "pictures"] == len(twitter)
    answers = emolib.load(results[1].folder, "cpu").predict(twitter.paths)
    right = (answers["label"] == twitter.labels).mean()
    assert table.loc[("fi", "twitter1"), "accuracy"] == pytest.approx(100 * right)
    less = [s for s in transfer.transfer_specs(study) if s.share < 1 and s.fold == 0]
    reuse.lend(less, study.folder, study.folder / "shares")
    lent = study.folder / "shares/runs" / whole.predecessor().id / "model.safetensors"
    assert lent.samefile(study.folder / "runs" / whole.predecessor().id / "model.safetensors")


def test_no_network_is_tested_on_another_sets_copies_of_its_own_pictures(tmp_path):
    make_valence(tmp_path, each=5)
    ours, theirs = tmp_path / "emotionroi", tmp_path / "emotion6"
    for seed, path in enumerate(sorted(ours.rglob("*.jpg"))):
        picture(path, seed)
    shutil.copytree(ours, theirs)
    study = emolib.Study.configure(
        data_root=str(tmp_path),
        results_root=str(tmp_path / "results"),
        device="cpu",
        datasets="emotionroi,emotion6",
        backbone="test_resnet",
        overrides="image_size=32,width=32,epochs=1,init=scratch",
    )
    results = study.run([study.spec("emotionroi")])
    assert transfer.cross_tested(study, results)["tested_on"].tolist() == ["emotionroi"]
    for seed, name in enumerate(("joy/0.jpg", "anger/0.jpg")):
        picture(theirs / "images" / name, 100 + seed)
    shutil.rmtree(study.folder / "manifests")  # kept by set, made once
    table = transfer.cross_tested(study, results).set_index("tested_on")
    assert table.loc["emotion6", "pictures"] == 2


def test_a_run_that_is_whole_in_the_study_is_not_missing_where_another_place_has_half_of_it(
    tmp_path,
):
    run = fabricate(tmp_path / "s", spec(), 16)
    half = tmp_path / "s/readings/runs" / run.name
    half.mkdir(parents=True)
    (half / "spec.json").write_text("{}")
    assert emolib.tables.missing(tmp_path / "s") == {}


def test_the_curve_refuses_a_study_of_fi_alone_and_one_of_a_share(root, tmp_path):
    for options, message in (
        ({"datasets": "fi"}, "it has FI alone"),
        ({"overrides": "share=0.5"}, "its overrides set share"),
    ):
        study = emolib.Study.configure(data_root=str(root), results_root=str(tmp_path), **options)
        with pytest.raises(ValueError, match=message):
            transfer.transfer_specs(study)
