"""Two older ways to the trace of a Hessian, kept for comparison: approximate backpropagation and curvature propagation.

Both go through the network once, backwards, and carry something next to the gradient `g`:

- approximate backpropagation (Kingma & LeCun 2010) an estimate `h` of the diagonal of the Hessian, without what the
  other entries add to it: a linear map `W` takes it to `(W^2)^T h`, a nonlinearity `f` to `g f'' + h f'^2`. It is exact
  with one hidden layer and biased with more.
- curvature propagation (Martens et al. 2012) a random complex vector `S` with `E[S S^T] = Hessian`: `W^T S`, and
  `sqrt(g f'') v + f' S` with a fresh vector `v` of random signs. Its trace `Re sum S^2` is unbiased, and noisier than a
  projection of the Hessian is.

Networks are perceptrons with softplus, and NICE, which is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

Layers: TypeAlias = Sequence[tuple[Array, Array]]
"""Kernel `[in, out]` and bias `[out]` of every layer of a perceptron; the last one has no nonlinearity."""
Linear: TypeAlias = Callable[[Array, Array], Array]
"""`(kernel, state) -> state` below a linear map."""
Nonlinear: TypeAlias = Callable[[Array, Array, Array], Array]
"""`(g f'', f', state) -> state` below a nonlinearity."""


def perceptron(layers: Layers, x: Array) -> Array:
    """The output for one input `[in]`."""
    for kernel, bias in layers[:-1]:
        x = jax.nn.softplus(x @ kernel + bias)
    return x @ layers[-1][0] + layers[-1][1]


def backwards(
    layers: Layers, x: Array, gradient: Array, state: Array, linear: Linear, nonlinear: Nonlinear
) -> tuple[Array, Array]:
    """Take the gradient with respect to the output, and a state, to the input `x [in]`."""
    before = []
    for kernel, bias in layers[:-1]:
        before.append(x @ kernel + bias)
        x = jax.nn.softplus(before[-1])
    gradient, state = layers[-1][0] @ gradient, linear(layers[-1][0], state)
    for (kernel, _), a in reversed(list(zip(layers[:-1], before, strict=True))):
        slope = jax.nn.sigmoid(a)
        state = nonlinear(gradient * slope * (1 - slope), slope, state)
        gradient = gradient * slope
        gradient, state = kernel @ gradient, linear(kernel, state)
    return gradient, state


# ---- The two rules ---------------------------------------------------------------------------------------------------


def diagonal_linear(kernel: Array, state: Array) -> Array:
    """Of approximate backpropagation."""
    return kernel**2 @ state


def diagonal_nonlinear(curvature: Array, slope: Array, state: Array) -> Array:
    """Of approximate backpropagation."""
    return curvature + slope**2 * state


def factor_linear(kernel: Array, state: Array) -> Array:
    """Of curvature propagation."""
    return kernel @ state


def factor_nonlinear(signs: Callable[[int], Array]) -> Nonlinear:
    """Of curvature propagation; `signs(n)` gives `n` fresh random signs at each call."""

    def rule(curvature: Array, slope: Array, state: Array) -> Array:
        # The root of a negative number is imaginary; the floor keeps its derivative finite.
        size = jnp.sqrt(jnp.maximum(jnp.abs(curvature), 1e-12))
        return jnp.where(curvature < 0, 1j, 1.0) * size * signs(len(slope)) + slope * state

    return rule


def fresh_signs(key: Array) -> Callable[[int], Array]:
    """Random signs from a key, other ones at each call."""
    calls = iter(range(10_000))
    return lambda n: jax.random.rademacher(jax.random.fold_in(key, next(calls)), (n,), jnp.float32)


# ---- NICE ------------------------------------------------------------------------------------------------------------


def approximate(params: Mapping[str, Any], x: Array) -> tuple[Array, Array]:
    """The score of NICE at one flat input `[D]`, and the diagonal of its Jacobian by approximate backpropagation."""
    scale = jnp.exp(params["log_scale"])
    return _nice(params, x, -(scale**2), diagonal_linear, diagonal_nonlinear)


def factor(params: Mapping[str, Any], x: Array, signs: Callable[[int], Array]) -> tuple[Array, Array]:
    """The score of NICE at one flat input `[D]`, and a vector whose outer square has its Jacobian for the mean."""
    scale = jnp.exp(params["log_scale"])
    return _nice(params, x, 1j * scale * signs(len(x)), factor_linear, factor_nonlinear(signs))


def approximate_loss(params: Mapping[str, Any], x: Array) -> Array:
    """Score matching with the trace of approximate backpropagation, of each flat input `[B, D]`."""
    score, diagonal = jax.vmap(lambda one: approximate(params, one))(x)
    return jnp.sum(0.5 * score**2 + diagonal, axis=1)


def curvature_loss(params: Mapping[str, Any], keys: Array, x: Array) -> Array:
    """Score matching with the trace of curvature propagation, of each flat input `[B, D]`."""
    score, root = jax.vmap(lambda key, one: factor(params, one, fresh_signs(key)))(keys, x)
    return jnp.sum(0.5 * score**2 + jnp.real(root**2), axis=1)


def _nice(params: Mapping[str, Any], x: Array, top: Array, linear: Linear, nonlinear: Nonlinear) -> tuple[Array, Array]:
    """Through all couplings; `top` is the state above the last of them, below the scales and the normal law."""
    couplings = _couplings(params)
    pair, inputs = [x[::2], x[1::2]], []
    for i, layers in enumerate(couplings):
        moved = (i + 1) % 2
        inputs.append(pair[1 - moved])
        pair[moved] = pair[moved] + perceptron(layers, inputs[-1])
    scale = jnp.exp(2 * params["log_scale"])
    gradient, state = [-scale[::2] * pair[0], -scale[1::2] * pair[1]], [top[::2], top[1::2]]
    for i, layers in reversed(list(enumerate(couplings))):
        moved = (i + 1) % 2
        g, s = backwards(layers, inputs[i], gradient[moved], state[moved], linear, nonlinear)
        gradient[1 - moved], state[1 - moved] = gradient[1 - moved] + g, state[1 - moved] + s
    return _interleaved(gradient), _interleaved(state)


def _couplings(params: Mapping[str, Any]) -> list[Layers]:
    """The perceptron of each coupling, of the parameters of `models.NICE`."""
    found = []
    while f"coupling_{len(found)}_out" in params:
        name, depth = f"coupling_{len(found)}", 0
        while f"{name}_dense_{depth}" in params:
            depth += 1
        layers = [params[f"{name}_dense_{j}"] for j in range(depth)] + [params[f"{name}_out"]]
        found.append([(layer["kernel"], layer["bias"]) for layer in layers])
    return found


def _interleaved(pair: Sequence[Array]) -> Array:
    even, odd = pair
    return jnp.zeros(len(even) + len(odd), even.dtype).at[::2].set(even).at[1::2].set(odd)
