"""What the notebooks say in sentences, as Markdown."""

from pathlib import Path

import pandas as pd

from ..base.files import read_csv
from ..spec.sets import SMALL, in_words
from ..tables.pages import score
from .settings import PROTOCOL, Settings

DEMO_NOTE = (
    "> **Demo data.** The pictures are drawn by `emolib.make_demo_data` and stand in for FI, "
    "Twitter I and EmotionROI; the network is small and its training short. Numbers show that "
    "the whole experiment runs, not what the paper's network does on real pictures."
)
START_WORDS = {"imagenet": "ImageNet weights", "scratch": "random weights"}


def about_study(settings: Settings, name: str, demo: bool) -> str:
    """The data and settings of the study `name`; on demo data that the numbers are a stand-in's."""
    data = f"Data: {', '.join(settings.datasets)} in `{settings.data_root.name}`."
    said = f"Study `{name}`, profile `{settings.profile}`, backbone `{settings.backbone}`"
    if settings.overrides:
        said += ", overrides " + ", ".join(f"`{k}={v}`" for k, v in settings.overrides.items())
    parts = [DEMO_NOTE if demo else data, about_absent(settings), f"{said}.", not_for(settings)]
    return "\n\n".join(filter(None, parts))


def not_for(settings: Settings) -> str:
    """Which overrides do not count on sets that others start from; "" where all do."""
    names = [name for name in settings.overrides if name in PROTOCOL]
    if not (names and settings.first):
        return ""
    return (
        f"`{'`, `'.join(names)}`: not on {' and '.join(settings.first)}, which other sets start "
        "from. There the profile's settings stay, unless an override names the set, as in "
        f"`{settings.first[0]}.{names[0]}=…`."
    )


def about_absent(settings: Settings) -> str:
    """What follows from the sets that are `absent`; "" where none is."""
    if not settings.absent:
        return ""
    small = settings.small
    start = START_WORDS[settings.spec(small[0]).start]
    text = (
        f"**No {' or '.join(f'`{d}/`' for d in settings.absent)} in "
        f"`{settings.data_root.name}`.** {', '.join(small)}: these runs start from {start} alone, "
        "without the paper's set-to-set stage, and Table 8's `normal` stays empty."
    )
    others = [d for d in small if d in SMALL]
    if len(small) > 1 and others:
        text += f" To start from another set: `overrides` with `init={others[-1]}:imagenet`."
    return text


def about_pretraining(settings: Settings) -> str:
    """That notebook 02 has nothing to do, and what the sets start from; "" with FI."""
    if len(settings.small) < len(settings.datasets):
        return ""
    starts = ", ".join(f"{d} from `{settings.spec(d).init}`" for d in settings.datasets)
    return (
        "**This study has no FI: nothing is trained in this notebook**, and the cells below stay "
        f"empty. The networks start without it: {starts}; notebook 03 trains them. "
        "What can be said of FI is in the paper's rows of Table 9 (notebook 05)."
    )


def about_fine_tuning(settings: Settings) -> str:
    """That notebooks 03, 06 and 08 have nothing to do; "" where there is a small set."""
    if settings.small:
        return ""
    return (
        "**This study has FI alone: there is no small set to fine-tune on**, so that nothing is "
        "trained in this notebook and the cells below stay empty. Notebooks 04 and 05 build the "
        "tables with what FI gives."
    )


def what_regions_say(table: pd.DataFrame) -> str:
    """`regions.compare_maps` in sentences: the AUC of the default reading's D against chance, then
    against each other map."""
    rows = table[(table["measure"] == "AUC") & (table["reading"] == "normal")]
    lines = []
    for name, group in rows.groupby("set", sort=False):
        by = group.set_index("map")
        D = by.loc["D"]
        if pd.isna(D["mean"]):
            lines.append(f"{in_words(name)}: {D['over']}, so that nothing can be measured.")
            continue
        auc = f"{with_interval(D['mean'], D['low'], D['high'])} ({D['over']})"
        against = _against(D["low"] - 0.5, D["high"] - 0.5)
        lines.append(f"**{in_words(name)}: the AUC of *D* is {auc}: {against} chance (0.5).**")
        for kind, row in by.iterrows():
            middle, low, high = row["D_minus"], row["D_minus_low"], row["D_minus_high"]
            if kind not in ("D", "uniform") and pd.notna(middle):
                found = with_interval(middle, low, high, "+")
                lines.append(f"- *D* minus {kind}: {found}: {_against(low, high)} it.")
        if "Grad-CAM" not in by.index:
            lines.append("- No Grad-CAM: the study has no complete run of the plain backbone.")
        if "D before" not in by.index:
            lines.append("- No *D* before the fine-tune: these networks start from no other run.")
    return "\n".join(lines)


def what_curves_say(table: pd.DataFrame) -> str:
    """`deletion.areas` in sentences: whether the answer hangs on what D marks."""
    lines = []
    for name, group in table.groupby("set", sort=False):
        over = group["over"].iloc[0]
        lines += ["", f"**{in_words(name)}** ({over}), areas minus that of *D*'s highest:", ""]
        for row in group[group["difference"].notna()].itertuples():
            for_D = 1 if row.way == "deletion" else -1  # the sign that speaks for D
            against = _against(*sorted((for_D * row.d_low, for_D * row.d_high)))
            more = {"above": "more", "below": "less"}.get(against)
            said = f"it hangs {more} on *D*'s highest" if more else "cannot tell"
            found = with_interval(row.difference, row.d_low, row.d_high, "+")
            lines.append(f"- {row.way}, {row.place}: {found}: {said}.")
    return "\n".join(lines)


def with_interval(middle: float, low: float, high: float, sign: str = "") -> str:
    """ "0.58 (0.50 to 0.66)", or the number alone where there is no interval."""
    text = f"{middle:{sign}.2f}"
    return text if pd.isna(low) else f"{text} ({low:{sign}.2f} to {high:{sign}.2f})"


def _against(low: float, high: float) -> str:
    """Where a difference's interval lies, beside 0."""
    if pd.isna(low):
        return "one run cannot tell it from"
    return "above" if low > 0 else "below" if high < 0 else "cannot be told from"


def what_came_out(folder: Path | str) -> str:
    """Where a study's results are, and its network's accuracy on each set: for a terminal."""
    folder = Path(folder)
    rows = read_csv(folder / "table7.csv").query("method == 'normal' and metric == 'accuracy'")
    rows = rows[rows["runs"] > 0]
    drawn = "DEMO DATA" in (folder / "table7.md").read_text(encoding="utf-8").split("\n")[0]
    return "\n".join(
        [
            f"Tables: {folder}/table7.md, table8.md, table9.md. Figures: the same names, .png.",
            f"Notebooks, executed: {folder}/notebooks/",
            f"Accuracy of the network{' on drawn pictures' * drawn}, with its 95% interval:",
            *(f"  {in_words(row['dataset'])}: {score(row)}" for _, row in rows.iterrows()),
        ]
    )
