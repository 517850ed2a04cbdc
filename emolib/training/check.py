"""What is wrong with runs, said before the first of them is trained."""

import contextlib
import functools
from dataclasses import replace

from ..base import reuse
from ..base.devices import pick_device
from ..base.run_folder import is_complete, start_of
from ..data.batches import decode_all
from ..network.build import build_network
from ..spec.run_spec import RunSpec
from . import loop
from .task import Places, Task


def check_runs(specs, places: Places) -> None:
    """Raises what is wrong with any of the runs (data, fold, network, weights), training none."""
    pick_device(places.device)
    specs, seen, now = list(specs), set[RunSpec](), dict[RunSpec, dict | None]()
    for spec in specs:
        _check(spec, places, seen)
    for spec in specs:
        _check_rests(spec, places, now)


def _check(
    spec: RunSpec, places: Places, seen: set[RunSpec], needed_by: RunSpec | None = None
) -> None:
    """Raises what is wrong with the run or with those before it in the chain. What was `seen` is
    left out.

    Before a complete run only what is there is looked at. A study may be kept without the runs that
    it started from, or without their pictures.
    """
    if spec in seen:
        return
    seen.add(spec)
    try:
        data = places.dataset(spec)
    except FileNotFoundError as error:
        if not needed_by:
            raise
        raise FileNotFoundError(
            f"{error}; it is needed because {needed_by.dataset} starts from it "
            f"(init={needed_by.init}): copy it there, or set "
            f"init={str(needed_by.init).rpartition(':')[2]}"
        ) from error
    task, before = Task.of(spec, places, data), spec.predecessor()
    if task.is_done():
        here = before and (places.data_root / before.dataset).is_dir()
        if before and here and is_complete(places.folder(before)):
            _check(before, places, seen)
        return
    if spec.task == "polarity" and len(set(data.labels.tolist())) < 2:
        said = f"all {len(data)} pictures have the label {data.labels[0]}"
        raise ValueError(f"{spec.dataset}: {said}; a network needs both")
    try:
        packed = loop.pictures_of(spec, data, places.weights).pack is not None
    except (ValueError, FileNotFoundError):  # packing stops at the first picture that is broken
        decode_all(data)
        raise
    if not packed:
        decode_all(data)
    if before:
        _check(before, places, seen, needed_by=spec)
    else:
        _try_network(replace(spec, fold=0, seed=0), places.weights)


@functools.lru_cache(maxsize=16)
def _try_network(spec: RunSpec, weights: str) -> None:
    build_network(spec, weights)


def _check_rests(spec: RunSpec, places: Places, now: dict[RunSpec, dict | None]) -> None:
    """Raises ValueError where a complete run of the chain started from one that was made with other
    data or weights than are here now. It does not matter whether that one is still there.

    now: the identities that such runs would have, found so far; None without their pictures.
    """
    first = before = spec.predecessor()
    folder, kept = places.folder(spec), {}
    if before and is_complete(folder):
        kept = start_of(folder).get("identity", {})  # older runs do not say
    while before and kept:
        if before not in now:
            now[before] = None
            with contextlib.suppress(FileNotFoundError):  # its pictures are not here
                now[before] = Task.of(before, places).identity
        if here := now[before]:
            who = f"{folder} started from {before.id}, which"
            reuse.refuse_another(who, before, kept, before, here)
        before, kept = before.predecessor(), kept.get("started_from", {}).get("identity", {})
    if first:
        _check_rests(first, places, now)
