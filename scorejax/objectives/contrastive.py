"""The loss of an energy against samples of its own law."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from scorejax.numerics import doors


class Contrast(NamedTuple):
    """A loss with the energies that it is made of, each `[B]`.

    Attributes:
        loss: whose gradient is that of the negative log-likelihood; its value has no meaning.
        of_data: energies of the data.
        of_samples: energies of the samples.
    """

    loss: Array
    of_data: Array
    of_samples: Array


def contrastive(
    energy: Callable[[Array], Array],
    x: Array,
    samples: Array,
    *,
    magnitude: float = 0.0,
    sound: Array | None = None,
) -> Contrast:
    """Return `E(x) - E(samples) + magnitude (E(x)^2 + E(samples)^2)`, never averaged over the batch.

    With samples of `exp(-E) / Z` the gradient of its mean is that of the mean of `-log p(x)`,

        grad (-log p(x)) = grad E(x) - E_p[grad E],

    in which samples are held fixed: none flows into them.

    Args:
        energy: `x [B, ...] -> E [B]`, with weights that are trained.
        x: data.
        samples: as many, of the law of the energy.
        magnitude: weight of the squares, which hold the free constant of the energy near zero.
        sound: false for a sample that counts for nothing, `[B]`; the example next to it is left out too.

    Raises:
        ValueError: samples of another shape than the data, or an energy that is not one number per example.
    """
    if x.shape != samples.shape:
        raise ValueError(f"samples must have the shape of the data, {x.shape}, got {samples.shape}")
    if sound is not None and sound.shape != x.shape[:1]:
        raise ValueError(f"sound must be one for each sample, {x.shape[:1]}, got {sound.shape}")
    of_data = doors.per_row(x, energy(x), "an energy")
    of_samples = doors.per_row(x, energy(lax.stop_gradient(samples)), "an energy")
    loss = of_data - of_samples + magnitude * (of_data**2 + of_samples**2)
    return Contrast(loss if sound is None else jnp.where(sound, loss, 0.0), of_data, of_samples)
