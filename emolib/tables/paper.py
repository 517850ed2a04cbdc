"""Tables 7, 8 and 9 from run folders alone, beside the paper's numbers.

A table is one tidy row a data set, method and metric, in percent. `mean` stays empty where no run
exists. Studies are never mixed, and a study with two contents of one set is refused.
"""

import re
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.files import read_csv, read_json, write_csv
from ..base.metrics import more_scores, wilson
from ..base.run_folder import differ, is_complete, read_spec, weights_of
from ..spec.published import published
from ..spec.run_spec import DATASETS, RunSpec
from ..spec.systems import BACKBONES, UNPUBLISHED
from . import differences, matched, pages, readings, significance, transfer
from .pages import marked, title
from .readings import READINGS_FOLDER

APART = (READINGS_FOLDER, transfer.SHARES_FOLDER)  # folders of a study with runs of other questions

TABLE_COLUMNS = [
    "table",
    "dataset",
    "method",
    "metric",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "runs",
    "published",
    "difference",
    "run_ids",
    "nb_low",
    "nb_high",
]
PLAIN = ("costs", "scores")  # tables without a page and a figure of their own
METRICS = {7: ["accuracy"], 8: ["accuracy", "recall"], 9: ["accuracy", "recall"]}
__all__ = ["build", "marked", "published", "tables_of_study", "title"]
SCORES = ["balanced_accuracy", "f1", "auroc", "recall_negative", "ece"]
START_FACTS = [
    "weights_sha256",
    "emotions",
    "started_from",
]  # of what timm downloaded; of the labels
COST = ["parameters", "macs", "pictures_per_second"]  # of a row of Table 9


def build(
    results_root, study: str | None = None, specs=None, reasons=None
) -> dict[str, dict[int, pd.DataFrame]]:
    """Writes table7, table8 and table9 (.csv, .md, .png) into each study of `results_root`;
    table9_costs.csv and scores.csv, what the systems of Table 9 cost and how they do by measures
    that the paper leaves out; differences (.csv, .md, .png), Tables 7 to 9 as differences with
    their tests; matched where systems share maiafa's backbone and training; readings and transfer
    where the study has runs of other readings (`variations`) or of shares of the data (`transfer`).

    study: only this one. specs: only these runs of it; without, all that are complete. Copies the
    paper's tables to `results_root`/published. Returns {study: {7: table, 8: table, 9: table,
    "costs": …, "matched": …}}. Runs that were asked for or begun and are not complete are named,
    with the reason, in a warning and in each .md; reasons: {run id: why}, where it is known better.

    Raises ValueError where a study holds runs on different data under one set's name, drawn and
    real data together, or one method with different settings; FileNotFoundError where there is
    no complete run.
    """
    wanted = None if specs is None else {spec.id for spec in specs}
    root = Path(results_root)
    folders = [root / study] if study else _studies(root)
    built = {}
    for folder in folders:
        tables, runs, demo = tables_of_study(folder, wanted)
        absent = missing(folder, wanted)
        absent |= {run: why for run, why in (reasons or {}).items() if run in absent}
        if absent:
            warnings.warn(f"{folder.name}: {pages.missing_line(absent)}", stacklevel=2)
        for number, table in tables.items():
            write_csv(folder / f"{pages.stem(number)}.csv", table)
            if number not in PLAIN:
                pages.write_page(folder, number, tables, demo, runs, absent)
        built[folder.relative_to(root).as_posix() if folder != root else "."] = tables
    for number in (1, 5, 6, 7, 8, 9):
        write_csv(root / "published" / f"table{number}.csv", published(number))
    return built


def tables_of_study(folder: Path, ids=None) -> tuple[dict, pd.DataFrame, bool]:
    """({7: table, 8: …, 9: …, "costs": …, perhaps "matched": …}, the runs they come from, whether
    the data are drawn). ids: of these runs only. Raises what `build` does."""
    twins = differences.near_twins(folder)
    places = (folder, *(folder / name for name in APART))
    runs, others, less = (read_runs(place, ids, twins) for place in places)
    _check_one_start(folder, pd.concat([runs, others, less], ignore_index=True))
    runs, others, less = map(_on_whole_sets, (runs, others, less))
    if runs.empty:
        raise FileNotFoundError(f"{folder}: no complete run to build tables from")
    own, demo = runs, _check_one_source(folder, runs)
    tables = {number: _table(number, runs, folder) for number in (7, 8, 9)}
    ours = {d: _methods(9, g).get("maiafa") for d, g in runs.groupby("dataset", sort=False)}
    ours = {d: ours[d] for d in DATASETS if ours.get(d) is not None}
    comparison = matched.matched_table(runs, ours, partial(_one_row, folder), statistics)
    if len(comparison):
        tables["matched"] = comparison
    tables["costs"] = _costs(tables[9], runs)
    tables["scores"] = _scores(tables[9], runs)
    compared = differences.of_tables(runs, _methods, METRICS, published)
    tables |= {"differences": compared} if len(compared) else {}
    if len(others):
        runs = pd.concat([runs, others]).drop_duplicates("id", ignore_index=True)
        _check_one_source(folder, runs)
        found = readings.readings_table(runs, ours, statistics, published(7))
        tables |= {"readings": found} if len(found) else {}
    if len(less):
        less = less[~less["id"].isin(own["id"])]
        curve = transfer.transfer_table(less, own, statistics, partial(_check_one_setting, folder))
        tables |= {"transfer": curve} if len(curve) else {}
        runs = pd.concat([runs, less]).drop_duplicates("id", ignore_index=True)
        _check_one_source(folder, runs)
    return tables, runs, demo


def _on_whole_sets(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the pre-trainings of leakage-free runs, which are no row of a table."""
    return runs[[not s.apart for s in runs["spec"]]] if len(runs) else runs


def place_of_run(folder: Path, run: str) -> Path:
    """Where a study keeps a run: in runs/, or in those of another question (APART)."""
    there = [folder / "runs" / run, *(folder / apart / "runs" / run for apart in APART)]
    there = [place for place in there if place.is_dir()]
    return next(
        (place for place in there if is_complete(place)), (there or [folder / "runs" / run])[0]
    )


def missing(folder: Path, wanted=None) -> dict[str, str]:
    """{run: why it is not there}: of the `wanted` ones, else of those that were begun."""
    places = [folder / "runs", *(folder / apart / "runs" for apart in APART)]
    begun = {file.parent.name for place in places for file in place.glob("*/spec.json")}
    whys = {}
    for run in sorted(begun if wanted is None else wanted):
        if not is_complete(place_of_run(folder, run)):
            failed = place_of_run(folder, run) / "failed.txt"
            whys[run] = "unfinished" if run in begun else "not begun"
            if failed.exists():
                text = failed.read_text(encoding="utf-8", errors="replace")
                kinds = re.findall(r"^([A-Za-z_.]+)(?::|$)", text, re.M)  # no path: pages travel
                whys[run] = f"failed: {kinds[-1]}" if kinds else "failed"
    return whys


def _studies(root: Path) -> list[Path]:
    """Folders with complete runs: `root` itself, or those one or two levels below. What a study
    keeps in its networks/, readings/ and shares/ is another question than the tables'."""
    candidates = [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))]
    candidates = [f for f in candidates if f.name not in ("networks", *APART)]
    return [f for f in candidates if any((f / "runs").glob("*/metrics.json"))]


def read_runs(folder: Path, wanted=None, twins: dict | None = None) -> pd.DataFrame:
    """One row a complete run (of the ids `wanted`): its spec, folder, metrics, data, successes out
    of trials, answers (path, label, predicted, right, and cluster: near-twins by `twins`, as
    `differences.near_twins` gives them, share one), and the ratio of test to training pictures."""
    rows, twins = [], twins or {}
    for run in sorted((folder / "runs").glob("*")):
        if not is_complete(run) or (wanted is not None and run.name not in wanted):
            continue
        spec = read_spec(run / "spec.json")
        environment = read_json(run / "environment.json")
        p = read_csv(run / "predictions.csv")
        predicted = (p["p_positive"] >= 0.5).astype(int)
        right, positive = predicted == p["label"], p["label"] == 1
        paths = p["path"].astype(str)
        clusters = [twins.get((spec.dataset, path), path) for path in paths]
        answers = pd.DataFrame(
            {
                "path": paths,
                "label": p["label"],
                "predicted": predicted,
                "right": right.astype(int),
                "cluster": clusters,
            }
        )
        rows.append(
            {
                "id": run.name,
                "folder": run,
                "spec": spec,
                "dataset": spec.dataset,
                "method": spec.method,
                **{k: v for k, v in read_json(run / "metrics.json").items() if k != "n"},
                "counts": {
                    "accuracy": (int(right.sum()), len(p)),
                    "recall": (int((right & positive).sum()), int(positive.sum())),
                },
                "answers": answers,
                **more_scores(p["label"], p["p_positive"]),
                "trained_on": environment.get("trained_on", _trained_on(spec, len(p))),
                "data": environment["data"],
                "weights": environment["weights"],
                # None where nothing is to be said, and of runs from before they were kept
                **{name: environment.get(name) for name in START_FACTS},
                # runs from before they were kept have none
                **{name: environment.get(name) or float("nan") for name in [*COST, "seconds"]},
            }
        )
    frame = pd.DataFrame(rows)
    if not rows:
        return frame
    # of the whole fold: on a share of it, runs have fewer pictures in common, not more
    share = frame["spec"].map(lambda s: s.share)
    tested = frame["counts"].map(lambda counts: counts["accuracy"][1])
    return frame.assign(ratio=tested / (frame["trained_on"] / share))


def _trained_on(spec: RunSpec, tested: int) -> float:
    """About how many pictures a run was trained on that does not say it: §4.1.2's splits."""
    return spec.share * tested * (0.80 / 0.15 if spec.dataset == "fi" else 4)


def _check_one_source(folder: Path, runs: pd.DataFrame) -> bool:
    """Whether the study is on drawn data; ValueError where it mixes data."""
    seen = {}
    for run in runs.itertuples():
        first = seen.setdefault(run.dataset, run)
        if first.data != run.data:
            raise ValueError(
                f"{folder} mixes data: {first.id} and {run.id} were run on different contents of "
                f"{run.dataset} ({first.data} and {run.data}); give each its own study"
            )
    if len({run.data["demo"] for run in runs.itertuples()}) > 1:
        raise ValueError(
            f"{folder} mixes the drawn demo data with real data "
            f"({', '.join(f'{name} {run.id}' for name, run in seen.items())}); "
            "give each its own study"
        )
    return bool(runs["data"].iloc[0]["demo"])


def _check_one_start(folder: Path, runs: pd.DataFrame) -> None:
    """ValueError where runs of one name are not the same run (as one that was lent before it was
    trained anew), or where a run started from other weights than its predecessor or another run
    has. What older runs do not say is not known, and nothing is said of it."""
    seen, known = {}, {}
    for run in runs.itertuples():
        first = seen.setdefault(run.id, run.folder)
        if first != run.folder and (what := differ(first, run.folder)):
            raise ValueError(
                f"{folder}: {first} and {run.folder} have one name but other {what}; remove the "
                "one that is out of date and what started from it"
            )
        if not isinstance(run.started_from, dict):
            continue
        name, weights = run.started_from["run"], run.started_from["weights"]
        its = weights_of(place_of_run(folder, name))
        who, others = known.setdefault(name, (name, its) if its else (run.id, weights))
        if weights != others:
            raise ValueError(
                f"{folder}: {run.id} started from other weights of {name} than {who} has "
                f"({weights[:16]} and {others[:16]}); remove the runs that are out of date and "
                "train them again, or give each its own study"
            )


def _table(number: int, runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    paper = published(number)
    present = [d for d in DATASETS if d in set(runs["dataset"]) | set(paper["dataset"])]
    rows = []
    for dataset in present:
        methods = list(dict.fromkeys(paper.loc[paper["dataset"] == dataset, "method"]))
        ours = runs[runs["dataset"] == dataset]
        groups = _methods(number, ours)
        methods += [m for m in groups if m not in methods and (methods or dataset == "own")]
        if number == 9 and dataset == "emotionroi":  # the systems that have no number in the paper
            methods += [m for m in UNPUBLISHED if m not in methods]
        for method in methods:
            group = groups.get(method, ours.iloc[:0])
            _check_one_setting(folder, group)
            for metric in METRICS[number]:
                number_of = paper[
                    (paper["dataset"] == dataset)
                    & (paper["method"] == method)
                    & (paper["metric"] == metric)
                ]["published"]
                value = number_of.iloc[0] if len(number_of) else float("nan")
                rows.append(
                    {"table": number, "dataset": dataset, "method": method, "metric": metric}
                    | statistics(group, metric)
                    | {"published": value}
                )
    table = pd.DataFrame(rows)
    table["difference"] = table["mean"] - table["published"]
    return table[TABLE_COLUMNS]


def _that_ran(table9: pd.DataFrame) -> pd.DataFrame:
    """One line for each row of Table 9 that has runs."""
    return table9[(table9["metric"] == "accuracy") & (table9["runs"] > 0)]


def _scores(table9: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What the paper leaves out (`metrics.more_scores`) of each row of Table 9 that has run."""
    found, by_id = [], runs.set_index("id")
    for row in _that_ran(table9).itertuples():
        group = by_id.loc[row.run_ids.split(";")].reset_index()
        for metric in SCORES:
            line = {"table": "scores", "dataset": row.dataset, "method": row.method}
            found.append(line | {"metric": metric} | statistics(group, metric))
    return pd.DataFrame(
        found, columns=[c for c in TABLE_COLUMNS if c not in ("published", "difference")]
    )


def _costs(table9: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What each row of Table 9 that has run costs: medians over its runs."""
    rows, by_id = _that_ran(table9), runs.set_index("id")[COST]
    found = [by_id.loc[ids.split(";")].median().to_dict() for ids in rows["run_ids"]]
    costs = pd.DataFrame(found, index=rows.index, columns=COST)
    return pd.concat([rows[["dataset", "method"]], costs, rows["run_ids"]], axis=1)


def _methods(number: int, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each row. Where a set has runs with a set-to-set stage, those are the study's
    own; the same without it are Table 8's second row."""
    if runs.empty:
        return {}
    papers = ~runs["spec"].map(lambda s: s.grouped)  # leakage-free folds are another question
    runs = runs[papers] if papers.any() else runs
    network = runs["spec"].map(lambda s: s.model == "maiafa")
    transfer = network & runs["spec"].map(lambda s: bool(s.stages))
    own = runs[transfer if transfer.any() else network]
    if number == 8:
        normal = runs[network & (runs["method"] == "normal")]
        return {
            "normal": normal[normal["spec"].map(lambda s: bool(s.stages))],
            "without_transfer": normal[normal["spec"].map(lambda s: not s.stages)],
        }
    if number == 7:
        return dict(list(own.groupby("method")))
    groups = {m: _one_kind(g) for m, g in runs[~network].groupby("method")}
    normal = own[own["method"] == "normal"]
    return groups | ({"maiafa": normal} if len(normal) else {})


def _one_kind(group: pd.DataFrame) -> pd.DataFrame:
    """Of a rival's runs those that are its row of Table 9: on its own backbone where there are
    such, with a set-to-set stage where there are such (the others are what those start from)."""
    own = group["spec"].map(lambda s: s.backbone == BACKBONES.get(s.model, s.model))
    group = group[own] if own.any() else group
    transfer = group["spec"].map(lambda s: bool(s.stages))
    return group[transfer] if transfer.any() else group


def _one_row(folder: Path, group: pd.DataFrame) -> pd.DataFrame:
    """A method's runs that are one row, with one setting, each fold and seed once."""
    group = _one_kind(group)
    _check_one_setting(folder, group)
    return group


def _check_one_setting(folder: Path, group: pd.DataFrame) -> None:
    """ValueError where the runs of one row differ in more than fold and seed."""
    known = {}
    for run in group.itertuples():
        settings = replace(run.spec, fold=0, seed=0).to_dict() | {"weights": run.weights}
        hashes = {name: getattr(run, name) for name in ("weights_sha256", "emotions")}
        settings |= {name: value for name, value in hashes.items() if isinstance(value, str)}
        for key, value in settings.items():
            first, its = known.setdefault(key, (run.id, value))
            if its != value:
                raise ValueError(
                    f"{folder}: {first} and {run.id} are one row of the tables but differ in "
                    f"{key} ({its!r} and {value!r}); give each setting its own study"
                )


def statistics(group: pd.DataFrame, metric: str) -> dict:
    """Mean and standard deviation over the runs of a row, in percent, and its two 95% intervals
    (`significance`): over pictures, of one run Wilson's; over folds. A metric that is no mean over
    pictures has the second one in both places."""
    values = group[metric].dropna() if len(group) else pd.Series(dtype=float)
    if not len(values):
        names = ("mean", "std", "ci_low", "ci_high", "nb_low", "nb_high")
        return dict.fromkeys(names, float("nan")) | {"runs": 0, "run_ids": ""}
    there = group.loc[values.index]
    folds = significance.over_folds(differences.one_a_fold(there, values), there["ratio"].mean())
    shift, frame = values.mean() - folds.value, differences.answers(there, metric)
    nb_low, nb_high = (bound + shift for bound in folds.interval())
    if len(values) == 1:
        low, high = wilson(*there["counts"].iloc[0].get(metric, (0, 0)))
    elif frame is not None:
        found = differences.mean_of(frame)
        low, high = (bound + values.mean() - found.value for bound in found.interval())
    else:
        low, high = nb_low, nb_high
    bounds = np.clip([low, high, nb_low, nb_high], 0, 100).tolist()
    return {
        "mean": values.mean(),
        "std": values.std(),
        **dict(zip(("ci_low", "ci_high", "nb_low", "nb_high"), bounds, strict=True)),
        "runs": len(values),
        "run_ids": ";".join(group["id"]),
    }
