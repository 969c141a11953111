"""igrlib.experiments.ensemble.batches against counting, and against what shuffling means."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from igrlib.experiments.ensemble.batches import batch_indices, epoch_order, steps_per_epoch

KEY = jax.random.key(7)


@functools.partial(jax.jit, static_argnums=(2, 3))
def batches(key, steps, num_examples, batch_size):
    """The batches of many steps, in one program."""
    return jax.vmap(lambda t: batch_indices(key, t, num_examples, batch_size))(steps)


def steps(first, last):
    return jnp.arange(first, last)


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "expected"),
    [(12, 3, 4), (14, 3, 4), (5, 5, 1), (5, 1, 5), (55_000, 32, 1718), (9, 5, 1)],
)
def test_steps_per_epoch(num_examples, batch_size, expected):
    assert steps_per_epoch(num_examples, batch_size) == expected


@pytest.mark.parametrize(("num_examples", "batch_size"), [(12, 3), (14, 3), (7, 7), (6, 1)])
def test_every_epoch_takes_each_example_at_most_once(num_examples, batch_size):
    per_epoch = num_examples // batch_size
    taken = np.asarray(batches(KEY, steps(0, 6 * per_epoch), num_examples, batch_size))
    assert taken.shape == (6 * per_epoch, batch_size)
    assert taken.dtype == np.int32
    for epoch in taken.reshape(6, per_epoch * batch_size):
        assert np.unique(epoch).size == per_epoch * batch_size
        assert epoch.min() >= 0
        assert epoch.max() < num_examples
    if num_examples % batch_size == 0:
        np.testing.assert_array_equal(
            np.sort(taken.reshape(6, num_examples)), np.tile(np.arange(num_examples), (6, 1))
        )


def test_examples_left_over_are_not_always_the_same():
    taken = np.asarray(batches(KEY, steps(0, 40), 14, 3)).reshape(10, 12)
    left = {tuple(sorted(set(range(14)) - set(epoch))) for epoch in taken.tolist()}
    assert len(left) > 5


def test_a_batch_is_its_slice_of_the_order_of_its_epoch():
    for step in (0, 1, 3, 4, 7, 401):
        epoch, at = divmod(step, 4)
        order = np.asarray(epoch_order(KEY, epoch, 14))
        np.testing.assert_array_equal(np.sort(order), np.arange(14))
        np.testing.assert_array_equal(batch_indices(KEY, step, 14, 3), order[3 * at : 3 * at + 3])


def test_a_batch_does_not_depend_on_what_was_asked_before():
    rising = np.asarray(batches(KEY, steps(0, 24), 12, 3))
    falling = np.asarray(batches(KEY, steps(0, 24)[::-1], 12, 3))
    np.testing.assert_array_equal(falling[::-1], rising)
    for step in (17, 2, 17):
        np.testing.assert_array_equal(batch_indices(KEY, step, 12, 3), rising[step])
        # A step that is traced, of another integer type, is the same step.
        np.testing.assert_array_equal(
            batch_indices(KEY, jnp.asarray(step, jnp.int32), 12, 3), rising[step]
        )


def test_epochs_and_seeds_differ():
    epochs = [tuple(np.asarray(epoch_order(KEY, e, 30))) for e in range(8)]
    seeds = [tuple(np.asarray(epoch_order(jax.random.key(s), 0, 30))) for s in range(7)]
    assert len({*epochs, *seeds}) == 15


def test_a_batch_is_not_sorted_and_the_orders_are_not_rotations():
    """Shuffles that a permutation of each epoch does not show."""
    orders = np.stack([epoch_order(KEY, e, 50) for e in range(8)])
    ascents = (np.diff(orders) > 0).mean()
    assert 0.4 < ascents < 0.6
    steps_on = (np.diff(orders) % 50 == np.diff(orders)[0] % 50).mean(axis=1)
    assert (steps_on[1:] < 0.2).all()


def test_every_example_is_everywhere_equally_often():
    """χ² of place in the epoch against example, and of pairs that share a batch."""
    num_examples, batch_size, epochs = 8, 2, 4000
    taken = np.asarray(batches(KEY, steps(0, 4 * epochs), num_examples, batch_size))
    counts = np.zeros((num_examples, num_examples))
    np.add.at(counts, (taken.reshape(epochs, -1), np.arange(num_examples)), 1)
    # Rows and columns have fixed sums: 7 × 7 of the 64 numbers are free.
    expected = np.full(64, epochs / 8)
    assert chisquare(counts.ravel(), expected, ddof=63 - 49).pvalue > 1e-3
    pairs = np.zeros((num_examples, num_examples))
    np.add.at(pairs, tuple(taken.T), 1)
    off = pairs[~np.eye(8, dtype=bool)]
    assert np.trace(pairs) == 0
    np.testing.assert_allclose(off, 4 * epochs / 56, rtol=0.35)
    # Successive epochs are independent: first example of one against first example of the next.
    firsts = taken[::4, 0]
    joint = np.zeros((8, 8))
    np.add.at(joint, (firsts[:-1], firsts[1:]), 1)
    assert chisquare(joint.ravel(), np.full(64, joint.sum() / 64)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, 11), ValueError, "batch_size must be at most the 10 examples of the .*, got 11"),
        ((10, 0), ValueError, "batch_size must be at least 1, got 0"),
        ((0, 1), ValueError, "num_examples must be at least 1, got 0"),
        ((10, True), TypeError, "batch_size must be an integer, got True"),
    ],
)
def test_sizes_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        steps_per_epoch(*arguments)
    with pytest.raises(error, match=message):
        batch_indices(KEY, 0, *arguments)
