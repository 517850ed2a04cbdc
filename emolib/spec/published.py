"""The paper's own tables, typed in from it."""

import importlib.resources

import pandas as pd


def published(number: int) -> pd.DataFrame:
    """A table of the paper (1, 5, 6, 7, 8 or 9)."""
    file = importlib.resources.files("emolib") / "spec" / "paper_tables" / f"table{number}.csv"
    with file.open(encoding="utf-8") as text:
        return pd.read_csv(text)
