"""Images and labels as TensorFlow Datasets (TFDS) has prepared them, read without TensorFlow."""

import hashlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from igrlib.experiments._extras import needed

_BLOCK = 1000  # records read at once: one by one takes up to three times as long


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
    """Images and labels of the train split, then of the test split, in an order of our own.

    TFDS shuffles by keys that depend on where the files came from; sorting by a hash of the
    example itself gives every machine the same random order. Raises `ValueError` naming the
    folder for files that are damaged.
    """
    with _quiet():
        tfds = needed("tensorflow_datasets")
        needed("PIL.Image")
        try:
            builder = tfds.builder_from_directory(folder)
            splits = [_sorted(builder.as_data_source(split)) for split in ("train", "test")]
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            # TFDS and what it stands on answer damage with a dozen kinds of errors.
            raise ValueError(
                f"{folder} cannot be read ({type(error).__name__}: {error})."
            ) from error
    return [array for split in splits for array in split]


def download(name: str) -> Path:
    """Let TFDS fetch and prepare a data set, and say in which folder."""
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
        # TFDS keeps what it has, in whatever format.
        raise OSError(
            f"TFDS has {name} in {data_dir()}, but not as array_record, the format that needs no"
            " TensorFlow. Set TFDS_DATA_DIR to another folder and run it again"
        )
    return folder


def _sorted(source: Any) -> tuple[np.ndarray, np.ndarray]:
    examples: list[Any] = []
    for start in range(0, len(source), _BLOCK):
        stop = min(start + _BLOCK, len(source))
        examples += source.__getitems__(list(range(start, stop)))
    examples.sort(key=_hash)
    labels = np.array([example["label"] for example in examples], np.uint8)
    return np.stack([example["image"] for example in examples]), labels


def _hash(example: Any) -> bytes:
    return hashlib.sha256(example["image"].tobytes() + bytes([example["label"]])).digest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that TFDS logs about decoders that are not needed."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
