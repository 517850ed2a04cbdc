"""The path of a GPU, on a pretend one (pretend.py): device by device, entry by entry, system by
system, and what is caught when it goes wrong."""

import json
import re
from concurrent.futures import Future

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import Pooled
from pretend import DRIVER, NONE_DETERMINISTIC, Mixed, gpu

import emolib
from emolib import worker
from emolib.base import checkpoints, devices, run_folder
from emolib.data import batches as pipeline
from emolib.network import backbones, folded, resample
from emolib.network.maiafa import MaiAfa
from emolib.network.rivals import priya2020
from emolib.spec import systems
from emolib.training import cost, launch, local, sweep
from emolib.training import loop as training
from emolib.training import run as running
from emolib.training.run import computing
from emolib.training.task import Places

TINY = dict(backbone="test_resnet", width=32, image_size=32, epochs=1, batch_size=12, lr=0.001)
PLAIN = dict(model="test_resnet", backbone=None)  # a timm model as it is: the cheapest


def tiny(dataset="emotionroi", **changes):
    return emolib.RunSpec(dataset, **TINY | {"init": "scratch"} | changes)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setenv("EMOLIB_COMPILE", "off")  # which times each step a dozen times
    monkeypatch.setattr(devices.gc, "collect", lambda: None)  # a second of each sweep's end


def environment(folder):
    return json.loads((folder / "environment.json").read_text())


# Devices ------------------------------------------------------------------------------------


def test_a_gpu_always_has_its_number(monkeypatch):
    with gpu(monkeypatch, 2):
        names = {name: str(devices.pick_device(name)) for name in ("auto", "cuda", "cuda:1")}
        assert names == {"auto": "cuda:0", "cuda": "cuda:0", "cuda:1": "cuda:1"}
        torch.cuda.set_device(1)
        assert str(devices.pick_device("auto")) == str(devices.pick_device("cuda")) == "cuda:1"
        assert devices.every_device("auto") == ["cuda:0", "cuda:1"]
        assert devices.every_device("cuda:1") == ["cuda:1"]
        with pytest.raises(ValueError, match="device='cuda:2' is not there: torch sees 2 GPUs"):
            devices.pick_device("cuda:2")


NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Aug  1 00:00:00 UTC 2024\nGCC 12\n"


@pytest.mark.parametrize(
    "driver, cuda, what",
    [
        (
            "535.104.05",
            "13.2",
            r"driver \(535.104.05\).* CUDA 13.2 needs driver 580 or newer; update",
        ),
        ("580.65.06", None, "it was built without CUDA; install a torch with CUDA"),
        ("999.1", "13.2", "nvidia-smi shows what the driver sees"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_said(tmp_path, monkeypatch, driver, cuda, what):
    (tmp_path / "version").write_text(NVRM.format(driver))
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices.nvidia_driver.cache_clear()
    with pytest.warns(UserWarning, match=f"training on the CPU: .*{what}"):
        assert devices.pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match=f"device='cuda:0' is not there: .*{what}"):
        devices.pick_device("cuda:0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert devices.unusable_gpu() == ""
    devices.nvidia_driver.cache_clear()


def test_tf32_is_in_convolutions_alone_whatever_the_caller_had_set():
    convolutions, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    try:
        convolutions.fp32_precision, products.fp32_precision = "ieee", "tf32"
        with computing(tiny(), torch.device("cpu")):
            assert (convolutions.fp32_precision, products.fp32_precision) == ("tf32", "ieee")
        assert (convolutions.fp32_precision, products.fp32_precision) == ("ieee", "tf32")
    finally:
        convolutions.fp32_precision, products.fp32_precision = before


class Here:
    """The workers of a sweep, in this process; a fresh one forgets what spoilt the last."""

    def __init__(self, broken: dict):
        self.broken, self.started = broken, 0

    def __call__(self, count):
        self.started += 1
        return self

    def submit(self, call, *args):
        done = Future()
        done.set_result(call(*args))
        return done

    def shutdown(self, **_):
        self.broken.clear()


# Entry points -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device, count",
    [
        ("auto", 1),
        ("cuda:1", 2),
        pytest.param("cuda", 1, marks=pytest.mark.slow),
        pytest.param("cuda:0", 1, marks=pytest.mark.slow),
    ],
)
def test_every_door_leads_to_the_gpu_that_was_asked_for(root, tmp_path, monkeypatch, device, count):
    there = "cuda:1" if device == "cuda:1" else "cuda:0"
    file, own = tmp_path / "spec.json", emolib.open_dataset("emotionroi", root)
    file.write_text(json.dumps(tiny(**PLAIN).to_dict()))
    words = [file, "--data-root", root, "--study-folder", tmp_path / "w", "--device", device]
    places = Places(root, tmp_path / "j", device=device)
    monkeypatch.setattr(launch.os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(local, "_workers", Here({}))
    monkeypatch.setattr(local.lifeline, "tie", lambda pid: None)
    cost._measure.cache_clear()
    with gpu(monkeypatch, count) as seen:
        result = emolib.run(tiny(), root, tmp_path, device=device)
        predictor = emolib.load(result.folder, device=device)
        again = predictor.predict(own.paths[:3])
        explained = predictor.explain(own.paths[0])
        worker.main(list(map(str, words)))
        launch.SlurmJob(tiny(**PLAIN), places, 1)()
        estimator = emolib.EmotionClassifier(
            "test_resnet", None, 32, 1, 8, init="scratch", device=device
        )
        answers = estimator.fit(own.paths[:8], [0, 1] * 4).predict_proba(own.paths[:3])
        head = tiny(freeze="backbone", views=2)
        emolib.run(head, root, tmp_path, device=device)
        plan = emolib.estimate([tiny(**PLAIN)], device=device)
        (swept,) = emolib.run_all([tiny(**PLAIN, fold=1)], root, tmp_path, device=device)
    assert set(seen.devices) == {there}
    assert environment(result.folder)["gpu"] == {
        "driver": DRIVER,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "capability": "9.0",
        "fp32_convolutions": "tf32",
        "fp32_products": "ieee",
    }
    assert str(predictor.device) == there and len(again) == 3 and swept.metrics["n"] == 6
    assert 0 < explained.D.min() and answers.shape == (3, 2)
    for study in "wj":
        assert (tmp_path / study / "runs" / tiny(**PLAIN).id / "metrics.json").exists()
    assert (plan["memory_mb"] > 600e6 / 2**20).all() and cost._measure.cache_info().misses == 1


def test_a_network_is_measured_once_whatever_its_gpu_is_called(monkeypatch):
    cost._measure.cache_clear()
    with gpu(monkeypatch):
        found = [cost.measure(tiny(**PLAIN), name) for name in ("auto", "cuda", "cuda:0")]
    assert len(set(found)) == cost._measure.cache_info().misses == 1


def test_a_run_on_the_cpu_says_nothing_of_gpus(root, tmp_path):
    facts = environment(emolib.run(tiny(**PLAIN), root, tmp_path, device="cpu").folder)
    assert "gpu" not in facts and facts["device"] == "cpu"


def test_going_on_on_a_gpu_with_other_threads_is_no_news(tmp_path, monkeypatch, recwarn):
    identity = {"data": {}, "split": "", "weights": ""}
    state = dict.fromkeys(("model", "optimizer", "schedule", "history", "best"))
    with gpu(monkeypatch):
        about = tmp_path, tiny(), identity, devices.pick_device("cuda")
        checkpoints.save_checkpoint(*about, state)
        with devices.threads(2):
            assert checkpoints.load_checkpoint(*about) == state
            assert not recwarn
            monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another")
            with pytest.warns(UserWarning, match="goes on elsewhere .device Pretend GPU → another"):
                checkpoints.load_checkpoint(*about)


# Systems ------------------------------------------------------------------------------------

ABLATIONS = {
    "normal": {},
    "without_mai": dict(mai=False),
    "without_afa": dict(afa=False),
    "without_both": dict(mai=False, afa=False),
}
READINGS = {
    "fused": dict(readings=emolib.Readings(gate="fused")),
    "shuffle": dict(readings=emolib.Readings(attention="shuffle"), width=128),
    "region": dict(afa=False, readings=emolib.Readings(without_afa="region")),
    "softmax": dict(readings=emolib.Readings(psi="softmax")),
    "bf16": dict(precision="bf16"),
    "resized": dict(crop="resized"),
    "files": dict(cache="off"),
    "adamw": dict(optimizer="adamw", freeze_bn=True),
}
RIVALS = {
    name: dict(model=name) | {"pcnn": dict(backbone=None)}.get(name, {})
    for name in systems.RIVALS
    if not systems.system_of(name).fitted and name != "clip_finetune"
}
TOWER = {"clip_finetune": dict(model="clip_finetune", backbone="test_vit", image_size=160)}
TRAINED = ABLATIONS | RIVALS | TOWER | {"timm": PLAIN}
# How often the host waits in an epoch of 24 pictures in two steps, and copies that are not pinned.
# rao2020 looks up which boxes there are, eleven times a step; the others can be captured as graphs.
WAITS = {"rao2020": (23, 8)}
COMPILED = {"rao2020"}  # torchvision compiles roi_align's deterministic gradient: not to be seen


def watched(monkeypatch, seen, exactly) -> list:
    """(waits, pageable copies) of each epoch, filled as they are trained; exactly(epoch): whether
    it takes deterministic algorithms."""
    one_epoch, epochs = training.one_epoch, []

    def counted(network, loader, batches, *args):
        seen.clear()
        with devices.deterministic(exactly(batches.epoch)):
            row = one_epoch(network, loader, batches, *args)
        epochs.append((seen.waits.total(), seen.pageable.total()))
        return row

    monkeypatch.setattr(training, "one_epoch", counted)
    return epochs


@pytest.mark.parametrize(
    "name", [*TRAINED, *(pytest.param(name, marks=pytest.mark.slow) for name in READINGS)]
)
def test_every_system_trains_on_a_gpu_and_lets_it_run_ahead(root, tmp_path, monkeypatch, name):
    """Its first epoch with deterministic algorithms alone, where the pretend GPU sees that; the
    second, when all that is kept is there, is counted."""
    spec = tiny(**(TRAINED | READINGS)[name] | {"epochs": 2})
    with gpu(monkeypatch, 2) as seen:
        epochs = watched(monkeypatch, seen, lambda epoch: epoch == 0 and name not in COMPILED)
        result = emolib.run(spec, root, tmp_path, device="cuda:1")
    assert set(seen.devices) == {"cuda:1"} and len(result.predictions) == 6
    if name != "files":  # its batches come from other processes, pinned by a thread
        assert epochs[1] == WAITS.get(name, (1, 0))


def test_an_hrnets_four_branches_have_a_deterministic_gradient(monkeypatch):
    net = emolib.create_model("wscnet", "hrnet_w18_small")
    with gpu(monkeypatch), devices.deterministic(True):
        images = torch.randn(2, 3, 64, 64, device="cuda")
        backbones.feature_map(net.to("cuda").backbone, images).sum().backward()
    assert all(p.grad is not None for p in net.backbone.parameters())


@pytest.mark.parametrize(
    "sides, size",
    [
        ((7, 7), (1, 1)),
        ((7, 7), (3, 3)),
        ((13, 13), (6, 6)),
        ((56, 28), (7, 7)),
        ((4, 6), (7, 9)),
        ((9, 17), (4, 5)),
    ],
)
def test_a_gpus_average_is_torchs_adaptive_pooling(monkeypatch, sides, size):
    x = torch.randn(2, 3, *sides, dtype=torch.double, requires_grad=True)
    expected = F.adaptive_avg_pool2d(x, size)
    weights = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    with gpu(monkeypatch), devices.deterministic(True):
        ours = resample.average(x.to("cuda"), size)
        (ours * weights.to("cuda")).sum().backward()
        assert torch.allclose(ours.cpu(), expected) and torch.allclose(x.grad.cpu(), gradient)


# The pretend GPU itself -----------------------------------------------------------------------


def test_what_it_refuses_is_on_torchs_own_list():
    said = torch.use_deterministic_algorithms.__doc__
    said = said[said.index("will throw a") :]
    assert all(re.search(rf"`{re.escape(name)}`", said) for name in NONE_DETERMINISTIC)


def one_step(net, device="cuda:0"):
    """One step of a tiny network on the pretend GPU, as the loop takes it."""
    spec = tiny(batch_size=4)
    net = net.to(device).train()
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8).pin_memory()
    labels = torch.arange(4).remainder(2).pin_memory().to(device, non_blocking=True)
    images = pipeline.normalise(images, CFG, torch.device(device))
    return training.step(net, images, labels, OPTIMIZER[0](net, spec), "float32")


CFG = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
OPTIMIZER = [lambda net, spec: torch.optim.SGD(net.parameters(), lr=0.1, fused=True)]


def replaced(where, name, change):
    """A plant: `where.name` with what `change(original)` makes of it."""
    return lambda patch: patch.setattr(where, name, change(getattr(where, name)))


def spoil_loss(change):
    def changed(loss_of):
        def call(*args):
            loss, logits = loss_of(*args)
            change(loss, logits, args[2])
            return loss, logits

        return call

    return replaced(training, "loss_of", changed)


def on_cpu(call):
    return lambda *args, **kwargs: call(*args, **kwargs).cpu()


# What is planted → what is seen of it: an error, or (waits, pageable copies).
PLANTED = {
    "nothing": (lambda patch: None, (0, 0)),
    "a tensor left on the CPU": (
        replaced(folded, "eca_gate", lambda gate: lambda *a: gate(*a) * torch.ones(8)),
        Mixed,
    ),
    "a result brought to the CPU": (replaced(folded, "eca_gate", on_cpu), Mixed),
    "a range without a device": (
        spoil_loss(lambda loss, logits, labels: logits[:, 0] * torch.arange(4)),
        Mixed,
    ),
    "a range without a device, in a backward pass": (
        replaced(folded, "taps", lambda taps: lambda *a: [t.cpu() for t in taps(*a)]),
        Mixed,
    ),
    "a tensor on the first GPU": (
        spoil_loss(lambda loss, logits, labels: logits + torch.ones(4, 2, device="cuda:0")),
        Mixed,
    ),
    "labels on the CPU": (
        replaced(training, "loss_of", lambda f: lambda n, x, y, *a: f(n, x, y.cpu(), *a)),
        Mixed,
    ),
    "a sum kept on the CPU": (
        spoil_loss(lambda loss, logits, labels: torch.zeros(()).add_(loss.detach())),
        Mixed,
    ),
    "NumPy on what is on the GPU": (
        spoil_loss(lambda loss, logits, labels: np.asarray(logits.detach())),
        TypeError,
    ),
    "a GPU without its number": (
        spoil_loss(lambda *_: torch.cuda.set_device(torch.device("cuda"))),
        ValueError,
    ),
    "item() in a step": (spoil_loss(lambda loss, *_: loss.item()), (1, 0)),
    "a question about a number": (spoil_loss(lambda loss, *_: loss > 0 and None), (1, 0)),
    "a mask as index": (spoil_loss(lambda loss, logits, labels: logits[labels > 0]), (1, 0)),
    "a list": (spoil_loss(lambda loss, logits, labels: labels.tolist()), (1, 0)),
    "a copy to the CPU": (spoil_loss(lambda loss, logits, labels: logits.cpu()), (1, 0)),
    "waiting": (spoil_loss(lambda *_: torch.cuda.synchronize()), (1, 0)),
    "numbers made on the GPU": (
        spoil_loss(lambda loss, *_: loss * torch.tensor([1.0, 2.0], device="cuda:1")),
        (0, 1),
    ),
    "a copy that is not pinned": (
        spoil_loss(lambda loss, *_: loss * torch.ones(3).to("cuda:1", non_blocking=True)),
        (0, 1),
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught(monkeypatch, planted):
    plant, expected = PLANTED[planted]
    torch.manual_seed(0)
    with gpu(monkeypatch, 2) as seen:
        one_step(MaiAfa(Pooled(), width=8), "cuda:1")  # fills what is kept
        plant(monkeypatch)
        seen.clear()
        net = MaiAfa(Pooled(), width=8).to("cuda:1")
        seen.clear()
        if isinstance(expected, type):
            with pytest.raises(expected):
                one_step(net, "cuda:1")
        else:
            one_step(net, "cuda:1")
            assert (seen.waits.total(), seen.pageable.total()) == expected


@pytest.mark.parametrize(
    "layer, shape",
    [
        (torch.nn.AdaptiveAvgPool2d(3), (2, 3, 7, 7)),
        (torch.nn.LocalResponseNorm(3), (2, 3, 7, 7)),
        (torch.nn.ReflectionPad2d(1), (2, 3, 7, 7)),
        (torch.nn.Upsample(scale_factor=2, mode="bicubic"), (2, 3, 7, 7)),
    ],
)
def test_a_gradient_that_differs_from_time_to_time_is_refused(monkeypatch, layer, shape):
    with gpu(monkeypatch):
        x = torch.randn(*shape, device="cuda", requires_grad=True)
        layer(x).sum().backward()
        with devices.deterministic(True), pytest.raises(RuntimeError, match="deterministic"):
            layer(x).sum().backward()


def test_a_step_gives_on_the_pretend_gpu_what_it_gives_on_the_cpu(monkeypatch):
    def trained(device):
        torch.manual_seed(0)
        net = MaiAfa(Pooled(), width=8, dropout=0.0)
        return one_step(net, device)[1].cpu(), [p.detach().cpu() for p in net.parameters()]

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    (logits, weights), monkeypatch = trained("cpu"), pytest.MonkeyPatch()
    with gpu(monkeypatch):
        ours, ours_weights = trained("cuda:0")
    assert torch.equal(ours, logits)
    assert all(torch.equal(a, b) for a, b in zip(ours_weights, weights, strict=True))


# A GPU that fails ---------------------------------------------------------------------------


@pytest.fixture
def sweeping(root, tmp_path, monkeypatch):
    """sweep(errors, specs) on a pretend GPU, the trainings left out: errors, {fold: [text of each
    try's error]}. Gives what RunsFailed lists, and the folds in the order in which they were begun.
    What is no error of memory stays with the process."""
    broken, begun = {}, []
    monkeypatch.setattr(sweep, "check_runs", lambda *_: None)
    monkeypatch.setattr(local.lifeline, "tie", lambda pid: None)
    monkeypatch.setattr(cost, "measure", lambda spec, device: cost.Cost(0, 0, 1e9))

    def stuck(*_, **__):
        if broken:
            raise RuntimeError(broken["why"])

    def sweep_it(errors, specs):
        def failing(spec, places, with_weights=False, wait=True):
            if with_weights and not run_folder.is_complete(places.folder(spec)):
                begun.append(spec.fold)
                if errors.get(spec.fold):
                    text = errors[spec.fold].pop(0)
                    if not devices.MEMORY.search(text):
                        broken["why"] = text
                    raise RuntimeError(text)
                folder = places.folder(spec)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "metrics.json").touch()
            return spec

        with gpu(monkeypatch), monkeypatch.context() as patch:
            patch.setattr(local, "_workers", Here(broken))
            patch.setattr(local, "train_run", failing)
            patch.setattr(sweep, "train_run", failing)
            patch.setattr(torch.cuda, "synchronize", stuck)
            patch.setattr(torch.cuda, "empty_cache", stuck)
            try:
                emolib.run_all(specs, root, tmp_path, study="s", device="cuda")
            except sweep.RunsFailed as error:
                return error.failed, begun
        return {}, begun

    return sweep_it


ASSERT = "CUDA error: device-side assert triggered"
FOLDS = [tiny(**PLAIN, fold=fold) for fold in range(3)]


def test_a_run_that_spoils_its_process_is_tried_twice_and_the_others_finish(sweeping):
    failed, begun = sweeping({0: [ASSERT] * 9}, FOLDS)
    assert list(failed) == FOLDS[:1] and failed[FOLDS[0]].endswith(f"RuntimeError: {ASSERT}")
    assert begun.count(0) == 2 and sorted(set(begun)) == [0, 1, 2]


def test_an_error_of_the_gpu_that_passes_costs_no_run(sweeping):
    """Alone on the GPU too: there is a process to be replaced."""
    failed, begun = sweeping({1: ["CUDA error: unspecified launch failure"]}, FOLDS)
    assert not failed and begun.count(1) == 2
    failed, begun = sweeping({3: [ASSERT]}, [tiny(**PLAIN, fold=3)])
    assert not failed and begun.count(3) == 2


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory",  # no room for a context
    ],
)
def test_a_full_gpu_means_fewer_at_once_and_then_no_more(sweeping, capsys, text):
    failed, begun = sweeping({0: [text] * 9, 1: [text]}, FOLDS[:2])
    assert list(failed) == FOLDS[:1] and begun.count(1) == 2 and begun.count(0) == 2
    assert "it does not fit into the memory of cuda:0 on its own" in failed[FOLDS[0]]
    assert "out of memory: 2 runs are tried again, 1 at once" in capsys.readouterr().out


def test_a_run_that_one_gpu_has_no_room_for_goes_to_the_other():
    tried = []

    def attempt(specs, slots):
        """cuda:0 has no room for anything, whoever is on it; slots take the runs in turn."""
        tried.append(slots)
        return [s for i, s in enumerate(specs) if slots[i % len(slots)] == "cuda:0"]

    assert local.fewer_at_once(FOLDS, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"], attempt) == []
    assert tried == [["cuda:0", "cuda:1"] * 2, ["cuda:0", "cuda:1"], ["cuda:0"], ["cuda:1"]]
    assert local.fewer_at_once(FOLDS, ["cuda:0"], attempt) == FOLDS


def test_a_gpu_in_an_error_state_fails_each_run_and_ends_nothing(sweeping, monkeypatch):
    monkeypatch.setattr(Here, "shutdown", lambda self, **_: None)  # fresh ones find it so too
    failed, begun = sweeping({0: [ASSERT]}, FOLDS)
    assert set(failed) == set(FOLDS) and all(ASSERT in why for why in failed.values())
    assert begun == [0]


@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_gpu_that_cannot_be_used_costs_no_run_where_there_is_another(
    tmp_path, monkeypatch, runs, at_once
):
    """Neither a single run, whose one slot is the first GPU, nor all of them, left in one pass."""
    trained = []

    def one_pass(specs, places, slots):
        answers = {}
        for number, spec in enumerate(specs):
            first = at_once or number < max(1, len(specs) // 2)
            device = slots[0] if first or len(slots) == 1 else slots[1]
            if device == "cuda:0":
                answers[spec] = device, f"{local.LEFT}cuda:0: CUDA error: busy or unavailable"
            else:
                answers[spec] = device, ""
                trained.append(spec)
        return answers

    places = Places.of("", tmp_path, "s", "", "cuda")
    monkeypatch.setattr(local, "_side_by_side", one_pass)
    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0", "cuda:1"])
    slots = ["cuda:0", "cuda:1"][:runs]
    assert (
        local.train_all(FOLDS[:runs], places, slots) == {}
        and sorted(trained, key=FOLDS.index) == (FOLDS[:runs])
    )
    monkeypatch.setattr(devices, "every_device", lambda name: ["cuda:0"])
    failed = local.train_all(FOLDS[:runs], places, ["cuda:0"])
    assert set(failed) == set(FOLDS[:runs])  # there is no other: each is named, and it ends


def test_a_gpu_too_full_or_broken_to_be_measured_takes_one_run_at_a_time(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError(ASSERT)

    places = Places.of("", tmp_path, "s", "", "cuda")
    with gpu(monkeypatch):
        monkeypatch.setattr(cost, "measure", lambda spec, device: cost.Cost(0, 0, 1e9))
        assert cost.share_devices(FOLDS, places) == [(FOLDS, ["cuda:0"] * 3)]
        # two, of which one is nearly full: it gets none, or fewer
        free = {"cuda:0": 0.9e9, "cuda:1": 2.5e9}
        with monkeypatch.context() as patch:
            patch.setattr(devices, "every_device", lambda name: list(free))
            patch.setattr(cost, "_free_memory", free.get)
            assert cost.share_devices(FOLDS, places) == [(FOLDS, ["cuda:1"] * 2)]
            assert cost.share_devices(FOLDS[:1], places) == [(FOLDS[:1], ["cuda:1"])]
            free["cuda:0"] = 1.1e9
            assert cost.share_devices(FOLDS, places) == [(FOLDS, ["cuda:1", "cuda:0", "cuda:1"])]
            assert cost.share_devices(FOLDS[:1], places) == [(FOLDS[:1], ["cuda:1"])]
            free.update(dict.fromkeys(free, 0.5e9))
            assert cost.share_devices(FOLDS, places) == [(FOLDS, ["cuda:0"])]
        for where, name in ((cost, "measure"), (torch.cuda, "mem_get_info")):
            with monkeypatch.context() as patch:
                patch.setattr(where, name, fails)
                assert cost.share_devices(FOLDS, places) == [(FOLDS, ["cuda:0"])]


# Checkpoints --------------------------------------------------------------------------------


def test_an_epoch_is_kept_once_enough_time_has_passed_and_at_the_end(root, tmp_path, monkeypatch):
    kept, clock = [], iter(range(0, 1000, 25))
    save = checkpoints.save_checkpoint

    def saved(*args):
        kept.append(args[-1]["history"][-1]["epoch"])
        save(*args)

    monkeypatch.setattr(checkpoints, "save_checkpoint", saved)
    monkeypatch.setattr("emolib.training.run.time.monotonic", lambda: next(clock))
    for seconds, expected in [("60", [3, 5]), ("0", [1, 2, 3, 4, 5]), ("1e9", [5])]:
        kept.clear()
        monkeypatch.setenv("EMOLIB_CHECKPOINT_SECONDS", seconds)
        emolib.run(tiny(**PLAIN, epochs=5), root, tmp_path / seconds, device="cpu")
        assert kept == expected
    monkeypatch.setenv("EMOLIB_CHECKPOINT_SECONDS", "often")
    with pytest.raises(ValueError, match="EMOLIB_CHECKPOINT_SECONDS='often': must be a number of"):
        emolib.run(tiny(**PLAIN), root, tmp_path / "often", device="cpu")


def test_nothing_is_trained_again_after_a_kill_between_training_and_test(
    root, tmp_path, monkeypatch
):
    spec, epochs = tiny(**PLAIN, epochs=3), []
    monkeypatch.setenv("EMOLIB_CHECKPOINT_SECONDS", "60")
    one_epoch = training.one_epoch

    def counted(*args):
        epochs.append(1)
        return one_epoch(*args)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "one_epoch", counted)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running, "answers_for", killed)
        emolib.run(spec, root, tmp_path, device="cpu")
    assert emolib.run(spec, root, tmp_path, device="cpu").metrics["n"] == 6 and len(epochs) == 3


def test_edges_take_their_filters_from_the_networks_buffers():
    net = emolib.create_model("priya2020", "test_resnet")
    assert torch.equal(net.filters, priya2020.EDGES)
    assert not {"mean", "std", "filters"} & set(net.state_dict())
