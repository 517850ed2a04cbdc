"""Runs in the Hugging Face layout and the card that comes with them."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

import emolib
from emolib.base import run_folder
from emolib.base.files import write_json
from emolib.data import tasks
from emolib.data.predictions import predictions_of
from emolib.network.build import build_network
from emolib.use import card as card_words
from emolib.use import hub

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, epochs=1, init="scratch")


@pytest.fixture(scope="module")
def study(root, tmp_path_factory):
    """A study with three folds of Twitter I, 3, 2 and 4 of their 4 test pictures right, and a run
    of another setting."""
    folder, data = (
        tmp_path_factory.mktemp("results") / "study",
        emolib.open_dataset("twitter1", root),
    )
    for fold, right, more in ((0, 3, {}), (1, 2, {}), (2, 4, {}), (3, 0, {"lr": 0.5})):
        spec = emolib.RunSpec("twitter1", fold=fold, **TINY, **more)
        _, test = data.folds()[fold]
        p = np.where(np.arange(len(test)) < right, data.labels[test], 1 - data.labels[test])
        run = folder / "runs" / spec.id
        facts = {
            "data": {"name": "twitter1", "fingerprint": "0" * 16, "demo": False},
            "weights": "scratch",
            "trained_on": 16,
        }
        write_json(run / "spec.json", spec.to_dict())
        model = build_network(spec)
        answered = 0.1 + 0.8 * p
        table = predictions_of(data, test, np.stack([1 - answered, answered], axis=1))
        scores = tasks.TASKS["polarity"].scores
        history, cpu = [{"epoch": 1}], torch.device("cpu")
        run_folder.write_run(run, table, scores, history, model, facts, cpu)
    return folder


@pytest.fixture
def run(study):
    return next((study / "runs").glob("*fold0*"))


def test_a_saved_run_comes_back_as_it_was(run, tmp_path):
    folder = hub.save(run, tmp_path / "model")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config == {
        "spec": json.loads((run / "spec.json").read_text()),
        "classes": ["negative", "positive"],
    }
    assert (folder / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    net, images = hub.Network.from_pretrained(folder), torch.randn(2, 3, 32, 64)
    assert not net.training
    trained = emolib.load(run, device="cpu").model
    with torch.no_grad():
        torch.testing.assert_close(net(images), trained(images))
    net.save_pretrained(tmp_path / "again")
    for name in ("config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    tensors = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(t, tensors[k]) for k, t in trained.state_dict().items())


def test_what_is_pushed_is_what_is_saved(run, tmp_path, monkeypatch):
    sent = {}

    class Hub:
        def __init__(self, **_):
            pass

        def create_repo(self, repo_id, **_):
            return type("Made", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **_):
            sent.update({p.name: p.read_bytes() for p in folder_path.iterdir()}, to=repo_id)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    folder = hub.save(run, tmp_path / "model")
    hub.Network.from_pretrained(folder).push_to_hub("me/model")
    assert sent.pop("to") == "me/model" and set(sent) == {p.name for p in folder.iterdir()}
    assert sent["README.md"] == (folder / "README.md").read_bytes()


def wilson(k, n, z=1.959963984540054):
    middle, half = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return [100 * (middle + sign * half) / (n + z * z) for sign in (-1, 1)]


def test_the_card_has_wilson_s_interval_and_the_one_over_all_folds_pictures(run, tmp_path):
    card = (hub.save(run, tmp_path / "model") / "README.md").read_text()
    low, high = wilson(3, 4)
    half = stats.t.ppf(0.975, 11) * 100 * math.sqrt(0.75 * 0.25 / 11)  # 9 of 12 are right
    both = f"75.00 ({low:.1f}–{high:.1f}) | 75.00 ({75 - half:.1f}–{min(100, 75 + half):.1f})"
    assert f"| accuracy | {both} |" in card and "mean of 3 runs" in card
    shutil.copytree(run, tmp_path / "alone")
    alone = (hub.save(tmp_path / "alone", tmp_path / "one") / "README.md").read_text()
    assert f"| accuracy | 75.00 ({low:.1f}–{high:.1f}) |" in alone and "mean of" not in alone


def test_the_card_says_who_labelled_and_on_what(run, tmp_path):
    from huggingface_hub import ModelCard

    folder = hub.save(run, tmp_path / "model")
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "emolib"
    assert {r.metric_type: r.metric_value for r in card.data.eval_results}["accuracy"] == 75
    for said in (
        "Five Amazon Mechanical Turk workers",
        "3 of the five or more agree",
        "16 pictures trained on, 4 tested",
        "## Intended use",
        "## Limits",
    ):
        assert said in card.text
    for of_set in ("emotionroi", "emotion6"):
        assert "mean valence" in card_words._labelled(emolib.RunSpec(of_set, labels="valence"))
        assert "search word" in card_words._labelled(emolib.RunSpec(of_set))
    shutil.copytree(run, tmp_path / "drawn")
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["demo"] = True
    write_json(tmp_path / "drawn" / "environment.json", environment)
    drawn = (hub.save(tmp_path / "drawn", tmp_path / "demo") / "README.md").read_text()
    assert "Nobody: the pictures and their labels were drawn" in drawn and "Turk" not in drawn
    with pytest.warns(UserWarning, match="it learnt drawn pictures"):
        hub.Network.from_pretrained(tmp_path / "demo")


def test_only_what_a_run_wrote_is_saved(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    with open(tmp_path / "run" / "predictions.csv", "a") as file:
        file.write("x.jpg,1,0.9\n")
    with pytest.raises(ValueError, match="predictions.csv is not the file that the run wrote"):
        hub.save(tmp_path / "run", tmp_path / "model")
    (tmp_path / "run" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors: not a complete run"):
        hub.save(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "config, message",
    [
        ("[]", "it has no 'spec'"),
        ("{", "not readable as JSON"),
        ('{"spec": {"dataset": "fi"}}', "classes=None, not"),
        (
            '{"spec": {"dataset": "x"}, "classes": ["negative", "positive"]}',
            "not a RunSpec .dataset=",
        ),
        (
            '{"spec": {"dataset": "fi", "code": 1}, "classes": ["negative", "positive"]}',
            "unknown sett",
        ),
        (
            '{"spec": {"dataset": "fi", "width": 1e9}, "classes": ["negative", "positive"]}',
            "width=",
        ),
    ],
)
def test_a_stranger_s_config_is_checked(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=message) as error:
        hub.Network.from_pretrained(tmp_path)
    assert "config.json" in str(error.value) and "\n" not in str(error.value)


def test_weights_of_another_network_are_named(run, tmp_path):
    folder = hub.save(run, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"spec": config["spec"] | {"width": 64}})
    with pytest.raises(ValueError, match="model.safetensors: not the weights of its config"):
        hub.Network.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        hub.Network.from_pretrained(folder)


def test_a_name_is_a_folder_or_a_repository(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda repo, **how: asked.append((repo, how["revision"])) or "/x",
    )
    assert hub.folder_of(tmp_path) == tmp_path and not asked
    hub.folder_of("me/model"), hub.folder_of("hf-hub:me/model@v1")
    assert asked == [("me/model", None), ("me/model", "v1")]


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere", "no such folder, and it is no Hugging Face name"),
        ("a/b/c", "no such folder, and it is no Hugging Face name"),
        (
            "no/such",
            "no such folder, and the Hugging Face hub does not give it .*Without a network",
        ),
    ],
)
def test_a_name_that_is_neither_says_so(name, message):
    with pytest.raises(FileNotFoundError, match=message):
        hub.folder_of(name)
