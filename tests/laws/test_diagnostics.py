"""Effective sample size and potential scale of chains whose correlations are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from scorejax import samplers

N, CHAINS = 2000, 16


def autoregressive(rho):
    """Chains `x <- rho x + sqrt(1 - rho^2) z` from their own law, `[n, C, len(rho)]`."""
    hat, rho = np.random.default_rng(0), np.asarray(rho)
    x = [hat.standard_normal((CHAINS, len(rho)))]
    for _ in range(N - 1):
        x.append(rho * x[-1] + np.sqrt(1 - rho**2) * hat.standard_normal(x[0].shape))
    return jnp.asarray(np.stack(x), jnp.float32)


def test_correlated_states_are_worth_fewer_draws_and_opposed_ones_more():
    """`C n (1 - rho) / (1 + rho)`."""
    rho = np.array([0.0, 0.5, 0.9, -0.5])
    states = autoregressive(rho)
    found = samplers.effective_sample_size(states)
    np.testing.assert_allclose(found, CHAINS * N * (1 - rho) / (1 + rho), rtol=0.25)
    np.testing.assert_allclose(samplers.potential_scale(states), 1.0, atol=0.01)


def test_chains_that_stay_in_modes_of_their_own_are_seen():
    states = autoregressive([0.5]) + jnp.where(jnp.arange(CHAINS) % 2, 3.0, -3.0)[:, None]
    assert float(samplers.effective_sample_size(states)[0]) < 2 * CHAINS
    assert float(samplers.potential_scale(states)[0]) > 2
    drifting = autoregressive([0.0]) + jnp.linspace(0, 8, N)[:, None, None]
    assert float(samplers.potential_scale(drifting)[0]) > 1.5
    with pytest.raises(ValueError, match="at least four"):
        samplers.effective_sample_size(states[:3])
