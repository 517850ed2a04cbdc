"""A study: the notebooks' parameters, checked, and the runs that follow from them."""

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.files import write_csv
from ..base.run_folder import RunResult
from ..data import audit
from ..data.datasets import Dataset, held, open_dataset
from ..data.demo import demo
from ..data.manifest import manifest
from ..spec.run_spec import DATASETS, RunSpec, check_init
from ..spec.systems import BACKBONES, CLIP
from ..tables import paper
from ..training import plan, run, sweep
from . import rivals as beside
from .settings import (
    LABELLING,
    PROFILES,
    PROTOCOL,
    VARIANTS,
    make_spec,
    parse_overrides,
    with_changes,
)

SMALL = ("twitter1", "emotionroi")
START_WORDS = {"imagenet": "ImageNet weights", "scratch": "random weights"}
DEMO_NOTE = (
    "> **Demo data.** The pictures are drawn by `emolib.make_demo_data` and stand in for FI, "
    "Twitter I and EmotionROI; the network is small and its training short. Numbers show that "
    "the whole experiment runs, not what the paper's network does on real pictures."
)


@dataclass(frozen=True)
class Study:
    """One profile on one copy of the data. `Study.configure` makes it."""

    name: str
    profile: str
    data_root: Path
    results_root: Path
    datasets: tuple[str, ...]
    backbone: str
    weights: str
    device: str
    overrides: dict = field(default_factory=dict)
    executor: str = "local"  # who trains: see `sweep`

    @classmethod
    def configure(
        cls,
        profile: str = "demo",
        data_root: str = "",
        results_root: str = "results",
        study: str = "",
        datasets: str = "",
        backbone: str = "",
        weights: str = "",
        overrides: str = "",
        device: str = "auto",
        executor: str = "local",
    ) -> "Study":
        """The notebooks' parameters as a Study; draws the demo data where data_root is "".

        Relative paths start from the repository's root where the notebook runs inside it, else
        from the working directory. Raises ValueError naming the parameter and what is allowed.
        """
        if profile not in PROFILES:
            raise ValueError(f"profile={profile!r}: one of {', '.join(PROFILES)}")
        results = project_root() / results_root
        root = project_root() / data_root if data_root else results / "demo" / "data"
        if not data_root:
            demo.make_demo_data(root)
        elif not root.is_dir():
            raise FileNotFoundError(f"data_root={data_root!r}: there is no such folder")
        there = held(root)
        if not there:
            raise FileNotFoundError(
                f"data_root={data_root!r} holds none of {', '.join(f'{d}/' for d in DATASETS)}"
            )
        names = tuple(n.strip() for n in datasets.split(",") if n.strip()) or tuple(there)
        for name in names:
            if name not in DATASETS:
                raise ValueError(
                    f"datasets={datasets!r}: {name!r} is none of {', '.join(DATASETS)}"
                )
        sweep.parse_executor(executor)
        settings = parse_overrides(overrides)
        if "init" in settings:
            check_init(settings["init"])
            for name in str(settings["init"]).split(":"):
                if name in DATASETS and name not in there:
                    raise FileNotFoundError(
                        f"overrides: init={settings['init']} starts from {name}, and {root.name} "
                        f"has no {name}/: copy it there, or take {name} out of the chain"
                    )
        if weights and not (project_root() / weights).exists():
            raise FileNotFoundError(f"weights={weights!r}: there is no such file or folder")
        backbone = backbone or PROFILES[profile]["all"].get("backbone", "hrnet_w48")
        default = (
            profile if not data_root else f"{profile}-{Path(os.path.abspath(root)).name}-{backbone}"
        )
        return cls(
            name=study or default,
            profile=profile,
            data_root=root,
            results_root=results,
            datasets=tuple(d for d in DATASETS if d in names),
            backbone=backbone,
            weights=str(project_root() / weights) if weights else "",
            device=device,
            overrides=settings,
            executor=executor,
        )

    @property
    def folder(self) -> Path:
        """Where the study's results are."""
        return self.results_root / self.name

    def only(self, *datasets: str) -> "Study":
        """The same study on some of its sets. Raises ValueError for one it does not hold."""
        for name in datasets:
            if name not in self.datasets:
                raise ValueError(
                    f"this notebook needs {name}; the study has {', '.join(self.datasets)} "
                    "(parameters data_root and datasets)"
                )
        return replace(self, datasets=datasets)

    @property
    def demo(self) -> bool:
        """Whether the study is on emolib's drawn stand-ins."""
        return any(self.open(name).demo for name in self.datasets)

    @property
    def note(self) -> str:
        """Markdown for the top of a notebook: on demo data that the numbers are a stand-in's."""
        source = (
            DEMO_NOTE
            if self.demo
            else f"Data: {', '.join(self.datasets)} in `{self.data_root.name}`."
        )
        changed = ", ".join(f"`{k}={v}`" for k, v in self.overrides.items())
        source += f"\n\n{self.without_stage}" if self.absent else ""
        return (
            f"{source}\n\nStudy `{self.name}`, profile `{self.profile}`, backbone "
            f"`{self.backbone}`{', overrides ' + changed if changed else ''}."
        )

    @property
    def small(self) -> list[str]:
        """The sets that are fine-tuned on: all but FI."""
        return [name for name in self.datasets if name != "fi"]

    @property
    def absent(self) -> list[str]:
        """The sets that the profile's chains begin on and `data_root` does not hold: the study's
        runs start without them. None where `overrides` choose the chain."""
        chains = [] if "init" in self.overrides else map(self._profile, self.datasets)
        stages = [s for chain in chains for s in chain["init"].split(":")[:-1]]
        return [s for s in dict.fromkeys(stages) if s not in held(self.data_root)]

    @property
    def without_stage(self) -> str:
        """Markdown: what follows from `absent`; "" where nothing is absent."""
        if not self.absent:
            return ""
        start = START_WORDS[self._init(self.small[0]).rpartition(":")[2]]
        text = (
            f"**No {' or '.join(f'`{d}/`' for d in self.absent)} in `{self.data_root.name}`.** "
            f"{', '.join(self.small)}: these runs start from {start} alone, without the paper's "
            "set-to-set stage, and Table 8's `normal` stays empty."
        )
        others = [d for d in self.small if d in SMALL]
        if len(self.small) > 1 and others:
            text += f" To start from another set: `overrides` with `init={others[-1]}:imagenet`."
        return text

    def open(self, dataset: str) -> Dataset:
        chosen = {k: self.overrides[k] for k in LABELLING if k in self.overrides}
        options = RunSpec(dataset, **chosen).data_options
        return open_dataset(dataset, self.data_root, **options)

    def manifest(self, dataset: str) -> pd.DataFrame:
        """One row a picture of the set, made once and kept in the study's folder."""
        return manifest(self.open(dataset), self.folder / "manifests" / f"{dataset}.csv")

    def readable(self, dataset: str) -> Dataset:
        """The set without the pictures that cannot be decoded, for looking at."""
        return self.open(dataset).without(np.flatnonzero(self.manifest(dataset)["status"] != "ok"))

    def audit(self) -> pd.DataFrame:
        """`audit.audit` of the study's sets at their crop size, also written to audit.csv."""
        found = audit.audit(
            [self.open(name) for name in self.datasets],
            {name: self.manifest(name) for name in self.datasets},
            max(self.spec(name).image_size for name in self.datasets),
        )
        write_csv(self.folder / audit.FILE, found)
        return found

    def spec(
        self,
        dataset: str,
        fold: int = 0,
        variant: str = "normal",
        model: str = "maiafa",
        backbone: str | None = "",
        **changes,
    ) -> RunSpec:
        """The run of one variant of Table 7, or of a rival, on one fold: the profile's settings,
        then overrides. backbone: of a rival, "" for the study's, None for its own.

        A set that others are pre-trained on keeps the profile's protocol here too, so that its
        run is the very one they start from; overrides that begin with its name change it.
        """
        own = {k: v for k, v in self.overrides.items() if k.partition(".")[0] not in DATASETS}
        network = {k: v for k, v in own.items() if k not in PROTOCOL}
        settings = self._profile(dataset, model) | network
        if not self._pretrains_others(dataset):
            settings = with_changes(settings, own)
        settings = with_changes(settings, self._of(dataset))
        if self._pretrains_others(dataset):
            settings.pop("grouped", None)
        system = {"model": model, "backbone": self._backbone_of(model, backbone)}
        settings |= VARIANTS[variant] | system | {"init": self._init(dataset, model)} | changes
        spec = make_spec(dataset, fold, settings)
        before, pretrain = spec, {}
        for stage in spec.stages:
            target = self._profile(stage, model)
            if model == "pcnn" and stage in SMALL:  # its weak set: trained as the set itself is
                target = with_changes(target, {k: v for k, v in own.items() if k in PROTOCOL})
            target = with_changes(target, self._of(stage))
            target |= {k: own[k] for k in LABELLING if k in own} | {"init": "scratch"}
            target = make_spec(stage, 0, target)
            inherited = before.predecessor()
            changed = {
                k: getattr(target, k)
                for k in PROTOCOL + LABELLING
                if getattr(target, k) != getattr(inherited, k)
            }
            pretrain |= {f"{stage}.{k}": v for k, v in changed.items()}
            before = replace(inherited, **changed)
        return replace(spec, pretrain=tuple(pretrain.items()))

    def specs(self, variant: str = "normal", datasets=None, **changes) -> list[RunSpec]:
        """`spec` for every fold of every set of the study (or of `datasets`)."""
        return [
            self.spec(dataset, fold, variant, **changes)
            for dataset in (self.datasets if datasets is None else datasets)
            for fold in range(len(self.open(dataset).folds()))
        ]

    def without_transfer(self) -> list[RunSpec]:
        """Table 8's second rows: the small sets' runs without their set-to-set stage."""
        small = self.specs(datasets=self.small)
        return [replace(s, init=s.init.rpartition(":")[2], pretrain=()) for s in small]

    def pretraining(self) -> list[RunSpec]:
        """Notebook 02's run; none where the study has no FI."""
        return self.only("fi").specs() if "fi" in self.datasets else []

    def rivals(self, systems: str = "", comparisons: str = "") -> list[RunSpec]:
        """The runs of Table 9's other systems and of the matched table (`compared.rivals`)."""
        return beside.rival_specs(self, systems, comparisons)

    def left_out(self, systems: str = "", comparisons: str = "") -> dict[RunSpec, str]:
        """The runs that `rivals` leaves out here, and why; and of those that it does not, the ones
        whose weights cannot be downloaded. None of those that `systems` names: to train them is
        what was asked for, and an error where that cannot be."""
        if systems:
            return {}
        rivals = self.rivals(comparisons=comparisons)
        found = beside.left_out(self, comparisons=comparisons)
        return found | beside.cannot_be_fetched(self, rivals)

    def recipes(self, systems: str = "") -> tuple["Study", list[RunSpec]]:
        """The systems whose authors' settings are known, with those, from ImageNet weights: a
        study of its own, <study>/recipes, with a Table 9 of its own, and its runs."""
        return replace(self, name=f"{self.name}/recipes"), beside.recipes(self, systems)

    def ablations(self) -> list[RunSpec]:
        """Table 7's runs."""
        return [spec for variant in VARIANTS for spec in self.specs(variant)]

    def chain(self, systems: str = "", comparisons: str = "") -> dict[str, list[RunSpec]]:
        """The runs that each of the notebooks 02 to 05 asks for."""
        return {
            "02_pretrain_fi": self.pretraining(),
            "03_finetune": self.specs(datasets=self.small),
            "04_ablations": self.ablations() + self.without_transfer(),
            "05_tables": self.rivals(systems, comparisons),
        }

    def run(self, specs) -> list[RunResult]:
        """`run_all` in this study, all checked first. Where `weights` is a file it is the study's
        backbone's, and a rival takes timm's own; a folder holds everybody's."""
        groups, results = self._by_weights(specs), {}
        for group, weights in groups:
            places = run.Places(self.data_root, self.folder, weights, self.device)
            run.check_runs(group, places)
        failures = []
        for group, weights in groups:
            try:
                found = sweep.run_all(
                    group,
                    self.data_root,
                    self.results_root,
                    self.name,
                    weights,
                    self.device,
                    self.executor,
                )
                results |= zip(group, found, strict=True)
            except sweep.RunsFailed as error:
                failures.append(error)
        if failures:
            raise sweep.RunsFailed.of(failures)
        return [results[spec] for spec in specs]

    def plan(self, specs) -> pd.DataFrame:
        """`emolib.estimate` of those of the runs that are still to be trained."""
        parts = [
            plan.estimate(group, self.data_root, self.results_root, self.name, weights, self.device)
            for group, weights in self._by_weights(specs)
        ]
        return pd.concat(parts, ignore_index=True)

    def _by_weights(self, specs) -> list[tuple[list[RunSpec], str]]:
        """The runs that share a `weights` argument, and that argument."""
        specs = list(specs)
        mine = [s for s in specs if s.backbone == self.backbone]
        others = [s for s in specs if s.backbone != self.backbone]
        folder = self.weights if Path(self.weights).is_dir() else ""
        pairs = [(mine, self.weights), (others, folder)]
        return [(group, weights) for group, weights in pairs if group] or [([], "")]

    def other_networks(self, dataset: str, networks: int | str = "") -> list[RunResult]:
        """The set's first fold from so many other seeds, pre-training included ("": the profile's
        number), to tell what is the network's from what is chance. They are kept in a study of
        their own, <study>/networks, and enter no table.
        """
        networks = PROFILES[self.profile]["networks"] if networks == "" else networks
        if not str(networks).isdecimal():
            raise ValueError(f"networks={networks!r}: a number, or empty for the profile's")
        apart = replace(self, name=f"{self.name}/networks")
        spec = self.spec(dataset)
        return apart.run([replace(spec, seed=seed) for seed in range(1, int(networks) + 1)])

    def build_tables(self, specs=(), without=None) -> dict:
        """Tables 7–9 of this study from its runs: {7: DataFrame, 8: …, 9: …}, and the matched one
        under "matched". specs: runs that count besides the profile's; without: runs that were left
        out and why (`left_out`), which the pages say."""
        if not (self.folder / audit.FILE).exists():  # near-twins count as one picture there
            self.audit()
        without = beside.left_out(self) | (without or {})
        # a notebook before 05 does not miss what 05 trains
        begun = [s for s in self.rivals() if (self.folder / "runs" / s.id).exists()]
        rivals = list(dict.fromkeys([*begun, *specs, *without]))
        before = [s.predecessor() for s in rivals if s.stages and s.model != "maiafa"]
        wanted = [*self.ablations(), *self.without_transfer(), *rivals, *before]
        with warnings.catch_warnings(
            record=True
        ) as said:  # a line in a notebook, not a path in red
            warnings.simplefilter("always")
            reasons = {spec.id: why for spec, why in without.items()}
            built = paper.build(self.results_root, self.name, wanted, reasons)
        for warning in said:
            print(warning.message)
        return built[self.name]

    def _profile(self, dataset: str, model: str = "maiafa") -> dict:
        profile = PROFILES[self.profile]
        kind = "fi" if dataset == "fi" else "small"
        settings = profile["all"] | profile[kind] | {"backbone": self.backbone}
        if model != "maiafa":
            settings = with_changes(settings, profile["rivals"].get(kind, {}))
        return settings

    def _backbone_of(self, model: str, chosen: str | None) -> str | None:
        """A system's backbone: its own, or the study's where it takes another."""
        own = BACKBONES.get(model, model)
        if model in ("maiafa", "frozen_probe"):
            return self.backbone
        if chosen == "" and own not in (None, model, CLIP):
            return self.backbone
        return chosen or None

    def _of(self, dataset: str) -> dict:
        """The overrides that begin with the set's name."""
        return {
            key.partition(".")[2]: value
            for key, value in self.overrides.items()
            if key.partition(".")[0] == dataset
        }

    def _init(self, dataset: str, model: str = "maiafa") -> str:
        """The set's chain: the override, or the profile's on the sets that are there (`absent`),
        from behind the set's own name. pcnn needs a weak set: without FI the other small one."""
        init = str(self.overrides.get("init", self._profile(dataset)["init"]))
        stages = init.split(":")
        if "init" not in self.overrides:
            there = held(self.data_root)
            stages = [s for s in stages if s not in DATASETS or s in there]
        if dataset in stages:
            stages = stages[stages.index(dataset) + 1 :] or ["imagenet"]
        if BACKBONES.get(model) == CLIP:  # its tower is not there to be trained from scratch
            stages = [*stages[:-1], "imagenet"]
        if model == "pcnn" and dataset in SMALL and not set(stages) & set(DATASETS):
            stages = [d for d in SMALL if d != dataset and d in held(self.data_root)] + stages
        return ":".join(stages)

    def _pretrains_others(self, dataset: str) -> bool:
        return any(dataset in self._init(d).split(":") for d in self.datasets if d != dataset)


def project_root() -> Path:
    """The nearest folder above the working directory that holds this repository's notebooks, so
    that a notebook opened in JupyterLab and papermill at the top mean the same by "results"."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "01_data_prep.ipynb").is_file():
            return folder
    return here
