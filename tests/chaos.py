"""Kills a small sweep at random moments, starts it again and compares every byte that should be
equal with an undisturbed sweep's.

    python tests/chaos.py --trials 100 [--seed 0] [--results results/reliability.csv]

The sweep: a training on FI, five folds of Twitter I that start from it, and the tables. Every
second kill comes inside the writing of a file: by the kernel when a write crosses a byte chosen at
random, or between the last byte and the renaming. Processes are forked, so that a trial costs
seconds. Linux or macOS.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "EMOLIB_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
os.environ["EMOLIB_CHECKPOINT_SECONDS"] = "0"

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from reliability import record  # noqa: E402
from trees import make_fi, make_twitter  # noqa: E402

import emolib  # noqa: E402

SETTINGS = dict(
    backbone="test_efficientnet",
    width=32,
    image_size=32,
    epochs=3,
    batch_size=8,
    lr=0.01,
    init="fi:scratch",
)
TIMED = ("seconds", "pictures_per_second")
TOLD = (
    *TIMED,
    "git_commit",
    "git_dirty",
)  # of environment.json: whoever edits meanwhile changes it
INSIDE = "inside a write"


def sweep(root: Path, results: Path, folds: int) -> None:
    os.environ["EMOLIB_CACHE"] = str(results / "cache")
    torch.set_num_threads(1)
    specs = [emolib.RunSpec("twitter1", fold=fold, **SETTINGS) for fold in range(folds)]
    emolib.run_all(specs, root, results, study="s", device="cpu")
    emolib.tables.build(results, "s", [*specs, specs[0].predecessor()])


def forked(call, *args) -> int:
    """Starts `call` in a process of its own, silent unless it fails; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        call(*args)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(pid: int) -> int:
    """Waits; the exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def on_writes(folder: Path, react) -> None:
    """Calls react(number, renaming) as this process opens files below `folder` for writing or
    renames them."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        if event == "os.rename" or (event == "open" and args[2] and args[2] & os.O_CREAT):
            if isinstance(args[0], (str, Path)) and str(args[0]).startswith(str(folder)):
                seen += 1
                react(seen, event == "os.rename")

    sys.addaudithook(hook)


def counted(root: Path, results: Path, folds: int) -> None:
    """A sweep that writes down how many times it opened or renamed a file."""
    count = 0

    def react(number, renaming):
        nonlocal count
        count = number

    on_writes(results, react)
    sweep(root, results, folds)
    (results.parent / "count.json").write_text(json.dumps(count))


def doomed(root: Path, results: Path, folds: int, at: int, last_byte: int) -> None:
    """A sweep that dies in its `at`-th opening or renaming or soon after, when a write crosses
    `last_byte` of its file."""

    def react(number, renaming):
        if number == at and renaming:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == at:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an error of it
            resource.setrlimit(resource.RLIMIT_FSIZE, (last_byte, resource.RLIM_INFINITY))

    on_writes(results, react)
    sweep(root, results, folds)


def killed(sweep_of: tuple, rng: random.Random, inside: bool, seconds: float, count: int) -> int:
    """Starts a sweep, (root, results, folds), and has it killed; the signal."""
    results = sweep_of[1]
    while True:
        if inside:
            at, last_byte = rng.randint(1, count), int(10 ** rng.uniform(0, 6))
            code = ended(forked(doomed, *sweep_of, at, last_byte))
        else:
            pid = forked(sweep, *sweep_of)
            time.sleep(rng.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
            code = ended(pid)
        if code < 0:
            return -code
        shutil.rmtree(results)  # it came to its end before the kill: another moment
        results.mkdir()


def contents(results: Path) -> dict:
    """What should be the same, by name: bytes, or a frame's or JSON's text without its times."""
    found = {}
    for file in sorted(p for p in (results / "s").rglob("*") if p.is_file()):
        name = file.relative_to(results).as_posix()
        if file.suffix == ".csv":
            frame = pd.read_csv(file, dtype=str)
            found[name] = frame.drop(columns=[c for c in TIMED if c in frame]).to_csv()
        elif file.name == "environment.json":
            facts = json.loads(file.read_text())
            facts["files"].pop("history.csv")  # its seconds
            found[name] = {k: v for k, v in facts.items() if k not in TOLD}
        elif not file.name.startswith((".table", "table9.")):  # rates; what a kill left for an hour
            found[name] = file.read_bytes()
    return found


def differences(a: dict, b: dict) -> list[str]:
    return [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def chaos(trials: int, seed: int = 0, folds: int = 5) -> list[str]:
    """Runs the trials; a line for each that failed."""
    rng, failed, signals = random.Random(seed), [], []
    with tempfile.TemporaryDirectory() as folder:
        root, reference = Path(folder) / "data", Path(folder) / "reference"
        make_fi(root, each=4)
        make_twitter(root)
        reference.mkdir()
        started = time.perf_counter()
        if ended(forked(counted, root, reference, folds)):
            raise RuntimeError("the undisturbed sweep failed; see above")
        seconds = time.perf_counter() - started
        count = json.loads((Path(folder) / "count.json").read_text())
        expected = contents(reference)
        print(
            f"undisturbed: {seconds:.1f} s, {count} openings and renamings, {len(expected)} files"
        )
        for trial in range(trials):
            results = Path(folder) / f"trial{trial}"
            results.mkdir()
            inside = trial % 2 == 0
            signals.append(killed((root, results, folds), rng, inside, seconds, count))
            code = ended(forked(sweep, root, results, folds))
            wrong = differences(expected, contents(results))
            if code or wrong:
                failed.append(f"trial {trial}: signal {signals[-1]}, then exit {code}, {wrong}")
                print(failed[-1])
            shutil.rmtree(results)
            if (trial + 1) % 10 == 0:
                print(
                    f"{trial + 1 - len(failed)} of {trial + 1} ended with the same bytes",
                    flush=True,
                )
    halfway = signals.count(signal.SIGXFSZ)
    print(f"{halfway} died halfway through a file, {trials - halfway} by SIGKILL")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5, help="of Twitter I, one to five")
    parser.add_argument("--results", help="CSV file that gets the count")
    chosen = parser.parse_args()
    started = time.perf_counter()
    failed = chaos(chosen.trials, chosen.seed, chosen.folds)
    print(f"{chosen.trials - len(failed)} of {chosen.trials} ended with the same bytes")
    if chosen.results:
        seconds = time.perf_counter() - started
        record(chosen.results, "killed sweeps", chosen.trials, len(failed), seconds, chosen.seed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
