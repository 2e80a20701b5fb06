"""Bits per dimension of a mixture of Gaussians, a stronger baseline than one Gaussian for data of several clusters."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

HELD_OUT = 5  # every fifth example chooses the number of components
RIDGE = 1e-3  # added to the variances of standardized columns
ROUNDS = 50  # of expectation maximization at most


class MixtureBaseline(NamedTuple):
    """A baseline and what it was.

    Attributes:
        bits_per_dim: mean of `-log2 p(x) / D` over the test examples.
        standard_error: of the mean.
        components: how many Gaussians the held-out examples chose.
    """

    bits_per_dim: float
    standard_error: float
    components: int


def mixture_bits_per_dim(train: np.ndarray, test: np.ndarray, most: int = 8, seed: int = 0) -> MixtureBaseline:
    """Fit mixtures of 1, 2, 4, ... up to `most` Gaussians with full covariances; return the bits/dim of the best one.

    `p(x) = sum_k pi_k N(x; m_k, C_k)`, fitted to standardized columns by at most 50 rounds of expectation
    maximization. The number of components is the one with the greatest likelihood on a fifth of the training examples,
    and the mixture is then fitted to all of them. Numbers of levels, of an integer type, are dequantized by uniform
    noise of one draw.

    Args:
        train: `[N, ...]`.
        test: `[M, ...]`.
        most: components at most.
        seed: of the noise and of the initializations.

    Raises:
        ValueError: fewer than ten examples, or a constant column.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(train) < 2 * HELD_OUT:
        raise ValueError(f"a mixture needs at least {2 * HELD_OUT} training examples, got {len(train)}")
    draw = np.random.default_rng(seed)
    known, asked = (_continuous(draw, examples) for examples in (train, test))
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    constant = np.flatnonzero(deviation <= np.finfo(np.float64).eps * np.abs(mean))
    if len(constant):
        raise ValueError(f"column {constant[0]} is constant; a mixture has no density there.")
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    chooses = draw.permutation(len(known)) % HELD_OUT == 0

    def fitted(examples: np.ndarray, components: int) -> GaussianMixture:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # any mixture is a density, and so a baseline
            return GaussianMixture(components, reg_covar=RIDGE, random_state=seed, max_iter=ROUNDS).fit(examples)

    sizes = [2**k for k in range(most.bit_length()) if 2**k <= min(most, np.sum(~chooses))]
    best = max(sizes, key=lambda size: float(fitted(known[~chooses], size).score(known[chooses])))
    nats = np.log(deviation).sum() - fitted(known, best).score_samples(asked)
    bits = nats / (known.shape[1] * np.log(2.0))
    error = float(bits.std(ddof=1) / np.sqrt(len(bits))) if len(bits) > 1 else float("nan")
    return MixtureBaseline(float(bits.mean()), error, best)


def _continuous(draw: np.random.Generator, examples: np.ndarray) -> np.ndarray:
    flat = np.asarray(examples, np.float64).reshape(len(examples), -1)
    return flat + draw.uniform(size=flat.shape) if np.asarray(examples).dtype.kind in "iub" else flat
