"""An energy for images: a small convolutional network whose exponential is a density up to a constant."""

from typing import Annotated, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import MinLen

from scorejax.models.activations import Activation, activation
from scorejax.models.energy_mlp import confined
from scorejax.numerics.ranges import Count, NonNegative


class EnergyConv(nn.Module):
    """Convolutional network `E(x)` of images, so that `exp(-E(x))` is a density up to its constant.

    `E(x) = f(x) + confine |x|^2 / 2`. `f` is a convolution of stride `stem_stride`, one of stride 2 for each entry of
    `features`, a hidden dense layer, and a linear one that starts at zero. There are no norms, which would
    make the energy blind to the scale of an image; everything is smooth, so that scores and their Jacobians exist.
    With `confine > 0` and smooth activations that grow at most linearly the integral of `exp(-E)` is finite.

    `model.apply({"params": params}, x)`

    Attributes:
        features: channels of the convolutions; each halves the size, and the first convolution has those of the first.
        hidden: width of the dense layer.
        stem_stride: of the first convolution; 2 halves the image at once, at a quarter of the cost.
        confine: curvature of the quadratic part, in inverse squared units of model space.
        activation: of all hidden layers; silu, softplus, tanh and gelu have all derivatives.
        spectral_norm: whether each layer is divided by its largest singular value (that of the kernel as a matrix,
            Miyato et al., arXiv 1802.05957), so that the energy cannot become steep.
        num_classes: for joint energies of images and classes: the network returns `-E(x, y)` for each class `y`
            instead; None: one energy.
    """

    role = "energies"
    ranks = (3,)
    tiny: ClassVar[dict[str, object]] = {"features": (8,), "hidden": 16}

    features: Annotated[tuple[Count, ...], MinLen(1)] = (32, 64)
    hidden: Count = 128
    stem_stride: Literal[1, 2] = 1
    confine: NonNegative = 1.0
    activation: Activation = "silu"
    spectral_norm: bool = False
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Evaluate the energy.

        Args:
            x: images `[B, H, W, C]`.

        Returns:
            energies in nats, float32 `[B]`; with classes minus the energies `[B, num_classes]`, which are logits.

        Raises:
            ValueError: if a field or the shape does not fit.
        """
        if x.ndim != 4:
            raise ValueError(
                f"EnergyConv takes images [batch, height, width, channels], got an array of shape {x.shape}"
            )
        if min((*self.features, self.hidden)) < 1 or not self.features or self.confine < 0:
            raise ValueError(
                "features and hidden must be at least 1 and confine not negative; got "
                f"features={self.features}, hidden={self.hidden}, confine={self.confine}"
            )
        act = activation(self.activation)
        x = h = x.astype(jnp.float32)
        h = act(Layer(self.features[0], self.spectral_norm, size=3, stride=self.stem_stride, name="conv_in")(h))
        for i, channels in enumerate(self.features):
            h = act(Layer(channels, self.spectral_norm, size=3, stride=2, name=f"conv_{i}")(h))
        h = act(Layer(self.hidden, self.spectral_norm, name="dense")(h.reshape(len(h), -1)))
        value = nn.Dense(self.num_classes or 1, kernel_init=nn.initializers.zeros, name="dense_out")(h)
        return confined(value, x, self.confine, self.num_classes)


class Layer(nn.Module):
    """A dense layer or a convolution, divided by its largest singular value if asked for.

    Attributes:
        features: channels of the result.
        spectral_norm: whether the kernel, as a matrix from its window to the channels, has norm 1.
        size: of the window of a convolution; 0: a dense layer.
        stride: step of a convolution.
    """

    features: int
    spectral_norm: bool
    size: int = 0
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, ..., C]` to `[B, ..., features]`."""
        window = (self.size, self.size) if self.size else ()
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (*window, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.spectral_norm:
            kernel = kernel / largest_singular_value(kernel.reshape(-1, self.features))
        if not self.size:
            return x @ kernel + bias
        strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout) + bias


def largest_singular_value(matrix: jax.Array, squarings: int = 6) -> jax.Array:
    """The largest singular value of a matrix, by `2^squarings` power iterations without a state of their own.

    The Gram matrix is squared again and again; the direction that is left is the leading one, and the gradient is that
    of `|A v|` for this direction held fixed.
    """
    gram = jax.lax.stop_gradient(matrix.T @ matrix)
    for _ in range(squarings):
        gram = gram @ gram
        gram = gram / jnp.maximum(jnp.linalg.norm(gram), 1e-30)
    column = gram[:, jnp.argmax(jnp.linalg.norm(gram, axis=0))]
    return jnp.linalg.norm(matrix @ (column / jnp.maximum(jnp.linalg.norm(column), 1e-30)))
