"""The semidefinite complementarity problem of the central flow.

Symmetric k × k matrices X ≽ 0 and S = A + B[X] ≽ 0 with XS = 0, for a symmetric A and a linear map
B with ⟨X, B[X]⟩ ≥ 0: X is the minimum of ½⟨X, B[X]⟩ + ⟨A, X⟩ over X ≽ 0. With Z = X − S both are
smooth functions of one unknown once XS = μI,

    X = (Z + √(Z² + 4μ))/2,   S = X − Z,

and Newton's method follows the solutions of S = A + B[X] while μ falls to rounding.

Source: Chen & Tseng, "Non-interior continuation methods for solving semidefinite complementarity
problems", Mathematical Programming 95, 2003.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

FALL = 0.1
"""Of μ, from one to the next."""

TRIALS = 40
"""Points at most, for each μ: Newton steps, and halves of those that do not help."""


class Complementary(NamedTuple):
    """X, and whether the residual of S = A + B[X] fell to rounding."""

    x: Float[Array, "k k"]
    converged: Bool[Array, ""]


class _Point(NamedTuple):
    """Z as a vector, the residual there and its derivative, for a μ, and the next step."""

    z: Float[Array, " n"]
    mu: Float[Array, ""]
    residual: Float[Array, " n"]
    slope: Float[Array, "n n"]
    length: Float[Array, ""]
    trials: Int[Array, ""]


def solve_complementarity(a: Float[Array, "k k"], gram: Float[Array, "k k k k"]) -> Complementary:
    """The X of A = `a` and B[X]_{ij} = Σ_{kl} `gram`_{ijkl}·X_{kl}.

    Where there is none, as for an A with a negative direction that B does not reach, `converged` is
    False.
    """
    eps, tiny = jnp.finfo(a.dtype).eps, jnp.finfo(a.dtype).tiny
    basis = jnp.asarray(_basis(len(a)), a.dtype)
    size_a, size_b = (jnp.maximum(jnp.max(jnp.abs(array)), tiny) for array in (a, gram))
    right = jnp.einsum("nij,ij->n", basis, a / size_a)
    b = jnp.einsum("nij,ijkl,mkl->nm", basis, gram / size_b, basis)
    least = 100 * eps**2

    def at(z: Array, mu: Array) -> tuple[Array, Array, Array]:
        """X, the residual S − A − B[X], and its derivative."""
        values, vectors = jnp.linalg.eigh(jnp.einsum("n,nij->ij", z, basis))
        root = jnp.sqrt(values**2 + 4 * mu)
        large = (jnp.abs(values) + root) / 2
        small = mu / large  # Without cancellation.
        turned = jnp.einsum("nij,ip,jq->npq", basis, vectors, vectors)
        both = jnp.where(values > 0, large, small), jnp.where(values > 0, small, large)
        x, s = (jnp.einsum("npp,p->n", turned, part) for part in both)
        # The derivative of √(Z² + 4μ), a symmetric map between −1 and 1.
        slopes = (values[:, None] + values[None]) / (root[:, None] + root[None])
        moved = jnp.einsum("npq,pq,mpq->nm", turned, slopes, turned)
        eye = jnp.eye(len(z), dtype=z.dtype)
        return x, s - right - b @ x, (moved - eye) / 2 - b @ (moved + eye) / 2

    def done(point: _Point) -> Array:
        exact = jnp.linalg.norm(point.residual) <= jnp.maximum(point.mu, 10 * eps)
        return exact | (point.trials >= TRIALS)

    def improve(point: _Point) -> _Point:
        follow = done(point)
        step = jnp.linalg.solve(point.slope, point.residual)
        z = jnp.where(follow, point.z, point.z - point.length * step)
        mu = jnp.where(follow, jnp.maximum(FALL * point.mu, least), point.mu)
        _, residual, slope = at(z, mu)
        better = jnp.linalg.norm(residual) < jnp.linalg.norm(point.residual)
        kept = point._replace(length=point.length / 2, trials=point.trials + 1)
        trials = jnp.where(follow, 0, point.trials + 1)
        new = _Point(z, mu, residual, slope, jnp.ones_like(mu), trials)
        return jax.tree.map(lambda n, k: jnp.where(follow | better, n, k), new, kept)

    one = jnp.ones((), a.dtype)
    _, residual, slope = at(-right, one)
    first = _Point(-right, one, residual, slope, one, jnp.int32(0))
    point = jax.lax.while_loop(lambda p: (p.mu > least) | ~done(p), improve, first)
    x = at(point.z, point.mu)[0]
    # With the rounding of the products in B[X].
    rounding = 1e3 * eps * (1 + jnp.linalg.norm(b @ x))
    found = jnp.einsum("n,nij->ij", x, basis) * (size_a / size_b)
    return Complementary(found, jnp.linalg.norm(point.residual) <= rounding)


def _basis(k: int) -> Float[np.ndarray, "n k k"]:
    """Orthonormal, of the symmetric matrices."""
    rows, columns = np.triu_indices(k)
    basis = np.zeros((len(rows), k, k))
    basis[np.arange(len(rows)), rows, columns] = np.where(rows == columns, 0.5, np.sqrt(0.5))
    return basis + basis.transpose(0, 2, 1)
