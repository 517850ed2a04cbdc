"""The documentation: its examples run as they stand, its pages build without a broken link."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import emolib

ROOT = Path(__file__).parents[1]


def blocks(file: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / file).read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", ["docs/pictures.md", "docs/network.md"])
def test_the_examples_run_as_they_stand(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number + 1}", "exec"), names)
    if page == "docs/pictures.md":
        assert set(names["frame"].columns) == {"path", "label", "p_positive"}
        assert len(names["frame"]) == len(names["data"]) and (tmp_path / "overlay.png").exists()
        assert names["accuracy"].shape == (2,)
    else:
        net, images = names["net"].eval(), names["images"]
        torch.testing.assert_close(names["logits"], net(images))
        torch.testing.assert_close(names["D"], net.regions(images))


@pytest.mark.slow
def test_type_checkers_understand_the_examples_and_find_a_wrong_call(tmp_path):
    pytest.importorskip("mypy")
    code = "\n".join(blocks("docs/pictures.md"))  # the other page's attributes are torch's Module's
    for name, more in (("right", ""), ("wrong", "emolib.RunSpec(dataset=3)\nresult.metrix\n")):
        (tmp_path / f"{name}.py").write_text(f"{code}\n{more}")
    words = ["--follow-imports=silent", "--ignore-missing-imports"]
    done = {
        name: subprocess.run(
            [sys.executable, "-m", "mypy", *words, tmp_path / f"{name}.py"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        for name in ("right", "wrong")
    }
    assert done["right"].returncode == 0, done["right"].stdout
    assert "Found 2 errors" in done["wrong"].stdout, done["wrong"].stdout


def test_pages_build_and_no_link_is_broken(tmp_path):
    pytest.importorskip("mkdocstrings")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "site/api/index.html").read_text("utf-8")
    modules = {n for n in emolib.__all__ if isinstance(getattr(emolib, n), types.ModuleType)}
    for name in set(emolib.__all__) - modules:
        assert f'id="emolib.{name}"' in page, name
