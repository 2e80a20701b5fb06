"""What a network is given besides the noisy example: a class, a vector, or a sequence of vectors.

A network names the kind of its condition when it is built:

    "label"      class labels `[B]`, where `num_classes` means "no class": a learned vector for each
    "vector"     numbers or embeddings `[B, condition_dim]`, where NaN is an absent number: a dense map
    "sequence"   embeddings `[B, L, condition_dim]`, e.g. of the words of a text: cross-attention

Labels and vectors are added to the noise embedding. Absence is said by NaN (`ABSENT`), number by number of a vector, so
that zero is a condition like any other; a token of a sequence is absent if it is NaN, or zeros, with which sequences
are padded. So what trains with and without a condition, `guidance.drop_labels(key, condition, ABSENT, probability)`,
and what guides, `classifier_free_batched(score, condition, ABSENT, guidance_scale)`, are the same for all three but
for the null label.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

CONDITIONS = ("label", "vector", "sequence")
ABSENT = math.nan
"""A number of a condition that is not known, or not to be said."""


class Conditioned(Protocol):
    """The fields by which a network says what it is conditioned on; `num_classes` belongs to labels alone."""

    @property
    def condition(self) -> str: ...
    @property
    def num_classes(self) -> int | None: ...
    @property
    def condition_dim(self) -> int | None: ...


class Tokens(NamedTuple):
    """A sequence to attend to.

    Attributes:
        values: `[B, L, D]`.
        present: `[B, L]`, false for the tokens to be passed over.
    """

    values: jax.Array
    present: jax.Array


def tokens(condition: jax.Array) -> Tokens:
    """The tokens of a condition `[B, L, D]`; those that are NaN, or all zeros, are marked as absent."""
    known = jnp.all(jnp.isfinite(condition), axis=-1)
    values = jnp.where(known[..., None], condition, 0)
    return Tokens(values, jnp.any(values != 0, axis=-1))


def no_condition(network: nn.Module) -> jax.Array | None:
    """The condition of one example that stands for none; None for an unconditional network."""
    kind = getattr(network, "condition", None)
    num_classes, dim = getattr(network, "num_classes", None), getattr(network, "condition_dim", None)
    if kind is None:
        return None
    if kind == "label":
        return None if num_classes is None else jnp.full(1, num_classes)
    return jnp.full((1, 1, dim) if kind == "sequence" else (1, dim), ABSENT)


class ClassEmbedding(nn.Module):
    """A learned vector per class, and one more, with index `num_classes`, that means "no class".

    Attributes:
        num_classes: number of classes.
        features: length of the vectors.
    """

    num_classes: int
    features: int

    @nn.compact
    def __call__(self, class_labels: jax.Array) -> jax.Array:
        """Map integer labels `[B]` in 0 .. num_classes to `[B, features]`; a label beyond gives NaN."""
        table = nn.Embed(self.num_classes + 1, self.features, embedding_init=nn.initializers.normal(1.0), name="table")
        return table(class_labels)


def condition_vector(
    condition: jax.Array | None, num_classes: int | None, features: int, dtype: jax.typing.DTypeLike
) -> jax.Array | None:
    """What a label or a vector adds to a noise embedding; for use inside a compact method of a network.

    Args:
        condition: as checked by `check_condition`.
        num_classes: of labels; None for vectors.
        features: length of the noise embedding.
        dtype: type to compute in.

    Returns:
        `[B, features]`, or None for a sequence or no condition.
    """
    if condition is None or condition.ndim == 3:
        return None
    if num_classes is not None:
        return ClassEmbedding(num_classes, features, name="classes")(condition).astype(dtype)
    # Each number goes in together with a one where it is known, so that none of them is taken for absence. Silent at
    # first, so that training may start from the weights of an unconditional network.
    known = jnp.isfinite(condition)
    values = jnp.concatenate([jnp.where(known, condition, 0), known.astype(condition.dtype)], axis=-1)
    silent = nn.initializers.zeros
    return nn.Dense(features, use_bias=False, kernel_init=silent, dtype=dtype, name="condition")(values)


def check_condition(network: Conditioned, batch: int, condition: jax.Array | None) -> None:
    """Check a condition against the batch and against what the network was built for.

    Raises:
        ValueError: if the fields of the network contradict each other, or the condition is missing, unexpected, or
            of a wrong shape or type.
    """
    kind, classes, dim = network.condition, network.num_classes, network.condition_dim
    if kind not in CONDITIONS:
        raise ValueError(f"condition must be one of {CONDITIONS}, got {kind!r}")
    if (kind == "label") != (dim is None) or (kind != "label" and classes is not None):
        raise ValueError(
            f"condition={kind!r} does not go with num_classes={classes} and condition_dim={dim}: a label has "
            "num_classes alone, a vector or a sequence condition_dim alone"
        )
    if kind == "label" and classes is None:
        if condition is not None:
            raise ValueError(
                "a condition was given to an unconditional network: build it with num_classes=<number of classes> or "
                "condition_dim=<length of an embedding>, or leave the condition out"
            )
        return
    shape = {"label": "(B,)", "vector": f"(B, {dim})", "sequence": f"(B, L, {dim})"}[kind]
    wanted = f"integers of shape {shape}" if kind == "label" else f"floats of shape {shape}"
    hidden = f"{classes} means 'no class'" if kind == "label" else "NaN means 'no condition'"
    if condition is None:
        raise ValueError(f"this network needs a condition: pass {wanted}; {hidden}")
    number = jnp.integer if kind == "label" else jnp.floating
    rank = CONDITIONS.index(kind) + 1
    fits = condition.ndim == rank and condition.shape[0] == batch and condition.shape[1:][-1:] in ((), (dim,))
    if not fits or not jnp.issubdtype(condition.dtype, number):
        raise ValueError(
            f"the condition must be {wanted} with B = {batch}, got {condition.dtype} of shape {condition.shape}; "
            f"{hidden}"
        )
