"""The folder of a record, which of its units are done, and the claim on a unit.

Source: not in the paper; the appendix *How to reproduce*.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igrlib.experiments import records
from igrlib.experiments.optimizers import SGD
from igrlib.experiments.paths import PathUnit
from igrlib.experiments.records.record import load_unit
from igrlib.experiments.storage.files import held
from igrlib.experiments.units import OF_THE_ARM, Unit

__all__ = ["Claimed", "Folder", "claimed"]


class Claimed(RuntimeError):
    """Another process holds the claim."""


@contextmanager
def claimed(path: Path, what: str) -> Iterator[None]:
    """Hold the claim on `what`, a lock on the file `path`; makes the folder of that.

    The claim dies with its process. Raises `Claimed` where another process holds the claim,
    `OSError` naming the file where that cannot be written. Without file locks (some network file
    systems) every process gets the claim.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(path, wait=False))
        except TimeoutError:
            raise Claimed(f"{what} is being run by another process") from None
        yield


@dataclass(frozen=True)
class Folder:
    """The record of an experiment under a profile, in the folder of results `out`."""

    out: Path
    experiment: str
    profile: str

    @property
    def path(self) -> Path:
        """Where the shards and the manifest lie."""
        return self.out / f"{self.experiment}-{self.profile}"

    def shard(self, unit: Unit | PathUnit) -> Path:
        """The file of a finished unit."""
        return self.path / f"{unit.name}.npz"

    def checkpoint(self, unit: Unit | PathUnit) -> Path:
        """The checkpoint of a unit that was stopped."""
        return self.path / "checkpoints" / f"{unit.name}.npz"

    def finished(self, unit: Unit | PathUnit) -> dict[str, Any] | None:
        """The metadata of a unit's shard, None where the unit is not done.

        Raises `RecordError` for a shard that is damaged, or was made with another configuration.
        """
        path = self.shard(unit)
        if not path.exists():
            return None
        meta = load_unit(path)[1]
        # Older units name no optimizer: there was one.
        was = {"optimizer": SGD.kind} | meta["unit_config"]
        wanted = json.loads(json.dumps(unit.config()))
        for field in sorted((was.keys() & wanted.keys()).difference(OF_THE_ARM)):
            if was[field] != wanted[field]:
                raise records.RecordError(
                    f"{path} was recorded with {field} = {was[field]!r}, the profile has "
                    f"{wanted[field]!r} now; move it away to run it anew, or name another --out"
                )
        return meta

    def check_precision(self, arms: Iterable[str]) -> None:
        """Raise `RecordError` if a finished unit of one of these arms is not of float32.

        New units are computed in float32. A shard that cannot be read is passed over.
        """
        arms = list(arms)
        for path in sorted(self.path.glob("[!.]*.npz")):
            try:
                meta = load_unit(path)[1]
            except records.RecordError:
                continue
            was = records.precision_of(meta["provenance"])
            if meta["unit_config"].get("name") in arms and was not in (None, "float32"):
                raise records.RecordError(
                    f"{path} has products of matrices in {was}, here they are in float32, and an"
                    " arm has one precision: move it away to run it anew, or name another --out"
                )

    def missing(self, wanted: Iterable[Unit | PathUnit]) -> list[Unit | PathUnit]:
        """The units that have no shard yet; raises `RecordError` as `finished` does."""
        return [unit for unit in wanted if self.finished(unit) is None]

    def merge(self, expected: Sequence[str] | None = None) -> None:
        """Write the manifest anew from the shards in this folder, wherever they were made.

        `expected` names all units of the profile; None keeps the names that the manifest has.
        Removes half-written files of killed processes, and checkpoints of units that are done;
        writes nothing if there is no shard. Raises `RecordError` or `OSError`.
        """
        shards = {path.name for path in self.path.glob("[!.]*.npz")}
        for path in (self.path, self.path / "checkpoints"):
            records.sweep(path)
        for waiting in (self.path / "checkpoints").glob("[!.]*.npz"):
            if waiting.name in shards:
                waiting.unlink(missing_ok=True)
        if shards:
            records.rebuild_manifest(self.path, expected_units=expected)
