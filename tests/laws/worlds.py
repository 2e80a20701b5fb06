"""The processes and data laws that the law tests share, and a process with its own coefficients for every mode."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import scorejax as sj

CONTINUOUS = {
    "vp": sj.vp(),
    "subvp": sj.subvp(),
    "ve": sj.ve(),
    "edm": sj.edm(),
    "cosine": sj.cosine(),
    "flow": sj.flow(),
}
CHAINS = {"ddpm": sj.ddpm(), "ddpm_cosine": sj.ddpm("cosine", 200), "smld": sj.smld(n=200)}
PROCESSES = CONTINUOUS | CHAINS
# one signal-to-noise ratio for every mode; of two numbers
MODAL = {
    "blur": sj.blur(shape=(2,), growth="log", most=0.6, n=200),
    "blurring": sj.blurring(shape=(2,), most=1.0),
    "ihdm": sj.ihdm(shape=(2,), blur_min=0.1, blur_max=1.5, std=0.3, n=50),
    "colored": sj.colored(sj.vp(), sj.bases.field((2,))),
}

CORRELATED = sj.analytic.gaussian([0.3, -0.2], [[0.5, 0.2], [0.2, 0.3]])
TWO_MODES = sj.analytic.mixture(
    [0.3, 0.7],
    [[-1.2, 0.6], [0.9, -0.5]],
    covariances=[[[0.10, 0.05], [0.05, 0.08]], [[0.09, -0.03], [-0.03, 0.12]]],
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class PerMode(sj.LinearSDE):
    """Variance preserving with its own rate for every mode: `alpha_k = e^{-r_k t / 2}`, `sigma_k^2 = 1 - alpha_k^2`."""

    rates: np.ndarray | jax.Array

    def log_alpha(self, t):
        return -0.5 * t[..., None] * self.rates

    def variance(self, t):
        return -jnp.expm1(-t[..., None] * self.rates)

    def inverse_log_snr(self, log_snr):
        return sj.sdes.inverse_mean_log_snr(self, log_snr)


def rotation(dim, seed=0):
    """A random orthogonal matrix in float64."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]


def interior(sde, n=7):
    """Times strictly inside the process's range, spread over its log signal-to-noise ratio."""
    return sj.times.log_snr(sde, n + 1)[1:-1][::-1]


def at_end(law, sde, key, n):
    """Draw `n` points from the exact law at `sde.t_max`."""
    x0 = law.sample(jax.random.fold_in(key, 0), n)
    return sde.perturb(x0, sde.t_max, jax.random.normal(jax.random.fold_in(key, 1), x0.shape))
