"""What the tests of solvers share: laws whose flow is known, and runs step by step.

One compiled step serves every grid, whatever its length.
"""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

import scorejax as sj

GOLDEN = Path(__file__).parents[1] / "golden"
# the mixture of the golden files
PLANE = sj.analytic.mixture(
    [0.5, 0.3, 0.2],
    [[2.0, 0.0], [-1.0, 1.5], [-0.5, -2.0]],
    covariances=[[[0.2, 0.05], [0.05, 0.1]], [[0.08, -0.03], [-0.03, 0.15]], [[0.3, 0.1], [0.1, 0.25]]],
)
# a mixture on the line: its flow keeps the distribution function of every point
WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([-0.6, 0.4]), np.array([0.3, 0.4])
LINE = sj.analytic.mixture(WEIGHTS, MEANS[:, None], STDS)


def transported(sde, x, t, s):
    """Where the probability flow of `LINE` takes the points `x [B, 1]` from time `t` to `s`, by bisection."""

    alpha, variance = (np.asarray(f(jnp.array([t, s]))) for f in (sde.alpha, sde.variance))

    def distribution(y, i):
        return norm.cdf((y[:, None] - alpha[i] * MEANS) / np.sqrt(alpha[i] ** 2 * STDS**2 + variance[i])) @ WEIGHTS

    level = distribution(np.asarray(x)[:, 0], 0)
    low, high = np.full(len(x), -1e3), np.full(len(x), 1e3)
    for _ in range(90):
        middle = 0.5 * (low + high)
        below = distribution(middle, 1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return middle[:, None]


def quantiles(sde, t, n=16):
    """Points `[n, 1]` spread over `LINE` diffused to the time `t`."""
    spread = np.sqrt(float(sde.alpha(t)) ** 2 * float(LINE.covariance()[0, 0]) + float(sde.variance(jnp.asarray(t))))
    mean = float(sde.alpha(t)) * float(LINE.mean()[0])
    return jnp.asarray(mean + spread * norm.ppf((np.arange(n) + 0.5) / n)[:, None])


def error(stepper, sde, times):
    """The root mean square error of a run on `LINE`."""
    x = quantiles(sde, times[0])
    end = transported(sde, x, float(times[0]), float(times[-1]))
    return float(np.sqrt(np.mean((run(stepper, sde, LINE.score(sde), x, times) - end) ** 2)))


def order(stepper, sde, grid, n=84):
    """The slope of the error between `n` and `2 n` steps on the grids `grid(n)`."""
    return float(np.log2(error(stepper, sde, grid(n)) / error(stepper, sde, grid(2 * n))))


def run(stepper, sde, score, x, times, noise=None, *, compiled=True):
    """Step `x` down a grid; `noise [n, B, ...]` takes the place of the keys (`keys.normal` must then return it)."""
    step = _compiled if compiled else _step
    times = np.asarray(times)
    stepper = stepper.prepare(sde, times)
    memory = stepper.init(sde, x, times)
    for i, (t, s) in enumerate(itertools.pairwise(jnp.asarray(t) for t in times)):
        keys = None if noise is None else noise[i]
        x, memory = step(stepper, sde, score, keys, x, t, s, memory)
    return x


def _step(stepper, sde, score, keys, x, t, s, memory):
    done = stepper.step(keys, sde, lambda x, t: score(x, jnp.broadcast_to(t, x.shape[:1])), x, t, s, memory)
    return done.x, done.memory


_compiled = jax.jit(_step)


def moments(stepper, sde, score, times, mean, covariance, *, compiled=False):
    """Mean and covariance where a run ends that starts from `N(mean, covariance)`, for a score that is affine in `x`.

    The whole run is then an affine map of its start and its noises, and nothing is left to chance: row 0 starts at zero
    without noise, one row at each unit vector, and every other has one unit of noise once. `keys.normal` must return
    the keys; to compile a step, the score must be a pytree.
    """
    n, dim = len(times) - 1, len(mean)
    size = 1 + dim + dim * n
    x = jnp.zeros((size, dim)).at[np.arange(1, dim + 1), np.arange(dim)].set(1.0)
    noise = np.zeros((n, size, dim))
    noise[np.repeat(np.arange(n), dim), np.arange(1 + dim, size), np.tile(np.arange(dim), n)] = 1.0
    found = np.asarray(run(stepper, sde, score, x, times, noise=noise, compiled=compiled))
    gain, noises = found[1 : 1 + dim] - found[0], found[1 + dim :] - found[0]
    return found[0] + mean @ gain, gain.T @ covariance @ gain + noises.T @ noises
