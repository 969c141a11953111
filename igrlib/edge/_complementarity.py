"""The semidefinite complementarity problem of the central flow.

Symmetric k × k matrices X ≽ 0 and S = A + B[X] ≽ 0 with XS = 0, for a symmetric A and a linear map
B with ⟨X, B[X]⟩ ≥ 0: the minimum of ½⟨X, B[X]⟩ + ⟨A, X⟩ over X ≽ 0. With Z = X − S both are smooth
functions of one unknown once XS = μI,

    X = (Z + √(Z² + 4μ))/2,   S = X − Z,

and Newton's method follows the solutions of S = A + B[X] while μ falls to rounding.

Source: Chen & Tseng, "Non-interior continuation methods for solving semidefinite complementarity
problems", Mathematical Programming 95, 2003.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

FALL = 0.1
"""Of μ, from one to the next."""

NEWTON_STEPS = 8
"""At most, for each μ."""

HALVINGS = 12
"""Of a Newton step that does not bring the residual down."""


class Complementary(NamedTuple):
    """X, and whether the residual fell to rounding."""

    x: Float[Array, "k k"]
    converged: Bool[Array, ""]


def solve_complementarity(a: Float[Array, "k k"], gram: Float[Array, "k k k k"]) -> Complementary:
    """The X of A = `a` and B[X]_{ij} = Σ_{kl} `gram`_{ijkl}·X_{kl}.

    Where there is none, as for an A with a negative direction that B does not reach, `converged` is
    False.
    """
    k, eps = len(a), jnp.finfo(a.dtype).eps
    basis = _basis(k).astype(a.dtype)  # Orthonormal, of the symmetric matrices.
    size_a = jnp.maximum(jnp.max(jnp.abs(a)), jnp.finfo(a.dtype).tiny)
    size_b = jnp.maximum(jnp.max(jnp.abs(gram)), jnp.finfo(a.dtype).tiny)
    a, b = a / size_a, jnp.einsum("nij,ijkl,mkl->nm", basis, gram / size_b, basis)
    right = jnp.einsum("nij,ij->n", basis, a)

    def matrix(z: Array) -> Array:
        return jnp.einsum("n,nij->ij", z, basis)

    def split(z: Array, mu: Array) -> tuple[Array, Array, Array, Array]:
        """X and S as vectors, the residual S − A − B[X], and its derivative."""
        values, vectors = jnp.linalg.eigh(matrix(z))
        root = jnp.sqrt(values**2 + 4 * mu)
        # Without cancellation: x·s = μ.
        large = (jnp.abs(values) + root) / 2
        small = mu / large
        x = jnp.where(values > 0, large, small)
        s = jnp.where(values > 0, small, large)
        turned = jnp.einsum("nij,ip,jq->npq", basis, vectors, vectors)
        # The derivative of √(Z² + 4μ), entry by entry in the basis of the eigenvectors.
        slopes = (values[:, None] + values[None, :]) / (root[:, None] + root[None, :])
        moved = jnp.einsum("npq,pq,mpq->nm", turned, slopes, turned)
        eye = jnp.eye(len(z), dtype=z.dtype)
        x, s = (jnp.einsum("npp,p->n", turned, part) for part in (x, s))
        residual = s - right - b @ x
        return x, s, residual, (moved - eye) / 2 - b @ (moved + eye) / 2

    def newton(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        z, mu, n, _ = carry
        _, _, residual, slope = split(z, mu)
        step = -jnp.linalg.solve(slope, residual)
        now = jnp.linalg.norm(residual)

        def worse(state: tuple[Array, Array]) -> Array:
            length, tries = state
            after = jnp.linalg.norm(split(z + length * step, mu)[2])
            return ~(after < now) & (tries < HALVINGS)

        length, _ = jax.lax.while_loop(
            worse, lambda state: (state[0] / 2, state[1] + 1), (jnp.ones_like(mu), 0)
        )
        z = z + length * step
        return z, mu, n + 1, jnp.linalg.norm(split(z, mu)[2])

    least = 100 * eps**2

    def follow(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, mu, _ = carry
        mu = jnp.maximum(FALL * mu, least)
        exact = jnp.maximum(mu, 10 * eps)
        start = (z, mu, 0, jnp.linalg.norm(split(z, mu)[2]))
        z, _, _, residual = jax.lax.while_loop(
            lambda carry: (carry[3] > exact) & (carry[2] < NEWTON_STEPS), newton, start
        )
        return z, mu, residual

    one = jnp.ones((), a.dtype)
    z, mu, residual = jax.lax.while_loop(lambda carry: carry[1] > least, follow, (-right, one, one))
    x, _, _, _ = split(z, mu)
    # With rounding, of the products in B[X] as well.
    rounding = 1e3 * eps * (1 + jnp.linalg.norm(b @ x))
    return Complementary(matrix(x) * (size_a / size_b), residual <= rounding)


def _basis(k: int) -> Float[Array, "n k k"]:
    rows, columns = jnp.triu_indices(k)
    ones = jnp.zeros((len(rows), k, k)).at[jnp.arange(len(rows)), rows, columns].set(1)
    both = ones + ones.transpose(0, 2, 1)
    return both / jnp.sqrt(jnp.sum(both**2, axis=(1, 2), keepdims=True))
