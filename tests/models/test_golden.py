"""DDPM++ computes what the public reference implementation computes: outputs, loss and gradients."""

import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from scorejax.models import DDPMpp

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "score_sde_ncsnpp_vp_small"

# The parts of each kind of module: (name there, name here).
PARTS = {
    "plain": [("", "")],
    "res": [
        ("GroupNorm_0.", "norm_0"),
        ("Conv_0.", "conv_0"),
        ("Dense_0.", "embedding"),
        ("GroupNorm_1.", "norm_1"),
        ("Conv_1.", "conv_1"),
        ("Conv_2.", "shortcut"),
    ],
    "attention": [
        ("GroupNorm_0.", "norm"),
        ("NIN_0.", "query"),
        ("NIN_1.", "key"),
        ("NIN_2.", "value"),
        ("NIN_3.", "out"),
    ],
}


def module_order(model: DDPMpp, image_size: int) -> Iterator[tuple[str, str]]:
    """Our names and kinds of the entries of the reference's `all_modules`, in its order."""
    levels = range(len(model.channel_multipliers))
    attention = [image_size // 2**i in model.attention_resolutions for i in levels]
    if model.embedding == "fourier":
        yield "embedding/fourier", "plain"
    yield from (("embedding/dense_0", "plain"), ("embedding/dense_1", "plain"), ("conv_in", "plain"))
    for i in levels:
        for j in range(model.blocks_per_level):
            yield f"down_{i}_block_{j}", "res"
            if attention[i]:
                yield f"down_{i}_attention_{j}", "attention"
        if i != levels[-1]:
            yield f"down_{i}_resample", "res"
    yield from (("mid_block_0", "res"), ("mid_attention", "attention"), ("mid_block_1", "res"))
    for i in reversed(levels):
        yield from ((f"up_{i}_block_{j}", "res") for j in range(model.blocks_per_level + 1))
        if attention[i]:
            yield f"up_{i}_attention", "attention"
        if i:
            yield f"up_{i}_resample", "res"
    yield from (("norm_out", "plain"), ("conv_out", "plain"))


def from_torch(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Our leaf name and layout of a tensor of the reference, from the last part of its name and its rank."""
    last = name.rsplit(".", 1)[-1]
    if last == "W":
        return ("kernel", value) if value.ndim == 2 else ("W", value)
    if last in ("b", "bias"):
        return "bias", value
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
        return "kernel", value[0, 0] if value.shape[:2] == (1, 1) else value
    return ("kernel", value.T) if value.ndim == 2 else ("scale", value)


def convert(state: Mapping[str, np.ndarray], model: DDPMpp, image_size: int) -> dict[str, Any]:
    """A parameter tree of ours from a state dict of the reference.

    Raises:
        KeyError: if tensors are left over.
    """
    params, rest = {}, {name for name in state if name != "sigmas"}
    for i, (ours, kind) in enumerate(module_order(model, image_size)):
        for theirs, part in PARTS[kind]:
            prefix = f"all_modules.{i}.{theirs}"
            for name in [name for name in rest if name.startswith(prefix)]:
                leaf, value = from_torch(name, state[name])
                params["/".join(filter(None, (ours, part, leaf)))] = value
                rest.remove(name)
    if rest:
        raise KeyError(f"tensors without a place in this network: {sorted(rest)}")
    return unflatten_dict(params, sep="/")


def rule(name: str, shape: list[int]) -> np.ndarray:
    """The weights that the golden numbers were computed with, from their names alone."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.rsplit(".", 1)[-1]
    if last == "W" and len(shape) == 2:
        return (z / np.sqrt(shape[0])).astype(np.float32)
    if len(shape) >= 2:
        return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return np.float32(1) + np.float32(0.1) * z if last == "weight" else np.float32(0.1) * z


@pytest.fixture(scope="module")
def sidecar():
    return json.loads(GOLDEN.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN.with_suffix(".npz")))


@pytest.fixture(scope="module")
def model(sidecar):
    reference = sidecar["config"]["model"]
    return DDPMpp(
        features=reference["nf"],
        channel_multipliers=tuple(reference["ch_mult"]),
        blocks_per_level=reference["num_res_blocks"],
        attention_resolutions=tuple(reference["attn_resolutions"]),
    )


@pytest.fixture(scope="module")
def params(sidecar, model):
    state = {name: rule(name, shape) for name, shape, how, _ in sidecar["params"] if how == "rule"}
    for name, _, how, first in sidecar["params"]:
        if how == "rule":
            np.testing.assert_allclose(state[name].ravel()[: len(first)], first, rtol=1e-6)
    return convert(state, model, sidecar["config"]["data"]["image_size"])


@pytest.fixture(scope="module")
def network(model):
    return jax.jit(lambda params, x, labels: model.apply({"params": params}, x, labels))


@pytest.fixture(scope="module")
def gradients(model, params, golden):
    """Gradients of mean((z - network(x_t))^2), the reference's VP loss, by reference names."""
    t, z = golden["loss_t"], golden["loss_z"]
    log_alpha = (-0.25 * t**2 * (20 - 0.1) - 0.5 * t * 0.1)[:, None, None, None]
    x = np.exp(log_alpha) * golden["loss_batch"] + np.sqrt(1 - np.exp(2 * log_alpha)) * z
    x, z = (np.asarray(v, np.float32).transpose(0, 2, 3, 1) for v in (x, z))

    def loss(params):
        return jnp.mean((z - model.apply({"params": params}, x, 999 * t)) ** 2)

    with jax.default_matmul_precision("highest"):
        return jax.jit(jax.value_and_grad(loss))(params)


def test_the_converted_tree_is_the_tree_of_the_network(model, params):
    ours = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.ones(1))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, ours)


@pytest.mark.parametrize("case", ["t0", "t1", "mixed"])
def test_outputs_equal_those_of_the_reference(network, params, golden, case):
    labels = golden["labels"] if case == "mixed" else np.full(2, 999 * golden["t"][int(case[1])], np.float32)
    expected = golden["out_mixed_labels" if case == "mixed" else f"out_{case}"].transpose(0, 2, 3, 1)
    with jax.default_matmul_precision("highest"):
        ours = network(params, golden["x"].transpose(0, 2, 3, 1), labels)
    assert np.abs(ours - expected).max() < 1e-4 * expected.std()


@pytest.mark.slow
def test_the_loss_and_its_gradients_equal_those_of_the_reference(gradients, golden):
    value, grads = gradients
    np.testing.assert_allclose(value, golden["grad_loss_vp_lw0_rm1"], rtol=1e-5)
    stored = {name[6:]: value for name, value in golden.items() if name.startswith("grad__")}
    flat = flatten_dict(grads, sep="/")
    for name, ours in (
        ("all_modules.2.weight", "conv_in"),
        ("all_modules.3.Conv_0.weight", "down_0_block_0/conv_0"),
    ):
        expected = stored.pop(name).transpose(2, 3, 1, 0)
        assert np.abs(flat[f"{ours}/kernel"] - expected).max() < 1e-4 * expected.std()
    assert not stored


@pytest.mark.slow
def test_the_size_of_every_gradient_equals_that_of_the_reference(gradients, sidecar, model):
    # The tree of "gradients" in which each leaf is its norm, laid out by the same conversion as the weights.
    norms = sidecar["grad_l2_norms"]
    shapes = {name: shape for name, shape, how, _ in sidecar["params"] if how == "rule"}
    expected = convert({n: np.full(shapes[n], norms[n]) for n in norms}, model, 16)
    ours = flatten_dict(gradients[1], sep="/")
    expected = flatten_dict(expected, sep="/")
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        # The bias of an attention key shifts all logits of a query alike: its gradient is rounding noise.
        tolerance = {"atol": 1e-6} if name.endswith("key/bias") else {"rtol": 1e-4}
        np.testing.assert_allclose(np.linalg.norm(gradient), expected[name].flat[0], err_msg=name, **tolerance)
