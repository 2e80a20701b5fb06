"""Bits per dimension that a model must beat: the uniform density, and one Gaussian with the data's moments."""

from dataclasses import dataclass

import numpy as np


def uniform_bits_per_dim(gray_levels: int) -> float:
    """Return the bits/dim of the density that is uniform over all images: `log2 gray_levels`."""
    return float(np.log2(gray_levels))


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """A full-covariance Gaussian over flattened examples.

    Images are counted in gray levels and dequantized, `z = k + u` with `u` uniform on [0, 1), so a level is one
    unit wide: bits/dim need no further constant, and are those of any other model space with the same bins.
    All averages over `u` are taken in closed form. The dequantization noise adds `I / 12` to the covariance, which
    makes it regular however few the examples: there is no ridge to choose.

    Attributes:
        mean: `[D]`.
        covariance: `[D, D]`.
        quantized: whether examples are gray levels, to which dequantization adds mean 1/2 and variance 1/12.
    """

    mean: np.ndarray
    covariance: np.ndarray
    quantized: bool

    def bits_per_dim(self, examples: np.ndarray) -> np.ndarray:
        """Return `-E_u log2 N(z; mean, covariance) / D` per example `[N]`, which can be negative for vectors."""
        z = _flat(examples) + 0.5 * self.quantized
        dim = z.shape[1]
        factor = np.linalg.cholesky(self.covariance)
        white = np.linalg.solve(factor, (z - self.mean).T)
        spread = self.quantized / 12 * np.sum(np.linalg.inv(factor) ** 2)  # tr(C^-1) var u
        log_det = 2 * np.sum(np.log(np.diag(factor)))
        nats = 0.5 * (np.sum(white**2, axis=0) + spread + log_det + dim * np.log(2 * np.pi))
        return nats / (dim * np.log(2))


def _flat(examples: np.ndarray) -> np.ndarray:
    return np.asarray(examples, np.float64).reshape(len(examples), -1)


def fit_gaussian(examples: np.ndarray) -> GaussianFit:
    """Fit the maximum-likelihood Gaussian to numbers of levels `[N, ...]` (dequantized) or to floating numbers.

    Raises:
        ValueError: vectors that span fewer than `D` dimensions, so that no density exists.
    """
    quantized = examples.dtype.kind in "iu"
    mean, second = _level_moments(examples) if examples.dtype == np.uint8 else _vector_moments(examples)
    dim = len(mean)
    if not quantized:
        _check_density(mean, second, len(examples))
    return GaussianFit(mean + 0.5 * quantized, second + quantized / 12 * np.eye(dim), quantized)


def _check_density(mean: np.ndarray, covariance: np.ndarray, count: int) -> None:
    """Refuse vectors that lie in fewer dimensions than they have numbers, in any units of their columns."""
    deviation = np.sqrt(np.diag(covariance))
    constant = np.flatnonzero(deviation <= np.finfo(np.float64).eps * np.abs(mean))
    if len(constant):
        raise ValueError(f"column {constant[0]} is constant; a Gaussian has no density there.")
    if np.linalg.matrix_rank(covariance / np.outer(deviation, deviation), hermitian=True) < len(mean):
        raise ValueError(
            f"{count} vectors span fewer than their {len(mean)} dimensions; a Gaussian has no density there."
        )


def _vector_moments(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = _flat(examples)
    mean = z.mean(axis=0)
    return mean, (z - mean).T @ (z - mean) / len(z)


def _level_moments(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of 8-bit levels, exact up to the last float64 sum, a block at a time.

    A sum of 256 products of bytes stays below 2^24, so float32, twice as fast, makes no rounding error in a block.
    """
    dim = int(np.prod(examples.shape[1:]))
    total, square = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, len(examples), 256):
        block = examples[start : start + 256].reshape(-1, dim).astype(np.float32)
        total += block.sum(axis=0, dtype=np.float64)
        square += block.T @ block
    mean = total / len(examples)
    return mean, square / len(examples) - np.outer(mean, mean)


def gaussian_bits_per_dim(train: np.ndarray, test: np.ndarray) -> float:
    """Return mean bits/dim, on `test`, of the Gaussian fitted to `train`: the number a trained model has to beat."""
    return float(fit_gaussian(train).bits_per_dim(test).mean())
