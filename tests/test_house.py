"""The house: wings in one order, short files, one name for one thing, and names from before it."""

import ast
import gzip
import importlib
import json
import pickle
import re
import subprocess
import sys
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import emolib
from emolib.base import old_names

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emolib"
FILES = sorted(PACKAGE.rglob("*.py"))
WINGS = "spec base data network tables use training study".split()
# Two modules stand as equations in network/maiafa and as blocks for other networks in
# network/blocks; three commands have a main each.
TWICE = {"MAI", "AFA", "main"}


def test_a_wing_imports_no_wing_above_it():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "2 kept, 0 broken" in done.stdout


def test_the_package_has_eight_wings_and_three_doors():
    folders = {f.name for f in PACKAGE.iterdir() if f.is_dir() and (f / "__init__.py").exists()}
    assert folders == set(WINGS)
    doors = {f.name for f in PACKAGE.glob("*.py")}
    assert doors == {"__init__.py", "__main__.py", "cli.py", "worker.py", "gpu_check.py"}


def test_readme_draws_the_wings_that_there_are():
    house = (ROOT / "docs/house.md").read_text("utf-8")
    drawn = re.findall(r"│ +(\w+)/ ", house.partition("\n## ")[0])
    assert sorted(drawn) == sorted(WINGS)


def test_no_file_is_longer_than_350_lines():
    lines = {f.relative_to(ROOT): len(f.read_text("utf-8").splitlines()) for f in FILES}
    assert {f: n for f, n in lines.items() if n > 350} == {}
    assert sum(n > 300 for n in lines.values()) <= 10


def test_each_file_says_first_what_it_does():
    for file in FILES:
        said = ast.get_docstring(ast.parse(file.read_text("utf-8")))
        assert said and said[0] not in " \n", file


def test_each_wing_lists_every_file_of_its_own_in_the_order_to_read():
    for wing in WINGS:
        module = importlib.import_module(f"emolib.{wing}")
        there = {
            f.stem if f.is_file() else f.name
            for f in (PACKAGE / wing).iterdir()
            if f.suffix == ".py" or (f / "__init__.py").exists()
        }
        assert there - {"__init__"} <= set(dir(module)), wing
        for name in there - {"__init__"}:
            assert f"`{name}`" in module.__doc__, f"{wing}/__init__.py says nothing of {name}"


def test_no_two_public_things_have_one_name():
    homes = defaultdict(list)
    for file in FILES:
        for node in ast.parse(file.read_text("utf-8")).body:
            names = []
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            for name in names:
                if not name.startswith("_"):
                    homes[name].append(file.relative_to(ROOT).as_posix())
    assert {n: h for n, h in homes.items() if len(h) > 1 and n not in TWICE} == {}


def test_a_classifier_pickled_before_the_wings_still_answers(tmp_path):
    """Made by emolib 0.1, every weight set to 0.01: 23 kB when packed."""
    packed = (Path(__file__).parent / "data" / "classifier_0.1.pickle.gz").read_bytes()
    classifier = pickle.loads(gzip.decompress(packed))
    assert type(classifier) is emolib.EmotionClassifier
    assert type(classifier.network_) is importlib.import_module("emolib.network.maiafa").MaiAfa
    assert classifier.spec_ == emolib.RunSpec(**classifier.spec_.to_dict())
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "a.png")
    p = classifier.predict_proba([str(tmp_path / "a.png")])
    assert p.shape == (1, 2) and p.sum() == pytest.approx(1)


@pytest.mark.parametrize("old", old_names.OLD)
def test_a_module_under_its_old_name_is_the_same_module(old):
    assert importlib.import_module(old) is importlib.import_module(old_names.OLD[old])


def test_modules_inside_an_old_package_are_no_copies():
    old = importlib.import_module("emolib.rivals.wscnet")
    assert old is importlib.import_module("emolib.network.rivals.wscnet")


@pytest.mark.parametrize("door", ["emolib.cli", "emolib.worker", "emolib.gpu_check"])
def test_commands_are_where_they_were(door, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(door).main(["--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage:")


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_names_only_what_is_there(notebook):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    code = re.sub("^%.*", "", code, flags=re.M)
    known: dict = {}
    for line in re.findall(r"^(?:from emolib[.\w]* import .+|import emolib)$", code, re.M):
        exec(line, known)
    modules = [n for n, value in known.items() if isinstance(value, types.ModuleType)]
    named = {node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)}
    dotted = [name for name in map(ast.unparse, named) if re.fullmatch(r"[\w.]+", name)]
    there = [name for name in dotted if name.partition(".")[0] in modules]
    assert there, notebook
    for name in there:
        eval(name, known)
    for node in named:
        if isinstance(node.value, ast.Name) and node.value.id == "experiment":
            fields = emolib.Study.__dataclass_fields__
            assert node.attr in fields or hasattr(emolib.Study, node.attr), node.attr
