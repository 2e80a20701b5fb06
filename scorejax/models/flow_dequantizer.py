"""A normalizing flow for the noise within gray levels: variational dequantization as in Flow++."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorejax.models.layers import conv3x3, dense_init
from scorejax.numerics.ranges import Count, Natural

Halves = tuple[jax.Array, jax.Array]


class FlowDequantizer(nn.Module):
    """Conditional flow from logistic noise to `u` in (0, 1) (Flow++, Ho et al., arXiv 1902.00275).

    Between two checkerboard splits, `flows` times: an affine map for each channel, an invertible map across
    channels, the coupling `logit(F(y; theta)) e^a + b` of one half given the other and the image, and an exchange of
    the halves; then a sigmoid. `F` is the distribution function of a mixture of logistics.

    At the start every step is the identity, nearly, and the noise is logistic, so that `u` is uniform: the learned
    dequantizer begins as the usual one. (Flow++ begins with Gaussian noise, which costs 0.3 bits per dimension.)

    `model.apply({"params": params}, noise, images)`

    Attributes:
        features: channels of the networks inside the couplings.
        components: logistics in each mixture.
        blocks: residual blocks, each a gated convolution and attention, in each coupling.
        heads: of the attention; they divide `features`.
        flows: how many couplings.
    """

    features: Count = 96
    components: Count = 32
    blocks: Natural = 2
    heads: Count = 4
    flows: Count = 4

    @nn.compact
    def __call__(self, noise: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Transform the noise.

        Args:
            noise: standard logistic, `[B, H, W, C]`, W even.
            images: what it is conditioned on, of the same shape, in [-1, 1].

        Returns:
            `u` in (0, 1), of the same shape, and `log q(u | image)` in nats, `[B]`; both float32.

        Raises:
            ValueError: if a shape or a field does not fit.
        """
        self._check(noise, images)
        context = nn.silu(conv3x3(self.features, "context_0")(images))
        context = split(context + conv3x3(self.features, "context_1")(context))
        context = jnp.concatenate(context, axis=-1)
        halves, log_det = split(noise), jnp.zeros(noise.shape[0])
        for i in range(self.flows):
            halves, change = self._step(halves, context, f"flow_{i}")
            log_det = log_det + change
        y = merge(halves)
        log_q = jnp.sum(_logistic(noise) - _logistic(y), axis=(1, 2, 3)) - log_det
        return nn.sigmoid(y), log_q

    def _step(self, halves: Halves, context: jax.Array, name: str) -> tuple[Halves, jax.Array]:
        mapped, log_det = [], jnp.zeros(())
        for side, half in enumerate(halves):
            half, change = ChannelMap(name=f"{name}_channels_{side}")(half)
            mapped.append(half)
            log_det = log_det + change
        moved, fixed = mapped
        coupling = Coupling(self.features, self.components, self.blocks, self.heads, name=f"{name}_coupling")
        moved, change = coupling(moved, fixed, context)
        return (fixed, moved), log_det + change

    def _check(self, noise: jax.Array, images: jax.Array) -> None:
        if noise.ndim != 4 or noise.shape != images.shape:
            raise ValueError(
                f"the dequantizer takes noise and images of one shape [B, H, W, C], got {noise.shape} and "
                f"{images.shape}"
            )
        if noise.shape[2] % 2:
            raise ValueError(f"images {noise.shape[2]} pixels wide have no checkerboard halves; the width must be even")
        if self.features % self.heads or min(self.components, self.flows) < 1:
            raise ValueError(
                f"heads must divide features, components and flows be at least 1; got heads={self.heads}, "
                f"features={self.features}, components={self.components}, flows={self.flows}"
            )


class ChannelMap(nn.Module):
    """An affine map of each channel (Kingma & Dhariwal 2018), then an invertible one across them; first identities."""

    @nn.compact
    def __call__(self, half: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map `[B, H, W, C]`; also return the log determinant, a scalar."""
        channels = half.shape[-1]
        scale = self.param("log_scale", nn.initializers.zeros, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        kernel = self.param("kernel", lambda key, shape: jnp.eye(shape[0]), (channels, channels))
        pixels = half.shape[1] * half.shape[2]
        log_det = pixels * (jnp.sum(scale) + jnp.linalg.slogdet(kernel)[1])
        return (half * jnp.exp(scale) + bias) @ kernel, log_det


class Coupling(nn.Module):
    """`logit(F(y; theta)) e^a + b`, where `theta, a, b` are functions of the other half and of the image."""

    features: int
    components: int
    blocks: int
    heads: int

    @nn.compact
    def __call__(self, moved: jax.Array, fixed: jax.Array, context: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map `moved [B, H, W, C]`; also return its log determinant, `[B]`."""
        h = conv3x3(self.features, "in")(fixed) + nn.Dense(self.features, kernel_init=dense_init(), name="image")(
            context
        )
        # where in the image: what lies within a level depends on it
        h = h + self.param("position", nn.initializers.normal(0.01), (1, *h.shape[1:]))
        for i in range(self.blocks):
            h = nn.LayerNorm(name=f"norm_{i}_0")(h + self._convolve(h, context, f"block_{i}"))
            h = nn.LayerNorm(name=f"norm_{i}_1")(h + self._attend(h, f"attention_{i}"))
        shape = (*moved.shape, 3 * self.components + 2)
        # nearly zero, not zero: equal components would have equal gradients for ever
        theta = conv3x3(moved.shape[-1] * shape[-1], "out", 0.01)(nn.silu(h)).reshape(shape)
        a, b, theta = 3.0 * jnp.tanh(theta[..., 0] / 3.0), theta[..., 1], theta[..., 2:]
        weights, means, log_scales = jnp.split(theta, 3, axis=-1)
        y, log_slope = mixture_logit(moved, weights, means, 5.0 * jnp.tanh(log_scales / 5.0))
        return y * jnp.exp(a) + b, jnp.sum(log_slope + a, axis=(1, 2, 3))

    def _convolve(self, h: jax.Array, context: jax.Array, name: str) -> jax.Array:
        h = conv3x3(self.features, f"{name}_conv")(nn.silu(h))
        h = nn.silu(h + nn.Dense(self.features, kernel_init=dense_init(), name=f"{name}_image")(context))
        return _gate(nn.Dense(2 * self.features, kernel_init=dense_init(0.1), name=f"{name}_gate")(h))

    def _attend(self, h: jax.Array, name: str) -> jax.Array:
        batch, height, width, _ = h.shape
        parts = nn.Dense(3 * self.features, kernel_init=dense_init(), name=f"{name}_parts")(h)
        parts = parts.reshape(batch, height * width, 3, self.heads, self.features // self.heads)
        h = jax.nn.dot_product_attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2])
        h = h.reshape(batch, height, width, self.features)
        return _gate(nn.Dense(2 * self.features, kernel_init=dense_init(0.1), name=f"{name}_gate")(h))


def mixture_logit(
    x: jax.Array, weights: jax.Array, means: jax.Array, log_scales: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return `logit F(x)` of a mixture of logistics and `log d logit F / dx`, each shaped like `x`.

    `logit F = log F - log(1 - F)` and `d logit F / dx = f / (F (1 - F))`, each of the three a log-sum-exp: far out in
    the tails, where `F` rounds to 0 or 1, the digits stay.

    Args:
        x: points `[...]`.
        weights: logits `[..., K]`.
        means: `[..., K]`.
        log_scales: `[..., K]`.
    """
    log_weights = jax.nn.log_softmax(weights)
    z = (x[..., None] - means) * jnp.exp(-log_scales)
    below, above = log_weights + jax.nn.log_sigmoid(z), log_weights + jax.nn.log_sigmoid(-z)
    log_cdf, log_survival = jax.nn.logsumexp(below, axis=-1), jax.nn.logsumexp(above, axis=-1)
    log_density = jax.nn.logsumexp(below + jax.nn.log_sigmoid(-z) - log_scales, axis=-1)
    return log_cdf - log_survival, log_density - log_cdf - log_survival


def split(x: jax.Array) -> Halves:
    """Return the black and white squares of a checkerboard of pixels, each `[B, H, W / 2, C]`."""
    pairs = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3])
    return _swap_odd_rows(pairs[..., 0, :], pairs[..., 1, :])


def merge(halves: Halves) -> jax.Array:
    """Return the image `[B, H, W, C]` of two checkerboard halves."""
    pairs = jnp.stack(_swap_odd_rows(*halves), axis=3)
    return pairs.reshape(*pairs.shape[:2], -1, pairs.shape[4])


def _swap_odd_rows(a: jax.Array, b: jax.Array) -> Halves:
    odd = (jnp.arange(a.shape[1]) % 2 == 1)[:, None, None]
    return jnp.where(odd, b, a), jnp.where(odd, a, b)


def _gate(h: jax.Array) -> jax.Array:
    value, gate = jnp.split(h, 2, axis=-1)
    return value * nn.sigmoid(gate)


def _logistic(y: jax.Array) -> jax.Array:
    """Log density of the standard logistic law, which is also the log slope of the sigmoid."""
    return jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y)
