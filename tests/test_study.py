"""The notebooks and the parameters they are called with."""

import dataclasses
import math
import os
import re
import shutil
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import timm
from safetensors.torch import save_file
from statsmodels.stats.contingency_tables import mcnemar
from trees import make_twitter_agree, make_valence, picture, write

import emolib
from emolib.base import run_folder
from emolib.data.demo import demo
from emolib.spec import recipe, systems
from emolib.study import ahead, deletion, figures, frames, settings, transfer, words
from emolib.tables import plots, tasks
from emolib.training import run as runs

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
PARAMETERS = {
    "profile": "demo",
    "results_root": "results",
    "device": "auto",
    "executor": "local",
} | dict.fromkeys(("data_root", "study", "datasets", "backbone", "weights", "overrides"), "")
SMALL = "epochs=1,image_size=32,width=32,batch_size=16"


def study(root, tmp_path, **parameters):
    return emolib.Study.configure(data_root=str(root), results_root=str(tmp_path), **parameters)


def test_the_paper_profile_is_table_6(root, tmp_path):
    experiment = study(root, tmp_path, profile="paper")
    fi, small = experiment.spec("fi"), experiment.spec("twitter1", fold=2)
    assert fi == emolib.RunSpec("fi") and small == emolib.RunSpec("twitter1", fold=2)
    assert experiment.name == f"paper-{root.name}-hrnet_w48"


def test_a_study_holds_every_run_of_the_tables(root, tmp_path):
    experiment = study(root, tmp_path)
    runs = [*experiment.ablations(), *experiment.without_transfer(), *experiment.rivals()]
    assert len(runs) == len({r.id for r in runs}) == 54 + 3 * (1 + 5 + 5)
    fi = [r for r in runs if r.dataset == "fi" and r.model == "maiafa"]
    assert {r.predecessor() for r in runs if r.stages and r.model == "maiafa"} == set(fi)


def test_runs_from_other_seeds_stand_in_the_same_row(root, tmp_path):
    small = f"{SMALL},init=scratch"
    where = dict(datasets="twitter1", backbone="test_efficientnet", device="cpu")
    first, second = (
        study(root, tmp_path, overrides=f"{small},seed={seed}", **where) for seed in (0, 1)
    )
    first.run([first.spec("twitter1")])
    second.run([second.spec("twitter1"), second.spec("twitter1", width=16)])
    for experiment, other in ((first, second), (second, first)):
        table = experiment.build_tables()[7].set_index(["dataset", "method", "metric"])
        assert table.loc[("twitter1", "normal", "accuracy"), "runs"] == 2
        (run,) = experiment.of_other_seeds(experiment.specs())
        assert run.spec == other.spec("twitter1")
    wide = first.apart("readings")
    wide.run([first.spec("twitter1", seed=5, width=16)])
    found = first.of_other_seeds([first.spec("twitter1", width=16)])
    assert {run.spec.seed for run in found} == {1, 5}


def test_rows_of_other_calls_stay_in_the_tables(root, tmp_path):
    """Of a call with other DATASETS or SYSTEMS; what has other settings does not count."""
    where = dict(backbone="test_resnet", study="s", device="cpu")
    where |= dict(overrides=f"{SMALL},init=scratch")
    first = study(root, tmp_path, datasets="twitter1", **where)
    probe = first.spec("twitter1", model="frozen_probe", init="scratch")
    first.run([first.spec("twitter1"), probe, first.spec("twitter1", width=16)])
    second = study(root, tmp_path, datasets="emotionroi", **where)
    second.run([second.spec("emotionroi", fold=1)])
    tables = second.build_tables()
    assert {f.stem for f in (second.folder / "manifests").glob("*")} == {"twitter1", "emotionroi"}
    for number, methods in ((7, ["normal"]), (9, ["maiafa", "frozen_probe"])):
        rows = tables[number][tables[number]["metric"] == "accuracy"]
        counts = rows.set_index(["dataset", "method"])["runs"]
        assert all(counts["twitter1", method] == 1 for method in methods)
        assert counts["emotionroi", methods[0]] == 1
    # a seed more, without the rivals: theirs of the first seed stay
    where["overrides"] += ",seed=1"
    third = study(root, tmp_path, datasets="twitter1", **where)
    third.run([third.spec("twitter1")])
    rows = third.build_tables()[9].query("metric == 'accuracy'").set_index(["dataset", "method"])
    assert rows.loc[[("twitter1", m) for m in ("maiafa", "frozen_probe")], "runs"].tolist() == [
        2,
        1,
    ]


def test_a_set_that_others_start_from_has_one_setting_in_the_tables(root, tmp_path):
    """General overrides count on it only where no other set of the call starts from it."""
    where = dict(backbone="test_resnet", study="s", device="cpu")
    where |= dict(overrides=f"{SMALL},init=emotionroi:scratch,lr=0.002")
    first = study(root, tmp_path, datasets="twitter1", **where)
    first.run([first.spec("twitter1")])
    (before,) = (s for s in first.specs_there() if s.dataset == "emotionroi")
    second = study(root, tmp_path, datasets="emotionroi", **where)
    mine = second.spec("emotionroi")
    assert mine != before and mine.lr == 0.002
    second.run([mine])
    rows = second.build_tables()[7].query("metric == 'accuracy'").set_index(["dataset", "method"])
    assert rows.loc[("emotionroi", "normal"), "run_ids"] == mine.id
    assert rows.loc[("twitter1", "normal"), "runs"] == 1


def test_a_frame_for_reading_has_columns_of_different_names_and_scrolls_where_it_is_long():
    for shown in [*map(str.split, frames.SHOWN.values()), ["dataset", *tasks.READ_COLUMNS]]:
        frame = pd.DataFrame([[0.5] * len(shown)], columns=shown)
        frame = frame.assign(dataset="twitter1", method="normal")
        style = frames.show_frame(frame.assign(verdict="worse"))
        assert style.columns.is_unique and "overflow" not in style.to_html()
        assert "min-width: 16em" in style.to_html()
    of_tasks = frames.show_tasks(frame.assign(task="emotion"))  # the last frame's
    assert of_tasks.columns.is_unique and not of_tasks.columns.str.startswith("difference").any()
    long = pd.concat([frame] * (frames.MOST_ROWS + 1), ignore_index=True)
    assert "overflow-y: auto" in frames.show_frame(long).to_html()
    for columns, ends in (
        ("fall low high", "95% from"),
        ("difference low high", "difference, 95% from"),
    ):
        style = frames.show_frame(pd.DataFrame([[1, 0, 2]], columns=columns.split()))
        assert style.columns[1] == ends


def test_a_run_in_two_places_counts_once_and_a_seed_without_every_fold_is_left_out_of_curves(
    root, tmp_path, capsys
):
    small = f"{SMALL},init=scratch"
    where = dict(datasets="twitter1", backbone="test_efficientnet", device="cpu")
    mine = study(root, tmp_path, overrides=small, **where)
    specs = mine.specs()[:2]
    others = [dataclasses.replace(s, seed=seed) for seed in (1, 2) for s in specs][:3]
    done = mine.run(others)
    for run in done:  # as the runs that others start from are lent
        shutil.copytree(run.folder, mine.folder / "shares/runs" / run.folder.name)
    (done[0].folder / "model.safetensors").unlink()
    found = mine.of_other_seeds(specs)
    assert sorted(run.spec.id for run in found) == sorted(s.id for s in others)
    assert all(run_folder.has_weights(run.folder) for run in found)
    whole = deletion._whole_seeds(found, 2)
    assert [(run.spec.seed, run.spec.fold) for run in whole] == [(1, 0), (1, 1)]
    assert "Left out: 1 runs of seeds" in capsys.readouterr().out


def test_on_the_demo_data_every_system_has_the_budget_of_ours(root, tmp_path):
    experiment = study(root, tmp_path)
    budget = attrgetter(*settings.PROTOCOL, "dataset", "fold", "seed")
    ours = {(spec.dataset, spec.fold): spec for spec in experiment.specs()}
    for spec in experiment.rivals():
        own = ours[spec.dataset, spec.fold]
        assert systems.system_of(spec.model).fitted or budget(spec) == budget(own)
        if spec.stages:
            assert budget(spec.predecessor()) == budget(own.predecessor())


def test_a_tower_that_is_asked_for_starts_from_its_own_weights(root, tmp_path):
    (tmp_path / f"{systems.CLIP}.safetensors").touch()
    asked = study(root, tmp_path, weights=str(tmp_path)).rivals("clip_probe,clip_finetune")
    assert all(r.init.endswith("imagenet") for r in asked)
    assert "scratch" not in {r.init for r in asked if r.model == "clip_finetune"}


def test_overrides_act_on_the_own_runs_and_fi_dot_on_the_pretraining(root, tmp_path):
    text = "epochs=3,image_size=160,readings.gate=fused,fi.epochs=4"
    experiment = study(root, tmp_path, overrides=text)
    spec, plain = experiment.spec("twitter1"), study(root, tmp_path).spec("twitter1")
    before = spec.predecessor()
    assert (spec.epochs, spec.image_size, spec.readings.gate) == (3, 160, "fused")
    assert (before.epochs, before.readings.gate) == (4, "fused")
    assert before.image_size == plain.predecessor().image_size == 64
    assert before == experiment.spec("fi")
    alone = study(root, tmp_path, overrides="epochs=6").only("fi").spec("fi")
    assert (alone.epochs, alone.lr_step) == (6, 2)


def test_without_transfer_only_the_set_to_set_stage_is_gone(root, tmp_path):
    experiment = study(root, tmp_path, profile="paper", datasets="fi,twitter1")
    one, plain = experiment.spec("twitter1"), experiment.without_transfer()[0]
    assert plain.init == "imagenet" and plain.predecessor() is None
    assert one.to_dict() | {"init": 0, "pretrain": 0} == plain.to_dict() | {
        "init": 0,
        "pretrain": 0,
    }


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"profile": "quick"}, "profile='quick': one of paper, best, demo"),
        ({"datasets": "fi,flickr"}, "'flickr' is none of fi, twitter1, emotionroi"),
        ({"overrides": "epoch=3"}, "unknown setting 'epoch'"),
        ({"overrides": "epochs"}, "not of the form key=value"),
        ({"overrides": "epochs=many"}, "epochs='many': must be one of int"),
        ({"overrides": "readings.gate=open"}, "must be one of original, fused"),
        ({"overrides": "fold=2"}, "fold is set by the notebook"),
        ({"overrides": "fi.readings.gate=fused"}, "of a pre-training only"),
        ({"overrides": "init=flickr:scratch"}, "'flickr' is none of"),
        ({"executor": "cluster"}, "executor='cluster': one of local, torchrun, slurm"),
        ({"weights": "absent.safetensors"}, "weights='absent.safetensors': there is no such file"),
    ],
)
def test_wrong_parameters_are_named(root, tmp_path, parameters, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        study(root, tmp_path, **parameters)


def test_a_data_root_without_sets_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds none of fi/, twitter1/, emotionroi/"):
        study(tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        study(tmp_path / "absent", tmp_path)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.stem)
def test_notebooks_are_stripped_short_and_have_the_parameters(file):
    notebook = nbformat.read(file, 4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(not c.outputs and c.execution_count is None for c in code)
    assert all(len(c.source.splitlines()) <= 14 and "def " not in c.source for c in code)
    (cell,) = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    values = {}
    exec(cell.source, values)
    own = {"leakage_free": False} if "03" in file.stem else {}
    own |= {"systems": "", "comparisons": ""} if "05" in file.stem else {}
    own |= {"seeds": 1, "stop_after": ""} if "06" in file.stem else {}
    own |= {"networks": "", "pictures": 6} if "07" in file.stem else {}
    own |= {"new_pictures": ""} if "09" in file.stem else {}
    own |= {"methods": ""} if "10" in file.stem else {}
    assert {k: v for k, v in values.items() if k != "__builtins__"} == PARAMETERS | own


def papermill(name, out, cwd, **parameters):
    source = next(f for f in NOTEBOOKS if f.stem.startswith(name))
    words = [w for key, value in parameters.items() for w in ("-r", key, str(value))]
    return subprocess.run(
        [sys.executable, "-m", "papermill", source, out, "-k", "python3", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"JUPYTER_PREFER_ENV_PATH": "1"},
    )


def test_a_notebook_runs_alone_from_any_folder_and_its_log_is_short(root, tmp_path):
    done = papermill(
        "03",
        tmp_path / "out.ipynb",
        tmp_path,
        data_root=root,
        results_root=tmp_path / "r",
        study="s",
        datasets="emotionroi",
        backbone="test_resnet",
        overrides="init=scratch," + SMALL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stderr.splitlines()) < 100
    outputs = [
        o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", ())
    ]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 3
    assert len(list((tmp_path / "r/s/runs").glob("*/metrics.json"))) == 5


@pytest.mark.slow
def test_all_notebooks_give_all_tables_and_reuse_their_runs(root, tmp_path, monkeypatch):
    parameters = dict(
        data_root=root,
        results_root=tmp_path / "r",
        study="s",
        backbone="test_resnet",
        overrides=SMALL
        + ",init=fi:scratch"
        + ",".join(f",fi.{x}" for x in SMALL.split(",") if "width" not in x),
    )
    for file in NOTEBOOKS:
        done = papermill(file.stem, tmp_path / "out.ipynb", tmp_path, **parameters)
        assert done.returncode == 0, done.stderr[-3000:]
    for number in (7, 8, 9):
        table = pd.read_csv(tmp_path / f"r/s/table{number}.csv")
        ours = table[table["method"].isin(["normal", "without_mai", "without_transfer", "maiafa"])]
        assert ours["mean"].notna().all()
    stamps = {f: f.stat().st_mtime_ns for f in (tmp_path / "r/s/runs").glob("*/*")}
    assert papermill("05", tmp_path / "out.ipynb", tmp_path, **parameters).returncode == 0
    assert stamps == {f: f.stat().st_mtime_ns for f in (tmp_path / "r/s/runs").glob("*/*")}


@pytest.mark.slow
def test_no_speed_up_moves_the_accuracy_beyond_noise(tmp_path, monkeypatch):
    """The demo's FI training as it is, with bf16, with crops from files, with the printed head and
    with two processes: McNemar's test on the same test pictures."""
    demo.make_demo_data(tmp_path / "data", sizes={"fi": 800})
    spec = study(tmp_path / "data", tmp_path).spec("fi")
    where = dict(data_root=tmp_path / "data", results_root=tmp_path, device="cpu")

    def right(study, changed=spec, executor="local"):
        (found,) = emolib.run_all([changed], **where, study=study, executor=executor)
        frame = found.predictions
        return (frame["p_positive"] >= 0.5) == (frame["label"] == 1)

    usual = right("usual")
    assert usual.mean() > 0.75  # majority class 0.69
    others = {
        "bf16": right("bf16", dataclasses.replace(spec, precision="bf16")),
        "off": right("off", dataclasses.replace(spec, cache="off")),
        "two": right("two", executor="torchrun:2"),
    }
    build = runs.build

    def printed(*args):
        net = build(*args)
        net.head = "reference"
        return net

    monkeypatch.setattr(runs, "build", printed)
    others["printed"] = right("printed")
    for name, other in others.items():
        table = pd.crosstab(usual, other).reindex([False, True], axis=0, fill_value=0)
        table = table.reindex([False, True], axis=1, fill_value=0)
        print(name, f"{100 * usual.mean():.1f} {100 * other.mean():.1f}")
        assert mcnemar(table.to_numpy(), exact=True).pvalue > 0.01, name
    assert (others["off"] == usual).all()


def test_the_demo_study_says_that_its_data_are_drawn(tmp_path):
    demo.make_demo_data(tmp_path / "data", sizes={"twitter1": 24})
    assert "Demo data" in study(tmp_path / "data", tmp_path).note


def test_agreement_and_valence_are_settings_of_their_own_set_alone(tmp_path):
    make_twitter_agree(tmp_path)
    make_valence(tmp_path, valence={"anger/0.jpg": 8})
    experiment = study(tmp_path, tmp_path, overrides="agree=4,labels=valence,init=scratch")
    assert len(experiment.open("twitter1")) == 15
    roi = experiment.open("emotionroi")
    assert roi.labels.sum() == 1 and roi.emotions[roi.labels == 1].tolist() == ["anger"]
    twitter1, emotionroi = experiment.spec("twitter1"), experiment.spec("emotionroi")
    assert (twitter1.agree, twitter1.labels) == (4, "keyword")
    assert (emotionroi.agree, emotionroi.labels) == (3, "valence")
    chained = study(tmp_path, tmp_path, overrides="agree=4,labels=valence,init=emotionroi:scratch")
    assert chained.spec("twitter1").predecessor() == chained.spec("emotionroi")
    with pytest.raises(ValueError, match="agree='6': must be one of 3, 4, 5"):
        study(tmp_path, tmp_path, overrides="agree=6")


def test_a_set_of_ones_own_is_trained_tested_and_audited(tmp_path, capsys):
    rows = []
    for i in range(12):
        picture(tmp_path / f"own/{i}.png", seed=i)
        rows.append(f"{i}.png,{i % 2},{i // 4}")
    write(tmp_path / "own/labels.csv", "path,label,fold", *rows)
    experiment = study(
        tmp_path,
        tmp_path / "r",
        study="s",
        backbone="test_resnet",
        overrides="init=scratch," + SMALL,
    )
    results = experiment.run(experiment.specs())
    assert [r.metrics["n"] for r in results] == [4, 4, 4]
    assert frames.per_fold(results)["published"].isna().all()
    capsys.readouterr()
    experiment.build_tables()
    assert "not begun" not in capsys.readouterr().out  # other notebooks' runs are no news,
    assert "(not begun)" in (experiment.folder / "table7.md").read_text("utf-8")
    table = pd.read_csv(experiment.folder / "table9.csv")
    assert table[table["dataset"] == "own"]["runs"].tolist() == [3, 3]
    assert figures.folds(frames.per_fold(results)).axes
    assert figures.class_balance(frames.table5(experiment)).axes
    grouped = experiment.run(experiment.specs(grouped=True))
    assert sum(r.metrics["n"] for r in grouped) == 12
    found = experiment.audit()
    audited = experiment.folder / "audit.csv"
    assert pd.read_csv(audited).shape == found.shape
    assert set(found["finding"]) <= {"near-twin"}
    drawn = dataclasses.replace(
        experiment, overrides=experiment.overrides | {"official": False, "split_seed": 7}
    )
    for one, source in ((experiment, "the set's own lists"), (drawn, "seed 7")):
        assert frames.splits(one)["from"].unique().tolist() == [source]
    # the training of a later call has looked at other pictures: who is a twin is asked again
    shutil.copy(tmp_path / "own/0.png", tmp_path / "own/11.png")
    experiment.manifest("own")
    os.utime(audited, (1, 1))
    experiment.build_tables()
    assert "identical" in set(pd.read_csv(audited)["finding"])


def test_leakage_free_folds_stand_beside_the_papers_and_stay_out_of_its_tables(root, tmp_path):
    experiment = study(
        root,
        tmp_path,
        study="s",
        datasets="twitter1",
        backbone="test_resnet",
        overrides="init=scratch," + SMALL,
    )
    papers = experiment.run(experiment.specs())
    grouped = experiment.run(experiment.specs(grouped=True))
    beside = frames.leakage(papers, grouped)
    assert beside["folds"].tolist() == ["the paper's", "leakage-free"]
    assert beside["test pictures"].tolist() == [20, 20]
    emolib.tables.build(tmp_path)  # from run folders alone
    table = pd.read_csv(experiment.folder / "table9.csv")
    (row,) = table[
        (table["method"] == "maiafa") & (table["runs"] > 0) & (table["metric"] == "accuracy")
    ].itertuples()
    assert set(row.run_ids.split(";")) == {r.spec.id for r in papers}


def test_the_papers_rivals_stand_on_their_own_backbones_and_on_the_studys(root, tmp_path):
    experiment = study(
        root,
        tmp_path,
        profile="paper",
        datasets="twitter1,emotionroi",
        overrides="init=imagenet,epochs=5,emotionroi.epochs=7",
    )
    every = ",".join([*systems.COMPARED, "hrnet_w48"])
    runs = experiment.rivals(every, "published,matched")
    backbones = {}
    for one in runs:
        assert one.image_size == 224 and one.id.startswith(f"{one.dataset}-{one.model}")
        backbones.setdefault(one.model, set()).add(one.backbone)
    assert backbones["wscnet"] == {"resnet101", "hrnet_w48"}
    assert backbones["ar"] == {"vgg16", "hrnet_w48"}
    assert backbones["rao2016"] == backbones["pcnn"] == {None}
    assert backbones["clip_probe"] == {systems.CLIP}
    assert backbones["hrnet_w48"] == {"hrnet_w48"}  # the study's backbone alone
    (weak,) = {r.init for r in runs if r.model == "pcnn" and r.dataset == "twitter1"}
    assert weak == "emotionroi:scratch"  # without FI the other small set
    one = next(r for r in runs if r.model == "pcnn" and r.dataset == "twitter1")
    assert (one.epochs, one.predecessor().epochs) == (5, 7)
    plain = study(
        root,
        tmp_path,
        profile="paper",
        datasets="twitter1,emotionroi",
        overrides="init=imagenet,epochs=5,image_size=64",
    )
    before = plain.spec("twitter1", model="pcnn").predecessor()
    assert (before.epochs, before.image_size) == (5, 64)  # the weak set as the set itself
    assert {r.backbone for r in runs if r.model == "frozen_probe"} == {"hrnet_w48"}
    file = tmp_path / "hrnet_w48.safetensors"
    file.touch()
    one_file = study(root, tmp_path, profile="paper", datasets="twitter1", weights=str(file))
    assert {r.backbone for r in one_file.rivals("", "matched")} == {"hrnet_w48", None}
    folder = study(root, tmp_path, profile="paper", datasets="twitter1", weights=str(tmp_path))
    assert {r.model for r in folder.rivals(comparisons="published")} == {"pcnn"}
    assert {r.backbone for r in folder.rivals("", "matched")} == {"hrnet_w48", None}
    few = experiment.rivals("wscnet, maiafa", "matched")
    assert {(r.model, r.backbone) for r in few} == {
        ("wscnet", "hrnet_w48"),
        ("maiafa", "hrnet_w48"),
    }
    with pytest.raises(ValueError, match="'best' is none of published, matched"):
        experiment.rivals(comparisons="best")


def test_recipes_are_the_authors_settings_in_a_study_of_their_own(root, tmp_path):
    experiment = study(root, tmp_path, profile="paper", datasets="twitter1")
    apart, runs = experiment.recipes("wscnet")
    assert apart.folder == experiment.folder / "recipes" and len(runs) == 5
    one = runs[0]
    assert (one.backbone, one.image_size, one.batch_size, one.crop) == (
        "resnet101",
        448,
        10,
        "resized",
    )
    assert (one.lr, one.weight_decay, one.epochs, one.lr_step) == (1e-4, 0, 25, 7)
    assert one.init == "imagenet" and one.optimizer == "sgd"
    assert {r.optimizer for r in experiment.recipes("rao2020,clip_finetune")[1]} == {
        "adam",
        "adamw",
    }
    with pytest.raises(ValueError, match="is none of ar, wscnet"):
        experiment.recipes("mcpnet")


def test_each_optimizer_trains(root, tmp_path):
    for optimizer in ("adam", "adamw"):
        one = emolib.RunSpec(
            "twitter1",
            model="test_resnet",
            init="scratch",
            epochs=1,
            image_size=32,
            optimizer=optimizer,
            batch_size=16,
        )
        emolib.run(one, root, tmp_path)


@pytest.mark.slow
def test_the_notebook_of_tables_trains_the_systems_it_is_given(root, tmp_path):
    done = papermill(
        "05",
        tmp_path / "out.ipynb",
        tmp_path,
        data_root=root,
        results_root=tmp_path / "r",
        study="s",
        datasets="twitter1",
        backbone="test_resnet",
        systems="maiafa,wscnet",
        overrides="init=scratch,epochs=1,image_size=32,batch_size=16,width=64",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(tmp_path / "r/s/matched.csv")
    assert table.groupby("method")["runs"].first().to_dict() == {"maiafa": 5, "wscnet": 5}
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    figures = [o for c in cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})]
    assert len(figures) == 5


def subset(root, folder, *names):
    """A data root with some of the sets of `root`, "own" being one of two folds and 8 pictures."""
    folder.mkdir()
    for name in names:
        if name != "own":
            (folder / name).symlink_to(root / name)
            continue
        rows = [f"{i}.png,{i % 2},{i // 4}" for i in range(8)]
        for i in range(8):
            picture(folder / f"own/{i}.png", seed=i)
        write(folder / "own/labels.csv", "path,label,fold", *rows)
    return folder


@pytest.mark.parametrize(
    "names, chains, weak",
    [
        ("fi", {"fi": "imagenet"}, None),
        ("twitter1", {"twitter1": "imagenet"}, None),
        ("own", {"own": "imagenet"}, None),
        ("twitter1 emotionroi", {"twitter1": "imagenet", "emotionroi": "imagenet"}, "emotionroi"),
        ("twitter1 own", {"twitter1": "imagenet", "own": "imagenet"}, None),
        ("fi twitter1", {"fi": "imagenet", "twitter1": "fi:imagenet"}, "fi"),
        (
            "fi twitter1 emotionroi own",
            {
                "fi": "imagenet",
                "twitter1": "fi:imagenet",
                "emotionroi": "fi:imagenet",
                "own": "fi:imagenet",
            },
            "fi",
        ),
    ],
)
def test_any_of_the_sets_is_a_study_and_its_note_says_what_is_not_there(
    root, tmp_path, names, chains, weak
):
    there = subset(root, tmp_path / "data", *names.split())
    experiment = study(there, tmp_path, profile="paper")
    assert {d: experiment.spec(d).init for d in experiment.datasets} == chains
    for spec in [s for specs in experiment.chain().values() for s in specs]:
        assert set(spec.stages) <= set(names.split())
    alone = "fi" not in names and set(chains.values()) == {"imagenet"}
    assert ("No `fi/` in `data`" in experiment.note) == alone
    assert ("init=" in experiment.note) == (alone and " " in names)
    assert bool(words.about_pretraining(experiment)) == ("fi" not in names)
    assert bool(words.about_fine_tuning(experiment)) == (names == "fi")
    pcnn = {s.stages[0] for s in experiment.rivals() if s.model == "pcnn" and s.stages}
    assert "twitter1" not in names or weak in pcnn | {None}


def test_a_chain_that_was_asked_for_and_names_an_absent_set_is_an_error(root, tmp_path):
    there = subset(root, tmp_path / "data", "twitter1")
    for init in ("fi:imagenet", "emotionroi:scratch", "fi"):
        name = init.partition(":")[0]
        with pytest.raises(FileNotFoundError, match=f"init=.*starts from {name}.*no {name}/"):
            study(there, tmp_path, overrides=f"init={init}")


def test_without_fi_all_tables_are_built_and_say_why_rows_are_empty(root, tmp_path, capsys):
    there = subset(root, tmp_path / "data", "twitter1")
    (tmp_path / "w").mkdir()
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w/test_resnet.safetensors")
    experiment = study(
        there,
        tmp_path / "r",
        study="s",
        profile="paper",
        backbone="test_resnet",
        weights=str(tmp_path / "w"),
        overrides=SMALL.replace("128", "32"),
    )
    rivals, without = experiment.rivals(), experiment.left_out()
    assert rivals == [] and {s.model for s in without} == {"pcnn", "ar", "wu2019", "mcpnet"}
    experiment.run([*experiment.specs("without_mai"), *experiment.without_transfer()])
    capsys.readouterr()
    ahead.everything_ahead(experiment)
    said = capsys.readouterr().out
    assert re.search(r"together train (\d+) runs", said)[1] == "10"  # four variants, five folds
    assert "04_ablations: 10 runs" in said and "03_finetune: no run" in said
    assert "no vgg16.safetensors: twitter1 ar." in said and "SYSTEMS=" in said
    tables = experiment.build_tables(rivals, without)
    counts = [tables[n][tables[n]["dataset"] == "twitter1"] for n in (7, 8)]
    seven, eight = (t.groupby("method")["runs"].first().to_dict() for t in counts)
    assert eight == {"normal": 0, "without_transfer": 5}
    assert seven == {"normal": 5, "without_mai": 5, "without_afa": 0, "without_both": 0}
    assert "`normal` is empty on twitter1" in (experiment.folder / "table8.md").read_text()
    page = (experiment.folder / "table9.md").read_text()
    assert "the folder of weights has no vgg16.safetensors" in page
    assert "the folder of weights has no resnet101.safetensors" in page
    assert "pcnn starts from a weak set" in page
    assert not [f for f in emolib.verify(tmp_path / "r") if f.status == "wrong"]


def test_an_override_says_on_which_sets_it_does_not_count(root, tmp_path):
    for overrides, datasets, said in (
        ("epochs=30,image_size=64", "", "`epochs`, `image_size`: not on fi"),
        ("epochs=30,init=emotionroi:imagenet", "twitter1", "`epochs`: not on emotionroi"),
        ("epochs=30", "fi", ""),
        ("width=64", "", ""),
    ):
        experiment = study(root, tmp_path, profile="paper", overrides=overrides, datasets=datasets)
        assert (": not on" in experiment.note) == bool(said) and said in experiment.note
        for name in experiment.first:  # and what it says is so
            if name in experiment.datasets:
                assert experiment.spec(name).epochs == 90


def test_where_weights_is_a_file_systems_that_cannot_be_downloaded_are_left_out(root, tmp_path):
    there = subset(root, tmp_path / "data", "twitter1", "emotionroi")
    (tmp_path / "test_resnet.safetensors").touch()
    experiment = study(
        there,
        tmp_path,
        profile="paper",
        backbone="test_resnet",
        weights=str(tmp_path / "test_resnet.safetensors"),
    )
    without = experiment.left_out()
    assert {(s.model, why) for s, why in without.items()} == {
        ("ar", "the weights of vgg16 could not be downloaded"),
        ("wu2019", "the weights of resnet101 could not be downloaded"),
        ("mcpnet", "the weights of resnet101 could not be downloaded"),
    }
    assert {s.model for s in experiment.rivals() if s not in without} == {"pcnn"}
    assert experiment.left_out("ar") == {}  # what is named is trained, or an error


def test_the_paper_profile_trains_the_published_rows_and_what_is_asked_for(root, tmp_path):
    experiment = study(root, tmp_path, profile="paper")
    paper = emolib.tables.published(9)[["dataset", "method"]].itertuples(index=False, name=None)
    rows = {(s.dataset, s.model) for s in experiment.rivals()}
    assert rows == {pair for pair in paper if pair[1] != "maiafa"}
    assert {s.backbone for s in experiment.rivals()} == {None, "vgg16", "resnet101"}
    matched = experiment.rivals(comparisons="matched")
    assert {s.backbone for s in matched} == {None, "hrnet_w48"}
    assert {(s.dataset, s.model) for s in matched} > {("fi", "hrnet_w48"), ("twitter1", "wscnet")}
    both = experiment.rivals(comparisons="published,matched")
    assert set(both) == {*experiment.rivals(), *matched}


def test_the_best_profile_trains_heads_and_says_which_systems_cannot_be_trained_so(root, tmp_path):
    experiment = study(root, tmp_path, profile="best", datasets="twitter1")
    runs = [*experiment.ablations(), *experiment.rivals()]
    assert {s.backbone for s in runs} == {None, recipe.BACKBONE}
    assert {s.init for s in runs if s.backbone} == {"imagenet"} and not experiment.absent
    heads = {s.model for s in runs if s.freeze == "backbone"}
    assert heads == {"maiafa", "mcpnet", "wscnet", "yao2019"}
    trained = len(experiment.open("twitter1").folds()[0][0])  # few, so that they are seen often
    assert {s.epochs for s in runs if s.freeze} == {recipe.epochs(trained, 32)} != {recipe.EPOCHS}
    assert {s.model for s in runs} - heads == {"frozen_probe", "rao2016"}
    others = {recipe.BACKBONE, "ar", "pcnn", "priya2020", "rao2020", "wu2019"}
    why = {s.model: why for s, why in experiment.left_out().items()}
    assert why == dict.fromkeys(others, "it needs more than the maps of a frozen backbone")
    with pytest.raises(ValueError, match="systems='ar': ar cannot be trained here: it needs"):
        experiment.rivals("ar")
    chained = study(
        root, tmp_path, profile="best", datasets="twitter1", overrides="init=emotionroi:imagenet"
    )
    curve = transfer.transfer_specs(chained)
    data = chained.open("twitter1")
    for spec in curve:
        pictures = len(data.part(data.folds()[spec.fold][0], spec.share))
        assert abs(spec.epochs * math.ceil(pictures / 32) / recipe.STEPS - 1) < 0.25
    assert {s.share for s in curve} == set(transfer.TRAINING_SHARES)
    before = {s.predecessor() for s in curve if s.stages}  # a share is the target's alone
    assert before == {chained.spec("twitter1").predecessor()}
    free = study(root, tmp_path, profile="best", overrides="freeze=,twitter1.epochs=3")
    assert (free.spec("twitter1").freeze, free.spec("twitter1").epochs) == ("", 3)
    for spec, freeze in ((free.spec("twitter1"), ""), (experiment.spec("twitter1"), "backbone")):
        said = recipe.SETTINGS[freeze]
        assert said == {name: getattr(spec, name) for name in said}
    assert not free.left_out()
    authors = {s.model: s for s in experiment.recipes()[1]}
    for spec in authors.values():  # nothing of the profile's
        assert not spec.freeze and not spec.freeze_bn and spec.schedule == "step"
        assert spec.head_lr == systems.system_of(spec.model).recipe.get("head_lr", 1.0)
    assert {authors[name].optimizer for name in ("ar", "wscnet")} == {"sgd"}


@pytest.mark.parametrize(
    "profile, comparisons, counts",
    [
        ("demo", "published", (1, 5, 5)),
        ("demo", "matched", (3, 15, 15)),
        ("paper", "published", (5, 20, 20)),
        ("paper", "matched", (11, 55, 55)),
    ],
)
def test_each_comparison_has_as_many_runs_as_ever(root, tmp_path, profile, comparisons, counts):
    runs = study(root, tmp_path, profile=profile).rivals(comparisons=comparisons)
    names = ("fi", "twitter1", "emotionroi")
    assert tuple(sum(r.dataset == name for r in runs) for name in names) == counts


def cells(name, **parameters):
    """What a notebook's code cells display and give, run here in one process."""
    file = next(f for f in NOTEBOOKS if f.stem.startswith(name))
    shown = []
    names = {"display": shown.append}
    for cell in (c for c in nbformat.read(file, 4).cells if c.cell_type == "code"):
        source = cell.source.replace("%matplotlib inline\n", "")
        exec(source, names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(parameters)
    return names, [getattr(one, "data", "") or "" for one in shown]


def test_a_notebook_that_has_nothing_to_train_says_so_and_ends_well(root, tmp_path):
    where = {
        "results_root": str(tmp_path / "r"),
        "study": "s",
        "backbone": "test_resnet",
        "profile": "paper",
    }
    without = subset(root, tmp_path / "without", "twitter1", "emotionroi")
    names, shown = cells("02", data_root=str(without), **where)
    assert names["results"] == [] and any("has no FI" in text for text in shown)
    alone = subset(root, tmp_path / "alone", "fi")
    for notebook in ("03", "06"):
        names, shown = cells(notebook, data_root=str(alone), **where)
        assert names["specs"] == [] and any("FI alone" in text for text in shown)
    assert not list(tmp_path.glob("r/s/runs/*"))


def table9():
    """Rows of a Table 9, accuracy alone, with maiafa and ar on Twitter I; FI without runs."""
    columns = ["dataset", "method", "mean", "ci_low", "ci_high", "runs", "published"]
    nan = float("nan")
    rows = [
        ("fi", "ar", nan, nan, nan, 0, 86.35),
        ("twitter1", "ar", 80.0, 80.0, 80.0, 2, 81.06),
        ("twitter1", "maiafa", 78.0, 76.0, 80.0, 5, 84.66),
        ("twitter1", "pcnn", nan, nan, nan, 0, 76.36),
        ("twitter1", "wu2019", 100.0, 90.0, 100 - 1e-13, 1, 81.65),  # an end of Wilson's, rounded
        ("twitter1", "yao2019", nan, nan, nan, 0, nan),  # nobody has a number
    ]
    return pd.DataFrame(rows, columns=columns).assign(table=9, metric="accuracy")


def compared(verdict):
    row = {"table": 9, "dataset": "twitter1", "method": "ar", "metric": "accuracy"}
    return pd.DataFrame([row | {"verdict": verdict}])


def test_the_figure_of_a_table_has_no_empty_panel_and_no_certainty_without_an_interval():
    figure = plots.draw_table(table9(), "t")
    (axis,) = figure.axes
    assert axis.get_title() == "Twitter I: accuracy" and len(axis.get_yticks()) == 4
    diamonds = [line for line in axis.lines if line.get_marker() == "D"]
    assert [list(line.get_xdata()) for line in diamonds] == [[80.0]]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert plots.NO_WIDTH in words and len(words) == len(set(words))
    bars = [c for c in axis.containers if c.has_xerr]
    assert [list(bar.lines[0].get_xdata()) for bar in bars] == [[78.0, 100.0]]  # not ar's
    assert axis.get_xlim()[0] > 60


@pytest.mark.parametrize(
    "verdict, hollow",
    [
        ("cannot tell; about 4,000 test pictures would", True),
        ("no difference larger than 1 point", True),
        ("worse", False),
        ("better on these pictures, one run", False),
        ("not trained", False),
    ],
)
def test_a_point_is_hollow_where_its_row_is_not_told_apart_and_only_there(verdict, hollow):
    figure = plots.draw_table(table9(), "t", compared(verdict))
    white = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in white] == ([[80.0]] if hollow else [])


def test_calibration_counts_each_picture_of_the_study_once(root, tmp_path):
    experiment = study(
        root,
        tmp_path,
        study="s",
        datasets="twitter1",
        backbone="test_resnet",
        overrides=SMALL + ",init=emotionroi:scratch,emotionroi.epochs=1,"
        "emotionroi.image_size=32,emotionroi.batch_size=16",
    )
    results = experiment.run([*experiment.specs(), *experiment.without_transfer()])
    assert sum(r.metrics["n"] for r in results) == 40
    figure = figures.calibration(results, "How sure", demo=True)
    assert [axis.get_title() for axis in figure.axes] == ["Twitter I: 20 pictures"]
    assert "DEMO DATA" in figure.get_suptitle()
    assert figures.calibration([], "How sure") is None
    shown = figures.where_it_looks(experiment, results, count=2)
    assert shown.get_suptitle() == "Twitter I, fold 0: D on test pictures"


def test_differences_are_named_in_words_with_what_they_are_against():
    row = {"difference": 1.0, "low": 0.0, "high": 2.0, "published": 1.0}
    row |= {"smallest_paired": float("nan"), "method": "without_afa, without_afa=region"}
    for number in (9, 7, "readings"):
        axis = plots.draw_differences(compared("better").assign(**row, table=number), "t").axes[0]
        assert axis.get_xlabel().endswith("against the\nMAI + AFA network (better →)")
        assert [t.get_text() for t in axis.get_yticklabels()] == ["without AFA,\nread as D⊗F"]
