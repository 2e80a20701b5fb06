"""Every setting has a range or a list of choices, and what lies outside is refused through every door."""

import copy
import json
import math
import pickle
import typing

import jax.numpy as jnp
import numpy as np
import pytest
from every_setting import EVERY, Found, bare

from scorejax.experiment import config as configs
from scorejax.experiment.config import values
from scorejax.experiment.config.names import RENAMED
from scorejax.experiment.config.settings import REQUIRED, Setting
from scorejax.models.layers import NONLINEARITIES, Nonlinearity
from scorejax.numerics import ranges
from scorejax.runtime.errors import ConfigError

# Why a text has no list of choices.
FREE_TEXT = {
    "name": "the user's own word",
    "dataset": "there are thousands",
    **dict.fromkeys(("split", "reference_split", "target"), "the data know"),
    **dict.fromkeys(
        ("path", "data_dir", "weights", "workdir", "stats", "gamma", "input", "init_from", "others"), "a file"
    ),
    "classifier": "a folder",
    "axes": "letters in any order, which the source checks",
    **dict.fromkeys(("groups", "columns", "labels", "condition", "drop", "feature"), "the data know"),
    "sections": "counts, which the grid holds against its steps",
    "samplers": "parts with keys of section sampler, which the sweep reads",
}
NUMBERS = [found for found in EVERY if {int, float} & set(found.kind.types)]


def test_every_setting_has_a_range_or_choices_or_a_reason_to_have_none():
    free = {str(found): set(bare(found.kind)) for found in EVERY}
    for found in EVERY:
        if found.key.rpartition(".")[2] in FREE_TEXT:
            free[str(found)].discard(str)
    assert not {key: kinds for key, kinds in free.items() if kinds}


def test_every_default_is_a_value_that_the_setting_takes():
    for found in EVERY:
        default = found.setting.default
        if default is not REQUIRED and default != "":  # which says: nothing is set
            values.check(str(found), default, found.kind)


def doors(found: Found, value: float):
    """The ways that lead to a setting: an override, an assignment, a stored config."""
    yield lambda config: configs.override(config, [f"{found.key}={value}"])
    if "=" in found.key:
        return
    path, _, key = found.key.rpartition(".")

    def section(config):
        for name in filter(None, path.split(".")):
            config = config[name]
        return config

    def stored(config):
        read = json.loads(json.dumps(configs.to_dict(config)))
        below = read
        for name in filter(None, path.split(".")):
            below = below[name]
        below[key] = value
        return configs.from_dict(read)

    yield lambda config: section(config).__setitem__(key, value)
    if math.isnan(value):  # which JSON files of other programs hold too; reading one takes long
        yield stored


def beyond(found: Found) -> list[float]:
    """NaN lies in no range, infinity only where the range ends in it, and a whole number has no fraction."""
    senseless = [math.nan] + [end for end in (math.inf, -math.inf) if not ranges.holds(found.kind.limits, end)]
    if not {float, tuple} & set(found.kind.types):
        senseless += [1.5, 10**30]
    past = {ranges.Gt: ("gt", 0), ranges.Ge: ("ge", -1), ranges.Lt: ("lt", 0), ranges.Le: ("le", 1)}
    ends = [(getattr(limit, past[type(limit)][0]), limit) for limit in found.kind.limits if type(limit) in past]
    return senseless + [end + past[type(limit)][1] for end, limit in ends if math.isfinite(end)]


@pytest.mark.slow
def test_no_door_lets_in_what_is_no_number_of_the_range():
    for found in NUMBERS:
        config = configs.override(configs.base(), found.given)
        before = configs.to_dict(config)
        for value in beyond(found):
            for door in doors(found, value):
                with pytest.raises(ConfigError) as refused:
                    door(config)
                assert all(word in str(refused.value) for word in found.key.replace("=", ":").split(":")), found
        assert configs.to_dict(config) == before


def test_every_choice_is_taken_and_another_word_is_answered_with_the_list():
    for found in [found for found in EVERY if found.kind.choices]:
        for choice in found.kind.choices:
            assert values.convert(str(found), str(choice), found.kind) == choice
        config = configs.override(configs.base(), found.given)
        with pytest.raises(ConfigError, match=", ".join(map(str, found.kind.choices))):
            configs.override(config, [f"{found.key}=no such word"])


def test_lists_of_choices_are_those_of_the_tables():
    assert typing.get_args(Nonlinearity) == tuple(NONLINEARITIES)


# ---- Values of other libraries and other types -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("lr", np.float32(0.5), 0.5),
        ("lr", np.int64(2), 2.0),
        ("lr", jnp.float32(0.5), 0.5),
        ("warmup", np.int64(3), 3),
        ("warmup", 3.0, 3),
        ("warmup", np.uint8(3), 3),
    ],
)
def test_numbers_of_numpy_and_jax_are_numbers(key, value, kept):
    config = configs.base()
    config.optim[key] = value
    assert config.optim[key] == kept and type(config.optim[key]) is type(kept)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.warmup", True),
        ("optim.warmup", 1.5),
        ("optim.warmup", "3"),
        ("optim.warmup", None),
        ("optim.lr", False),
        ("optim.lr", [1e-3]),
        ("optim.lr", 1j),
        ("optim.lr", 10**400),
        ("optim", 3),
        ("ema.warmup", 1),
        ("eval.metrics", ()),
        ("eval.metrics", (1,)),
        ("eval.metrics", "frechet"),
        ("sweep.steps", (1.5,)),
        ("sweep.steps", np.zeros(2)),
        ("eval.stats", ""),
        ("sde", 3),
        ("sde", {"name": 3}),
    ],
)
def test_a_value_of_another_type_is_refused(key, value):
    config = configs.base()
    before = configs.to_dict(config)
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        config.update({key.partition(".")[0]: {key.partition(".")[2]: value} if "." in key else value})
    assert configs.to_dict(config) == before


# ---- Whole or not at all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.sde.update({"beta_max": 10.0, "t_min": "x"}),
        lambda c: c.update({"seed": 3, "sde": {"name": "ve", "nosuch": 1}}),
        lambda c: c.optim.update({"lr": 1.0, "warmup": -1}),
        lambda c: setattr(c, "sde", "ve:sigma_min=1:nosuch=2"),
        lambda c: setattr(c, "guidance", "restore:method=dps:operator=nosuch"),
        lambda c: c.set_text("sampler.stepper", "dpm_solver:order=2:kind=x:nosuch=1"),
        lambda c: c.set_text("sde.name", "nosuch"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(change):
    config = configs.override(configs.base(), ["sde=vp:beta_max=15", "guidance=restore:operator=blur"])
    before, node = configs.to_dict(config), config.sde
    with pytest.raises(ConfigError):
        change(config)
    assert configs.to_dict(config) == before
    assert config.sde is node and config.sde.make().beta_max == 15.0


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_and_pickles_are_configs_with_the_same_settings(again):
    config = configs.override(configs.base(), ["sde=vp:beta_max=15", "guidance=restore", "guidance.operator=blur:2"])
    assert configs.to_dict(again(config)) == configs.to_dict(config)
    assert again(config.optim).lr == config.optim.lr
    other = again(config.guidance)
    assert other.operator.std == 2.0
    if again is not copy.copy:
        other.operator.std = 3.0
        assert config.guidance.operator.std == 2.0


# ---- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("optimizer.lr=1", "'optim.lr'"),
        ("lr=1", "'optim.lr'"),
        ("optim.learning_rate=1", "'lr'"),
        ("optim.warm_up=1", "'warmup'"),
        ("sampler.step=1", "'steps'"),
        ("sde=vpp", "'vp'"),
        ("sde.beta_mxa=1", "'beta_max'"),
        ("sampler.stepper=dpm_sover", "'dpm_solver'"),
        ("eval.metrics=frechett", "'frechet'"),
        ("recipe=scores", "'score'"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(override, near):
    with pytest.raises(ConfigError) as refused:
        configs.override(configs.base(), [override])
    assert f"did you mean {near}" in str(refused.value)


@pytest.mark.parametrize("old", [key for key in RENAMED if key.partition(".")[0] != "dequantizer"])
def test_a_stored_config_of_an_earlier_version_names_the_new_key(old):
    section, key = old.split(".")
    with pytest.raises(ConfigError, match=f"'{old}' is now called '{RENAMED[old]}'"):
        configs.from_dict({section: {key: 1}})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sde=vp:", ["'sde'", "empty setting"]),
        ("sde=vp:beta_max=", ["'sde'", "empty setting"]),
        ("sde=vp:beta_max=1:beta_max=2", ["'sde'", "twice"]),
        ("sde=", ["'sde'", "choose one of vp"]),
        ("=3", ["''"]),
        ("optim.=3", ["'optim'"]),
        ("optim.lr.x=3", ["'optim.lr.x'", "nothing below"]),
    ],
)
def test_a_setting_that_says_nothing_is_refused(override, words):
    with pytest.raises(ConfigError) as refused:
        configs.override(configs.base(), [override])
    assert all(word in str(refused.value) for word in words), refused.value


# ---- Help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optim=help"], ["lr=0.0002", "more than 0", "learning rate", "one of none, cosine"]),
        (["optim.lr=0.5", "optim.lr=help"], ["lr=0.5", "more than 0", "learning rate"]),
        (["sampler=help"], ["steps=1000", "takes a stepper; stepper=help lists them"]),
        (["sampler.stepper=dpm_solver", "sampler.stepper.order=help"], ["order=2", "2 or 3"]),
        (["sde=help"], ["vp", "beta_max=20.0", "package.module:NAME"]),
        (["name=help"], ["name=run", "text"]),
    ],
)
def test_help_of_a_section_or_a_setting_shows_values_ranges_and_explanations(overrides, words):
    with pytest.raises(configs.Help) as shown:
        configs.override(configs.base(), overrides)
    assert all(word in str(shown.value) for word in words), shown.value


def test_every_setting_of_a_section_is_explained():
    assert not [found.key for found in EVERY if not found.given and "=" not in found.key and not found.setting.about]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, 10**400])
def test_a_number_without_a_range_is_finite(value):
    with pytest.raises(ConfigError, match="takes a number"):
        values.check("key", value, values.Kind((float,)))


def test_a_plain_value_declares_a_setting_of_its_type():
    assert Setting(int, 3).kind == values.Kind((int,))
