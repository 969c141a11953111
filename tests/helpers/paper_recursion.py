"""The recursion of Appendix A.1 as the paper prints it, in the four ways it can be read.

Lemmas A.1 to A.3 and Proposition A.4 give the corrections of the explicit Euler method as

    f_l = −Σ_{n+k=l+1, n≥2} (1/n!)·L_{n,k},    L_{n,k} = (d/dt)^{n−2} Σ_{i+j=k} ∇⟨f_i, f_j⟩/2.

Two things are left to the reader, and each has two readings:

- `along`: what d/dt differentiates along. "f_0" is the plain flow, under which L_{n,k} does not
  depend on h, as the matching of powers of h supposes. "modified flow" is what the text below
  Lemma A.1 says, θ(t) solving θ̇ = f_0 + h·f_1 + …, with the powers of h that this brings in
  collected again.
- `product`: "gradient" is ∇⟨f_i, f_j⟩/2 as printed, which supposes that all corrections are
  gradients. "jacobian" is f_i′f_j, which the chain rule gives without that assumption.

This is evidence for the errata, not interface: for the corrections themselves there is
`igrlib.euler_corrections`, which shares no code with this file.
"""

import itertools
import math

import jax
import jax.numpy as jnp

READINGS = tuple(itertools.product(("f_0", "modified flow"), ("gradient", "jacobian")))


def paper_corrections(field, order, *, along, product):
    """The functions f_0, …, f_order of Proposition A.4 under one reading.

    `field` maps an array of shape (m,) to one of that shape; so does each correction.
    """
    fields = [field]
    for level in range(1, order + 1):
        fields.append(_correction(tuple(fields), level, along, product))
    return tuple(fields)


def _correction(fields, level, along, product):
    """Equation (A.14), from f_0, …, f_{level−1}."""

    def correction(theta):
        return -sum(
            _term(fields, n, level + 1 - n, along, product)(theta) / math.factorial(n)
            for n in range(2, level + 2)
        )

    return correction


def _term(fields, n, k, along, product):
    """L_{n,k} of equation (A.11)."""
    # series[p] is the coefficient of h^p of the second derivative of the solution, then of the
    # third, and so on.
    series = [_second_derivative(fields, p, product) for p in range(k + 1)]
    for _ in range(n - 2):
        if along == "f_0":
            series = [_derivative(term, fields[0]) for term in series]
        else:
            series = [
                _add([_derivative(series[i], fields[p - i]) for i in range(p + 1)])
                for p in range(k + 1)
            ]
    return series[k]


def _second_derivative(fields, p, product):
    """L_{2,p}, from f_0, …, f_p."""
    if product == "jacobian":
        return _add([_derivative(fields[i], fields[p - i]) for i in range(p + 1)])

    def half_square(theta):
        values = [field(theta) for field in fields[: p + 1]]
        return sum(jnp.vdot(values[i], values[p - i]) for i in range(p + 1)) / 2

    return jax.grad(half_square)


def _derivative(function, direction):
    """θ ↦ function′(θ)·direction(θ)."""
    return lambda theta: jax.jvp(function, (theta,), (direction(theta),))[1]


def _add(functions):
    return lambda theta: sum(function(theta) for function in functions)
