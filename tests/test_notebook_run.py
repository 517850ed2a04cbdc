"""notebooks/run.py: what counts as a notebook that ran, and what the terminal shows meanwhile."""

import json
from pathlib import Path

import nbformat
import pytest
from scripts import script

from emolib.base import progress

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The script, with notebooks of the test's own: {name: its cells}."""
    module = script(ROOT / "notebooks/run.py")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in (progress.TOLD_IN, "JUPYTER_RUNTIME_DIR"):  # the script sets them
        monkeypatch.setenv(name, "")
    return module


def notebook(file: Path, *cells: str) -> None:
    made = [nbformat.v4.new_code_cell(text) for text in cells]
    made[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), file)


def test_a_whole_copy_takes_its_name_and_progress_is_shown(run, tmp_path, capfd):
    told = "from emolib.base import progress\nprogress.tell(runs=3, pictures=9)"
    told += "\nimport time; time.sleep(3)"
    notebook(tmp_path / "one.ipynb", "word = ''", told, "open('said', 'w').write(word)")
    assert run.main(["out", "one", "--", "-r", "word", "2024_01"]) == 0
    assert (tmp_path / "said").read_text() == "2024_01"
    kept = nbformat.read(tmp_path / "out/one.ipynb", nbformat.NO_CONVERT)["metadata"]["papermill"]
    assert not Path(kept["input_path"]).is_absolute()  # it is committed
    assert (tmp_path / "out/one.ipynb").exists() and not list(tmp_path.glob("out/*.part.ipynb"))
    shown = capfd.readouterr()
    assert "[1 of 1] notebooks/one.ipynb" in shown.out and "3 runs to train" in shown.out
    # on its way out a kernel may find its sockets closed and say so: not ours, and now and then
    assert "warning" not in shown.err.lower()  # it warns of TCP at its start


def test_a_notebook_that_leaves_early_has_failed(run, tmp_path, capfd):
    notebook(tmp_path / "early.ipynb", "word = ''", "import sys; sys.exit(0)", "word = 'never'")
    assert run.main(["out", "early", "never", "--"]) == 1
    assert (tmp_path / "out/early.part.ipynb").exists() and not (
        tmp_path / "out/early.ipynb"
    ).exists()
    assert "FAILED: notebooks/early.ipynb" in capfd.readouterr().err


def test_words_count_runs_and_guess_the_time_left(run, tmp_path, monkeypatch):
    watcher = run.Watcher(tmp_path / "told")
    clock = watcher.started
    monkeypatch.setattr(run.time, "monotonic", lambda: clock)
    told = {"run": "twitter1-maiafa", "epochs": 2, "rate": 10.0, "pictures": 600}
    clock += 300  # before the training there is other work
    # one long run and three short ones
    assert watcher.words({"runs": 4, "pictures": 1200 + 3 * 100}) == "4 runs to train"
    clock += 240 + 60  # and so have a frozen backbone's maps
    said = watcher.words(told | {"epoch": 1})
    assert said.startswith("run 1 of 4, epoch 1 of 2, 10 pictures/s, about 2 min left")
    clock += 60
    assert "about 0 min left" in watcher.words(told | {"epoch": 2})
    told["run"] = "emotionroi-maiafa"
    assert watcher.words(told | {"epoch": 1}).startswith("run 2 of 4")
    assert watcher.words({"step": "fi: examine", "number": 3, "total": 9}) == "fi: examine, 3 of 9"


def test_epochs_from_before_a_stop_are_not_ahead(run, tmp_path, monkeypatch):
    watcher = run.Watcher(tmp_path / "told")
    clock = watcher.started
    monkeypatch.setattr(run.time, "monotonic", lambda: clock)
    watcher.words({"runs": 1, "pictures": 10 * 1000})
    clock += 60
    told = {"run": "twitter1-maiafa", "epochs": 10, "rate": 16.7, "pictures": 1000}
    assert "epoch 9 of 10, 17 pictures/s, about 1 min left" in watcher.words(told | {"epoch": 9})
    clock += 60
    assert "about 0 min left" in watcher.words(told | {"epoch": 10})


def test_wrong_words_are_refused(run):
    with pytest.raises(SystemExit, match="-r name value"):
        run.main(["out", "one", "--", "-p", "a", "b"])


def test_facts_are_whole_lines_and_stop_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.TOLD_IN, str(tmp_path / "told"))
    progress.tell(run="ä", epoch=1)
    assert list(progress.bar([1, 2], "numbers")) == [1, 2]
    lines = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert lines == [{"run": "ä", "epoch": 1}, {"step": "numbers", "number": 0, "total": 2}]
    monkeypatch.setenv(progress.TOLD_IN, str(tmp_path / "none" / "told"))
    progress.tell(run="x")
    monkeypatch.delenv(progress.TOLD_IN)
    progress.tell(run="x")
