"""A mixture of Gaussian kernels between features that are learned, at inducing points that are learned."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorejax.numerics.ranges import Count
from scorejax.numerics.trees import PyTree
from scorejax.objectives.linear_family import GaussianKernels


class DeepKernel(nn.Module):
    """Kernel between a vector and each inducing point (Wenliang et al., arXiv 1811.08357).

        k(x, z_l) = sum_r w_r exp(-|phi_r(x) - phi_r(z_l)|^2 / (2 10^c_r)),

    where `w` is a softmax, and every `phi_r` is a smooth perceptron (softplus) plus a linear map of the vector.

    `model.apply({"params": params}, x)`

    Attributes:
        points: number of inducing points.
        features: width of the hidden layers and of the features.
        depth: number of layers of a perceptron, the last one without a nonlinearity.
        kernels: number of Gaussian kernels; they start with bandwidths 10^c spread from 1 to 10.
    """

    role = "kernels"
    ranks = (1,)
    tiny: ClassVar[dict[str, int]] = {"points": 8, "features": 8, "depth": 2, "kernels": 2}

    points: Count = 200
    features: Count = 30
    depth: Count = 3
    kernels: Count = 3

    def __call__(self, x: jax.Array) -> jax.Array:
        """Evaluate the kernels.

        Args:
            x: vectors `[B, D]`.

        Returns:
            `k(x, z_l)`, float32 `[B, points]`.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        at, *kernels = self.parts(x)
        return GaussianKernels(Partial(lambda _: at), *kernels)(x)

    @nn.compact
    def parts(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The features of the vectors `[B, R, F]`; those of the inducing points, weights and variances of the kernels.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        if x.ndim != 2:
            raise ValueError(
                f"DeepKernel takes vectors [batch, dimension], got an array of shape {x.shape}: flatten it"
            )
        if min(self.points, self.features, self.depth, self.kernels) < 1:
            raise ValueError(
                f"points, features, depth and kernels must be at least 1; got points={self.points}, "
                f"features={self.features}, depth={self.depth}, kernels={self.kernels}"
            )
        x = x.astype(jnp.float32)
        # As far from each other as data of unit size are.
        points = self.param("points", nn.initializers.normal(1.0), (self.points, x.shape[1]))
        weights = nn.softmax(self.param("logits", nn.initializers.zeros, (self.kernels,)))
        widths = self.param("log10_width", lambda key: jnp.linspace(0.0, 1.0, self.kernels))
        # All perceptrons at once: a program of one is compiled several times as fast as one of each.
        maps = nn.vmap(
            Perceptron,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,  # pyright: ignore[reportArgumentType] of flax, which takes it
            out_axes=1,
            axis_size=self.kernels,
        )(self.features, self.depth, name="maps")
        return maps(x), maps(points), weights, 10**widths


def kernels(network: nn.Module, params: PyTree, dimension: int) -> GaussianKernels:
    """The kernels of a network like `DeepKernel`, with their derivatives, for vectors of this dimension."""
    _, *rest = _parts(network, params, jnp.zeros((1, dimension)))
    return GaussianKernels(Partial(_embedding, network, params), *rest)


def _embedding(network: nn.Module, params: PyTree, x: jax.Array) -> jax.Array:
    return _parts(network, params, x)[0]


def _parts(network: nn.Module, params: PyTree, x: jax.Array) -> PyTree:
    return network.apply({"params": params}, x, method="parts")


class Perceptron(nn.Module):
    """The features of a kernel."""

    features: int
    depth: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, D]` to `[B, features]`."""
        init = nn.initializers.normal(self.features**-0.5)
        h = x
        for i in range(self.depth):
            h = nn.Dense(self.features, kernel_init=init, name=f"dense_{i}")(h if i == 0 else nn.softplus(h))
        return h + nn.Dense(self.features, use_bias=False, kernel_init=init, name="skip")(x)
