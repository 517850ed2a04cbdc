"""Tables from run folders: means, intervals, and what may not be mixed."""

import dataclasses
import json
import math
import typing
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import emolib
from emolib.base.metrics import more_scores, scores, wilson
from emolib.study import readings
from emolib.tables import plots, significance
from emolib.tables import readings as variations

BASE = dict(backbone="resnet10t", image_size=32, epochs=1, lr=0.01)


@pytest.fixture(autouse=True)
def quick_figures(request, monkeypatch):
    """Drawing takes a second a figure; only tests of figures need them."""
    if "figures" not in request.node.name:
        monkeypatch.setattr(Figure, "savefig", lambda self, file, **how: file.write_bytes(b""))
        for draw in ("draw_table", "draw_matched", "draw_differences"):
            monkeypatch.setattr(plots, draw, lambda frame, title, compared=None: Figure())


def fabricate(study, spec, right, n=20, demo=False, fingerprint="f", weights="scratch"):
    """A run folder whose predictions have `right` of n correct, half of them positive."""
    folder = study / "runs" / spec.id
    folder.mkdir(parents=True)
    label = np.arange(n) % 2
    p = np.where(np.arange(n) < right, label, 1 - label) * 0.8 + 0.1
    paths = [f"{spec.fold}-{i}.jpg" for i in range(n)]
    frame = pd.DataFrame({"path": paths, "label": label, "p_positive": p})
    frame.to_csv(folder / "predictions.csv", index=False)
    (folder / "spec.json").write_text(json.dumps(spec.to_dict()))
    data = {"name": spec.dataset, "fingerprint": fingerprint, "demo": demo}
    before = spec.predecessor()
    start = {"started_from": {"run": before.id, "weights": "0" * 64}} if before else {}
    (folder / "environment.json").write_text(json.dumps({"data": data, "weights": weights} | start))
    (folder / "metrics.json").write_text(json.dumps(scores(label, p)))
    return folder


def row(table, dataset, method, metric="accuracy"):
    rows = table[(table.dataset == dataset) & (table.method == method) & (table.metric == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


def spec(dataset="twitter1", fold=0, init="fi:scratch", **changes):
    return emolib.RunSpec(dataset, fold=fold, init=init, **BASE | changes)


def test_tables_hold_means_intervals_and_published_numbers(tmp_path):
    study = tmp_path / "s"
    for fold, right in enumerate((16, 15, 17, 14, 18)):
        fabricate(study, spec(fold=fold), right)
        fabricate(study, spec(fold=fold, init="scratch"), right - 4)
        fabricate(study, spec(fold=fold, mai=False), 10)
    fabricate(study, spec("fi", init="scratch"), 15)
    resnet = {k: v for k, v in BASE.items() if k != "backbone"}
    fabricate(study, emolib.RunSpec("fi", model="resnet101", init="scratch", **resnet), 12)
    tables = emolib.tables.build(tmp_path)["s"]
    normal = row(tables[7], "twitter1", "normal")
    values = [80, 75, 85, 70, 90]
    assert normal["mean"] == 80 and normal["std"] == pytest.approx(np.std(values, ddof=1))
    # over the 100 test pictures, of which 80 are right
    half = 1.984217 * 100 * math.sqrt(0.8 * 0.2 / 99)
    assert normal["ci_low"] == pytest.approx(80 - half, abs=1e-4)
    # t with 4 degrees of freedom; folds share pictures, one is tested for four that are trained on
    half = 2.776445 * np.std(values, ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert normal["nb_low"] == pytest.approx(80 - half, abs=1e-4)
    assert normal["nb_high"] == pytest.approx(80 + half, abs=1e-4)
    assert (normal["runs"], normal["published"]) == (5, 84.66)
    assert normal["difference"] == pytest.approx(80 - 84.66)
    assert set(normal["run_ids"].split(";")) == {spec(fold=f).id for f in range(5)}
    assert row(tables[7], "twitter1", "without_mai")["mean"] == 50
    assert math.isnan(row(tables[7], "emotionroi", "normal")["mean"])
    assert math.isnan(row(tables[7], "twitter1", "without_both")["published"])
    assert row(tables[8], "twitter1", "normal")["mean"] == 80
    assert row(tables[8], "twitter1", "without_transfer")["mean"] == 60
    assert row(tables[9], "twitter1", "maiafa", "recall")["published"] == 86.85
    assert row(tables[9], "fi", "resnet101")["mean"] == 60
    rao = row(tables[9], "fi", "rao2016")
    assert math.isnan(rao["mean"]) and rao["published"] == 62.79 and rao["runs"] == 0
    fi = row(tables[7], "fi", "normal")  # Wilson's interval of 15 of 20
    z, p, n = 1.959964, 0.75, 20
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert fi["ci_low"] == pytest.approx(100 * (centre - half) / (1 + z * z / n), abs=1e-3)
    for number in (7, 8, 9):
        saved = pd.read_csv(study / f"table{number}.csv")
        assert list(saved.columns) == [
            "table",
            "dataset",
            "method",
            "metric",
            "mean",
            "std",
            "ci_low",
            "ci_high",
            "runs",
            "published",
            "difference",
            "run_ids",
            "nb_low",
            "nb_high",
        ]
    assert "DEMO" not in (study / "table7.md").read_text()


def test_demo_tables_say_that_the_data_are_a_stand_in(tmp_path):
    fabricate(tmp_path / "demo", spec(), 16, demo=True)
    emolib.tables.build(tmp_path)
    for number in (7, 8, 9):
        assert "DEMO DATA" in (tmp_path / f"demo/table{number}.md").read_text().splitlines()[0]


def test_table_8_says_why_normal_is_empty_without_a_set_to_set_stage(tmp_path):
    fabricate(tmp_path / "s", spec(init="scratch"), 16)
    tables = emolib.tables.build(tmp_path)["s"]
    assert math.isnan(row(tables[8], "twitter1", "normal")["mean"])
    assert row(tables[8], "twitter1", "without_transfer")["mean"] == 80
    assert row(tables[7], "twitter1", "normal")["mean"] == 80
    assert "`normal` is empty on twitter1" in (tmp_path / "s/table8.md").read_text()


@pytest.mark.parametrize(
    "other, message",
    [
        (dict(demo=True), "mixes data|mixes the drawn demo data"),
        (dict(fingerprint="g"), "different contents of twitter1"),
        (dict(weights="sha256:1"), "differ in weights"),
    ],
)
def test_a_study_mixes_neither_data_nor_weights(tmp_path, other, message):
    fabricate(tmp_path / "s", spec(), 16)
    fabricate(tmp_path / "s", spec(fold=1), 16, **other)
    with pytest.raises(ValueError, match=message):
        emolib.tables.build(tmp_path)


def test_demo_and_real_sets_are_not_mixed_either(tmp_path):
    fabricate(tmp_path / "s", spec(), 16)
    fabricate(tmp_path / "s", spec("emotionroi"), 16, demo=True)
    with pytest.raises(ValueError, match="mixes the drawn demo data with real data"):
        emolib.tables.build(tmp_path)


def test_one_row_holds_one_setting(tmp_path):
    fabricate(tmp_path / "s", spec(), 16)
    fabricate(tmp_path / "s", spec(fold=1, epochs=2), 16)
    with pytest.raises(ValueError, match="differ in epochs .1 and 2."):
        emolib.tables.build(tmp_path)
    built = emolib.tables.build(tmp_path, "s", [spec()])["s"]
    assert row(built[7], "twitter1", "normal")["runs"] == 1


def test_an_unfinished_run_is_no_row(tmp_path):
    fabricate(tmp_path / "s", spec(), 16)
    (fabricate(tmp_path / "s", spec(fold=1), 16) / "metrics.json").unlink()
    with pytest.warns(UserWarning, match=r"not complete: `.*fold1.*` \(unfinished\)"):
        built = emolib.tables.build(tmp_path)
    assert row(built["s"][7], "twitter1", "normal")["runs"] == 1
    with warnings.catch_warnings():  # whoever knows the reason has said it; the page has it too
        warnings.simplefilter("error")
        reasons = {spec(fold=1).id: "its weights are not to be had"}
        emolib.tables.build(tmp_path, "s", [spec(), spec(fold=1)], reasons)
    assert "its weights are not to be had" in (tmp_path / "s/table7.md").read_text()
    with pytest.raises(FileNotFoundError, match="no complete run"):
        emolib.tables.build(tmp_path, "t")


def test_scores_are_eq_11_and_12():
    label = [1, 1, 1, 0, 0]
    assert scores(label, [0.9, 0.5, 0.1, 0.2, 0.7]) == {
        "accuracy": 60.0,
        "recall": pytest.approx(200 / 3),
        "n": 5,
    }
    assert scores([0, 0], [0.1, 0.2])["recall"] is None


def test_intervals_of_nothing_are_nan():
    assert all(map(math.isnan, wilson(0, 0)))


def test_results_hold_the_papers_tables_as_packaged():
    """Hand-checked against the paper's text: Tables 5, 7, 8 and 9."""
    t7, t9 = emolib.tables.published(7), emolib.tables.published(9)
    assert row(t7, "emotionroi", "without_mai")["published"] == 81.57
    assert row(t9, "fi", "rao2020", "recall")["published"] == 92.85
    assert emolib.tables.published(5).set_index("dataset").loc["fi"].tolist() == [15036, 6158]
    assert len(t9) == 32


def rival(model, fold, **changes):
    return emolib.RunSpec("twitter1", model=model, fold=fold, init="fi:scratch", **BASE | changes)


def test_the_matched_table_compares_on_common_folds_with_the_same_training(tmp_path):
    ours, theirs = (16, 15, 17, 14, 18), (13, 15, 14, 12, 17)
    for fold in range(5):
        fabricate(tmp_path / "s", spec(fold=fold), ours[fold])
        fabricate(tmp_path / "s", rival("wscnet", fold), theirs[fold])
        fabricate(tmp_path / "s", rival("frozen_probe", fold), 10)
        fabricate(tmp_path / "s", rival("mcpnet", fold, epochs=2), 20)  # trained for longer
    for fold in range(2):
        fabricate(tmp_path / "s", rival("ar", fold), 18)
    built = emolib.tables.build(tmp_path)["s"]
    table = built["matched"]
    assert set(table["method"]) == {"maiafa", "wscnet", "ar", "frozen_probe"}
    wscnet = row(table, "twitter1", "wscnet")
    differences = 5 * (np.array(theirs) - np.array(ours))
    assert wscnet["minus_maiafa"] == pytest.approx(differences.mean())
    half = 2.776445 * np.std(differences, ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert wscnet["minus_nb_high"] == pytest.approx(differences.mean() + half, abs=1e-4)
    half = 1.984217 * 100 * math.sqrt(0.09 * 0.91 / 99)  # 9 of 100 pictures, all on one side
    assert wscnet["minus_high"] == pytest.approx(-9 + half, abs=1e-4)
    # `fabricate` gets the first pictures right: maiafa has 9 that wscnet has not, the reverse none
    assert wscnet["p_value"] == pytest.approx(2 * 0.5**9)
    ar = row(table, "twitter1", "ar")
    assert (ar["runs"], ar["minus_maiafa"]) == (2, pytest.approx(90 - 77.5))
    assert ar["p_value"] == pytest.approx(2 * 0.5**5)
    assert row(built[9], "twitter1", "mcpnet")["mean"] == 100  # Table 9 takes it all the same
    ours = row(table, "twitter1", "maiafa")
    assert ours["mean"] == 80 and math.isnan(ours["minus_maiafa"])
    saved = pd.read_csv(tmp_path / "s/matched.csv")
    assert len(saved) == len(table)
    text = (tmp_path / "s/matched.md").read_text(encoding="utf-8").splitlines()
    order = [line.split(" | ")[1] for line in text if line.startswith("| twitter1")]
    assert order == ["ar", "maiafa", "wscnet", "frozen_probe"]


def test_without_fi_a_pcnn_with_a_weak_set_takes_no_row_from_the_others(tmp_path):
    def plain(model, fold):
        return emolib.RunSpec("twitter1", model=model, fold=fold, init="imagenet", **BASE)

    own = {k: v for k, v in BASE.items() if k != "backbone"}
    for fold in range(2):
        fabricate(tmp_path / "s", plain("maiafa", fold), 16)
        fabricate(tmp_path / "s", plain("wscnet", fold), 14)
        weak = emolib.RunSpec("twitter1", model="pcnn", fold=fold, init="emotionroi:scratch", **own)
        fabricate(tmp_path / "s", weak, 12)
    fabricate(tmp_path / "s", emolib.RunSpec("twitter1", model="pcnn", init="scratch", **own), 20)
    built = emolib.tables.build(tmp_path)["s"]
    assert row(built[7], "twitter1", "normal")["runs"] == 2
    assert row(built[9], "twitter1", "maiafa")["mean"] == 80
    pcnn = row(built["matched"], "twitter1", "pcnn")
    assert (pcnn["runs"], pcnn["mean"], pcnn["minus_maiafa"]) == (2, 60, -20)
    assert "`normal` is empty on twitter1" in (tmp_path / "s/table8.md").read_text(encoding="utf-8")


def test_several_seeds_count_each_test_picture_once(tmp_path):
    for seed in range(3):
        fabricate(tmp_path / "s", spec(seed=seed), 16)
        fabricate(tmp_path / "s", rival("wscnet", 0, seed=seed), 12 + seed)
    line = row(emolib.tables.build(tmp_path)["s"]["matched"], "twitter1", "wscnet")
    assert (line["runs"], line["minus_maiafa"]) == (3, pytest.approx(-15))
    assert line["p_value"] == pytest.approx(2 * 0.5**4)
    # four pictures of 20, the fourth right in no, one, two of three seeds; seeds: −20, −15, −10
    each = 100 * np.array([1, 1, 2 / 3, 1 / 3] + [0] * 16)
    assert line["se_pictures"] == pytest.approx(np.std(each, ddof=1) / math.sqrt(20))
    assert line["se_seeds"] == pytest.approx(5 / math.sqrt(3)) and line["seeds"] == 3
    assert math.isnan(line["minus_nb_low"])  # one fold, however many seeds


def test_without_a_trained_rival_in_the_same_training_there_is_no_matched_table(tmp_path):
    fabricate(tmp_path / "s", spec(), 16)
    fabricate(tmp_path / "s", rival("frozen_probe", 0), 10)
    fabricate(tmp_path / "s", rival("wscnet", 0, lr=0.5), 10)
    assert "matched" not in emolib.tables.build(tmp_path)["s"]
    assert not (tmp_path / "s/matched.csv").exists()


def test_table_9_takes_a_rivals_own_backbone_and_says_what_it_costs(tmp_path):
    own = {k: v for k, v in BASE.items() if k != "backbone"}
    fabricate(tmp_path / "s", spec(), 16)
    matched = fabricate(tmp_path / "s", rival("mcpnet", 0), 12)
    published = emolib.RunSpec("twitter1", model="mcpnet", init="fi:scratch", **own)
    folder = fabricate(tmp_path / "s", published, 14)
    facts = json.loads((folder / "environment.json").read_text())
    cost = {"parameters": 45_000_000, "macs": 8_000_000_000, "pictures_per_second": 12.5}
    (folder / "environment.json").write_text(json.dumps(facts | cost))
    fabricate(tmp_path / "s", published.predecessor(), 3)  # what it starts from: FI's row
    built = emolib.tables.build(tmp_path)["s"]
    line = row(built[9], "twitter1", "mcpnet")
    assert (line["mean"], line["run_ids"]) == (70, published.id)
    assert row(built[9], "fi", "mcpnet")["mean"] == 15
    assert row(built["matched"], "twitter1", "mcpnet")["run_ids"] == matched.name
    costs = pd.read_csv(tmp_path / "s/table9_costs.csv").set_index(["dataset", "method"])
    assert costs.loc[("twitter1", "mcpnet"), list(cost)].to_dict() == cost
    text = (tmp_path / "s/table9.md").read_text(encoding="utf-8")
    assert "| resnet101; 1 epochs after 1 on fi | 45.0 | 8,000.0 | 12 |" in text


def test_rows_of_clip_say_why_they_are_empty(tmp_path):
    roi = emolib.RunSpec("emotionroi", init="fi:scratch", **BASE)
    fabricate(tmp_path / "s", roi, 16)
    table = emolib.tables.build(tmp_path)["s"][9]
    for method in ("wscnet", "yao2019", "priya2020", "frozen_probe", "clip_probe", "clip_finetune"):
        assert math.isnan(row(table, "emotionroi", method)["mean"])
    text = (tmp_path / "s/table9.md").read_text(encoding="utf-8")
    assert "vit_base_patch16_clip_224.openai.safetensors" in text


def test_differences_say_what_the_parts_change_and_what_the_paper_could_have_shown(tmp_path):
    for fold, right in enumerate((16, 15, 17, 14, 18)):
        fabricate(tmp_path / "s", spec(fold=fold), right)
        fabricate(tmp_path / "s", spec(fold=fold, mai=False), right - 8 - fold % 2)
        fabricate(tmp_path / "s", spec(fold=fold, afa=False), right + (fold % 2))
    table = emolib.tables.build(tmp_path)["s"]["differences"]
    mai, afa = (row(table, "twitter1", m) for m in ("without_mai", "without_afa"))
    assert mai["difference"] == pytest.approx(-42) and mai["published"] == pytest.approx(-3.17)
    assert (mai["verdict"], mai["pairs"]) == ("cannot tell; it takes 3 seeds", 5)
    half = 2.776445 * np.std([-40, -45, -40, -45, -40], ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert mai["nb_low"] == pytest.approx(-42 - half, abs=1e-4)
    half = 1.984217 * 100 * math.sqrt(0.42 * 0.58 / 99)  # 42 of 100 pictures, all on one side
    assert mai["low"] == pytest.approx(-42 - half, abs=1e-4)
    assert mai["smallest"] == pytest.approx(3.79, abs=0.01) == afa["smallest"]
    assert mai["discordance"] == pytest.approx(42)
    expected = significance.smallest_paired_difference(0.42, 1269)
    assert mai["smallest_paired"] == pytest.approx(expected)
    assert afa["verdict"] == "cannot tell; it takes 3 seeds" and afa["p_holm"] >= afa["p"]
    page = (tmp_path / "s/differences.md").read_text(encoding="utf-8")
    assert "| twitter1 | without_mai | accuracy | -42.00 (-51.8 to -32.2) | " in page
    assert "| cannot tell; it takes 3 seeds | -3.17 | ±3.79 | ±" in page


def test_other_readings_stand_in_a_folder_and_a_table_of_their_own(tmp_path):
    study = tmp_path / "s"
    for fold in range(2):
        fabricate(study, spec(fold=fold), 16)
        other = spec(fold=fold, readings=emolib.Readings(gate="fused"))
        fabricate(study / "readings", other, 14 + fold)
        region = spec(fold=fold, afa=False, readings=emolib.Readings(without_afa="region"))
        fabricate(study / "readings", region, 12)
    built = emolib.tables.build(tmp_path)
    assert list(built) == ["s"]
    table = built["s"]["readings"]
    names = ["normal", "gate=fused", "without_afa, without_afa=region"]
    assert sorted(set(table["method"])) == sorted(names)
    gate = row(table, "twitter1", "gate=fused")
    assert (gate["mean"], gate["difference"], gate["runs"]) == (72.5, -7.5, 2)
    assert row(table, "twitter1", names[2])["published"] == pytest.approx(83.55 - 84.66)
    assert row(built["s"][7], "twitter1", "normal")["runs"] == 2
    assert "| twitter1 | gate=fused | 72.50 (" in (study / "readings.md").read_text("utf-8")
    begun = study / "readings/runs" / spec(fold=2, readings=emolib.Readings(gate="fused")).id
    begun.mkdir()
    (begun / "spec.json").write_text("{}")
    assert emolib.tables.missing(study) == {begun.name: "unfinished"}


def test_every_reading_is_varied_alone_and_names_itself(root, tmp_path):
    study = emolib.Study.configure(data_root=str(root), results_root=str(tmp_path))
    named = readings.reading_specs(study, "twitter1")
    default = named["normal"][0]
    values = {
        f"{f.name}={v}"
        for f in dataclasses.fields(emolib.Readings)
        for v in typing.get_args(f.type)[1:]
    }
    assert values | {"without_mai", "without_afa", "without_both", "width=256"} < set(named)
    for name, runs in named.items():
        assert len(runs) == 5 and len({r.id for r in runs}) == 5
        if name not in ("every other reading", "without_afa=region"):
            assert variations.name_of(runs[0], default) == name
    other = named["every other reading"][0].readings
    assert other == emolib.Readings("increased", "shuffle", "fused", "softmax", "region")


def test_figures_stand_beside_every_table(tmp_path):
    study = tmp_path / "s"
    for fold in range(2):
        fabricate(study, spec(fold=fold), 16 + fold)
        fabricate(study, spec(fold=fold, mai=False), 13)
        fabricate(study, rival("wscnet", fold), 15)
        other = spec(fold=fold, readings=emolib.Readings(gate="fused"))
        fabricate(study / "readings", other, 14 + fold)
    emolib.tables.build(tmp_path)
    for name in ("table7", "table8", "table9", "differences", "matched", "readings"):
        data = (study / f"{name}.png").read_bytes()
        assert data[:4] == b"\x89PNG" and len(data) > 5000 and (study / f"{name}.md").exists()


def test_what_the_paper_leaves_out_the_long_way():
    labels, p = [1, 1, 1, 0, 0, 1], [0.95, 0.92, 0.41, 0.33, 0.61, 0.62]
    found = more_scores(labels, p)
    assert found["balanced_accuracy"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert found["f1"] == pytest.approx(100 * 2 * 3 / (2 * 3 + 1 + 1))
    assert found["recall_negative"] == pytest.approx(50)
    pairs = [a > b for a in (0.95, 0.92, 0.41, 0.62) for b in (0.33, 0.61)]
    assert found["auroc"] == pytest.approx(100 * np.mean(pairs))
    # bins of a tenth: {0.95, 0.92} both positive, {0.61, 0.62} one of two, {0.41} yes, {0.33} no
    gaps = 2 * abs(1 - 0.935) + 2 * abs(0.5 - 0.615) + abs(1 - 0.41) + abs(0 - 0.33)
    assert found["ece"] == pytest.approx(100 * gaps / 6, abs=1e-4)
    alone = more_scores([1, 1], [0.9, 0.2])
    assert [alone[k] for k in ("balanced_accuracy", "auroc", "recall_negative")] == [None] * 3


def test_scores_are_means_over_the_runs_of_table_9s_rows(tmp_path):
    for fold, right in enumerate((16, 15, 17, 14, 18)):
        fabricate(tmp_path / "s", spec(fold=fold), right)
    built = emolib.tables.build(tmp_path)["s"]["scores"]
    line = row(built, "twitter1", "maiafa", "balanced_accuracy")
    each = []
    for right in (16, 15, 17, 14, 18):  # the first pictures are right, labels alternate 0, 1, …
        negative = (right + 1) // 2 / 10
        each.append(50 * (negative + right // 2 / 10))
    assert line["mean"] == pytest.approx(np.mean(each)) and line["runs"] == 5
    half = 2.776445 * np.std(each, ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert line["nb_low"] == pytest.approx(np.mean(each) - half, abs=1e-4)
    assert line["nb_low"] < line["ci_low"] < line["mean"]  # 100 pictures against five folds
    auroc = row(built, "twitter1", "maiafa", "auroc")  # no mean over pictures
    assert auroc["ci_low"] == auroc["nb_low"] and auroc["ci_high"] == auroc["nb_high"]
    assert len(pd.read_csv(tmp_path / "s/scores.csv")) == len(built) == 5
