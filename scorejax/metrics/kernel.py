"""Kernel distance between two sets of features (KID over Inception features): unbiased at every sample size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge

from scorejax.metrics.features import FeatureNetwork, check_features
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.metrics.naming import is_inception

BLOCK = 1000


class KernelDistance(NamedTuple):
    """A kernel distance, the squared maximum mean discrepancy, with its standard error.

    Attributes:
        value: mean over blocks; unbiased, so about 0, and as often negative, for sets of one law.
        standard_error: of that mean, over the blocks; None for a single one.
        blocks: number of blocks that both sets were cut into.
    """

    value: float
    standard_error: float | None
    blocks: int


@dataclass(frozen=True)
class KernelMetric(Metric):
    """Kernel distance to real examples, unbiased at every sample size; over Inception features it is called KID.

    Attributes:
        block: examples per block and set, at most.
    """

    block: Annotated[int, Ge(2)] = BLOCK
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("kernel_distance", "kernel_distance_error"), "squared maximum mean discrepancy"
    )

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the distance and its standard error."""
        found = kernel_distance(real.of_examples(), samples, block=self.block, seed=seed)
        return {
            "kernel_distance": found.value,
            "kernel_distance_error": found.standard_error,
            "kernel_distance_blocks": found.blocks,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the distance, and its standard error where there is more than one block."""
        error = result["kernel_distance_error"]
        value = f"{result['kernel_distance']:.4g}" + (f" +- {error:.2g}" if error is not None else "")
        return [("KID" if is_inception(result["features"]) else "kernel distance", value)]


def kernel_distance(real: np.ndarray, samples: np.ndarray, *, block: int = BLOCK, seed: int = 0) -> KernelDistance:
    """Return the squared MMD with the kernel `(x . y / F + 1)^3`, in blocks (Binkowski et al. 2018).

    Both sets are put in random order, the larger one is cut to the size of the smaller, and both are cut into as many
    blocks, none larger than `block`. The blocks are independent, so their spread is the standard error. Two blocks are
    in memory at a time; the sets may lie on a disk.

    Args:
        real: features `[N, F]`.
        samples: features `[M, F]`.
        block: examples per block and set, at most; time grows with it, the standard error falls.
        seed: of the random order.

    Raises:
        ValueError: fewer than 2 examples.
    """
    check_features(real, samples, 0)
    size = min(len(real), len(samples))
    if size < 2 or block < 2:
        raise ValueError(f"{len(real)} and {len(samples)} examples in blocks of {block}; every block needs 2 of each.")
    blocks = min(-(-size // block), size // 2)
    rng = np.random.default_rng(seed)
    orders = [np.array_split(rng.permutation(len(each))[:size], blocks) for each in (real, samples)]
    # rows in their order on the disk: a mean over a block does not depend on it
    values = [mean_discrepancy(real[np.sort(i)], samples[np.sort(j)]) for i, j in zip(*orders, strict=True)]
    error = float(np.std(values, ddof=1) / math.sqrt(blocks)) if blocks > 1 else None
    return KernelDistance(float(np.mean(values)), error, blocks)


def mean_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Estimate the squared MMD of two sets `[n, F]` and `[m, F]`, unbiased (Gretton et al. 2012, eq. 3)."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _between_others(x) + _between_others(y) - 2 * _kernel(x, y).mean()


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _between_others(x: np.ndarray) -> float:
    """Mean of the kernel over pairs of different examples."""
    kernel = _kernel(x, x)
    return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
