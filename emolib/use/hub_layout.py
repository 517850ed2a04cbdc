"""A folder as on the Hugging Face hub: where it is, and what its config.json says."""

import re
from pathlib import Path

from ..base.files import read_json
from ..spec.run_spec import RunSpec

CLASSES = ["negative", "positive"]
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
REPOSITORY = re.compile(r"(hf-hub:)?(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?")


def folder_of(name, revision: str | None = None, **download) -> Path:
    """The folder `name` or, downloaded into huggingface_hub's cache, the repository "owner/name"
    ("hf-hub:owner/name@revision"). download: token, cache_dir, force_download, local_files_only.

    Raises FileNotFoundError where there is neither, and where the hub cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    found = REPOSITORY.fullmatch(str(name))
    if not found:
        raise FileNotFoundError(
            f"{str(name)!r}: there is no such folder, and it is no Hugging Face name (owner/name)"
        )
    try:
        from huggingface_hub import snapshot_download  # not where a folder is loaded

        return Path(
            snapshot_download(
                found[2],
                revision=revision or found[3],
                allow_patterns=[CONFIG, WEIGHTS, CARD],
                **download,
            )
        )
    except Exception as error:  # the client and what it is built on have many kinds
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        raise FileNotFoundError(
            f"{str(name)!r}: there is no such folder, and the Hugging Face hub does not give it "
            f"({type(error).__name__}: {reason}). Without a network, copy the folder here"
        ) from error


def read_config(file) -> RunSpec:
    """The RunSpec in a config.json, whoever wrote it. Raises ValueError that names the file where
    it holds none, or other classes than emolib's two."""
    values = read_json(file)
    if not isinstance(values, dict) or not isinstance(values.get("spec"), dict):
        raise ValueError(f"{file}: no config of emolib's: it has no 'spec' with a run's settings")
    if values.get("classes") != CLASSES:
        raise ValueError(f"{file}: classes={str(values.get('classes'))[:100]}, not {CLASSES}")
    try:
        return RunSpec.from_dict(values["spec"])
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{file}: 'spec' is not a RunSpec ({str(error)[:300]})") from error


def check_there(run: Path, *names: str) -> None:
    """FileNotFoundError where a run folder has not all these files."""
    for name in names:
        if not (run / name).is_file():
            raise FileNotFoundError(
                f"{run} has no {name}: not a complete run folder, or one whose weights were not "
                "kept; run its spec again"
            )
