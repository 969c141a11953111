"""Recorded runs: a shard for each finished unit, and one manifest of them all.

Source: Section 6 and A.5; chapter 7, *MNIST*.
"""

from igrlib.experiments.records.metadata import precision_of
from igrlib.experiments.records.origin import provenance
from igrlib.experiments.records.record import (
    SHARD_LIMIT,
    Record,
    Shard,
    add_unit,
    open_record,
    open_records,
    rebuild_manifest,
)
from igrlib.experiments.storage.files import sweep
from igrlib.experiments.storage.npz import RecordError, load, save

__all__ = [
    "SHARD_LIMIT",
    "Record",
    "RecordError",
    "Shard",
    "add_unit",
    "load",
    "open_record",
    "open_records",
    "precision_of",
    "provenance",
    "rebuild_manifest",
    "save",
    "sweep",
]
