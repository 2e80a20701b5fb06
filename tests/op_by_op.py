"""Run a traced program one operation after the other.

A program takes longer to compile than in proportion to its size. A large one that runs once is done sooner so: its
operations are few different ones, of few shapes, each of which compiles quickly, and serves the next program too.
"""

import jax
from jax.extend import core

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")  # run from inside


def run(traced, *args):
    """What the program `traced = jax.jit(function).trace(*args)` returns."""
    leaves = _run(traced.jaxpr.jaxpr, traced.jaxpr.consts, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(traced.out_info), leaves)


def size(program) -> int:
    """The number of its operations."""
    return sum(1 if (inner := _inside(one)) is None else size(inner[0]) for one in program.eqns)


def _inside(equation):
    """The program that the equation calls, and its constants; None if it is an operation."""
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    if equation.primitive.name not in CALLS or inner is None:
        return None
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())


def _run(program, constants, args):
    values = dict(zip([*program.constvars, *program.invars], [*constants, *args], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in program.eqns:
        inputs, inner = [read(atom) for atom in equation.invars], _inside(equation)
        if inner is not None:
            outputs = _run(*inner, inputs)
        else:
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in program.outvars]
