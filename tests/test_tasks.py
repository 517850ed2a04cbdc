"""Beyond polarity: what is learnt of a set, and what the answers are worth."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from trees import make_fi, make_valence, make_voted, picture, write

import emolib
from emolib.base import task_scores
from emolib.data.datasets import open_dataset
from emolib.data.tasks import SCALE_NAMES, TASKS
from emolib.study import beyond_polarity
from emolib.tables.checks.run_checks import RUN_CHECKS
from emolib.training import run as running
from emolib.use import hub

CPU = {"device": "cpu"}
OTHERS = [task for task in TASKS if task != "polarity"]


def tiny(**settings):
    usual = dict(backbone="test_efficientnet", image_size=32, epochs=2, batch_size=8, width=8)
    return emolib.RunSpec("emotionroi", **usual | {"init": "scratch"} | settings)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """EmotionROI with votes and measured valence that differ from picture to picture."""
    root = tmp_path_factory.mktemp("tasks")
    make_voted(root)
    return root


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
    """{task: its run}, in one results folder."""
    results = tmp_path_factory.mktemp("results")
    return {task: emolib.run(tiny(task=task), root, results, **CPU) for task in OTHERS}


def test_the_measures_of_distributions_are_their_formulas():
    known = np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    p = np.array([[0.25, 0.5, 0.25], [0.3, 0.3, 0.4]])
    frame = pd.DataFrame({f"label_{k}": known[:, k] for k in range(3)})
    found = task_scores.of_distribution(frame.assign(**{f"p_{k}": p[:, k] for k in range(3)}))
    kl = [
        0.5 * np.log(2) + 0.5 * np.log(1),
        0.1 * np.log(0.1 / 0.3) + 0.2 * np.log(0.2 / 0.3) + 0.7 * np.log(0.7 / 0.4),
    ]
    cosine = [
        (0.125 + 0.25) / np.sqrt(0.5 * (0.0625 + 0.25 + 0.0625)),
        (0.03 + 0.06 + 0.28) / np.sqrt((0.01 + 0.04 + 0.49) * (0.09 + 0.09 + 0.16)),
    ]
    ratios = [[0.25 / 0.75, 0, 1], [0.2 / 0.4, 0.1 / 0.5, 0.3 / 1.1]]
    assert found["kl"] == pytest.approx(np.mean(kl))
    assert found["cosine"] == pytest.approx(np.mean(cosine))
    assert found["chebyshev"] == pytest.approx((0.25 + 0.3) / 2)
    assert found["canberra"] == pytest.approx(np.mean([sum(r) for r in ratios]))
    clark = [np.sqrt(sum(x * x for x in r)) for r in ratios]
    assert found["clark"] == pytest.approx(np.mean(clark))
    assert found["intersection"] == pytest.approx((0.75 + 0.1 + 0.2 + 0.4) / 2)


def test_the_measures_of_scales_are_their_formulas():
    rng = np.random.default_rng(0)
    known, said = rng.uniform(1, 9, (2, 50))
    frame = pd.DataFrame({"label_valence": known, "valence": said})
    found = task_scores.of_scales(frame)
    assert found["valence_pearson"] == pytest.approx(np.corrcoef(known, said)[0, 1])
    assert found["valence_mae"] == pytest.approx(np.abs(known - said).mean())
    below = known.var() + said.var() + (known.mean() - said.mean()) ** 2
    ccc = 2 * ((known - known.mean()) * (said - said.mean())).mean() / below
    assert found["valence_ccc"] == pytest.approx(ccc, rel=0.03)  # torchmetrics divides by n − 1
    constant = task_scores.of_scales(frame.assign(valence=5.0))
    assert constant["valence_pearson"] is None and constant["valence_ccc"] is None


def test_the_measures_of_several_emotions_are_counted_by_hand():
    frame = pd.DataFrame(
        {"label_a": [1, 0, 1], "label_b": [0, 1, 0], "label_c": [0, 0, 0]}
        | {"p_a": [0.9, 0.6, 0.2], "p_b": [0.1, 0.7, 0.8], "p_c": [0.1, 0.1, 0.1]}
    )
    found = task_scores.of_several(frame)
    # a is ranked right, wrong, right: (1/1 + 2/3) / 2; b wrong, right: 1/2; nobody has c
    assert found["mean_average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    # {a} found as {a}; {b} as {a, b}; {a} as {b}
    assert found["example_f1"] == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)


#: W as the authors' code has it, rows and columns in the order of the wheel.
AUTHORS = np.array(
    [
        [1, 2, 3, 4, 8, 7, 6, 5],
        [2, 1, 2, 3, 7, 8, 7, 6],
        [3, 2, 1, 2, 6, 7, 8, 7],
        [4, 3, 2, 1, 5, 6, 7, 8],
        [8, 7, 6, 5, 1, 2, 3, 4],
        [7, 8, 7, 6, 2, 1, 2, 3],
        [6, 7, 8, 7, 3, 2, 1, 2],
        [5, 6, 7, 8, 4, 3, 2, 1],
    ]
)


def test_confusions_on_the_wheel_are_those_of_the_authors_matrix():
    names = "amusement contentment awe excitement fear sadness disgust anger".split()
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(8), 60)
    known, said = rng.integers(0, 8, 60), p.argmax(1)
    frame = pd.DataFrame({"emotion": np.array(names)[known]})
    frame = frame.assign(**{f"p_{n}": p[:, k] for k, n in enumerate(names)})
    S = np.zeros((8, 8))
    np.add.at(S, (known, said), 1)
    found = task_scores.of_emotion(frame)
    assert found["ecc"] == pytest.approx(100 * (S / AUTHORS).sum() / 60)
    off = ~np.eye(8, dtype=bool)
    mistakes = (S[off] / (AUTHORS[off] - 1)).sum() / S[off].sum()
    assert found["emc"] == pytest.approx(100 * mistakes)
    same = (p[:, :4].sum(1) >= 0.5) == (known < 4)
    assert found["polarity_accuracy"] == pytest.approx(100 * same.mean())
    right = pd.DataFrame({"emotion": names} | {f"p_{n}": np.eye(8)[k] for k, n in enumerate(names)})
    assert task_scores.of_emotion(right)["emc"] is None
    others = frame.rename(columns={"p_awe": "p_calm"}).replace("awe", "calm")
    assert {"ecc", "emc", "polarity_accuracy"}.isdisjoint(task_scores.of_emotion(others))


@pytest.mark.parametrize("task", OTHERS)
def test_a_task_is_trained_kept_verified_and_loaded(task, root, runs, tmp_path):
    run, data = runs[task], open_dataset("emotionroi", root, task=task)
    table = run.predictions
    _, test = data.folds()[0]
    assert table["path"].tolist() == [data.names[i] for i in test]
    classes = {"emotion": 6, "distribution": 7, "multilabel": 6, "valence": 2}[task]
    assert len(data.classes) == classes and run.metrics["n"] == len(test)
    assert run.metrics == TASKS[task].scores(table)
    assert not emolib.verify(run.folder.parents[2], root)
    files = [root / "emotionroi" / name for name in table["path"]]
    answers = emolib.load(run.folder, **CPU).predict(files)
    said = [c for c in table if c.startswith("p_") or c in SCALE_NAMES]
    assert np.allclose(answers[said], table[said], atol=1e-4)
    if "emotion" in answers:
        best = answers[said].idxmax(axis=1).str.removeprefix("p_")
        assert answers["emotion"].tolist() == best.tolist()
    saved = hub.save(run.folder, tmp_path / "hub")
    assert emolib.load(saved, **CPU).predict(files).equals(answers)
    again = hub.Network.from_pretrained(str(saved))
    again.save_pretrained(str(tmp_path / "again"))
    assert emolib.load(tmp_path / "again", **CPU).predict(files).equals(answers)
    explained, first = emolib.load(run.folder, **CPU).explain(files[0]), answers.iloc[0]
    assert explained.answers == pytest.approx(first.drop("path").to_dict(), abs=1e-5)
    highest = first.drop(["path", "emotion"], errors="ignore").astype(float).sort_values().index[-1]
    first_word = "valence" if task == "valence" else highest.removeprefix("p_")
    assert explained.said.startswith(first_word) and explained.D.shape == (32, 32)
    assert Image.open(io.BytesIO(explained._repr_png_())).format == "PNG"
    assert not hasattr(explained, "p_positive")


@pytest.mark.parametrize("task", OTHERS)
def test_a_killed_run_of_a_task_ends_with_the_same_bytes(task, root, runs, tmp_path, monkeypatch):
    kept = running.checkpoints.save_checkpoint

    def killed(*args):
        kept(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running.checkpoints, "save_checkpoint", killed)
        emolib.run(tiny(task=task), root, tmp_path, **CPU)
    (folder,) = (tmp_path / "demo/runs").iterdir()
    assert (folder / "checkpoint.pt").exists() and not (folder / "metrics.json").exists()
    again = emolib.run(tiny(task=task), root, tmp_path, **CPU)
    for name in ("predictions.csv", "model.safetensors", "metrics.json", "spec.json"):
        assert (again.folder / name).read_bytes() == (runs[task].folder / name).read_bytes()


def test_what_is_changed_in_a_tasks_run_is_found(root, tmp_path):
    run = emolib.run(tiny(task="distribution"), root, tmp_path, **CPU)
    file = run.folder / "predictions.csv"
    good = pd.read_csv(file)
    for changed, which, why in (
        (good.assign(p_joy=good["p_joy"] + 0.1), "predictions.csv", "do not sum to 1"),
        (good.assign(label_joy=-0.5), "predictions.csv", "label_joy that is not between 0 and 1"),
        (good.drop(columns="p_joy"), "predictions.csv", "has the columns"),
        (good.assign(label_joy=good["label_fear"]), "metrics.json", "kl: "),
    ):
        changed.to_csv(file, index=False)
        assert why in RUN_CHECKS[which](run.folder)
        assert emolib.verify(tmp_path)


@pytest.mark.parametrize("task", OTHERS)
def test_what_is_said_of_each_picture_has_the_scores_as_its_mean(task, runs):
    table, record = runs[task].predictions, TASKS[task]
    for measure, values in record.by_picture(table).items():
        assert values.shape == (len(table),)
        assert values.mean() == pytest.approx(record.scores(table)[measure])


def test_the_table_of_tasks_follows_from_its_runs(root, tmp_path):
    folds = [tiny(task="distribution", fold=k) for k in (0, 1)]
    done = [emolib.run(spec, root, tmp_path, **CPU) for spec in folds]
    first, second = (run.predictions for run in done)
    data = open_dataset("emotionroi", root, task="distribution")
    learnt = [data.targets[train].mean(0) for train, _ in data.folds()[:2]]
    emolib.tables.build(tmp_path)
    table = pd.read_csv(tmp_path / "demo/tasks.csv").set_index("measure")
    assert table.loc["kl", "pictures"] == len(first) + len(second) and not emolib.verify(tmp_path)
    voted = [c for c in first if c.startswith("label_")]
    found, constant = [], []
    for mine, always in zip((first, second), learnt, strict=True):
        said = mine[[c.replace("label_", "p_") for c in voted]].to_numpy()
        for row, answer in zip(mine[voted].to_numpy(), said, strict=True):
            there = row > 0
            found.append((row[there] * np.log(row[there] / answer[there])).sum())
            constant.append((row[there] * np.log(row[there] / always[there])).sum())
    assert table.loc["kl", "value"] == pytest.approx(np.mean(found), rel=1e-5)
    assert table.loc["kl", "constant"] == pytest.approx(np.mean(constant), rel=1e-5)
    gaps = np.subtract(found, constant)
    assert table.loc["kl", "difference"] == pytest.approx(gaps.mean(), rel=1e-4)
    half = 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))  # in large samples
    width = table.loc["kl", "diff_high"] - table.loc["kl", "diff_low"]
    assert width == pytest.approx(2 * half, rel=0.3)
    plain = replace(folds[0], mai=False, afa=False)
    other = emolib.run(plain, root, tmp_path, **CPU)
    emolib.tables.build(tmp_path)
    table = pd.read_csv(tmp_path / "demo/tasks.csv").set_index(["method", "measure"])
    gaps = other.metrics["kl"] - done[0].metrics["kl"]
    row = table.loc[("without_both", "kl")]
    assert row["minus_normal"] == pytest.approx(gaps, rel=1e-4)
    assert row["minus_low"] < row["minus_normal"] < row["minus_high"]
    assert table.loc["normal", "minus_normal"].isna().all()
    assert f"{gaps:+.3f}".replace("-", "−") in (tmp_path / "demo/tasks.md").read_text("utf-8")
    file = tmp_path / "demo/tasks.csv"
    good = file.read_text()
    file.write_text(good.replace("distribution", "multilabel", 1))
    assert {f.file for f in emolib.verify(tmp_path)} >= {"demo/tasks.csv"}
    file.write_text(good)
    (tmp_path / "demo/tasks.md").write_text("other")
    assert [f.file for f in emolib.verify(tmp_path)] == ["demo/tasks.md"]


def test_one_split_is_held_against_what_its_training_pictures_say(root, tmp_path):
    """By the long way, of a split that the set brings."""
    shutil.copytree(root / "emotionroi", tmp_path / "emotionroi")
    lists = tmp_path / "emotionroi/training_testing_split"
    lists.mkdir(exist_ok=True)
    names = sorted(open_dataset("emotionroi", tmp_path).names)
    parts = {"training": names[::2], "testing": names[1::2]}
    for part, held in parts.items():
        text = "\n".join(name.removeprefix("images/") for name in held)
        (lists / f"{part}.txt").write_text(text, encoding="utf-8")
    spec = tiny(task="valence", split="usual")
    run = emolib.run(spec, tmp_path, tmp_path / "results", **CPU)
    assert run.predictions["path"].tolist() == parts["testing"]
    data = open_dataset("emotionroi", tmp_path)
    known = data.extra.set_axis(data.names)["valence"]
    emolib.tables.build(tmp_path / "results")
    table = pd.read_csv(tmp_path / "results/demo/tasks.csv").set_index("measure")
    errors = (known[parts["testing"]] - known[parts["training"]].mean()).abs()
    assert table.loc["valence_mae", "constant"] == pytest.approx(errors.mean(), rel=1e-5)
    assert table["folds"].eq(1).all() and table.loc["valence_mae", "verdict"]
    assert "a single split" in (tmp_path / "results/demo/tasks.md").read_text(encoding="utf-8")
    assert not emolib.verify(tmp_path / "results", tmp_path)
    facts = run.folder / "environment.json"
    good = facts.read_text(encoding="utf-8")
    for damaged in ('"constant": [1, ', '"constant": {"joy": 1, '):
        facts.write_text(good.replace('"constant": {', damaged), encoding="utf-8")
        assert any(
            "environment.json" in found.file for found in emolib.verify(tmp_path / "results")
        )
    facts.write_text(good.replace('"valence": ', '"pleasure": '), encoding="utf-8")
    with pytest.raises(ValueError, match="environment.json has the constant answer .*expected a"):
        emolib.tables.build(tmp_path / "results")
    facts.write_text(good, encoding="utf-8")
    other = facts.read_text(encoding="utf-8").replace('"valence": ', '"valence": 1')
    facts.write_text(other, encoding="utf-8")
    emolib.tables.build(tmp_path / "results")
    (found,) = emolib.verify(tmp_path / "results", tmp_path)
    assert found.why == "has a constant answer that its training pictures do not give"
    pretrained = emolib.RunSpec("own", init="emotionroi:scratch").predecessor()
    assert replace(spec, init="own:scratch").predecessor().split == pretrained.split == "folds"
    with pytest.raises(ValueError, match="fold=1: emotionroi has folds 0 to 0"):
        emolib.run(replace(spec, fold=1), tmp_path, tmp_path / "other", **CPU)


def test_a_study_says_what_its_sets_cannot_be_asked(root, tmp_path):
    make_fi(tmp_path, each=2)
    where = ("paper", str(tmp_path), str(tmp_path / "results"), "s", "fi")
    study = emolib.Study.configure(*where, "test_efficientnet", "", "init=scratch", "cpu")
    specs = beyond_polarity.task_runs(study, "normal, resnet101")
    assert {(s.task, s.model) for s in specs} == {("emotion", "maiafa"), ("emotion", "resnet101")}
    assert beyond_polarity.not_asked(study).count("needs people's votes") == 2
    with pytest.raises(ValueError, match="'wscnet' is none of normal, .*, mcpnet"):
        beyond_polarity.task_runs(study, "wscnet")


def test_votes_that_change_are_other_targets(root, tmp_path):
    emolib.run(tiny(task="distribution"), root, tmp_path / "results", **CPU)
    make_voted(tmp_path, seed=1)
    with pytest.raises(ValueError, match="was made with another set of targets"):
        emolib.run(tiny(task="distribution"), tmp_path, tmp_path / "results", **CPU)


def test_a_task_learns(tmp_path):
    """Of pictures whose brightness is their valence."""
    rows, rng = [], np.random.default_rng(0)
    (tmp_path / "own").mkdir()
    for i in range(40):
        level = int(rng.integers(10, 245))
        picture = np.full((32, 32, 3), level, np.uint8) + rng.integers(0, 10, (32, 32, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"own/{i}.png")
        rows.append(f"{i}.png,{1 + 8 * level / 255:.3f},5,{i % 2}")
    write(tmp_path / "own/labels.csv", "path,valence,arousal,fold", *rows)
    spec = replace(tiny(task="valence"), dataset="own", lr=0.01, optimizer="adamw", dropout=0.0)
    run = emolib.run(replace(spec, epochs=15), tmp_path, tmp_path / "results", **CPU)
    assert run.metrics["valence_pearson"] > 0.5
    learnt = [
        row["valence"]
        for row in emolib.load(run.folder, **CPU)
        .predict([Image.new("RGB", (32, 32), (v, v, v)) for v in (20, 230)])
        .to_dict("records")
    ]
    assert learnt[0] < learnt[1]


def test_a_last_layer_of_other_classes_is_new_also_where_it_has_the_same_shape(tmp_path):
    make_fi(tmp_path, each=5)
    make_voted(tmp_path)
    spec = tiny(task="valence", init="fi:scratch", epochs=1, lr=1e-12, weight_decay=0.0)
    folder = emolib.run(spec, tmp_path, tmp_path / "results", **CPU).folder
    start = load_file(folder.parent / spec.predecessor().id / "model.safetensors")
    end = load_file(folder / "model.safetensors")
    last, before = "classifier.6.weight", "classifier.3.weight"
    assert start[last].shape == end[last].shape and not torch.allclose(start[last], end[last])
    assert torch.allclose(start[before], end[before], atol=1e-6)


def own_votes(root, header, *rows):
    for i in range(len(rows)):
        picture(root / f"own/{i}.png", seed=i)
    lines = [f"{i}.png,{row}" for i, row in enumerate(rows)]
    write(root / "own/labels.csv", header, *lines)


def test_other_names_of_the_same_numbers_are_other_targets(tmp_path):
    spec = replace(tiny(task="distribution"), dataset="own")
    rows = [f"{i % 2},{0.1 * i},{1 - 0.1 * i}" for i in range(10)]
    own_votes(tmp_path, "path,fold,p_joy,p_fear", *rows)
    emolib.run(spec, tmp_path, tmp_path / "results", **CPU)
    assert not emolib.verify(tmp_path / "results", tmp_path)
    own_votes(tmp_path, "path,fold,p_fear,p_joy", *rows)
    with pytest.raises(ValueError, match="made with another set of targets"):
        emolib.run(spec, tmp_path, tmp_path / "results", **CPU)
    assert any("other targets" in f.why for f in emolib.verify(tmp_path / "results", tmp_path))


def test_emotions_that_read_like_numbers_or_like_none_are_words(tmp_path):
    rows = [f"{i % 2},{('01', 'NA', '2')[i % 3]}" for i in range(12)]
    own_votes(tmp_path, "path,fold,emotion", *rows)
    spec = replace(tiny(task="emotion"), dataset="own")
    run = emolib.run(spec, tmp_path, tmp_path / "results", **CPU)
    assert set(run.predictions["emotion"]) == {"01", "NA", "2"}
    emolib.tables.build(tmp_path / "results")
    assert not emolib.verify(tmp_path / "results", tmp_path)  # of one fold too
    study = emolib.Study.configure("paper", str(tmp_path), "results", "s", "own", "resnet10t")
    assert "own" in study.note  # also without a column label
    with pytest.raises(ValueError, match="polarity of each picture, a column label"):
        emolib.run(replace(spec, task="polarity"), tmp_path, tmp_path / "results", **CPU)


def test_runs_of_two_settings_are_not_one_row(root, tmp_path):
    for least in (0.2, 0.5):
        emolib.run(tiny(task="multilabel", least_votes=least), root, tmp_path, **CPU)
    with pytest.raises(ValueError, match="are one row of the tables but differ in least_votes"):
        emolib.tables.build(tmp_path)


def test_a_constant_answer_names_the_emotions_that_help_it_most():
    there = [{"a", "b"}, {"a", "b"}, {"a"}, {"c"}]
    known = {f"label_{name}": [int(name in each) for each in there] for name in "abc"}
    answer = TASKS["multilabel"].constant(pd.DataFrame(known).assign(p_a=0.0, p_b=0.0, p_c=0.0))
    f1 = {
        few: np.mean([2 * len(each & set(few)) / (len(each) + len(few)) for each in there])
        for few in ("a", "ab", "abc")  # the most frequent ones
    }
    said = [name.removeprefix("p_") for name, p in answer.items() if p >= 0.5]
    assert sorted(said) == sorted(max(f1, key=f1.get))


def test_a_fine_tuning_for_another_task_has_a_new_last_layer_only(tmp_path):
    make_fi(tmp_path, each=5)
    make_voted(tmp_path)
    spec = tiny(task="emotion", init="fi:scratch", lr=1e-12, weight_decay=0.0, freeze_bn=True)
    end = load_file(
        emolib.run(spec, tmp_path, tmp_path / "results", **CPU).folder / "model.safetensors"
    )
    before = spec.predecessor()
    assert (before.task, before.dataset) == ("polarity", "fi")
    start = load_file(tmp_path / "results/demo/runs" / before.id / "model.safetensors")
    other = {k for k in start if start[k].shape != end[k].shape}
    assert other == {"classifier.6.weight", "classifier.6.bias"}
    name = "backbone.conv_stem.weight"
    assert torch.allclose(start[name], end[name], atol=1e-6)


def test_settings_of_old_runs_keep_their_names():
    plain = emolib.RunSpec("twitter1", backbone="resnet10t")
    assert replace(plain, least_votes=0.5).id == plain.id  # it matters to several emotions alone
    assert len({replace(tiny(), task=task).id for task in TASKS}) == len(TASKS)
    several = tiny(task="multilabel")
    assert replace(several, least_votes=0.5).id != several.id


@pytest.mark.parametrize(
    "make, task, message",
    [
        (lambda root: make_valence(root), "distribution", ""),
        (lambda root: make_fi(root, each=3), "distribution", "needs people's votes .* is eight"),
        (lambda root: make_fi(root, each=3), "valence", "needs measured valence and arousal"),
    ],
)
def test_a_set_without_what_a_task_needs_is_one_clear_error(make, task, message, tmp_path):
    make(tmp_path)
    name = "fi" if (tmp_path / "fi").exists() else "emotionroi"
    if not message:
        assert open_dataset(name, tmp_path, task=task).targets.shape[1] == 7
        return
    with pytest.raises(ValueError, match=message):
        open_dataset(name, tmp_path, task=task)


@pytest.mark.parametrize(
    "header, row, message",
    [
        ("path,p_joy,p_fear", "a.png,0.7,0.2", "line 2 has shares of votes that sum to 0.9"),
        ("path,p_joy,p_fear", "a.png,1.2,-0.2", "line 2 has a p_joy of 1.2; it is from 0 to 1"),
        ("path,p_joy,p_fear", "a.png,much,0.2", "line 2 has 'much' as p_joy; expected a number"),
        ("path,valence,arousal", "a.png,nan,5", "line 2 has a valence of nan; it is from 1 to 9"),
        ("path,valence,arousal", "a.png,9.5,5", "line 2 has a valence of 9.5; it is from 1 to 9"),
        ("path,fold", "a.png,0", "says nothing of its pictures; expected path,label"),
        ("path,p_valence,p_joy", "a.png,0.5,0.5", "has the column p_valence, which names no"),
    ],
)
def test_what_is_wrong_in_ones_own_list_names_the_row(header, row, message, tmp_path):
    picture(tmp_path / "own/a.png")
    write(tmp_path / "own/labels.csv", header, row)
    with pytest.raises(ValueError, match=message):
        open_dataset("own", tmp_path)


def test_measured_files_are_checked_row_by_row(tmp_path):
    make_valence(tmp_path)
    file = tmp_path / "emotionroi/ground_truth.txt"
    good = file.read_text()
    for old, new, message in (
        ("\t3.8\t", "\t9.8\t", "line 2: arousal 9.8 is not on Emotion6's scale"),
        ("\t0.7\t", "\t0.9\t", "line 2 has shares of votes that sum to 1.2"),
        ("\t0.1\t0.7", "\t-0.1\t0.9", "line 2 has a negative share of votes, -0.1"),
    ):
        file.write_text(good.replace(old, new, 1))
        with pytest.raises(ValueError, match=message):
            open_dataset("emotionroi", tmp_path)


def test_systems_with_a_loss_of_their_own_refuse_other_tasks():
    with pytest.raises(ValueError, match="model 'wscnet' learns polarity alone; .* maiafa"):
        emolib.RunSpec("emotionroi", "wscnet", task="emotion")
    with pytest.raises(ValueError, match="task='joy': must be one of polarity, emotion"):
        emolib.RunSpec("emotionroi", task="joy")


def test_estimators_take_emotions_and_valence(root):
    data = open_dataset("emotionroi", root)
    usual = dict(backbone="test_efficientnet", image_size=32, epochs=2, init="scratch", freeze="")
    usual |= CPU
    emotions = data.emotions.astype(str)
    classifier = emolib.EmotionClassifier(**usual).fit(data.paths, emotions)
    p = classifier.predict_proba(data.paths)
    assert classifier.classes_.tolist() == sorted({*emotions}) and p.shape == (len(data), 6)
    assert np.allclose(p.sum(1), 1)
    assert classifier.predict(data.paths).tolist() == classifier.classes_[p.argmax(1)].tolist()
    measured = data.extra[list(SCALE_NAMES)]
    regressor = emolib.EmotionRegressor(**usual).fit(data.paths, measured)
    found = regressor.predict(data.paths)
    assert found.shape == (len(data), 2) and ((found >= 1) & (found <= 9)).all()
    assert isinstance(regressor.score(data.paths, measured), float)
    with pytest.raises(ValueError, match="valence and arousal of each picture, in two columns"):
        emolib.EmotionRegressor(**usual).fit(data.paths, measured[["valence"]])
    with pytest.raises(ValueError, match="columns arousal, valence; valence comes first"):
        emolib.EmotionRegressor(**usual).fit(data.paths, measured[["arousal", "valence"]])
