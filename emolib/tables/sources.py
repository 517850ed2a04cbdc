"""Which runs a file of measurements comes from.

cross.csv, regions.csv, curves.csv and areas.csv need pictures and weights to be made again. Each
of their rows names its runs (`run_ids`) and, in the same order, the first sixteen digits of the
SHA-256 of their weights (`weights`, empty where that is not known), separated by semicolons.
"""

from ..base import run_folder

SOURCE_COLUMNS = ["run_ids", "weights"]


def source_columns(folders) -> dict:
    """The two columns' cells for what was measured with the runs in these folders."""
    folders = list(dict.fromkeys(folders))
    hashes = [(run_folder.weights_of(folder) or "")[:16] for folder in folders]
    return dict(
        zip(SOURCE_COLUMNS, (";".join(f.name for f in folders), ";".join(hashes)), strict=True)
    )
