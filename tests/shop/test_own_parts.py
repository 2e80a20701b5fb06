"""A part of the user's own that is not what its place takes is refused in one line, before anything is computed."""

import jax.numpy as jnp
import numpy as np
import pytest

from scorejax.experiment import assemble, checks, config, rehearsal
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.evaluation import quality
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.state import checked
from scorejax.runtime.errors import ConfigError

SOURCE = '''
import jax.numpy as jnp

import scorejax as sj


def nothing():
    """Nothing."""


def fails(*, how: str = "raise"):
    raise RuntimeError("it broke")


class Plain:
    pass


class Pair:
    """A network that is two functions."""

    def __init__(self, example_shape, conditions, width):
        self.shape, self.conditions, self.width = example_shape, conditions, width

    def init(self, key, x, label, condition):
        return jnp.ones((*self.shape, self.width))

    def apply(self, params, x, label, condition, train, rngs):
        return x * params.mean(axis=-1)


class Mixing(Pair):
    def apply(self, params, x, label, condition, train, rngs):
        return x - x.mean(axis=0)


class Failing(Pair):
    def apply(self, params, x, label, condition, train, rngs):
        raise RuntimeError("it broke")


def pair(example_shape, conditions, *, kind: str = "Pair", width: int = 4):
    return globals()[kind](example_shape, conditions, width)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain_parts.py").write_text(SOURCE)
    (tmp_path / "broken_parts.py").write_text("import json\njson.nosuch\n")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampler.stepper=plain_parts:nothing", ["makes a NoneType", "stepper is a Stepper"]),
        ("sampler.stepper=plain_parts:fails", ["raised RuntimeError: it broke"]),
        ("sampler.corrector=plain_parts:Plain", ["makes a Plain", "Stepper"]),
        ("sde=plain_parts:Plain", ["makes a Plain", "is a SDE"]),
        ("sde=broken_parts:Plain", ["raised AttributeError", "nosuch"]),
        ("sde=plain_parts:Missing", ["has no 'Missing'"]),
        ("sde=./plain_parts:Plain", ["no name of a module"]),
        ("sampler.stepper=builtins:dict", ["no signature"]),
        ("recipe=plain_parts:Plain", ["is no scorejax.experiment.recipe.Recipe"]),
        ("head=plain_parts:Plain", ["choose one of variance_head"]),
        ("train.batch=0", ["'train.batch'", "at least 1"]),
    ],
)
def test_a_part_of_the_wrong_kind_is_refused(own, override, words):
    with pytest.raises(ConfigError) as error:
        checks.check(config.load("vp_moons:tiny", [override]))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_metric_of_the_wrong_kind_and_a_metric_named_twice_are_refused(own):
    for metrics, words in (("plain_parts:Plain", "a metric is a Metric"), ("kid:block=4,kid:block=8", "twice")):
        chosen = config.load("vp_moons:tiny", [f"eval.metrics={metrics}"])
        with pytest.raises(ConfigError, match=words):
            quality.judge(chosen, assemble.dataset(chosen))


def test_a_network_of_two_functions_is_given_the_shape_and_the_conditions_of_the_data(own):
    texts = ["model=plain_parts:pair:width=8", "recipe.conditional=true", "recipe.label_dropout=0.5"]
    recipe = make_recipe(config.load("vp_moons:tiny", texts))
    made = recipe.network.network
    assert (made.shape, made.conditions, made.width) == ((2,), {"label": 2}, 8)
    assert recipe.shapes()["network"].shape == (2, 8)
    networks.check_own(recipe.config, recipe.network, (2,))


@pytest.mark.parametrize(("kind", "words"), [("Mixing", "row 0 changed when row 1 did"), ("Failing", "it broke")])
def test_a_network_is_tried_before_it_is_trained(own, tmp_path, kind, words):
    chosen = config.load("vp_moons:tiny", [f"model=plain_parts:pair:kind={kind}"])
    with pytest.raises(ConfigError, match=f"model = 'plain_parts:pair'.*{words}"):
        rehearsal.rehearse(chosen, tmp_path / "run")


ONES = jnp.ones(3)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((ONES, None), "returns .losses"),
        ((jnp.ones(()), None, {}), "each of the 3 examples"),
        ((jnp.ones((3, 2)), None, {}), "each of the 3 examples"),
        ((jnp.ones(3, jnp.int32), None, {}), "int32"),
        ((ONES, {"w": ONES}, {}), "the carry of a recipe keeps"),
        ((ONES, None, {"loss": ONES}), "take text other than step, loss"),
        ((ONES, None, {"a": "b"}), "is a number"),
        ((ONES, None, {"a": jnp.ones((3, 3))}), "is a number"),
    ],
)
def test_a_loss_that_breaks_the_contract_is_refused(found, words):
    with pytest.raises(ConfigError, match=words):
        checked(found, None, 3)


def test_a_loss_that_keeps_the_contract_passes():
    found = (ONES, {"w": jnp.zeros(2)}, {"a": jnp.float32(1), "b": ONES})
    assert checked(found, {"w": np.zeros(2, np.float32)}, 3) is found
