"""What a person may hand the predictor, what it explains, and where `load` finds networks."""

import copy
import io
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from trees import picture

import emolib
from emolib.base import files
from emolib.data import pictures
from emolib.data.tasks import POLARITIES
from emolib.use import load
from emolib.use.predict import Predictor

TINY = dict(backbone="test_efficientnet", width=32, image_size=32, init="scratch")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def predictor():
    spec = emolib.RunSpec("own", **TINY)
    return Predictor(spec, emolib.network.build.build_network(spec).eval(), CPU)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of many kinds, each wide enough for its crop to be a part of it."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    colour, alpha = rng.integers(0, 256, (2, 40, 60, 4), dtype=np.uint8)
    Image.fromarray(colour[:, :, :3]).save(folder / "b.png")
    Image.fromarray(colour[:, :, 0]).save(folder / "grey.png")
    Image.fromarray(alpha).save(folder / "alpha.png")
    Image.fromarray(colour[:, :, :3]).quantize(16).save(folder / "palette.gif")
    Image.fromarray(rng.integers(0, 2**16, (40, 60), dtype=np.uint16)).save(folder / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    for name in ("turned.jpg", "turned.tif"):
        Image.fromarray(colour[:, :, :3]).save(folder / name, exif=exif)
    picture(folder / "inner/a.jpg", seed=1, size=(60, 40))
    (folder / "notes.txt").write_text("no picture")
    picture(folder / ".hidden/c.jpg")
    return folder


NAMES = [
    "alpha.png",
    "b.png",
    "deep.png",
    "grey.png",
    "inner/a.jpg",
    "palette.gif",
    "turned.jpg",
    "turned.tif",
]


def test_a_folder_is_all_its_pictures_sorted(predictor, folder):
    frame = predictor.predict(folder)
    assert list(frame) == ["path", "label", "p_positive"]
    assert list(frame["path"]) == [str(folder / name) for name in NAMES]
    assert frame["p_positive"].is_unique  # or the comparisons below would say nothing
    one_by_one = [predictor.predict(str(path))["p_positive"][0] for path in frame["path"]]
    assert np.allclose(one_by_one, frame["p_positive"], atol=1e-6)
    in_parts = predictor.predict(folder, batch_size=np.int64(3))
    assert np.allclose(in_parts["p_positive"], frame["p_positive"], atol=1e-6)


def test_an_open_image_is_its_file_and_stays_as_it_is(predictor, folder):
    images = [Image.open(folder / name) for name in NAMES]
    before = [(image.size, image.mode) for image in images]
    frame = predictor.predict(images)
    assert np.array_equal(frame["p_positive"], predictor.predict(folder)["p_positive"])
    assert list(frame["path"]) == [f"picture {i}" for i in range(len(NAMES))]
    assert [(image.size, image.mode) for image in images] == before
    turned = images[NAMES.index("turned.jpg")]
    assert turned.getexif()[274] == 6 and pictures.pixels(turned).shape == (3, 60, 40)


def test_arrays_and_tensors_are_the_same_picture_as_the_file(predictor, folder):
    array = np.asarray(Image.open(folder / "b.png"))
    grey = np.asarray(Image.open(folder / "grey.png"))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    floats = tensor.float() / 255
    given = [
        folder / "b.png",
        array,
        array[None],
        array / 255,
        tensor,
        tensor[None].double() / 255,
        floats,
        torch.stack([floats, floats]),
        grey,
    ]
    frame = predictor.predict(given)
    assert list(frame["path"][1:]) == [f"picture {i}" for i in range(1, 10)]
    assert np.allclose(frame["p_positive"][:9], frame["p_positive"][0], atol=1e-6)
    expected = predictor.predict(folder / "grey.png")["p_positive"][0]
    assert frame["p_positive"][9] == pytest.approx(expected, abs=1e-6)
    for alone in (array, tensor, tensor[None]):
        assert len(predictor.predict(alone)) == 1
    assert len(predictor.predict(np.stack([array] * 3))) == 3


def test_one_pixel_is_a_picture_of_one_colour(predictor):
    colour = np.array([200, 30, 90], np.uint8)
    pixel = colour[None, None]
    large = np.broadcast_to(colour, (90, 120, 3))
    frame = predictor.predict([pixel, large])
    assert frame["p_positive"][0] == pytest.approx(frame["p_positive"][1], abs=1e-6)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.zeros((8, 8, 4), np.uint8), "picture 0 is an array of shape 8×8×4; expected H×W×3"),
        (np.zeros((2, 8, 8, 4), np.uint8), "picture 0 is an array of shape 2×8×8×4"),
        (np.zeros((0, 8, 3), np.uint8), "picture 0 is an array of shape 0×8×3"),
        (
            torch.zeros(4, 8, 8, dtype=torch.uint8),
            "picture 0 is a tensor of shape 4×8×8; expected 3",
        ),
        (torch.zeros(8, 8, 3), "picture 0 is a tensor of shape 8×8×3; expected 3×H×W"),
        (np.zeros((8, 8, 3), np.int64), "picture 0 is of dtype int64: uint8, or floats in 0..1"),
        (torch.zeros(3, 8, 8, dtype=torch.bool), "picture 0 is of dtype bool"),
        (np.full((8, 8, 3), 255.0), "picture 0 has values from 255 to 255; floats must be in 0..1"),
        (torch.full((3, 8, 8), torch.nan), "picture 0 has values from nan to nan"),
        ([Image.new("RGB", (8, 8)), None], "picture 1 is of type NoneType: a path, a folder"),
        ([Image.new("F", (8, 8))], "picture 0: not a readable picture .32-bit grey"),
        (3, "pictures is of type int: a path, a folder"),
        (pd.DataFrame({"path": ["a.jpg"]}), "pictures is of type DataFrame: a path, a folder"),
        ({"path": "a.jpg"}, "pictures is of type dict: a path, a folder"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(predictor, wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        predictor.predict(wrong)
    assert "\n" not in str(caught.value)


def test_files_and_folders_without_pictures_are_named(predictor, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name}: a folder without pictures"):
        predictor.predict(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="notes.txt: not a readable picture"):
        predictor.predict(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="gone.jpg"):
        predictor.predict([tmp_path / "gone.jpg"])
    with pytest.raises(ValueError, match="batch_size=0"):
        predictor.predict(tmp_path / "notes.txt", batch_size=0)
    with pytest.raises(ValueError, match="batch_size=True"):
        predictor.predict(tmp_path / "notes.txt", batch_size=True)
    (tmp_path / "other.jpg").write_text("none either")
    names = [tmp_path / name for name in ("notes.txt", "gone.jpg", "other.jpg")]
    with pytest.raises(FileNotFoundError, match="(?s)2 pictures cannot be used.*gone.*away"):
        predictor.predict([tmp_path / "gone.jpg", tmp_path / "away.jpg"])
    with pytest.raises(ValueError, match="(?s)3 pictures cannot be used.*notes.*gone.*other"):
        predictor.predict([Image.new("RGB", (60, 60)), *names], batch_size=1)
    empty = predictor.predict([])
    assert list(empty) == ["path", "label", "p_positive"] and empty.empty
    assert len(predictor.regions([])) == 0


def test_rivals_find_their_boxes_in_any_picture_and_fitted_ones_ask_for_files(folder):
    spec = emolib.RunSpec(
        "own", model="wu2019", backbone="resnet10t", image_size=32, init="scratch"
    )
    rival = Predictor(spec, emolib.network.build.build_network(spec).eval(), CPU)
    array = np.asarray(Image.open(folder / "b.png"))
    frame = rival.predict([folder / "b.png", array])
    assert frame["p_positive"][0] == pytest.approx(frame["p_positive"][1], abs=1e-6)
    with pytest.raises(ValueError, match="wu2019.*no region map D"):
        rival.explain(array)
    spec = emolib.RunSpec("own", model="rao2016", image_size=32)
    fitted = Predictor(spec, emolib.network.build.build_network(spec), CPU)
    with pytest.raises(ValueError, match="model 'rao2016' reads picture files"):
        fitted.predict(array)


class LooksAtRed(torch.nn.Module):
    """Its D is the red channel, 0.2 to 0.8."""

    has_regions = True
    pretrained_cfg = {"mean": (0, 0, 0), "std": (1, 1, 1)}

    def forward(self, images):
        return torch.stack([torch.zeros(len(images)), images[:, 0].mean((1, 2))], 1)

    def regions(self, images):
        return 0.2 + 0.6 * torch.nn.functional.avg_pool2d(images[:, :1], 4)


def test_explained_regions_lie_where_they_were_put_in_the_original(tmp_path):
    spec = emolib.RunSpec("own", **TINY | {"image_size": 224})
    predictor = Predictor(spec, LooksAtRed(), CPU)
    array = np.zeros((400, 700, 3), np.uint8)
    array[100:150, 250:330, 0] = 255
    array[250:300, 420:440, 0] = 200
    array[:, :60, 0] = 255  # outside the crop, 350×350 in the middle
    Image.fromarray(array).save(tmp_path / "red.png")
    found = predictor.explain(tmp_path / "red.png")
    assert np.allclose(found.crop, (175, 25, 525, 375), atol=2)
    expected = [(250, 100, 330, 150, 0.8), (420, 250, 440, 300, 0.2 + 0.6 * 200 / 255)]
    cell = 4 * 400 / 256  # px of the original
    assert len(found.boxes) == 2
    for box, place in zip(found.boxes, expected, strict=True):
        assert np.allclose(box[:4], place[:4], atol=cell + 1)
        assert box[4] == pytest.approx(place[4], abs=0.02)
    assert found.D.shape == (224, 224) and found.overlay.size == (224, 224)
    assert found.picture.size == (700, 400) and found.view.shape == (224, 224, 3)
    row = predictor.predict(array).iloc[0]
    assert (found.label, found.p_positive) == (row["label"], row["p_positive"])
    overlay = np.asarray(found.overlay).astype(int)
    y, x = np.unravel_index(found.D.argmax(), found.D.shape)
    # 0.4 · grey of the view, 255/3, and 0.6 · inferno's brightest
    assert np.allclose(overlay[y, x], 0.4 * 85 + 0.6 * np.array([252, 255, 164]), atol=2)
    png = Image.open(io.BytesIO(found._repr_png_()))
    assert png.format == "PNG" and min(png.size) > 200
    with pytest.raises(ValueError, match="one picture is asked for, 2 were given"):
        predictor.explain([array, array])


def test_a_flat_map_has_no_regions(predictor):
    class Flat(LooksAtRed):
        def regions(self, images):
            return torch.full((len(images), 1, 8, 8), 0.5)

    found = Predictor(predictor.spec, Flat(), CPU).explain(np.zeros((40, 40, 3), np.uint8))
    assert found.boxes == [] and found.overlay.size == (32, 32)


def test_photographs_of_a_kind_that_is_not_read_are_named(predictor, folder, tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("path,label")
    picture(tmp_path / ".thumbs/c.heic.jpg").rename(tmp_path / ".thumbs/c.heic")
    (tmp_path / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    with pytest.warns(UserWarning, match="left out 1 pictures such as 'b.HEIC'; save them as"):
        assert len(predictor.predict(tmp_path)) == 1
    with pytest.raises(ValueError, match="b.HEIC: .*HEIC, as phones write it, is not read: save"):
        predictor.predict(tmp_path / "b.HEIC")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict(folder)


def test_a_card_goes_where_its_network_goes(predictor, tmp_path):
    saved = predictor.save(tmp_path / "new")
    assert "nothing was measured" in (saved / "README.md").read_text()
    (saved / "README.md").write_text("# Mine")
    again = emolib.load(saved, device="cpu").save(tmp_path / "again")
    assert (again / "README.md").read_text() == "# Mine"
    assert (predictor.save(saved, "# Other") / "README.md").read_text() == "# Other"
    (tmp_path / "clone").mkdir()  # of a repository that is new on the hub
    (tmp_path / "clone/README.md").write_text("---\nlicense: mit\n---\n")
    assert "nothing was measured" in (predictor.save(tmp_path / "clone") / "README.md").read_text()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("of a project")
    with pytest.raises(FileExistsError, match="has a README.md and no network"):
        predictor.save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "of a project"


def test_a_save_that_fails_leaves_the_network_that_was_there(predictor, folder, tmp_path):
    saved = predictor.save(tmp_path / "new")
    expected = emolib.load(saved, device="cpu").predict(folder)
    model = copy.deepcopy(predictor.model)
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    with pytest.raises(ValueError, match="beyond float16's range"):
        replace(predictor, model=model).save(saved, half=True)
    assert emolib.load(saved, device="cpu").predict(folder).equals(expected)
    assert {f.name for f in saved.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_a_save_that_is_cut_off_leaves_no_old_settings_on_new_weights(
    predictor, tmp_path, monkeypatch
):
    saved = replace(predictor, temperature=2.0).save(tmp_path / "new")

    def killed(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("emolib.use.saved.write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        predictor.save(saved)
    assert not (saved / "config.json").exists()


@pytest.fixture
def hub_folder(predictor, tmp_path):
    folder = tmp_path / "downloaded"
    files.write_json(
        folder / "config.json", {"spec": predictor.spec.to_dict(), "classes": list(POLARITIES)}
    )
    save_file(predictor.model.state_dict(), folder / "model.safetensors")
    return folder


def test_networks_load_from_the_hubs_layout_and_by_repository(
    predictor, folder, hub_folder, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(load, "folder_of", lambda name: asked.append(name) or hub_folder)
    monkeypatch.chdir(tmp_path)
    expected = predictor.predict(folder)["p_positive"]
    for source in (hub_folder, "someone/emotions-v1", "hf-hub:someone/emotions-v1"):
        again = emolib.load(source, device="cpu").predict(folder)["p_positive"]
        assert np.array_equal(again, expected)
    assert asked == ["someone/emotions-v1"] * 2
    for missing in ("results/demo/runs/x", "./someone/x", "downloaded/x", "/someone/x", "x"):
        with pytest.raises(FileNotFoundError, match="there is no such folder"):
            emolib.load(missing, device="cpu")
    hub_folder.rename(tmp_path / "someone").joinpath("emotions-v1").mkdir()
    with pytest.raises(FileNotFoundError, match="emotions-v1 has no spec.json"):  # the folder wins
        emolib.load("someone/emotions-v1", device="cpu")
    assert len(asked) == 2


def test_a_strangers_config_is_refused_by_name(hub_folder):
    files.write_json(hub_folder / "config.json", {"architectures": ["Other"]})
    with pytest.raises(ValueError, match="config.json: no config of emolib's"):
        emolib.load(hub_folder, device="cpu")
    spec = emolib.RunSpec("own", **TINY | {"width": 64}).to_dict()
    files.write_json(hub_folder / "config.json", {"spec": spec, "classes": list(POLARITIES)})
    with pytest.raises(ValueError, match="not the weights of this folder's config.json"):
        emolib.load(hub_folder, device="cpu")


def test_a_networks_name_loads_it_untrained_with_a_warning():
    with pytest.warns(UserWarning, match="maiafa_test_efficientnet: its classifier is untrained"):
        untrained = emolib.load("maiafa_test_efficientnet", device="cpu")
    assert untrained.spec.backbone == "test_efficientnet"
    frame = untrained.predict(np.zeros((300, 200, 3), np.uint8))
    assert 0 < frame["p_positive"][0] < 1
    with pytest.raises(FileNotFoundError, match="maiafa_nothing: there is no such folder"):
        emolib.load("maiafa_nothing")


def test_views_of_arrays_are_pictures_like_their_copies(predictor):
    array = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = predictor.predict(array[:, :, ::-1].copy())["p_positive"]
    assert np.array_equal(predictor.predict(array[:, :, ::-1])["p_positive"], expected)  # BGR
    floats = array.astype(">f4") / 255
    as_bytes = predictor.predict(array)["p_positive"]
    assert np.allclose(predictor.predict(floats.astype(">f4"))["p_positive"], as_bytes)


@pytest.mark.parametrize("source", [3, "", __file__])
def test_load_says_what_it_takes(source):
    with pytest.raises(ValueError, match="takes a run folder"):
        emolib.load(source)


def test_an_empty_path_is_not_the_folder_one_is_in(predictor):
    with pytest.raises(ValueError, match="picture 0 is an empty path"):
        predictor.predict("")


def test_a_network_in_training_answers_as_in_a_test_and_learns_nothing_from_it(folder):
    spec = emolib.RunSpec("own", **TINY)
    own = Predictor(spec, emolib.create_model("maiafa", spec.backbone, width=32), CPU)
    before = {name: t.clone() for name, t in own.model.state_dict().items()}
    pictures = [folder / "b.png", folder / "grey.png"]
    answers, D = [], []
    for _ in range(2):
        own.model.train()
        answers.append(own.predict(pictures))
        own.model.train()
        D.append(own.regions(pictures))
    pd.testing.assert_frame_equal(*answers)
    np.testing.assert_array_equal(*D)
    assert all(torch.equal(t, before[name]) for name, t in own.model.state_dict().items())
    assert own.predict([]).dtypes.equals(answers[0].dtypes)


def test_a_fitted_network_leaves_out_what_it_cannot_read_where_it_is_told_to(folder, tmp_path):
    class Half:
        def eval(self):
            pass

        def predict_proba(self, paths):
            for path in paths:
                Image.open(path)
            return np.full((len(paths), 2), 0.5)

    own = Predictor(emolib.RunSpec("own", **TINY), Half(), CPU)
    broken = [tmp_path / name for name in ("a.png", "b.png")]
    for path in broken:
        path.write_text("no picture")
    unreadable = []
    answers = own.predict([broken[0], folder / "b.png", broken[1]], unreadable=unreadable)
    assert answers["path"].tolist() == [str(folder / "b.png")] and len(unreadable) == 2
    assert all(str(path) in str(e) for path, e in zip(broken, unreadable, strict=True))
