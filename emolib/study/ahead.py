"""What is still to be trained: how many runs, how long they take here, and what is left out."""

import pandas as pd

from ..spec.run_spec import RunSpec
from ..training.plan import total_seconds
from .frames import show_frame
from .study import Study
from .words import about_absent

CHOICES = (
    "What is there is not trained again. Fewer runs: SYSTEMS=maiafa (no other system in Table 9), "
    "SYSTEMS=ar,mcpnet (only these), DATASETS=twitter1; shorter ones: "
    "OVERRIDES=epochs=30,fi.epochs=30. More: COMPARISONS=matched or published,matched (every "
    "system on the study's backbone)."
)


def everything_ahead(study: Study, systems: str = "", comparisons: str = "") -> None:
    """Prints how many runs notebooks 01 to 05 are to train, how long that takes here, and what can
    be left out. Then it looks at every picture, and raises `check_runs`' error of the first set
    that has one which cannot be read. systems, comparisons: notebook 05's."""
    chain, without = study.chain(systems, comparisons), study.left_out(systems, comparisons)
    every = dict.fromkeys(spec for specs in chain.values() for spec in specs)
    ahead = study.plan(spec for spec in every if spec not in without)
    ahead = ahead.drop_duplicates("id").set_index("id", drop=False)
    if study.absent:
        print(about_absent(study).replace("**", "").replace("`", ""))
    print(f"Notebooks 01 to 05 together train {_runs(ahead)} on this machine:")
    for notebook, specs in chain.items():
        ids = {s.id: None for spec in specs for s in _with_predecessors(spec)}
        mine = ahead.loc[[i for i in ids if i in ahead.index]]
        ahead = ahead.drop(mine.index)
        each = [f"{n} {method}" for method, n in mine.groupby("method", sort=False).size().items()]
        print(f"  {notebook}: {_runs(mine)}{': ' if each else ''}{', '.join(each)}")
    rows_left_empty(without)
    print(CHOICES)
    study.check(study.specs())


def rows_left_empty(without: dict[RunSpec, str]) -> None:
    """Prints the rows of Table 9 that have no runs here (`Study.left_out`), by the reason."""
    rows: dict[str, dict] = {}
    for spec, why in without.items():
        rows.setdefault(why, {})[f"{spec.dataset} {spec.model}"] = None
    for why, named in rows.items():
        print(f"Left empty, because {why}: {', '.join(named)}.")


def show_plan(ahead: pd.DataFrame):
    """The runs ahead (`Study.plan`) for reading, a row for each set and method. None where there
    are none. Prints how long they take."""
    if ahead.empty:
        print("Nothing to train here: no run is missing.")
        return None
    print(f"To train: {_runs(ahead)} on this machine.")
    groups = ahead.groupby(["stage", "dataset", "method"], sort=False)
    table = groups.size().to_frame("runs")
    table["at_once"] = groups["at_once"].first()
    table["seconds each"] = groups["seconds"].mean()
    table["memory_gb"] = groups["memory_mb"].max() / 1024
    return show_frame(table.reset_index(), 1)


def _with_predecessors(spec: RunSpec) -> list[RunSpec]:
    before = spec.predecessor()
    return [*(_with_predecessors(before) if before else ()), spec]


def _runs(ahead: pd.DataFrame) -> str:
    if ahead.empty:
        return "no run"
    count = f"{len(ahead)} run{'s' * (len(ahead) > 1)}"
    minutes = total_seconds(ahead) / 60
    time = f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f"{count}, about {time}"
