"""Exponential integrators in the half-log signal-to-noise ratio: what DPM-Solver, UniPC and DDIM have in common.

With `lambda = log(alpha / sigma)` the probability-flow ODE of every process is solved between two times by

    x_t = (alpha_t / alpha_s) x_s - alpha_t int_{lambda_s}^{lambda_t} e^{-l} noise(l) dl     "noise"
    x_t = (sigma_t / sigma_s) x_s + sigma_t int_{lambda_s}^{lambda_t} e^{l}  data(l)  dl     "data"

(DPM-Solver, arXiv 2206.00927, proposition 3.1; DPM-Solver++, arXiv 2211.01095, proposition 4.1). A method replaces the
prediction under the integral by a polynomial through its values at some nodes. Nothing here asks how `alpha` and
`sigma` depend on time, so all of it holds for every process, and mode by mode where the modes have their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval
from jax import Array

from scorejax.numerics.trees import static
from scorejax.samplers.stepper import Stepper
from scorejax.scores.clipping import DynamicThreshold
from scorejax.scores.predictions import Score, tweedie
from scorejax.sdes.linear import LinearSDE

Form: TypeAlias = Literal["data", "noise"]
Order: TypeAlias = Annotated[int, Interval(ge=1, le=3)]
Quantile: TypeAlias = Annotated[float, Interval(gt=0, le=1)]
FORMS = get_args(Form)
TERMS = 17  # the first left out is below 1 / 18!, beneath float64's resolution

Rule = Callable[[Array, Sequence[Array]], list[Array]]
"""`(z, r) -> rho`: the weights of the differences `(m_j - m_0) / r_j`."""


class Node(NamedTuple):
    """A node of the quadrature: the coefficients of a process at one time, scalars or one per mode."""

    log_alpha: Array
    log_sigma: Array

    @property
    def half_log_snr(self) -> Array:
        """Return `lambda = log(alpha / sigma)`."""
        return self.log_alpha - self.log_sigma


def node(sde: LinearSDE, t: Array) -> Node:
    """Return the coefficients of a process at the scalar time `t`."""
    return Node(sde.log_alpha(t), 0.5 * jnp.log(sde.variance(t)))


@dataclass(frozen=True)
class ExponentialStepper(Stepper):
    """What the exponential integrators share: which prediction they integrate, and its thresholding.

    Attributes:
        prediction: `data` or `noise`.
        thresholding: quantile of dynamic thresholding, or None.
    """

    grid: ClassVar[str | None] = "log_snr"
    prediction: str = static(default="data")
    thresholding: float | None = static(default=None)

    @property
    def decides_clip(self) -> bool:
        return self.thresholding is not None

    def predict(self, sde: LinearSDE, score: Score, x: Array, t: Array) -> Array:
        """Return the prediction under the integral at `x`, one evaluation of the score."""
        value = score(x, t)
        if self.prediction == "noise":
            return -sde.scale(sde.sigma(t), t, value)
        data = tweedie(sde, x, t, value)
        return data if self.thresholding is None else DynamicThreshold(-1.0, 1.0, self.thresholding)(data)

    def advance(self, sde: LinearSDE, t: Array, start: Node, end: Node, x: Array, weights, values) -> Array:
        """Return `x` carried from `start` to `end`: its share that needs no prediction, plus `weights . values`."""
        kept = end.log_alpha - start.log_alpha if self.prediction == "noise" else end.log_sigma - start.log_sigma
        x = sde.scale(jnp.exp(kept), t, x)
        for weight, value in zip(weights, values, strict=True):
            x = x + sde.scale(weight, t, value)
        return x

    def weights(self, start: Node, end: Node, nodes: Sequence[Node], rule: Rule, *, size: int = 0) -> Array:
        """Return what multiplies the predictions at `start` and at `nodes`: `[1 + size, ...]`, padded with zeros.

        With `h = lambda_end - lambda_start`, `z = h` (noise) or `-h` (data) and nodes at `lambda_start + r_j h`,

            x_end = kept x - c (z phi_1(z) m_0 + sum_j rho_j (m_j - m_0) / r_j),    c = sigma_end or alpha_end.

        Args:
            start: where the step begins.
            end: where it ends.
            nodes: where else the prediction is known.
            rule: `(z, r) -> rho`.
            size: the number of nodes to return weights for.
        """
        h = end.half_log_snr - start.half_log_snr
        z, c = (h, jnp.exp(end.log_sigma)) if self.prediction == "noise" else (-h, jnp.exp(end.log_alpha))
        r = _places([other.half_log_snr - start.half_log_snr for other in nodes], h)
        rho = rule(z, r) if r else []
        slopes = [-c * weight / position for weight, position in zip(rho, r, strict=True)]
        first = -c * jnp.expm1(z) - sum(slopes, jnp.zeros_like(c))
        return jnp.stack([first, *slopes, *[jnp.zeros_like(c)] * (size - len(nodes))])


def _places(distances: Sequence[Array], h: Array) -> list[Array]:
    """Return the places `distance / h` of nodes, no two alike and none zero.

    The ratio of a mode that is pure noise may stand still between nodes. Such a node is put before all others: its
    predictions weigh next to nothing, but the weights must be finite.
    """
    if jnp.ndim(h) == 0:  # one ratio for all modes, which falls at every step
        return [distance / h for distance in distances]
    length, taken = jnp.where(h == 0.0, 1.0, h), [jnp.zeros_like(h)]
    for distance in distances:
        place = distance / length
        clash = jnp.any(jnp.stack([place == other for other in taken]), axis=0)
        taken.append(jnp.where(clash, jnp.min(jnp.stack(taken), axis=0) - 1.0, place))
    return taken[1:]


class History(NamedTuple):
    """What multistep methods remember: earlier predictions, the latest first, and how far the grid has come."""

    nodes: tuple[Node, ...]
    values: tuple[Array, ...]
    done: Array
    left: Array

    @staticmethod
    def empty(sde: LinearSDE, x: Array, times: Array, length: int, *, lower_order_final: bool) -> History:
        """Return the history before the first step; with `lower_order_final` the steps left limit the order."""
        first, n = node(sde, times[0]), times.shape[0] - 1
        # with so many steps left the order never falls
        left = n if lower_order_final else n + length + 1
        nodes = tuple(stand_in(first, i) for i in range(length))
        return History(nodes, (jnp.zeros_like(x),) * length, jnp.int32(0), jnp.int32(left))

    def pushed(self, here: Node, value: Array) -> History:
        """Return the history one step later."""
        length = len(self.values)
        nodes, values = (here, *self.nodes)[:length], (value, *self.values)[:length]
        return History(nodes, values, self.done + 1, self.left - 1)


def exact(z: Array, r: Sequence[Array]) -> list[Array]:
    """Return the `rho` that integrate the polynomial through all nodes: `sum_j rho_j r_j^{i-1} = i! z phi_{i+1}(z)`."""
    phi = z_phi(z, len(r) + 1)
    return quadrature(r, [math.factorial(i) * phi[i] for i in range(1, len(r) + 1)])


def half(z: Array, r: Sequence[Array]) -> list[Array]:
    """Return `rho = z phi_1(z) / 2` for one node, which is `exact` to the order of the method."""
    return [0.5 * jnp.expm1(z)]


def z_phi(z: Array, n: int) -> list[Array]:
    """Return `z phi_k(z)` for `k = 1 .. n`, where `phi_k(z) = int_0^1 e^{(1 - u) z} u^{k - 1} / (k - 1)! du`.

    The recursion `z phi_{k + 1} = (z phi_k) / z - 1 / k!` from `z phi_1 = e^z - 1` loses its digits at small `z`, where
    the series `z phi_k = sum_j z^{j + 1} / (j + k)!` is summed instead.
    """
    small = jnp.abs(z) < 1.0
    # both branches are computed everywhere, so each is given arguments at which it is finite, gradients included
    near, far = jnp.where(small, z, 0.0)[..., None], jnp.where(small, 1.0, z)
    powers = jnp.cumprod(jnp.broadcast_to(near, (*z.shape, TERMS)), axis=-1)
    values, recursive = [], jnp.expm1(far)
    for k in range(1, n + 1):
        series = jnp.sum(powers * np.array([1.0 / math.factorial(j + k) for j in range(TERMS)]), axis=-1)
        values.append(jnp.where(small, series, recursive).astype(z.dtype))
        recursive = recursive / far - 1.0 / math.factorial(k)
    return values


def lagrange(nodes: Sequence[Array]) -> list[list[Array]]:
    """Return, node by node, the coefficients of the polynomial that is one there and zero at the others.

    The lowest power comes first.
    """
    polynomials = []
    for j, own in enumerate(nodes):
        polynomial = [jnp.ones_like(own)]
        for k, other in enumerate(nodes):
            if k != j:
                raised, lowered = [jnp.zeros_like(own), *polynomial], [*polynomial, jnp.zeros_like(own)]
                polynomial = [(a - other * b) / (own - other) for a, b in zip(raised, lowered, strict=True)]
        polynomials.append(polynomial)
    return polynomials


def quadrature(nodes: Sequence[Array], moments: Sequence[Array]) -> list[Array]:
    """Return `rho` with `sum_j rho_j r_j^{i - 1} = moments_i`: the small Vandermonde system, solved in closed form."""
    return [dot(moments, polynomial) for polynomial in lagrange(nodes)]


def dot(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Return the sum of the products of two short sequences."""
    return jnp.sum(jnp.stack([x * y for x, y in zip(a, b, strict=True)]), axis=0)


def stand_in(first: Node, i: int) -> Node:
    """Return a node to fill a memory with before there is one: finite, distinct, and never given any weight."""
    return Node(first.log_alpha, first.log_sigma + 1.0 + i)


def chosen(condition: Array, new, old):
    """Return `new` where the scalar condition holds, else `old`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def check_exponential(name: str, order: int, prediction: str, thresholding: float | None) -> None:
    """Refuse settings that no exponential integrator has.

    Raises:
        ValueError: on another order than 1, 2, 3, an unknown prediction, or a threshold that cannot apply.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"{name}: order must be 1, 2 or 3, got {order}")
    if prediction not in FORMS:
        raise ValueError(f"{name}: unknown prediction {prediction!r}; choose one of {', '.join(FORMS)}")
    if thresholding is not None and not (prediction == "data" and 0.0 < thresholding <= 1.0):
        raise ValueError(
            f"{name}: thresholding is a quantile in (0, 1] of predicted data, got {thresholding} with "
            f"prediction={prediction!r}; use prediction='data' and 0.995, or thresholding=None"
        )
