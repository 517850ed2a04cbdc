"""Whole pictures and label files, and what becomes of them: the inputs of `fuzz`.

A picture is changed by a seeded generator, a label file by hypothesis' strategies.
"""

import io
import re
import struct
import zlib

import numpy as np
import trees
from hypothesis import strategies as st
from PIL import Image

WORDS = [
    "0",
    "1",
    "2",
    "-1",
    "",
    " ",
    "\t",
    ",",
    '"',
    "'",
    "\\",
    "\0",
    "\ufeff",
    "\u2028",
    "\x0c",
    "\x85",
    "\x1b[31m",
    "é",
    "e\u0301",
    "ß",
    "😀",
    "../outside.jpg",
    "../../outside.jpg",
    "/etc/passwd",
    "a/../../outside.jpg",
    "C:\\x.jpg",
    "./",
    "..",
    "%2e%2e%2f",
    "~",
    "nan",
    "inf",
    "1e999",
    "9" * 30,
    "9" * 5000,
    "٣",
    "²",
    "x" * 300,
    "y" * 140_000,
    "http://[",
    "a.jpg 1",
    "path,label",
    "url,agree,disagree",
    "[[",
    "]]",
    "null",
    "NaN",
]


# Pictures -----------------------------------------------------------------------------------


def originals() -> list[tuple[str, bytes]]:
    """(suffix, content) of whole small pictures of every format that is read."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    rgba, grey = rgb.convert("RGBA"), rgb.convert("L")
    rgba.putalpha(grey)
    deep = Image.fromarray(rng.integers(0, 65536, (30, 40), dtype=np.uint16))
    more = [rgb.rotate(90 * k) for k in (1, 2)]
    exif = Image.Exif()
    exif[0x0112] = 6
    film = dict(save_all=True, append_images=more, duration=50)
    kinds = [
        (rgb, "JPEG", {}),
        (rgb, "JPEG", dict(progressive=True)),
        (rgb, "JPEG", dict(exif=exif)),
        (rgb.convert("CMYK"), "JPEG", {}),
        (grey, "JPEG", {}),
        (rgb, "PNG", {}),
        (rgba, "PNG", {}),
        (deep, "PNG", {}),
        (rgb, "PNG", dict(exif=exif)),
        (rgb.quantize(16), "PNG", dict(transparency=3)),
        (rgb, "PNG", film),
        (rgb, "GIF", film),
        (rgb.quantize(8), "GIF", dict(transparency=2, comment=b"c" * 300)),
        (rgb, "WEBP", {}),
        (rgb, "WEBP", dict(lossless=True)),
        (rgba, "WEBP", film),
        (rgb, "BMP", {}),
        (rgb, "TIFF", dict(compression="tiff_lzw")),
        (deep, "TIFF", {}),
        (rgb, "TIFF", film),
        (rgb, "TIFF", dict(compression="jpeg")),
        (rgba, "AVIF", {}),
        (rgb, "JPEG2000", {}),
        (rgb, "PPM", {}),
        (rgb, "MPO", film),  # last: a save leaves settings in its images
    ]
    found = []
    for image, kind, options in kinds:
        file = io.BytesIO()
        image.copy().save(file, kind, **options)
        found.append((f".{kind.lower()[:4]}", file.getvalue()))
    interlaced = zlib.compress(b"".join(b"\0" + b"\x80" * 3 * n for n in (1, 1, 2, 2, 2, 4, 4)))
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 1)
    parts = [(b"IHDR", head), (b"tEXt", b"a\0b"), (b"zTXt", b"a\0\0" + zlib.compress(b"b" * 9000))]
    parts += [(b"IDAT", interlaced), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in parts]
    found.append((".png", summed(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))))
    return found


def summed(data: bytes) -> bytes:
    """A PNG with its checksums put right, so that what was changed is looked at."""
    out, place = data[:8], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4])
        if end + 4 > len(data):
            break
        out += data[place:end] + struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return out + data[place:]


# Where width and height are: what stands before them, bytes a number, their order.
SIZES = [
    (rb"IHDR|ihdr", 4, "big"),
    (rb"GIF8[79]a", 2, "little"),
    (rb"VP8X.{8}", 3, "little"),
    (rb"\xff[\xc0-\xc3]...", 2, "big"),
    (rb"^BM.{16}", 4, "little"),
    (rb"ispe.{4}", 4, "big"),
    (rb"\xff\x51.{4}", 4, "big"),
]
NUMBERS = [0, 1, 2, 127, 255, 256, 9000, 16383, 32768, 65535, 2**24 - 1, 2**31 - 1, 2**32 - 1]
NUMBERS += list(range(10, 90, 5))


def mutate(data: bytes, others: list, rng) -> bytes:
    """One change of `data`; `others`: whole pictures to join it with."""
    at, kind = int(rng.integers(len(data) + 1)), rng.integers(11)
    marks = re.finditer(rb"\xff[\xc0-\xfe]|.{4}(?=[A-Za-z]{4})|[!,]", data, re.DOTALL)
    cuts = sorted(m.start() for m in marks) or [0]
    a, b = sorted(int(i) for i in rng.choice([*cuts, at, len(data)], 2))
    other = others[rng.integers(len(others))][1]
    if kind < 2:  # bits
        values = np.frombuffer(data, np.uint8).copy()
        for i in rng.integers(0, max(1, len(data)), rng.integers(1, 9)) if data else ():
            values[i] ^= 1 << rng.integers(8)
        return values.tobytes()
    if kind == 2:  # a number
        size = int(rng.choice([1, 2, 4]))
        value = int(rng.choice(NUMBERS)) % 256**size
        return data[:at] + value.to_bytes(size, rng.choice(["big", "little"])) + data[at + size :]
    if kind == 3:  # width and height
        places = [
            (m.end(), n, order)
            for pattern, n, order in SIZES
            for m in re.finditer(pattern, data, re.DOTALL)
        ]
        if places:
            at, n, order = places[rng.integers(len(places))]
            sizes = [(int(v) % 256**n).to_bytes(n, order) for v in rng.choice(NUMBERS, 2)]
            return data[:at] + b"".join(sizes) + data[at + 2 * n :]
    simple = [
        data[:at],  # an end that is missing
        data[:a] + data[b:],  # a part that is
        data[:b] + data[a:b] * int(rng.choice([1, 2, 50])) + data[b:],  # one that repeats
        data[:a] + bytes(min(b - a, 4000)) + data[b:],  # zeros
        data[:at] + rng.bytes(rng.integers(1, 40)) + data[at:],
        data + other,
        data[:a] + other[int(rng.integers(len(other))) :],
    ]
    return simple[kind % len(simple)]


def mutated_picture(number: int, seed: int, whole: list) -> tuple[str, bytes]:
    rng = np.random.default_rng([seed, number])
    suffix, data = whole[rng.integers(len(whole))]
    for _ in range(rng.integers(1, 4)):
        data = mutate(data, whole, rng)
    return suffix, summed(data) if data[:4] == b"\x89PNG" and rng.integers(4) else data


# Label files --------------------------------------------------------------------------------

ODD = ["a b.jpg", "c\u2028d.jpg", "e\x0cf.jpg", "g\x85h.jpg", "i..jpg", "j, k.jpg", "l'm.jpg"]


def make_twitter_list(root):
    """images/ and labels.txt, names that hold what other programs take for line ends."""
    trees.files(root / "twitter1/images", ODD)
    trees.write(root / "twitter1/labels.txt", *(f"{name} {i % 2}" for i, name in enumerate(ODD)))


def make_fi_text(root):
    names = trees.fi_names(2)
    trees.files(root / "fi/images", names)
    for part, chosen in (("train", names[:8]), ("test_list", names[8:])):
        trees.write(root / f"fi/{part}.txt", *(f"{n} {n.split('/')[0]}" for n in chosen))


def make_fi_json(root):
    trees.make_fi_json(root)
    file = root / "fi/train.json"  # a line an entry, so that lines can be changed
    file.write_text(file.read_text(encoding="utf-8").replace("], [", "],\n["), encoding="utf-8")


def make_excluded(root):
    trees.make_own(root)
    trees.write(root / "own/excluded.csv", "path,reason", 'sub/ü 1.PNG,"a, b"', "sub/ü 4.PNG,")


def make_split(root):
    trees.make_valence(root)
    names = [f"{emotion}/{i}.jpg" for emotion in trees.ROI for i in range(3)]
    trees.write(root / "emotionroi/training_testing_split/training.txt", *names)


# Who makes a tree, and which of its files are changed.
LABELS = [
    (trees.make_twitter_agree, "twitter1/ground_truth/twitter_three_agrees.txt"),
    (trees.make_twitter_agree, "twitter1/ground_truth/three_agrees/test2/train.txt"),
    (trees.make_twitter_agree, "twitter1/ground_truth/three_agrees/test5/test.txt"),
    (make_twitter_list, "twitter1/labels.txt"),
    (make_fi_json, "fi/train.json"),
    (make_fi_json, "fi/test.json"),
    (make_fi_text, "fi/train.txt"),
    (make_fi_text, "fi/test_list.txt"),
    (trees.make_fi_votes, "fi/awe.csv"),
    (lambda root: trees.make_fi_votes(root, header=False), "fi/fear_0.csv"),
    (make_split, "emotionroi/ground_truth.txt"),
    (make_split, "emotionroi/training_testing_split/training.txt"),
    (trees.make_own, "own/labels.csv"),
    (make_excluded, "own/labels.csv"),
    (make_excluded, "own/excluded.csv"),
]
HEAVY = {
    "columns": lambda good: good + b"\n" + b"a," * 1_000_000,
    "tabs": lambda good: b"a.jpg" + b"\t1" * 1_000_000 + b"\n" + good,
    "field": lambda good: good + b"\n" + b"x" * 200_000 + b",1,2,3",
    "rows": lambda good: good + good[good.find(b"\n") + 1 :] * 2_000,
    "blank lines": lambda good: good + b"\r" * 300_000,
    "deep": lambda good: b"[[" + b"[" * 200_000,
    "deep, closed": lambda good: b"[[" + b"[" * 900 + b"]" * 902,
    "long number": lambda good: good.replace(b"1", b"1" * 5_000),
    "larger number": lambda good: good.replace(b"1", b"1" * 25),
    "nan": lambda good: good.replace(b"1", b"NaN"),
    "infinity": lambda good: good.replace(b"2", b"Infinity"),
    "half": lambda good: good[: len(good) // 2],
    "twice": lambda good: good + good,
    "nothing": lambda good: b"",
    "mark only": lambda good: b"\xef\xbb\xbf",
    "zeros": lambda good: bytes(5_000),
    "a folder": lambda good: None,
}


def label_bytes(good: bytes):
    """A strategy of changed contents; None stands for a folder in the file's place."""
    word = st.one_of(st.sampled_from(WORDS), st.text(max_size=30))
    change = st.tuples(
        st.sampled_from(["drop", "again", "swap", "add", "cell", "glue", "glue"]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        word,
    )
    odd = ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"]
    code = st.sampled_from(["utf-8"] * 15 + odd)
    end = st.sampled_from(["\n", "\r\n", "\r", "\n\n"] * 3 + ["\u2028", "\x0c"])

    def edited(changes, end, code):
        rows = re.split("\r\n|\r|\n", good.decode("utf-8-sig"))
        for what, i, j, word in changes:
            i, j = i % len(rows), j % len(rows)
            cells = re.split("([,\t ])", rows[i])
            k = j % len(cells)
            rows[i : i + 1] = {
                "drop": [],
                "again": [rows[i], rows[j]],
                "swap": [rows[j]],
                "add": [rows[i], word],
                "cell": ["".join([*cells[:k], word, *cells[k + 1 :]])],
                "glue": ["".join([*cells[:k], word, *cells[k:]])],
            }[what] or [""]
        return end.join(rows).encode(code, "replace")

    return st.one_of(
        st.builds(edited, st.lists(change, max_size=1), end, code),
        st.builds(edited, st.lists(change, min_size=1, max_size=4), end, code),
        st.sampled_from(sorted(HEAVY)).map(lambda name: HEAVY[name](good)),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
        st.binary(max_size=200),
    )
