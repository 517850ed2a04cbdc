"""The audit, on manifests written by hand, on a small real tree and on the real Twitter I."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trees import make_fi, make_twitter

import emolib
from emolib.data import audit
from emolib.data.manifest import manifest
from emolib.study import figures
from emolib.training import run as runs

REAL = Path(__file__).parents[1] / "../shared/data"


def frame(hashes, content=None, status=None):
    """A manifest of pictures with these pHashes."""
    n = len(hashes)
    return pd.DataFrame(
        {
            "phash": [f"{h:016x}" for h in hashes],
            "sha256": content or [str(i) for i in range(n)],
            "status": status or ["ok"] * n,
        }
    )


def landscape(path, seed, size=(96, 80), **options):
    """A smooth picture: few low frequencies, which re-encoding leaves alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def test_twins_are_the_pairs_that_a_double_loop_finds(monkeypatch):
    monkeypatch.setattr(audit, "BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = [int(h) for h in rng.integers(0, 2**63, 40)]
    for i in range(0, 40, 4):  # some near ones, at every distance up to 9
        hashes[i + 1] = hashes[i] ^ ((1 << (i // 4)) - 1)
    ours = frame(hashes, status=["truncated" if i == 9 else "ok" for i in range(40)])
    by_hand = {
        (i, j): (hashes[i] ^ hashes[j]).bit_count()
        for i in range(40)
        for j in range(i + 1, 40)
        if (hashes[i] ^ hashes[j]).bit_count() <= 6 and 9 not in (i, j)
    }
    found = audit.twins(ours)
    assert {(p.a, p.b): p.distance for p in found.itertuples()} == by_hand and len(by_hand) >= 6
    across = audit.twins(ours[:20], ours[20:].reset_index(drop=True), near=30)
    for p in across.itertuples():
        assert p.distance == (hashes[p.a] ^ hashes[20 + p.b]).bit_count() <= 30


def test_twins_of_twins_are_one_group():
    chain = [0, 0b111111, 0b111111111111, 2**62 + 2**40 - 1]
    groups = audit.twin_groups(frame(chain))  # 0–1 and 1–2 are six bits apart, 0–2 twelve
    assert groups[0] == groups[1] == groups[2] != groups[3]


@pytest.fixture
def tree(tmp_path):
    """Twitter I, twenty pictures in five folds of four, made to hold one of everything."""
    names = make_twitter(tmp_path)  # picture i: positive where i % 5 < 3, tested in fold i // 4
    folder = tmp_path / "twitter1/Agg_AMT_Candidates"
    for i, name in enumerate(names):
        landscape(folder / name, seed=i, format="JPEG", quality=95)
    (folder / names[1]).write_bytes((folder / names[0]).read_bytes())  # same fold, same label
    (folder / names[19]).write_bytes((folder / names[2]).read_bytes())  # folds 4 and 0, conflict
    Image.open(folder / names[5]).resize((128, 110)).save(  # folds 1 and 2, same label
        folder / names[10], format="JPEG", quality=60
    )
    landscape(folder / names[15], seed=99, size=(40, 30), format="JPEG")
    (folder / names[16]).write_bytes(b"")
    return tmp_path


def test_the_audit_finds_twins_conflicts_leaks_small_and_broken_pictures(tree):
    data = emolib.open_dataset("twitter1", tree)
    found = audit.audit([data], {"twitter1": manifest(data)}, image_size=64)

    def of(finding):
        return found[found["finding"] == finding]

    number = {name: int(Path(name).name.split("_")[0]) for name in data.names}
    pairs = {
        (number[p.path], number[p.other_path]): (p.finding, p.conflict, p.leaks)
        for p in found[found["other_path"] != ""].itertuples()
    }
    pairs = {tuple(sorted(k)): v for k, v in pairs.items()}
    assert pairs == {
        (0, 1): ("identical", False, ""),
        (2, 19): ("identical", True, "0 4"),
        (5, 10): ("near-twin", False, "1 2"),
    }
    assert [number[p] for p in of("smaller than the crop")["path"]] == [15]
    assert [number[p] for p in of("unreadable")["path"]] == [16]
    assert of("unreadable")["detail"].iloc[0] and of("in no fold").empty
    counts = audit.summary([data], found)["twitter1"]
    assert counts["identical pairs"] == 2 and counts["identical pairs with different labels"] == 1
    assert counts["… with an identical one in training"] == 2  # 2 in fold 0, 19 in fold 4
    assert counts[f"… with a twin in training (pHash ≤ {audit.NEAR})"] == 4
    kinds = audit.pairs(found)
    assert [len(of_kind) for of_kind in kinds.values()] == [1, 1, 1]  # one page each
    assert next(iter(kinds)).startswith("Twitter I: ")
    four = pd.concat([*kinds.values(), found[found["other_path"] != ""].head(1)])
    figure = figures.draw_pairs(four, [data], "four")
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 8 and {axis.get_title() for axis in shown} <= {
        "Twitter I: positive",
        "Twitter I: negative",
    }


def test_pictures_shared_with_the_pre_training_set_are_found(tree):
    make_fi(tree, each=2)
    source = tree / "twitter1/Agg_AMT_Candidates" / "7_é b.JPG"
    (tree / "fi/fear/stolen.jpg").write_bytes(source.read_bytes())
    sets = [emolib.open_dataset(name, tree) for name in ("fi", "twitter1")]
    found = audit.audit(sets, {data.name: manifest(data) for data in sets}, 32)
    (pair,) = found[
        (found["dataset"] == "fi") & (found["other_dataset"] == "twitter1")
    ].itertuples()
    assert pair.path == "fear/stolen.jpg" and pair.other_path.endswith("7_é b.JPG")
    assert pair.finding == "identical" and pair.leaks == ""
    counts = audit.summary(sets, found)
    assert counts.loc["twins in another set"].tolist() == [1, 1]


def test_leakage_free_folds_keep_twins_together_and_test_every_picture_once(tree):
    data = emolib.open_dataset("twitter1", tree)
    groups = audit.twin_groups(manifest(data))
    tested = []
    for train, test in data.folds(seed=0, grouped=groups):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(data)))
        tested += test.tolist()
    assert sorted(tested) == list(range(len(data)))
    for ours, theirs in zip(data.folds(grouped=True), data.folds(grouped=groups), strict=True):
        assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]
    assert data.folds(grouped=False) is data.official_folds


def test_a_grouped_run_trains_on_leakage_free_folds(tree):
    (tree / "twitter1/excluded.csv").write_text(
        "path,reason\nAgg_AMT_Candidates/16_é b.JPG,empty file\n", encoding="utf-8"
    )
    settings = dict(backbone="test_resnet", width=32, image_size=32, epochs=1, init="scratch")
    spec = emolib.RunSpec("twitter1", fold=1, grouped=True, **settings)
    result = emolib.run(spec, tree, tree / "results")
    data = emolib.open_dataset("twitter1", tree)
    _, test = data.folds(0, audit.twin_groups(manifest(data)))[1]
    assert result.predictions["path"].tolist() == [data.names[i] for i in test]
    assert spec.id != emolib.RunSpec("twitter1", fold=1, **settings).id
    assert (tree / "results/demo/manifests/twitter1.csv").exists()
    assert runs.is_complete(result.folder)


@pytest.mark.skipif(not (REAL / "twitter1").is_dir(), reason="no real Twitter I beside the repo")
def test_the_real_twitter1_holds_its_known_twins():
    data = emolib.open_dataset("twitter1", REAL)
    found = audit.audit([data], {"twitter1": manifest(data)}, 224)
    counts = audit.summary([data], found)["twitter1"]
    known = {
        "identical pairs": 13,
        "identical pairs with different labels": 1,
        "… with an identical one in training": 16,
        f"… with a twin in training (pHash ≤ {audit.NEAR})": 32,
        "in no fold": 4,
    }
    assert {name: counts[name] for name in known} == known
    train, test = zip(*data.folds(0, audit.twin_groups(manifest(data))), strict=True)
    assert sum(map(len, test)) == len(data) == 1269
