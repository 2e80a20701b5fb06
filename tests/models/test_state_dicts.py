"""State dicts of the reference and parameter trees of ours name the same tensors, or the error says which not."""

import copy
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from reference_networks import sidecar, state_dict

from scorejax.models import DDPM, MLP, NCSNpp
from scorejax.models.pretrained import from_score_sde, module_from_score_sde_config
from scorejax.models.pretrained.layout import StateDictError, tensors
from scorejax.models.pretrained.score_sde import entries

CONFIG = sidecar("ddpm")["config"]
STATE = state_dict(sidecar("ddpm"))


def changed(config, **settings):
    config = copy.deepcopy(config)
    for section, values in settings.items():
        config[section].update(values)
    return config


def test_the_wrapper_of_data_parallel_training_and_the_kind_of_configuration_do_not_matter():
    wrapped = {f"module.{name}": value for name, value in STATE.items()}
    attributes = types.SimpleNamespace(
        **{key: types.SimpleNamespace(**value) for key, value in CONFIG.items() if isinstance(value, dict)}
    )
    (module, params), (again, same) = from_score_sde(STATE, CONFIG), from_score_sde(wrapped, attributes)
    assert module == again
    jax.tree.map(np.testing.assert_array_equal, params, same)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


def test_everything_that_does_not_fit_is_named_at_once():
    state = dict(STATE)
    del state["all_modules.5.NIN_0.W"]
    state["all_modules.2.weight"] = np.zeros((32, 1, 3, 3))
    state["all_modules.0.weight"] = np.zeros(7)
    state["all_modules.99.weight"] = np.zeros(3)
    with pytest.raises(StateDictError) as error:
        from_score_sde(state, CONFIG)
    message = str(error.value)
    assert "in 4 places" in message
    assert "missing: all_modules.5.NIN_0.W, for down_1_block_0/shortcut/kernel of shape (32, 64)" in message
    assert (
        "all_modules.2.weight is (32, 1, 3, 3), which is (3, 3, 1, 32) here; conv_in/kernel takes (3, 3, 3, 32)"
        in message
    )
    assert "all_modules.0.weight is (7,)" in message
    assert "left over: all_modules.99.weight of shape (3,)" in message


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"scale_by_sigma": False}, {"noise_levels": None}),
        ({"scale_by_sigma": True}, {"noise_levels": (50.0, 0.01, 1000)}),
        ({"conditional": False}, {"embedding": "none"}),
        (
            {"nonlinearity": "lrelu", "resamp_with_conv": False},
            {"nonlinearity": "leaky_relu", "resample_with_conv": False},
        ),
        ({}, {"attention_up": "level", "features": 32, "channel_multipliers": (1, 2), "attention_resolutions": (8,)}),
    ],
)
def test_settings_of_the_reference_are_fields_of_ours(settings, fields):
    module = module_from_score_sde_config(changed(CONFIG, model=settings))
    assert isinstance(module, DDPM)
    assert {name: getattr(module, name) for name in fields} == fields


def test_the_label_of_a_fourier_network_is_sigma_and_that_of_a_positional_one_an_index():
    config = sidecar("ncsnpp_ve")["config"]
    assert module_from_score_sde_config(config).noise_levels is None
    positional = module_from_score_sde_config(changed(config, model={"embedding_type": "positional"}))
    assert positional.noise_levels == (50.0, 0.01, 1000)


def test_noise_levels_that_differ_from_those_trained_with_are_refused():
    config = changed(CONFIG, model={"scale_by_sigma": True})
    from_score_sde(STATE, config)
    with pytest.raises(StateDictError, match=r"1000 noise levels from 50 to 0.01, but .*90.0, 0.01, 1000"):
        from_score_sde(STATE, changed(config, model={"sigma_max": 90.0}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "unet"}, "'model.name' = 'unet' of score_sde is none of those known here: ddpm, ncsnpp"),
        ({"normalization": "InstanceNorm"}, "'model.normalization' = 'InstanceNorm'"),
        ({"nonlinearity": "gelu"}, "'model.nonlinearity' = 'gelu' .*swish"),
    ],
)
def test_settings_that_no_network_computes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        module_from_score_sde_config(changed(CONFIG, model=settings))


def test_a_setting_that_lacks_is_named():
    config = copy.deepcopy(CONFIG)
    del config["model"]["ch_mult"]
    with pytest.raises(ValueError, match=r"lacks 'model\.ch_mult'"):
        module_from_score_sde_config(config)


def test_a_network_that_the_reference_has_not_is_refused():
    with pytest.raises(TypeError, match=r"no network like MLP; choose one of .*NCSNpp"):
        entries(MLP(), 16)


@pytest.mark.parametrize(
    ("block", "progressive", "progressive_input"),
    [
        ("biggan", "residual", "residual"),
        ("biggan", "none", "input_skip"),
        ("ddpm", "residual", "input_skip"),
        ("ddpm", "output_skip", "residual"),
    ],
)
def test_every_parameter_of_every_u_net_has_one_name(block, progressive, progressive_input):
    module = NCSNpp(
        features=4,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        attention_resolutions=(5,),
        block=block,
        progressive=progressive,
        progressive_input=progressive_input,
    )
    tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 9, 9, 3)), jnp.ones(1))["params"]
    named = [path for _, path, _ in tensors(entries(module, 9))]
    assert len(named) == len(set(named))
    assert set(flatten_dict(tree, sep="/")) <= set(named)
    # What is named beyond the tree are shortcuts of blocks that need none.
    assert {path.split("/")[1] for path in set(named) - set(flatten_dict(tree, sep="/"))} <= {"shortcut"}
