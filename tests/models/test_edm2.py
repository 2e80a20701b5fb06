"""EDM2: published counts, and layers that keep the variance of their inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from published import count

from scorejax.experiment.assemble.parameters import with_network
from scorejax.experiment.assemble.training import kept_by
from scorejax.models import EDM2, Observed
from scorejax.models.edm2_layers import MPConv, MPDense, MPFourier, mp_cat, mp_silu, mp_sum

COUNTS = {
    128: 124_713_253,
    192: 280_212_837,
    256: 497_807_781,
    320: 777_498_085,
    384: 1_119_283_749,
    448: 1_523_164_773,
}


@pytest.mark.slow
@pytest.mark.parametrize("features", COUNTS)
def test_the_published_number_of_parameters(features):
    of_uncertainty = 128  # a linear map of as many waves to the uncertainty of the loss, which training alone uses
    assert count(EDM2(features=features, num_classes=1000), (64, 64, 4)) + of_uncertainty == COUNTS[features]


def test_layers_keep_the_variance_of_their_inputs():
    shape = (64, 8, 8, 32)

    @jax.jit
    def variances(key):
        keys = jax.random.split(key, 8)
        a, b = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], shape)
        labels = jax.random.normal(keys[2], (4096,))
        run = lambda layer, key, x: layer.init_with_output(key, x)[0]  # noqa: E731
        inner = run(MPConv(48), keys[3], a)[:, 1:-1, 1:-1]  # zeros lie beyond the edges
        results = {
            "dense": run(MPDense(48), keys[4], a), "conv": inner, "sum": mp_sum(a, b), "cat": mp_cat(a, b[..., :8]),
            "unequal cat": mp_cat(a, b[..., :8], 0.3), "fourier": run(MPFourier(512), keys[5], labels),
        }  # fmt: skip
        return {name: jnp.mean(jnp.square(x)) for name, x in results.items()} | {"silu": jnp.mean(mp_silu(a) ** 2)}

    for name, value in variances(jax.random.key(1)).items():
        assert abs(value - 1) < 0.02, name
    assert mp_sum(jnp.ones(()), jnp.ones(())) ** 2 == pytest.approx(1.7241, abs=1e-4)


@pytest.mark.slow
def test_only_directions_of_weights_count_and_no_class_is_zeros():
    fields = {"features": 8, "channel_multipliers": (1, 2), "blocks_per_level": 1, "attention_levels": (1,)}
    model = EDM2(**fields, head_channels=8, num_classes=3)
    x, labels = jax.random.normal(jax.random.key(0), (2, 5, 8, 1)), jnp.asarray([-0.5, 0.4])
    shapes = jax.eval_shape(model.init, jax.random.key(0), x, labels, jnp.zeros(2, int))["params"]
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)

    @jax.jit
    def both(params):
        longer = jax.tree.map_with_path(lambda path, w: 3 * w if path[-1].key == "kernel" else w, params)
        run = lambda params, condition: model.apply({"params": params}, x, labels, jnp.asarray(condition))  # noqa: E731
        return run(params, [3, 3]), run(longer, [3, 3]), run(params, [1, 3])

    out, longer, one = both(params)
    assert out.shape == x.shape and np.abs(longer - out).max() < 0.02 * np.abs(out).max()
    assert np.abs(one[0] - out[0]).max() > 1e-3 and np.allclose(one[1], out[1], atol=1e-4)


def test_a_training_keeps_each_output_of_a_kernel_at_its_size():
    """Also where the network lies in another one, and next to parameters of the process."""
    inner = {"conv": {"kernel": jnp.full((3, 3, 2, 4), 5.0)}, "gain": jnp.float32(2.0)}
    wide = Observed(EDM2(**EDM2.tiny))
    for change, params in ((EDM2.project, inner), (wide.project, {"network": inner, "token": {"kernel": jnp.ones(2)}})):
        whole = {"network": params, "process": jnp.ones(3)}
        step = kept_by(lambda tree, change=change: with_network(tree, change))
        down = jax.tree.map(lambda leaf: jnp.linspace(0.1, 1.0, leaf.size).reshape(leaf.shape), whole)
        moved = optax.apply_updates(whole, step.update(down, step.init(whole), whole)[0])
        found = moved["network"].get("network", moved["network"])
        sizes = jnp.sqrt(jnp.mean(jnp.square(found["conv"]["kernel"]), axis=(0, 1, 2)))
        np.testing.assert_allclose(sizes, 1.0, rtol=1e-3)
        np.testing.assert_allclose(found["gain"], inner["gain"] + down["process"][0])
        np.testing.assert_allclose(moved["process"], whole["process"] + down["process"], rtol=1e-6)
        if "token" in params:
            np.testing.assert_allclose(moved["network"]["token"]["kernel"], jnp.array([1.1, 2.0]), rtol=1e-6)
