"""Files made to harm: a clear error that names the file, or the whole of what it says."""

import io
import os
import re
import signal
import struct
import time
import warnings
import zlib

import fuzz
import mutants
import pytest
import trees
from PIL import Image

import emolib
from emolib.data.manifest import write_excluded
from emolib.data.pictures import decode, examine


def saved(kind, **options):
    file = io.BytesIO()
    Image.effect_noise((32, 32), 90).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def scans(count, side):
    """A progressive JPEG said to be `side` px, its last scan `count` times."""
    data = saved("JPEG", progressive=True)
    size, last, end = (
        data.index(b"\xff\xc2") + 5,
        data.rindex(b"\xff\xda"),
        data.rindex(b"\xff\xd9"),
    )
    head = data[:size] + struct.pack(">HH", side, side) + data[size + 4 : last]
    return head + data[last:end] * count + data[end:]


def png(*chunks):
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(bytes(20))), (b"IEND", b"")]
    data = [struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in parts]
    return mutants.summed(b"\x89PNG\r\n\x1a\n" + b"".join(data))


TEXT = (b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000)))
BOMBS = {
    "wide.png": (png((b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 9, 8, 0, 0, 0, 0))), "pixels"),
    "text.png": (png(*[TEXT] * 100), "text chunks"),
    "scans.jpg": (scans(600, 32), "501 or more scans"),
    "large scans.jpg": (scans(30, 9000), "scans of 9000×9000 pixels"),
    "comments.jpg": (b"P3 9000 9000 255\n" + b"#\n" * 500_000, "more than 1000 comments"),
    "canvas.webp": (
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\xff\0" * 2 + bytes(8),
        "pixels",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_bomb_is_refused_at_once(tmp_path, name):
    data, reason = BOMBS[name]
    file = tmp_path / name
    file.write_bytes(data)
    start = time.process_time()
    with pytest.raises(ValueError, match=reason) as raised:
        decode(file)
    assert str(file) in str(raised.value)
    assert reason in examine(file)["status"]
    assert time.process_time() - start < 20  # minutes, if it were decoded


def test_a_file_too_large_to_be_a_picture_is_not_read(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\xff\xd8")
    os.truncate(file, 2**40)
    with pytest.raises(ValueError, match="a.jpg: .*safe to read"):
        decode(file)


def test_the_pages_of_a_tiff_are_not_counted_for_minutes(tmp_path):
    first = saved("TIFF")
    start = struct.unpack("<I", first[4:8])[0]
    next_ = start + 2 + 12 * struct.unpack("<H", first[start : start + 2])[0]
    page, place = first[start:next_], len(first)
    size = len(page) + 4
    pages = [page + struct.pack("<I", place + size * (i + 1)) for i in range(20_000)]
    file = tmp_path / "a.tif"
    file.write_bytes(
        first[:next_] + struct.pack("<I", place) + first[next_ + 4 :] + b"".join(pages)
    )
    assert examine(file)["frames"] == 1000  # of 20,001: it stopped


def test_the_manifest_calls_no_png_whole_that_training_cannot_decode(tmp_path):
    file = tmp_path / "a.png"
    pixels = zlib.compress(bytes(20))
    file.write_bytes(mutants.summed(png().replace(pixels, bytes(len(pixels)))))
    with pytest.raises(ValueError, match="broken data"):
        decode(file)
    assert "broken data" in examine(file)["status"]


# Label files --------------------------------------------------------------------------------


def append(*rows):
    return lambda text: (text.rstrip("\r\n") + "\n" + "\n".join(rows) + "\n").encode()


def put(old, new):
    def changed(text):
        assert old in text
        return text.replace(old, new, 1).encode()

    return changed


OWN, OUT, FI = "own/labels.csv", "own/excluded.csv", "fi/train.json"
LIST, ROI = "twitter1/labels.txt", "emotionroi/ground_truth.txt"
MAKERS = {
    OWN: trees.make_own,
    OUT: mutants.make_excluded,
    FI: mutants.make_fi_json,
    LIST: mutants.make_twitter_list,
    ROI: trees.make_valence,
    "fi/awe.csv": trees.make_fi_votes,
    "fi/test.json": mutants.make_fi_json,
}


@pytest.mark.parametrize(
    "file, change, message",
    [
        (
            OWN,
            append("../outside.jpg,1,0,calm"),
            "line 8 names '../outside.jpg', which is not a pict",
        ),
        (OWN, append("/etc/passwd,1,0,calm"), "line 8 names '/etc/passwd', which is not a picture"),
        (OWN, put("calm", "ca\0lm"), r"not UTF-8 text \(it holds NUL"),
        (OWN, lambda text: text.encode("utf-16"), "not UTF-8 text"),
        (OWN, lambda text: text.encode("latin-1"), "not UTF-8 text"),
        (
            OWN,
            lambda text: b"a," * 1_000_000 + b"\n",
            r"has the columns a,a.*expected path\[,label",
        ),
        (OWN, append("x" * 200_000 + ",1,0,calm"), r"line 8 is no line of CSV \(field larger"),
        (OWN, put("calm", '"calm'), r"line 2 is no line of CSV \(unexpected end of data"),
        (OWN, put("0,calm", "999999999,calm"), "labels.csv: folds must be .* fold 3 has no row"),
        (OWN, put("0,calm", "9" * 5000 + ",calm"), "line 2 has the fold '9999"),
        (OWN, put("calm", "c" * 130_000), "line 2 has an emotion of 130000 characters"),
        (
            OUT,
            append("../outside.jpg,mine"),
            "line 4 names '../outside.jpg', which is not a path of",
        ),
        (
            OUT,
            append("sub/../../outside.jpg,mine"),
            "line 4 names .* which is not a path of a file",
        ),
        (
            OUT,
            append("/etc/passwd,mine"),
            "line 4 names '/etc/passwd', which is not a path of a file",
        ),
        (OUT, append("x" * 5000 + ",mine"), "line 4 names 'xxxx.* which is not a path of a file"),
        (OUT, put('a, b"', "a, b"), "line 2 is no line of CSV"),
        (OUT, lambda text: None, "Is a directory: .*excluded.csv"),
        (ROI, lambda text: None, "Is a directory: .*ground_truth.txt"),
        (ROI, put("\t2\t", "\tnan\t"), "line 2 is .*not all numbers"),
        (ROI, put("\t3.8\t", "\t1e999\t"), "line 2 is .*not all numbers"),
        (FI, lambda text: b"[[" + b"[" * 200_000, r"train.json is not readable as JSON \(maximum"),
        (FI, put(", 0]", f", {'1' * 5000}]"), r"train.json is not readable as JSON \(Exceeds"),
        (FI, put(", 0]", ", NaN]"), r"entry 1 is \['.*', nan\]; expected \[path, class"),
        (FI, put('"A', '"../A'), r"entry 1 names '../A"),
        (FI, lambda text: text.encode("utf-16"), "train.json: not UTF-8 text"),
        (
            "fi/test.json",
            lambda text: b"\x80\xff",
            "test.json is beside lists and is none; mend or",
        ),
        ("fi/test.json", lambda text: None, "test.json is beside lists and is none; mend or"),
        (
            "fi/awe.csv",
            put("https://", "http://["),
            "awe.csv line 2 is .*expected a URL and two votes",
        ),
        (
            "fi/awe.csv",
            put(",4,1", f",{'4' * 5000},1"),
            "awe.csv line 3 is .*expected a URL and two",
        ),
        (LIST, append("../outside.jpg 1"), "line 8 names '../outside.jpg', which is"),
        (LIST, append("y" * 99_000 + " 2"), "line 8 is 'yyy.*expected '<file> <0 or 1>'"),
        (LIST, lambda text: text.encode("utf-16-le"), "labels.txt: not UTF-8 text"),
    ],
)
def test_a_hostile_label_file_is_one_short_line_that_names_it(tmp_path, file, change, message):
    MAKERS[file](tmp_path)
    trees.files(tmp_path, ["outside.jpg"])
    place = tmp_path / file
    with warnings.catch_warnings(action="ignore"):
        emolib.open_dataset(place.relative_to(tmp_path).parts[0], tmp_path)
        data = change(place.read_bytes().decode("utf-8-sig"))
        place.unlink()
        place.mkdir() if data is None else place.write_bytes(data)
        with pytest.raises((ValueError, OSError), match=message) as raised:
            emolib.open_dataset(place.relative_to(tmp_path).parts[0], tmp_path)
    said = str(raised.value)
    assert str(place) in said and len(said) < 1000 and not re.search("[\r\n]", said)


@pytest.mark.parametrize("file", MAKERS)
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n\n"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, file, end):
    MAKERS[file](tmp_path)
    place, name = tmp_path / file, file.partition("/")[0]
    before = emolib.open_dataset(name, tmp_path)
    text = place.read_bytes().decode("utf-8-sig")
    place.write_bytes(re.sub("\r?\n", end, text).encode("utf-8-sig"))
    after = emolib.open_dataset(name, tmp_path)
    assert after.names == before.names and after.labels.tolist() == before.labels.tolist()
    assert after.layout == before.layout


def test_names_may_hold_what_other_programs_take_for_line_ends(tmp_path):
    mutants.make_twitter_list(tmp_path)
    data = emolib.open_dataset("twitter1", tmp_path)
    assert {p.name for p in data.paths} == set(mutants.ODD)


def test_a_label_file_too_large_is_not_read(tmp_path):
    trees.make_own(tmp_path)
    os.truncate(tmp_path / "own/labels.csv", 2**40)
    with pytest.raises(ValueError, match="labels.csv: 1099511627776 bytes"):
        emolib.open_dataset("own", tmp_path)


def test_a_damaged_list_of_exclusions_is_not_added_to(tmp_path):
    mutants.make_excluded(tmp_path)
    data = emolib.open_dataset("own", tmp_path)
    place = tmp_path / "own/excluded.csv"
    place.write_text("path,reason\na,b\nc,d,e\n")
    with pytest.raises(ValueError, match=r"excluded.csv: not readable as CSV \(.*saw 3\)"):
        write_excluded(data, emolib.manifest.manifest(data))
    assert place.read_text() == "path,reason\na,b\nc,d,e\n"


# The fuzzing, in short ----------------------------------------------------------------------


def test_100_mutated_pictures_and_40_label_files_do_no_harm(tmp_path):
    for fuzzed, count in ((fuzz.pictures, 100), (fuzz.labels, 40)):
        found = fuzzed(count, seed=1, keep=tmp_path)
        assert found["faults"] == [] and found["trials"] == count


def test_an_input_that_ends_or_fails_the_reader_is_found_and_the_next_ones_are_read(tmp_path):
    def work(start, stop, seed, keep, tell):
        for number in range(start, stop):
            tell(number)
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 3:
                fuzz.kept("x", number, keep, "wrong")

    found = fuzz.watched("x", work, 5, seed=0, keep=tmp_path, start=0)
    assert found["trials"] == 5 and found["faults"] == ["the child ended with -9", "wrong"]
