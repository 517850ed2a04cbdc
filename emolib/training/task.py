"""What one training is made from: its spec, its set, how that is split, and where things lie."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..base import reuse
from ..base.run_folder import has_weights, is_complete
from ..data import audit
from ..data.datasets import Dataset, open_dataset
from ..data.manifest import manifest
from ..network.build import weights_hash
from ..spec.run_spec import RunSpec
from ..spec.systems import system_of


@dataclass(frozen=True)
class Places:
    """Where a run finds its pictures and weights and leaves its results."""

    data_root: Path
    study: Path  # <results_root>/<study>
    weights: str = ""
    device: str = "auto"

    @classmethod
    def of(cls, data_root, results_root, study: str, weights, device: str) -> "Places":
        return cls(Path(data_root), Path(results_root) / study, str(weights or ""), device)

    def folder(self, spec: RunSpec) -> Path:
        return self.study / "runs" / spec.id

    def dataset(self, spec: RunSpec) -> Dataset:
        return open_dataset(spec.dataset, self.data_root, **spec.data_options)

    def manifest(self, data: Dataset):
        return manifest(data, self.study / "manifests" / f"{data.name}.csv")


@dataclass(frozen=True)
class Task:
    """One run that may be trained. The parts are indices of the set's pictures."""

    spec: RunSpec
    places: Places
    data: Dataset
    train: np.ndarray
    validation: np.ndarray  # empty where there is none
    test: np.ndarray
    identity: dict  # what the result depends on besides the spec

    @classmethod
    def of(cls, spec: RunSpec, places: Places, data: Dataset | None = None) -> "Task":
        """data: the spec's set, where it is already open. Raises what `split` raises."""
        data = places.dataset(spec) if data is None else data
        _ = data.targets  # raises where the set does not have what is to be learnt
        parts = split(spec, data, places)
        train, validation, test = parts
        identity = _identity(spec, data, parts, places.weights)
        return cls(spec, places, data, train, validation, test, identity)

    @property
    def folder(self) -> Path:
        return self.places.folder(self.spec)

    def is_done(self, with_weights: bool = False) -> bool:
        """Whether there is nothing to train. with_weights: not where only the weights are gone.

        Raises ValueError where the folder holds another run, or one with another start.
        """
        if not is_complete(self.folder):
            return False
        reuse.check_same(self.folder, self.spec, self.identity)
        if before := self.spec.predecessor():
            reuse.check_start(self.folder, self.places.folder(before))
        return not with_weights or has_weights(self.folder)

    def check_unchanged(self) -> None:
        """Raises ValueError where the set on disk is no longer the one that the run began with."""
        if self.data.fingerprint() != self.identity["data"]["fingerprint"]:
            raise ValueError(
                f"{self.data.root}: the set changed while {self.spec.id} was trained on it; put it "
                "back as it was and run again, or take another study name"
            )


def split(spec: RunSpec, data: Dataset, places: Places) -> tuple:
    """(train, validation, test): indices. The validation part is empty where there is none.

    Raises ValueError for a fold that the set does not have, and where nothing is left to train on.
    """
    none = np.array([], int)
    # twins stay together where the spec asks for that
    groups = audit.twin_groups(places.manifest(data)) if spec.grouped else None
    folds = data.folds(spec.split_seed, groups, spec.official)
    if not 0 <= spec.fold < len(folds):
        raise ValueError(f"fold={spec.fold}: {spec.dataset} has folds 0 to {len(folds) - 1}")
    train, test = folds[spec.fold]
    validation = data.validation(spec.fold, spec.split_seed, groups)
    validation = none if validation is None else validation
    left_out = [none]  # near-twins of pictures of the sets that the spec keeps apart
    for name in spec.apart:
        other = open_dataset(name, places.data_root)
        left_out.append(audit.linked(places.manifest(data), places.manifest(other)))
    train = np.setdiff1d(np.setdiff1d(train, validation), np.concatenate(left_out))
    validation = np.setdiff1d(validation, np.concatenate(left_out))
    if not len(train) and spec.apart:
        raise ValueError(
            f"{spec.dataset}: every training picture is a near-twin of one of "
            f"{', '.join(spec.apart)}; nothing is left to train on"
        )
    for part, what in ((train, "learn from"), (test, "test")):
        if not len(part):
            where = f"fold {spec.fold} of {data.root} ({data.layout})"
            raise ValueError(f"{spec.dataset}: {where} has no picture to {what}")
    return data.part(train, spec.share, spec.split_seed), validation, test


def _identity(spec: RunSpec, data: Dataset, parts: tuple, weights: str) -> dict:
    """What a run depends on besides its spec: pictures and labels, their split, the weights, and
    what is learnt besides the polarity."""
    learns = system_of(spec.model).uses_emotions
    emotions, targets = data.emotions_hash() if learns else None, data.targets_hash()
    names = [[data.names[i] for i in part] for part in parts]
    learnt = {"emotions": emotions, "targets": targets}
    return {name: hashed for name, hashed in learnt.items() if hashed} | {
        "data": {"name": data.name, "fingerprint": data.fingerprint(), "demo": data.demo},
        "split": hashlib.sha256(repr(names).encode()).hexdigest()[:16],
        "weights": weights_hash(spec, weights),
    }
