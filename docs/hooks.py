"""What the site shows besides docs/: the report, the leaderboard and the executed notebooks. mkdocs
calls this."""

import re
from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

RESULTS = Path(__file__).parents[1] / "results"


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    where = str(RESULTS), config.site_dir, config.use_directory_urls
    for study in [RESULTS / "demo", *sorted((RESULTS / "measured").iterdir())]:
        for notebook in sorted((study / "notebooks").glob("*.ipynb")):
            files.append(File(notebook.relative_to(RESULTS).as_posix(), *where))
    report = (RESULTS / "REPORT.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "report.md", content=report))
    board = RESULTS / "leaderboard"
    for file in [board / "leaderboard.md", *sorted(board.glob("*.png"))]:
        files.append(File(file.name, str(board), config.site_dir, config.use_directory_urls))
    return files


def on_page_content(html, page, config, files):
    """Links of executed notebooks, which are written for those in notebooks/."""
    up = "../" * page.url.count("/")
    return re.sub(r'href="\.\./docs/(\w+)\.md"', rf'href="{up}\1/"', html)
