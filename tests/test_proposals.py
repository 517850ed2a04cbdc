"""Boxes: who finds them, where they lie in a view, and where they are kept."""

import cv2
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from trees import make_shapes

import emolib
from emolib.base.files import read_json
from emolib.data import batches as pipeline
from emolib.data import cache, proposals

PROTOCOL = dict(image_size=32, lr=0.01, batch_size=8, init="scratch")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_shapes(root)
    return root


def test_boxes_follow_the_view_of_their_picture():
    """A white rectangle's box, through crop, resize and flip, is where the rectangle is."""
    image = torch.zeros(60, 80, 3, dtype=torch.uint8)
    image[18:42, 16:48] = 255
    boxes = torch.zeros(proposals.COUNT, 5)
    boxes[0] = torch.tensor([16 / 80, 18 / 60, 48 / 80, 42 / 60, 0.5])
    boxes[1] = torch.tensor([0, 0, 2 / 80, 1, 0.4])  # outside the views below
    for view in ((6, 10, 48, 48, False), (6, 10, 48, 48, True), (10, 12, 40, 50, True)):
        seen = pipeline.cut(image, view, 32)[..., 0] > 127
        rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
        truth = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        found = proposals.in_view(boxes, (60, 80), view, 32)
        assert (found[0, :4] - truth).abs().max() <= 1 and found[0, 4] == 0.5
        assert not found[1:].any()


def test_finders_find_a_disc_and_nothing_in_an_empty_picture():
    empty = torch.full((90, 120, 3), 128, dtype=torch.uint8)
    disc = cv2.circle(np.full((90, 120, 3), 60, np.uint8), (80, 40), 18, (250, 240, 90), -1)
    truth = np.array([62 / 120, 22 / 90, 98 / 120, 58 / 90])
    for finder in proposals.FINDERS:
        assert not proposals.BoxFinder(finder).find(empty).any()
        boxes = proposals.BoxFinder(finder).find(torch.from_numpy(disc)).numpy()
        boxes = boxes[boxes[:, 4] > 0]
        low, high = np.maximum(boxes[:, :2], truth[:2]), np.minimum(boxes[:, 2:4], truth[2:])
        inter = (high - low).clip(0).prod(1)
        area = (boxes[:, 2:4] - boxes[:, :2]).prod(1) + (truth[2:] - truth[:2]).prod()
        assert (inter / (area - inter)).max() > 0.5, finder
    noise = torch.randint(0, 256, (300, 40, 3), dtype=torch.uint8)
    assert proposals.BoxFinder("objects").find(noise).shape == (proposals.COUNT, 5)


def test_one_box_of_each_cluster_is_chosen():
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid([0.1, 0.3, 0.5, 0.7, 0.9], [0.12, 0.37, 0.62, 0.87]), -1)
    middle = np.repeat(centres.reshape(-1, 2), 5, 0) + rng.normal(0, 0.004, (100, 2))
    boxes, scores = np.concatenate([middle - 0.07, middle + 0.07], 1), rng.uniform(size=100)
    chosen, best = proposals.one_a_cluster(boxes, scores)
    assert sorted(best) == sorted(scores.reshape(20, 5).max(1))


def test_a_detector_comes_from_its_file_or_is_an_error(root, tmp_path, monkeypatch):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    small = {k: v for k, v in PROTOCOL.items() if k != "epochs"}
    one = emolib.RunSpec(
        "own", model="wu2019", backbone="test_resnet", epochs=1, detector=name, **small
    )
    where = dict(data_root=root, results_root=tmp_path / "r")
    with pytest.raises(RuntimeError, match=f"{name}.*put that file into the folder"):
        emolib.run(one, **where)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / f"{name}.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{name}.pth: not torchvision's weights"):
        emolib.run(one, weights=folder, **where)
    (folder / f"{name}.pth").unlink()
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    save_file(net.state_dict(), folder / f"{name}.safetensors")
    result = emolib.run(one, weights=folder, **where)
    assert name in read_json(result.folder / "environment.json")["weights"]
    data = emolib.open_dataset("own", root)
    test = [data.root / path for path in result.predictions["path"]]
    again = emolib.load(result.folder, weights=folder).predict(test)
    assert np.allclose(again["p_positive"], result.predictions["p_positive"], atol=1e-5)
    finder = proposals.BoxFinder("objects", name, str(folder))
    boxes = finder.find(pipeline.shrunk(data.paths[0], 64))
    with torch.no_grad():
        found = net.eval()([pipeline.shrunk(data.paths[0], 64).permute(2, 0, 1).float() / 255])[0]
    count = int((boxes[:, 4] > 0).sum())
    assert count == min(len(found["scores"]), proposals.COUNT)
    sides = torch.tensor([71.0, 64, 71, 64])
    assert torch.allclose(boxes[:count, :4] * sides, found["boxes"][:count], atol=0.1)
    assert emolib.RunSpec("own", detector=name, init="scratch").detector == "opencv"


def test_boxes_are_kept_by_set_and_size_and_the_predictor_finds_the_same(root):
    data = emolib.open_dataset("own", root)
    for size in (32, 64):
        pictures = pipeline.Pictures(data, size, finder=proposals.BoxFinder("objects"))
        for i in (0, 7):
            image = pipeline.shrunk(data.paths[i], pipeline.short_side(size))
            assert torch.equal(pictures.boxes[i], proposals.BoxFinder("objects").find(image))
    again = pipeline.Pictures(data, 64, finder=proposals.BoxFinder("objects"), cache="off")
    assert torch.equal(again.boxes, pictures.boxes)
    kept = list(cache.folder().glob(f"own-{data.fingerprint()}-objects-*.boxes"))
    assert len(kept) == 2  # a size each
    for file in kept:
        file.unlink()
        file.write_bytes(b"half a file")
    again = pipeline.Pictures(data, 64, finder=proposals.BoxFinder("objects"))
    assert torch.equal(again.boxes, pictures.boxes)
