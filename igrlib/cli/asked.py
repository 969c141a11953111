"""What the user of `igr` asked for, and whose mistake an error is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["Mistake", "mistakes", "units_named"]


class Mistake(Exception):
    """Something that the user can mend."""


@contextmanager
def mistakes() -> Iterator[None]:
    """For what comes from the user: inside, a ValueError or TypeError is theirs and no bug."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Mistake(str(error)) from error


def units_named(experiment: str, profile: str, settings: Sequence[str]) -> tuple[str, list[Any]]:
    """The name of a profile with `settings` made in it, and its units."""
    from igrlib._checks import one_of
    from igrlib.experiments import runner
    from igrlib.experiments.profiles import PROFILES
    from igrlib.experiments.settings import changed

    one_of("the experiment", experiment, [runner.EXPERIMENT])
    arms = PROFILES[one_of("--profile", profile, PROFILES)]
    label, arms = changed(profile, arms, settings)
    return label, runner.units(arms)
