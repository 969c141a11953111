"""Data sets against scikit-learn, published numbers, and small ones prepared as by TFDS."""

import errno
import hashlib
import importlib.util
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from sklearn.datasets import load_digits
from tensorflow_datasets.proto import tf_example_pb2

from igrlib.experiments import data
from igrlib.experiments.storage import npz

TRAIN, TEST = 40, 12
KEYS = ["train_images", "train_labels", "test_images", "test_labels"]


def examples(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 4, 3, 1), np.uint8), rng.integers(0, 3, n, np.uint8)


def sorted_by_hash(images, labels):
    rows = [image.tobytes() + label.tobytes() for image, label in zip(images, labels, strict=True)]
    order = np.argsort([hashlib.sha256(row).hexdigest() for row in rows])
    return images[order], labels[order]


def sha256(arrays):
    parts = [repr(a.shape).encode() + b" |u1 " + a.tobytes() for a in arrays]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def write_tfds(root, shuffle=None, shards=1, file_format="array_record", change=lambda x: x):
    """The tiny data set, as TFDS lays out what it has prepared, in any order of its records."""
    folder = root / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    splits = []
    for split, n, seed in (("train", TRAIN, 1), ("test", TEST, 2)):
        images, labels = change(examples(n, seed))
        order = np.arange(n) if shuffle is None else np.random.default_rng(shuffle).permutation(n)
        parts = np.array_split(order, shards)
        for k, part in enumerate(parts):
            name = f"mnist-{split}.array_record-{k:05d}-of-{shards:05d}"
            writer = ArrayRecordWriter(str(folder / name), "group_size:1")
            for i in part:
                Image.fromarray(images[i, :, :, 0]).save(png := io.BytesIO(), "PNG")
                example = tf_example_pb2.Example()
                example.features.feature["image"].bytes_list.value.append(png.getvalue())
                example.features.feature["label"].int64_list.value.append(int(labels[i]))
                writer.write(example.SerializeToString())
            writer.close()
        lengths = [str(len(part)) for part in parts]
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append({"name": split, "shardLengths": lengths, "filepathTemplate": template})
    info = {"name": "mnist", "version": "3.0.1", "fileFormat": file_format, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    core = "tensorflow_datasets.core.features."
    image = {"dtype": "uint8", "shape": {"dimensions": ["4", "3", "1"]}}
    features = {
        "image": {"image": image, "pythonClassName": core + "image_feature.Image"},
        "label": {
            "classLabel": {"numClasses": "3"},
            "pythonClassName": core + "class_label_feature.ClassLabel",
        },
    }
    whole = {"featuresDict": {"features": features}}
    whole["pythonClassName"] = core + "features_dict.FeaturesDict"
    (folder / "features.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """The arrays of the tiny data set that goes by the name of mnist; nothing is prepared yet."""
    monkeypatch.setenv("IGR_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    wanted = [*sorted_by_hash(*examples(TRAIN, 1)), *sorted_by_hash(*examples(TEST, 2))]
    monkeypatch.setitem(data._KNOWN, "mnist", sha256(wanted))
    return wanted


@pytest.fixture
def cache(arrays, tmp_path):
    """The cached file of the tiny data set, made from a prepared copy that is gone again."""
    write_tfds(tmp_path / "tfds")
    path = data.prepare("mnist")
    shutil.rmtree(tmp_path / "tfds")
    return path


def assert_same(dataset, arrays):
    for found, wanted in zip((*dataset.train, *dataset.test), arrays, strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted, strict=True)


def test_digits_are_those_of_scikit_learn():
    found, source = data.load("digits"), load_digits()
    order = np.random.default_rng(0).permutation(1797)
    stored = source.images[order].astype(np.uint8)[..., None], source.target[order]
    wanted = [
        part.astype(np.uint8)
        for k in (slice(1500), slice(1500, None))
        for part in (stored[0][k], stored[1][k])
    ]
    assert_same(found, wanted)
    assert (found.name, found.num_classes, found.scale) == ("digits", 10, 16.0)
    assert found.fingerprint == sha256(wanted)
    assert found.train.images.shape == (1500, 8, 8, 1)
    assert found.test.images.shape == (297, 8, 8, 1)
    images = np.concatenate([found.train.images, found.test.images])
    labels = np.concatenate([found.train.labels, found.test.labels])
    assert (images.min(), images.max(), images.sum(dtype=int)) == (0, 16, 561718)
    # The counts of the data set's description in the UCI repository.
    assert list(np.bincount(labels)) == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_arrays_are_read_only_and_jax_takes_them(cache):
    for dataset in (data.load("digits"), data.load("mnist")):
        for array in (*dataset.train, *dataset.test):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
            assert jax.numpy.asarray(array).dtype == np.uint8


@pytest.mark.parametrize(("shuffle", "shards"), [(None, 1), (3, 1), (4, 2)])
def test_what_tfds_prepared_is_cached_in_one_order_whatever_its_own(
    arrays, tmp_path, shuffle, shards, monkeypatch
):
    monkeypatch.setattr("igrlib.experiments._tfds._AT_ONCE", 7)
    write_tfds(tmp_path / "tfds", shuffle, shards)
    first = data.load("mnist")
    assert_same(first, arrays)
    assert first.fingerprint == sha256(arrays)
    assert (first.name, first.scale) == ("mnist", 255.0)
    assert data.cache_path("mnist") == tmp_path / "cache" / "mnist.npz"
    assert os.listdir(tmp_path / "cache") == ["mnist.npz"]
    # From now on the file alone will do.
    shutil.rmtree(tmp_path / "tfds")
    for module in ("tensorflow_datasets", "tensorflow", "PIL", "sklearn"):
        monkeypatch.setitem(sys.modules, module, None)
    assert_same(data.load("mnist"), arrays)
    assert data.prepare("mnist") == tmp_path / "cache" / "mnist.npz"


@pytest.mark.slow
def test_a_fresh_interpreter_is_quiet_and_imports_little(arrays, tmp_path):
    write_tfds(tmp_path / "tfds")
    code = (
        "import sys; from igrlib.experiments import data\n"
        "heavy = {'tensorflow_datasets', 'sklearn', 'PIL'}\n"
        "assert not heavy & set(sys.modules)\n"
        f"data._KNOWN['mnist'] = {sha256(arrays)!r}\n"
        "data.load('mnist')\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IGR_DATA_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data.cache_path("mnist") == tmp_path / ".cache" / "igrlib" / "mnist.npz"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data.cache_path("cifar10") == tmp_path / "xdg" / "igrlib" / "cifar10.npz"
    monkeypatch.setenv("IGR_DATA_DIR", "~/own")
    assert data.cache_path("cifar10") == tmp_path / "own" / "cifar10.npz"


def test_data_that_are_nowhere_give_one_error_with_the_command(arrays, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist")
    message = str(caught.value)
    assert "\n" not in message
    for part in (tmp_path / "cache" / "mnist.npz", tmp_path / "tfds", "igr data prepare mnist"):
        assert str(part) in message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("call", [data.load, data.prepare, data.cache_path])
def test_an_unknown_name_is_answered_with_the_known_ones(call):
    for name in ("minst", "MNIST"):
        with pytest.raises(ValueError, match=rf"digits, mnist, cifar10, got '{name}'.*\"mnist\"\?"):
            call(name)
    with pytest.raises(ValueError, match=r"got 'svhn'$"):
        call("svhn")


@pytest.mark.parametrize("call", [data.prepare, data.cache_path])
def test_digits_are_embedded(call):
    with pytest.raises(ValueError, match="embedded"):
        call("digits")


class Trap:
    """What would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path, share):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)


def save_arrays(path, **changed):
    """A whole file with its own right hash, around other arrays."""
    arrays, meta = npz.load(path)
    kept = {k: v for k, v in {**arrays, **changed}.items() if v is not None}
    npz.save(path, kept, meta)


def change_a_pixel(path):
    images = npz.load(path)[0]["train_images"].copy()
    images[3, 1, 1, 0] ^= 1
    save_arrays(path, train_images=images)


def pickled(path):
    trap = np.array([Trap(path.with_name("trap"))], object)
    np.savez(path, **dict.fromkeys([*KEYS, "__meta__"], trap))


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in the middle": lambda path: cut(path, 0.5),
    "cut at the end": lambda path: cut(path, 0.999),
    "foreign": lambda path: path.write_text("<html>404</html>"),
    "no arrays of igrlib": lambda path: np.savez(path, x=np.zeros(3)),
    "pickled": pickled,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Trap(path.with_name("trap")))),
    "an array missing": lambda path: save_arrays(path, test_labels=None),
    "an array too many": lambda path: save_arrays(path, more=np.zeros(2)),
    "another dtype": lambda path: save_arrays(path, test_labels=np.zeros(TEST)),
    "another pixel": change_a_pixel,
    **{f"bit flipped at {k}": lambda path, k=k: flip(path, k) for k in (0.3, 0.5, 0.7, 0.9)},
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("call", [data.load, data.prepare])
def test_a_damaged_cache_is_refused_and_kept(cache, tmp_path, damage, call):
    write_tfds(
        tmp_path / "tfds"
    )  # Even with the data at hand it is not built anew behind one's back.
    DAMAGE[damage](cache)
    before = cache.read_bytes()
    with pytest.raises(ValueError, match="Delete it and run: igr data prepare mnist") as caught:
        call("mnist")
    assert str(cache) in str(caught.value)
    assert cache.read_bytes() == before
    assert os.listdir(cache.parent) == ["mnist.npz"]
    cache.unlink()
    assert call("mnist")


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_cache_that_cannot_be_written_leaves_nothing_behind(
    arrays, tmp_path, monkeypatch, function
):
    write_tfds(tmp_path / "tfds")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, no_space)
        with pytest.raises(OSError, match="No space left") as caught:
            data.prepare("mnist")
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(tmp_path / "cache" / "mnist.npz")
        with pytest.warns(RuntimeWarning, match=r"read anew every time: .*mnist\.npz"):
            dataset = data.load("mnist")
    assert_same(dataset, arrays)
    assert os.listdir(tmp_path / "cache") == []
    assert data.prepare("mnist").exists()


def test_a_cache_folder_that_is_a_file(arrays, tmp_path):
    (tmp_path / "cache").write_text("")
    write_tfds(tmp_path / "tfds")
    with pytest.raises(OSError, match=str(tmp_path / "cache")):
        data.prepare("mnist")
    with pytest.warns(RuntimeWarning, match=str(tmp_path / "cache")):
        assert_same(data.load("mnist"), arrays)


def test_what_a_killed_run_left_is_swept(arrays, tmp_path):
    write_tfds(tmp_path / "tfds")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".mnist.npz.1234567-0123abcd.tmp").write_bytes(b"PK")
    data.load("mnist")
    assert os.listdir(tmp_path / "cache") == ["mnist.npz"]


def truncate_records(folder):
    path = next(folder.glob("mnist-train*"))
    path.write_bytes(path.read_bytes()[:1000])


PREPARED_DAMAGE = {
    "records cut short": truncate_records,
    "records missing": lambda folder: next(folder.glob("mnist-test*")).unlink(),
    "features missing": lambda folder: (folder / "features.json").unlink(),
    "info cut short": lambda folder: cut(folder / "dataset_info.json", 0.5),
}


@pytest.mark.parametrize("damage", PREPARED_DAMAGE)
def test_damaged_data_of_tfds_are_refused(arrays, tmp_path, damage):
    folder = write_tfds(tmp_path / "tfds")
    PREPARED_DAMAGE[damage](folder)
    with pytest.raises(ValueError, match="Delete it and run: igr data prepare mnist") as caught:
        data.load("mnist")
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_other_data_under_the_same_name_are_refused(arrays, tmp_path):
    folder = write_tfds(tmp_path / "tfds", change=lambda pair: (pair[0] ^ 1, pair[1]))
    with pytest.raises(ValueError, match=r"does not hold mnist.*wanted is") as caught:
        data.load("mnist")
    assert str(folder) in str(caught.value)
    assert data._KNOWN["mnist"] in str(caught.value)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def fetching(monkeypatch):
    """TFDS with its packages at hand and a network of our own."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def install(fetch):
        class Builder:
            def __init__(self, name, data_dir):
                self.root = Path(data_dir)
                assert name == "mnist"

            def download_and_prepare(self, file_format):
                assert file_format == "array_record"
                fetch(self.root)

        monkeypatch.setattr(tfds, "builder", Builder)

    return install


def test_prepare_fetches_what_is_not_there(arrays, fetching):
    fetching(write_tfds)
    assert data.prepare("mnist") == data.cache_path("mnist")
    assert_same(data.load("mnist"), arrays)


def test_prepare_without_a_network(arrays, tmp_path, fetching):
    def fetch(root):
        raise ConnectionError("no route to host")

    fetching(fetch)
    with pytest.raises(OSError, match=r"could not fetch mnist.*no route to host"):
        data.prepare("mnist")
    assert not (tmp_path / "cache").exists()


def test_data_prepared_in_another_format(arrays, tmp_path, fetching):
    write_tfds(tmp_path / "tfds", file_format="tfrecord")
    with pytest.raises(FileNotFoundError, match="array_record"):
        data.load("mnist")
    fetching(lambda root: None)  # TFDS finds its data in place and is content.
    with pytest.raises(OSError, match="Set TFDS_DATA_DIR to another folder"):
        data.prepare("mnist")


def test_packages_that_are_missing_are_named(arrays, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match="pip install tensorflow importlib_resources"):
            data.prepare("mnist")
    write_tfds(tmp_path / "tfds")
    for module, name in (
        ("sklearn.datasets", "digits"),
        ("tensorflow_datasets", "mnist"),
        ("PIL.Image", "mnist"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ImportError, match=r'pip install "igrlib\[experiments\]"'):
                data.load(name)


def real(name):
    try:
        return data.load(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def counts(split):
    return list(np.bincount(split.labels))


@pytest.mark.slow
def test_mnist_is_mnist():
    mnist = real("mnist")
    assert (mnist.name, mnist.num_classes, mnist.scale) == ("mnist", 10, 255.0)
    assert mnist.train.images.shape == (60000, 28, 28, 1)
    assert mnist.test.images.shape == (10000, 28, 28, 1)
    # Counted in the four original files.
    assert counts(mnist.train) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(mnist.test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # Mean and deviation that everybody normalises with.
    pixels = mnist.train.images / mnist.scale
    np.testing.assert_allclose([pixels.mean(), pixels.std()], [0.1307, 0.3081], atol=5e-5)
    # Images and labels belong together: the nearest class mean is right for 82.03 % of the test
    # images, the textbook number.
    inputs, tests = (s.images.reshape(len(s.labels), -1) / 255.0 for s in (mnist.train, mnist.test))
    means = np.stack([inputs[mnist.train.labels == k].mean(axis=0) for k in range(10)])
    nearest = np.argmin((means**2).sum(axis=1) - 2 * tests @ means.T, axis=1)
    assert round(np.mean(nearest == mnist.test.labels), 4) == 0.8203
    # The order is random: any 5,000 can be held out for validation.
    assert np.abs(np.bincount(mnist.train.labels[-5000:]) - 500).max() < 100


@pytest.mark.slow
def test_cifar10_is_cifar10():
    cifar = real("cifar10")
    assert (cifar.name, cifar.num_classes, cifar.scale) == ("cifar10", 10, 255.0)
    assert cifar.train.images.shape == (50000, 32, 32, 3)
    assert cifar.test.images.shape == (10000, 32, 32, 3)
    assert counts(cifar.train) == [5000] * 10
    assert counts(cifar.test) == [1000] * 10
    # Means and deviations of the channels, red, green and blue, as published; the squares of
    # bytes are summed exactly.
    pixels = cifar.train.images.reshape(-1, 3)
    mean = pixels.mean(axis=0) / 255
    deviation = np.sqrt((pixels.astype(np.uint16) ** 2).mean(axis=0) / 255**2 - mean**2)
    np.testing.assert_allclose(mean, [0.49140, 0.48216, 0.44653], atol=6e-6)
    np.testing.assert_allclose(deviation, [0.24703, 0.24349, 0.26159], atol=6e-6)
    assert np.abs(np.bincount(cifar.train.labels[-5000:]) - 500).max() < 100
