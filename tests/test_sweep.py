"""Many runs: side by side, in several processes, on a cluster; and the plan before them."""

import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import filelock
import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from pretend import gpu
from safetensors.torch import load_file

import emolib
from emolib import worker
from emolib.base import devices, parallel
from emolib.data import batches as pipeline
from emolib.network.build import build_network
from emolib.training import compiling, cost, launch, local, plan, sweep
from emolib.training import loop as training
from emolib.training.task import Places

TINY = dict(backbone="test_resnet", width=32, image_size=32, epochs=2, batch_size=8, lr=0.01)


def tiny(dataset="twitter1", **changes):
    return emolib.RunSpec(dataset, **TINY | {"init": "scratch"} | changes)


def weights(result):
    return load_file(result.folder / "model.safetensors")


def test_runs_side_by_side_give_the_very_files_of_runs_one_by_one(root, tmp_path, monkeypatch):
    monkeypatch.setattr(devices.joblib, "cpu_count", lambda: 2)
    # one decodes its files in processes of its own
    specs = [tiny(fold=f, init="fi:scratch") for f in (0, 1)] + [tiny("emotionroi", cache="off")]
    places = Places.of(root, tmp_path, "many", "", "cpu")
    monkeypatch.setenv("EMOLIB_THREADS", "1")
    at_once = [
        slots for s in sweep.stages(specs, places) for _, slots in cost.share_devices(s, places)
    ]
    assert at_once == [["cpu", "cpu"], ["cpu", "cpu"]]
    many = emolib.run_all(specs, root, tmp_path, study="many", device="cpu")
    for one, spec in zip(many, specs, strict=True):
        alone = emolib.run(spec, root, tmp_path, study="alone", device="cpu")
        for name in ("model.safetensors", "predictions.csv", "metrics.json", "spec.json"):
            assert (one.folder / name).read_bytes() == (alone.folder / name).read_bytes()
        threads = [
            json.loads((r.folder / "environment.json").read_text())["threads"] for r in (one, alone)
        ]
        assert threads == [1, 1]


def test_threads_follow_from_the_set_and_the_machine_alone(monkeypatch):
    monkeypatch.delenv("EMOLIB_THREADS")
    for cores, fi, fold in [(1, 1, 1), (2, 2, 1), (8, 8, 2), (64, 64, 16)]:
        monkeypatch.setattr(devices.joblib, "cpu_count", lambda cores=cores: cores)
        assert (devices.cpu_threads("fi"), devices.cpu_threads("twitter1")) == (fi, fold)
        with devices.threads(5):  # what is trained by itself keeps torch's own
            assert devices.cpu_threads() == 5
            assert devices.cpu_threads("fi") == fi
    monkeypatch.setenv("EMOLIB_THREADS", "3")
    assert devices.cpu_threads("fi") == 3
    monkeypatch.setenv("EMOLIB_THREADS", "all")
    with pytest.raises(ValueError, match="EMOLIB_THREADS='all': must be a whole number"):
        devices.cpu_threads("fi")


def test_no_more_runs_at_once_than_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(cost.joblib, "cpu_count", lambda: 8)
    stage, places = [tiny(fold=f) for f in range(5)], Places.of("", tmp_path, "s", "", "cpu")
    need = cost.measure(stage[0], "cpu").memory
    for free, most in [(100 * need, 4), (2.5 * need, 2), (0.5 * need, 1)]:
        monkeypatch.setattr(cost, "_free_memory", lambda device, free=free: free)
        assert [slots for _, slots in cost.share_devices(stage, places)] == [["cpu"] * most]


def test_runs_are_spread_over_all_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(cost, "measure", lambda spec, device: cost.Cost(0, 0, 30))
    monkeypatch.setattr(cost, "_free_memory", lambda device: 70)
    places = Places.of("", tmp_path, "s", "", "auto")
    stage = [tiny(fold=f) for f in range(5)]
    assert cost.share_devices(stage, places) == [(stage, ["cuda:0", "cuda:1"] * 2)]
    assert cost.share_devices(stage[:1], places) == [(stage[:1], ["cuda:0"])]


@pytest.fixture
def failing_gpus(tmp_path, monkeypatch):
    """sweep(count, broken, seconds) of so many runs over two GPUs, in threads for processes, each
    of which finds the broken GPUs unusable, after the first of the seconds; a training takes the
    second. Gives what failed, and (fold, device) of what was trained."""
    monkeypatch.setattr(local, "_workers", ThreadPoolExecutor)
    monkeypatch.setattr(local, "_settings", dict)
    monkeypatch.setattr(local.lifeline, "tie", lambda pid: None)
    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(devices, "give_back", lambda device: None)
    monkeypatch.setattr(cost, "measure", lambda spec, device: cost.Cost(0, 0, 30))
    monkeypatch.setattr(cost, "_free_memory", lambda device: 70)

    def sweep_it(count, broken, seconds=(0, 0)):
        trained = []

        def spoilt(device):
            time.sleep(seconds[0] if device in broken else 0)
            return "CUDA error: busy or unavailable" if device in broken else ""

        def train(spec, places, **_):
            time.sleep(seconds[1])
            trained.append((spec.fold, places.device))

        monkeypatch.setattr(devices, "spoilt", spoilt)
        monkeypatch.setattr(local, "train_run", train)
        places = Places.of("", tmp_path, "s", "", "auto")
        specs = [tiny(fold=fold) for fold in range(count)]
        ((group, slots),) = cost.share_devices(specs, places)
        return local.train_all(group, places, slots), sorted(trained)

    return sweep_it


@pytest.mark.parametrize("broken, other", [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")])
@pytest.mark.parametrize(
    "count, seconds",
    [(5, (0.02, 0.08)), (5, (0, 0.02)), (2, (0, 0)), (2, (0.02, 0.08)), (1, (0, 0))],
)
def test_a_gpu_that_cannot_be_used_costs_no_run_while_another_can(
    failing_gpus, count, seconds, broken, other
):
    failed, trained = failing_gpus(count, [broken], seconds)
    assert not failed and trained == [(fold, other) for fold in range(count)]


@pytest.mark.parametrize("count", [5, 1])
def test_runs_fail_when_no_gpu_can_be_used_and_name_it(failing_gpus, count):
    failed, trained = failing_gpus(count, ["cuda:0", "cuda:1"])
    assert len(failed) == count and not trained
    for why in failed.values():
        assert re.fullmatch(r"left, as the GPU had failed: cuda:[01]: CUDA error: busy or .*", why)


LEFT, SPOILT = local.LEFT + "why", local.SPOILT + "why"


@pytest.mark.parametrize(
    "first, then",
    [
        # Its run's error, not the GPU's: fresh processes use both.
        ([("cuda:0", SPOILT), ("cuda:0", LEFT), ("cuda:1", "")], ["cuda:0", "cuda:1"]),
        # An error may spoil its process for other GPUs too.
        ([("cuda:0", SPOILT), ("cuda:1", LEFT), ("cuda:0", "")], ["cuda:0", "cuda:1"]),
        # A GPU that takes one process at a time.
        ([("cuda:0", ""), ("cuda:0", LEFT), ("cuda:1", "")], ["cuda:0", "cuda:1"]),
        ([("", local.DIED), ("cuda:0", LEFT), ("cuda:1", "")], ["cuda:0", "cuda:1"]),
        ([("cuda:0", LEFT), ("cuda:0", LEFT), ("cuda:1", "")], ["cuda:1"]),
        ([("cuda:0", LEFT), ("cuda:1", local.BUSY), ("cuda:1", "")], ["cuda:1"]),
        ([("cuda:0", LEFT), ("cuda:0", local.BUSY), ("cuda:1", LEFT)], ["cuda:2"]),  # as yet unused
    ],
)
def test_a_gpu_is_left_aside_where_fresh_processes_cannot_use_it(
    tmp_path, monkeypatch, first, then
):
    passes = []

    def side_by_side(todo, places, slots):
        passes.append(slots)
        words = first if len(passes) == 1 else [(slots[0], "")] * len(todo)
        return dict(zip(todo, words, strict=True))

    names = ["cuda:0", "cuda:1"] + ["cuda:2"] * (then == ["cuda:2"])
    monkeypatch.setattr(devices, "every_device", lambda name: names)
    monkeypatch.setattr(local, "_side_by_side", side_by_side)
    specs, places = [tiny(fold=fold) for fold in range(3)], Places.of("", tmp_path, "s", "", "auto")
    assert not local.train_all(specs, places, ["cuda:0", "cuda:1"])
    assert passes == [["cuda:0", "cuda:1"], then]


@pytest.mark.parametrize("word", [local.BUSY, local.DIED])
def test_a_run_left_on_the_only_gpu_ends_no_sweep(tmp_path, monkeypatch, word):
    """Beside a run that another process trains, or whose process was ended: that one goes on."""
    passes = iter([[("cuda:0", LEFT), ("cuda:0", word)], [("cuda:0", "")] * 2])

    def side_by_side(todo, places, slots):
        assert slots == ["cuda:0"] * 2
        return dict(zip(todo, next(passes), strict=False))

    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0"])
    monkeypatch.setattr(local, "_side_by_side", side_by_side)
    places = Places.of("", tmp_path, "s", "", "auto")
    failed = local.train_all([tiny(), tiny(fold=1)], places, ["cuda:0"] * 2)
    assert list(failed.values()) == ([LEFT] if word == local.BUSY else [])


def test_what_does_not_fit_names_the_gpu_it_was_tried_on_last(tmp_path, monkeypatch):
    words = iter([("cuda:0", LEFT), ("cuda:1", local.MEMORY)])
    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(local, "_side_by_side", lambda todo, *_: {todo[0]: next(words)})
    failed = local.train_all([tiny()], Places.of("", tmp_path, "s", "", "auto"), ["cuda:0"])
    assert "the memory of cuda:1 on its own" in failed[tiny()]


def test_a_gpu_that_does_not_tell_its_memory_gets_no_run_while_another_does(tmp_path, monkeypatch):
    def free(device):
        if device == "cuda:0":
            raise RuntimeError("CUDA error: busy or unavailable")
        return 70

    def measure(spec, device):
        assert device == "cuda:1"
        return cost.Cost(0, 0, 30)

    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(cost, "measure", measure)
    monkeypatch.setattr(cost, "_free_memory", free)
    stage, places = [tiny(fold=f) for f in range(5)], Places.of("", tmp_path, "s", "", "auto")
    assert cost.share_devices(stage, places) == [(stage, ["cuda:1"] * 2)]


def test_a_lone_run_is_planned_as_one_at_a_time_however_many_gpus_there_are(monkeypatch):
    monkeypatch.setattr(plan, "measure", lambda spec, device: cost.Cost(1, 1, 30))
    with gpu(monkeypatch, 2):
        found = emolib.estimate([tiny()], device="auto")
    assert found[["at_once", "parallel"]].to_numpy().tolist() == [[1, 1]]


def test_out_of_memory_means_fewer_at_once_and_no_run_is_lost():
    tried = []

    def attempt(specs, slots):
        """More than one on a GPU is too much for the last two runs."""
        tried.append((list(specs), list(slots)))
        return specs[-2:] if len(slots) > 2 else []

    local.fewer_at_once([1, 2, 3, 4, 5], ["cuda:0", "cuda:1"] * 4, attempt)
    assert tried == [
        ([1, 2, 3, 4, 5], ["cuda:0", "cuda:1"] * 4),
        ([4, 5], ["cuda:0", "cuda:1"] * 2),
        ([4, 5], ["cuda:0", "cuda:1"]),
    ]
    alone = local.fewer_at_once([tiny()], ["cuda:0"], lambda specs, slots: specs)
    assert alone == [tiny()]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError(
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_a_run_out_of_memory_is_handed_back_and_other_errors_are_not(monkeypatch, error):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(local, "train_run", fails)
    places = Places.of("", "", "s", "", "cpu")
    assert local._train_here(tiny(), places) == local.MEMORY
    error = RuntimeError("something else")
    assert local._train_here(tiny(), places) == "RuntimeError: something else"


def test_a_real_allocation_that_is_too_large_counts_as_out_of_memory(monkeypatch):
    monkeypatch.setattr(local, "train_run", lambda *a, **k: torch.empty(1 << 50))
    assert local._train_here(tiny(), Places.of("", "", "s", "", "cpu")) == local.MEMORY


@pytest.mark.parametrize("executor", ["cluster", "local:2", "torchrun:x", ""])
def test_an_unknown_executor_is_named(root, tmp_path, executor):
    with pytest.raises(ValueError, match=f"executor='{executor}': one of local, torchrun, slurm"):
        emolib.run_all([tiny()], root, tmp_path, executor=executor)


def test_slurm_where_there_is_none_says_so(root, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="There is no SLURM on this machine"):
        emolib.run_all([tiny()], root, tmp_path, executor="slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RuntimeError, match="needs submitit: pip install submitit"):
        emolib.run_all([tiny()], root, tmp_path, device="cuda", executor="slurm")  # a job's GPU


def test_a_job_on_a_gpu_does_not_ask_for_all_cores(root, tmp_path, monkeypatch):
    asked = []

    class Refused(Exception):
        pass

    class Executor:
        def __init__(self, *args, **kwargs):
            self.update_parameters = lambda **given: asked.append(given["cpus_per_task"])

        def submit_array(self, jobs):
            raise Refused("no partition")

    errors = SimpleNamespace(utils=SimpleNamespace(FailedJobError=Refused))
    fake = SimpleNamespace(AutoExecutor=Executor, core=errors)
    monkeypatch.setitem(sys.modules, "submitit", fake)
    monkeypatch.setenv("EMOLIB_THREADS", "64")
    for name in ("", "SBATCH_GRES", "SBATCH_GPUS_PER_NODE"):
        with monkeypatch.context() as patch:
            if name:
                patch.setenv(name, "gpu:1")
            with pytest.raises(RuntimeError, match="sbatch refuses the jobs: no partition"):
                emolib.run_all([tiny()], root, tmp_path, executor="slurm")
    assert asked == [64, 8, 8]


@pytest.mark.slow
def test_two_processes_train_as_one_does(root, tmp_path):
    """Batch norm (timm's, with its activation) over both halves of a batch, an uneven batch, a
    validation split, a chain; no dropout, whose random masks differ."""
    options = dict(backbone="test_efficientnet", dropout=0.0, batch_size=9, lr=0.001, epochs=1)
    spec = tiny(init="fi:scratch", **options)
    one = emolib.run(spec, root, tmp_path, study="one", device="cpu")
    (two,) = emolib.run_all(
        [spec], root, tmp_path, study="two", device="cpu", executor="torchrun:2"
    )
    before = [tmp_path / s / "runs" / spec.predecessor().id / "history.csv" for s in ("one", "two")]
    columns = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    a, b = (pd.read_csv(file)[columns] for file in before)
    np.testing.assert_allclose(a, b, rtol=1e-4)
    environment = json.loads((two.folder / "environment.json").read_text())
    assert environment["processes"] == 2
    assert two.predictions["path"].tolist() == one.predictions["path"].tolist()
    columns = columns[:2]
    np.testing.assert_allclose(two.history[columns], one.history[columns], rtol=1e-4)
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5, msg=name)
    np.testing.assert_allclose(
        two.predictions["p_positive"], one.predictions["p_positive"], atol=1e-5
    )


def test_a_batch_is_shared_out_whole_and_put_together_again(monkeypatch):
    for size, count in [(1, 5), (2, 5), (3, 7), (4, 3)]:
        ranks = [parallel.Ranks(r, size) for r in range(size)]
        parts = [r.part(list(range(count))) for r in ranks]
        if count >= size:
            assert sorted(sum(parts, [])) == list(range(count))
            assert sum(r.weight(len(p), count) for r, p in zip(ranks, parts, strict=True)) == size
        else:
            assert parts == [list(range(count))] * size
        for rank, part in zip(ranks, parts, strict=True):
            monkeypatch.setattr(
                parallel.dist,
                "all_gather_object",
                lambda out, mine, parts=parts: out.__setitem__(slice(None), parts),
            )
            assert rank.join(part, count) == list(range(count))


@pytest.mark.slow
def test_a_worker_that_the_system_kills_costs_no_run(root, tmp_path, monkeypatch):
    monkeypatch.setattr(devices.joblib, "cpu_count", lambda: 2)
    specs = [tiny(fold=f, epochs=30) for f in range(3)]
    folder = tmp_path / "s/runs" / specs[0].id

    def kill():
        while not (folder / "checkpoint.pt").exists():
            time.sleep(0.05)
        workers = [p for p in psutil.Process().children() if "loky" in " ".join(p.cmdline())]
        workers[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    results = emolib.run_all(specs, root, tmp_path, study="s", device="cpu")
    killer.join()
    assert [r.metrics["n"] for r in results] == [4, 4, 4]


@pytest.mark.slow
def test_a_failed_torchrun_names_the_run_and_the_error(root, tmp_path):
    places = Places.of(root, tmp_path, "s", str(tmp_path / "absent.safetensors"), "cpu")
    why = launch.torchrun(tiny(init="imagenet"), places, 1)
    assert why.startswith("torchrun ended with 1") and "no file" in why


def test_the_worker_trains_a_run_from_a_shell(root, tmp_path):
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"dataset": "twitter1", "init": "scratch", **TINY}))
    words = [file, "--data-root", root, "--study-folder", tmp_path / "s", "--device", "cpu"]
    worker.main(list(map(str, words)))
    assert (tmp_path / "s/runs" / tiny().id / "metrics.json").exists()


def test_a_run_that_another_process_holds_is_waited_for_and_reused(root, tmp_path, monkeypatch):
    spec = tiny()
    elsewhere = emolib.run(spec, root, tmp_path, study="elsewhere").folder
    folder = tmp_path / "s/runs" / spec.id
    folder.mkdir(parents=True)
    held, waited_for = threading.Event(), threading.Event()

    def told(line, *_, **__):
        if "another process is training this run" in str(line):
            waited_for.set()

    def other():
        with filelock.FileLock(folder / "lock"):
            held.set()
            if waited_for.wait(300):
                for file in elsewhere.iterdir():
                    (folder / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr("builtins.print", told)
    threading.Thread(target=other).start()
    held.wait()
    assert emolib.run(spec, root, tmp_path, study="s").reused
    assert waited_for.is_set()


def test_the_plan_counts_what_is_left_and_what_it_starts_from(root, tmp_path):
    specs = [tiny(fold=f, init="fi:scratch") for f in range(3)]
    found = emolib.estimate(specs, root, tmp_path, study="s", device="cpu")
    assert found["dataset"].tolist() == ["fi"] + ["twitter1"] * 3
    assert found["stage"].tolist() == [1, 2, 2, 2]
    data = emolib.open_dataset("twitter1", root)
    assert found["pictures"].tolist()[1:] == [2 * len(data.folds()[0][0])] * 3
    assert (found["seconds"] > 0).all() and (found["memory_mb"] > 0).all()
    emolib.run_all(specs[:1], root, tmp_path, study="s", device="cpu")
    left = emolib.estimate(specs, root, tmp_path, study="s", device="cpu")
    assert left["id"].tolist() == [s.id for s in specs[1:]]
    none = emolib.estimate(specs[:1], root, tmp_path, study="s")
    assert none.empty and plan.total_seconds(none) == 0
    assert len(emolib.estimate([tiny("fi"), tiny()])) == 2  # Table 5's numbers
    assert emolib.estimate([tiny("fi")])["pictures"].item() == 2 * round(0.8 * 21194)


def test_the_whole_time_is_the_stages_rounds_added_up():
    columns = ["stage", "parallel", "seconds"]
    table = pd.DataFrame([(1, 1, 7.0), (2, 2, 3.0), (2, 2, 3.0), (2, 2, 3.0)], columns=columns)
    assert plan.total_seconds(table) == pytest.approx(7 + 2 * 3)


def test_memory_on_a_cpu_is_what_a_whole_batch_keeps_and_four_times_the_weights():
    net = build_network(tiny()).to(memory_format=torch.channels_last).train()
    images = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    kept = cost.kept_for_backward(net, images, torch.arange(8) % 2)
    parameters = sum(p.nbytes for p in net.parameters())
    found = cost.measure(tiny(batch_size=8), "cpu").memory
    assert found == pytest.approx(kept + 4 * parameters, rel=0.1)


def test_a_step_moves_the_weights_by_sgds_rule():
    spec = tiny(momentum=0.5, weight_decay=0.1, lr=0.1)
    net = torch.nn.Linear(4, 2)
    net.get_classifier = lambda: torch.nn.Module()
    optimizer = training.make_optimizer(net, spec)
    x, y = torch.randn(6, 4), torch.arange(6) % 2
    velocity = torch.zeros(2, 4)
    for _ in range(3):
        w, b = net.weight.detach().clone(), net.bias.detach().clone()
        p = torch.softmax(x @ w.T + b, 1)
        gradient = (p - torch.nn.functional.one_hot(y, 2)).T @ x / 6 + 0.1 * w
        velocity = 0.5 * velocity + gradient
        training.step(net, x, y, optimizer, "float32")
        torch.testing.assert_close(net.weight.detach(), w - 0.1 * velocity)


def test_the_sizes_of_the_batches_are_known_beforehand():
    batches = pipeline.Batches(range(19), 6, ranks=parallel.Ranks(1, 2))
    assert batches.sizes == [6, 6, 7] and [len(p) for p in batches] == [3, 3, 3]


@pytest.mark.parametrize("eager, compiled, kept", [(1.0, 0.5, True), (1.0, 0.99, False)])
def test_a_compiled_network_is_kept_where_it_is_quicker(monkeypatch, eager, compiled, kept):
    net, quick = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    images = torch.randn(4, 2)
    times = {net: eager, quick: compiled}
    timed = []

    def seconds(call, device):
        call()
        return times[timed[-1]]

    def one_step(network):
        timed.append(network)
        network(images).sum().backward()

    monkeypatch.setattr(compiling, "_seconds", seconds)
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: quick)
    monkeypatch.setattr(compiling, "_decided", {})
    before = net.running_mean.clone()
    cpu = torch.device("cpu")
    assert not compiling.wanted(cpu)
    monkeypatch.setenv("EMOLIB_COMPILE", "on")
    for _ in range(2):  # the second time nothing is timed
        chosen = compiling.quickest(net, cpu, one_step, 10**6, ("key",))
        assert chosen is (quick if kept else net) and timed == [net, quick]
    assert torch.equal(net.running_mean, before) and net.weight.grad is None
    monkeypatch.setenv("EMOLIB_COMPILE", "perhaps")
    with pytest.raises(ValueError, match="EMOLIB_COMPILE='perhaps': one of auto, on, off"):
        compiling.wanted(cpu)


def test_a_compiler_that_fails_is_no_obstacle(root, tmp_path, monkeypatch):
    def broken(network, dynamic):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(compiling, "_decided", {})
    plain = emolib.run(tiny(epochs=1), root, tmp_path, study="plain", device="cpu")
    monkeypatch.setenv("EMOLIB_COMPILE", "on")
    with pytest.warns(UserWarning, match="torch.compile failed, going on without: no C"):
        tried = emolib.run(tiny(epochs=1), root, tmp_path, study="tried", device="cpu")
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(plain).values(), weights(tried).values(), strict=True)
    )


@pytest.mark.slow
def test_a_compiled_training_ends_where_the_usual_one_does(root, tmp_path, monkeypatch):
    spec = tiny(epochs=2, dropout=0.0)
    usual = emolib.run(spec, root, tmp_path, study="usual", device="cpu")
    monkeypatch.setenv("EMOLIB_COMPILE", "on")
    monkeypatch.setattr(compiling, "GAIN", 0.0)  # whatever the timing says
    monkeypatch.setattr(compiling, "_decided", {})
    compiled = emolib.run(spec, root, tmp_path, study="compiled", device="cpu")
    a, b = weights(usual), weights(compiled)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4, msg=name)


def test_after_a_sweep_side_by_side_joblib_still_works(monkeypatch):
    """scikit-learn's n_jobs, for example, asks for the same processes."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    workers = local._workers(2)
    assert workers.submit(abs, -3).result() == 3
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
    assert local._workers(2).submit(abs, -4).result() == 4
