"""What a linear measurement operator is, the test that it is one, and operators made of functions and operators."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax.guidance import conjugate
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.host_arrays import HostArrays
from scorejax.numerics.trees import register_dataclass, static

CUTOFF = 1e-3
"""Singular values below this part of the largest are zero to a pseudo-inverse."""
EXACT = jax.lax.Precision.HIGHEST
"""Precision of products with fixed matrices: fast matrix units would round an adjoint away from its operator."""
LAWS = ("linear: A (x - 2 z) = A x - 2 A z", "adjoint: <A x, y> = <x, A^T y>", "pseudo-inverse: A A^+ A x = A x")


class Operator(HostArrays, abc.ABC):
    """A linear map `A` of one example, applied to a batch.

    Write a frozen dataclass registered as a pytree, with `forward` and `adjoint`.
    """

    @abc.abstractmethod
    def forward(self, x: Array) -> Array:
        """Return `A x` for every example of `x [B, ...]`."""

    @abc.abstractmethod
    def adjoint(self, y: Array) -> Array:
        """Return `A^T y`, the transpose with respect to the plain inner product."""

    def pinv(self, y: Array) -> Array:
        """Return the pseudo-inverse `A^+ y`, here by conjugate gradients on `A A^T` (for `y` in the range of `A`)."""
        return self.adjoint(conjugate.solve(lambda v: self.forward(self.adjoint(v)), y, iterations=200, tolerance=1e-6))

    def clean(self, y: Array) -> Array:
        """Return a measurement without the entries that measure nothing, where anything may stand, NaN included."""
        return y

    def check(self, key: Array, shape: tuple[int, ...], tolerance: float = 1e-3) -> None:
        """Test on random vectors that the map is linear, `<A x, y> = <x, A^T y>`, and `A A^+ A x = A x`.

        Args:
            key: a typed PRNG key.
            shape: a batch of inputs, `(B, ...)`.
            tolerance: largest relative error allowed.

        Raises:
            ValueError: naming the law that fails and its error.
        """
        keys = keys_lib.per_example(key, shape[0])
        x, z = (keys_lib.normal(keys_lib.fold_in(keys, i), shape) for i in (0, 1))
        y = keys_lib.normal(keys_lib.fold_in(keys, 2), jax.eval_shape(self.forward, x).shape)
        for law, error in zip(LAWS, _broken_by(self, x, z, y), strict=True):
            if not error <= tolerance:
                raise ValueError(f"{type(self).__name__} breaks the law '{law}': relative error {float(error):.3g}")


@register_dataclass
@dataclass(frozen=True)
class Composition(Operator):
    """`A = outer inner`; its pseudo-inverse is not the product of theirs, and is solved for."""

    outer: Operator
    inner: Operator

    def forward(self, x: Array) -> Array:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Array) -> Array:
        return self.inner.adjoint(self.outer.adjoint(y))

    def clean(self, y: Array) -> Array:
        return self.outer.clean(y)


@register_dataclass
@dataclass(frozen=True)
class Linear(Operator):
    """Any linear function of a batch; the adjoint is its transpose."""

    function: Callable[[Array], Array]
    shape: tuple[int, ...] = static()

    def forward(self, x: Array) -> Array:
        return self.function(x)

    def adjoint(self, y: Array) -> Array:
        point = jax.ShapeDtypeStruct((y.shape[0], *self.shape), y.dtype)
        return jax.linear_transpose(self.function, point)(y)[0]


def compose(outer: Operator, inner: Operator) -> Composition:
    """Return the operator that applies `inner`, then `outer`."""
    return Composition(outer, inner)


def linear(function: Callable[[Array], Array], shape: tuple[int, ...]) -> Linear:
    """Return the operator of any linear function of batches, its adjoint by `jax.linear_transpose`.

    Args:
        function: `[B, *shape] -> [B, ...]`, linear, every example by itself; give `check` a try.
        shape: the shape of an example.
    """
    return Linear(function if isinstance(function, Partial) else Partial(function), tuple(shape))


@jax.jit
def _broken_by(operator: Operator, x: Array, z: Array, y: Array) -> tuple[Array, ...]:
    """Return by how much, relatively, an operator breaks each of `LAWS`."""
    ax, y = operator.forward(x), operator.clean(y)
    adjoint = operator.adjoint(y)
    if adjoint.shape != x.shape:
        raise ValueError(f"{type(operator).__name__}: the adjoint maps {y.shape} to {adjoint.shape}, not to {x.shape}")
    size = jnp.linalg.norm(ax) * jnp.linalg.norm(y)
    return (
        _relative(operator.forward(x - 2.0 * z), ax - 2.0 * operator.forward(z)),
        jnp.abs(jnp.vdot(ax, y) - jnp.vdot(x, adjoint)) / jnp.maximum(size, 1e-30),
        _relative(operator.forward(operator.pinv(ax)), ax),
    )


def _relative(found: Array, wanted: Array) -> Array:
    return jnp.linalg.norm(found - wanted) / jnp.maximum(jnp.linalg.norm(wanted), 1e-30)
