"""Specs, batches, training and run folders, on small real trees."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from trees import make_twitter, picture

import emolib
from emolib.base import devices
from emolib.network.build import build_network
from emolib.training import loop as training

TINY = dict(backbone="test_resnet", width=32, image_size=32, epochs=2, batch_size=8, lr=0.01)


def tiny(dataset="twitter1", **changes):
    return emolib.RunSpec(dataset, **TINY | {"init": "scratch"} | changes)


def test_defaults_are_table_6():
    fi, small = emolib.RunSpec("fi"), emolib.RunSpec("twitter1")
    for spec in (fi, small):
        assert (spec.batch_size, spec.momentum, spec.weight_decay) == (32, 0.9, 0.001)
        assert (spec.epochs, spec.lr_step, spec.dropout) == (90, 30, 0.5)
    assert (fi.lr, small.lr) == (0.001, 0.0001)
    assert (fi.init, small.init) == ("imagenet", "fi:imagenet")
    assert small.predecessor() == fi


def test_ids_are_readable_unique_and_the_same_in_another_process():
    specs = [
        tiny(),
        tiny(fold=1),
        tiny(seed=1),
        tiny(mai=False),
        tiny(epochs=3),
        tiny(readings=emolib.Readings(gate="fused")),
        tiny("emotionroi"),
    ]
    assert len({s.id for s in specs}) == len(specs)
    assert specs[0].id.startswith("twitter1-maiafa-")
    code = f"import emolib; print(emolib.RunSpec.from_dict({specs[5].to_dict()!r}).id)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == specs[5].id
    assert emolib.RunSpec.from_dict(json.loads(json.dumps(specs[5].to_dict()))) == specs[5]


def test_a_predecessor_is_the_same_network_under_its_own_protocol():
    spec = tiny(init="fi:scratch", mai=False, fold=3, pretrain={"fi.epochs": 7, "fi.lr": 0.5})
    before = spec.predecessor()
    assert (before.dataset, before.init, before.mai, before.fold) == ("fi", "scratch", False, 0)
    assert (before.epochs, before.lr, before.width) == (7, 0.5, 32)
    assert tiny(init="fi").init == "fi:imagenet"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dataset": "flickr"}, "dataset='flickr': must be one of fi, twitter1, emotionroi"),
        ({"crop": "centre"}, "crop='centre': must be one of random, resized"),
        ({"epochs": 0}, "epochs=0: must be above 0"),
        ({"epochs": True}, "epochs=True: must be one of int"),
        ({"lr": "high"}, "lr='high'"),
        ({"init": "flickr:imagenet"}, "'flickr' is none of"),
        ({"init": "twitter1:scratch"}, "cannot be pre-trained on itself"),
        ({"pretrain": {"fi.epochs": 3}}, "has no training on that set"),
        ({"init": "fi:scratch", "pretrain": {"fi.epoch": 3}}, "unknown setting 'epoch'"),
        ({"init": "fi:scratch", "pretrain": {"fi.width": 64}}, "trains the same network"),
        ({"model": "resnet101"}, "is its own backbone"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**{"dataset": "twitter1"} | changes)


def test_the_rate_falls_by_ten_every_third_of_the_epochs(root, tmp_path):
    spec = tiny(epochs=3)
    history = emolib.run(spec, root, tmp_path).history
    assert spec.lr_step == 1
    np.testing.assert_allclose(history["lr"], [0.01, 0.001, 0.0001])


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(root, tmp_path):
    spec = tiny(freeze_bn=True, epochs=1)
    start = build_network(spec).state_dict()
    end = load_file(emolib.run(spec, root, tmp_path).folder / "model.safetensors")
    means = [k for k in end if k.endswith("running_mean")]
    assert means and all(torch.equal(start[k], end[k]) for k in means)
    assert any(not torch.equal(start[k], end[k]) for k in end if ".bn1.weight" in k)


def test_bf16_is_the_backbones_alone_and_moves_predictions_little(root, tmp_path):
    exact, quick = (
        emolib.run(tiny(precision=p, epochs=1), root, tmp_path, device="cpu")
        for p in ("float32", "bf16")
    )
    a, b = exact.predictions["p_positive"], quick.predictions["p_positive"]
    assert not a.equals(b) and np.abs(a - b).max() < 0.05
    weights = load_file(quick.folder / "model.safetensors")
    assert {t.dtype for t in weights.values()} <= {torch.float32, torch.int64}
    net, seen = build_network(tiny()).eval(), {}
    for name, part in (("backbone", net.backbone.conv1), ("head", net.classifier[0])):
        part.register_forward_hook(lambda m, x, out, name=name: seen.update({name: out.dtype}))
    for reference in ("folded", "reference"):
        net.head = reference
        with devices.autocast("bf16", torch.device("cpu")):
            assert net(torch.zeros(1, 3, 32, 32)).dtype == torch.float32
            assert net.regions(torch.zeros(1, 3, 32, 32)).dtype == torch.float32
        assert seen == {"backbone": torch.bfloat16, "head": torch.float32}


def test_head_lr_multiplies_the_rate_of_all_but_the_backbone():
    spec = tiny(head_lr=10)
    net = build_network(spec)
    slow, fast = training.parameter_groups(net, spec)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    assert {id(p) for p in slow["params"]} == {id(p) for p in net.backbone.parameters()}
    assert len(slow["params"]) + len(fast["params"]) == len(list(net.parameters()))


def test_a_run_folder_is_whole_and_its_metrics_follow_from_its_predictions(root, tmp_path):
    result = emolib.run(tiny(), root, tmp_path, study="s")
    folder = tmp_path / "s" / "runs" / tiny().id
    assert result.folder == folder
    assert {p.name for p in folder.iterdir()} == {
        "spec.json",
        "environment.json",
        "history.csv",
        "predictions.csv",
        "model.safetensors",
        "metrics.json",
    }
    frame = result.predictions
    data = emolib.open_dataset("twitter1", root)
    test = data.folds()[0][1]
    assert list(frame["path"]) == [data.names[i] for i in test]
    right = (frame["p_positive"] >= 0.5) == (frame["label"] == 1)
    assert result.metrics["accuracy"] == pytest.approx(100 * right.mean())
    assert result.metrics["recall"] == pytest.approx(100 * right[frame["label"] == 1].mean())
    assert len(result.history) == 2 and result.metrics["n"] == 4
    text = "".join(p.read_text() for p in folder.iterdir() if p.suffix in (".json", ".csv"))
    assert str(root) not in text and str(tmp_path) not in text
    again = emolib.load(folder).predict([root / "twitter1" / name for name in frame["path"]])
    np.testing.assert_allclose(again["p_positive"], frame["p_positive"], atol=1e-5)


def test_a_run_is_the_same_with_and_without_the_cache(root, tmp_path):
    packed, off = (
        emolib.run(tiny(cache=c), root, tmp_path, device="cpu") for c in ("packed", "off")
    )
    assert packed.folder != off.folder
    for name in ("predictions.csv", "model.safetensors"):
        assert (packed.folder / name).read_bytes() == (off.folder / name).read_bytes()


def test_a_complete_run_is_reused_and_another_one_is_refused(root, tmp_path):
    first = emolib.run(tiny(), root, tmp_path)
    stamp = (first.folder / "metrics.json").stat().st_mtime_ns
    second = emolib.run(tiny(), root, tmp_path)
    assert second.reused and (second.folder / "metrics.json").stat().st_mtime_ns == stamp
    other = tmp_path / "other"
    make_twitter(other)
    picture(other / "twitter1/Agg_AMT_Candidates/0_é b.JPG", seed=1, format="JPEG")
    with pytest.raises(ValueError, match="another data fingerprint"):
        emolib.run(tiny(), other, tmp_path)
    spec = first.folder / "spec.json"
    earlier = json.loads(spec.read_text())
    (other / "twitter1/Agg_AMT_Candidates/0_é b.JPG").write_bytes(
        (root / "twitter1/Agg_AMT_Candidates/0_é b.JPG").read_bytes()
    )
    shutil.rmtree(other / "twitter1/ground_truth/three_agrees")  # the public folds: drawn instead
    with pytest.raises(ValueError, match="another split into training and test"):
        emolib.run(tiny(), other, tmp_path)
    del earlier["grouped"]  # a run from before that setting was there
    spec.write_text(json.dumps(earlier))
    assert emolib.run(tiny(), root, tmp_path).reused
    spec.write_text(spec.read_text().replace('"epochs": 2', '"epochs": 4'))
    with pytest.raises(ValueError, match="another setting epochs: 4 there, 2 now"):
        emolib.run(tiny(), root, tmp_path)


def test_an_interrupted_run_goes_on_to_the_same_result(root, tmp_path, monkeypatch):
    spec = tiny(epochs=3)
    whole = emolib.run(spec, root, tmp_path / "whole")
    one_epoch, calls = training.one_epoch, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return one_epoch(*args)

    monkeypatch.setattr(training, "one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emolib.run(spec, root, tmp_path / "killed")
    resumed = emolib.run(spec, root, tmp_path / "killed")
    assert len(calls) == 4  # two epochs, the interrupted one, and that one again
    a, b = (load_file(r.folder / "model.safetensors") for r in (whole, resumed))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert (whole.folder / "predictions.csv").read_bytes() == (
        resumed.folder / "predictions.csv"
    ).read_bytes()
    assert not (resumed.folder / "checkpoint.pt").exists()


def test_a_chain_trains_its_first_stage_and_starts_from_its_chosen_epoch(root, tmp_path):
    spec = tiny(init="fi:scratch", lr=1e-12, weight_decay=0.0)
    result = emolib.run(spec, root, tmp_path)
    before = tmp_path / "demo" / "runs" / spec.predecessor().id
    assert (before / "metrics.json").exists() and "val_accuracy" in (
        before / "history.csv"
    ).read_text()
    a, b = (load_file(f / "model.safetensors") for f in (before, result.folder))
    assert torch.allclose(a["classifier.0.weight"], b["classifier.0.weight"], atol=1e-9)
    (before / "model.safetensors").unlink()
    emolib.run(dataclasses.replace(spec, fold=1), root, tmp_path)
    assert (before / "model.safetensors").exists()  # trained again


def test_fi_keeps_the_epoch_that_its_validation_split_chose(root):
    spec = tiny("fi", epochs=4, lr=0.05)
    data = emolib.open_dataset("fi", root)
    net, states = build_network(spec), []
    validation = data.validation(0)
    train = np.setdiff1d(data.folds()[0][0], validation)
    history = training.train_network(
        net,
        spec,
        training.Material(training.pictures_of(spec, data), train, validation),
        torch.device("cpu"),
        after_epoch=lambda s: states.append({k: v.clone() for k, v in s["model"].items()}),
    )
    best = int(np.argmax([row["val_accuracy"] for row in history]))
    assert all(torch.equal(v, states[best][k]) for k, v in net.state_dict().items())


def test_what_is_wrong_is_said_before_anything_is_trained(root, tmp_path):
    with pytest.raises(ValueError, match="fold=5: twitter1 has folds 0 to 4"):
        emolib.run_all([tiny(), tiny(fold=5)], root, tmp_path)
    with pytest.raises(ValueError, match="device='tpu9'"):
        emolib.run(tiny(), root, tmp_path, device="tpu9")
    lonely = tmp_path / "lonely"
    make_twitter(lonely)
    with pytest.raises(FileNotFoundError, match="needed because twitter1 starts from it"):
        emolib.run(tiny(init="fi:scratch"), lonely, tmp_path)
    broken = lonely / "twitter1/Agg_AMT_Candidates/3_é b.JPG"
    broken.write_bytes(broken.read_bytes()[:400])
    with pytest.raises(ValueError, match="3_é b.JPG: not a readable picture"):
        emolib.run(tiny(), lonely, tmp_path)
    assert not list(tmp_path.glob("**/metrics.json"))


def test_a_loss_that_is_no_number_stops_the_run(root, tmp_path):
    with pytest.raises(FloatingPointError, match="training loss is .* in epoch"):
        emolib.run(tiny(lr=1e30), root, tmp_path)


def test_a_timm_model_is_trained_by_the_same_loop(root, tmp_path):
    options = {k: v for k, v in TINY.items() if k not in ("backbone", "width")}
    spec = emolib.RunSpec("twitter1", model="test_resnet", init="scratch", **options)
    result = emolib.run(spec, root, tmp_path)
    assert spec.method == "test_resnet" and pd.notna(result.metrics["accuracy"])


def test_load_says_what_a_folder_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no spec.json"):
        emolib.load(tmp_path)
