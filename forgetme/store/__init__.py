"""The store: an append-only log of events, the samples derived from it, and their images."""

from forgetme.store.filters import Filter
from forgetme.store.names import safe_stem
from forgetme.store.record import ConceptStats, Event, SampleRow
from forgetme.store.store import Store

__all__ = ["ConceptStats", "Event", "Filter", "SampleRow", "Store", "safe_stem"]
