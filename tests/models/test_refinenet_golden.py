"""NCSN and NCSNv2 compute what the public reference implementation computes, from its own state dicts."""

import functools
import json
import pathlib
import zlib

import jax
import numpy as np
import pytest

import scorejax as sj
from scorejax.models import NCSN, NCSNv2
from scorejax.pretrained import from_score_sde, module_from_score_sde_config, params_from_score_sde
from scorejax.pretrained.layout import StateDictError, tensors
from scorejax.pretrained.score_sde import entries

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# By name: largest error relative to the spread of the output; that of ncsnv2 is divided by sigma.
TOLERANCE = {"ncsn": 1e-4, "ncsnv2": 5e-4}


def rule(name, shape):
    """The weights that the golden numbers were computed with, from their names alone."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("embed.weight"):
        ones = np.repeat([1, 1, 0], shape[1] // 3).astype(np.float32)  # gamma, alpha, beta
        return ones + np.float32(0.1) * z
    if len(shape) >= 2:
        return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    around_one = name.endswith(("alpha", "gamma"))
    return np.float32(1) + np.float32(0.1) * z if around_one else np.float32(0.1) * z


@functools.cache
def load(name):
    """Configuration, state dict and numbers of one network; images have their channels last."""
    path = GOLDEN / f"score_sde_{name}_small"
    sidecar = json.loads(path.with_suffix(".json").read_text())
    numbers = {key: v.transpose(0, 2, 3, 1) if v.ndim == 4 else v for key, v in np.load(f"{path}.npz").items()}
    state = {key: rule(key, shape) for key, shape, how, _ in sidecar["params"] if how == "rule"}
    for key, _, how, first in sidecar["params"]:
        if how == "rule":
            np.testing.assert_allclose(state[key].ravel()[: len(first)], first, rtol=1e-6)
    if "sigmas" in numbers:
        state["sigmas"] = numbers["sigmas"]
    return sidecar["config"], state, numbers


@functools.cache
def network(name, channel_ddof):
    """The compiled network, which takes images and labels."""
    config, state, _ = load(name)
    module, params = from_score_sde(state, config)
    assert module.channel_ddof == 1
    apply = jax.jit(module.copy(channel_ddof=channel_ddof).apply)
    return lambda x, labels: apply({"params": params}, x, labels)


def error(name, ours, expected):
    return np.abs(ours - expected).max() / expected.std() / TOLERANCE[name]


@pytest.mark.parametrize("name", ["ncsn", "ncsnv2"])
@pytest.mark.parametrize(
    ("channel_ddof", "variant"), [(1, "out"), pytest.param(0, "out_ddof0", marks=pytest.mark.slow)]
)
def test_outputs_equal_those_of_the_reference_under_either_variance_over_channels(name, channel_ddof, variant):
    _, _, golden = load(name)
    with jax.default_matmul_precision("highest"):
        for i, label in enumerate(golden["labels"]):
            ours = network(name, channel_ddof)(golden["x"], np.full(2, label, np.float32))
            assert error(name, ours, golden[f"{variant}_l{i}"]) < 1
            assert error(name, ours, golden[f"{'out' if channel_ddof == 0 else 'out_ddof0'}_l{i}"]) > 10


@pytest.mark.parametrize("name", ["ncsn", "ncsnv2"])
def test_on_the_chain_of_its_noise_levels_it_is_the_score_of_the_reference(name):
    config, _, golden = load(name)
    levels = config["model"]["num_scales"]
    sde = sj.smld(config["model"]["sigma_min"], config["model"]["sigma_max"], levels)
    score = sj.make_score(sde, lambda _, x, label: network(name, 1)(x, label), None, "score", label=sde.label)
    # The reference spreads its levels over times from 0 to 1, here they start at 1 / levels.
    t = (golden["t"] * (levels - 1) + 1) / levels
    with jax.default_matmul_precision("highest"):
        assert error(name, score(golden["x"], t), golden["score_ve_discrete_mixed"]) < 1


# ---- state dicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stages"), [("ncsnv2_64", 4), ("ncsnv2_128", 5), ("ncsnv2_256", 6)])
def test_the_name_of_the_network_says_how_many_stages_it_has(name, stages):
    config, _, _ = load("ncsnv2")
    module = module_from_score_sde_config({**config, "model": {**config["model"], "name": name}})
    assert module == NCSNv2(
        features=16, stages=stages, noise_levels=(1.0, 0.01, 10), centered_input=False, channel_ddof=1
    )


@pytest.mark.parametrize(("kind", "stages"), [(NCSN, 4), (NCSN, 6), (NCSNv2, 5)])
def test_every_tensor_has_a_place_at_every_depth_and_comes_from_one_name(kind, stages):
    module = kind(features=4, stages=stages)
    tree = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 8, 8, 3)), np.ones(1))["params"]
    leaves = {"/".join(k.key for k in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    there = {path: name for name, path, _ in tensors(entries(module, 8)) if path in leaves}
    assert there.keys() == leaves.keys()
    assert len(set(there.values())) == len(leaves)


def test_the_coarsest_halved_stage_of_256_pixels_is_number_31():
    names = {path: name for name, path, _ in tensors(entries(NCSNv2(stages=6), 256))}
    assert names["stage_3_block_0/conv_1/kernel"] == "res31.0.conv2.conv.weight"
    assert names["stage_4_block_0/conv_1/kernel"] == "res4.0.conv2.weight"
    assert names["refine_2/fuse_1/kernel"] == "refine31.msf.convs.1.weight"
    assert names["refine_3/fuse_1/kernel"] == "refine3.msf.convs.1.weight"


def test_tensors_that_are_missing_left_over_or_of_another_shape_are_named():
    config, state, _ = load("ncsnv2")
    broken = dict(state, stranger=np.zeros(3), **{"end_conv.bias": np.zeros(4)})
    del broken["refine4.msf.convs.0.weight"]
    with pytest.raises(StateDictError, match=r"missing: refine4\.msf\.convs\.0\.weight") as caught:
        from_score_sde(broken, config)
    assert "left over: stranger of shape (3,)" in str(caught.value)
    assert "of another shape: end_conv.bias is (4,)" in str(caught.value)


def test_sigmas_other_than_those_of_the_configuration_are_refused():
    config, state, _ = load("ncsnv2")
    module = module_from_score_sde_config(config).copy(noise_levels=(50.0, 0.01, 10))
    with pytest.raises(StateDictError, match=r"10 noise levels from 1 to 0\.01"):
        params_from_score_sde(state, module, 16)


def test_settings_that_no_network_here_computes_are_named():
    config, _, _ = load("ncsn")
    with pytest.raises(ValueError, match=r"model\.normalization' = 'VarianceNorm'"):
        module_from_score_sde_config({**config, "model": {**config["model"], "normalization": "VarianceNorm"}})
