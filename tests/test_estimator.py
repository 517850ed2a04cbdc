"""EmotionClassifier keeps scikit-learn's promises and trains by the package's own loop."""

import inspect
import pickle
import shutil
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import cross_val_score
from sklearn.utils import estimator_checks
from trees import make_shapes

import emolib
from emolib.base import devices
from emolib.spec import recipe
from emolib.training import loop

TINY = dict(
    backbone="test_efficientnet",
    image_size=32,
    epochs=2,
    batch_size=8,
    init="scratch",
    freeze="",
    freeze_bn=False,
    lr=0.01,
    head_lr=1.0,
    optimizer="sgd",
    schedule="step",
    weight_decay=1e-3,
    device="cpu",
)
FROZEN = dict(backbone="test_efficientnet", image_size=32, init="scratch", device="cpu")
FROZEN["freeze"] = "backbone"  # by default only where the backbone has been trained


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    make_shapes(root)
    return root


@pytest.fixture(scope="module")
def frame(root):
    frame = pd.read_csv(root / "own/labels.csv")
    words = frame["label"].map({0: "angry", 1: "calm"})
    return pd.DataFrame({"path": str(root / "own") + "/" + frame["path"], "label": words})


@pytest.fixture(scope="module")
def fitted(frame):
    return emolib.EmotionClassifier(**TINY).fit(frame["path"], frame["label"])


@pytest.mark.parametrize("given", [TINY, FROZEN | {"epochs": 5}])
def test_it_trains_as_a_run_does(root, tmp_path, given):
    """On the same pictures, numbered alike, it gives a run's answers, to the digits of its file."""
    (tmp_path / "own").mkdir()
    rows = ["path,label,fold"]
    for i in range(20):
        shutil.copy(root / f"own/{i}.png", tmp_path / f"own/{i:02}.png")
        rows.append(f"{i:02}.png,{i % 2},{int(i < 16)}")
    (tmp_path / "own/labels.csv").write_text("\n".join(rows))
    paths = sorted((tmp_path / "own").glob("*.png"))
    learnt = emolib.EmotionClassifier(**given).fit(paths[:16], [0, 1] * 8)
    run = emolib.run(learnt.spec_, tmp_path, tmp_path / "results", device="cpu")
    assert list(run.predictions["path"]) == [path.name for path in paths[16:]]
    p = learnt.predict_proba(paths[16:])[:, 1]
    rounded = 2e-3 if learnt.spec_.freeze else 0  # a run's test sees float16
    assert np.allclose(p, run.predictions["p_positive"], rtol=1e-5, atol=rounded)
    assert len(set(p)) == 4


def test_by_default_the_head_learns_on_a_frozen_backbone_often_enough(frame):
    learnt = emolib.EmotionClassifier(**FROZEN, epochs=1).fit(frame["path"], frame["label"])
    spec = learnt.spec_
    assert (spec.freeze, spec.optimizer, spec.schedule) == ("backbone", "adamw", "cosine")
    assert [recipe.epochs(n, 32) for n in (3, 20, 200, 1000, 20_000)] == [250, 250, 36, 8, 8]
    usual = emolib.EmotionClassifier()._spec(800)
    assert (usual.backbone, usual.freeze) == (recipe.BACKBONE, "backbone")
    random = emolib.EmotionClassifier(init="scratch")._spec(800)
    assert (random.freeze, random.freeze_bn) == ("", False)
    assert emolib.EmotionClassifier("pcnn", freeze="")._spec(800).backbone is None
    whole = emolib.EmotionClassifier("resnet18")._spec(800)  # it has no head apart from itself
    assert (whole.freeze, whole.lr, whole.freeze_bn) == ("", 1e-4, True)
    with pytest.raises(ValueError, match="model 'ar' learns from more .* freeze='' with"):
        emolib.EmotionClassifier("ar", freeze="backbone")._spec(800)


def test_fit_makes_a_predictor_of_a_file_a_folder_or_lists(root, frame, tmp_path, capsys):
    frame = frame.sort_values("path")
    calm = (frame["label"] == "calm").astype(int)
    whole = emolib.fit(root / "own", **TINY).predict(frame["path"])
    for given in ((root / "own/labels.csv",), (frame["path"], calm)):
        assert emolib.fit(*given, **TINY).predict(frame["path"]).equals(whole)
    for given in (calm == 1, calm.astype(float), calm.map({0: "negative ", 1: "POSITIVE"})):
        assert emolib.fit(frame["path"], given, **TINY).predict(frame["path"]).equals(whole)
    copied = tmp_path / "own"
    shutil.copytree(root / "own", copied)
    first = emolib.open_dataset("own", tmp_path).names[0]
    (copied / "excluded.csv").write_text(f"path,reason\n{first},blurred\n")
    capsys.readouterr()
    mine = emolib.fit(copied, **TINY)
    assert "19 pictures" in (said := capsys.readouterr().out)
    assert "1 left out by excluded.csv" in said and "It learnt 19 pictures" in mine.card
    words = calm.map({0: "negative", 1: "Positive"})
    answers = emolib.fit(map(Path, frame["path"]), words, **FROZEN, epochs=5, lr=0.01)
    assert answers.spec.freeze == "backbone"
    assert list(whole.columns) == ["path", "label", "p_positive"] and len(whole) == 20
    with pytest.raises(ValueError, match=r"labels\[1\] is 'calm': one of 0, negative, 1, positive"):
        emolib.fit(frame["path"], ["positive", "calm"] * 10, **TINY)
    for given in ((root / "own", calm), (list(frame["path"]),)):
        with pytest.raises(
            ValueError, match="a CSV file or a folder without labels, or a list with"
        ):
            emolib.fit(*given, **TINY)
    with pytest.raises(ValueError, match="inconsistent numbers of samples: .20, 3."):
        emolib.fit(frame["path"], [0, 1, 1], **TINY)
    with pytest.raises(ValueError, match="batch_size='32': must be one of int"):
        emolib.EmotionClassifier(batch_size="32").fit(frame["path"], calm)
    with pytest.raises(FileNotFoundError, match="gone.csv: there is no such file; its columns are"):
        emolib.fit(tmp_path / "gone.csv")
    (tmp_path / "mine.csv").write_text("path,label\nnowhere.png,1\n")
    with pytest.raises(ValueError, match="mine.csv line 2 names 'nowhere.png', which is not a pic"):
        emolib.fit(tmp_path / "mine.csv")


def test_answers_have_scikit_learns_shapes(fitted, frame):
    assert list(fitted.classes_) == ["angry", "calm"]
    p = fitted.predict_proba(frame["path"])
    assert p.shape == (20, 2) and p.dtype == np.float64 and np.allclose(p.sum(1), 1)
    answers = fitted.predict(frame["path"])
    assert np.array_equal(answers, np.where(p[:, 1] >= 0.5, "calm", "angry"))
    right = np.mean(answers == frame["label"])
    assert fitted.score(frame["path"], frame["label"]) == right
    for X in (frame[["path"]], frame[["path"]].to_numpy(), list(map(Path, frame["path"]))):
        assert np.array_equal(fitted.predict_proba(X), p)


def test_the_same_fit_gives_the_same_answers_also_after_a_pickle(fitted, frame, tmp_path):
    p = fitted.predict_proba(frame["path"])
    again = clone(fitted).fit(frame["path"], frame["label"])
    assert np.array_equal(again.predict_proba(frame["path"]), p)
    other = clone(fitted).set_params(seed=1).fit(frame["path"], frame["label"])
    assert not np.array_equal(other.predict_proba(frame["path"]), p)
    before = fitted.network_
    joblib.dump(fitted, tmp_path / "c.joblib")
    assert fitted.network_ is before
    for copy in (joblib.load(tmp_path / "c.joblib"), pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(copy.predict_proba(frame["path"]), p)


def test_a_cross_validation_is_three_lines(frame, tmp_path):
    frame.to_csv(tmp_path / "labels.csv", index=False)
    own = pd.read_csv(tmp_path / "labels.csv")
    one_epoch = emolib.EmotionClassifier(**TINY | {"epochs": 1})
    found = cross_val_score(one_epoch, own["path"], own["label"], cv=2, error_score="raise")
    assert found.shape == (2,) and ((found >= 0) & (found <= 1)).all()


def test_a_fitted_rival_works_too(frame):
    probe = emolib.EmotionClassifier(
        "frozen_probe", "resnet10t", image_size=32, init="scratch", device="cpu"
    )
    p = probe.fit(frame["path"], frame["label"]).predict_proba(frame["path"])
    assert p.shape == (20, 2) and len(probe.history_) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X, y: (X, ["calm"] * 20), "y has 1 class .calm.; two are needed at least"),
        (lambda X, y: (X, None), "requires y to be passed"),
        (lambda X, y: (X, np.linspace(0, 1, 20)), "Unknown label type: continuous"),
        (lambda X, y: (X[:19], y), "inconsistent numbers of samples"),
        (lambda X, y: ([], []), "X has shape .0,.; expected n paths of pictures, one at least"),
        (lambda X, y: (np.zeros((20, 3)), y), "X has shape .20, 3.; expected n paths"),
        (lambda X, y: (np.arange(20), y), "X.0. is 0, not the path of a picture"),
        (lambda X, y: ([*X[:19], np.nan], y), "X.19. is nan, not the path"),
        (lambda X, y: ([*X[:19], "gone.png"], y), "X.19.: there is no file gone.png"),
        (lambda X, y: ([*X[:19], __file__], y), "test_estimator.py: not a readable picture"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(frame, change, message):
    X, y = change(list(frame["path"]), list(frame["label"]))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        emolib.EmotionClassifier(**TINY).fit(X, y)
    assert "\n" not in str(caught.value)


def test_none_is_the_default_of_every_setting(frame):
    one = emolib.EmotionClassifier(**TINY | {"device": None, "epochs": 1}, weights=None)
    assert one.fit(frame["path"][:8], frame["label"][:8]).predict(frame["path"][:2]).shape == (2,)


def test_settings_are_refused_at_fit_not_before(frame):
    for setting, message in (
        ({"init": "fi:imagenet"}, "init='fi:imagenet': here 'imagenet' or"),
        ({"epochs": 0}, "epochs=0: must be above 0"),
        ({"backbone": "resnet5"}, "unknown backbone 'resnet5'"),
    ):
        chosen = emolib.EmotionClassifier(**TINY | setting)
        with pytest.raises(ValueError, match=message):
            chosen.fit(frame["path"], frame["label"])
    with pytest.raises(NotFittedError):
        emolib.EmotionClassifier().predict(frame["path"])


# The checks of scikit-learn's that hand no table of numbers to fit: all others give fit an array
# of floats, and paths of pictures are none.
WITHOUT_DATA = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_fit_score_takes_y",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
]


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_scikit_learns_own_checks(name):
    check = getattr(estimator_checks, name)
    if name == "check_fit_score_takes_y":  # what it looks at, without the fit on numbers
        for method in ("fit", "score"):
            names = list(inspect.signature(getattr(emolib.EmotionClassifier, method)).parameters)
            assert names[1:3] == ["X", "y"]
    else:
        check("EmotionClassifier", emolib.EmotionClassifier())


def test_check_estimator_runs_what_applies():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = estimator_checks.check_estimator(emolib.EmotionClassifier())
    assert {r["status"] for r in results} == {"passed"}


def test_a_copy_of_an_unfitted_one_is_unfitted(frame):
    for copied in (pickle.loads(pickle.dumps(emolib.EmotionClassifier())), clone(fresh())):
        with pytest.raises(NotFittedError):
            copied.predict(frame["path"][:1])


def fresh():
    return emolib.EmotionClassifier(**TINY)


def test_one_fit_takes_the_threads_that_torch_has(frame, monkeypatch):
    taken, train = [], loop.train_network

    def watched(*args, **more):
        taken.append(torch.get_num_threads())
        return train(*args, **more)

    monkeypatch.delenv("EMOLIB_THREADS", raising=False)
    monkeypatch.setattr(loop, "train_network", watched)
    for count in (3, 1):
        with devices.threads(count):
            fresh().fit(frame["path"], frame["label"])
    assert taken == [3, 1]
