"""A run is reused only where what it rests on is still the same."""

import json
import shutil
from dataclasses import replace

import pytest
from trees import picture, write

import emolib
from emolib import provenance, run_folder, tables

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
    tables.build(results, "s")
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
        tables.build(results, "s")
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
        tables.build(results, "s")


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


def test_a_lent_run_that_the_study_has_trained_anew_is_seen(moved_on, once, tmp_path):
    results = shutil.copytree(moved_on[1], tmp_path / "results")
    shutil.rmtree(results / f"s/runs/{FOLD0.id}")
    apart = results / "s/readings"
    run_folder.lend([FOLD1], once / "s", apart)  # as FI was before
    lent = apart / "runs" / FI.id
    with pytest.raises(ValueError, match="has other weights than .* has now; remove it"):
        run_folder.lend([FOLD1], results / "s", apart)
    with pytest.raises(ValueError, match="have one name but other weights"):
        tables.build(results, "s")
    assert {f.file: f.why for f in emolib.verify(results)} == {
        lent.relative_to(results).as_posix()
        + "/environment.json": "has other weights than the run of that name in the study"
    }
    shutil.rmtree(lent)
    run_folder.lend([FOLD1], results / "s", apart)
    run_folder.lend([FOLD1], results / "s", apart)  # once more changes nothing
    assert set(tables.build(results, "s")) and emolib.verify(results) == []
    # a run on a share that started from FI as it was, which is not kept beside it
    old, shares = replace(FOLD1, share=0.5), results / "s/shares/runs"
    shutil.copytree(results / f"s/runs/{FOLD1.id}", shares / old.id)
    edit(shares / old.id / "spec.json", **old.to_dict())
    edit(shares / old.id / "environment.json", drop=("files",),
         started_from={"run": FI.id, "weights": "0" * 64})  # fmt: skip
    with pytest.raises(ValueError, match=f"{old.id} started from other weights of {FI.id}"):
        tables.build(results, "s")
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
    learns = emolib.RunSpec("own", "yao2019", backbone="resnet10t", init="scratch", **options)
    plain = emolib.RunSpec("own", init="scratch", **TINY)
    first, second = (run(spec, tmp_path, tmp_path / "r") for spec in (learns, plain))
    said, silent = (
        json.loads((r.folder / "environment.json").read_text()) for r in (first, second)
    )
    assert said["data"] == silent["data"] and "emotions" not in silent
    tables.build(tmp_path / "r", "s")  # with and without are one study
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
