"""What CONTRIBUTING promises: a set, a rival, a reading, a table are one file and one record each.

Its own blocks are applied to a copy of the package, and a fresh process uses all four.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import emolib

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|diff)\n# (emolib/\S+)\n(.*?)^```", re.M | re.S)
USES_THEM = """
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

import emolib
from emolib.study.readings import what_changes
from emolib.tables.checks.verify import findings

assert Path(emolib.__file__).parents[1] == Path.cwd()
data = Path("data/postcards")
data.mkdir(parents=True)
for k, emotion in enumerate(("awe", "fear")):
    for i in range(10):
        Image.new("RGB", (40, 40), (200 * k, 9 * i, 90)).save(data / f"{emotion}_{i}.jpg")

postcards = emolib.open_dataset("postcards", "data")
assert postcards.labels.tolist() == [1] * 10 + [0] * 10 and len(postcards.folds()) == 5

usual = dict(backbone="test_resnet", image_size=32, width=8, epochs=1, batch_size=8, init="scratch")
specs = [emolib.RunSpec("postcards", fold=fold, **usual) for fold in (0, 1)]
rival = emolib.RunSpec("postcards", model="maxpool", **usual)
assert emolib.RunSpec("postcards", model="maxpool").backbone == "resnet101"
emolib.run_all([*specs, rival], "data", "results", study="s", device="cpu")

assert what_changes(specs[0])["eca=three"] == {"readings.eca": "three"}
assert emolib.RunSpec("twitter1").id == sys.argv[1]
three = dict(backbone="test_resnet", width=512, readings=emolib.Readings(eca="three"))
heads = "folded", "reference"
nets = [emolib.create_model("maiafa", head=head, **three).eval() for head in heads]
nets[1].load_state_dict(nets[0].state_dict())
assert nets[0].mai.eca.conv.kernel_size == (3,)
images = torch.randn(2, 3, 64, 64)
with torch.no_grad():
    torch.testing.assert_close(nets[0](images), nets[1](images), rtol=1e-4, atol=1e-5)

tables = emolib.tables.build("results")["s"]
assert tables["spread"]["method"].tolist() == ["normal"]
assert {"maiafa", "maxpool"} <= set(tables[9].loc[tables[9]["dataset"] == "postcards", "method"])
page = Path("results/s/spread.md").read_text("utf-8")
accuracy = tables[7].query("dataset == 'postcards'")
runs = pd.read_csv("results/s/spread.csv").iloc[0]
assert f"| postcards | normal | {runs['lowest']:.2f} | {runs['highest']:.2f} |" in page
assert runs["lowest"] <= accuracy["mean"].iloc[0] <= runs["highest"]
found = {Path(f.file).name: f.status for f in findings("results")}
assert found["spread.csv"] == found["spread.md"] == found["spread.png"] == "ok", found
"""


def test_a_set_a_rival_a_reading_and_a_table_are_one_file_and_one_record_each(tmp_path):
    shutil.copytree(ROOT / "emolib", tmp_path / "emolib", ignore=shutil.ignore_patterns("__pyc*"))
    blocks = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    for kind, name, text in blocks:
        file = tmp_path / name
        if kind == "python":
            assert not file.exists()
            file.write_text(text)
            continue
        lines = text.splitlines(keepends=True)
        before, after = ("".join(x[1:] for x in lines if x[0] in kept) for kept in (" -", " +"))
        code = file.read_text("utf-8")
        assert code.count(before) == 1, f"{name} has not once:\n{before}"
        file.write_text(code.replace(before, after))
    files = [name for kind, name, _ in blocks if kind == "python"]
    assert len(files) == 3 and len({name for _, name, _ in blocks}) == 3 + 5
    (tmp_path / "use.py").write_text(USES_THEM)
    done = subprocess.run(
        [sys.executable, "use.py", emolib.RunSpec("twitter1").id],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
