"""The `emolib` command, also `python -m emolib`: each of its commands is one call of the package.

What a command needs is imported when it runs, so that --help does not wait for torch.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from . import __version__

MODEL = (
    "a run folder, a folder or repository as on the Hugging Face hub, or a name in timm; default: "
    "emolib-lite2, which comes with the package, for research only"
)
ERRORS = ValueError, ArithmeticError, OSError, RuntimeError, ImportError  # the package's own words
OVERLAY = "emolib explain"  # the software that a PNG says made it
RAW = argparse.RawDescriptionHelpFormatter  # an example stays on its line


def main(words=None) -> int:
    """Exit code: 0; 1 where `verify` found something wrong or `predict` could not read a picture;
    2 for an error, said in as few lines as it has; 130 where it was interrupted."""
    chosen = _parser().parse_args(words)
    try:
        return chosen.run(chosen) or 0
    except KeyboardInterrupt:
        print("emolib: interrupted", file=sys.stderr)
        return 130
    except ERRORS as error:
        print("emolib:", _plain(error), file=sys.stderr)
        return 2


def _plain(error: Exception) -> str:
    """Its words, without empty lines and indents."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return "\n".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())


def _first(errors: list[Exception]) -> str:
    """The first of several errors, a line each."""
    from .data.pictures import MOST_NAMED

    return "\n".join([*map(_plain, errors[:MOST_NAMED]), *["…"][: len(errors) > MOST_NAMED]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("emolib", description="Image emotion: positive or negative?")
    parser.add_argument("--version", action="version", version=f"emolib {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(run):
        """A command that calls `run`, with the help that its docstring is."""
        said, example = map(str.strip, (run.__doc__ or "\n\n").split("\n\n"))
        name = run.__name__.strip("_")
        added = commands.add_parser(
            name, help=said, description=said, epilog=example, formatter_class=RAW
        )
        added.set_defaults(run=run)
        return added

    predict, explain, fit, export = map(command, (_predict, _explain, _fit, _export))
    predict.add_argument("pictures", nargs="+", help="picture files or folders of them")
    predict.add_argument("--out", default="", metavar="FILE.csv", help="default: the screen")
    explain.add_argument("picture")
    explain.add_argument("--out", required=True, metavar="FILE.png")
    fit.add_argument("labels", help="a CSV file: path,label (1 or positive, 0 or negative)")
    fit.add_argument(
        "--out", required=True, metavar="DIR", help="a new folder; predict --model DIR reads it"
    )
    fit.add_argument(
        "--system", default="maiafa", help="what is trained; frozen_probe: the quickest"
    )
    fit.add_argument("--backbone", help="a timm model; default: tf_efficientnet_lite2")
    fit.add_argument(
        "--weights", default="", metavar="FILE", help="the backbone's; default: timm downloads them"
    )
    export.add_argument("--onnx", required=True, metavar="FILE.onnx")
    for one in (predict, explain, export):
        one.add_argument("--model", help=MODEL)
        one.add_argument("--weights", default="", metavar="FOLDER", help="where its detector's are")
    for one in (predict, explain, fit):
        one.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    of_tables, verify, report = map(command, (_tables, _verify, _report))
    for one in (of_tables, verify, report):
        one.add_argument("results_root")
    of_tables.add_argument("--study", help="only this one")
    verify.add_argument("--data-root", default="", help="also hold the sets there against the runs")
    leaderboard, evaluate = command(_leaderboard), command(_evaluate)
    leaderboard.add_argument("results_root")
    evaluate.add_argument("predictions", nargs="+", help="CSV files: path, p_positive or others")
    evaluate.add_argument(
        "--set", required=True, type=str.lower, dest="dataset", help="twitter1, emotionroi or fi"
    )
    evaluate.add_argument("--task", default="", help="default: what the columns are of")
    evaluate.add_argument("--data-root", help="where the set lies, to read votes or valence there")
    evaluate.add_argument("--protocol", help="default: folds, or the one that the set has")
    evaluate.add_argument("--against", metavar="DIR", help="a results folder; default: all systems")
    evaluate.add_argument("--trained-on", metavar="RUN", help="what it learnt: a run folder, a CSV")
    evaluate.add_argument("--name", default="yours", help="of these predictions, in the tables")
    evaluate.add_argument("--out", default="", metavar="DIR", help="tables and a figure")
    audit = command(_audit)
    audit.add_argument("--data-root", required=True, help="holds fi/, twitter1/, emotionroi/, own/")
    audit.add_argument("--datasets", default="", help="with commas; default: all that are there")
    audit.add_argument("--out", default="", metavar="FILE.csv", help="each finding, a row")
    return parser


def _predict(chosen) -> int:
    """what pictures say, as CSV: path, label (1 = positive), p_positive, or a task's own columns

    example: emolib predict pictures/ --out answers.csv
    """
    from .base.files import write_csv

    out = _target(chosen.out, ".csv") if chosen.out else None
    unreadable: list[Exception] = []
    with contextlib.redirect_stdout(sys.stderr):  # progress is no row
        frame = _loaded(chosen).predict(chosen.pictures, unreadable=unreadable)
    if unreadable and frame.empty:
        raise ValueError(_first(unreadable))
    if out:
        write_csv(out, frame)
        positive = f", {frame['label'].sum()} of them positive" if "label" in frame else ""
        print(f"{chosen.out}: {len(frame)} pictures{positive}")
    else:
        frame.to_csv(sys.stdout, index=False, float_format="%.6g")
    if unreadable:
        count = f"{len(unreadable)} of {len(unreadable) + len(frame)}"
        print(f"emolib: {count} pictures have no answer:", file=sys.stderr)
        print(_first(unreadable), file=sys.stderr)
    return 1 if unreadable else 0


def _explain(chosen) -> None:
    """where the network's map D is high, which need not be where the emotion is

    example: emolib explain cat.jpg --out cat_regions.png
    """
    from PIL.PngImagePlugin import PngInfo

    from .base.files import whole_file

    out = _target(chosen.out, ".png")
    if out.resolve() == Path(chosen.picture).resolve():
        raise ValueError(f"--out {out}: name a PNG file that is not the picture itself")
    if out.exists() and not _is_overlay(out):
        raise FileExistsError(f"--out {out} is there, and emolib explain did not make it")
    found, made_by = _loaded(chosen).explain(chosen.picture), PngInfo()
    made_by.add_text("Software", OVERLAY)
    with whole_file(out) as part:
        found.overlay.save(part, format="PNG", pnginfo=made_by)
    print(f"{found.path}: {found.said}; where D is highest (x0, y0, x1, y1 in pixels, mean D):")
    for *sides, score in found.boxes:
        print(*sides, f"{score:.3f}")


def _is_overlay(file: Path) -> bool:
    """Whether it says that `explain` made it."""
    from PIL import Image, UnidentifiedImageError

    with contextlib.suppress(UnidentifiedImageError), Image.open(file) as there:
        return there.info.get("Software") == OVERLAY
    return False


def _fit(chosen) -> None:
    """trains a network on one's own labelled pictures, in minutes on a CPU

    example: emolib fit own/labels.csv --out my-network
    """
    from .training.estimator import fit

    out = Path(chosen.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is there already; choose a new folder")
    _writable(out)  # where it is not, nothing is trained
    how = {"model": chosen.system, "backbone": chosen.backbone, "weights": chosen.weights}
    network = fit(chosen.labels, **how, device=chosen.device)
    print(f"emolib predict pictures/ --model {network.save(out)}")


def _export(chosen) -> None:
    """the network as an ONNX file, for any batch and size (multiples of 32 px, HRNet and tf_…)

    example: emolib export --model results/demo/runs/<run> --onnx network.onnx
    """
    from .use.export import to_onnx

    file = _target(chosen.onnx, ".onnx")
    print(to_onnx(_loaded(chosen), file))


def _tables(chosen) -> None:
    """writes Tables 7 to 9 beside the paper's into each study, from its runs

    example: emolib tables results --study demo
    """
    from .tables import study_tables, tasks

    built = study_tables.build(_folder(chosen.results_root), chosen.study)
    if not built:
        raise FileNotFoundError(f"{chosen.results_root}: no study with complete runs")
    for study, of_study in built.items():
        for name in of_study:
            print(Path(chosen.results_root, study, f"{study_tables.TABLES[name].stem}.csv"))
        if (beyond := Path(chosen.results_root, study, f"{tasks.STEM}.csv")).exists():
            print(beyond)


def _verify(chosen) -> int:
    """does everything in a results folder follow from the rest? exit code 1 where not

    example: emolib verify results --data-root /data
    """
    from .tables.checks.verify import findings

    found = findings(_folder(chosen.results_root), chosen.data_root)
    by_status = {s: [f for f in found if f.status == s] for s in ("ok", "unchecked", "wrong")}
    for finding in by_status["wrong"]:
        print(f"wrong: {finding}")
    print(
        f"{len(by_status['ok'])} files follow from the others, {len(by_status['unchecked'])} could "
        "not be checked (what they come from is not here, or not known), "
        f"{len(by_status['wrong'])} are wrong"
    )
    return 1 if by_status["wrong"] else 0


def _report(chosen) -> None:
    """writes REPORT.md, every study's verdicts

    example: emolib report results
    """
    from .tables import report

    print(report.write_report(chosen.results_root))


def _leaderboard(chosen) -> None:
    """writes leaderboard/: every system whose answers are there, and which cannot be told apart

    example: emolib leaderboard results
    """
    from .tables import entrants, leaderboard

    leaderboard.write_leaderboard(_folder(chosen.results_root))
    print(Path(chosen.results_root, entrants.FOLDER, leaderboard.PAGE))


def _evaluate(chosen) -> None:
    """what anyone's predictions on a known set are worth, beside every system of the leaderboard

    example: emolib evaluate answers.csv --set twitter1 --out evaluation/
    """
    from .data import splits
    from .tables.referee import evaluate

    protocol = chosen.protocol or splits.protocols(chosen.dataset)[0]
    how = {"against": chosen.against, "trained_on": chosen.trained_on, "name": chosen.name}
    how |= {"task": chosen.task, "data_root": chosen.data_root}
    found = evaluate(chosen.predictions, chosen.dataset, protocol, **how)
    if chosen.out:
        found.write(chosen.out)
    print(found.text())
    if chosen.out:
        print(f"{chosen.out}: evaluation.md, evaluation.png and CSV files")


def _audit(chosen) -> None:
    """what is wrong with a copy of the sets: repeated, leaking, unreadable, small pictures

    example: emolib audit --data-root /data --datasets twitter1,emotionroi --out findings.csv
    """
    from .base.files import write_csv
    from .data import audit, datasets
    from .data.manifest import manifest
    from .spec.values import named

    out = _target(chosen.out, ".csv") if chosen.out else None
    held = datasets.held(chosen.data_root)
    names = named("--datasets", chosen.datasets, datasets.DATASETS) or held
    if not names:
        raise FileNotFoundError(f"{chosen.data_root}: none of the sets is there")
    sets = [datasets.open_dataset(name, chosen.data_root) for name in names]
    found = audit.audit(sets, {data.name: manifest(data) for data in sets})
    print(audit.summary(sets, found).to_string())
    if out:
        write_csv(out, found)


def _loaded(chosen):
    """The predictor that a command names; what it says of it is no result."""
    from .use.load import load

    with contextlib.redirect_stdout(sys.stderr):
        return load(chosen.model, getattr(chosen, "device", "cpu"), chosen.weights)


def _target(path: str, suffix: str) -> Path:
    """The file that a command will write. Before anything is computed, ValueError for another
    suffix, which may be a picture's; OSError where it cannot, or where labels stand there."""
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: name a file")
    if file.suffix.lower() != suffix:
        raise ValueError(f"{file}: name a file that ends in {suffix}")
    if file.name == "labels.csv" and file.exists():
        raise FileExistsError(f"{file} is a list of labels: choose another name")
    _writable(file.parent)
    return file


def _writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder}: nothing can be written there")


def _folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder")
    return Path(path)
