"""A study: a notebook's parameters, checked, and the runs that follow from them."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.files import write_csv
from ..base.reuse import lend
from ..base.run_folder import RunResult, has_weights, is_complete, read_run, read_spec
from ..data import audit
from ..data.datasets import Dataset, held
from ..data.demo import demo
from ..data.manifest import manifest
from ..spec.run_spec import DATASETS, RunSpec, check_init
from ..spec.values import named
from ..tables import study_tables
from ..tables.frame import APART, complete_runs
from ..training import plan, run, sweep
from . import rivals, words
from .settings import PROFILES, Settings, alone, parse_overrides

# data_root, results_root, study, weights, device, as `emolib.run_all` takes them
Where = tuple[Path, Path, str, str, str]


@dataclass(frozen=True)
class Study(Settings):
    """Settings, and where and by whom their runs are trained. `Study.configure` makes it."""

    name: str
    results_root: Path
    device: str
    executor: str = "local"  # see `sweep`

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
        """The notebooks' parameters as a Study. Draws the demo data where data_root is "". Relative
        paths start from `project_root`. Raises ValueError or FileNotFoundError that names the
        parameter and what is allowed."""
        if profile not in PROFILES:
            raise ValueError(f"profile={profile!r}: one of {', '.join(PROFILES)}")
        results = project_root() / results_root
        root = project_root() / data_root if data_root else results / "demo" / "data"
        if not data_root:
            demo.make_demo_data(root)
        elif not root.is_dir():
            raise FileNotFoundError(f"data_root={data_root!r}: there is no such folder")
        there = tuple(held(root))
        if not there:
            folders = ", ".join(f"{name}/" for name in DATASETS)
            raise FileNotFoundError(f"data_root={data_root!r} holds none of {folders}")
        names = named("datasets", datasets, DATASETS) or there
        sweep.parse_executor(executor)
        chosen = parse_overrides(overrides)
        if "init" in chosen:
            check_init(chosen["init"])
            for name in chosen["init"].split(":"):
                if name in DATASETS and name not in there:
                    raise FileNotFoundError(
                        f"overrides: init={chosen['init']} starts from {name}, and {root.name} "
                        f"has no {name}/: copy it there, or take {name} out of the chain"
                    )
        if weights and not (project_root() / weights).exists():
            raise FileNotFoundError(f"weights={weights!r}: there is no such file or folder")
        backbone = backbone or PROFILES[profile].backbone
        on_data = f"{profile}-{Path(os.path.abspath(root)).name}-{backbone}"
        return cls(
            profile=profile,
            data_root=root,
            there=there,
            datasets=tuple(name for name in DATASETS if name in names),
            backbone=backbone,
            weights=str(project_root() / weights) if weights else "",
            overrides=chosen,
            name=study or (on_data if data_root else profile),
            results_root=results,
            device=device,
            executor=executor,
        )

    @property
    def folder(self) -> Path:
        """Where the study's results are."""
        return self.results_root / self.name

    def apart(self, folder: str, specs=()) -> "Study":
        """A study in <study>/<folder>: its runs enter no table of this one. What `specs` start from
        is lent to it."""
        other = replace(self, name=f"{self.name}/{folder}")
        lend(specs, self.folder, other.folder)
        return other

    @property
    def device_here(self) -> str:
        """See `sweep.device_here`."""
        return sweep.device_here(self.executor, self.device)

    @property
    def demo(self) -> bool:
        """Whether the study is on emolib's drawn stand-ins."""
        return any(self.open(name).demo for name in self.datasets)

    @property
    def note(self) -> str:
        """Markdown for the top of a notebook: the data, the settings, and what is absent."""
        return words.about_study(self, self.name, self.demo)

    def manifest(self, dataset: str) -> pd.DataFrame:
        """One row a picture of the set, made once and kept in the study's folder."""
        return manifest(self.open(dataset), self.folder / "manifests" / f"{dataset}.csv")

    def readable(self, dataset: str) -> Dataset:
        """The set without the pictures that cannot be decoded, for looking at."""
        return self.open(dataset).without(np.flatnonzero(self.manifest(dataset)["status"] != "ok"))

    def audit(self) -> pd.DataFrame:
        """`audit.audit` at their crop size of the study's sets, and of others that it has runs on,
        also written to audit.csv."""
        sets = self.sets_there()
        frames = {name: self.manifest(name) for name in sets}
        crop = max(self.spec(name).image_size for name in sets)
        found = audit.audit([self.open(name) for name in sets], frames, crop)
        write_csv(self.folder / audit.FILE, found)
        return found

    def _renew_audit(self) -> None:
        """Makes audit.csv, by which near-twins count as one picture, where it is not there, or
        older than what it is made of."""
        of_sets = [self.folder / "manifests" / f"{name}.csv" for name in self.sets_there()]
        made = [
            file.stat().st_mtime for file in (self.folder / audit.FILE, *of_sets) if file.exists()
        ]
        if len(made) <= len(of_sets) or made[0] < max(made):
            self.audit()

    def rivals(self, systems: str = "", comparisons: str = "") -> list[RunSpec]:
        """Those of `rivals.rival_runs` that can be trained here."""
        found = rivals.rival_runs(self, systems, comparisons)
        return [spec for spec, why in found.items() if not why]

    def left_out(self, systems: str = "", comparisons: str = "") -> dict[RunSpec, str]:
        """The runs that cannot be trained here, and why: those that `rivals` leaves out, and those
        whose weights cannot be downloaded. None where `systems` names some: these were asked for,
        and it is an error where one cannot be trained."""
        if systems:
            return {}
        runs = self.folder / "runs"
        missing = [s for s in self.rivals("", comparisons) if not is_complete(runs / s.id)]
        found = rivals.left_out(self, "", comparisons)
        return found | rivals.cannot_be_fetched(self, missing)

    def recipes(self, systems: str = "") -> tuple["Study", list[RunSpec]]:
        """A study of its own, <study>/recipes, with a Table 9 of its own, and its runs
        (`rivals.recipe_specs`)."""
        return self.apart("recipes"), rivals.recipe_specs(self, systems)

    def chain(self, systems: str = "", comparisons: str = "") -> dict[str, list[RunSpec]]:
        """The runs that each of the notebooks 02 to 05 asks for."""
        return {
            "02_pretrain_fi": self.pretraining(),
            "03_finetune": self.specs(datasets=self.small),
            "04_ablations": self.ablations() + self.without_transfer(),
            "05_tables": self.rivals(systems, comparisons),
        }

    def run(self, specs) -> list[RunResult]:
        """`emolib.run_all` in this study, all checked before the first is trained."""
        specs, failures = list(specs), []
        self.check(specs)
        results: dict[RunSpec, RunResult] = {}
        for group, where in self._by_weights(specs, self.device):
            try:
                found = sweep.run_all(group, *where, self.executor)
                results |= dict(zip(group, found, strict=True))
            except sweep.RunsFailed as error:
                failures.append(error)
        if failures:
            raise sweep.RunsFailed.of(failures)
        return [results[spec] for spec in specs]

    def check(self, specs) -> None:
        """Raises what is wrong with any of the runs, training none: each picture is looked at."""
        for group, where in self._by_weights(list(specs), self.device_here):
            run.check_runs(group, run.Places.of(*where))

    def plan(self, specs) -> pd.DataFrame:
        """`emolib.estimate` of those of the runs that are still to be trained."""
        groups = self._by_weights(list(specs), self.device_here)
        parts = [plan.estimate(group, *where) for group, where in groups]
        return pd.concat(parts, ignore_index=True)

    def other_networks(self, dataset: str, networks: int | str = "") -> list[RunResult]:
        """The set's first fold from other seeds, pre-training included: they tell what is the
        network's from what is chance. Kept in <study>/networks. networks: how many; "": the
        profile's number."""
        networks = PROFILES[self.profile].networks if networks == "" else networks
        if not str(networks).isdecimal():
            raise ValueError(f"networks={networks!r}: a number, or empty for the profile's")
        seeds = range(1, int(networks) + 1)
        return self.apart("networks").run([self.spec(dataset, seed=seed) for seed in seeds])

    def build_tables(self, specs=(), without=None) -> dict:
        """`tables.build` of this study: {7: DataFrame, 8: …, 9: …, perhaps "matched": …}. specs:
        runs that count besides the profile's. Complete ones of the same settings count too, from
        other seeds, and on other sets and of other systems, as another call left them. without:
        `left_out`, for the pages."""
        self._renew_audit()
        without = rivals.left_out(self) | (without or {})
        # a notebook before 05 does not miss what 05 trains
        begun = [s for s in self.rivals() if (self.folder / "runs" / s.id).exists()]
        others = list(dict.fromkeys([*begun, *specs, *without]))
        chains = [s for s in others if s.stages and s.model != "maiafa" and s not in without]
        before = [s.predecessor() for s in chains]
        wanted = [*self.ablations(), *self.without_transfer(), *others, *before]
        wanted += self.of_other_calls()
        wanted += [r.spec for r in self.of_other_seeds(wanted)]
        wanted = list(dict.fromkeys(wanted))
        runs, asked = self.folder / "runs", {s.id for s in specs}
        later = {s.id for s in wanted if not (runs / s.id).exists()} - asked
        reasons = dict.fromkeys(later, "not begun")  # another notebook's, and no news in this one
        reasons |= {spec.id: why for spec, why in without.items()}
        with warnings.catch_warnings(record=True) as said:  # a line there, not a path in red
            warnings.simplefilter("always")
            built = study_tables.build(self.results_root, self.name, wanted, reasons)
        for warning in said:
            print(warning.message)
        return built[self.name]

    def specs_there(self) -> list[RunSpec]:
        """The complete runs in the study itself, on sets that are there."""
        folders = complete_runs(self.folder, ("polarity",))
        found = (read_spec(folder / "spec.json") for folder in folders)
        return [spec for spec in found if spec.dataset in self.there]

    def sets_there(self) -> list[str]:
        """The study's sets, and others that it has complete runs on."""
        return list(dict.fromkeys([*self.datasets, *(s.dataset for s in self.specs_there())]))

    def of_other_calls(self) -> list[RunSpec]:
        """Of `specs_there` those that these settings give, with other sets, systems and seeds."""
        whole = replace(self, datasets=tuple(self.sets_there()))

        def given(s: RunSpec) -> bool:
            here = self if s.dataset in self.datasets else whole
            ours = s.model == "maiafa"
            variant = s.method if ours else "normal"
            made = [
                here.spec(s.dataset, s.fold, variant, s.model, backbone, seed=s.seed)
                for backbone in ("", None)  # matched, and Table 9's
            ]
            return s in made or (ours and s in map(alone, made))

        return [s for s in self.specs_there() if given(s)]

    def of_other_seeds(self, specs: list[RunSpec]) -> list[RunResult]:
        """The complete runs in the study, its readings/ or shares/ that differ from one of `specs`
        in the seed alone; each once, with its weights where one of its places has them."""
        mine, alike = {s.id for s in specs}, {replace(s, seed=0).id for s in specs}
        places = (self.folder, *(self.folder / name for name in APART))
        folders = [f for place in places for f in complete_runs(place, ("polarity",))]
        found: dict[str, RunResult] = {}
        for folder in sorted(folders, key=has_weights, reverse=True):
            run = read_run(folder)
            if run.spec.id not in mine and replace(run.spec, seed=0).id in alike:
                found.setdefault(run.spec.id, run)
        return list(found.values())

    def _by_weights(self, specs: list[RunSpec], device: str) -> list[tuple[list[RunSpec], Where]]:
        """The runs in groups that share their weights, and where each group is trained. A file of
        weights is for the study's backbone alone, and another system takes timm's own; a folder is
        for all."""
        pairs: list[tuple[list[RunSpec], Where]] = []
        for mine, weights in ((True, self.weights), (False, str(self.weights_folder or ""))):
            group = [s for s in specs if (s.backbone == self.backbone) == mine]
            where = (self.data_root, self.results_root, self.name, weights, device)
            pairs.append((group, where))
        return [pair for pair in pairs if pair[0]] or pairs[:1]


def project_root() -> Path:
    """The nearest folder above the working directory that holds this repository's notebooks, so
    that a notebook opened in JupyterLab and papermill at the top mean the same by "results"."""
    here = Path.cwd()
    homes = (f for f in (here, *here.parents) if (f / "notebooks/01_data_prep.ipynb").is_file())
    return next(homes, here)
