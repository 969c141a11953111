"""The units of all experiments in one order: the most telling come first.

Source: Figures 2, 3 and A.3 to A.8; the appendix *How to reproduce*.
"""

from igrlib._checks import one_of
from igrlib.experiments import runner
from igrlib.experiments.paths import PathUnit
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.units import Unit

__all__ = ["ORDER", "in_order"]

ORDER = (
    ("mlp-sweep", "sgd"),  # Figures 2, 3a, 3b and A.3 to A.6
    ("resnet-sweep", "sgd"),  # Figures A.7 and A.8
    ("egr-sweep", "resnet"),  # Figure 3c
    ("mlp-sweep", "gd"),  # Figure A.6, full batches
    ("mlp-sweep", "batch512"),  # Figure A.6, other batch sizes
    ("mlp-sweep", "batch128"),
    ("mlp-sweep", "batch8"),
)
"""The arms of the paper's figures, in the order in which they run. Arms that are not in the paper
follow, in the order of `EXPERIMENTS`."""


def in_order(profile: str) -> list[tuple[str, Unit | PathUnit]]:
    """The units of every experiment that has `profile`, each with the name of its experiment.

    The first seeds of all arms come before the second of any, and among them the arms are as in
    `ORDER`. Raises `ValueError` for a profile that no experiment has.
    """
    names = [name for profiles in EXPERIMENTS.values() for name in profiles]
    one_of("--profile", profile, dict.fromkeys(names))
    found = [
        (experiment, unit)
        for experiment, profiles in EXPERIMENTS.items()
        for unit in runner.units(profiles.get(profile, ()))
    ]
    places = {arm: place for place, arm in enumerate(ORDER)}

    def place(pair: tuple[str, Unit | PathUnit]) -> tuple[int, int]:
        experiment, unit = pair
        return unit.seeds[0], places.get((experiment, unit.arm.name), len(ORDER))

    return sorted(found, key=place)
