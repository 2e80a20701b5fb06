"""The derivatives of Gaussian kernels that are written out, in a program as large and as optimized as in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from scorejax.objectives.linear_family import GaussianKernels

pytestmark = pytest.mark.optimized


@pytest.mark.slow
def test_they_are_those_of_automatic_differentiation_for_many_points_and_directions():
    """A compiler once made a wrong loop of them beyond some size."""
    rng = np.random.default_rng(0)
    x, centers = (jnp.asarray(rng.standard_normal((n, 30)), jnp.float32) for n in (120, 50))
    axes = jnp.broadcast_to(jnp.eye(30)[:, None], (30, 120, 30))
    embed = Partial(lambda x: 0.3 * x.reshape(-1, 3, 10))
    kernels = GaussianKernels(embed, embed(centers), jnp.array([0.2, 0.3, 0.5]), jnp.array([1.0, 3.0, 10.0]))
    first, second = jax.jit(kernels.curvatures)(x, axes)
    np.testing.assert_allclose(jax.jit(kernels.slopes)(x, axes), first, atol=1e-5)
    one = lambda x: kernels(x[None])[0]  # noqa: E731
    np.testing.assert_allclose(first, jnp.moveaxis(jax.jit(jax.vmap(jax.jacfwd(one)))(x), 2, 0), atol=1e-5)
    traces = jnp.trace(jax.jit(jax.vmap(jax.hessian(one)))(x), axis1=2, axis2=3)
    np.testing.assert_allclose(second, traces, atol=1e-4)
