"""Training: one visible loop, one short file per method, and a patch as the result."""

from forgetme.train.adapters import Wardrobe
from forgetme.train.data import Item, items_of_folder, items_of_store
from forgetme.train.loop import RunResult, check, train
from forgetme.train.methods import METHODS, method_of
from forgetme.train.patch import Patch, read_patch
from forgetme.train.probe import Probe, probe
from forgetme.train.settings import RunSettings

__all__ = [
    "METHODS",
    "Item",
    "Patch",
    "Probe",
    "RunResult",
    "RunSettings",
    "Wardrobe",
    "check",
    "items_of_folder",
    "items_of_store",
    "method_of",
    "probe",
    "read_patch",
    "train",
]
