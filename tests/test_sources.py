"""Files of measurements name their runs, are held against them, and else count as unchecked."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trees import make_fi, make_roi, make_twitter

import emolib
from emolib import tables
from emolib.base.files import write_csv
from emolib.data.manifest import manifest
from emolib.study import deletion, regions, transfer
from emolib.tables import report, sources
from emolib.tables.checks import source_checks
from emolib.tables.checks import verify as provenance

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, epochs=1, batch_size=8, lr=0.01)
FOLDS = [emolib.RunSpec("twitter1", fold=f, init="scratch", **TINY) for f in range(2)]
ROI = emolib.RunSpec("emotionroi", init="scratch", **TINY)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of two folds of Twitter I and one of EmotionROI: tables, measurements, report."""
    root, results = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("results")
    make_fi(root, each=2), make_roi(root, each=5), make_twitter(root)
    done = emolib.run_all([*FOLDS, ROI], root, results, "s", device="cpu")
    study = SimpleNamespace(
        datasets=["twitter1", "emotionroi"],
        small=["twitter1", "emotionroi"],
        folder=results / "s",
        data_root=root,
        device_here="cpu",
        open=lambda name: emolib.open_dataset(name, root),
        specs=lambda datasets: datasets,
        manifest=lambda name: manifest(emolib.open_dataset(name, root)),
        run=lambda names: [r for r in done if r.spec.dataset in names],
        spec=lambda name: ROI,
        other_networks=lambda name, count: [],
        of_other_seeds=lambda specs: [],
    )
    tables.build(results, "s")
    write_csv(results / "s/cross.csv", transfer.cross_tested(study, done))
    deletion.curves_of_study(study, 4)
    regions.regions_of_study(study)
    report.write_report(results)
    return results


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


def found(results, file):
    (only,) = [f for f in provenance.findings(results) if f.file == file]
    return only.status, only.why


def edit(file, row, column, value):
    frame = pd.read_csv(file, dtype=dict.fromkeys(sources.SOURCE_COLUMNS, str))
    frame.loc[row, column] = value
    write_csv(file, frame)


def test_measurements_name_their_runs_and_the_weights_of_these(results):
    study = results / "s"
    for stem in source_checks.SOURCE_STEMS:
        frame = pd.read_csv(study / f"{stem}.csv", dtype=dict.fromkeys(sources.SOURCE_COLUMNS, str))
        for ids, hashes in frame[sources.SOURCE_COLUMNS].drop_duplicates().itertuples(index=False):
            for run, weights in zip(ids.split(";"), hashes.split(";"), strict=True):
                assert tables.read_runs(study)["id"].eq(run).any()
                file = study / "runs" / run / "model.safetensors"
                assert emolib.base.files.sha256(file).startswith(weights) and len(weights) == 16
        assert found(results, f"s/{stem}.csv") == ("unchecked", source_checks._MEASURED)
    both = pd.read_csv(study / "cross.csv").set_index(["trained_on", "tested_on"])["run_ids"]
    assert both["twitter1", "emotionroi"] == ";".join(spec.id for spec in FOLDS)


def test_a_report_on_numbers_that_nobody_can_check_is_unchecked(results):
    """Another accuracy on another set, and the report written anew: no file here tells."""
    cross = results / "s/cross.csv"
    row = pd.read_csv(cross).query("trained_on == 'twitter1' and tested_on == 'emotionroi'").index
    edit(cross, row, "accuracy", 77.7)
    report.write_report(results)
    assert "Twitter I → EmotionROI: 77.7" in (results / "REPORT.md").read_text("utf-8")
    assert emolib.verify(results) == []
    assert found(results, "s/cross.csv")[0] == "unchecked"
    assert found(results, "REPORT.md") == (
        "unchecked",
        "rests on 2 files that cannot be checked, as s/cross.csv",
    )
    for stem in ("cross", "regions"):
        (results / f"s/{stem}.csv").unlink()
    report.write_report(results)
    assert found(results, "REPORT.md") == ("ok", "")  # of tables alone, whose runs are here


@pytest.mark.parametrize(
    "stem, edits, why",
    [
        ("cross", {"accuracy": 77.7}, "accuracy of twitter1: 77.7 there"),
        ("cross", {"high": 99.0}, "high of twitter1: 99.0 there"),
        ("cross", {"networks": 3}, "another number of runs than of networks"),
        ("cross", {"weights": "0" * 16 + ";" + "0" * 16}, f"other weights of {FOLDS[0].id} than"),
        ("regions", {"pictures": 7, "left out": 0}, "has 7 pictures of emotionroi-"),
        ("regions", {"fold": 3}, "as another set's, network's or fold's"),
        ("areas", {"area": 0.9}, "its areas are not those under curves.csv"),
        ("curves", {"weights": "0" * 16 + ";" + "0" * 16}, f"other weights of {FOLDS[0].id} than"),
    ],
)
def test_what_does_not_follow_from_the_runs_is_named(results, stem, edits, why):
    for column, value in edits.items():
        edit(results / f"s/{stem}.csv", 0, column, value)
    status, said = found(results, f"s/{stem}.csv")
    assert status == "wrong" and why in said


def test_a_run_that_was_trained_again_since_is_noticed_and_one_that_is_gone_is_not_known(results):
    for run, changed in ((FOLDS[1].id, "changed"), (FOLDS[0].id, "")):
        folder = results / "s/runs" / run
        if changed:
            (folder / "model.safetensors").unlink()  # not kept; the seal alone is left
            assert found(results, "s/cross.csv") == ("unchecked", source_checks._MEASURED)
            text = (folder / "environment.json").read_text()
            start = text.index('"model.safetensors": "') + len('"model.safetensors": "')
            (folder / "environment.json").write_text(text[:start] + "0" * 64 + text[start + 64 :])
            assert "comes from other weights" in found(results, "s/cross.csv")[1]
        shutil.rmtree(folder)
    said = ("unchecked", "the weights of 2 of its runs are not known here")
    assert found(results, "s/cross.csv") == found(results, "s/curves.csv") == said


def test_files_from_before_runs_were_named_are_unchecked_and_still_read(results):
    before = (results / "REPORT.md").read_text("utf-8")
    for stem in source_checks.SOURCE_STEMS:
        file = results / f"s/{stem}.csv"
        pd.read_csv(file).drop(columns=sources.SOURCE_COLUMNS).to_csv(file, index=False)
        assert found(results, f"s/{stem}.csv") == (
            "unchecked",
            "does not say which runs it comes from",
        )
    assert report.report_text(results) == before and emolib.verify(results) == []
    (results / "s/cross.csv").write_text("")
    assert found(results, "s/cross.csv")[0] == "wrong"


def test_networks_on_their_own_set_alone_are_checked_whole(results):
    cross = results / "s/cross.csv"
    frame = pd.read_csv(cross, dtype=dict.fromkeys(sources.SOURCE_COLUMNS, str))
    own = frame[frame["trained_on"] == frame["tested_on"]]
    write_csv(cross, own)
    assert found(results, "s/cross.csv") == ("ok", "")
    each = [pd.read_csv(results / f"s/runs/{s.id}/predictions.csv") for s in FOLDS]
    right = [100 * ((p["p_positive"] >= 0.5) == p["label"]).mean() for p in each]
    twitter = own.set_index("trained_on").loc["twitter1"]
    assert twitter["accuracy"] == pytest.approx(np.mean(right), rel=1e-4)
    assert (twitter["lowest"], twitter["pictures"]) == (pytest.approx(min(right), rel=1e-4), 8)
