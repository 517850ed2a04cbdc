"""A wheel and an sdist, from what is tracked, install and answer in an empty folder."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import emolib

ROOT = Path(__file__).parents[1]
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def test_the_version_is_one_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == emolib.__version__ == citation["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {emolib.__version__}\n" in changes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_and_answers_with_its_network(kind, tmp_path):
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    if not files:
        pytest.skip("no repository here that says what is tracked")
    for name in files.splitlines():
        if name.startswith(("emolib/", "models/", "results/leaderboard/")) or "/" not in name:
            (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "src" / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-c", BUILD, f"build_{kind}", tmp_path]
    said = subprocess.run(build, cwd=tmp_path / "src", capture_output=True, text=True, check=True)
    file = tmp_path / said.stdout.split()[-1]
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*pip, "--target", tmp_path / "there", file], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'there')!r}); import emolib, numpy; "
        "print(emolib.__file__); p = emolib.load().predict(numpy.zeros((64, 64, 3), 'uint8')); "
        "print(p['p_positive'][0]); t = emolib.data.splits.tested('twitter1'); "
        "found = emolib.evaluate(t.assign(p_positive=0.7), 'twitter1', name='always'); "
        "print(found.constant['verdict'], len(found.against))"
    )
    (tmp_path / "empty").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "empty", capture_output=True, text=True
    )
    where, said, p, verdict = run.stdout.strip().split("\n")
    assert where.startswith(str(tmp_path / "there")) and "emolib-lite2" in said
    assert 0 < float(p) < 1
    assert verdict.startswith("Not better than a constant answer: +0.0")
    assert int(verdict.split()[-1]) >= 20  # systems of the leaderboard
