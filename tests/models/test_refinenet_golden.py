"""NCSN and NCSNv2 compute what the public reference implementation computes, from its own state dicts."""

import functools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from reference_networks import evaluate, reference, sidecar, state_dict

import scorejax as sj
from scorejax.models import NCSN, NCSNv2
from scorejax.models.pretrained import from_score_sde, module_from_score_sde_config, params_from_score_sde
from scorejax.models.pretrained.layout import StateDictError, tensors
from scorejax.models.pretrained.score_sde import entries

# Largest error relative to the spread of the output; that of ncsnv2 is divided by sigma.
TOLERANCE = {"ncsn": 1e-4, "ncsnv2": 5e-4}
CONFIG = sidecar("ncsnv2")["config"]


def error(ours, expected):
    return np.abs(ours - expected).max() / expected.std()


def changed(**settings):
    return {**CONFIG, "model": {**CONFIG["model"], **settings}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncsn", "ncsnv2"])
@pytest.mark.parametrize("channel_ddof", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_outputs_equal_those_of_the_reference_under_either_variance_over_channels(name, channel_ddof):
    r = reference(name)
    assert r.module.channel_ddof == 1
    apply = r.apply if channel_ddof else jax.jit(functools.partial(evaluate, r.module.copy(channel_ddof=0)))
    mine, other = ("out", "out_ddof0") if channel_ddof else ("out_ddof0", "out")
    for i, label in enumerate(r.golden["labels"]):
        ours = apply(r.params, r.golden["x"], np.full(2, label, np.float32))
        assert error(ours, r.golden[f"{mine}_l{i}"]) < TOLERANCE[name]
        assert error(ours, r.golden[f"{other}_l{i}"]) > 0.01


@pytest.mark.parametrize("name", ["ncsn", "ncsnv2"])
def test_on_the_chain_of_its_noise_levels_it_is_the_score_of_the_reference(name):
    r = reference(name)
    levels = CONFIG["model"]["num_scales"]
    sde = sj.smld(CONFIG["model"]["sigma_min"], CONFIG["model"]["sigma_max"], levels)
    score = sj.make_score(sde, r.apply, r.params, "score", label=sde.label)
    # The reference spreads its levels over times from 0 to 1, here they start at 1 / levels.
    t = (r.golden["t"] * (levels - 1) + 1) / levels
    assert error(score(r.golden["x"], t), r.golden["score_ve_discrete_mixed"]) < TOLERANCE[name]


# ---- state dicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stages"), [("ncsnv2_64", 4), ("ncsnv2_128", 5), ("ncsnv2_256", 6)])
def test_the_name_of_the_network_says_how_many_stages_it_has(name, stages):
    assert module_from_score_sde_config(changed(name=name)) == NCSNv2(
        features=16, stages=stages, noise_levels=(1.0, 0.01, 10), centered_input=False, channel_ddof=1
    )


@pytest.mark.parametrize(("kind", "stages"), [(NCSN, 4), (NCSN, 6), (NCSNv2, 5)])
def test_every_tensor_has_a_place_at_every_depth_and_comes_from_one_name(kind, stages):
    module = kind(features=4, stages=stages)
    tree = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 8, 8, 3)), np.ones(1))["params"]
    leaves = flatten_dict(tree, sep="/")
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
    broken = state_dict(sidecar("ncsnv2")) | {"stranger": np.zeros(3), "end_conv.bias": np.zeros(4)}
    del broken["refine4.msf.convs.0.weight"]
    with pytest.raises(StateDictError, match=r"missing: refine4\.msf\.convs\.0\.weight") as caught:
        from_score_sde(broken, CONFIG)
    assert "left over: stranger of shape (3,)" in str(caught.value)
    assert "of another shape: end_conv.bias is (4,)" in str(caught.value)


def test_sigmas_other_than_those_of_the_configuration_are_refused():
    module = module_from_score_sde_config(changed(sigma_max=50.0))
    with pytest.raises(StateDictError, match=r"10 noise levels from 1 to 0\.01"):
        params_from_score_sde(state_dict(sidecar("ncsnv2")), module, 16)


def test_settings_that_no_network_here_computes_are_named():
    with pytest.raises(ValueError, match=r"model\.normalization' = 'VarianceNorm'"):
        module_from_score_sde_config(changed(normalization="VarianceNorm"))
