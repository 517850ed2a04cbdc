"""Emotions, distributions, several at once, valence: which sets can be asked, and their runs."""

from ..data.datasets import open_dataset
from ..spec.run_spec import RunSpec
from ..spec.systems import SYSTEMS
from ..spec.values import named
from ..tables import task_plots, tasks
from .settings import VARIANTS
from .study import Study


def cannot(study: Study) -> dict[tuple[str, str], str]:
    """{(set, task): "" or why the set cannot be asked}, of the sets that the study fine-tunes on;
    of FI where it is alone."""
    found = {}
    for dataset in study.small or study.datasets:
        for task in tasks.OTHERS:
            try:
                open_dataset(dataset, study.data_root, task=task)
                found[dataset, task] = ""
            except ValueError as error:
                found[dataset, task] = str(error)
    return found


def task_runs(study: Study, methods: str = "") -> list[RunSpec]:
    """Every fold of each task that a set can be asked. methods: rows of Table 7, or systems that
    learn any task, parted by commas; "": the network and its backbone alone."""
    can = [name for name, system in SYSTEMS.items() if system.any_task and name != "maiafa"]
    names = named("methods", methods, [*VARIANTS, *can]) or ["normal", "without_both"]
    specs = []
    for (dataset, task), why in cannot(study).items():
        for name in names if not why else ():
            if name in VARIANTS:
                specs += study.specs(name, [dataset], task=task)
            else:
                specs += study.specs("normal", [dataset], model=name, task=task)
    return specs


def not_asked(study: Study) -> str:
    """Markdown: the tasks that a set cannot be asked, and why."""
    lines = [f"- {why}" for why in cannot(study).values() if why]
    return "\n".join(["Not asked:", "", *lines] if lines else ["All of them."])


def draw_answers(study: Study):
    """The figure of the study's tasks, as `tables.tasks.write_tasks` keeps it; None without any."""
    found = tasks.answers_by_task(study.folder)
    return task_plots.draw_tasks(found, tasks.task_title(study.folder)) if found else None
