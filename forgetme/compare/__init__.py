"""Comparisons: the same holes filled in all ways, scored, side by side, as a report.

    subjects = subjects_of_folder(Path("scenes"), "cat")
    table = compare(subjects, load_models("tiny"), Wanted("cat"), Path("report"))

`kept` and `votes` read what is there; importing this loads no model library.
"""

from forgetme.compare.columns import COLUMNS, Wanted
from forgetme.compare.comparison import compare
from forgetme.compare.items import Subject, subjects_of_folder, subjects_of_store

__all__ = [
    "COLUMNS",
    "Subject",
    "Wanted",
    "compare",
    "subjects_of_folder",
    "subjects_of_store",
]
