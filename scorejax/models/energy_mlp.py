"""An energy for vectors: a network whose exponential is a density up to a constant."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.activations import Activation, activation
from scorejax.models.mlp import dense, spread_dense
from scorejax.numerics.ranges import Count, NonNegative


class EnergyMLP(nn.Module):
    """Residual perceptron `E(x)`, so that `exp(-E(x))` is a density up to its constant; its score is `-grad E`.

    `E(x) = f(x) + confine |x|^2 / 2`, where `f` is smooth, grows at most linearly and starts at zero: with
    `confine > 0` the integral of `exp(-E)` is finite for all weights, and the untrained law is Gaussian.

    `model.apply({"params": params}, x)`

    Attributes:
        features: width of the hidden layers.
        depth: number of hidden layers.
        confine: curvature of the quadratic part, in inverse squared units of the data.
        activation: of the hidden layers; silu, softplus, tanh and gelu have all derivatives.
        num_classes: for joint energies of vectors and classes: the network returns `-E(x, y)` for each class `y`
            instead; None: one energy.
    """

    role = "energies"
    ranks = (1,)
    tiny: ClassVar[dict[str, int]] = {"features": 16, "depth": 1}

    features: Count = 128
    depth: Count = 3
    confine: NonNegative = 1.0
    activation: Activation = "silu"
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Evaluate the energy.

        Args:
            x: vectors `[B, D]`.

        Returns:
            energies in nats, float32 `[B]`; with classes minus the energies `[B, num_classes]`, which are logits.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        if x.ndim != 2:
            raise ValueError(f"EnergyMLP takes vectors [batch, dimension], got an array of shape {x.shape}: flatten it")
        if min(self.features, self.depth) < 1 or self.confine < 0:
            raise ValueError(
                "features and depth must be at least 1 and confine not negative; got "
                f"features={self.features}, depth={self.depth}, confine={self.confine}"
            )
        act = activation(self.activation)
        x = x.astype(jnp.float32)
        h = act(spread_dense(self.features, "dense_0")(x))
        for i in range(1, self.depth):
            h = h + act(dense(self.features, f"dense_{i}", jnp.float32)(h))
        value = dense(self.num_classes or 1, "dense_out", jnp.float32, 0.0)(h)
        return confined(value, x, self.confine, self.num_classes)


def confined(value: jax.Array, x: jax.Array, confine: float, num_classes: int | None) -> jax.Array:
    """Return energies `[B]` of a network's `value [B, 1]` and a quadratic, or minus those of classes, `[B, K]`."""
    quadratic = 0.5 * confine * jnp.sum(x.reshape(len(x), -1) ** 2, axis=1)
    return value[:, 0] + quadratic if num_classes is None else value - quadratic[:, None]
