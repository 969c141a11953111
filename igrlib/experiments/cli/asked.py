"""What the user of `igr` asked for, and whose mistake an error is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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


def units_named(
    experiment: str, profile: str, settings: Sequence[str], out: Path
) -> tuple[Any, list[Any]]:
    """The folder of an experiment's profile with `settings` made in it, and its units."""
    from igrlib._checks import one_of
    from igrlib.experiments import runner
    from igrlib.experiments.folder import Folder
    from igrlib.experiments.profiles import EXPERIMENTS
    from igrlib.experiments.settings import changed

    profiles = EXPERIMENTS[one_of("the experiment", experiment, EXPERIMENTS)]
    arms = profiles[one_of("--profile", profile, profiles)]
    label, arms = changed(profile, arms, settings)
    return Folder(out, experiment, label), runner.units(arms)
