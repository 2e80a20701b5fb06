"""Bits per dimension that a model must beat: the uniform density, and one Gaussian with the data's moments."""

from dataclasses import dataclass

import numpy as np


def uniform_bits_per_dim(levels: int) -> float:
    """Bits/dim of the density that is uniform over all images: `log2 levels`."""
    return float(np.log2(levels))


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """A full-covariance Gaussian over flattened examples.

    Images are counted in grey levels and dequantized, `z = k + u` with `u` uniform on [0, 1), so a level is one
    unit wide: bits/dim need no further constant, and are those of any other model space with the same bins.
    All averages over `u` are taken in closed form. The dequantization noise adds `I / 12` to the covariance, which
    makes it regular however few the examples: there is no ridge to choose.

    Attributes:
      mean: `[D]`.
      covariance: `[D, D]`.
      quantized: whether examples are grey levels, to which dequantization adds mean 1/2 and variance 1/12.
    """

    mean: np.ndarray
    covariance: np.ndarray
    quantized: bool

    def bits_per_dim(self, examples: np.ndarray) -> np.ndarray:
        """`-E_u log2 N(z; mean, covariance) / D` per example `[N]`; differential (can be negative) for vectors."""
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
    """Maximum-likelihood Gaussian of uint8 images `[N, H, W, C]` (dequantized) or of float vectors `[N, D]`.

    Raises:
      ValueError: vectors that span fewer than `D` dimensions, so that no density exists.
    """
    quantized = examples.dtype == np.uint8
    z = _flat(examples)
    mean, dim = z.mean(axis=0), z.shape[1]
    covariance = (z - mean).T @ (z - mean) / len(z) + quantized / 12 * np.eye(dim)
    if not quantized and np.linalg.matrix_rank(covariance) < dim:
        raise ValueError(f"{len(z)} vectors span fewer than their {dim} dimensions; a Gaussian has no density there.")
    return GaussianFit(mean + 0.5 * quantized, covariance, quantized)


def gaussian_bits_per_dim(train: np.ndarray, test: np.ndarray) -> float:
    """Mean bits/dim, on `test`, of the Gaussian fitted to `train`: the number a trained model has to beat."""
    return float(fit_gaussian(train).bits_per_dim(test).mean())
