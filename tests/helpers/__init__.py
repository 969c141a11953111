"""What several test modules need: random pytrees, losses known in NumPy, counters and contrast."""

from contextlib import contextmanager
from typing import NamedTuple

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

HALF = (jnp.float16, jnp.bfloat16)
ALL_DTYPES = (*HALF, jnp.float32, jnp.float64)
SHAPES = ((), (1,), (3,), (2, 2), (0,))

few_examples = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


class Pair(NamedTuple):
    first: object
    second: object


@st.composite
def pytrees(draw, dtypes=(jnp.float64,), low=0.25, high=1.0):
    """Parameters as nested tuples, lists, dicts and NamedTuples, at least one number in all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    leaf = st.builds(
        lambda shape, dtype: jnp.asarray(rng.uniform(low, high, shape), dtype),
        st.sampled_from(SHAPES),
        st.sampled_from(dtypes),
    )
    if jnp.float64 in dtypes:
        leaf = st.one_of(leaf, st.builds(lambda: float(rng.uniform(low, high))))

    def containers(children):
        return st.one_of(
            st.lists(children, min_size=1, max_size=3),
            st.lists(children, min_size=1, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("abc"), children, min_size=1, max_size=3),
            st.builds(Pair, children, children),
        )

    trees = st.recursive(leaf, containers, max_leaves=4)
    return draw(trees.filter(lambda tree: flat(tree).size > 0))


def flat(tree):
    """All numbers of a pytree as one NumPy vector in float64."""
    leaves = [np.asarray(leaf).astype(np.float64).ravel() for leaf in jax.tree.leaves(tree)]
    return np.concatenate([np.zeros(0), *leaves])


def coarsest_eps(tree):
    """The machine precision of the coarsest dtype among the leaves."""
    return max(float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in jax.tree.leaves(tree))


def cubic_loss(params, target=0.0):
    """E = (s − y)²/2 + Σθ³/3 with s = Σθ: every parameter acts on every other."""
    leaves = [jnp.asarray(leaf, jnp.result_type(leaf)) for leaf in jax.tree.leaves(params)]
    total = sum(leaf.sum() for leaf in leaves)
    return (total - target) ** 2 / 2 + sum((leaf**3).sum() for leaf in leaves) / 3


def cubic_loss_numpy(theta, target=0.0):
    return (theta.sum() - target) ** 2 / 2 + (theta**3).sum() / 3


def cubic_gradient_numpy(theta, target=0.0):
    return theta.sum() - target + theta**2


def cubic_hessian_numpy(theta):
    return np.ones((theta.size, theta.size)) + 2 * np.diag(theta)


def central_difference(function, theta, step=1e-5):
    """The gradient of a function of a NumPy vector, to about ten digits."""
    steps = step * np.eye(theta.size)
    return np.array([(function(theta + e) - function(theta - e)) / (2 * step) for e in steps])


_counts: list[list[float]] = []


def _listen(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        for compiled in _counts:
            compiled.append(duration)


# Once: the oldest JAX that is supported has no way to take a listener back.
jax.monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def counted_compilations():
    """A list that grows by one with every program handed to the compiler inside the block."""
    compiled = []
    _counts.append(compiled)
    try:
        yield compiled
    finally:
        _counts[:] = [others for others in _counts if others is not compiled]


@contextmanager
def enable_x64(wide):
    """As `jax.enable_x64`, which the oldest JAX that is supported has in another place."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", wide)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def largest_array(function, *args):
    """The size of the largest array anywhere in the program of `function`, inner loops included."""
    sizes, programs = [], [jax.make_jaxpr(function)(*args).jaxpr]
    while programs:
        for equation in programs.pop().eqns:
            sizes += [v.aval.size for v in (*equation.invars, *equation.outvars) if _sized(v.aval)]
            inner = jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns"))
            programs += [leaf for leaf in inner if hasattr(leaf, "eqns")]
    return max(sizes)


def _sized(aval):
    return hasattr(aval, "size")


def contrast_on_white(color):
    """As WCAG 2 has it: (1 + 0.05)/(L + 0.05) with the luminance L of the linear parts."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)
