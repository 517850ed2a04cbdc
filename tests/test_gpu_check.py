"""The GPU's check, its checks run on a CPU: the same code at tiny sizes."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from emolib import gpu_check
from emolib.base import checkpoints, devices
from emolib.data.on_device import OnDevice
from emolib.gpu_check import CHECKS, Here, main, run_them
from emolib.network.maiafa import MaiAfa
from emolib.training.gpu_checks import shared

STEP = dict(backbone="resnet10t", image_size=32, batch_size=4)
SYSTEMS = "maiafa resnet18 ar wscnet mcpnet pcnn clip_finetune yao2019 rao2020 priya2020 wu2019"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "PICTURES", 24)
    step = tuple(STEP.items())
    return Here(
        torch.device("cpu"), tmp_path, tmp_path / "results", ("cpu",), "resnet10t", 32, step
    )


@pytest.fixture
def two_networks(monkeypatch):
    """The default one and a rival that looks at emotions, in place of all."""
    monkeypatch.setattr(
        shared,
        "network_specs",
        lambda here: [here.spec(), here.spec(dataset="emotionroi", model="yao2019")],
    )


def failed(check, here):
    """The error of a check that must fail."""
    (row,) = run_them([check], here, here.folder / "one.json")
    assert not row["ok"]
    return row["figures"]["error"]


def test_every_check_is_recorded_also_those_that_fail(here, monkeypatch, capsys):
    file, seen = here.results / "gpu" / "card.json", []

    def good(here):
        return {"ms": 1.5}

    def wrong(here):
        seen.append(json.loads(file.read_text()))
        raise AssertionError(f"{here.folder}/x: 2 is\nnot 3 | 4")

    monkeypatch.setattr(gpu_check, "CHECKS", {"good": good, "wrong": wrong, "last": good})
    rows = run_them(["good", "wrong", "last"], here, file)
    assert [(r["check"], r["ok"]) for r in rows] == [
        ("good", True),
        ("wrong", False),
        ("last", True),
    ]
    assert rows[1]["figures"] == {"error": "AssertionError: …/x: 2 is not 3 | 4"}
    assert [r["check"] for r in seen[0]] == ["good"]  # written after each
    assert json.loads(file.read_text()) == rows and set(rows[0]) == {
        "check",
        "ok",
        "seconds",
        "figures",
    }
    lines = file.with_suffix(".md").read_text().splitlines()
    assert lines[2].startswith("| good | yes |") and lines[2].endswith("| ms 1.5 |")
    assert lines[3].startswith("| wrong | **no** |") and lines[3].endswith(r"not 3 \| 4 |")
    assert "wrong: AssertionError" in capsys.readouterr().out


def test_the_exit_code_is_1_where_a_check_fails_and_names_choose(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some Card 80GB (x)")
    monkeypatch.setattr(gpu_check.devices, "give_back", lambda device: None)
    checks = {"one": lambda here: {}, "two": lambda here: 1 / 0}
    monkeypatch.setattr(gpu_check, "CHECKS", checks)
    assert main(["--results", str(tmp_path)]) == 1
    assert main(["--results", str(tmp_path), "--only", "one"]) == 0
    whole, part = sorted(
        tmp_path.glob("gpu/Some-Card-80GB-x-20??-??-??*.json"), key=lambda path: len(path.name)
    )
    assert [r["check"] for r in json.loads(whole.read_text())] == ["one", "two"]
    assert part.name == f"{whole.stem}-one.json" and part.with_suffix(".md").exists()
    with pytest.raises(SystemExit) as ended:
        main(["--only", "one,three"])
    assert ended.value.code == 2
    assert "'three' is none of one, two" in capsys.readouterr().err


@pytest.mark.parametrize(
    "driver, said",
    [
        ("", "there is no NVIDIA driver"),
        ("470.57.02", "there is an NVIDIA driver (470.57.02), but"),
    ],
)
def test_without_a_gpu_one_line_says_so(tmp_path, monkeypatch, capsys, driver, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "nvidia_driver", lambda: driver)
    assert main(["--results", str(tmp_path / "results")]) == 1
    captured = capsys.readouterr()
    assert said in captured.err and len(captured.err.splitlines()) == 1 and not captured.out
    assert not (tmp_path / "results").exists()


def test_no_benchmark_is_imported():
    code = "import sys, emolib.gpu_check; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "emolib.training.sweep" in imported
    assert not {name for name in imported if name.partition(".")[0] == "benchmarks"}


def test_the_cheap_checks_pass_on_a_cpu(here, two_networks):
    names = ["steps", "input_paths", "host_syncs", "checkpoint"]
    rows = {r["check"]: r for r in run_them(names, here, here.folder / "all.json")}
    assert all(row["ok"] for row in rows.values()), rows
    assert rows["steps"]["figures"] | {"heads_logits": 0, "heads_gradients": 0} == {
        "networks": 2,
        "yao2019_logits": 0,
        "logits": 0,
        "gradients": 0,
        "logits_tf32": 0,
        "heads_logits": 0,
        "heads_gradients": 0,
    }
    assert rows["input_paths"]["figures"]["random_levels"] == 0
    assert rows["checkpoint"]["figures"]["mb"] > 2 * 4.9e6 * 4 / 1e6  # weights and momentum
    assert not list(here.results.iterdir())  # what was written for the timing is gone


def test_every_entry_point_passes_on_a_cpu(here):
    (row,) = run_them(["entry_points"], here, here.folder / "one.json")
    assert row["ok"] and list(row["figures"]) == ["seconds_cpu"], row


@pytest.mark.slow
def test_the_same_bits_are_asked_for_also_after_an_interruption(here, two_networks, monkeypatch):
    (row,) = run_them(["same_bits"], here, here.folder / "one.json")
    assert row["ok"] and row["figures"]["refuse"] == "none", row
    load = checkpoints.load_checkpoint

    def forgetful(*args):
        state = load(*args)
        if state:
            next(iter(state["model"].values()))[:] += 1e-3
        return state

    monkeypatch.setattr(checkpoints, "load_checkpoint", forgetful)
    shutil.rmtree(here.folder / "bits/resumed")
    assert failed("same_bits", here).endswith("other weights than the first run's: resumed")


def test_batches_that_are_cut_otherwise_are_found(here, monkeypatch):
    honest = OnDevice.__iter__

    def brighter(self):
        for images, labels, extras in honest(self):
            yield images ^ 1, labels, extras

    monkeypatch.setattr(OnDevice, "__iter__", brighter)
    assert "random crops differ by 1 of 255" in failed("input_paths", here)


def test_heads_that_differ_are_found(here, monkeypatch):
    folded = MaiAfa._folded
    monkeypatch.setattr(
        MaiAfa,
        "_folded",
        lambda self, B: (folded(self, B)[0] * (1 + 1e-6), folded(self, B)[1]),
    )
    monkeypatch.setattr(shared, "network_specs", lambda here: [])
    assert "the heads differ by" in failed("steps", here)


def test_all_systems_ablations_and_readings_are_stepped(here):
    specs = list(shared.network_specs(here))
    assert {spec.model for spec in specs} == set(SYSTEMS.split())
    names = [shared.called(spec) for spec in specs]
    assert len(set(names)) == len(names)
    assert {"maiafa", "without_mai", "without_afa", "without_both", "maiafa_shuffle"} <= set(names)


def test_an_error_of_torch_s_names_the_network(here, two_networks, monkeypatch):
    def broken(*args):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(shared, "one_step", broken)
    assert failed("steps", here) == "RuntimeError: maiafa: no kernel image"


@pytest.mark.slow
def test_all_checks_but_the_machine_s_pass_on_a_cpu(here):
    rows = run_them([name for name in CHECKS if name != "machine"], here, here.folder / "all.json")
    assert all(row["ok"] for row in rows), rows


@pytest.mark.slow
def test_this_machine_s_gpu(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    command = [sys.executable, "-m", "emolib.gpu_check", "--results", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
