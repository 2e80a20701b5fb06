"""What every network of scores keeps to, at every number of sides that it says it takes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import op_by_op
import pytest

from scorejax.models import NETWORKS, OwnNetwork, check_outputs, no_condition

SHAPES = {1: (3,), 2: (4, 2), 3: (4, 4, 1), 4: (2, 4, 2, 1)}
FILLED = {"noise_levels": (10.0, 0.1, 4), "num_levels": 4, "label_range": (0.0, 3.0)}  # what the process fills in
QUICK = {"mlp", "table_mlp", "multiscale_conv", "dit"}
CASES = [(name, rank) for name, kind in NETWORKS.items() if kind.role == "scores" for rank in kind.ranks]
MARKED = [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow) for case in CASES]


def tiny(name, **more):
    kind = NETWORKS[name]
    fields = kind.__dataclass_fields__
    return kind(**{key: value for key, value in (FILLED | more).items() if key in fields}, **kind.tiny)


@functools.cache
def params_of(model, shape):
    """Made-up parameters of unit gain."""
    none = no_condition(model)
    more = () if none is None else (none,)
    tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.ones(1), *more)["params"]
    draw = np.random.default_rng(0)

    def leaf(of):
        scale = 1 / np.sqrt(np.prod(of.shape[:-1])) if len(of.shape) > 1 else 0.5
        return (scale * draw.standard_normal(of.shape)).astype(np.float32)

    return jax.tree.map(leaf, tree)


def run(model, params, x, labels):
    """One operation after the other: these are many programs of few operations, and each runs twice."""
    apply = jax.jit(lambda params, x, labels: model.apply({"params": params}, x, labels))
    return np.asarray(op_by_op.run(apply.trace(params, x, labels), params, x, labels))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), CASES)
def test_the_output_has_the_shape_of_the_examples_or_with_a_learned_range_twice_the_channels(name, rank):
    model, shape = tiny(name, learned_range=True), SHAPES[rank]
    channels = shape[-1] * (2 if getattr(model, "learned_range", False) else 1)
    out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((2, *shape)), jnp.ones(2))
    assert (out.shape, out.dtype) == ((2, *shape[:-1], channels), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), MARKED)
def test_each_row_is_mapped_by_itself_and_feels_its_own_noise_label(name, rank):
    model, shape = tiny(name), SHAPES[rank]
    draw = np.random.default_rng(1)
    x = draw.uniform(0.1, 0.9, (2, *shape)).astype(np.float32)
    params = params_of(model, shape)
    out = run(model, params, x, np.float32([1, 2]))
    other = run(model, params, np.stack([x[0], -x[1]]), np.float32([1, 3]))
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[0], other[0], rtol=1e-4, atol=1e-5)
    assert np.abs(out[1] - other[1]).max() > 1e-4


class Norm(nn.Module):
    """Of the batch, by hand: rows that know of each other."""

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        return nn.Dense(x.shape[-1])(x - x.mean(axis=0))


class Averages(nn.Module):
    """Kept from batch to batch."""

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        return nn.BatchNorm(use_running_average=True)(x)


class Widens(nn.Module):
    """To another number of channels."""

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        return nn.Dense(7)(x)


class Silent(nn.Module):
    """Zero at first, which says nothing of rows."""

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros)(x * x.sum())


class Pair:
    """A network that is two functions."""

    def init(self, key, x, label, condition):
        return {"w": jax.random.normal(key, (x.shape[-1] + 1, x.shape[-1]))}

    def apply(self, params, x, label, condition, train, rngs):
        return jnp.concatenate([x, jnp.log(label)[:, None]], axis=1) @ params["w"] + (condition is not None)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Norm(), "Norm mixes the rows .* row 0 changed when row 1 did"),
        (Silent(), "Silent mixes the rows"),
        (Averages(), "Averages keeps batch_stats"),
        (Widens(), r"Widens .* shape \(2, 3\), to float32 of shape \(2, 7\); .* \(2, 3\)"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused(network, words):
    with pytest.raises(ValueError, match=words):
        check_outputs(network, (3,))


def test_a_pair_of_functions_is_a_network():
    network, x = OwnNetwork(Pair()), np.ones((2, 3), np.float32)
    check_outputs(network, (3,))
    check_outputs(OwnNetwork(Pair(), num_classes=4), (3,))
    variables = network.init(jax.random.key(0), x, jnp.ones(2))
    weights = variables["params"]["network"]["w"]
    np.testing.assert_allclose(network.apply(variables, x, jnp.ones(2)), x @ weights[:3], rtol=1e-6)
