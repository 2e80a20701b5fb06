"""Random walks with independent steps of any law, seen through a linear operator: sparse and heavy-tailed worlds.

The posterior has no closed form, but where steps are Gaussian of a random variance, Gibbs sampling draws from it: steps
given the variances are Gaussian, variances given the steps have a known law. Nothing about it is approximate but the
number of sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax.guidance import operators
from scorejax.guidance.operators import Operator
from scorejax.numerics.host_arrays import HostArrays
from scorejax.numerics.trees import register_dataclass, static

Steps: TypeAlias = Literal["gaussian", "laplace", "student", "bernoulli_laplace"]
STEPS = get_args(Steps)
Seen: TypeAlias = Literal["identity", "blur", "sampling", "fourier"]
SEEN = get_args(Seen)
SIZE = 64
PLACES = "1001001011001100011101000101010111010011001110011010010101101011"
"""Which of 64 places are measured; places 5 to 32 are also the frequencies, next to the five lowest."""
_GAUSSIAN_VARIANCE, _SCALE, _SHARE = 0.25, 1.0, 0.1
_LEAST = 1e-10  # of a variance or of the square of a step


@register_dataclass
@dataclass(frozen=True)
class LevyWorld(HostArrays):
    """`x = cumsum(u)` with independent steps u, of which `A x` is measured with noise.

    Attributes:
        operator: A, of points `[B, 64]`.
        sigma_y: standard deviation of the noise.
        scale: of a Laplace step, whose density is `exp(-|u| / scale) / (2 scale)`.
        degrees: of freedom of a step of Student's law.
        share: of the steps that are not zero, of the law that has zeros.
        steps: name of the law of a step.
        burn_in: sweeps before the first draw.
        thin: sweeps from one draw to the next.
    """

    operator: Operator
    sigma_y: float | Array
    scale: float | Array = _SCALE
    degrees: float | Array = 1.0
    share: float | Array = _SHARE
    steps: str = static(default="laplace")
    burn_in: int = static(default=1000)
    thin: int = static(default=10)

    def measure(self, x: Array) -> Array:
        """Return the measurement without noise of points `x [B, 64]`."""
        return self.operator.forward(x)

    def sample(self, key: Array, n: int) -> Array:
        """Draw `n` points of the law of the data, `[n, 64]`."""
        keys = jax.random.split(key, 2)
        shape = (n, SIZE)
        if self.steps == "gaussian":
            u = jnp.sqrt(_GAUSSIAN_VARIANCE) * jax.random.normal(keys[0], shape)
        elif self.steps == "student":
            u = jax.random.t(keys[0], self.degrees, shape)
        else:
            u = self.scale * jax.random.laplace(keys[0], shape)
        if self.steps == "bernoulli_laplace":
            u = jnp.where(jax.random.uniform(keys[1], shape) < self.share, u, 0.0)
        return jnp.cumsum(u, axis=1)

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """Draw one pair `(x [64], y [M])` of data and measurement."""
        x = self.sample(jax.random.fold_in(key, 0), 1)
        clean = self.measure(x)
        noise = jax.random.normal(jax.random.fold_in(key, 1), clean.shape, clean.dtype)
        return x[0], (clean + self.sigma_y * noise)[0]

    def log_likelihood(self, x: Array, y: Array) -> Array:
        """Return `log p(y | x)`, `[B]`, up to a constant, at points `x [B, 64]`."""
        return -0.5 * jnp.sum(((y - self.measure(x)) / self.sigma_y) ** 2, axis=1)

    def draw(self, key: Array, y: Array, n: int) -> Array:
        """Draw `n` points of the posterior given one measurement, `[n, 64]`, one after the other of one chain."""
        # columns of A cumsum: what a unit step at each place adds to the measurement
        walk = jnp.tril(jnp.ones((SIZE, SIZE)))
        matrix = self.operator.forward(walk.T).T
        return jnp.cumsum(draw_steps(self, key, matrix, y, n), axis=1)


def draw_steps(world: LevyWorld, key: Array, matrix: Array, y: Array, n: int) -> Array:
    """Draw steps `[n, D]` given `y = H u + sigma_y noise` by Gibbs sampling, of any matrix `H [M, D]`."""
    dim = matrix.shape[1]

    def sweep(state: tuple[Array, Array], key: Array) -> tuple[Array, Array]:
        u, variances = state
        own = jax.random.split(key, 3)
        if world.steps == "bernoulli_laplace":
            on, variances = _which(own[0], world, matrix, y, variances, u)
            u = _gaussian(own[1], matrix, y, world.sigma_y, jnp.where(on, variances, _LEAST)) * on
            return u, jnp.where(on, _laplace_variance(own[2], world.scale, u), variances)
        u = _gaussian(own[1], matrix, y, world.sigma_y, variances)
        if world.steps == "student":
            rate = 0.5 * (world.degrees + u**2)
            return u, rate / jax.random.gamma(own[2], 0.5 * (world.degrees + 1.0), (dim,))
        if world.steps == "laplace":
            return u, _laplace_variance(own[2], world.scale, u)
        return u, variances

    def some(state: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        state = jax.lax.fori_loop(0, world.thin, lambda i, s: sweep(s, jax.random.fold_in(key, i)), state)
        return state, state[0]

    first = jnp.full((dim,), _GAUSSIAN_VARIANCE if world.steps == "gaussian" else 1.0)
    state = (jnp.zeros((dim,)), first)
    begin, then = jax.random.split(key)
    state = jax.lax.fori_loop(0, world.burn_in, lambda i, s: sweep(s, jax.random.fold_in(begin, i)), state)
    return jax.lax.scan(some, state, jax.random.split(then, n))[1]


def _gaussian(key: Array, matrix: Array, y: Array, sigma: float | Array, variances: Array) -> Array:
    """Draw `u ~ N(0, diag(variances)) N(y; H u, sigma^2)` by a draw of both and its correction."""
    keys = jax.random.split(key)
    u = jnp.sqrt(variances) * jax.random.normal(keys[0], variances.shape)
    missed = y - matrix @ u - sigma * jax.random.normal(keys[1], y.shape)
    total = (matrix * variances) @ matrix.T + sigma**2 * jnp.eye(len(y))
    return u + variances * (matrix.T @ jax.scipy.linalg.solve(total, missed, assume_a="pos"))


def _laplace_variance(key: Array, scale: float | Array, u: Array) -> Array:
    """Draw the variances of Laplace steps: `1 / variance` is inverse Gaussian, of mean `1 / (scale |u|)`."""
    mean = 1.0 / (scale * jnp.sqrt(u**2 + _LEAST))
    keys = jax.random.split(key)
    # Michael, Schucany and Haas 1976, in a form that loses no digits
    a = 0.5 * mean * jax.random.normal(keys[0], u.shape) ** 2 * scale**2
    low = mean / (1.0 + a + jnp.sqrt(a**2 + 2.0 * a))
    precision = jnp.where(jax.random.uniform(keys[1], u.shape) <= mean / (mean + low), low, mean**2 / low)
    return 1.0 / precision


def _which(key: Array, world: LevyWorld, matrix: Array, y: Array, variances: Array, u: Array) -> tuple[Array, Array]:
    """Draw which steps are not zero, one after the other, with the steps themselves integrated out.

    The variances of steps that are zero are drawn from their prior, `Exp` of mean `2 scale^2`.
    """
    size = len(y)
    on = u != 0.0
    total = (matrix * jnp.where(on, variances, 0.0)) @ matrix.T + world.sigma_y**2 * jnp.eye(size)
    keys = jax.random.split(key, 2)
    prior = 2.0 * world.scale**2 * jax.random.exponential(keys[0], variances.shape)
    variances = jnp.where(on, variances, prior)
    chances = jax.random.logistic(keys[1], variances.shape)

    def one(state: tuple[Array, Array], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        inverse, weighted = state  # of the covariance of y, and that times y
        column, variance, was, chance = inputs
        along = inverse @ column
        power, match = column @ along, column @ weighted
        # without this step (Sherman and Morrison)
        kept = jnp.where(was, 1.0 / jnp.maximum(1.0 - variance * power, 1e-6), 1.0)
        power, match = power * kept, match * kept
        logit = jnp.log(world.share) - jnp.log1p(-world.share) - 0.5 * jnp.log1p(variance * power)
        logit = logit + 0.5 * variance * match**2 / (1.0 + variance * power)
        now = logit + chance > 0.0
        # along is that of the covariance with the old state; with the step gone it is `kept` times as long
        before, after = jnp.where(was, variance, 0.0), jnp.where(now, variance, 0.0)
        change = (after - before) / (1.0 + (after - before) * (column @ along))
        inverse = inverse - change * jnp.outer(along, along)
        weighted = weighted - change * along * (along @ y)
        return (inverse, weighted), now

    inverse = jnp.linalg.inv(total)
    _, on = jax.lax.scan(one, (inverse, inverse @ y), (matrix.T, variances, on, chances))
    return on, variances


def seen_by(operator: Seen) -> Operator:
    """Return one of four operators on random walks of 64 places.

    Args:
        operator: `identity`; `blur`, by a circular Gaussian kernel of 13 taps and standard deviation 2; `sampling`, 33
            of the places; `fourier`, the real Fourier transform at the lowest and some other frequencies.
    """
    places = np.array([bit == "1" for bit in PLACES])
    if operator == "identity":
        matrix = np.eye(SIZE)
    elif operator == "blur":
        taps = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
        matrix = sum(
            weight * np.roll(np.eye(SIZE), shift - 6, axis=1) for shift, weight in enumerate(taps / taps.sum())
        )
    elif operator == "sampling":
        matrix = np.eye(SIZE)[places]
    else:
        kept = np.concatenate([np.ones(5, bool), places[5:33]])
        rows = []
        for frequency in np.flatnonzero(kept):
            angle = 2.0 * np.pi * frequency * np.arange(SIZE) / SIZE
            both = [np.cos(angle), np.sin(angle)]
            rows += [row / np.linalg.norm(row) for row in both if np.linalg.norm(row) > 1e-6]
        matrix = np.stack(rows)
    return operators.dense(np.asarray(matrix), (SIZE,))


def covariance() -> np.ndarray:
    """Return the covariance of random walks of Gaussian steps, `[64, 64]`."""
    place = np.arange(1, SIZE + 1)
    return _GAUSSIAN_VARIANCE * np.minimum(place[:, None], place)


def noise_of(world: LevyWorld) -> float:
    """Return the noise that is 25 dB below the median of the mean squares of a thousand measurements."""
    clean = world.measure(world.sample(jax.random.key(0), 1000))
    return float(jnp.sqrt(jnp.median(jnp.mean(clean**2, axis=1)) / 10**2.5))
