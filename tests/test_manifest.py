"""Odd and broken pictures decode to known pixels or say why not; the manifest's cache is honest."""

import io
import struct
import threading
import warnings
import zlib

import imagehash
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2
from trees import picture

from emolib.data import batches as pipeline
from emolib.data import manifest as module
from emolib.data import pictures
from emolib.data.datasets import Dataset
from emolib.data.manifest import manifest, unreadable, write_excluded
from emolib.data.pictures import decode, examine


def scene(size=(64, 48)):
    """A smooth picture, so that JPEG changes it little."""
    x, y = np.meshgrid(np.linspace(20, 230, size[0]), np.linspace(20, 230, size[1]))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], -1).astype(np.uint8))


def noise(size=(64, 48)):
    """A picture whose file is nearly all pixels, so that a cut hits these."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(image, **options):
    return saved(image, "JPEG", **options)


def png(width, height, depth, colour, rows, *chunks):
    """A PNG by the letter of its specification, without Pillow."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def words(*values):
    """A PNG row of 16-bit values, no filter."""
    return b"\0" + struct.pack(f">{len(values)}H", *values)


def colours(file):
    """The decoded pixels of the first row as tuples."""
    return [tuple(pixel) for pixel in decode(file)[:, 0].T.tolist()]


def write(path, data):
    path.write_bytes(data)
    return path


def test_ordinary_pictures_decode_to_the_pixels_that_pillow_gives(tmp_path):
    for name in ("a.jpg", "b.png", "c.bmp", "d.webp"):
        file = picture(tmp_path / name, seed=3)
        with Image.open(file) as image:
            expected = v2.functional.pil_to_tensor(ImageOps.exif_transpose(image).convert("RGB"))
        assert torch.equal(decode(file), expected)
        assert expected.shape == (3, 40, 48) and examine(file)["notes"] == ""
    assert pipeline.decode is decode


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    grey = write(tmp_path / "g.png", png(3, 1, 16, 0, [words(0, 32896, 65535)]))
    assert colours(grey) == [(0,) * 3, (128,) * 3, (255,) * 3]
    assert examine(grey)["notes"] == "16-bit;grey"
    colour = write(tmp_path / "c.png", png(2, 1, 16, 2, [words(32896, 0, 65535, 257, 514, 771)]))
    assert colours(colour) == [(128, 0, 255), (1, 2, 3)]
    assert examine(colour)["notes"] == "16-bit"
    tiff = tmp_path / "g.tif"
    Image.fromarray(np.array([[32896, 65535]], np.uint16)).save(tiff)
    assert colours(tiff) == [(128,) * 3, (255,) * 3]


def test_sixteen_bit_pictures_with_a_transparent_colour_show_white_there(tmp_path):
    grey = png(2, 1, 16, 0, [words(4660, 32896)], (b"tRNS", struct.pack(">H", 4660)))
    assert colours(write(tmp_path / "g.png", grey)) == [(255,) * 3, (128,) * 3]
    key = (b"tRNS", struct.pack(">3H", 4660, 4660, 4660))
    colour = png(2, 1, 16, 2, [words(4660, 4660, 4660, 32896, 0, 0)], key)
    assert colours(write(tmp_path / "c.png", colour)) == [(255,) * 3, (128, 0, 0)]


def test_alpha_is_composited_on_white(tmp_path):
    cases = {
        "rgba.png": (Image.new("RGBA", (4, 4), (255, 0, 0, 128)), {}, (255, 127, 127)),
        "la.png": (Image.new("LA", (4, 4), (0, 128)), {}, (127, 127, 127)),
        "hidden.png": (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), {}, (255, 255, 255)),
        "key.png": (Image.new("RGB", (4, 4), (1, 2, 3)), {"transparency": (1, 2, 3)}, (255,) * 3),
        "webp.webp": (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), {"lossless": True}, (255,) * 3),
    }
    for name, (image, options, expected) in cases.items():
        image.save(tmp_path / name, **options)
        assert colours(tmp_path / name)[0] == expected, name
        assert "alpha on white" in examine(tmp_path / name)["notes"], name


def test_palettes_keep_their_colours_and_their_holes_are_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    image.save(tmp_path / "hole.png", transparency=0)
    image.save(tmp_path / "half.png", transparency=b"\x80\xff")
    image.save(tmp_path / "hole.gif", transparency=0)
    assert colours(tmp_path / "p.png") == [(10, 20, 30), (200, 100, 50)]
    assert colours(tmp_path / "hole.png") == [(255,) * 3, (200, 100, 50)]
    assert colours(tmp_path / "half.png") == [
        (132, 137, 142),
        (200, 100, 50),
    ]
    assert colours(tmp_path / "hole.gif") == [(255,) * 3, (200, 100, 50)]
    assert examine(tmp_path / "p.png")["notes"] == "palette"
    assert examine(tmp_path / "hole.png")["notes"] == "palette;alpha on white"


def test_cmyk_jpegs_are_not_inverted(tmp_path):
    """No cyan, all magenta and yellow is red; JPEG stores it as Adobe does, inverted."""
    data = jpeg(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=100)
    assert b"Adobe" in data
    assert colours(write(tmp_path / "a.jpg", data))[0] == (255, 0, 0)
    assert examine(tmp_path / "a.jpg")["notes"] == "CMYK"
    # The same file said to be YCCK: the stored 255, 0, 0 is then Y, Cb, Cr, which is the R, G, B
    # 76, 255, 28; libjpeg makes 255 - these of it, the inverted C, M, Y: they are 76, 255, 28.
    place = data.index(b"Adobe") + 11
    ycck = data[:place] + b"\x02" + data[place + 1 :]
    assert np.abs(np.array(colours(write(tmp_path / "y.jpg", ycck))[0]) - (180, 0, 227)).max() <= 1


def test_grey_and_one_bit_pictures_become_three_equal_channels(tmp_path):
    Image.new("L", (4, 4), 77).save(tmp_path / "l.jpg", quality=100)
    Image.new("1", (4, 4), 1).save(tmp_path / "1.png")
    assert colours(tmp_path / "l.jpg")[0] == (77,) * 3
    assert colours(tmp_path / "1.png")[0] == (255,) * 3
    assert examine(tmp_path / "l.jpg")["notes"] == examine(tmp_path / "1.png")["notes"] == "grey"


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: top of the scene is at the right
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 16))
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        image.save(tmp_path / name, exif=exif)
        pixels = decode(tmp_path / name)
        assert pixels.shape == (3, 32, 16), name
        assert pixels[:, 2].min() > 250 and pixels[:, 30].max() < 5, name  # left becomes top
        facts = examine(tmp_path / name)
        assert (facts["width"], facts["height"], facts["notes"]) == (16, 32, "exif rotated"), name


def test_a_broken_exif_block_costs_neither_the_picture_nor_a_warning(tmp_path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
    file = write(tmp_path / "a.jpg", jpeg(scene(), exif=exif))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(file).shape == (3, 48, 64) and examine(file)["status"] == "ok"


def test_decoding_in_threads_leaves_the_warning_filters_alone(tmp_path):
    file, before = picture(tmp_path / "a.jpg"), list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(file) for _ in range(30)]) for _ in "1234"]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert warnings.filters == before


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert colours(tmp_path / name)[0] == (255, 0, 0), name
        facts = examine(tmp_path / name)
        assert facts["frames"] == 3 and "animated, first frame" in facts["notes"], name


def test_content_decides_and_not_the_name(tmp_path):
    file = write(tmp_path / "a.PNG", jpeg(scene()))
    facts = examine(file)
    assert (facts["format"], facts["notes"]) == ("JPEG", "named .PNG, is JPEG")
    assert decode(file).shape == (3, 48, 64)


WHOLE = saved(noise(), "PNG")
BROKEN = {
    "empty.jpg": (b"", "empty file"),
    "page.jpg": (b"<!DOCTYPE html><p>404", "not a picture (starts with b'<!DOCTYPE ht')"),
    "cut.jpg": (jpeg(noise())[:-300], "image file is truncated"),
    "cut2.jpg": (jpeg(noise())[:-2], "image file is truncated"),
    "progressive.jpg": (jpeg(noise(), progressive=True)[:-300], "image file is truncated"),
    "mended.jpg": (jpeg(noise())[:-300] + b"\xff\xd9", "grey or noise"),
    "zeros.jpg": (jpeg(noise())[:-300] + bytes(300), "grey or noise"),
    "cut.png": (saved(noise(), "PNG")[:-900], "image file is truncated"),
    "zeros.png": (saved(noise(), "PNG")[:-900] + bytes(900), "broken"),
    # the checksum of the pixels, before the 12 bytes of the last chunk, is not that of the pixels
    "sum.png": (WHOLE[:-13] + bytes([WHOLE[-13] ^ 1]) + WHOLE[-12:], "bad header checksum"),
    "cut.gif": (saved(noise(), "GIF")[:-900], "image file is truncated"),
    "cut.webp": (saved(noise(), "WEBP")[:-900], "decoder"),
    "bomb.png": (png(10000, 9000, 1, 0, []), "10000×9000 pixels"),
    "bigger.png": (png(30000, 30000, 1, 0, []), "900000000 pixels"),
    "drawing.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "EPS is"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unreadable_picture_is_an_error_that_names_it(tmp_path, name):
    data, reason = BROKEN[name]
    file = write(tmp_path / name, data)
    with pytest.raises(ValueError, match="copy it again, or take it out") as raised:
        decode(file)
    assert str(file) in str(raised.value) and reason in str(raised.value)
    facts = examine(file)
    assert reason in facts["status"] and str(tmp_path) not in facts["status"]
    assert facts["bytes"] == len(data) and len(facts["sha256"]) == 64
    assert (facts["width"], facts["height"], facts["frames"], facts["phash"]) == (0, 0, 0, "")


def test_float_pictures_are_refused_and_missing_ones_are_missing(tmp_path):
    Image.new("F", (4, 4), 0.5).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match="no agreed white"):
        decode(tmp_path / "f.tif")
    for function in (decode, examine):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "none.jpg")


def test_a_whole_picture_with_a_grey_corner_is_readable(tmp_path):
    image = scene()
    image.paste((128, 128, 128), (0, 16, 64, 48))
    assert examine(write(tmp_path / "a.jpg", jpeg(image, quality=95)))["status"] == "ok"


@pytest.mark.parametrize("rest", [bytes(500), b"junk\xff\xd9" + bytes(20), b"junk"])
def test_what_follows_a_whole_jpeg_does_no_harm(tmp_path, rest):
    file = write(tmp_path / "a.jpg", jpeg(noise()) + rest)
    assert torch.equal(decode(file), decode(write(tmp_path / "b.jpg", jpeg(noise()))))


def test_hashes_are_those_of_the_decoded_picture(tmp_path):
    for seed in range(5):
        low = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        file = tmp_path / f"{seed}.jpg"
        Image.fromarray(low).resize((400, 300), Image.Resampling.BICUBIC).save(file)
        exact = imagehash.phash(Image.fromarray(decode(file).permute(1, 2, 0).numpy()))
        assert exact - imagehash.hex_to_hash(examine(file)["phash"]) <= 2


@pytest.fixture
def data(tmp_path):
    """Six pictures, two of them unreadable; one name looks like a number with an exponent."""
    root = tmp_path / "set"
    names = ["joy/1.jpg", "joy/é, b.jpg", "joy/NA.jpg", 'sad/"q".jpg', "sad/x.jpg", "sad/z.jpg"]
    for i, name in enumerate(names):
        picture(root / name, seed=i)
    write(root / "sad/x.jpg", b""), write(root / "sad/z.jpg", b"no, picture")
    paths = [root / name for name in names]
    return Dataset("twitter1", root, paths, np.array([1, 1, 1, 0, 0, 0]))


@pytest.fixture
def examined(monkeypatch):
    """The names of the files that were read."""
    names = []
    real = pictures.examine
    monkeypatch.setattr(module, "examine", lambda path: (names.append(path.name), real(path))[1])
    return names


def test_the_manifest_has_one_row_a_picture_in_the_set_s_order(data):
    frame = manifest(data)
    assert list(frame.columns) == module.MANIFEST_COLUMNS and list(frame["path"]) == data.names
    assert list(frame["label"]) == [1, 1, 1, 0, 0, 0] and set(frame["emotion"]) == {""}
    assert set(frame["width"][:4]) == {48} and set(frame["height"][:4]) == {40}
    assert list(frame["bytes"]) == [p.stat().st_size for p in data.paths]
    bad = unreadable(frame)
    assert list(bad["path"]) == ["sad/x.jpg", "sad/z.jpg"]
    assert list(bad["status"])[0] == "empty file" and "not a picture" in list(bad["status"])[1]


def test_unchanged_files_are_not_read_again_and_the_frame_is_the_same(data, tmp_path, examined):
    cache = tmp_path / "manifest.csv"
    first = manifest(data, cache)
    assert len(examined) == 6
    examined.clear()
    pd.testing.assert_frame_equal(manifest(data, cache, workers=1), first)
    assert examined == []


def test_hashes_that_look_like_numbers_survive_the_cache(data, tmp_path, monkeypatch):
    def facts(path):
        return examine(path) | {"phash": "00000000000000e1", "sha256": "1" * 64}

    monkeypatch.setattr(module, "examine", facts)
    first = manifest(data, tmp_path / "m.csv")
    pd.testing.assert_frame_equal(manifest(data, tmp_path / "m.csv"), first)


def test_a_changed_file_is_read_again_and_a_changed_label_shows(data, tmp_path, examined):
    cache = tmp_path / "manifest.csv"
    first = manifest(data, cache)
    examined.clear()
    picture(data.paths[1], seed=99, size=(60, 30))
    other = Dataset("twitter1", data.root, data.paths, 1 - data.labels, np.array(["awe"] * 6))
    frame = manifest(other, cache)
    assert examined == ["é, b.jpg"] and frame["width"][1] == 60
    assert list(frame["label"]) == [0, 0, 0, 1, 1, 1] and set(frame["emotion"]) == {"awe"}
    assert frame["sha256"][0] == first["sha256"][0] and frame["sha256"][1] != first["sha256"][1]
    assert set(manifest(data, cache)["emotion"]) == {""}


DAMAGES = {
    "half a file": lambda text: text[: len(text) // 2],
    "a cut last line": lambda text: text[:-5],
    "an edited row": lambda text: text.replace("empty file", "ok"),
    "other columns": lambda text: "a,b\n1,2\n",
    "nothing": lambda text: "",
    "no table": lambda text: 'x"\n"y,\n\0',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew_with_a_warning(data, tmp_path, examined, damage):
    cache = tmp_path / "manifest.csv"
    first = manifest(data, cache)
    whole = cache.read_text(encoding="utf-8")
    cache.write_text(DAMAGES[damage](whole), encoding="utf-8")
    examined.clear()
    with pytest.warns(UserWarning, match="manifest.csv: not used"):
        frame = manifest(data, cache)
    pd.testing.assert_frame_equal(frame, first)
    assert len(examined) == 6 and cache.read_text(encoding="utf-8") == whole


def test_a_cache_of_another_version_is_not_trusted(data, tmp_path, monkeypatch):
    manifest(data, tmp_path / "m.csv")
    monkeypatch.setattr(module, "MANIFEST_VERSION", "2")
    with pytest.warns(UserWarning, match="other versions"):
        manifest(data, tmp_path / "m.csv")


def test_unreadable_pictures_are_added_to_those_excluded_before(data):
    listed = data.root / "excluded.csv"
    listed.write_text('path,reason\nsad/x.jpg,"mine, by hand"\nold.jpg,\n', encoding="utf-8")
    frame = manifest(data)
    assert write_excluded(data, frame) == 1 and write_excluded(data, frame) == 0
    table = pd.read_csv(listed, keep_default_na=False)
    assert list(table["path"]) == ["sad/x.jpg", "old.jpg", "sad/z.jpg"]
    assert list(table["reason"])[:2] == ["mine, by hand", ""]
    listed.write_text("file\na.jpg\n")
    with pytest.raises(ValueError, match="excluded.csv: has other columns"):
        write_excluded(data, frame)


def test_nothing_is_written_where_every_picture_is_readable(data):
    frame = manifest(data)
    assert write_excluded(data, frame[frame["status"] == "ok"]) == 0
    assert not (data.root / "excluded.csv").exists()
