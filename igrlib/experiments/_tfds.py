"""Images and labels as TensorFlow Datasets (TFDS) has prepared them, read without TensorFlow."""

import hashlib
import importlib.util
import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from igrlib.experiments._extras import needed

_AT_ONCE = 1000  # records read together: one by one takes up to three times as long


def data_dir() -> Path:
    # TFDS reads the variable once, when it is imported.
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared(name: str) -> Path | None:
    """The folder where TFDS has this data set in the one format that needs no TensorFlow."""
    for info in sorted(data_dir().glob(f"{name}/[0-9]*/dataset_info.json"), reverse=True):
        if "array_record" in info.read_text("utf-8", errors="replace"):
            return info.parent
    return None


def read(folder: Path) -> list[np.ndarray]:
    """Images and labels of the train split, then of the test split, sorted by a hash of each pair.

    TFDS shuffles by keys that depend on where the files came from; this order is as random, and
    the same on every machine. Raises `ValueError` naming the folder for damaged files.
    """
    logger = logging.getLogger("absl")
    with ExitStack() as stack:
        # TFDS warns of decoders that are not needed here.
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        tfds = needed("tensorflow_datasets")
        needed("PIL.Image")
        try:
            builder = tfds.builder_from_directory(folder)
            splits = [_sorted(builder.as_data_source(split)) for split in ("train", "test")]
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            # Damaged files make TFDS and its imports raise a dozen kinds of errors.
            raise ValueError(
                f"{folder} cannot be read ({type(error).__name__}: {error})."
            ) from error
    return [array for split in splits for array in split]


def download(name: str) -> Path:
    """The folder where TFDS has put a data set that it has fetched and prepared just now."""
    tfds = needed("tensorflow_datasets")
    # TFDS needs the second one to fetch anything, but does not ask for it.
    packages = ("tensorflow", "importlib_resources")
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"{name} is not prepared in {data_dir()}, and TFDS cannot fetch it without"
            f" {' and '.join(missing)}. Install with: pip install {' '.join(missing)}"
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir())
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        raise OSError(
            f"TFDS could not fetch {name} into {data_dir()} ({type(error).__name__}: {error})"
        ) from error
    folder = prepared(name)
    if folder is None:
        # TFDS keeps its old files, whatever their format.
        raise OSError(
            f"TFDS has {name} in {data_dir()}, but not as array_record, the format that needs no"
            " TensorFlow. Set TFDS_DATA_DIR to another folder and run it again"
        )
    return folder


def _sorted(source: Any) -> tuple[np.ndarray, np.ndarray]:
    examples: list[Any] = []
    numbers = range(len(source))
    for start in numbers[::_AT_ONCE]:
        examples += source.__getitems__(list(numbers[start : start + _AT_ONCE]))
    examples.sort(key=_hash)
    labels = np.array([example["label"] for example in examples], np.uint8)
    return np.stack([example["image"] for example in examples]), labels


def _hash(example: Any) -> bytes:
    return hashlib.sha256(example["image"].tobytes() + bytes([example["label"]])).digest()
