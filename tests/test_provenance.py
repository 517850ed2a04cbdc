"""`emolib.verify`: what follows from what, and what does not any more."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from trees import picture

import emolib
from emolib import __main__, tables
from emolib.base.files import write_csv
from emolib.data import audit
from emolib.data.manifest import manifest
from emolib.tables import report
from emolib.tables.checks import verify as provenance

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, epochs=2, batch_size=8, lr=0.01)
SPECS = [emolib.RunSpec("twitter1", fold=f, init="fi:scratch", **TINY) for f in range(2)]
BEFORE, FIRST, SECOND = SPECS[0].predecessor().id, SPECS[0].id, SPECS[1].id


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """A results root with one study: a pre-training, two folds that start from it, their tables."""
    results = tmp_path_factory.mktemp("results")
    for spec in SPECS:
        emolib.run(spec, root, results, study="s", device="cpu")
    tables.build(results, "s")
    return results


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_csv(file, row, column, value):
    frame = pd.read_csv(file, dtype=str if row == "text" else None)
    row = 0 if row == "text" else row
    frame.loc[row, column] = value
    frame.to_csv(file, index=False, float_format="%.6g")


def unseal(run):
    """As runs from before checksums were kept, so that the other checks have to notice."""
    values = json.loads((run / "environment.json").read_text())
    del values["files"]
    (run / "environment.json").write_text(json.dumps(values))


def flip(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def redraw(file):
    """A figure of other numbers under the old name."""
    with Image.open(file) as image:
        image.load()
        image.save(file)


def test_what_runs_and_tables_wrote_follows(results, root):
    found = provenance.findings(results, root)
    assert emolib.verify(results, root) == [] and {f.status for f in found} == {"ok"}
    files = {p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file()}
    assert {f.file for f in found} >= files - {f for f in files if "manifests" in f}
    ids = set(pd.read_csv(results / "s/table7.csv")["run_ids"].dropna().str.split(";").sum())
    assert ids == {BEFORE, FIRST, SECOND}


CORRUPTIONS = {
    "a metric": (
        lambda s: edit_json(s / f"runs/{FIRST}/metrics.json", accuracy=99.0),
        f"runs/{FIRST}/metrics.json",
        "accuracy: 99.0 there",
    ),
    "a probability": (
        lambda s: edit_csv(s / f"runs/{FIRST}/predictions.csv", 0, "p_positive", 0.5),
        f"runs/{FIRST}/predictions.csv",
        "is not the file that the run wrote",
    ),
    "a probability of an older run": (
        lambda s: (
            unseal(s / f"runs/{FIRST}"),
            edit_csv(s / f"runs/{FIRST}/predictions.csv", 0, "p_positive", 7),
        ),
        f"runs/{FIRST}/predictions.csv",
        "p_positive that is not between 0 and 1",
    ),
    "a label of an older run": (
        lambda s: (
            unseal(s / f"runs/{FIRST}"),
            edit_csv(s / f"runs/{FIRST}/predictions.csv", 0, "label", 0),
        ),
        f"runs/{FIRST}/metrics.json",
        "from predictions.csv",
    ),
    "a setting": (
        lambda s: (
            unseal(s / f"runs/{FIRST}"),
            edit(s / f"runs/{FIRST}/spec.json", '"seed": 0', '"seed": 1'),
        ),
        f"runs/{FIRST}/spec.json",
        "its run is called",
    ),
    "a forgotten epoch": (
        lambda s: (
            unseal(s / f"runs/{FIRST}"),
            (s / f"runs/{FIRST}/history.csv").write_text(
                "\n".join((s / f"runs/{FIRST}/history.csv").read_text().splitlines()[:-1])
            ),
        ),
        f"runs/{FIRST}/history.csv",
        "spec.json asks for 2",
    ),
    "weights": (
        lambda s: flip(s / f"runs/{FIRST}/model.safetensors"),
        f"runs/{FIRST}/model.safetensors",
        "is not the file that the run wrote",
    ),
    "the start of a run": (
        lambda s: (unseal(s / f"runs/{BEFORE}"), flip(s / f"runs/{BEFORE}/model.safetensors")),
        f"runs/{SECOND}/environment.json",
        "started from other weights",
    ),
    "the data": (
        lambda s: edit_json(
            s / f"runs/{SECOND}/environment.json",
            data={"name": "twitter1", "fingerprint": "0" * 16, "demo": False},
        ),
        f"runs/{SECOND}/environment.json",
        "0000000000000000",
    ),
    "one fold in place of another": (
        lambda s: (
            unseal(s / f"runs/{SECOND}"),
            shutil.copy(s / f"runs/{FIRST}/predictions.csv", s / f"runs/{SECOND}/predictions.csv"),
        ),
        f"runs/{SECOND}/predictions.csv",
        "which is of another fold",
    ),
    "a mean": (
        lambda s: edit_csv(s / "table9.csv", 5, "mean", 91.5),
        "table9.csv",
        "does not follow from its runs",
    ),
    "a published number": (
        lambda s: edit_csv(s / "table7.csv", 0, "published", 50.0),
        "table7.csv",
        "does not follow from its runs",
    ),
    "a run id": (
        lambda s: edit(s / "table7.csv", SECOND, FIRST.replace("fold0", "fold4")),
        "table7.csv",
        "1 of its runs are not here",
    ),
    "a run that is gone": (
        lambda s: shutil.rmtree(s / f"runs/{SECOND}"),
        "table9.csv",
        "1 of its runs are not here",
    ),
    "a page": (
        lambda s: edit(s / "table9.md", "| maiafa |", "| ours |"),
        "table9.md",
        "is not its table's text",
    ),
    "a figure": (lambda s: redraw(s / "table8.png"), "table8.png", "was drawn from another"),
    "a table that its figure does not show": (
        lambda s: edit_csv(s / "table8.csv", 0, "mean", 1.0),
        "table8.png",
        "was drawn from",
    ),
    "the paper": (
        lambda s: edit(s.parent / "published/table7.csv", "normal", "usual"),
        "../published/table7.csv",
        "is not the paper's Table 7",
    ),
    "a file too few": (
        lambda s: (s / f"runs/{FIRST}/history.csv").unlink(),
        f"runs/{FIRST}/history.csv",
        "is missing",
    ),
    "a file too many": (
        lambda s: (s / f"runs/{FIRST}/notes.txt").touch(),
        f"runs/{FIRST}/notes.txt",
        "is no file of a run",
    ),
    "an absolute path": (
        lambda s: edit_json(s / f"runs/{FIRST}/environment.json", where="/home/someone/data"),
        f"runs/{FIRST}/environment.json",
        "holds an absolute path",
    ),
    "a renamed column": (
        lambda s: (
            unseal(s / f"runs/{FIRST}"),
            edit(s / f"runs/{FIRST}/predictions.csv", "path,", "file,"),
        ),
        f"runs/{FIRST}/predictions.csv",
        "has the columns",
    ),
    "a list for a dictionary": (
        lambda s: (s / f"runs/{FIRST}/environment.json").write_text("[]"),
        f"runs/{FIRST}/environment.json",
        "not readable as what it should be",
    ),
    "nothing for the data": (
        lambda s: edit_json(s / f"runs/{FIRST}/environment.json", data=None),
        f"runs/{FIRST}/environment.json",
        "not readable as what it should be",
    ),
    "a text for a number": (
        lambda s: edit_csv(s / "table7.csv", "text", "mean", "much"),
        "table7.csv",
        "not readable as a table",
    ),
    "a column of a table": (
        lambda s: pd.read_csv(s / "table8.csv").drop(columns="runs").to_csv(s / "table8.csv"),
        "table8.csv",
        "without runs",
    ),
    "a table under its page": (
        lambda s: (s / "table9.csv").unlink(),
        "table9.md",
        "there is no table9.csv",
    ),
    "half a write": (
        lambda s: (s / ".table7.csv.ab12cd_3").touch(),
        ".table7.csv.ab12cd_3",
        "was left by a process",
    ),
    "half a file": (
        lambda s: (s / f"runs/{FIRST}/metrics.json").write_text('{"accuracy": 5'),
        f"runs/{FIRST}/metrics.json",
        "not readable as JSON",
    ),
}


@pytest.mark.parametrize("corrupt, file, why", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_each_corruption_is_named(results, corrupt, file, why):
    corrupt(results / "s")
    wrong = emolib.verify(results)
    named = (results / "s" / file).resolve().relative_to(results.resolve()).as_posix()
    assert any(f.file == named and pd.Series(f.why).str.contains(why).item() for f in wrong), wrong


def test_a_copy_of_other_data_is_noticed(results, root, tmp_path):
    other = shutil.copytree(root, tmp_path / "data")
    picture(next((other / "twitter1/Agg_AMT_Candidates").iterdir()), seed=9, format="JPEG")
    wrong = [f for f in emolib.verify(results, other)]
    assert {f.file.split("/")[2] for f in wrong} == {FIRST, SECOND}
    assert all("twitter1 in data_root has the fingerprint" in f.why for f in wrong)


def test_a_page_that_calls_a_run_missing_is_out_of_date_once_it_is_there(results, root):
    third = emolib.RunSpec("twitter1", fold=2, init="fi:scratch", **TINY)
    with pytest.warns(UserWarning, match="not begun"):
        tables.build(results, "s", [*SPECS, SPECS[0].predecessor(), third])
    assert emolib.verify(results) == []
    emolib.run(third, root, results, study="s", device="cpu")
    assert "is not complete; it is now" in str(emolib.verify(results)[0])


def test_tables_without_their_runs_are_unchecked_and_not_called_right(results, made):
    shutil.rmtree(results / "s/runs")
    edit_csv(results / "s/table8.csv", 0, "runs", 4)
    assert [f.why for f in emolib.verify(results) if f.file == "s/table8.csv"] == [
        "has another number of runs than of run ids"
    ]
    shutil.copy(made / "s/table8.csv", results / "s")
    page = (results / "s/table9.md").read_text()
    mean = pd.read_csv(results / "s/table9.csv").dropna(subset="mean")["mean"].iloc[0]
    edit(results / "s/table9.md", f"| {mean:.2f} (", "| 99.99 (")
    assert "has other numbers for maiafa on" in str(emolib.verify(results))
    (results / "s/table9.md").write_text(page)
    found = {f.file: f.status for f in provenance.findings(results)}
    assert found["s/table9.csv"] == found["s/table9.md"] == "unchecked"
    assert found["s/table9.png"] == "ok" and emolib.verify(results) == []


def test_what_others_put_there_is_not_called_wrong(results):
    for name in ("s/.DS_Store", ".gitkeep", f"s/runs/{FIRST}/.DS_Store", "s/mine.csv"):
        (results / name).write_text("x")
    (results / "s/mine.ipynb").write_text('{"cells": [], "metadata": {}}')
    assert emolib.verify(results) == []


def test_other_labels_than_the_sets_are_noticed(results, root):
    for run in (FIRST, SECOND):
        unseal(results / f"s/runs/{run}")
        file = results / f"s/runs/{run}/predictions.csv"
        edit_csv(file, 0, "path", "Agg_AMT_Candidates/none.jpg" + run)
    wrong = emolib.verify(results, root)
    assert [f.why for f in wrong if "predictions" in f.file] == [
        "has other test pictures or labels than the set"
    ] * 2


def test_the_command_counts_and_fails(results, capsys):
    assert __main__.main(["verify", str(results)]) == 0
    assert "0 are wrong" in capsys.readouterr().out
    edit_json(results / f"s/runs/{FIRST}/metrics.json", n=3)
    assert __main__.main(["verify", str(results)]) == 1
    assert f"wrong: s/runs/{FIRST}/metrics.json: n: 3 there, 4" in capsys.readouterr().out


def test_what_is_committed_follows(tmp_path):
    top = Path(__file__).parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "results"], cwd=top, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(top / name, tmp_path / name)
    if not any(listed):
        pytest.skip("no repository here that says what is committed")
    assert emolib.verify(tmp_path / "results") == []


def test_the_report_says_what_was_run_and_what_cannot_be_known_and_is_checked(results):
    assert __main__.main(["report", str(results)]) == 0
    text = (results / "REPORT.md").read_text(encoding="utf-8")
    mean = (
        pd.read_csv(results / "s/table9.csv").query("dataset == 'twitter1'").dropna(subset="mean")
    )
    assert f"Twitter I, accuracy: {mean['mean'].iloc[0]:.2f} (" in text
    assert "Twitter I, 2 runs of the network: backbone test_efficientnet" in text
    assert "Anything on real pictures of EmotionROI: no runs." in text
    assert "The paper's backbone (hrnet_w48)" in text and "one was used" in text
    assert emolib.verify(results) == []
    edit(results / "REPORT.md", "no runs", "fine")
    assert [f.file for f in emolib.verify(results)] == ["REPORT.md"]
    with pytest.raises(FileNotFoundError, match="no study with tables"):
        report.write_report(results / "s/runs")


def test_the_report_tells_once_what_the_papers_own_tests_could_show():
    row = dict(table=7, dataset="twitter1", method="without_mai", metric="accuracy")
    row |= dict(published=-3.17, smallest_paired=1.44, discordance=3.3, smallest=3.8)
    one = pd.DataFrame([row, row | dict(metric="recall", smallest_paired=9)])
    two = pd.DataFrame([row | dict(smallest_paired=2.31, discordance=8.8)])
    two.loc[1] = row | dict(dataset="emotionroi", published=-3.39)
    assert report._own_power([one, two])[-2:] == [
        "| Twitter I | without_mai | -3.17 | 1.4 to 2.3 | 3.3 to 8.8 % | 3.8 |",
        "| EmotionROI | without_mai | -3.39 | 1.4 | 3.3 % | 3.8 |",
    ]
    assert report._own_power([one[one["metric"] == "recall"]]) == report._own_power([]) == []


def status_of(results, *names, data_root=""):
    found = {f.file: f for f in provenance.findings(results, data_root)}
    return {(found[n].status, found[n].why) for n in names}


TABLE9 = ("s/table9.csv", "s/table9.md")


def test_tables_of_runs_whose_start_is_not_here_are_unchecked_and_so_is_the_report(results):
    shutil.rmtree(results / f"s/runs/{BEFORE}")
    tables.build(results, "s", SPECS)
    report.write_report(results)
    why = "2 of its runs started from one that is not known here"
    assert status_of(results, *TABLE9) == {("unchecked", why)}
    ((status, why),) = status_of(results, "REPORT.md")
    assert status == "unchecked" and why.startswith("rests on 1 files") and "table9" in why
    assert emolib.verify(results) == []


def forget(run, *names):
    values = json.loads((run / "environment.json").read_text())
    text = json.dumps({k: v for k, v in values.items() if k not in names})
    (run / "environment.json").write_text(text)


def test_what_rests_on_a_download_that_is_not_known_is_unchecked(results):
    """As of runs from before the download's hash was kept; here without a download."""
    ids = {}
    for spec in (SPECS[0].predecessor(), *SPECS):
        new = replace(spec, init=spec.init.replace("scratch", "imagenet"))
        ids[spec.id] = new.id
    for old, new in ids.items():
        (results / f"s/runs/{old}").rename(results / f"s/runs/{new}")
        run = results / f"s/runs/{new}"
        values = json.loads((run / "environment.json").read_text())
        if start := values.get("started_from"):
            start["run"] = ids[start["run"]]
        del values["files"]["spec.json"]
        values["weights"] = "timm:test_efficientnet"
        (run / "environment.json").write_text(json.dumps(values | {"weights_sha256": "0" * 64}))
        edit(run / "spec.json", "scratch", "imagenet")
    before, own = (
        results / f"s/runs/{ids[BEFORE]}",
        "which download of timm's weights it started from",
    )
    name = before.relative_to(results).as_posix() + "/environment.json"
    tables.build(results, "s")
    assert status_of(results, name, *TABLE9) == {("ok", "")}
    forget(before, "weights_sha256")
    tables.build(results, "s")
    assert status_of(results, name) == {("unchecked", f"does not say {own}")}
    ((status, why),) = status_of(results, *TABLE9)
    assert status == "unchecked"
    assert f"2 of its runs started from one that does not say {own}" in why
    assert "1 of its runs do not say which download of timm's weights they started from" in why


def test_what_rests_on_emotions_that_are_not_known_is_unchecked(root, tmp_path):
    options = {k: v for k, v in TINY.items() if k != "width"} | {"epochs": 1}
    for dataset in ("emotionroi", "twitter1"):
        spec = emolib.RunSpec(dataset, "yao2019", init="scratch", **options)
        run = emolib.run(spec, root, tmp_path, study="s", device="cpu").folder
        name = run.relative_to(tmp_path).as_posix() + "/environment.json"
        tables.build(tmp_path, "s")
        assert status_of(tmp_path, name, *TABLE9) == {("ok", "")}  # Twitter I has none to say
        forget(run, "emotions")
        if dataset == "twitter1":
            assert status_of(tmp_path, name, *TABLE9) == {("ok", "")}
            continue
        said = {
            ("unchecked", "does not say which emotions it learnt"),
            ("unchecked", "1 of its runs do not say which emotions they learnt"),
        }
        assert status_of(tmp_path, name, *TABLE9) == said
        shutil.rmtree(tmp_path / "s")


def test_an_audit_is_held_against_the_pictures(results, root):
    sets = [emolib.open_dataset(name, root) for name in ("twitter1", "fi")]
    found = audit.audit(sets, {one.name: manifest(one) for one in sets}, 32)
    write_csv(results / "s/audit.csv", found)
    tables.build(results, "s")
    ((status, why),) = status_of(results, "s/audit.csv", data_root=root)
    assert status == "unchecked" and "its twins within" in why
    assert emolib.verify(results, root) == []
    first, *others = sets[0].names[:3]
    false = [
        dict.fromkeys(audit.FINDING_COLUMNS, "")
        | {"finding": "near-twin", "dataset": "twitter1", "other_dataset": "twitter1"}
        | {"path": first, "other_path": other}
        for other in others
    ]
    write_csv(results / "s/audit.csv", pd.concat([found, pd.DataFrame(false)]))
    tables.build(results, "s")
    assert emolib.verify(results) == []  # without the pictures nobody knows
    (wrong,) = emolib.verify(results, root)
    assert wrong.file == "s/audit.csv"
    assert "has 2 pairs of twins within twitter1 that its pictures are not" in wrong.why
