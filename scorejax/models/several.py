"""Several conditions at once: a network of one condition, and what lies before and behind it."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.wider import Wider
from scorejax.numerics.conditions import Condition, length, parts


class Several(Wider):
    """A network that is given classes, numbers, vectors, sequences and fields together.

    * Fields are more channels of the input, each value next to a one where it is known: `[known c, known]`. What the
      network puts out for these channels is left out.
    * Classes (one-hot), scalars and vectors are one vector `v` of the network inside, which takes each number next to a
      one where it is known; see `models.condition`.
    * With a sequence, its tokens `[c, 1]` are attended to, and the others are one more, `Dense([known v, known])`,
      which is there even when all of them are absent.

    Attributes:
        network: of scores, for `field_channels(conditions)` channels more than an example has, and for what
            `condition_inside(conditions)` says.
        conditions: what a row of numbers holds.
    """

    conditions: tuple[Condition, ...]

    @nn.compact
    def __call__(
        self, x: jax.Array, labels: jax.Array, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Evaluate the network.

        Args:
            x: examples `[B, ..., C]`.
            labels: noise labels `[B]`.
            condition: rows `[B, D]`, see `numerics.conditions`; NaN is absent.
            train: whether to drop values.

        Raises:
            ValueError: no condition, or one of another shape.
        """
        wanted = (len(x), length(self.conditions))
        if condition is None or condition.shape != wanted:
            got = "none" if condition is None else f"one of shape {condition.shape}"
            raise ValueError(f"this network needs a condition, floats of shape {wanted}; NaN is absent; got {got}")
        given = list(zip(self.conditions, parts(self.conditions, condition), strict=True))
        channels = x.shape[-1]
        fields = [_known(part) for each, part in given if each.kind == "field"]
        wide = jnp.concatenate([x, *(array.astype(x.dtype) for pair in fields for array in pair)], axis=-1)
        vectors = [_vector(each, part) for each, part in given if each.kind in ("class", "scalar", "vector")]
        inner = jnp.concatenate(vectors, axis=-1) if vectors else None
        sequences = [part for each, part in given if each.kind == "sequence"]
        if sequences:
            values = [jnp.concatenate([part, jnp.ones_like(part[..., :1])], axis=-1) for part in sequences]
            inner = jnp.concatenate([*values, *self._token(inner, values[0].shape[-1])], axis=1)
        out = self.network(wide, labels, inner, train)  # pyright: ignore[reportCallIssue]
        return self.of_examples(out, channels)

    def _token(self, vector: jax.Array | None, width: int) -> list[jax.Array]:
        """A token `[B, 1, width]` of all that is no sequence."""
        if vector is None:
            return []
        known = jnp.concatenate(_known(vector), axis=-1)
        return [nn.Dense(width, bias_init=nn.initializers.normal(1.0), name="token")(known)[:, None]]

    @property
    def condition(self) -> str:
        """Of all together: a vector."""
        return "vector"

    @property
    def condition_dim(self) -> int:
        """The length of a row."""
        return length(self.conditions)


def field_channels(conditions: Sequence[Condition]) -> int:
    """Return how many channels fields add to the input of a network."""
    return sum(2 * each.shape[-1] for each in conditions if each.kind == "field")


def condition_inside(conditions: Sequence[Condition]) -> dict[str, object]:
    """Return the fields of the network inside that say what it is conditioned on.

    Raises:
        ValueError: sequences of vectors of different lengths.
    """
    widths = {each.name: each.shape[-1] for each in conditions if each.kind == "sequence"}
    if len(set(widths.values())) > 1:
        shown = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ValueError(f"sequences must hold vectors of one length, got {shown}")
    if widths:
        return {"condition": "sequence", "condition_dim": next(iter(widths.values())) + 1}
    wide = sum(each.classes or each.size for each in conditions if each.kind != "field")
    return {"condition": "vector", "condition_dim": wide} if wide else {}


def _known(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The numbers, zero where they are absent, and ones where they are known."""
    known = jnp.isfinite(values)
    return jnp.where(known, values, 0), known.astype(values.dtype)


def _vector(of: Condition, part: jax.Array) -> jax.Array:
    """The numbers `[B, K]` of a class, one-hot, a scalar or a vector; NaN is absent."""
    if of.kind != "class":
        return part.reshape(len(part), -1)
    known = jnp.isfinite(part)
    chosen = jax.nn.one_hot(jnp.where(known, part, 0).astype(jnp.int32), of.classes, dtype=part.dtype)
    return jnp.where(known[:, None], chosen, jnp.nan)
