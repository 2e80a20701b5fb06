"""What a network is given about the noise: waves of its label, and the vector made of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorejax.models.condition import condition_vector
from scorejax.models.layers import NONLINEARITIES, Dtype, dense_init


def sinusoidal(labels: jax.Array, dim: int, max_period: float = 10_000.0) -> jax.Array:
    """Sines and cosines of a label at geometrically spaced frequencies.

    `[sin(w_k l), cos(w_k l)]` with `w_k = max_period^(-k / (dim//2 - 1))` for k = 0 .. dim//2 - 1 (Vaswani et
    al. 2017, in the arrangement of Ho et al. 2020). An odd `dim` gets a last column of zeros.

    Args:
        labels: noise labels `[B]`; the fastest wave turns once every 2 pi units of them.
        dim: number of features.
        max_period: ratio of the slowest to the fastest wavelength.

    Returns:
        features `[B, dim]`, float32.
    """
    half = dim // 2
    rates = np.exp(-np.log(max_period) * np.arange(half) / max(half - 1, 1)).astype(np.float32)
    angles = labels.astype(jnp.float32)[:, None] * rates
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return jnp.pad(waves, ((0, 0), (0, dim - 2 * half)))


def cosines_first(labels: jax.Array, dim: int, max_period: float = 10_000.0) -> jax.Array:
    """Cosines and sines of a label, `[cos(w_k l), sin(w_k l)]` with `w_k = max_period^(-k / (dim//2))`.

    The arrangement of guided diffusion (Dhariwal & Nichol 2021), whose slowest wave is a little faster than
    `max_period`.

    Args:
        labels: noise labels `[B]`.
        dim: number of features; an odd one gets a last column of zeros.
        max_period: see above.

    Returns:
        features `[B, dim]`, float32.
    """
    half = dim // 2
    rates = np.exp(-np.log(max_period) * np.arange(half) / max(half, 1)).astype(np.float32)
    angles = labels.astype(jnp.float32)[:, None] * rates
    waves = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return jnp.pad(waves, ((0, 0), (0, dim - 2 * half)))


def smooth_label_features(labels: jax.Array, dim: int) -> jax.Array:
    """Slow waves of a label and of its logarithm, for labels of any of our processes.

    A network of vectors must resolve `999 t` evenly over 0..999, and `sigma` over the decades 1e-3..1e2.
    Waves of the label serve the first, waves of `log(label + 1e-3)` the second; all are slow, so that the
    score stays smooth in time and an ODE solver takes long steps.

    Args:
        labels: noise labels `[B]`, not negative.
        dim: number of features, a multiple of 4.

    Returns:
        features `[B, dim]`, float32.
    """
    labels = labels.astype(jnp.float32)
    # Half a turn up to 16 turns over 0..1000; and from one turn in 25 log units to two per log unit.
    linear = labels[:, None] * np.geomspace(np.pi / 1e3, np.pi / 30, dim // 4).astype(np.float32)
    log = jnp.log(labels + 1e-3)[:, None] * np.geomspace(0.25, 4.0, dim // 4).astype(np.float32)
    angles = jnp.concatenate([linear, log], axis=-1)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def log_snr_features(labels: jax.Array, dim: int) -> jax.Array:
    """Slow waves of a log signal-to-noise ratio, the one label that means the same in every process.

    Rates from one turn in 100 units of `log(alpha^2 / sigma^2)` to one in 12: the ratios of our processes lie within
    -15..15, and a posterior that changes slowly with them is learned where few were seen.

    Args:
        labels: log signal-to-noise ratios `[B]`.
        dim: number of features, even.

    Returns:
        features `[B, dim]`, float32.
    """
    angles = labels.astype(jnp.float32)[:, None] * np.geomspace(0.0625, 0.5, dim // 2).astype(np.float32)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class GaussianFourier(nn.Module):
    """Sines and cosines of a label at fixed random frequencies (Tancik et al. 2020).

    `[sin(2 pi W l), cos(2 pi W l)]`, `W ~ N(0, scale^2)`. `W` is a parameter, so that it is saved with the
    others, but it receives no gradient.

    Attributes:
        features: number of frequencies; the output has twice as many columns.
        scale: standard deviation of the frequencies.
    """

    features: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        """Map labels `[B]` to `[B, 2 features]`."""
        rates = self.param("W", nn.initializers.normal(self.scale), (self.features,))
        angles = 2 * jnp.pi * labels.astype(jnp.float32)[:, None] * jax.lax.stop_gradient(rates)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def noise_level(labels: jax.Array, noise_levels: tuple[float, float, int] | None) -> jax.Array:
    """The sigma that a label stands for.

    Args:
        labels: noise labels `[B]`.
        noise_levels: largest and smallest sigma and number of levels, geometric; a label counts them from the
            largest, 0, down. None: the label is sigma itself.

    Returns:
        sigmas `[B]`, float32.

    Raises:
        ValueError: unless `largest > smallest > 0` and there are at least two levels.
    """
    labels = labels.astype(jnp.float32)
    if noise_levels is None:
        return labels
    largest, smallest, count = noise_levels
    if not (largest > smallest > 0 and count >= 2):
        raise ValueError(
            f"noise_levels must be (largest sigma, smallest sigma, at least 2 levels), got {noise_levels}: "
            "use e.g. (50.0, 0.01, 1000)"
        )
    return jnp.exp(np.log(largest) + labels * (np.log(smallest / largest) / (count - 1)))


class NoiseEmbedding(nn.Module):
    """The vector that every block of an image network is conditioned on.

    `Dense(act(Dense(waves))) + condition`, of length `4 features` (Ho et al. 2020; the condition as in Dhariwal &
    Nichol 2021).

    Attributes:
        features: width of the network.
        kind: "positional" takes waves of the label, "fourier" random waves of the logarithm of sigma,
            "log_snr" slow waves of a label that is a log signal-to-noise ratio, "none" leaves the class vector
            alone, or nothing.
        fourier_scale: standard deviation of the random frequencies.
        num_classes: number of classes, or None for a network without.
        noise_levels: what sigma a label stands for, see `noise_level`.
        nonlinearity: name of `act`, in `layers.NONLINEARITIES`.
        dtype: type to compute the dense layers in.
    """

    features: int
    kind: str = "positional"
    fourier_scale: float = 16.0
    num_classes: int | None = None
    noise_levels: tuple[float, float, int] | None = None
    nonlinearity: str = "silu"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, labels: jax.Array, condition: jax.Array | None) -> jax.Array | None:
        """Map labels `[B]`, and the condition of a conditional network, to `[B, 4 features]` or None."""
        width = 4 * self.features
        h = None
        if self.kind != "none":
            if self.kind == "fourier":
                log_sigma = jnp.log(noise_level(labels, self.noise_levels))
                waves = GaussianFourier(self.features, self.fourier_scale, name="fourier")(log_sigma)
            elif self.kind == "log_snr":
                waves = log_snr_features(labels, self.features)
            else:
                waves = sinusoidal(labels, self.features)
            h = nn.Dense(width, kernel_init=dense_init(), dtype=self.dtype, name="dense_0")(waves)
            h = NONLINEARITIES[self.nonlinearity](h)
            h = nn.Dense(width, kernel_init=dense_init(), dtype=self.dtype, name="dense_1")(h)
        added = condition_vector(condition, self.num_classes, width, self.dtype)
        return added if h is None else h if added is None else h + added


def check_labels(batch: int, labels: jax.Array) -> None:
    """Check noise labels against the batch.

    Raises:
        ValueError: if their shape is wrong.
    """
    if labels.shape != (batch,):
        raise ValueError(
            f"labels must hold one noise label per example, shape {(batch,)}; got {labels.shape}: "
            "pass jnp.full((batch,), label) for a common one"
        )
