"""Many runs: which have to wait for which, and who trains them.

Executors: "local" trains on this machine, as many at once as its cores or its GPUs' memory take;
"torchrun" (or "torchrun:4") gives one training at a time to several processes, one a GPU; "slurm"
submits each training as a job of the cluster this runs on. A run that fails stops no other.
"""

import time
from dataclasses import replace
from pathlib import Path

from ..base import progress
from ..base.run_folder import RunResult, has_weights, is_complete
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of
from . import launch, local
from .check import check_runs
from .cost import share_devices
from .run import train_run
from .task import Places, split


class RunsFailed(RuntimeError):
    """Some runs of a sweep failed; `failed` has them, {RunSpec: what went wrong}. count: of how
    many; folder: the study's runs."""

    def __init__(self, failed: dict, count: int, folder: Path):
        self.failed, self.count, self.folder = failed, count, folder
        lines = [f"{spec.id}: {why}" for spec, why in failed.items()]
        super().__init__(
            f"{len(failed)} of {count} runs failed, the others are complete; the next call tries "
            f"them again. Tracebacks of those that were begun: {folder}/<run>/failed.txt\n"
            + "\n".join(lines)
        )

    @classmethod
    def of(cls, several: list) -> "RunsFailed":
        """Those of several sweeps over one study."""
        failed = {spec: why for one in several for spec, why in one.failed.items()}
        return cls(failed, sum(one.count for one in several), several[0].folder)

    def __reduce__(self):
        return type(self), (self.failed, self.count, self.folder)


def run_all(
    specs,
    data_root,
    results_root,
    study: str = "demo",
    weights="",
    device: str = "auto",
    executor: str = "local",
) -> list[RunResult]:
    """`run` for many; equal specs once, results in the order given.

    All are checked (data, folds, network, weights) before the first is trained. executor: "local",
    this machine, as many at once as its cores or its GPUs' memory take; "torchrun" ("torchrun:4":
    so many processes) or "slurm", as the module says. Out of memory, fewer are trained at once;
    what was finished stays finished. Raises ValueError for an unknown executor, RuntimeError where
    SLURM is not there; and RunsFailed, when all else is trained, where runs failed: it lists them.
    """
    name, processes = parse_executor(executor)
    specs = list(specs)
    places = Places.of(data_root, results_root, study, weights, device)
    check_runs(specs, replace(places, device=device_here(executor, device)))
    started, trained, failed = time.perf_counter(), 0, {}
    for stage in stages(specs, places):
        trained += len(stage)
        for spec in stage:
            if (before := spec.predecessor()) and before in failed:
                failed[spec] = f"it starts from {before.id}, which failed"
        stage = [spec for spec in stage if spec not in failed]
        if progress.asked():
            progress.tell(runs=len(stage), pictures=sum(_pictures(s, places) for s in stage))
        try:
            failed |= EXECUTORS[name](stage, places, processes) if stage else {}
        except launch.NoCluster as error:
            if not failed:
                raise
            failed |= dict.fromkeys(stage, str(error))
    if failed:
        raise RunsFailed(failed, trained, places.study / "runs")
    results = {spec: train_run(spec, places) for spec in dict.fromkeys(specs)}
    print(
        f"{len(results)} in all: {trained} trained (with those they start from), "
        f"{time.perf_counter() - started:.0f} s"
    )
    return [results[spec] for spec in specs]


def _local(stage: list[RunSpec], places: Places, processes: int) -> dict[RunSpec, str]:
    failed: dict[RunSpec, str] = {}
    for group, slots in share_devices(stage, places):
        failed |= local.train_all(group, places, slots)
    return failed


def _torchrun(stage: list[RunSpec], places: Places, processes: int) -> dict[RunSpec, str]:
    whys = {s: launch.torchrun(s, places, processes) for s in progress.bar(stage, "runs")}
    return {spec: why for spec, why in whys.items() if why}


def _slurm(stage: list[RunSpec], places: Places, processes: int) -> dict[RunSpec, str]:
    return launch.slurm(stage, places)


# Each trains the runs of a stage and says which failed, and why.
EXECUTORS = {"local": _local, "torchrun": _torchrun, "slurm": _slurm}


def _pictures(spec: RunSpec, places: Places) -> int:
    """How many it learns from, those of each epoch counted again. None is told of for a system that
    is fitted, which has no epochs."""
    if system_of(spec.model).fitted:
        return 0
    train, _, _ = split(spec, places.dataset(spec), places)
    return len(train) * sum(phase.epochs for phase in spec.phases)


def stages(specs, places: Places, look: bool = True) -> list[list[RunSpec]]:
    """The runs to train, in groups that need only runs of earlier groups. look=False: all of them,
    whatever is there."""
    depth: dict[RunSpec, int] = {}

    def visit(spec, needed):
        """Depth of the run's group; 0 where nothing is to be done for it."""
        if look and (has_weights if needed else is_complete)(places.folder(spec)):
            return 0
        before = spec.predecessor()
        depth[spec] = 1 + (visit(before, needed=True) if before else 0)
        return depth[spec]

    for spec in specs:
        visit(spec, needed=False)
    return [[s for s in depth if depth[s] == d] for d in sorted(set(depth.values()))]


def device_here(executor: str, device: str) -> str:
    """What this machine takes: SLURM's jobs train on another, whose `device` need not be here."""
    return "auto" if parse_executor(executor)[0] == "slurm" else device


def parse_executor(text: str) -> tuple[str, int]:
    """The executor's name and its number of processes (0: one a GPU). ValueError for another."""
    name, colon, number = text.partition(":")
    if name not in EXECUTORS or (colon and (name != "torchrun" or not number.isdecimal())):
        raise ValueError(f"executor={text!r}: one of {', '.join(EXECUTORS)}, torchrun:4")
    return name, int(number or 0)
