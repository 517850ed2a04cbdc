"""The emolib command: what it prints and writes, its errors, and what importing it costs."""

import ast
import importlib
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file
from trees import picture

import emolib
import emolib.network.build
from emolib.base import files
from emolib.cli import main
from emolib.data.tasks import POLARITIES


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network in the hub's layout, untrained."""
    folder = tmp_path_factory.mktemp("model")
    spec = emolib.RunSpec(
        "own", backbone="test_efficientnet", width=32, image_size=32, init="scratch"
    )
    files.write_json(folder / "config.json", {"spec": spec.to_dict(), "classes": list(POLARITIES)})
    save_file(emolib.network.build.build_network(spec).state_dict(), folder / "model.safetensors")
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        picture(folder / f"{i}.jpg", seed=i)
    return folder


def test_predict_prints_or_writes_the_predictors_answers(model, folder, tmp_path, capsys):
    expected = emolib.load(model, device="cpu").predict(folder)
    assert main(["predict", str(folder), "--model", model, "--device", "cpu"]) == 0
    (tmp_path / "printed.csv").write_text(capsys.readouterr().out)
    out = tmp_path / "new/written.csv"
    assert main(["predict", str(folder), "--model", model, "--out", str(out)]) == 0
    assert "3 pictures" in capsys.readouterr().out
    for file in (tmp_path / "printed.csv", out):
        frame = pd.read_csv(file)
        assert list(frame["path"]) == list(expected["path"])
        assert np.allclose(frame["p_positive"], expected["p_positive"], atol=1e-5)


def test_fit_trains_on_ones_own_list_and_keeps_a_network(tmp_path, capsys):
    rows = ["path,label"]
    for i in range(12):
        picture(tmp_path / f"own/{i}.jpg", seed=i)
        rows.append(f"{i}.jpg,{i % 2}")
    labels = tmp_path / "own/labels.csv"
    labels.write_text("\n".join(rows))
    weights = tmp_path / "test_efficientnet.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), weights)
    out = tmp_path / "mine"
    words = ["fit", str(labels), "--out", str(out), "--device", "cpu", "--weights", str(weights)]
    words += ["--system", "frozen_probe", "--backbone", "test_efficientnet"]
    assert main(words) == 0
    assert f"emolib predict pictures/ --model {out}" in capsys.readouterr().out
    assert len(emolib.load(out, device="cpu").predict(tmp_path / "own")) == 12
    assert main(words) == 2
    assert "mine is there already; choose a new folder" in capsys.readouterr().err
    labels.write_text("path,label\n0.jpg,2")
    assert main([*words[:3], str(tmp_path / "new"), *words[4:]]) == 2
    assert "labels.csv line 2 has the label '2'" in capsys.readouterr().err


def test_explain_writes_the_overlay_and_prints_the_regions(model, folder, tmp_path, capsys):
    out = tmp_path / "regions.png"
    assert main(["explain", str(folder / "0.jpg"), "--model", model, "--out", str(out)]) == 0
    found = emolib.load(model).explain(folder / "0.jpg")
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(found.overlay))
    first, *boxes = capsys.readouterr().out.splitlines()
    assert f"p_positive {found.p_positive:.3f}" in first and len(boxes) == len(found.boxes)


def test_pictures_that_cannot_be_read_are_named_and_the_others_answered(
    model, folder, tmp_path, capsys
):
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    (mixed / "1a.jpg").write_text("no picture")
    out = tmp_path / "answers.csv"
    words = ["predict", str(mixed), str(tmp_path / "gone.jpg"), "--model", model]
    assert main([*words, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "2 of 5 pictures have no answer:" in said and "1a.jpg: not a readable picture" in said
    assert "gone.jpg" in said
    expected = emolib.load(model, device="cpu").predict(folder)
    answers = pd.read_csv(out)
    assert np.allclose(answers["p_positive"], expected["p_positive"], atol=1e-5)
    assert [Path(p).name for p in answers["path"]] == [Path(p).name for p in expected["path"]]
    out.unlink()
    words = ["predict", str(mixed / "1a.jpg"), "--model", model, "--out", str(out)]
    assert main(words) == 2 and not out.exists()


def test_nobodys_photograph_is_written_over(model, folder, tmp_path, capsys):
    photograph = tmp_path / "mine.png"
    picture(photograph)
    before = photograph.read_bytes()
    for words in (["explain", str(folder / "0.jpg")], ["predict", str(folder)]):
        assert main([*words, "--model", model, "--out", str(photograph)]) == 2
    said = capsys.readouterr().err
    assert (
        "mine.png is there, and emolib explain did not make it" in said
        and "name a file that ends in .csv" in said
    )
    assert photograph.read_bytes() == before
    words = ["explain", str(folder / "0.jpg"), "--model", model, "--out", str(tmp_path / "r.png")]
    assert main(words) == main(words) == 0  # its own overlay is


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    def interrupted(name, *given):
        raise KeyboardInterrupt

    monkeypatch.setattr("emolib.use.load.load", interrupted)
    assert main(["predict", "a.jpg"]) == 130
    assert capsys.readouterr().err == "emolib: interrupted\n"


def test_export_hands_the_loaded_network_on(model, monkeypatch):
    called = []
    there = types.SimpleNamespace(to_onnx=lambda *given: called.append(given))
    monkeypatch.setitem(sys.modules, "emolib.use.export", there)
    assert main(["export", "--model", model, "--onnx", "net.onnx"]) == 0
    ((network, file),) = called
    assert isinstance(network, emolib.Predictor) and str(file) == "net.onnx"


def test_audit_prints_a_column_a_set(root, tmp_path, capsys):
    out = tmp_path / "findings.csv"
    words = ["audit", "--data-root", str(root), "--datasets", " twitter1, ", "--out", str(out)]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "twitter1" in text and "fi" not in text.split("\n")[0].split()
    assert int(text.partition("pictures")[2].split()[0]) == 20
    found = pd.read_csv(out)
    assert (found["finding"] == "smaller than the crop").sum() == 20


@pytest.mark.parametrize(
    "words, message",
    [
        ("predict {tmp}/gone.jpg --model {model}", "gone.jpg: No such file or directory"),
        ("predict {tmp} --model {model}", "a folder without pictures"),
        ("predict {tmp} --model {tmp}/none", "none: there is no such folder"),
        ("predict {tmp} --model {tmp}", "has no spec.json"),
        ("predict {tmp} --model {model} --out {tmp}", "is a folder: name a file"),
        ("explain a.jpg --model {model} --out {tmp}/a.jpg", "a.jpg: name a file that ends in .png"),
        ("explain {tmp}/a.png --model {model} --out {tmp}/a.png", "that is not the picture itself"),
        ("predict {tmp} --model {model} --device tpu9", "device='tpu9' is not there"),
        ("explain {tmp} --model {model} --out o.png", "a folder without pictures"),
        ("tables {tmp}/none", "none: there is no such folder"),
        ("tables {tmp}", "no study with complete runs"),
        ("verify {tmp}/none", "none: there is no such folder"),
        ("report {tmp}", "no study with tables to report on"),
        ("audit --data-root {tmp}", "none of the sets is there"),
        ("audit --data-root {tmp} --datasets fi,fo", "--datasets='fi,fo': 'fo' is none of fi,"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(words, message, model, tmp_path, capsys):
    assert main(words.format(tmp=tmp_path, model=model).split()) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("emolib: ") and message in said


def test_labels_are_not_written_over(model, folder, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n0.jpg,1\n")
    assert main(["predict", str(folder), "--model", model, "--out", str(labels)]) == 2
    assert "is a list of labels: choose another" in capsys.readouterr().err
    assert labels.read_text() == "path,label\n0.jpg,1\n"


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


HEAVY = (
    "torch",
    "timm",
    "pandas",
    "matplotlib",
    "seaborn",
    "IPython",
    "cv2",
    "sklearn",
    "statsmodels",
)


def test_import_and_help_load_nothing_heavy():
    loaded = f"print([m for m in {HEAVY} if m in sys.modules])"
    assert python(f"import sys, emolib; {loaded}") == "[]\n"
    code = f"import sys, emolib.cli\ntry: emolib.cli.main(['predict', '-h'])\nfinally: {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "example: emolib predict" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_a_predictor_and_an_estimator_need_no_plotting():
    code = "import sys, emolib; emolib.load, emolib.EmotionClassifier, emolib.run_all"
    plotting = ("matplotlib", "seaborn", "IPython")
    assert python(f"{code}; print([m for m in {plotting} if m in sys.modules])") == "[]\n"


def test_every_public_name_is_where_type_checkers_are_told():
    stub = ast.parse(Path(emolib.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {name.name: node.module for node in imports for name in node.names}
    assert set(told) == set(emolib.__all__) <= set(dir(emolib))
    for name, module in told.items():
        home = importlib.import_module(f"emolib.{module}" if module else f"emolib.{name}")
        assert getattr(emolib, name) is (getattr(home, name) if module else home)
    assert emolib.study.figures.draw_regions and not hasattr(emolib, "nothing")
