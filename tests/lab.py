"""The notebooks in a real JupyterLab in a real browser, run from its menu: `make lab-test`.

Starts JupyterLab on loopback in a scratch folder with copies of the notebooks (and of results that
are there, so that trainings are reused), opens each in headless Chromium, runs all cells, and
writes a picture of each page and of its table of contents. Ends with 1 where a cell failed, wrote
to stderr, or is taller than a screen.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, TALLEST = 1440, 1000, 12000  # px of the window; of a picture
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
]
# Of each code cell: its number once it has run, its outputs' kinds, its height on the page.
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
  kind: cell.model.type, ran: cell.model.executionCount ?? null, height: cell.node.offsetHeight,
  input: cell.inputArea ? cell.inputArea.node.offsetHeight : 0,
  source: cell.model.sharedModel.getSource().slice(0, 80),
  outputs: cell.model.type === 'code' ? cell.model.outputs.toJSON() : []}))"""
LAST = "[...document.querySelectorAll('.jp-Notebook .jp-Cell')].pop()"
SETTINGS = {  # all cells on the page, not only those in sight; no question about news
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
STATUS = "() => jupyterapp.shell.currentWidget.sessionContext.kernelDisplayStatus"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("lab"), help="where the pictures go")
    parser.add_argument("--results", type=Path, help="a results folder whose runs are reused")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    parser.add_argument("--minutes", type=float, default=20, help="for one notebook, at most")
    parser.add_argument("names", nargs="*", help="notebooks, 01 for 01_data_prep; all without")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    notebooks = [
        f
        for f in sorted((ROOT / "notebooks").glob("*.ipynb"))
        if not chosen.names or f.stem.startswith(tuple(chosen.names))
    ]
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for file in notebooks:
            shutil.copy2(file, scratch)
        if chosen.results:
            shutil.copytree(chosen.results, Path(scratch) / "results", copy_function=_link)
        server, address = _jupyterlab(Path(scratch))
        try:
            with sync_playwright() as player:
                browser = player.chromium.launch(executable_path=chosen.chromium, args=CHROMIUM)
                for file in notebooks:
                    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                    found = _run(page, address, file.name, chosen.out, chosen.minutes)
                    wrong += [f"{file.stem}: {what}" for what in found]
                    page.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    print("\n".join(wrong) or "Every notebook ran; look at the pictures in " + str(chosen.out))
    return 1 if wrong else 0


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _jupyterlab(folder: Path) -> tuple[subprocess.Popen, str]:
    """A server on loopback and its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    file = Path(tempfile.mkstemp(suffix="-jupyterlab.log")[1])
    log, settings = file.open("w"), Path(tempfile.mkdtemp(prefix="settings-"))
    for name, values in SETTINGS.items():
        there = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(json.dumps(values))
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--allow-root",
            "--no-browser",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True",
        ],
        cwd=folder,
        stdout=log,
        stderr=log,
        env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(settings)},
    )
    address = f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5)
            return server, address
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"JupyterLab did not start: {file.read_text()}")


def _run(page: Page, address: str, name: str, out: Path, minutes: float) -> list[str]:
    """What is wrong with the notebook after Run All; its pictures are in `out`."""
    page.goto(address.format(name))
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.wait_for_function(f"({STATUS})() === 'idle'", timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    started = time.monotonic()
    while time.monotonic() - started < 60 * minutes:
        page.wait_for_timeout(1000)
        cells = [c for c in page.evaluate(CELLS) if c["kind"] == "code" and c["source"].strip()]
        failed = any(o["output_type"] == "error" for c in cells for o in c["outputs"])
        if page.evaluate(STATUS) == "idle" and (failed or all(c["ran"] for c in cells)):
            break
        if 20 < time.monotonic() - started < 22:  # bars that move, while they do
            page.screenshot(path=out / f"{Path(name).stem}-running.png")
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    page.set_viewport_size({"width": WIDTH, "height": TALLEST})  # so that all cells are drawn
    page.wait_for_timeout(2000)
    page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    page.wait_for_timeout(2000)
    height = page.evaluate(f"{LAST} ? {LAST}.getBoundingClientRect().bottom : {TALLEST}")
    page.set_viewport_size({"width": WIDTH, "height": min(TALLEST, int(height) + 60)})
    page.wait_for_timeout(2000)
    page.screenshot(path=out / f"{Path(name).stem}.png")
    cells = page.evaluate(CELLS)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.get_by_role("tab", name="Table of Contents").first.click()
    page.wait_for_timeout(1500)
    page.screenshot(path=out / f"{Path(name).stem}-contents.png")
    kernel = page.evaluate("jupyterapp.shell.currentWidget.sessionContext.kernelPreference.name")
    return [*_wrong(cells), *([f"kernel {kernel!r}"] if kernel != "python3" else [])]


def _wrong(cells: list[dict]) -> list[str]:
    found = []
    for number, cell in enumerate(cells):
        where = f"cell {number} ({cell['source'].splitlines()[0] if cell['source'] else ''})"
        if cell["kind"] == "code" and cell["source"].strip() and not cell["ran"]:
            found.append(f"{where} did not run")
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"{where} failed: {output['ename']}: {output['evalue']}")
            if output.get("name") == "stderr":
                text = (
                    "".join(output["text"]) if isinstance(output["text"], list) else output["text"]
                )
                found.append(f"{where} wrote to stderr: {json.dumps(text[-200:])}")
        if cell["height"] > HEIGHT:
            found.append(f"{where} is {cell['height']} px tall")
    return found


if __name__ == "__main__":
    sys.exit(main())
