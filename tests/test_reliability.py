"""What is lost when things go wrong: nothing, and the error says what to do."""

import contextlib
import functools
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import chaos
import filelock
import nbformat
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from trees import make_twitter, picture

import emolib
from emolib import tables
from emolib.base import checkpoints, files
from emolib.spec.systems import RIVALS, system_of
from emolib.training import loop as training
from emolib.training import sweep

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, epochs=2, batch_size=8, lr=0.01)


def tiny(dataset="twitter1", **changes):
    return emolib.RunSpec(dataset, **TINY | {"init": "scratch"} | changes)


def same_bytes(a, b):
    names = ("spec.json", "predictions.csv", "metrics.json", "model.safetensors")
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


@pytest.fixture
def twitter(tmp_path):
    make_twitter(tmp_path / "data")
    return tmp_path / "data"


def photo(twitter, number=0):
    return twitter / f"twitter1/Agg_AMT_Candidates/{number}_é b.JPG"


@pytest.mark.slow
def test_a_sweep_killed_at_a_random_moment_ends_with_the_same_bytes():
    """The long form: tests/chaos.py."""
    done = subprocess.run(
        [sys.executable, chaos.__file__, "--trials", "1", "--seed", "1", "--folds", "1"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 ended with the same bytes" in done.stdout


def test_the_comparison_after_a_kill_sees_one_other_byte(root, tmp_path):
    for name in "ab":
        emolib.run(tiny(), root, tmp_path / name, study="s", device="cpu")
    a, b = (chaos.contents(tmp_path / name) for name in "ab")
    assert chaos.differences(a, b) == []
    file = tmp_path / "b/s/runs" / tiny().id / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (file.parent / ".history.csv.x1").touch()
    named = chaos.differences(a, chaos.contents(tmp_path / "b"))
    assert [Path(n).name for n in named] == [".history.csv.x1", "model.safetensors"]


def test_a_sweep_goes_on_past_failed_runs_and_lists_them(twitter, tmp_path):
    good, bad, after = tiny(), tiny(lr=1e30), tiny(fold=1)
    with pytest.raises(sweep.RunsFailed, match="1 of 3 runs failed, the others are comp") as caught:
        emolib.run_all([good, bad, after], twitter, tmp_path, study="s", device="cpu")
    assert list(caught.value.failed) == [bad] and bad.id in str(caught.value)
    runs = tmp_path / "s/runs"
    assert (runs / good.id / "metrics.json").exists() and (
        runs / after.id / "metrics.json"
    ).exists()
    trace = (runs / bad.id / "failed.txt").read_text()
    assert "Traceback" in trace and "FloatingPointError" in trace
    with pytest.warns(UserWarning, match=f"not complete: `{bad.id}` .failed: FloatingPointError"):
        tables.build(tmp_path, "s", [good, after, bad])
    page = (tmp_path / "s/table7.md").read_text()
    assert f"`{bad.id}` (failed: FloatingPointError)" in page
    assert "Fewer folds than the set has: twitter1, 2 of 5: `normal`." in page
    with pytest.warns(UserWarning, match="not begun"):
        tables.build(tmp_path, "s", [good, after, tiny(fold=2)])


def test_what_starts_from_a_failed_run_is_not_tried(root, tmp_path):
    specs = [tiny(init="fi:scratch", fold=f, pretrain={"fi.lr": 1e30}) for f in (0, 1)]
    with pytest.raises(sweep.RunsFailed) as caught:
        emolib.run_all(specs, root, tmp_path, device="cpu")
    before = specs[0].predecessor()
    assert caught.value.failed[specs[1]] == f"it starts from {before.id}, which failed"
    assert list(caught.value.failed) == [before, *specs]


def test_a_loss_that_is_no_number_is_located_and_the_last_good_epoch_kept(
    root, tmp_path, monkeypatch
):
    loss_of, calls = training.loss_of, []

    def spoiled(*args):
        calls.append(1)
        loss, logits = loss_of(*args)
        return (loss * float("nan") if len(calls) == 4 else loss), logits

    spec = tiny(epochs=3)  # two steps an epoch
    whole = emolib.run(spec, root, tmp_path / "whole", device="cpu")
    monkeypatch.setattr(training, "loss_of", spoiled)
    with pytest.raises(FloatingPointError, match="no number in epoch 2, step 2 of 2; lower lr"):
        emolib.run(spec, root, tmp_path, device="cpu")
    folder = tmp_path / "demo/runs" / spec.id
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert [row["epoch"] for row in kept["history"]] == [1]
    assert all(t.isfinite().all() for t in kept["model"].values())
    again = emolib.run(spec, root, tmp_path, device="cpu")  # the spoiler has passed
    assert same_bytes(again.folder, whole.folder)
    assert not {p.name for p in folder.iterdir()} & {"checkpoint.pt", "failed.txt", "lock"}


def test_a_picture_that_vanishes_in_mid_epoch_is_named_and_the_run_goes_on_with_it_back(
    twitter, tmp_path, monkeypatch
):
    spec = tiny(cache="off", epochs=3)
    whole = emolib.run(spec, twitter, tmp_path / "whole", device="cpu")
    file, away = photo(twitter, 9), tmp_path / "away.jpg"
    one_epoch = training.one_epoch

    def vanishing(network, loader, batches, *args):
        if batches.epoch == 1:
            file.rename(away)
        return one_epoch(network, loader, batches, *args)

    monkeypatch.setattr(training, "one_epoch", vanishing)
    with pytest.raises(FileNotFoundError, match="9_é b.JPG"):
        emolib.run(spec, twitter, tmp_path, device="cpu")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="names '9_é b.JPG', which is not in"):
        emolib.run(spec, twitter, tmp_path, device="cpu")
    away.rename(file)
    assert same_bytes(emolib.run(spec, twitter, tmp_path, device="cpu").folder, whole.folder)


def test_a_set_that_changes_during_a_run_or_between_two_is_refused(twitter, tmp_path, monkeypatch):
    one_epoch = training.one_epoch

    def changing(network, loader, batches, *args):
        if batches.epoch == 1:
            picture(photo(twitter), seed=77, format="JPEG")
        return one_epoch(network, loader, batches, *args)

    spec, before = tiny(cache="off", epochs=3), photo(twitter).read_bytes()
    whole = emolib.run(spec, twitter, tmp_path / "whole", device="cpu")
    monkeypatch.setattr(training, "one_epoch", changing)
    with pytest.raises(ValueError, match="the set changed while twitter1-.* was trained on it"):
        emolib.run(spec, twitter, tmp_path, device="cpu")
    monkeypatch.undo()
    folder = tmp_path / "demo/runs" / spec.id
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert [row["epoch"] for row in kept["history"]] == [1]  # the last that saw the set as it was
    with pytest.raises(ValueError, match="made with another data fingerprint"):
        emolib.run(spec, twitter, tmp_path, device="cpu")
    photo(twitter).write_bytes(before)
    assert same_bytes(emolib.run(spec, twitter, tmp_path, device="cpu").folder, whole.folder)


def test_a_run_does_not_go_on_from_a_start_that_is_another_now(root, tmp_path, monkeypatch):
    spec = tiny(init="fi:scratch", epochs=3)
    one_epoch = training.one_epoch

    def interrupted(network, loader, batches, optimizer, device, of):
        if of == spec and batches.epoch == 1:
            raise KeyboardInterrupt
        return one_epoch(network, loader, batches, optimizer, device, of)

    monkeypatch.setattr(training, "one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emolib.run(spec, root, tmp_path, device="cpu")
    monkeypatch.undo()
    before = tmp_path / "demo/runs" / spec.predecessor().id / "model.safetensors"
    tensors = load_file(before)
    tensors["classifier.0.bias"] += 1
    save_file(tensors, before)
    with pytest.raises(ValueError, match="made with another start: weights"):
        emolib.run(spec, root, tmp_path, device="cpu")


@pytest.mark.parametrize(
    "lr, what",
    [
        (1e39, "a weight is no number after epoch 1; lower lr"),
        (1e30, "the answer for a test picture is no number; lower lr"),
    ],
)
def test_weights_that_the_last_step_spoils_stop_the_run(root, tmp_path, lr, what):
    with pytest.raises(FloatingPointError, match=what):
        emolib.run(tiny(epochs=1, batch_size=64, lr=lr), root, tmp_path, device="cpu")
    assert not list(tmp_path.rglob("metrics.json"))


def test_going_on_with_other_threads_is_said(root, tmp_path, monkeypatch):
    spec, one_epoch = tiny(epochs=2), training.one_epoch

    def interrupted(network, loader, batches, *args):
        if batches.epoch == 1:
            raise KeyboardInterrupt
        return one_epoch(network, loader, batches, *args)

    monkeypatch.setattr(training, "one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emolib.run(spec, root, tmp_path, device="cpu")
    monkeypatch.undo()
    monkeypatch.setenv("EMOLIB_THREADS", "2")
    with pytest.warns(UserWarning, match="goes on elsewhere .threads 1 → 2"):
        emolib.run(spec, root, tmp_path, device="cpu")


def test_a_write_that_the_kernel_cuts_short_leaves_the_old_file(tmp_path):
    file = tmp_path / "table.csv"
    files.write_text(file, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large; raise the limit.*table.csv"):
            files.write_text(file, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_an_unreadable_picture_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(ValueError, match="a.jpg: not a readable picture"):
        with files.whole_file(tmp_path / "pack"):
            try:
                raise PermissionError(13, "Permission denied", "a.jpg")
            except PermissionError as error:
                raise ValueError("a.jpg: not a readable picture (Permission denied)") from error


def test_the_list_of_failed_runs_travels_between_processes_and_adds_up(tmp_path):
    one = sweep.RunsFailed({tiny(): "why"}, 3, tmp_path)
    other = sweep.RunsFailed({tiny(fold=1): "because"}, 2, tmp_path)
    both = pickle.loads(pickle.dumps(sweep.RunsFailed.of([one, other])))
    assert both.failed == one.failed | other.failed and "2 of 5 runs failed" in str(both)


def tmpfs(folder: Path, size: int):
    """A disk of its own of so many bytes, where this machine lets us make one."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk takes Linux and root")


def test_a_disk_that_is_full_at_each_write_in_turn_costs_nothing(root, tmp_path, monkeypatch):
    whole = emolib.run(tiny(), root, tmp_path, device="cpu").folder
    disk, make = tmp_path / "disk", files.tempfile.mkstemp
    tmpfs(disk, 24 << 20)
    names = [
        "spec.json",
        "checkpoint.pt",
        "model.safetensors",
        "history.csv",
        "predictions.csv",
        "environment.json",
        "metrics.json",
    ]

    def full_then(prefix, dir):
        """Another program fills the disk just as the file is begun."""
        made = make(prefix=prefix, dir=dir)
        if names and prefix == f".{names[0]}.":
            with contextlib.suppress(OSError), open(disk / "other", "wb", buffering=0) as other:
                while other.write(bytes(1 << 16)):
                    pass
        return made

    monkeypatch.setattr(files.tempfile, "mkstemp", full_then)
    try:
        while names:
            with pytest.raises(OSError, match="No space left on device; make room") as caught:
                emolib.run(tiny(), root, disk, device="cpu")
            assert Path(caught.value.filename).name == names.pop(0)
            assert not list(disk.rglob("metrics.json"))
            (disk / "other").unlink()
        full = emolib.run(tiny(), root, disk, device="cpu").folder
        assert same_bytes(full, whole) and {p.name for p in full.iterdir()} == {
            p.name for p in whole.iterdir()
        }
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_results_folder_that_cannot_be_written_is_named(root, tmp_path):
    folder = tmp_path / "results"
    if os.geteuid():
        folder.mkdir(mode=0o500)
    else:  # root writes everywhere but on a disk mounted read-only
        tmpfs(folder, 1 << 20)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        with pytest.raises(OSError, match="(Read-only file system|Permission denied).*results"):
            emolib.run(tiny(), root, folder, device="cpu")
    finally:
        if not os.geteuid():
            subprocess.run(["umount", str(folder)], check=True)


def test_what_another_process_trains_comes_last_and_is_then_waited_for(root, tmp_path):
    first, second = tiny(), tiny(fold=1)
    runs, order = tmp_path / "s/runs", []
    (runs / first.id).mkdir(parents=True)
    lock = filelock.FileLock(runs / first.id / "lock", thread_local=False)
    lock.acquire()

    def let_go():
        while not (runs / second.id / "metrics.json").exists():
            time.sleep(0.05)
        order.append((runs / first.id / "metrics.json").exists())
        lock.release()

    threading.Thread(target=let_go).start()
    results = emolib.run_all([first, second], root, tmp_path, study="s", device="cpu")
    assert order == [False] and [r.metrics["n"] for r in results] == [4, 4]


SCRIPT = """
import sys, joblib, emolib, torch
joblib.cpu_count = lambda: 2
torch.set_num_threads(1)
values, root, results, executor = eval(sys.argv[1]), *sys.argv[2:]
specs = [emolib.RunSpec("twitter1", fold=f, **values) for f in range(2)]
emolib.run_all(specs, root, results, study="s", device="cpu", executor=executor)
"""


@pytest.mark.parametrize("executor", ["local", pytest.param("torchrun:2", marks=pytest.mark.slow)])
def test_a_killed_sweep_leaves_no_process_behind(root, tmp_path, executor):
    values = repr(TINY | {"init": "scratch", "epochs": 2000})
    words = [sys.executable, "-c", SCRIPT, values, str(root), str(tmp_path), executor]
    parent = psutil.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    children = []
    try:
        deadline = time.time() + 900
        while not list(tmp_path.glob("s/runs/*/checkpoint.pt")):
            assert parent.poll() is None and time.time() < deadline
            time.sleep(0.1)
        children = parent.children(recursive=True)
        parent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=120)
    finally:
        for process in [parent, *children]:
            if process.is_running():
                process.kill()
    assert len(children) >= 2 and not alive, alive


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (Bomb.target,))


def test_pickles_are_refused_wherever_tensors_are_read(root, tmp_path):
    Bomb.target = str(tmp_path / "exploded")
    folder = emolib.run(tiny(), root, tmp_path, device="cpu").folder
    torch.save({"model": Bomb()}, folder / "checkpoint.pt")
    (folder / "metrics.json").unlink()
    with pytest.raises(ValueError, match="checkpoint.pt: not a checkpoint of emolib's.*remove it"):
        emolib.run(tiny(), root, tmp_path, device="cpu")
    torch.save(Bomb(), folder / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors: not the weights of this folder's"):
        emolib.load(folder, device="cpu")
    torch.save({"conv1.weight": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="w.pth: not a readable weights file"):
        emolib.create_model("resnet10t", pretrained=True, weights=tmp_path / "w.pth")
    with pytest.raises(ValueError, match="w.pth': pretrained=True starts from them"):
        emolib.create_model("resnet10t", weights=tmp_path / "w.pth")
    assert not Path(Bomb.target).exists()


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "spec.json: not a RunSpec"),
        ("{", "spec.json: not readable as JSON"),
        ("[" * 100_000, "spec.json: not readable as JSON"),
        (
            '{"dataset": "../../etc"}',
            "spec.json: not a RunSpec .*dataset='../../etc': must be one of",
        ),
        (
            '{"dataset": "fi", "backbone": "hf-hub:someone/model"}',
            "unknown backbone 'hf-hub:someone",
        ),
        ('{"dataset": "fi", "width": 1000000000}', "width=1000000000: must be at most 8192"),
        ('{"dataset": "fi", "image_size": 1000000}', "image_size=1000000: must be at most 4096"),
        ('{"dataset": "fi", "readings": {"gate": "open"}}', "readings.gate='open': must be one of"),
        ('{"dataset": "fi", "readings": {"x": 1}}', "spec.json: not a RunSpec"),
        ('{"dataset": "fi", "pretrain": 5}', "spec.json: not a RunSpec"),
        ('{"dataset": "fi", "command": "rm"}', "spec.json: not a RunSpec .unknown settings"),
        (b"\xff\xfe\x00", "spec.json: not readable as JSON"),
    ],
)
def test_a_strangers_spec_is_refused_with_a_reason(tmp_path, text, message):
    (tmp_path / "spec.json").write_bytes(text.encode() if isinstance(text, str) else text)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        emolib.load(tmp_path, device="cpu")


def test_trainings_on_cpus_are_deterministic_unless_told_otherwise(root, tmp_path, monkeypatch):
    seen, one_epoch = [], training.one_epoch

    def watched(*args):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return one_epoch(*args)

    monkeypatch.setattr(training, "one_epoch", watched)
    for wanted in (None, False):
        spec = tiny(epochs=1, deterministic=wanted)
        emolib.run(spec, root, tmp_path, device="cpu")
    assert seen == [True, False] and not torch.are_deterministic_algorithms_enabled()
    assert tiny(deterministic=None).id == tiny().id != tiny(deterministic=False).id


def test_a_checkpoint_has_all_that_a_resumed_run_needs(root, tmp_path):
    spec, data, device = tiny(), emolib.open_dataset("twitter1", root), torch.device("cpu")
    identity = {"data": {"fingerprint": "x"}, "split": "y", "weights": "scratch"}
    keep = functools.partial(checkpoints.save_checkpoint, tmp_path, spec, identity, device)
    net, pictures = emolib.network.build.build_network(spec), training.pictures_of(spec, data)
    train, _ = data.folds()[0]
    training.train_network(net, spec, training.Material(pictures, train), device, after_epoch=keep)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["spec"] == json.loads(json.dumps(spec.to_dict())) and kept["identity"] == identity
    assert kept["machine"]["threads"] == 1 and kept["machine"]["device"] == "cpu"
    assert kept["optimizer"]["state"]
    assert [row["epoch"] for row in kept["history"]] == [1, 2]
    assert all(torch.equal(t, kept["model"][name]) for name, t in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_papermill_leaves_no_process_and_the_next_call_goes_on(root, tmp_path, number):
    """Two trainings side by side in workers of the notebook's kernel."""
    notebook = Path(__file__).parents[1] / "notebooks/03_finetune.ipynb"
    values = dict(
        data_root=root,
        results_root=tmp_path / "r",
        study="s",
        datasets="twitter1",
        networks=0,
        backbone="test_resnet",
        overrides="init=scratch,epochs=30,image_size=32,width=32,batch_size=8,lr=1e-5",
    )
    words = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb")]
    words += ["-k", "python3", "--log-level", "ERROR", "--no-progress-bar"]
    words += [w for key, value in values.items() for w in ("-r", key, str(value))]
    env = os.environ | {"LOKY_MAX_CPU_COUNT": "2", "JUPYTER_PREFER_ENV_PATH": "1"}
    papermill = psutil.Popen(words, cwd=tmp_path, env=env, start_new_session=True)
    while not (done := list(tmp_path.glob("r/s/runs/*/metrics.json"))):
        assert papermill.poll() is None
        time.sleep(0.1)
    children = papermill.children(recursive=True)
    papermill.send_signal(number)
    code = papermill.wait(300)
    _, alive = psutil.wait_procs(children, timeout=120)
    assert len(children) >= 3 and not alive
    assert code == (1 if number == signal.SIGINT else -number)
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert any(cell.get("outputs") for cell in cells) and not cells[-1].get("outputs")
    before = {file: file.stat().st_mtime_ns for file in done}
    again = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert len(list(tmp_path.glob("r/s/runs/*/metrics.json"))) == 5
    assert before == {file: file.stat().st_mtime_ns for file in done}
    assert not list(tmp_path.glob("r/s/runs/*/checkpoint.pt"))


@pytest.mark.slow
@pytest.mark.parametrize("system", [s for s in RIVALS if not s.startswith("clip")])
def test_every_rival_goes_on_to_the_same_bytes(root, tmp_path, monkeypatch, system):
    """After an interruption in the second of four epochs; the fitted ones, from one to the next."""
    backbone = None if system_of(system).backbone is None else "test_resnet"
    settings = dict(epochs=4, image_size=64, batch_size=8, lr=1e-4, init="scratch")
    spec = emolib.RunSpec("emotionroi", model=system, backbone=backbone, **settings)
    whole = emolib.run(spec, root, tmp_path / "whole", device="cpu")
    one_epoch = training.one_epoch

    def interrupted(network, loader, batches, *args):
        if batches.epoch == 1:
            raise KeyboardInterrupt
        return one_epoch(network, loader, batches, *args)

    monkeypatch.setattr(training, "one_epoch", interrupted)
    if not system_of(system).fitted:
        with pytest.raises(KeyboardInterrupt):
            emolib.run(spec, root, tmp_path, device="cpu")
        monkeypatch.undo()
    assert same_bytes(emolib.run(spec, root, tmp_path, device="cpu").folder, whole.folder)
