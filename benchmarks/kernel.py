"""The kernel's quadratic form and R_IG against forming the kernel, by the number of examples.

Source: Appendix A.3, Proposition A.11; chapter 5, *The neural tangent kernel*.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .found import Comparison, of_turns
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, paced, take_turns

FORMED, FORM, REGULARIZER = "the kernel, formed", "ntk_quadratic_form", "R_IG"
WIDTH, INPUTS = 20, 64
AIM_AT, AIM = 1_000, 100.0
TURN = 0.2
"""Seconds a turn should last."""


def problem(num_examples: int, outputs: int) -> tuple[Callable[..., Any], Any, Any, Any]:
    """A model 64-20-20-c of tanh units, its parameters, inputs, and errors ε = f − y.

    One output has shape (n,).
    """
    import jax
    import jax.numpy as jnp

    sizes = (INPUTS, WIDTH, WIDTH, outputs)
    keys = jax.random.split(jax.random.key(0), 5)
    params = [
        (jax.random.normal(key, (a, b)) * a**-0.5, jnp.zeros(b))
        for key, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]

    def model(params: Any, inputs: Any) -> Any:
        x = inputs
        for k, (weights, bias) in enumerate(params):
            x = x @ weights + bias[None]
            x = jnp.tanh(x) if k < len(params) - 1 else x
        return x[:, 0] if outputs == 1 else x

    inputs = jax.random.uniform(keys[3], (num_examples, INPUTS))
    errors = jax.random.normal(keys[4], (num_examples, outputs))
    return model, params, inputs, errors[:, 0] if outputs == 1 else errors


def ways(num_examples: int, outputs: int) -> dict[str, Callable[[], Any]]:
    """Each way to εᵀKε, compiled, by its name.

    R_IG is that of half the squared error, whose gradient is Σ∇f(x_i)ε_i, times m.
    """
    import jax
    import jax.numpy as jnp

    from igrlib import implicit_gradient_regularizer, num_params
    from igrlib.ntk import ntk, ntk_quadratic_form

    model, params, inputs, errors = problem(num_examples, outputs)
    pair = "i,ij,j->" if outputs == 1 else "ia,ijab,jb->"
    targets = model(params, inputs) - errors

    def half_square(params: Any, inputs: Any, targets: Any) -> Any:
        return jnp.sum((model(params, inputs) - targets) ** 2) / 2

    def formed(params: Any, inputs: Any, errors: Any) -> Any:
        return jnp.einsum(pair, errors, ntk(model, params, inputs), errors)

    r_ig, m = implicit_gradient_regularizer(half_square), num_params(params)
    programs: dict[str, tuple[Callable[..., Any], Any]] = {
        FORMED: (formed, errors),
        FORM: (lambda p, x, e: ntk_quadratic_form(model, p, x, e), errors),
        REGULARIZER: (lambda p, x, y: m * r_ig(p, x, y), targets),
    }
    return {
        name: partial(jax.jit(program), params, inputs, last)
        for name, (program, last) in programs.items()
    }


def evaluate(num_examples: int, outputs: int, name: str) -> Job:
    """One of the ways, as often as fills a turn; a unit of work is an evaluation."""
    import jax

    once = ways(num_examples, outputs)[name]

    def repeat(times: int) -> None:
        for _ in range(times):
            jax.block_until_ready(once())

    return paced(repeat, TURN)


def bytes_needed(num_examples: int, outputs: int) -> int:
    """Roughly what forming the kernel takes: a backward pass for each output of each example."""
    rows = num_examples * outputs
    kernel, jacobian = rows**2, rows * (INPUTS * WIDTH + WIDTH**2 + WIDTH * outputs)
    return 4 * (2 * kernel + 2 * jacobian + 6 * rows * num_examples * WIDTH)


def report(num_examples: int, outputs: int, turns: Turns) -> list[str]:
    """The lines that a comparison prints."""
    lines = [f"{num_examples:,} examples, {outputs} output{'s' * (outputs > 1)}"]
    for name, times in turns.times.items():
        lines.append(f"  {name:<28} {summary([1e3 * t for t in times])} milliseconds")
    for name in (FORM, REGULARIZER):
        won = ratios(turns.times[FORMED], turns.times[name])
        aim = f"; aim {AIM:g}" if num_examples == AIM_AT else ""
        lines.append(f"  {won} times as fast as the kernel: {name}{aim}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(turns.times, turns.others))]


def compare(
    counts: Sequence[int],
    rounds: int,
    available: int | None,
) -> list[Comparison]:
    """Run and print the comparison for scalar and for 10 outputs; `available` in bytes."""
    say(f"Quadratic form of the kernel: {rounds} rounds; median (range)")
    env, found = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}, []
    for outputs in (1, 10):
        for count in counts:
            needed = bytes_needed(count, outputs)
            if available is not None and needed > available / 2:
                gib = needed / 2**30
                say(f"SKIPPED: the kernel of {count:,} examples takes {gib:.0f} GiB")
                continue
            names = (FORMED, FORM, REGULARIZER)
            racers = [Competitor(name, evaluate, (count, outputs, name), env) for name in names]
            turns = take_turns(racers, rounds)
            first, *lines = report(count, outputs, turns)
            for line in (first, *lines):
                say(line)
            found.append(of_turns("kernel", first, turns, "seconds an evaluation"))
    return found
