"""What was found, in one table and one figure, from the CSVs of results/: `make findings`.

Tables are written between their two marks, into the pages of PAGES. Figures go to docs/figures/:
where.png is drawn here, those of FIGURES are copied. Nothing here is typed but the paper's claims
in words.
"""

import ast
import functools
import html
import importlib
import itertools
import re
import shutil
from pathlib import Path

import pandas as pd

from emolib.base.files import write_text
from emolib.base.metrics import wilson
from emolib.base.run_folder import RunResult, read_run
from emolib.data import splits
from emolib.data.layouts.common import LAYOUTS
from emolib.data.tasks import TASKS
from emolib.spec.published import published as paper_table
from emolib.spec.sets import BOTH, in_words
from emolib.spec.sets import SETS as RECORDS
from emolib.spec.systems import SYSTEMS
from emolib.tables import pages
from emolib.tables.names import METHOD_NAMES, readable
from emolib.tables.plots import COLORS, GREY, OURS, intervals, panels
from emolib.tables.tasks import MEASURE_WORDS, minus_of, score_of

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "results" / "measured"
BEYOND = "tasks-lite2"
# heads on a frozen backbone: by the recipe as it is shipped, and at the one rate that all rows of
# Table 7 can be trained at
SHIPPED, FROZEN = "best-lite2", "frozen-lite2"
PRINTED = "table6-lite0-128"
# Table 8 with EmotionROI first: heads, and small networks that are fine-tuned
TRANSFER, WHOLE_TRANSFER = "transfer-lite2", "transfer-whole-lite0-160"
WHOLE, LARGER = "whole-lite0-160", "whole-lite2-260"  # fine-tuned: backbone and head both learn
FOLDS = 5  # of either set
FIGURES = (  # that docs/ shows
    "matched-lite0-128/matched.png",
    "frozen-lite2/readings.png",
    "whole-lite0-160/readings.png",
    "whole-lite0-160/matched.png",
    "tasks-lite2/tasks.png",
)
# those of the first page; the first that there is has the verdict
NETWORKS = {"fine-tuned": LARGER, "frozen": SHIPPED}
CHOSEN_ON = "emotionroi"  # whose pictures chose the settings of WHOLE and LARGER
PARTS = {  # and the row of Table 7 without each, as it is read
    "MAI": "without_mai",
    "AFA, `region`": "without_afa, without_afa=region",
    "AFA, `gated`": "without_afa",
    "both": "without_both",
}
READINGS = f"{FROZEN}/readings.csv"
AS_SHIPPED = f"{SHIPPED}/differences.csv"
SETS = {name: in_words(name) for name in ("twitter1", "emotionroi")}


def rows_of(file: str, metric: str = "accuracy", **values) -> pd.DataFrame:
    """The rows of a study's CSV with these values."""
    frame = pd.read_csv(MEASURED / file, dtype={"table": str})
    frame = frame[frame["metric"] == metric]
    return frame[(frame[list(values)] == pd.Series(values)).all(axis=1)]


def row_of(file: str, metric: str = "accuracy", **values) -> pd.Series:
    """The one row."""
    rows = rows_of(file, metric, **values)
    assert len(rows) == 1, (file, values, len(rows))
    return rows.iloc[0]


def runs_of(study: str, run_ids: str) -> list[RunResult]:
    """The runs of a study, or of its readings/, that a row names."""
    places = [MEASURED / study / "runs", MEASURED / study / "readings/runs"]
    folders = [next(p / run for p in places if (p / run).is_dir()) for run in run_ids.split(";")]
    return [read_run(folder) for folder in folders]


def signed(number: float, digits: int = 1) -> str:
    return f"{round(number, digits) + 0.0:+.{digits}f}".replace("-", "−")


def apart(difference: float, low: float, high: float, digits: int = 1) -> str:
    """A difference with its interval."""
    return "{} ({} to {})".format(*(signed(n, digits) for n in (difference, low, high)))


def percent(row: pd.Series) -> str:
    return f"{row['mean']:.1f} % ({row['ci_low']:.1f} to {row['ci_high']:.1f})"


def gain(row: pd.Series) -> str:
    """What is lost without a part, as what it adds."""
    return apart(-row["difference"], -row["high"], -row["low"])


def gain_over_folds(row: pd.Series) -> str:
    """The same difference's interval over folds: t_… in readings.csv, nb_… in differences.csv."""
    kind = "t" if "t_low" in row else "nb"
    return f"{signed(-row[f'{kind}_high'])} to {signed(-row[f'{kind}_low'])}"


def grid(heads: list[str], rows) -> str:
    """A Markdown table."""
    return "\n".join(pages.grid(heads, rows))


def helps(row: pd.Series) -> str:
    """A verdict on a network without a part, as one on the part."""
    seeds = "one seed" if row["seeds"] == 1 else "two seeds"
    few = f" on these pictures ({seeds})" * int(row["seeds"] == 1)
    words = {
        "worse": f"it helps{few}",
        "better": f"it harms{few}",
        "not trained": "did not train without it",
        "cannot tell; it takes 3 seeds": f"not decided: {seeds}, and we ask for three",
    }
    said = words.get(row["verdict"], row["verdict"])
    if row["seeds"] >= 3 and said.startswith("cannot tell"):
        said = f"cannot tell, up to {row['margin']:.1f} points"
    return said


def beats(row, other: str) -> str:
    """A verdict on another system, as one on ours."""
    words = {"worse": f"better than {other}", "better": f"worse than {other}"}
    return words.get(row["verdict"], row["verdict"].partition(";")[0])


def published_score(dataset: str, method: str, table: int, metric: str = "accuracy") -> float:
    """The paper's number, in percent."""
    frame = paper_table(table)
    frame = frame[frame["metric"] == metric].set_index(["dataset", "method"])["published"]
    return float(frame[dataset, method])


def published(method: str, table: int = 7, ours: str = "normal") -> str:
    """The paper's own gains on both sets."""
    pairs = [[published_score(d, m, table) for m in (ours, method)] for d in SETS]
    return ", ".join(signed(with_it - without, 2) for with_it, without in pairs)


def reached(study: str, name: str, metric: str = "accuracy") -> pd.Series | None:
    """What a study's normal network reached on a set; None where it was not trained there."""
    row = row_of(f"{study}/table9.csv", metric, dataset=name, method="maiafa")
    return row if row["runs"] and row["runs"] == FOLDS * seeds_of(row) else None


def seen_at(study: str, name: str) -> str:
    """A study's size of picture, and from how many seeds its networks began."""
    row = row_of(f"{study}/table9.csv", dataset=name, method="maiafa")
    size = runs_of(study, row["run_ids"])[0].spec.image_size
    return f"{size} px, {pages.so_many(seeds_of(row), 'seed')}"


def against(paper: float, row: pd.Series) -> str:
    """Where a row stands beside the paper's number."""
    ahead = row["mean"] - paper
    if paper > row["ci_high"]:
        said = "not reached"
    elif paper < row["ci_low"]:
        said = "exceeded"
    else:
        way = "above" if ahead > 0 else "short"
        said = f"{abs(ahead):.1f} points {way}, within the interval"
    return said + " (one seed)" * (seeds_of(row) == 1)


def seeds_of(row: pd.Series) -> int:
    """How many seeds a row's runs have."""
    return len(set(re.findall(r"-seed(\d+)-", row["run_ids"])))


def networks() -> str:
    """Markdown: a row a study whose normal network is shown, with its settings."""
    heads = ["study", "backbone", "px", "learns", "rate", "seeds"]
    heads += [f"{words}, accuracy (95 %)" for words in SETS.values()]
    rows = []
    for study in (SHIPPED, FROZEN, WHOLE, LARGER):
        found = [reached(study, name) for name in SETS]
        (row, *_) = [row for row in found if row is not None]
        spec = runs_of(study, row["run_ids"])[0].spec
        learns = "the head" if spec.freeze else "everything"
        cells = [f"`{study}`", f"`{spec.backbone}`", spec.image_size, learns]
        cells += [f"{spec.lr:g}", seeds_of(row)]
        rows.append([*cells, *("–" if row is None else percent(row) for row in found)])
    return grid(heads, rows)


def own_choice() -> pd.DataFrame:
    """A row a fold of Twitter I, and their mean: what the whole network reached, in percent, on
    pictures held out of the fold's training list and on its test pictures, at the rate of each
    study; the rate that the fold would have chosen by the former, and what it reached at that."""
    file = MEASURED / FROZEN / "settings.csv"
    tried = pd.read_csv(file).set_index(["settings", "row"])["by_fold"]
    held_out, tested = {}, {}
    for study in (SHIPPED, FROZEN):
        row = row_of(f"{study}/table7.csv", dataset="twitter1", method="normal")
        first, *_ = runs = runs_of(study, row["run_ids"])
        rate = f"{first.spec.lr:g}"
        each = tried[f"epochs={first.spec.epochs},lr={rate}", "normal"].split()
        held_out[rate] = pd.Series(each, dtype=float)
        scored = pd.DataFrame([(run.spec.fold, run.metrics["accuracy"]) for run in runs])
        tested[rate] = scored.groupby(0)[1].mean()
    mine = pd.DataFrame(held_out).idxmax(axis=1)
    found = pd.DataFrame({f"held out, % at {rate}": held_out[rate] for rate in held_out})
    found = found.assign(**{f"test, % at {rate}": tested[rate] for rate in tested})
    found["test, % by its own choice"] = [tested[rate][fold] for fold, rate in mine.items()]
    found.loc["mean"] = found.mean()
    return found.assign(chosen=[*mine, ""])


def choices() -> str:
    """Markdown: `own_choice`."""
    *heads, chosen = (frame := own_choice()).columns
    rows = []
    for fold, row in frame.iterrows():
        rows.append([fold, *(f"{row[name]:.1f}" for name in heads), row[chosen]])
    return grid(["fold", *heads, "that choice"], rows)


def without(file: str, name: str, part: str) -> pd.Series | None:
    """A study's row without one of PARTS on a set; None where it was not trained."""
    rows = rows_of(file, dataset=name, method=PARTS[part])
    return None if rows.empty else rows.iloc[0]


def head_only(part: str) -> pd.Series:
    """The row over both sets of heads without one of PARTS: by the recipe, or where that does not
    train it at the rate of all rows."""
    by_recipe = without(AS_SHIPPED, BOTH, part)
    return without(READINGS, BOTH, part) if by_recipe is None else by_recipe


def fine_tuned(part: str) -> pd.Series:
    """The row on Twitter I of small fine-tuned networks without one of PARTS."""
    return without(f"{WHOLE}/readings.csv", "twitter1", part)


def learnt(row: pd.Series) -> float:
    """How many of its own training pictures the networks of a row of WHOLE had right in their last
    epoch, in percent."""
    last = [run.history["train_accuracy"].iloc[-1] for run in runs_of(WHOLE, row["run_ids"])]
    return sum(last) / len(last)


def tuned(part: str) -> str:
    """The verdict on small fine-tuned networks. There is none where the row without the part has
    learnt its own training pictures much less well: the part need not be why."""
    row, normal = fine_tuned(part), reached(WHOLE, "twitter1")
    if helps(row) == "it helps" and learnt(row) < learnt(normal) - 10:
        return "cannot tell, learning was unfinished without it"
    return helps(row)


def of_part(claim: str, paper: str, part: str) -> tuple[str, str, str, str]:
    """A row of `findings`: what a part adds over both sets to heads on a frozen backbone, and on
    Twitter I to small networks that are fine-tuned."""
    head, whole = head_only(part), fine_tuned(part)
    rate = ""
    if without(AS_SHIPPED, BOTH, part) is None:  # at another rate than as shipped
        rate = f" (rate {runs_of(FROZEN, head['run_ids'])[0].spec.lr:g})"
    return (
        claim,
        paper,
        f"{gain(head)} frozen; {gain(whole)} fine-tuned",
        f"frozen: {helps(head)}{rate}; fine-tuned: {tuned(part)}",
    )


def findings() -> list[tuple[str, str, str, str]]:
    """(claim, the paper, here, verdict) of each of the paper's claims."""
    fi = published_score("fi", "normal", 7)
    found = [("Accuracy on FI", f"{fi:.2f} %", "–", "not measured: no FI here")]
    for name, words in SETS.items():
        for what, metric in (("Accuracy", "accuracy"), ("Recall", "recall")):
            rows = {kind: reached(study, name, metric) for kind, study in NETWORKS.items()}
            rows = {kind: row for kind, row in rows.items() if row is not None}
            paper = published_score(name, "maiafa", 9, metric)
            verdict = against(paper, next(iter(rows.values())))
            if "fine-tuned" in rows and name == CHOSEN_ON:
                verdict += " †"
            said = "; ".join(f"{percent(row)} {kind}" for kind, row in rows.items())
            found.append((f"{what} on {words}", f"{paper:.2f} %", said, verdict))
    printed = row_of(f"{PRINTED}/table9.csv", dataset="twitter1", method="maiafa")
    found.append(
        (
            "The settings of Table 6 train it (Twitter I)",
            f"{printed['published']:.2f} %",
            f"{percent(printed)} with lite0 at 128 px, without FI",
            f"{printed['mean'] - majority(PRINTED):.1f} points above a constant answer",
        )
    )
    afa = published("without_afa")
    found += [
        of_part("MAI helps", published("without_mai"), "MAI"),
        of_part("AFA helps, read as `region`", afa, "AFA, `region`"),
        of_part("AFA helps, read as `gated`", afa, "AFA, `gated`"),
        of_part("Both together help", "–", "both"),
    ]
    of_probe = dict(method="frozen_probe", table="9")
    probe = row_of(f"{SHIPPED}/differences.csv", dataset=BOTH, **of_probe)
    alone = row_of(f"{SHIPPED}/differences.csv", dataset="twitter1", **of_probe)
    older = rows_of(f"{WHOLE}/matched.csv", dataset="twitter1")
    older = older[older["method"].isin(SYSTEMS) & ~older["method"].isin(["maiafa", "frozen_probe"])]
    open_ones = older["verdict"].str.startswith("cannot tell").sum()
    over = published("mcpnet", 9, "maiafa")
    (plain,) = (row for row in rows_of(f"{WHOLE}/matched.csv").to_dict("records") if is_plain(row))
    over_backbone = apart(*(-plain[f"minus_{one}"] for one in ("maiafa", "high", "low")))
    found.append(
        (
            "It beats simpler or older systems",
            f"{over} (over MCPNet)",
            f"{gain(probe)} over a logistic regression, on Twitter I {gain(alone)}, frozen; "
            f"{over_backbone} over the plain backbone, fine-tuned; {open_ones} of "
            f"{len(older)} older systems cannot be told apart",
            f"frozen: {beats(probe, 'a logistic regression')}; "
            f"fine-tuned: {beats(plain, 'the plain backbone')}",
        )
    )
    every, every_tuned = (stages(study).iloc[-1] for study in (TRANSFER, WHOLE_TRANSFER))
    found.append(
        (
            "Pre-training on a larger set helps",
            f"{published('without_transfer', 8)} (FI)",
            f"EmotionROI, then Twitter I: {gain(every)} frozen; {gain(every_tuned)} fine-tuned",
            f"not measured with FI; frozen: {helps(every)}",
        )
    )
    hiding, showing, lowest, tests = regions()
    found.append(
        (
            "*D* finds the regions that count",
            "shown on examples",
            f"hiding them hurts more than hiding as much elsewhere in {hiding} of {tests} sets, "
            f"showing them helps more in {showing}; hiding the lowest hurts more in {lowest}",
            "frozen: "
            + ("yes" if hiding == showing == tests else "no" if not hiding + showing else "hardly"),
        )
    )
    votes, valence = (of_task(measure) for measure in ("kl", "valence_pearson"))
    found.append(
        (
            "Questions beyond polarity (EmotionROI)",
            "future work",
            f"KL from people's votes {score_of(votes)}; valence, r = {score_of(valence)}",
            f"{votes['verdict']} (KL {votes['constant']:.3f})",
        )
    )
    return found


def of_task(measure: str) -> pd.Series:
    """The row of a measure beyond polarity: the network's, else its backbone's alone."""
    frame = pd.read_csv(MEASURED / BEYOND / "tasks.csv")
    return frame[frame["measure"] == measure].set_index("method", drop=False).sort_index().iloc[0]


def majority(study: str, name: str = "twitter1") -> float:
    """What a constant answer would score on the pictures of a set that a study's runs tested, in
    percent."""
    files = (MEASURED / study / "runs").glob(f"{name}-*/predictions.csv")
    share = pd.concat(pd.read_csv(file) for file in files)["label"].mean()
    return 100 * max(share, 1 - share)


def regions() -> tuple[int, int, int, int]:
    """In how many tests of deletion, and of insertion, D is ahead of its own shape elsewhere, by an
    interval that excludes 0; in how many its lowest places are ahead of its highest; of how many
    each (a set)."""
    frame = pd.read_csv(MEASURED / FROZEN / "areas.csv")
    deletion = frame["way"] == "deletion"  # there a fast fall is good, so the other's area is more
    elsewhere = frame["place"] == "the same shape elsewhere"
    hiding = deletion & elsewhere & (frame["d_low"] > 0)
    showing = ~deletion & elsewhere & (frame["d_high"] < 0)
    lowest = deletion & (frame["place"] == "where D is lowest") & (frame["d_high"] < 0)
    return tuple(
        int(n) for n in (hiding.sum(), showing.sum(), lowest.sum(), frame["set"].nunique())
    )


def table() -> str:
    heads = ["The paper's claim", "Verdict", "The paper", "Here, real pictures"]
    return grid(heads, ([claim, said, paper, here] for claim, paper, here, said in findings()))


def rivals() -> str:
    """Markdown: a row a system, from the docstring on top of its file."""
    rows = []
    for name, one in SYSTEMS.items():
        if name == "maiafa":
            continue
        title = "the timm model of that name, fine-tuned whole"
        if one.made_by:
            file = ROOT / f"emolib/network/rivals/{one.made_by.partition('.')[0]}.py"
            card = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
            title = " ".join(card.split("\n\n")[0].split()).partition(": ")[2].rstrip(".")
        kind = "fitted, without gradients" if one.fitted else "by the one loop"
        more = ["looks at boxes"] * one.boxes + ["needs a weak set"] * one.weak_set
        more += ["learns the finer emotions"] * one.uses_emotions
        rows.append([f"`{name}`", title, ", ".join([kind, *more])])
    return grid(["name", "system", "learns"], rows)


def sets() -> str:
    """Markdown: a row a set, from its record."""
    rows = []
    for name, one in RECORDS.items():
        finer = "emotions" if one.emotions else "none"
        title = one.source.partition(":")[0]
        rows.append([f"`{name}`", title, one.pictures, one.where, finer])
    return grid(["name", "set", "pictures", "ask", "finer classes"], rows)


def folder_layouts() -> str:
    """Markdown: a row a set, with the layouts that are recognised."""
    rows = []
    for name in RECORDS:
        importlib.import_module(f"emolib.data.layouts.{name}")
        found = "<br>".join(html.escape(layout.what, quote=False) for layout in LAYOUTS[name])
        rows.append([f"`{name}/`", found.replace("|", "/")])
    return grid(["folder", "what may be in it"], rows)


def protocols() -> str:
    """Markdown: a row a listed set and protocol."""
    rows = []
    for name in splits.listed_sets():
        for protocol in splits.protocols(name):
            tested = splits.tested(name, protocol)
            learnt = " or ".join(f"{count:,}" for count in sorted(tested["trained"].unique()))
            cells = [f"`{name}`", f"`{protocol}`", splits.PROTOCOLS[protocol]]
            rows.append([*cells, f"{len(tested):,}", learnt])
    return grid(["`--set`", "`--protocol`", "what it is", "test pictures", "learnt from"], rows)


def tasks() -> str:
    """Markdown: a row a task, from its record."""
    rows = []
    for name, one in TASKS.items():
        columns = ", ".join(f"`{column}`" for column in one.columns(one.fixed or ("joy", "fear")))
        rows.append([f"`{name}`", one.title, one.needs, columns])
    return grid(["`task`", "asks for", "needs of a set", "`predictions.csv`, after `path`"], rows)


def beyond(study: str = BEYOND) -> str:
    """Markdown: what networks of other tasks than polarity reached on real pictures."""
    frame = pd.read_csv(MEASURED / study / "tasks.csv")
    methods = list(frame["method"].unique())
    heads = ["task", "measure", *map(readable, methods), "the latter minus the former", "constant"]
    lines = []
    for (task, measure), rows in frame.groupby(["task", "measure"], sort=False):
        of = rows.set_index("method")
        known = f"{rows['constant'].iloc[0]:.3f}" if rows["constant"].notna().any() else "–"
        cells = [TASKS[task].title, MEASURE_WORDS[measure]]
        cells += [score_of(of.loc[m]) if m in of.index else "" for m in methods]
        cells.append(minus_of(of.iloc[-1]))
        lines.append([*cells, known])
    return grid(heads, lines)


def modules(file: str = READINGS) -> str:
    """Markdown: what each module adds, a row a set and, where there are two, one over both."""
    heads = ["part", "set", "what it adds (95 %)", "over folds", "at most", "seeds", "verdict"]
    rows, there = [], set(rows_of(file)["dataset"])
    names = [name for name in (*SETS, BOTH) if name in there]
    for words, name in itertools.product(PARTS, names):
        row = without(file, name, words)
        if row is None:
            continue
        cells = [words, in_words(name), gain(row), gain_over_folds(row), f"{row['margin']:.2f}"]
        rows.append([*cells, f"{row['seeds']:.0f}", helps(row)])
    return grid(heads, rows)


def other_readings() -> str:
    """Markdown: what every other reading of the network changes, frozen."""
    heads = ["reading", *SETS.values(), in_words(BOTH), "at most", "seeds", "verdict"]
    frame, rows = rows_of(READINGS), []
    for name in frame["method"].unique():
        if name == "normal" or name in PARTS.values():
            continue
        found = frame[frame["method"] == name]
        last = found.iloc[-1]  # over both sets, where it has both
        numbers = found.set_index("dataset")[["difference", "low", "high"]]
        cells = [apart(*numbers.loc[s]) if s in numbers.index else "–" for s in (*SETS, BOTH)]
        cells += [f"{last['margin']:.1f}", f"{last['seeds']:.0f}"]
        words = f"`{name}`" if "=" in name else name
        rows.append([words, *cells, last["verdict"].partition(";")[0]])
    return grid(heads, rows)


def is_plain(row) -> bool:
    """Whether a row of a matched table is the backbone alone."""
    return row["runs"] > 0 and row["method"] not in SYSTEMS


def beside(study: str) -> str:
    """Markdown: all systems that a study has on one backbone, on each set the best first."""
    rows, frame = [], rows_of(f"{study}/matched.csv")
    frame = frame[frame["runs"] > 0].sort_values("mean", ascending=False)
    in_order = pd.concat([frame[frame["dataset"] == name] for name in SETS])
    for _, row in in_order.iterrows():
        method, ours = row["method"], row["method"] == "maiafa"
        who = f"`{method}` alone" if is_plain(row) else readable(method)
        minus = "" if ours else apart(*(row[f"minus_{one}"] for one in ("maiafa", "low", "high")))
        cells = [in_words(row["dataset"]), who, percent(row), minus, seeds_of(row)]
        rows.append([*cells, "" if ours else row["verdict"].partition(";")[0]])
    return grid(["set", "system", "accuracy (95 %)", "minus ours", "seeds", "verdict"], rows)


def stages(study: str) -> pd.DataFrame:
    """A study's rows on Twitter I alone, one a share of the training pictures, the least first."""
    file, of_set = f"{study}/transfer.csv", {"dataset": "twitter1"}
    return rows_of(file, method="without_transfer", **of_set).sort_values("share")


def stage(study: str) -> str:
    """Markdown: what training on the other set first adds, a row a share of the pictures."""
    heads = ["training pictures", "with it first, %", "without, %", "what it adds (95 %)"]
    heads += ["over folds", "seeds", "verdict"]
    rows = []
    of_normal = {"dataset": "twitter1", "method": "normal"}
    for _, row in stages(study).iterrows():
        both = row_of(f"{study}/transfer.csv", share=row["share"], **of_normal)
        cells = [f"{row['pictures']:.0f}", f"{both['mean']:.1f}", f"{row['mean']:.1f}", gain(row)]
        rows.append([*cells, gain_over_folds(row), f"{row['seeds']:.0f}", helps(row)])
    return grid(heads, rows)


def doubtful() -> str:
    """Markdown: how often systems are right by how sure people are of the label."""
    columns = {
        "fine-tuned": (LARGER, "maiafa"),
        "frozen": (SHIPPED, "maiafa"),
        "logistic regression": (SHIPPED, "frozen_probe"),
    }
    four, five = (
        set(splits.tested("twitter1", f"folds-{many}-agree")["path"]) for many in ("four", "five")
    )
    audit = pd.read_csv(MEASURED / FROZEN / "audit.csv")
    against = set(audit.loc[audit["finding"] == "valence against keyword", "path"])
    kinds = {  # of a set: words, and whether a picture is of the kind
        "twitter1": {
            "all five people agree": lambda path: path in five,
            "four of five": lambda path: path in four - five,
            "three of five": lambda path: path not in four | five,
        },
        "emotionroi": {
            "valence does not contradict the keyword": lambda path: path not in against,
            "valence contradicts the keyword": lambda path: path in against,
        },
    }
    rows = []
    for name, of_set in kinds.items():
        found = [answers(study, name, method) for study, method in columns.values()]
        for words, is_one in of_set.items():
            cells = [in_words(name), words]
            for frame in found:
                mine = frame[frame["path"].map(is_one)]
                pictures, right = mine["path"].nunique(), mine["right"].mean()
                low, high = wilson(right * pictures, pictures)
                cells.append(f"{100 * right:.1f} % ({low:.1f} to {high:.1f})")
            rows.append([*cells[:2], f"{pictures:,}", *cells[2:]])
    return grid(["set", "label", "pictures", *columns], rows)


def answers(study: str, name: str, method: str) -> pd.DataFrame:
    """path, right: of every test picture of a system's runs on a set."""
    row = row_of(f"{study}/table9.csv", dataset=name, method=method)
    frame = pd.concat([run.predictions for run in runs_of(study, row["run_ids"])])
    return frame.assign(right=(frame["p_positive"] >= 0.5) == frame["label"])


def frozen_speed() -> str:
    """Markdown: how much quicker heads learn from what is kept of a frozen backbone."""
    frame = pd.read_csv(ROOT / "results/bench/frozen.csv")
    heads = ["backbone, 224 px", "normal", "without MAI", "without both", "a view of a picture"]
    rows = []
    for backbone, of in frame.groupby("backbone", sort=False):
        ratio = of[of["way"] == "in the loop"].set_index("row")["ratio"]
        cells = [f"`{backbone}`", *(f"{ratio[row]:.1f} ×" for row in heads[1:4])]
        rows.append([*cells, f"{of['view_ms'].iloc[0]:.0f} ms"])
    return grid(heads, rows)


def places() -> str:
    """Markdown: the area under the curves of deletion and insertion, D's and of other places."""
    rows = []
    for row in pd.read_csv(MEASURED / FROZEN / "areas.csv").to_dict("records"):
        numbers = [row[name] for name in ("difference", "d_low", "d_high")]
        minus = "" if pd.isna(row["difference"]) else apart(*numbers, digits=3)
        place = row["place"].replace(" D ", " *D* ")
        rows.append([in_words(row["set"]), row["way"], place, f"{row['area']:.3f}", minus])
    return grid(["set", "blurring", "place", "area", "minus *D*'s (95 %)"], rows)


def method_words() -> str:
    """Markdown: a row a method, as figures call it."""
    rows = ([f"`{name}`", words] for name, words in METHOD_NAMES.items())
    return grid(["in files", "in figures"], rows)


def filled(page: str) -> str:
    """A page of PAGES with each table between its two marks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, made in PAGES[page].items():
        before, after = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(re.escape(before) + ".*?" + re.escape(after), re.S)
        assert len(pattern.findall(text)) == 1, page
        whole = f"{before}\n\n{made()}\n\n{after}"
        text = pattern.sub(lambda _, whole=whole: whole, text)
    return text


PAGES = {
    "README.md": {"findings": table},
    "docs/index.md": {"findings": table},
    "docs/rivals.md": {"rivals": rivals},
    "docs/sets.md": {"sets": sets, "layouts": folder_layouts},
    "docs/evaluate.md": {"protocols": protocols},
    "docs/open.md": {"readings": other_readings},
    "docs/measured.md": {
        "choices": choices,
        "shipped": functools.partial(modules, AS_SHIPPED),
        "modules": modules,
        "networks": networks,
        "whole": functools.partial(modules, f"{WHOLE}/readings.csv"),
        "beside-heads": functools.partial(beside, FROZEN),
        "beside": functools.partial(beside, WHOLE),
        "stage": functools.partial(stage, TRANSFER),
        "stage-whole": functools.partial(stage, WHOLE_TRANSFER),
        "doubtful": doubtful,
        "places": places,
    },
    "docs/speed.md": {"frozen": frozen_speed},
    "docs/glossary.md": {"methods": method_words},
    "docs/tasks.md": {
        "tasks": tasks,
        "measured": beyond,
        "usual": functools.partial(beyond, f"{BEYOND}-usual"),
    },
}


def where():
    """Where we are: each system's accuracy on both sets, with its interval, as a Figure."""
    figure, axes = panels(1, 2, 9, 3.6, sharey=True)
    for axis, (name, words) in zip(axes[0], SETS.items(), strict=True):
        frame = rows_of(f"{SHIPPED}/table9.csv", dataset=name).set_index("method")
        parts = rows_of(f"{SHIPPED}/table7.csv", dataset=name).set_index("method")
        bars = {
            "the paper's network,\nas the paper reports it": (None, GREY),
            f"that network here, fine-tuned,\n{seen_at(LARGER, name)}": (
                reached(LARGER, name),
                OURS,
            ),
            f"its backbone frozen,\n{seen_at(SHIPPED, name)}": (frame.loc["maiafa"], OURS),
            "frozen, without MAI and AFA": (parts.loc["without_both"], COLORS[1]),
            "a logistic regression\non the same frozen backbone": (
                frame.loc["frozen_probe"],
                COLORS[1],
            ),
        }
        places = range(len(bars) - 1, -1, -1)
        axis.plot(frame.loc["maiafa", "published"], len(bars) - 1, "o", color=GREY, ms=9)
        for place, (row, color) in zip(places, bars.values(), strict=True):
            if row is None and color != GREY:
                axis.annotate("not measured", (82, place), ha="center", va="center", fontsize=8)
            elif row is not None:
                three = [[row[c]] for c in ("mean", "ci_low", "ci_high")]
                intervals(axis, *three, [place], color=color)
        axis.set_yticks(list(places), list(bars))
        axis.set(title=words, xlabel="accuracy, % (better →)", xlim=(76, 88), ylim=(-0.8, 4.6))
        axis.grid(axis="x", color="0.9")
        said = f"always the more frequent answer: {majority(SHIPPED, name):.1f} %"
        axis.annotate(said, (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=8)
    figure.suptitle(
        "On a frozen backbone, leaving out MAI and AFA changes nothing that can be seen",
        fontsize=11,
    )
    return figure


def main() -> None:
    for page in PAGES:
        write_text(ROOT / page, filled(page))
    for name in FIGURES:
        shutil.copyfile(MEASURED / name, ROOT / "docs/figures" / name.replace("/", "-"))
    where().savefig(ROOT / "docs/figures/where.png", dpi=130)


if __name__ == "__main__":
    main()
