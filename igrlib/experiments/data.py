"""The data sets of the experiments: digits, from scikit-learn, and MNIST and CIFAR-10.

MNIST and CIFAR-10 come from TensorFlow Datasets (TFDS) once and are then cached. A machine that has
only the cached file can train.

Source: Section 6; chapter 7, *MNIST*.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from igrlib._checks import one_of
from igrlib.experiments import _tfds
from igrlib.experiments._extras import needed
from igrlib.experiments.storage import npz
from igrlib.experiments.storage.files import sweep

__all__ = ["IMAGE_SHAPES", "NUM_CLASSES", "Dataset", "Split", "cache_path", "load", "prepare"]

IMAGE_SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
"""Height, width and channels by data set."""

NUM_CLASSES = 10
"""The number of classes of each data set."""


class Split(NamedTuple):
    """Images and labels of one split, read-only.

    `images` is uint8 of shape (n, height, width, channels), `labels` uint8 of shape (n,).
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in two splits.

    Labels are 0 … `num_classes` − 1, pixels 0 … `scale`; models see `images / scale`.
    `fingerprint` is the sha256 (hexadecimal) of shapes, dtypes and bytes of the images and labels
    of `train`, then of `test`.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    scale: float
    fingerprint: str


# Fingerprints of the data sets that are cached.
_KNOWN = {
    "mnist": "e8c71a70e490c8ee5fde6fcea410396c8f791bc45a906a070907c62f51d62c6e",
    "cifar10": "d2a399e06721f39dabe9a8cec0482ffdd2b6ce213c380c4a6c7e9523a3e60043",
}
_ARRAYS: tuple[str, ...] = ("train_images", "train_labels", "test_images", "test_labels")


def load(name: str) -> Dataset:
    """The data set `"digits"`, `"mnist"` or `"cifar10"`.

    Digits are those of scikit-learn, 8×8, shuffled once: 1,500 to train, 297 to test. MNIST
    (60,000 and 10,000, 28×28) and CIFAR-10 (50,000 and 10,000, 32×32×3) are read from the cache,
    or else from the data that TFDS has prepared in `TFDS_DATA_DIR`, and then cached. Their examples
    are in the order of a hash of image and label, a random order that does not depend on how TFDS
    shuffled them.

    Raises `ValueError` for another name, and for a cached or prepared file that is cut short,
    altered or something else; the file stays as it is. Raises `FileNotFoundError` with the command
    that fetches missing data, and `ImportError` if a package is missing. Warns if only the cache
    could not be written.

    Source: Section 6; chapter 7, *MNIST*.
    """
    if name == "digits":
        return _digits()
    path = cache_path(name)
    if path.exists():
        return _checked(name, path, _read_cache)
    folder = _tfds.prepared(name)
    if folder is None:
        raise FileNotFoundError(
            f"{name} is neither cached as {path} nor prepared by TFDS (as array_record) in"
            f" {_tfds.data_dir()}. Fetch it with: igr data prepare {name}"
        )
    dataset = _checked(name, folder, _tfds.read)
    try:
        _write_cache(path, dataset)
    except OSError as error:
        warnings.warn(f"{name} is read anew every time: {error}", RuntimeWarning, stacklevel=2)
    return dataset


def prepare(name: str) -> Path:
    """Cache `"mnist"` or `"cifar10"`, fetching it with TFDS if needed, and say where the cache is.

    Data that TFDS has not prepared yet are downloaded into `TFDS_DATA_DIR`; that needs a network
    and TensorFlow. An existing cache is checked and kept.

    Raises as `load` does; `ValueError` for `"digits"`, `OSError` where the data cannot be fetched
    or the cache cannot be written, naming the file.

    Source: Section 6; chapter 7, *MNIST*.
    """
    path = cache_path(name)
    if path.exists():
        _checked(name, path, _read_cache)
    else:
        folder = _tfds.prepared(name) or _tfds.download(name)
        _write_cache(path, _checked(name, folder, _tfds.read))
    return path


def cache_path(name: str) -> Path:
    """The file that caches `"mnist"` or `"cifar10"`, whether it exists yet or not.

    In `IGR_DATA_DIR` where that is set, else in `igrlib` under `XDG_CACHE_HOME` or `~/.cache`.
    Raises `ValueError` for another name, and for `"digits"`.
    """
    if one_of("name", name, ("digits", *_KNOWN)) == "digits":
        raise ValueError('"digits" is embedded in scikit-learn: nothing to prepare or to cache')
    own, shared = os.environ.get("IGR_DATA_DIR"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(shared or "~/.cache") / "igrlib"
    return folder.expanduser() / f"{name}.npz"


def _digits() -> Dataset:
    digits: Any = needed("sklearn.datasets").load_digits()
    # They are stored writer by writer: without a shuffle the test split has writers of its own.
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = digits.images[order, :, :, None].astype(np.uint8)
    labels = digits.target[order].astype(np.uint8)
    return _dataset("digits", 16.0, images[:1500], labels[:1500], images[1500:], labels[1500:])


def _dataset(name: str, scale: float, *arrays: np.ndarray) -> Dataset:
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.shape} {array.dtype.str} ".encode())
        state.update(np.ascontiguousarray(array).data)
        array.flags.writeable = False  # The fingerprint is to stay true.
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    return Dataset(name, train, test, NUM_CLASSES, scale, state.hexdigest())


def _checked(name: str, where: Path, read: Callable[[Path], Sequence[np.ndarray]]) -> Dataset:
    """The data set that `read` finds, if it is the known one."""
    try:
        dataset = _dataset(name, 255.0, *read(where))
        if dataset.fingerprint != _KNOWN[name]:
            raise ValueError(
                f"{where} can be read but does not hold {name}: its arrays have the fingerprint"
                f" {dataset.fingerprint}, wanted is {_KNOWN[name]}."
            )
    except ValueError as error:
        raise ValueError(f"{error} Delete it and run: igr data prepare {name}") from error
    return dataset


def _read_cache(path: Path) -> list[np.ndarray]:
    arrays, _ = npz.load(path)
    if set(arrays) != set(_ARRAYS):
        found = ", ".join(sorted(arrays)) or "no array"
        raise ValueError(f"{path} holds {found}; wanted are {', '.join(_ARRAYS)}.")
    return [arrays[key] for key in _ARRAYS]


def _write_cache(path: Path, dataset: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    arrays = dict(zip(_ARRAYS, (*dataset.train, *dataset.test), strict=True))
    # Not compressed: five times as fast to read, and MNIST is 55 MB.
    npz.save(path, arrays, {"name": dataset.name, "fingerprint": dataset.fingerprint})
