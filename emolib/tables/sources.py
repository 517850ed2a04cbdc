"""Which runs a file of measurements (cross.csv, regions.csv, curves.csv, areas.csv) comes from.

Each row names its runs (`run_ids`) and, in the same order, the first sixteen digits of the SHA-256
of their weights (`weights`, empty where that is not known), separated by semicolons.
"""

from ..base import run_folder

SOURCE_COLUMNS = ["run_ids", "weights"]


def source_columns(folders) -> dict:
    """The two columns' cells for what was measured with the runs in these folders."""
    folders = list(dict.fromkeys(folders))
    hashes = [(run_folder.weights_of(folder) or "")[:16] for folder in folders]
    return {"run_ids": ";".join(f.name for f in folders), "weights": ";".join(hashes)}
