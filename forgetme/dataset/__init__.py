"""The dataset: export, import and push of accepted samples."""

from forgetme.dataset.exporting import ExportReport, export, exports
from forgetme.dataset.hub import PushConflictError
from forgetme.dataset.importing import ImportReport, import_dataset, imports
from forgetme.dataset.push import PushReport, push
from forgetme.dataset.splits import SHARES, SPLITS, Shares, Split, photo_of, split_of

__all__ = [
    "SHARES",
    "SPLITS",
    "ExportReport",
    "ImportReport",
    "PushConflictError",
    "PushReport",
    "Shares",
    "Split",
    "export",
    "exports",
    "import_dataset",
    "imports",
    "push",
    "photo_of",
    "split_of",
]
