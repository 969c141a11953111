"""Recorded runs: a shard for each finished unit, and one manifest that tells what is there.

Source: Section 6 and A.5; chapter 7, *MNIST*.
"""

from igrlib.records.origin import provenance
from igrlib.records.record import (
    SHARD_LIMIT,
    Record,
    Unit,
    add_unit,
    open_record,
    open_records,
    rebuild_manifest,
)
from igrlib.storage.files import sweep
from igrlib.storage.npz import RecordError, load, save

__all__ = [
    "SHARD_LIMIT",
    "Record",
    "RecordError",
    "Unit",
    "add_unit",
    "load",
    "open_record",
    "open_records",
    "provenance",
    "rebuild_manifest",
    "save",
    "sweep",
]
