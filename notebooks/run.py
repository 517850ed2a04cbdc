"""Runs notebooks one after another by papermill, and says in the terminal how far they are.

    python notebooks/run.py results/demo/notebooks 01_data_prep 03_finetune -- -r profile demo

What is behind -- are parameters, as papermill takes them (-r: text as it is). An executed copy
takes its name when it is whole. Where a notebook fails, its copy stays as NAME.part.ipynb and the
exit code is 1: also where a cell calls sys.exit(0), which papermill alone calls success.
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import papermill
from traitlets.config import Config

from emolib.base import progress

HERE = Path(__file__).parent
EVERY = 15  # seconds between two lines where nobody watches
WIDTH = 110
# Unix sockets in place of TCP, of which the kernel warns; elsewhere their paths can be too long
OVER = Config({"KernelManager": {"transport": "ipc"}} if sys.platform == "linux" else {})


class Watcher(threading.Thread):
    """Shows what `progress.tell` writes into a file: one line that changes, or, where no terminal
    is, a line now and then."""

    def __init__(self, file: Path):
        super().__init__(daemon=True)
        self.file, self.over, self.started = file, threading.Event(), time.monotonic()
        self.runs = self.done = self.pictures = self.learnt = 0
        self.seen = set[str]()
        self.live, self.said = sys.stdout.isatty(), ""

    def run(self) -> None:
        last = 0.0
        with open(self.file, encoding="utf-8") as lines:
            while not self.over.is_set():
                words = self.said
                for line in lines:
                    words = self.words(json.loads(line))
                if words != self.said and (self.live or time.monotonic() - last > EVERY):
                    last, self.said = time.monotonic(), words
                    self.show(words)
                time.sleep(0.2)
        if self.live:
            self.show("")

    def words(self, told: dict) -> str:
        """What a line of the file says to a person."""
        if "runs" in told:
            self.runs, self.pictures = self.runs + told["runs"], self.pictures + told["pictures"]
            return f"{told['runs']} runs to train"
        if "step" in told:
            return f"{told['step']}, {told['number']} of {told['total']}"
        whole, self.done = self.done, self.done + (told["epoch"] == told["epochs"])
        if told["run"] not in self.seen:  # what it learnt before it was stopped is not ahead
            self.seen.add(told["run"])
            self.pictures -= (told["epoch"] - 1) * told["pictures"]
        if not self.learnt:  # what came before, as a frozen backbone's maps, is no epoch
            self.started = time.monotonic() - told["pictures"] / max(told["rate"], 1e-9)
        self.learnt += told["pictures"]
        each = (time.monotonic() - self.started) / self.learnt
        left = each * max(self.pictures - self.learnt, 0) / 60
        return (
            f"run {min(whole + 1, self.runs)} of {self.runs}, epoch {told['epoch']} of "
            f"{told['epochs']}, {told['rate']:.0f} pictures/s, about {left:.0f} min left: "
            f"{told['run']}"
        )

    def show(self, words: str) -> None:
        if self.live:
            print(f"\r{words[:WIDTH]:{WIDTH}}", end="\r" if not words else "", flush=True)
        else:
            print(f"    {words}", flush=True)


def parameters(words: list[str]) -> dict:
    """{name: text} of -r name value -r name value."""
    flags, names, values = words[::3], words[1::3], words[2::3]
    if len(words) % 3 or any(flag != "-r" for flag in flags):
        raise SystemExit(f"parameters are -r name value, not {' '.join(words)}")
    return dict(zip(names, values, strict=True))


def execute(name: str, folder: Path, given: dict) -> str:
    """Runs a notebook into `folder`; "" or what went wrong."""
    part, whole = folder / f"{name}.part.ipynb", folder / f"{name}.ipynb"
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "told"
        told.touch()
        os.environ |= {progress.TOLD_IN: str(told), "JUPYTER_RUNTIME_DIR": place}
        watcher = Watcher(told)
        watcher.start()
        try:
            here = os.path.relpath(HERE / f"{name}.ipynb")  # it is written into the copy
            how = {"kernel_name": "python3", "progress_bar": False, "config": OVER}
            papermill.execute_notebook(here, part, given, **how)
        except papermill.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except (Exception, KeyboardInterrupt) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            watcher.over.set()
            watcher.join()
    cells = json.loads(part.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    left = [c for c in code if c["metadata"]["papermill"]["status"] != "completed"]
    if left:
        return f"{len(left)} code cells did not run"
    os.replace(part, whole)
    return ""


def main(words: list[str]) -> int:
    behind = words.index("--")
    (folder, *names), given = words[:behind], parameters(words[behind + 1 :])
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, 1):
        started = time.monotonic()
        print(f"[{number} of {len(names)}] notebooks/{name}.ipynb", flush=True)
        if wrong := execute(name, Path(folder), given):
            part = Path(folder) / f"{name}.part.ipynb"
            print(
                f"FAILED: notebooks/{name}.ipynb, run up to the failure in {part}", file=sys.stderr
            )
            print(wrong, file=sys.stderr)
            return 1
        minutes = (time.monotonic() - started) / 60
        print(f"    done in {minutes:.1f} min: {folder}/{name}.ipynb", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
