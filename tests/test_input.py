"""Crops, batches and the packed cache they come from, on small real trees."""

import multiprocessing
import os
import resource
import shutil
import signal
import time
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from trees import make_twitter, picture

import emolib
from emolib.data import batches as pipeline
from emolib.data import cache, on_device


@pytest.fixture
def data(root):
    return emolib.open_dataset("twitter1", root)


@pytest.mark.parametrize("crop", ["random", "resized"])
def test_augmentation_depends_on_seed_epoch_and_index_alone(data, crop):
    pictures = pipeline.Pictures(data, 32, crop, seed=3)
    item = pictures[(4, 7)][0]
    torch.rand(9)
    np.random.rand(9)
    assert torch.equal(pictures[(4, 7)][0], item)
    others = [pictures[(5, 7)][0], pipeline.Pictures(data, 32, crop, seed=4)[(4, 7)][0]]
    assert item.shape == (32, 32, 3) and not any(torch.equal(item, o) for o in others)


def test_the_cache_gives_the_very_pixels_of_the_files_where_it_says_so(data):
    kept = pipeline.Pictures(data, 32, "random")
    read = pipeline.Pictures(data, 32, "random", cache="off")
    for item in [(0, 3), (7, 3), (-1, 4)]:
        assert torch.equal(kept[item][0], read[item][0])
    # resized crops: from the shrunk picture with the cache, from the picture itself without
    kept = pipeline.Pictures(data, 32, "resized")
    read = pipeline.Pictures(data, 32, "resized", cache="off")
    assert kept.image(3).shape[0] == 37 and read.image(3, whole=True).shape[0] == 40
    assert not torch.equal(kept[(0, 3)][0], read[(0, 3)][0])
    assert torch.equal(kept[(-1, 3)][0], read[(-1, 3)][0])


def test_batches_do_not_depend_on_workers_cache_or_batch_size(data):
    def pixels(cache, workers, size):
        batches = pipeline.Batches(range(len(data)), size, seed=1, shuffle=True)
        batches.epoch = 2
        pictures = pipeline.Pictures(data, 32, seed=1, cache=cache)
        read = torch.utils.data.DataLoader(pictures, batch_sampler=batches, num_workers=workers)
        images, labels, extras = zip(*read, strict=True)
        assert not any(extras)
        return torch.cat(images), torch.cat(labels)

    images, labels = pixels("packed", 0, 6)
    for others in (pixels("off", 2, 6), pixels("packed", 2, 4), pixels("off", 0, 20)):
        assert torch.equal(images, others[0]) and torch.equal(labels, others[1])


@pytest.mark.parametrize("crop, off", [("random", 0), ("resized", 1)])
def test_batches_cut_on_the_device_are_the_hosts(tmp_path, own_cache, crop, off):
    for i, size in enumerate([(60, 40), (40, 61), (37, 37), (300, 40), (41, 90)]):
        picture(tmp_path / f"own/{i}.png", seed=i, size=size)
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(5))
    (tmp_path / "own/labels.csv").write_text("path,label\n" + rows)
    data = emolib.open_dataset("own", tmp_path)
    pictures = pipeline.Pictures(data, 32, crop, seed=1)
    for epoch in (0, 1, 2, -1):
        batches = pipeline.Batches(range(5), 3, shuffle=epoch >= 0)
        batches.epoch = epoch
        host = list(pipeline.loader(pictures, batches))
        device = list(on_device.OnDevice(pictures, batches, pictures.pack.pixels))
        for (images, labels, _), (others, other_labels, _) in zip(host, device, strict=True):
            assert images.dtype == others.dtype == torch.uint8
            assert (images.int() - others.int()).abs().max() <= off * (epoch >= 0)
            assert torch.equal(labels, other_labels)


@pytest.mark.parametrize(
    "n, size, lengths",
    [
        (20, 6, [6, 6, 6, 2]),
        (19, 6, [6, 6, 7]),
        (1, 6, [1]),
        (12, 6, [6, 6]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_an_epoch_holds_each_picture_once_and_no_batch_of_one(n, size, lengths):
    batches = pipeline.Batches(range(n), size, seed=0, shuffle=True)
    batches.epoch = 0
    parts = list(batches)
    assert [len(p) for p in parts] == lengths
    assert sorted(i for part in parts for _, i in part) == list(range(n))


def test_random_boxes_reach_every_place_and_flip_half_the_time():
    numbers = pipeline.draws(0, 1, 4000)
    boxes = np.array([pipeline.random_box(36, 40, 32, row) for row in numbers])
    assert set(boxes[:, 0]) == set(range(5)) and set(boxes[:, 1]) == set(range(9))
    assert abs(boxes[:, 4].mean() - 0.5) < 0.04
    assert np.array_equal(pipeline.draws(0, 1, 9), numbers[:9])


@pytest.mark.parametrize("h, w", [(256, 384), (256, 256), (30, 500)])
def test_resized_boxes_are_distributed_as_torchvisions(h, w):
    theirs = v2.RandomResizedCrop(224)
    image = torch.empty(3, h, w)
    torch.manual_seed(0)
    drawn = [theirs.make_params([image]) for _ in range(2000)]
    drawn = np.array([[p[k] for k in ("top", "left", "height", "width")] for p in drawn])
    ours = np.array([pipeline.resized_box(h, w, n)[:4] for n in pipeline.draws(0, 0, 2000)])
    assert (ours[:, 0] + ours[:, 2] <= h).all() and (ours[:, 1] + ours[:, 3] <= w).all()
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        off = np.abs(np.quantile(ours, q, axis=0) - np.quantile(drawn, q, axis=0))
        assert (off <= 0.06 * np.array([h, w, h, w]) + 1).all(), q


def test_a_crop_is_cut_resized_and_flipped_as_torchvision_does():
    image = torch.randint(0, 256, (40, 57, 3), dtype=torch.uint8)
    ours = pipeline.cut(image, (3, 5, 20, 31, True), 32)
    theirs = v2.functional.resized_crop(image.permute(2, 0, 1), 3, 5, 20, 31, [32, 32])
    assert torch.equal(ours, v2.functional.horizontal_flip(theirs).permute(1, 2, 0))


def test_evaluation_takes_the_centre_of_the_shrunk_picture(tmp_path):
    file = picture(tmp_path / "a.png", size=(256, 256))
    whole = emolib.data.pictures.decode(file).permute(1, 2, 0)
    assert torch.equal(pipeline.centre(file, 224), whole[16:240, 16:240])


def test_normalised_batches_are_channels_last_with_the_models_mean_and_std():
    cfg = {"mean": (0.5, 0.25, 0), "std": (0.5, 0.5, 1)}
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    out = pipeline.normalise(images, cfg, torch.device("cpu"))
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = v2.functional.normalize(images.permute(0, 3, 1, 2) / 255, cfg["mean"], cfg["std"])
    torch.testing.assert_close(out, expected)


def test_a_pack_is_made_once_and_another_one_for_changed_data_or_size(tmp_path, own_cache):
    make_twitter(tmp_path)

    def pack(side=37):
        return cache.packed(emolib.open_dataset("twitter1", tmp_path), side)

    first = pack()
    stamp = first.file.stat().st_ino
    assert pack().file.stat().st_ino == stamp and len(list(own_cache.glob("*.safetensors"))) == 1
    assert pack(side=40).file != first.file
    changed = picture(tmp_path / "twitter1/Agg_AMT_Candidates/0_é b.JPG", seed=1, format="JPEG")
    again = pack()
    assert again.file != first.file
    assert torch.equal(again[0], cache.shrunk(changed, 37)) and not torch.equal(again[0], first[0])


def test_a_damaged_pack_is_made_again(data, own_cache):
    pack = cache.packed(data, 37)
    expected = pack[5].clone()
    whole = pack.file.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"\xff" * 600):
        pack.file.unlink()
        pack.file.write_bytes(damage)
        assert torch.equal(cache.packed(data, 37)[5], expected)


def test_packs_unused_for_longest_make_room_for_new_ones(data, own_cache, monkeypatch):
    monkeypatch.setenv("EMOLIB_CACHE_GB", "0.00025")  # 250 kB: two packs of 20 pictures 37 px high
    first, second = cache.packed(data, 37), cache.packed(data, 38)
    os.utime(second.file, (1, 1))
    third = cache.packed(data, 39)
    assert first.file.exists() and third.file.exists() and not second.file.exists()
    assert second[3].sum() > 0  # whoever reads it goes on


@pytest.mark.parametrize(
    "total, free, kept",
    [(20e12, 1e12, True), (20e12, 5.00001e9, False), (250e9, 15e9, True), (1e9, 1.0001e8, False)],
)
def test_a_disk_that_is_nearly_full_and_large_has_room(
    data, own_cache, monkeypatch, total, free, kept
):
    usage = shutil.disk_usage(data.root)._replace(total=int(total), free=int(free))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with nullcontext() if kept else pytest.warns(UserWarning, match="and 0.00 are allowed"):
        pack = cache.packed(data, 37)
    assert (pack is not None) == kept


@pytest.mark.parametrize("gigabytes, message", [("0.00001", "are allowed"), ("0", "are allowed")])
def test_without_room_pictures_are_decoded_and_it_is_said(
    data, own_cache, monkeypatch, gigabytes, message
):
    monkeypatch.setenv("EMOLIB_CACHE_GB", gigabytes)
    with pytest.warns(UserWarning, match=f"twitter1: no packed cache in .*{message}"):
        pictures = pipeline.Pictures(data, 32)
    assert pictures.pack is None and not list(own_cache.glob("*.safetensors"))
    assert torch.equal(pictures[(0, 1)][0], pipeline.Pictures(data, 32, cache="off")[(0, 1)][0])
    monkeypatch.setenv("EMOLIB_CACHE_GB", "much")
    with pytest.raises(ValueError, match="EMOLIB_CACHE_GB='much': must be a number"):
        pipeline.Pictures(data, 32)


def test_a_folder_that_cannot_be_written_is_no_obstacle(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="no packed cache in"):
        assert pipeline.Pictures(data, 32).pack is None


FORK = multiprocessing.get_context("fork")


def maker(data, answers=None, before=lambda: None):
    """Another process that packs `data` and answers with the sum of its pixels, or None."""

    def make():
        before()
        warnings.simplefilter("ignore")
        pack = cache.packed(data, 37)
        if answers:
            answers.put(None if pack is None else int(pack.pixels.sum()))

    process = FORK.Process(target=make)
    process.start()
    return process


def test_a_disk_that_fills_up_while_packing_leaves_nothing_behind(data, own_cache):
    def small_disk():  # the system refuses to write beyond
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    answers = FORK.Queue()
    process = maker(data, answers, small_disk)
    assert answers.get(timeout=60) is None
    process.join()
    assert [p for p in own_cache.iterdir() if p.suffix != ".lock"] == []


def test_a_killed_maker_is_replaced_and_two_at_once_make_one_pack(data, own_cache, monkeypatch):
    with monkeypatch.context() as slow:
        slow.setattr(cache, "shrunk", lambda *a: time.sleep(60))
        killed = maker(data)
    while not list(own_cache.glob(".*.safetensors.*")):
        assert killed.is_alive()
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert list(own_cache.glob(".*")) and not list(own_cache.glob("*.safetensors"))
    answers = FORK.Queue()
    both = [maker(data, answers), maker(data, answers)]
    sums = [answers.get(timeout=60) for _ in both]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pack = cache.packed(data, 37)
    assert sums == [int(pack.pixels.sum())] * 2
    left = [p.name for p in own_cache.iterdir() if p.suffix != ".lock"]
    assert left == [pack.file.name]


def test_an_unreadable_picture_is_named_with_and_without_the_cache(tmp_path, own_cache):
    make_twitter(tmp_path)
    broken = tmp_path / "twitter1/Agg_AMT_Candidates/3_é b.JPG"
    broken.write_bytes(broken.read_bytes()[:400])
    data = emolib.open_dataset("twitter1", tmp_path)
    for check in (lambda: pipeline.Pictures(data, 32), lambda: pipeline.decode_all(data)):
        with pytest.raises(ValueError, match="3_é b.JPG: not a readable picture"):
            check()
    other = data.paths[0]
    whole = other.read_bytes()
    other.write_bytes(whole[:300])
    with pytest.raises(ValueError, match="2 pictures cannot be used") as caught:
        pipeline.decode_all(data)
    assert other.name in str(caught.value) and "3_é b.JPG" in str(caught.value)
    other.write_bytes(whole)
    broken.unlink()
    with pytest.raises(FileNotFoundError, match="3_é b.JPG"):
        pipeline.Pictures(data, 32)


def test_a_device_keeps_one_copy_of_a_pack_while_it_is_used(data):
    pack = cache.packed(data, 37)
    first = on_device.pixels_of(pack, torch.device("cpu"))
    again = on_device.pixels_of(cache.packed(data, 37), torch.device("cpu"))
    assert again is first and torch.equal(first, pack.pixels)
    assert first.data_ptr() != pack.pixels.data_ptr()
    del first, again
    assert not on_device._resident


def test_a_damaged_pack_that_cannot_be_removed_is_no_obstacle(data, own_cache, monkeypatch):
    pack = cache.packed(data, 37)
    pack.file.write_bytes(b"half")

    def refused(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(pack.file), "unlink", refused)
    with pytest.warns(UserWarning, match="no packed cache in .*Permission denied"):
        assert cache.packed(data, 37) is None
