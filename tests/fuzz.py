"""Mutated pictures and label files: what reads them gives sound data or an error naming the file.

    python tests/fuzz.py --pictures 10000 --labels 2000 [--results results/reliability.csv]
    python tests/fuzz.py --minutes 60 --seed 7

Inputs run in a child process of bounded memory; one that dies or hangs is a finding, and the next
child goes on behind it. Inputs that fail are kept, each beside a text that says why. The same
seed gives the same inputs.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import psutil
import torch
import trees
from hypothesis import strategies as st
from mutants import LABELS, label_bytes, mutated_picture, originals
from PIL import Image
from reliability import record

import emolib
from emolib.data.pictures import decode, examine

SLOW, HANG = 10, 60  # seconds a call may take; until a child that says nothing is ended
MEMORY = 4 << 30  # bytes that a child may take on top of what it starts with

# Pictures -----------------------------------------------------------------------------------


def picture_fault(path: Path) -> str:
    """What is wrong with how this file was read, or ""."""
    results = []
    for read in (decode, decode, examine):
        start = time.perf_counter()
        try:
            results.append(read(path))
        except ValueError as error:
            results.append(str(error))
        if time.perf_counter() - start > SLOW:
            return f"{read.__name__} took {time.perf_counter() - start:.0f} s"
    one, two, facts = results
    if isinstance(one, str):
        if one != two or facts["status"] == "ok" or facts["width"] or "\n" in facts["status"]:
            return f"{one}, then {two}, then {facts}"
        return unclear(one, path)
    shape = (3, facts["height"], facts["width"])
    if facts["status"] != "ok" or one.dtype != torch.uint8 or tuple(one.shape) != shape:
        return f"{one.shape} {one.dtype}, then {facts}"
    if one[0].numel() > Image.MAX_IMAGE_PIXELS:
        return f"{one.shape}, too many pixels"
    return "" if np.array_equal(one.numpy(), two) else "other pixels the second time"


def unclear(message: str, path: Path) -> str:
    good = str(path) in message and not re.search("[\r\n]", message) and len(message) <= 1000
    good = good and "MemoryError" not in message  # the limit was met, so nothing else bounds it
    return "" if good else f"not a clear error: {message[:2000]!r}"


def work_pictures(start: int, stop: int, seed: int, keep: Path, tell) -> None:
    whole = originals()
    for number in range(start, stop):
        suffix, data = mutated_picture(number, seed, whole)
        path = keep / f"now{suffix}"
        path.write_bytes(data)
        tell(number)
        fault = guarded(picture_fault, path)
        if fault:
            kept("pictures", number, keep, fault)
        path.unlink(missing_ok=True)


def kept(kind: str, number: int, keep: Path, fault: str) -> None:
    """The input at work now, and why it failed."""
    (keep / f"{kind}-{number}.why").write_text(fault, errors="replace")
    for file in keep.glob("now.*"):
        file.rename(keep / f"{kind}-{number}{file.suffix}")


def guarded(check, *given) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return check(*given)
    except Exception:
        return traceback.format_exc()


# Label files --------------------------------------------------------------------------------


def work_labels(start: int, stop: int, seed: int, keep: Path, tell) -> None:
    made = []
    for i, (make, file) in enumerate(LABELS):
        root = keep / f"tree{i}"
        shutil.rmtree(root, ignore_errors=True)
        trees.files(root, ["outside.jpg"])
        make(root)
        with warnings.catch_warnings(action="ignore"):
            made.append((root / file, (root / file).read_bytes(), opened(root / file)[0]))
    cases = st.one_of([st.tuples(st.just(case), label_bytes(case[1])) for case in made])
    numbers = itertools.count(start)

    @hypothesis.seed(seed * 1_000_003 + start)
    @hypothesis.settings(
        max_examples=stop - start,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases)
    def check(case):
        (file, good, clean), data = case
        number = next(numbers)
        file.unlink()
        file.mkdir() if data is None else file.write_bytes(data)
        tell(number)
        now = keep / f"now{file.suffix}"
        now.write_bytes(data or b"")
        fault = guarded(label_fault, file, data, clean)
        if fault:
            kept("labels", number, keep, f"{file}\n{fault}")
        now.unlink(missing_ok=True)
        file.rmdir() if data is None else None
        file.write_bytes(good)

    check()


def opened(file: Path):
    """The set that the label file belongs to, and what was warned of."""
    root = next(p for p in file.parents if p.name.startswith("tree"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        return emolib.open_dataset(file.relative_to(root).parts[0], root), warned


def label_fault(file: Path, data: bytes | None, clean) -> str:
    """What is wrong with how the set with this label file was read, or ""."""
    start = time.perf_counter()
    try:
        found, warned = opened(file)
    except (ValueError, FileNotFoundError, IsADirectoryError) as error:
        return unclear(str(error), clean.root)
    finally:
        seconds = time.perf_counter() - start
    if seconds > SLOW:
        return f"took {seconds:.0f} s"
    count = len(found)
    if any(clean.root not in p.parents or ".." in p.parts for p in found.paths):
        return f"paths outside {clean.root}: {found.paths}"
    if not found.labels.shape == (count,) or not set(found.labels.tolist()) <= {0, 1}:
        return f"{count} pictures, labels {found.labels}"
    for part in [part for pair in found.official_folds or () for part in pair]:
        if len(set(part.tolist())) < len(part) or not np.isin(part, np.arange(count)).all():
            return f"{count} pictures, fold {part}"
    if data is None:
        return "a folder was taken for a label file" if "excluded" in file.name else ""
    if count < len(clean) and not warned and "left out by" not in found.layout:
        return f"{count} pictures instead of {len(clean)} without a word"
    rows, said = rows_of(file, data.decode("utf-8-sig"), found)
    return "" if rows == said else f"{rows} rows, {said} of them in {found.layout}"


def rows_of(file: Path, text: str, found) -> tuple:
    """How many rows the file has, counted without emolib's readers, and how many it found.

    (0, 0) where the text does not say it plainly.
    """
    rows = [" ".join(re.split("[ \t]+", row)).strip() for row in re.split("\r\n|\r|\n", text)]
    rows = [unicodedata.normalize("NFC", row) for row in rows if row]
    if file.name == "excluded.csv":
        listed = {row.partition(",")[0] for row in rows if rows[0] == "path,reason"}
        return 0, len(listed & set(found.names))
    if file.name == "labels.csv":  # with a header
        left_out = re.search(r"(\d+) pictures left out", found.layout)
        count = sum(bool(row.strip(",\"' ")) for row in rows) - 1
        return count, len(found) + (int(left_out[1]) if left_out else 0)
    if file.name == "ground_truth.txt":
        return len(rows) - (not rows[0].startswith(trees.ROI)), len(found)
    if file.parent.name.startswith("test"):  # a fold's list
        pair = found.official_folds[int(file.parent.name[-1]) - 1]
        return len(set(rows)), len(pair[file.stem == "test"])
    if found.name == "twitter1":
        return len(set(rows)), len(found)
    if file.suffix == ".json":
        texts = [text, *(f.read_text("utf-8") for f in file.parent.glob("*.json") if f != file)]
        pairs = [pair for text in texts for pair in json.loads(text)]
        return len({path.casefold().removeprefix("./") for path, _ in pairs}), len(found)
    urls = {re.sub(r'.*/|[?",].*', "", row) for row in rows if re.search(r"\.jpg\?zz=1,", row)}
    if file.suffix == ".csv" and len(urls) == len(rows) - ("url" in rows[0]):
        return len(urls) + 35, int(re.search(r"of (\d+) URLs", found.layout)[1])  # 7 files of 5
    return 0, 0


# Children, the record -----------------------------------------------------------------------


def pictures(count: int, seed: int = 0, keep: Path | None = None, start: int = 0) -> dict:
    """Reads `count` mutated pictures from number `start` on: trials, failed, seconds, peak_mb,
    faults (texts). Those that fail are kept in the folder `keep`.
    """
    return watched("pictures", work_pictures, count, seed, keep, start)


def labels(count: int, seed: int = 0, keep: Path | None = None, start: int = 0) -> dict:
    """The same for mutated label files. With another `start` or `count` they are others."""
    return watched("labels", work_labels, count, seed, keep, start)


def watched(kind: str, work, count: int, seed: int, keep: Path | None, start: int) -> dict:
    """Inputs `start` to `start` + `count` in one child, and the next where that dies or hangs."""
    keep = Path(keep or tempfile.mkdtemp(prefix="fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    now, peak = context.Value("q", start), context.Value("q", 0)
    began, first, stop = time.monotonic(), start, start + count
    before = set(keep.glob(f"{kind}-*.why"))
    while start < stop:
        child = context.Process(target=_child, args=(work, start, stop, seed, keep, now, peak))
        child.start()
        seen, since = -1, time.monotonic()
        while child.is_alive():
            child.join(0.1)
            if now.value != seen:
                seen, since = now.value, time.monotonic()
            elif time.monotonic() - since > HANG:
                child.kill()
        if child.exitcode == 0:
            break
        if child.exitcode > 0:
            raise RuntimeError(f"{kind}: the fuzzing itself failed, see {keep}/stderr.txt")
        kept(kind, now.value, keep, f"the child ended with {child.exitcode}")
        start = now.value + 1
    faults = sorted(set(keep.glob(f"{kind}-*.why")) - before)
    return dict(
        trials=now.value + 1 - first,
        failed=len(faults),
        seconds=time.monotonic() - began,
        peak_mb=peak.value >> 20,
        keep=keep,
        faults=[f.read_text() for f in faults],
    )


def _child(work, start: int, stop: int, seed: int, keep: Path, now, peak) -> None:
    os.dup2(os.open(keep / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)  # libtiff's
    torch.set_num_threads(1)  # a forked child has none of its parent's threads
    with contextlib.suppress(ValueError, OSError):  # a system without this limit
        limit = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    def tell(number: int) -> None:
        now.value = number
        unit = 1 if sys.platform == "darwin" else 1024
        peak.value = max(peak.value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)

    work(start, stop, seed, keep, tell)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, help="go on for so long instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that fail")
    parser.add_argument("--results", type=Path, help="CSV file that keeps the counts")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"inputs that fail are kept in {keep}", flush=True)
    end = time.monotonic() + 60 * (args.minutes or 0)
    wanted = {pictures: (args.pictures, 500), labels: (args.labels, 100)}
    sums = {check: dict(trials=0, failed=0, seconds=0.0, peak_mb=0) for check in wanted}
    while True:
        for check, (count, most) in wanted.items():
            total = sums[check]
            size = most if args.minutes else min(most, count - total["trials"])
            if size <= 0:
                continue
            found = check(size, args.seed, keep, total["trials"])
            for key in ("trials", "failed", "seconds"):
                total[key] += found[key]
            total["peak_mb"] = max(total["peak_mb"], found["peak_mb"])
            print(check.__name__, ", ".join(f"{k} {v:.0f}" for k, v in total.items()), flush=True)
            for text in found["faults"]:
                print(text[-1500:], flush=True)
        if args.minutes and time.monotonic() > end:
            break
        if not args.minutes and all(sums[k]["trials"] >= n for k, (n, _) in wanted.items()):
            break
    names = {pictures: "mutated pictures", labels: "mutated label files"}
    for check, total in sums.items() if args.results else ():
        if total["trials"]:
            record(args.results, names[check], seed=args.seed, **total)
    return int(any(s["failed"] for s in sums.values()))


if __name__ == "__main__":
    sys.exit(main())
