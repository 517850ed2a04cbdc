"""A run is reused only where what it rests on is still the same."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from trees import picture, write

import emolib
from emolib import tables
from emolib.base import checkpoints, reuse, run_folder
from emolib.data import audit
from emolib.study import settings as profiles
from emolib.tables.checks import verify as provenance
from emolib.training import check, task
from emolib.training import run as runs

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, epochs=1, batch_size=8, lr=0.01)
FOLD0, FOLD1 = (emolib.RunSpec("twitter1", fold=f, init="fi:scratch", **TINY) for f in range(2))
FI = FOLD0.predecessor()


def run(spec, data, results):
    return emolib.run(spec, data, results, study="s", device="cpu")


def exclude(data, count=6):
    """FI without some of its pictures, as a newer copy has it."""
    names = sorted(p.relative_to(data / "fi").as_posix() for p in (data / "fi").rglob("*.jpg"))
    write(data / "fi/excluded.csv", "path,reason", *(f"{name},gone" for name in names[:count]))


def edit(file, drop=(), **changes):
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in values.items() if k not in drop}))


@pytest.fixture(scope="module")
def once(root, tmp_path_factory):
    """A study of FI and one fold that starts from it."""
    results = tmp_path_factory.mktemp("once")
    run(FOLD0, root, results)
    return results


@pytest.fixture(scope="module")
def moved_on(root, tmp_path_factory, once):
    """The same after FI's copy has changed, its run was removed and a second fold was trained."""
    top = tmp_path_factory.mktemp("moved")
    data = shutil.copytree(root, top / "data")
    results = shutil.copytree(once, top / "results")
    exclude(data)
    shutil.rmtree(results / f"s/runs/{FI.id}")
    run(FOLD1, data, results)
    return data, results


@pytest.fixture
def results(once, tmp_path):
    return shutil.copytree(once, tmp_path / "results")


def statuses(results, file):
    return {(f.status, f.why) for f in provenance.findings(results) if f.file == file}


def test_a_run_whose_predecessor_saw_other_pictures_is_not_reused(root, results, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    assert run(FOLD0, data, results).reused
    exclude(data)
    for fold in (FOLD0, FOLD1):  # the one that is there as the one that is to be trained
        with pytest.raises(ValueError, match=f"{FI.id} was made with another data fingerprint"):
            run(fold, data, results)


def test_a_run_stays_where_its_predecessor_or_that_ones_pictures_are_gone(root, results, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    shutil.rmtree(data / "fi")
    assert run(FOLD0, data, results).reused
    shutil.rmtree(results / f"s/runs/{FI.id}")
    assert run(FOLD0, data, results).reused and run(FOLD0, root, results).reused
    found = statuses(results, f"s/runs/{FOLD0.id}/environment.json")
    assert found == {("unchecked", f"{FI.id}, which it started from, is not known here")}


def test_weights_that_were_not_kept_are_trained_again_to_the_same_bits(root, results):
    weights = results / f"s/runs/{FI.id}/model.safetensors"
    weights.unlink()
    assert run(FOLD0, root, results).reused and not weights.exists()
    run(FOLD1, root, results)
    assert weights.exists() and run(FOLD0, root, results).reused
    tables.tables_of_study(results / "s")
    assert emolib.verify(results) == []


@pytest.mark.parametrize("kept", [True, False], ids=["with weights", "from the seals alone"])
def test_a_run_of_another_start_is_named(moved_on, tmp_path, kept):
    data, results = moved_on[0], shutil.copytree(moved_on[1], tmp_path / "results")
    if not kept:
        for file in results.rglob("model.safetensors"):
            file.unlink()
    said = f"started from other weights than {FI.id} has now"
    with pytest.raises(ValueError, match=f"{FOLD0.id} {said}.*remove that folder"):
        run(FOLD0, data, results)
    with pytest.raises(ValueError, match=f"{FOLD0.id} started from other weights of {FI.id}"):
        tables.tables_of_study(results / "s")
    wrong = {f.file: f.why for f in emolib.verify(results)}
    assert wrong == {f"s/runs/{FOLD0.id}/environment.json": said}


def test_all_are_checked_before_anything_is_trained(moved_on, tmp_path):
    data, results = moved_on[0], shutil.copytree(moved_on[1], tmp_path / "results")
    with pytest.raises(ValueError, match="started from other weights"):
        emolib.run_all([replace(FOLD0, fold=2), FOLD0], data, results, "s", device="cpu")
    assert len(list(results.glob("s/runs/*"))) == 3


def test_two_runs_of_a_row_started_from_one_network_also_where_it_is_not_there(moved_on, tmp_path):
    results = shutil.copytree(moved_on[1], tmp_path / "results")
    shutil.rmtree(results / f"s/runs/{FI.id}")
    with pytest.raises(ValueError, match=f"{FOLD1.id} started from other weights of {FI.id}"):
        tables.tables_of_study(results / "s")


def test_what_an_older_run_does_not_say_is_unchecked_and_not_wrong(root, results):
    tables.build(results, "s")
    edit(results / f"s/runs/{FOLD0.id}/environment.json", drop=("files", "started_from"))
    assert run(FOLD0, root, results).reused
    assert emolib.verify(results) == []
    silent = "1 of its runs do not say which weights they started from"
    assert statuses(results, "s/table9.csv") == {("unchecked", silent)}
    assert statuses(results, "s/table9.md") == {("unchecked", silent)}
    found = statuses(results, f"s/runs/{FOLD0.id}/environment.json")
    assert found == {("unchecked", "does not say which weights it started from")}
    edit(results / f"s/runs/{FI.id}/environment.json", drop=("files",))
    (results / f"s/runs/{FI.id}/model.safetensors").unlink()
    assert run(FOLD0, root, results).reused and emolib.verify(results) == []


def ids(results):
    return {p.parent.name for p in results.glob("s/runs/*/metrics.json")}


@pytest.mark.parametrize(
    "again",
    [
        lambda *a: emolib.run_all([FOLD0, FOLD1], *a, "s", device="cpu"),
        lambda *a: emolib.run(FOLD0, *a, "s", device="cpu"),
    ],
    ids=["a new fold too", "reuse alone"],
)
def test_a_predecessor_that_would_be_another_now_is_found_without_its_folder(
    root, results, tmp_path, again
):
    data = shutil.copytree(root, tmp_path / "data")
    shutil.rmtree(results / f"s/runs/{FI.id}")
    exclude(data)
    said = f"{FOLD0.id} started from {FI.id}, which was made with another data fingerprint"
    with pytest.raises(ValueError, match=f"{said}.*take another study name, or remove that folder"):
        again(data, results)
    assert ids(results) == {FOLD0.id}  # nothing was trained
    wrong = {f.file: f.why for f in emolib.verify(results, data)}
    (why,) = wrong.values()
    assert set(wrong) == {f"s/runs/{FOLD0.id}/environment.json"}
    assert why.startswith(f"started from {FI.id}, which was on") and emolib.verify(results) == []
    file = results / f"s/runs/{FOLD0.id}/environment.json"
    start = json.loads(file.read_text())["started_from"]
    edit(file, started_from={k: start[k] for k in ("run", "weights")})  # as older runs
    assert run(FOLD0, data, results).reused and emolib.verify(results, data) == []


def test_a_chain_is_looked_at_to_its_first_run(root, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    spec = replace(FOLD0, init="emotionroi:fi:scratch")
    middle = spec.predecessor()
    run(spec, data, tmp_path / "r")
    exclude(data)
    for gone in (middle.predecessor(), middle):
        shutil.rmtree(tmp_path / f"r/s/runs/{gone.id}")
        with pytest.raises(ValueError, match=f"started from {FI.id}, which was made with another"):
            run(spec, data, tmp_path / "r")


OTHER_BITS = 1e-7


@pytest.fixture
def other_machine(monkeypatch):
    """Trainings from here on end with other bits."""
    save = run_folder.save_file

    def nudged(tensors, *more, **options):
        name = next(k for k, v in tensors.items() if v.is_floating_point())
        save(tensors | {name: tensors[name] + OTHER_BITS}, *more, **options)

    monkeypatch.setattr(run_folder, "save_file", nudged)


def forget_weights(results, *specs):
    for spec in specs:
        (results / f"s/runs/{spec.id}/model.safetensors").unlink()


def kept(results, spec):
    """The run's files without its weights: what must not get lost."""
    files = (results / f"s/runs/{spec.id}").iterdir()
    return {p.name: p.read_bytes() for p in files if p.suffix in (".json", ".csv")}


@pytest.mark.parametrize("study", ["s", "s/shares"])
def test_other_bits_do_not_replace_what_other_runs_started_from(
    root, results, other_machine, study
):
    new = replace(FOLD1, share=0.5)
    forget_weights(results, FI)
    reuse.lend([new], results / "s", results / "s/shares")
    before = kept(results, FI)
    with pytest.raises(RuntimeError) as error:
        emolib.run_all([new], root, results, study, device="cpu")
    assert "on this machine they have other bits than before. The old result stays" in str(
        error.value
    )
    assert f"({FI.id}, {FOLD0.id}); take another study name" in str(error.value)
    assert kept(results, FI) == before and run(FOLD0, root, results).reused
    assert ids(results) == {FI.id, FOLD0.id} and emolib.verify(results) == []
    assert tables.tables_of_study(results / "s")


def test_other_bits_take_the_place_of_what_nothing_started_from(root, results, other_machine):
    forget_weights(results, FI)
    shutil.rmtree(results / f"s/runs/{FOLD0.id}")
    old = run_folder.sealed(results / f"s/runs/{FI.id}")
    run(FOLD1, root, results)
    assert run_folder.sealed(results / f"s/runs/{FI.id}") != old
    assert run(FI, root, results).reused and emolib.verify(results) == []


def test_a_start_that_was_never_sealed_must_still_fit_the_runs_that_name_it(
    root, results, other_machine
):
    forget_weights(results, FI)
    edit(results / f"s/runs/{FI.id}/environment.json", drop=("files",))
    with pytest.raises(ValueError, match=f"1 runs of the study rest on it .{FOLD0.id}"):
        run(FOLD1, root, results)


def test_a_training_again_that_fails_or_is_killed_loses_nothing(root, results, monkeypatch):
    spec = replace(FI, epochs=2)
    first = run(spec, root, results)
    before, weights = kept(results, spec), first.folder / "model.safetensors"
    same = weights.read_bytes()
    again = replace(FOLD1, epochs=2)

    save = checkpoints.save_checkpoint

    def save_and_fail(*words):
        save(*words)
        raise RuntimeError("the disk is full")

    weights.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_checkpoint", save_and_fail)
        with pytest.raises(RuntimeError, match="disk is full"):
            run(again, root, results)
    assert kept(results, spec) == before and run(spec, root, results).reused
    assert "disk is full" in (first.folder / "failed.txt").read_text()
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoints,
            "save_checkpoint",
            lambda *a: (epochs.append(len(a[-1]["history"])), save(*a)),
        )
        run(again, root, results)
    assert epochs == [2, 1, 2]  # it went on; then the fold's own two
    assert weights.read_bytes() == same and kept(results, spec) == before
    assert {p.name for p in first.folder.iterdir()} == {*before, weights.name}


@pytest.mark.parametrize("sealed", [True, False])
def test_a_kill_between_any_two_steps_of_the_exchange_leaves_a_whole_result(
    root, results, tmp_path, monkeypatch, sealed
):
    places = runs.Places.of(root, tmp_path / "r", "s", "", "cpu")
    folder = results / f"s/runs/{FI.id}"
    if not sealed:
        edit(folder / "environment.json", drop=("files",))
    same = (folder / "model.safetensors").read_bytes()
    forget_weights(results, FI)
    before = kept(results, FI)
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "take_again", lambda folder: None)
        runs.train_run(FI, runs.Places.of(root, results, "s", "", "cpu"), with_weights=True)
    assert kept(results, FI) == before
    monkeypatch.setattr(runs, "build_network", None)  # what is whole is not thrown away

    def dying(real, left, step):
        def call(*words, **options):
            left.append(None)
            if len(left) > step:
                raise KeyboardInterrupt
            return real(*words, **options)

        return call

    for step in range(99):
        shutil.rmtree(tmp_path / "r", ignore_errors=True)
        study = shutil.copytree(results, tmp_path / "r") / "s"
        folder, left = study / f"runs/{FI.id}", []
        try:
            with monkeypatch.context() as patch:
                for place, name in (
                    (os, "replace"),
                    (os, "unlink"),
                    (os, "rmdir"),
                    (Path, "unlink"),
                ):
                    patch.setattr(place, name, dying(getattr(place, name), left, step))
                reuse.take_again(folder)
        except KeyboardInterrupt:
            files = kept(study.parent, FI)
            whole = (folder / run_folder.AGAIN / "metrics.json").exists()
            assert whole or files.keys() == before.keys()
            runs.train_run(FI, places, with_weights=True)
        else:
            break
        assert (folder / "model.safetensors").read_bytes() == same
        changes = {n for n, b in kept(study.parent, FI).items() if b != before[n]}
        assert changes <= (set() if sealed else {"environment.json", "history.csv"})
        assert run(FOLD0, root, study.parent).reused and emolib.verify(study.parent) == []
    assert step >= (4 if sealed else 9)


def test_a_lent_run_that_the_study_has_trained_anew_is_seen(moved_on, once, tmp_path):
    results = shutil.copytree(moved_on[1], tmp_path / "results")
    shutil.rmtree(results / f"s/runs/{FOLD0.id}")
    apart = results / "s/readings"
    reuse.lend([FOLD1], once / "s", apart)  # as FI was before
    lent = apart / "runs" / FI.id
    with pytest.raises(ValueError, match="has other weights than .* has now; remove it"):
        reuse.lend([FOLD1], results / "s", apart)
    with pytest.raises(ValueError, match="have one name but other weights"):
        tables.tables_of_study(results / "s")
    assert {f.file: f.why for f in emolib.verify(results)} == {
        lent.relative_to(results).as_posix()
        + "/environment.json": "has other weights than the run of that name in the study"
    }
    shutil.rmtree(lent)
    reuse.lend([FOLD1], results / "s", apart)
    reuse.lend([FOLD1], results / "s", apart)  # once more changes nothing
    assert tables.tables_of_study(results / "s") and emolib.verify(results) == []
    # a run on a share that started from FI as it was, which is not kept beside it
    old, shares = replace(FOLD1, share=0.5), results / "s/shares/runs"
    shutil.copytree(results / f"s/runs/{FOLD1.id}", shares / old.id)
    edit(shares / old.id / "spec.json", **old.to_dict())
    edit(
        shares / old.id / "environment.json",
        drop=("files",),
        started_from={"run": FI.id, "weights": "0" * 64},
    )
    with pytest.raises(ValueError, match=f"{old.id} started from other weights of {FI.id}"):
        tables.tables_of_study(results / "s")
    wrong = {f.file: f.why for f in emolib.verify(results)}
    name = f"s/shares/runs/{old.id}/environment.json"
    assert wrong[name] == f"started from other weights than {FI.id} has now"


def test_changed_emotions_concern_the_systems_that_learn_them(tmp_path):
    for i in range(12):
        picture(tmp_path / f"own/{i}.png", seed=i)

    def label(other):
        rows = [f"{i}.png,{i % 2},{i // 6},{(i + other * (i > 8)) % 3}" for i in range(12)]
        write(tmp_path / "own/labels.csv", "path,label,fold,emotion", *rows)

    label(other=0)
    options = {k: v for k, v in TINY.items() if k not in ("width", "backbone")}
    learns = emolib.RunSpec("own", "yao2019", backbone="test_resnet", init="scratch", **options)
    plain = emolib.RunSpec("own", init="scratch", **TINY)
    first, second = (run(spec, tmp_path, tmp_path / "r") for spec in (learns, plain))
    said, silent = (
        json.loads((r.folder / "environment.json").read_text()) for r in (first, second)
    )
    assert said["data"] == silent["data"] and "emotions" not in silent
    tables.tables_of_study(tmp_path / "r/s")  # with and without are one study
    assert emolib.verify(tmp_path / "r", tmp_path) == []
    label(other=1)
    assert run(plain, tmp_path, tmp_path / "r").reused
    with pytest.raises(ValueError, match="was made with another set of emotions"):
        run(learns, tmp_path, tmp_path / "r")
    assert {f.why for f in emolib.verify(tmp_path / "r", tmp_path)} == {
        "learnt other emotions than own has"
    }
    edit(first.folder / "environment.json", drop=("emotions",))  # as older runs
    assert run(learns, tmp_path, tmp_path / "r").reused


SIZES = dict(backbone="test_efficientnet", image_size=32, epochs=1, batch_size=8)


@pytest.fixture
def leaky(root, tmp_path):
    """The sets, and in FI three of Twitter I's pictures: two as they are, one made brighter and
    saved anew; in EmotionROI three others."""
    data = shutil.copytree(root, tmp_path / "data")
    pictures = sorted((data / "twitter1/Agg_AMT_Candidates").iterdir())
    shutil.copy(pictures[0], data / "fi/fear/planted 0.jpg")
    shutil.copy(pictures[7], data / "fi/awe/planted 1.jpg")
    with Image.open(pictures[11]) as image:
        image.point(lambda v: min(255, v + 3)).save(data / "fi/anger/planted 2.jpg", quality=97)
    for i, emotion in enumerate(("joy", "fear", "anger")):
        for folder in ("images", "ground_truth"):
            shutil.copy(pictures[3 + i], data / f"emotionroi/{folder}/{emotion}/planted {i}.jpg")
    return data


def learnt_from(spec, places):
    """Names of the pictures that a run's weights or its choice of an epoch depend on."""
    data = emolib.open_dataset(spec.dataset, places.data_root)
    train, validation, test = task.split(spec, data, places)
    assert len(train) and len(test)
    return {data.names[i] for i in [*train, *validation]}, {data.names[i] for i in test}


@pytest.mark.parametrize(
    "init, model, options",
    [
        ("fi:scratch", "maiafa", SIZES | {"width": 32}),
        ("emotionroi:scratch", "maiafa", SIZES | {"width": 32}),
        ("emotionroi:fi:scratch", "maiafa", SIZES | {"width": 32}),
        ("emotionroi:scratch", "pcnn", {"image_size": 32, "epochs": 2}),
        ("fi:scratch", "frozen_probe", {"backbone": "test_efficientnet", "image_size": 32}),
    ],
)
def test_no_near_twin_of_a_leakage_free_runs_set_is_seen_before_it(leaky, init, model, options):
    places = runs.Places.of(leaky, leaky / "r", "s", "", "cpu")
    usual, grouped = (
        emolib.RunSpec("twitter1", model, init=init, grouped=g, **options) for g in (False, True)
    )
    seen_usually = set()
    while (usual := usual.predecessor()) and (grouped := grouped.predecessor()):
        assert usual.id != grouped.id and grouped.dataset == usual.dataset
        names, tested = learnt_from(grouped, places)
        before, tested_before = learnt_from(usual, places)
        assert names == {n for n in before if "planted" not in n} and tested == tested_before
        seen_usually |= before
    assert grouped is None or grouped.predecessor() is None
    assert any("planted" in n for n in seen_usually)  # a leak that there was


def test_all_folds_of_a_leakage_free_study_share_one_pre_training(leaky, tmp_path):
    folds = [replace(fold, grouped=True) for fold in (FOLD0, FOLD1)]
    assert len({fold.predecessor().id for fold in folds}) == 1
    ordinary = [run(fold, leaky, tmp_path / "r") for fold in (FOLD0, FOLD1)]
    results = [run(fold, leaky, tmp_path / "r") for fold in folds]
    facts = json.loads((results[0].folder / "environment.json").read_text())
    before = tmp_path / "r/s/runs" / facts["started_from"]["run"]
    assert before.name == folds[0].predecessor().id != FI.id
    assert run_folder.read_run(before).metrics["n"] == len(
        pd.read_csv(ordinary[0].folder.parent / FI.id / "predictions.csv")
    )
    table = tables.tables_of_study(tmp_path / "r/s")[0][9]
    fi = table[(table["dataset"] == "fi") & (table["runs"] > 0)]
    assert set(fi["run_ids"]) == {FI.id}  # the other one is no row of a table
    assert emolib.verify(tmp_path / "r", leaky) == []
    assert run(folds[0], leaky, tmp_path / "r").reused
    # one from before pre-trainings left anything out says that it started from the ordinary one
    edit(results[0].folder / "environment.json", started_from={"run": FI.id, "weights": "0" * 64})
    with pytest.raises(ValueError, match=f"started from {FI.id}, and what is asked for starts"):
        run(folds[0], leaky, tmp_path / "r")
    assert "saw near-twins of its test pictures" in str(emolib.verify(tmp_path / "r"))


def test_what_is_linked_to_another_set_is_what_shares_a_group_with_it():
    rng = np.random.default_rng(0)

    def manifest_of(hashes):
        hashes = [f"{int(h):016x}" for h in hashes]
        names = [f"{i} {h}" for i, h in enumerate(hashes)]
        return pd.DataFrame({"phash": hashes, "sha256": names, "status": "ok"})

    near, nearer, far = (1 << 5) - 1, (1 << 10) - 1, (1 << 40) - 1  # 5 bits apart, 5 more, 40
    assert audit.linked(manifest_of([far, nearer, near]), manifest_of([0])).tolist() == [1, 2]
    assert audit.linked(manifest_of([far, nearer]), manifest_of([0])).tolist() == []
    for _ in range(5):
        centres = rng.integers(0, 2**63, 12)
        flips = (1 << rng.integers(0, 63, (40, 4))).sum(1)
        both = manifest_of(centres[rng.integers(0, 12, 40)] ^ flips)
        ours, others = both.iloc[:30].reset_index(drop=True), both.iloc[30:].reset_index(drop=True)
        groups = audit.twin_groups(both)
        expected = np.flatnonzero(np.isin(groups[:30], groups[30:]))
        np.testing.assert_array_equal(audit.linked(ours, others), expected)
        assert 0 < len(expected) < 30


def test_sets_kept_apart_are_checked_and_leave_other_ids_as_they_are():
    assert FOLD0.id == "twitter1-maiafa-test_efficientnet-fi-fold0-seed0-a40c7476"
    assert FI.id == "fi-maiafa-test_efficientnet-scratch-fold0-seed0-a15108d5"
    spec = replace(FI, apart=["twitter1", "emotionroi", "twitter1"])
    assert spec.apart == ("emotionroi", "twitter1") and spec.id != FI.id
    assert emolib.RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.step == FI.step
    values = FI.to_dict()
    del values["apart"]  # as in a spec.json from before
    assert emolib.RunSpec.from_dict(values) == FI
    for wrong in (["fi"], ["flickr"], "twitter1"):
        with pytest.raises(ValueError, match="apart="):
            replace(FI, apart=wrong)
    with pytest.raises(ValueError, match="unknown setting 'apart'"):
        profiles.parse_overrides("apart=twitter1")


def test_two_downloads_of_timms_weights_are_told_apart(root, tmp_path, monkeypatch):
    create_model = timm.create_model

    def serve(content):
        """timm's download, with other weights for other contents."""

        def create(name, pretrained=False, **options):
            if not pretrained:
                return create_model(name, pretrained=False, **options)
            with torch.random.fork_rng():
                torch.manual_seed(content)
                return create_model(name, pretrained=False, **options)

        monkeypatch.setattr(timm, "create_model", create)
        check._try_network.cache_clear()

    def hashed(result):
        return json.loads((result.folder / "environment.json").read_text())["weights_sha256"]

    fold0, fold1 = (replace(fold, init="imagenet") for fold in (FOLD0, FOLD1))
    serve(content=1)
    first = run(fold0, root, tmp_path)
    assert hashed(first) == hashed(run(replace(fold0, seed=1), root, tmp_path))
    plain = emolib.RunSpec(
        "twitter1", "test_efficientnet", init="imagenet", image_size=32, epochs=1
    )
    new_classifiers = [run(replace(plain, seed=seed), root, tmp_path) for seed in range(2)]
    assert len({hashed(result) for result in new_classifiers}) == 1
    tables.tables_of_study(tmp_path / "s")
    assert emolib.verify(tmp_path) == []
    serve(content=2)
    second = run(fold1, root, tmp_path)
    assert hashed(second) != hashed(first)
    with pytest.raises(ValueError, match="are one row of the tables but differ in weights_sha256"):
        tables.tables_of_study(tmp_path / "s")
    assert "started from another download of timm's weights" in str(emolib.verify(tmp_path))
    edit(second.folder / "environment.json", drop=("weights_sha256",))  # as older runs
    tables.tables_of_study(tmp_path / "s")
    assert emolib.verify(tmp_path) == []
