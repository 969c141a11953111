"""Losses of two parameters, written as formulas: twins in JAX, and formulas drawn by chance."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

import igrlib as ig

# What a formula may name, for Python's own parser: with ** for ^ it has the same precedence.
NAMES = {"pi": np.pi, "e": np.e, "softplus": jax.nn.softplus, "sigmoid": jax.nn.sigmoid}
NAMES |= {name: getattr(jnp, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh")}


def twin(formula):
    """The same loss in JAX."""
    code = compile(formula.replace("^", "**"), formula, "eval")
    return lambda p: jnp.asarray(eval(code, {}, NAMES | {"a": p[0], "b": p[1]}), float)


def random_formula(rng, depth):
    """A formula in which signs and parentheses fall by chance, so that precedence decides."""
    if depth == 0:
        return str(rng.choice(["a", "b", "a", "b", "2", "0.5", "1.5e-1", "pi", "e"]))
    inner = lambda: random_formula(rng, depth - 1)  # noqa: E731
    kind = rng.choice(["sum", "product", "power", "minus", "function", "parentheses"])
    if kind == "sum":
        return f"{inner()} {rng.choice(['+', '-'])} {inner()}"
    if kind == "product":
        return f"{inner()}{rng.choice(['*', '/'])}{inner()}"
    if kind == "power":
        base = rng.choice(["a", "(a*b)", "(1.5 + b)", "2", "softplus(b)"])
        return f"{base}^{rng.choice(['2', '3', '-1', '0.5', '2^2', 'a', '-b'])}*{inner()}"
    if kind == "minus":
        return f"-{inner()}"
    functions = ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "softplus", "sigmoid")
    return f"{rng.choice(functions) if kind == 'function' else ''}({inner()})"


def derivatives(loss, p):
    at = jnp.array(p)
    value, gradient, hessian = loss(at), jax.grad(loss)(at), jax.hessian(loss)(at)
    return np.array([value, *gradient, hessian[0, 0], hessian[0, 1], hessian[1, 1]])


@functools.cache
def random_formulas(count, seed=0):
    """Formulas of both parameters with a start where everything is finite and not huge."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        formula, p = random_formula(rng, 4), rng.uniform(0.2, 1.8, 2).round(3).tolist()
        if not {"a", "b"} <= set(re.findall(r"\w+", formula)) or len(formula) > 120:
            continue
        try:
            jet = derivatives(twin(formula), p)
        except (TypeError, ZeroDivisionError, OverflowError):
            continue  # as of (-2) ** 0.5, a complex number
        if np.isfinite(jet).all() and np.abs(jet).max() < 100 and np.abs(jet[1:]).max() > 0.1:
            found.append((formula, p, jet))
    return tuple(found)


def twin_gaps(loss, start, sizes, longer=()):
    """Of one step to the flows of E and Ẽ, for each h, and where all three end.

    `longer` are further pairs (μ, time), of flows of E + μ‖∇E‖² whose ends come last.
    """
    start, sizes = jnp.array(start), np.array(sizes)
    steps = np.asarray(start) - np.outer(sizes, jax.grad(loss)(start))
    pairs = [*zip(0 * sizes, sizes, strict=True), *zip(sizes / 4, sizes, strict=True), *longer]

    def end(pair):
        mu, time = pair
        field = ig.gradient_field(ig.gradient_regularized_loss(loss, mu))
        return ig.flow(field, start, jnp.stack([0.0, time]), rtol=1e-13, atol=1e-15)[-1]

    ends = np.asarray(jax.jit(lambda pairs: jax.lax.map(end, pairs))(jnp.array(pairs)))
    flow, modified, rest = np.split(ends, [len(sizes), 2 * len(sizes)])
    gaps = [np.linalg.norm(at - steps, axis=-1) for at in (flow, modified)]
    return np.stack(gaps, axis=1), (steps, flow, modified), rest
