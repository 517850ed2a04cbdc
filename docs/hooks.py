"""What the site shows besides docs/: the report, the executed notebooks, figures of results/, and
the rivals' table, which is made from their model cards. mkdocs calls these functions by name.
"""

import ast
from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

from emolib.spec.systems import SYSTEMS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
FIGURES = ("measured/matched-lite0-128/matched.png", "measured/frozen-lite2/readings.png")
RIVALS = "<!-- rivals -->"


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    for notebook in sorted((RESULTS / "demo" / "notebooks").glob("*.ipynb")):
        place = f"notebooks/{notebook.name}"
        where = str(RESULTS / "demo"), config.site_dir, config.use_directory_urls
        files.append(File(place, *where))
    for name in FIGURES:
        place = f"figures/{name.replace('/', '-')}"
        files.append(File.generated(config, place, abs_src_path=str(RESULTS / name)))
    report = (RESULTS / "REPORT.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "report.md", content=report))
    return files


def on_page_markdown(markdown, page, config, files):
    return markdown.replace(RIVALS, rivals()) if RIVALS in markdown else markdown


def rivals() -> str:
    """Markdown: a row a system, from the docstring on top of its file."""
    lines = ["| name | system | learns |", "| --- | --- | --- |"]
    for name, one in SYSTEMS.items():
        if name == "maiafa":
            continue
        title = "the timm model of that name, fine-tuned whole"
        if one.made_by:
            file = ROOT / f"emolib/network/rivals/{one.made_by.partition('.')[0]}.py"
            title = _title(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))
        kind = "fitted, without gradients" if one.fitted else "by the one loop"
        more = ["looks at boxes"] * one.boxes + ["needs a weak set"] * one.weak_set
        more += ["learns the finer emotions"] * one.uses_emotions
        lines.append(f"| `{name}` | {title} | {', '.join([kind, *more])} |")
    return "\n".join(lines)


def _title(card: str) -> str:
    """The first sentence of a model card, without its name."""
    first = " ".join(card.split("\n\n")[0].split())
    return first.partition(": ")[2].rstrip(".")
