"""What to install where a package of the experimental half is missing."""

import importlib
from typing import Any


def needed(module: str) -> Any:
    """A module that only the experiments need."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(error) from error


def missing(error: ImportError) -> ImportError:
    """The same error, saying which extra brings the package."""
    text = f'{error}. Install with: pip install "igrlib[experiments]"'
    return ImportError(text, name=error.name)
