"""A run's model card: what it was trained on, how well it does and for whom it is."""

from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from ..base.files import read_json
from ..base.run_folder import RunResult, is_complete, read_run, read_spec
from ..data.batches import short_side
from ..data.tasks import TASKS
from ..spec.run_spec import RunSpec
from ..spec.sets import SETS
from ..tables import pages
from ..tables.frame import frame_of
from ..tables.rows import statistics

VALENCE = (
    "A picture is positive where the mean valence that the people of Emotion6's user study (Peng "
    "et al., CVPR 2015) gave it is above the scale's middle."
)
STUDIED = (
    "Fifteen people a picture said on Amazon Mechanical Turk what it evokes, in the user study of "
    "Emotion6 (Peng et al., CVPR 2015)."
)
DRAWN = "Nobody: the pictures and their labels were drawn by emolib's demo."
TASK = "image-classification"


def text(folder: Path) -> str:
    """The card of the complete run in `folder`, Markdown with Hugging Face's header. Where the run
    lies in its study, the card also has the mean over the runs of other folds and seeds."""
    result, environment = read_run(folder), read_json(folder / "environment.json")
    spec, drawn, tested = result.spec, environment["data"]["demo"], len(result.predictions)
    stand_in = f"emolib's demo, drawn stand-ins for {spec.dataset}"
    data = stand_in if drawn else SETS[spec.dataset].source
    head = (
        f"---\n{_header(spec, result.metrics, data)}\n---\n\n# {spec.id}\n\n"
        f"{_says(spec, environment)} {_what(spec)} Trained "
        "and tested by emolib, which reproduces Zhang et al., “Image Emotion Classification "
        "Network Based on Multilayer Attentional Interaction and Adaptive Feature Aggregation” "
        "(CMC 2023)."
    )
    sections = {
        "Data": f"- Pictures: {data}; fingerprint `{environment['data']['fingerprint']}`.\n"
        f"- Split: {_split(spec, environment, tested)}\n"
        f"- Start: {_start(spec)}\n"
        f"- Seen as: short side {short_side(spec.image_size)} px, of it the centre, "
        f"{spec.image_size} px a side.",
        "Who took part in the labels": DRAWN if drawn else _labelled(spec),
        "Metrics": "\n".join(_metrics(folder, spec, result)),
        "Intended use": "Research on what pictures evoke, and comparison with the paper. Its "
        "answers say how an average of labellers might call a picture, not what one viewer feels "
        "or what anybody in the picture feels.",
        "Limits": "\n".join(f"- {line}" for line in _limits(drawn, tested)),
        "Use": '```python\nimport emolib\nemolib.load("this folder").predict(["picture.jpg"])\n```',
    }
    return (
        "\n\n".join([head, *(f"## {title}\n\n{body}" for title, body in sections.items())]) + "\n"
    )


def _header(spec: RunSpec, metrics: dict, data: str) -> str:
    about: dict[str, Any] = {"task_type": TASK, "task_name": "Image classification"}
    about |= {"dataset_type": spec.dataset, "dataset_name": data}
    about["dataset_split"] = "usual" if spec.split == "usual" else f"fold {spec.fold}"
    digits = 2 if spec.task == "polarity" else 4
    results = [
        EvalResult(
            metric_type=name,
            metric_value=round(metrics[name], digits),
            **about,
        )
        for name in metrics
        if name != "n" and metrics[name] is not None
    ]
    return ModelCardData(
        license="other",
        license_name="as the training pictures' owners allow",
        library_name="emolib",
        pipeline_tag=TASK,
        tags=[TASK, "visual-sentiment-analysis", spec.model],
        model_name=spec.id,
        eval_results=results,
    ).to_yaml()


def _says(spec: RunSpec, environment: dict) -> str:
    if spec.task == "polarity":
        return "Says whether a picture evokes a positive or a negative emotion."
    classes = ", ".join(environment["classes"])
    return f"Says of a picture what it evokes ({TASKS[spec.task].title}): {classes}."


def _metrics(folder: Path, spec: RunSpec, result: RunResult) -> list[str]:
    """What the run scores on its test pictures, as lines of Markdown."""
    if spec.task != "polarity":
        columns: list[pages.Column] = [("", itemgetter(0)), ("this run", itemgetter(1))]
        known = {name: value for name, value in result.metrics.items() if value is not None}
        rows = [
            (name.replace("_", " "), f"{value}" if name == "n" else f"{value:.4g}")
            for name, value in known.items()
        ]
        return [
            *pages.markdown_table(columns, rows),
            "",
            "Accuracy and F1 in percent; no interval: `emolib.tables` has those of all folds.",
        ]
    positive = result.predictions["label"].mean()
    return [
        *_table(folder, spec),
        "",
        "Percent; recall is that of the positive class, positive from a probability of 0.5 on. "
        "One run: Wilson's 95% interval over its test pictures. Several: over the test pictures of "
        "all folds (Bayle et al. 2020). Always saying the more frequent class would score "
        f"{100 * max(positive, 1 - positive):.2f}.",
    ]


def _what(spec: RunSpec) -> str:
    if spec.model != "maiafa":
        return f"System `{spec.model}`{f' on {spec.backbone}' if spec.backbone else ''}."
    modules = {
        "normal": "with MAI and AFA",
        "without_mai": "without MAI",
        "without_afa": "without AFA",
        "without_both": "without MAI and AFA",
    }
    return f"The MAI+AFA network on {spec.backbone}, {modules[spec.method]}."


def _split(spec: RunSpec, environment: dict, tested: int) -> str:
    trained = environment.get("trained_on")
    grouped = ", near-twins on one side" if spec.grouped else ""
    grouped += "" if spec.official else ", random in place of the set's own"
    grouped += f", without near-twins of {', '.join(spec.apart)}" if spec.apart else ""
    grouped += f", {spec.share:.0%} of the training pictures" if spec.share < 1 else ""
    one = SETS[spec.dataset]
    kind = f"fold {spec.fold}, counted from 0"
    if spec.split == "usual":
        kind = "the usual split"
    elif one.folds == 1:
        kind = "/".join(f"{100 * share:.0f}" for share in one.shares)
    of = f"{trained} pictures trained on, " if trained else ""
    return f"{kind}{grouped}; {of}{tested} tested. No epoch was chosen on the test pictures."


def _start(spec: RunSpec) -> str:
    imagenet = spec.start == "imagenet"
    first = "ImageNet weights of the backbone" if imagenet else "random weights"
    return first + "".join(f", then a training on {s}" for s in reversed(spec.stages)) + "."


def _labelled(spec: RunSpec) -> str:
    if TASKS[spec.task].measured and "labels" in SETS[spec.dataset].options:
        return STUDIED
    if spec.labels == "valence":
        return VALENCE
    return SETS[spec.dataset].labelled.format(agree=spec.agree)


def _table(folder: Path, spec: RunSpec) -> list[str]:
    """What the run scores, beside the mean over its siblings where it has any."""
    groups = {"this run": frame_of([folder])}
    siblings = _siblings(folder, spec)
    if len(siblings) > 1:
        groups[f"mean of {len(siblings)} runs"] = siblings
    rows = [
        [name, *(pages.score(statistics(runs, name)) for runs in groups.values())]
        for name in ("accuracy", "recall")
    ]
    headings = ["", *(f"{group} (95% interval)" for group in groups)]
    columns = [(heading, itemgetter(i)) for i, heading in enumerate(headings)]
    return pages.markdown_table(columns, [row for row in rows if row[1]])


def _siblings(folder: Path, spec: RunSpec) -> pd.DataFrame:
    """The study's complete runs of the same setting and data, this one among them."""
    if folder.parent.name != "runs":
        return pd.DataFrame()
    setting = replace(spec, fold=0, seed=0)
    runs = frame_of(
        run
        for run in sorted(folder.parent.iterdir())
        if is_complete(run) and replace(read_spec(run / "spec.json"), fold=0, seed=0) == setting
    )
    mine = next(run for run in runs.itertuples() if run.folder == folder)
    start = mine.started_from or {}
    alike = [
        run.data == mine.data
        and run.weights == mine.weights
        # other seeds start from another run; the same one may have been trained anew
        and (
            not isinstance(run.started_from, dict)
            or run.started_from["run"] != start.get("run")
            or run.started_from == start
        )
        for run in runs.itertuples()
    ]
    return runs[alike]


def _limits(drawn: bool, tested: int) -> list[str]:
    lines = [
        f"Tested on {tested} pictures of one set; on pictures from elsewhere it may do worse.",
        "What people call positive or negative differs between people, cultures and years.",
        "Its probabilities are not calibrated.",
        "Not for decisions about people: it was never tested for how it treats groups of them.",
    ]
    return ["It learnt drawn pictures: of no use on photographs."] * drawn + lines
