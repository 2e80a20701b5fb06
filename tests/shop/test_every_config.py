"""Every config, in every variant that its docstring names, builds its objects and takes an optimizer step."""

import functools
import itertools
import json
import re
import runpy
from pathlib import Path

import cheap_keys
import jax
import jax.numpy as jnp
import numpy as np
import op_by_op
import pytest

from scorejax import data
from scorejax.experiment import assemble, checks
from scorejax.experiment import config as configs
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.train import init_state, make_update
from scorejax.runtime import parallel

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
BUILT_IN = ("digits", "moons", "gaussian", "random_field", "eeg", "elevation", "diabetes")
SIDES = {"mnist": (28, 1), "cifar10": (32, 3)}


def described_variants(path: Path) -> list[str]:
    """`:variant` or `:several,variants` at the beginnings of lines of the docstring; each alone works too."""
    docstring = path.read_text().split('"""')[1]
    return ["", *dict.fromkeys(re.findall(r"^ +:([\w,]+)", docstring, re.MULTILINE))]


RUNS = [(path, variant) for path in CONFIGS for variant in described_variants(path)]
PARAMETERS = {
    "vp_cifar10.py": 61_804_419,
    "vp_cifar10.py:deep": 106_632_579,
    "vp_cifar10.py:ddpm": 35_218_947,
    "vp_cifar10.py:ncsnpp": 62_693_251,
    "ve_cifar10.py": 62_758_915,
    "ve_cifar10.py:deep": 107_587_075,
    "ve_cifar10.py:discrete": 62_693_251,
    "ve_images.py:church": 65_574_549,
    "ve_images.py:ffhq_1024": 105_785_896,
    "ncsn.py": 30_117_635,
    "ncsnv2.py": 29_694_083,
    "ncsnv2.py:bedroom": 83_445_379,
    "ncsnv2.py:ffhq": 94_132_611,
    "classifier.py:cifar10_ve": 39_171_802,
    "nice.py:full": 15_154_352,
}


def read(path: Path, *variants: str) -> configs.Config:
    return configs.load(f"{path}:{','.join(filter(None, variants))}")


def data_of(config, side: int | None = None) -> data.Dataset:
    """Data of the right shape, or of `side` pixels, without the files that real sets need."""
    if config.data.name in BUILT_IN:
        return assemble.dataset(config)
    full, channels = SIDES.get(config.data.name, (config.data.size, 3))
    side = side or full
    examples = np.zeros((config.train.batch, side, side, channels), np.uint8)
    classes = len(config.data.classes or range(10))
    labels = np.zeros(len(examples), np.int32)
    return data.Dataset(config.data.name, examples, labels, gray_levels=256, num_classes=classes)


def run_id(run) -> str:
    return f"{run[0].name}:{run[1]}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_variant_is_described_where_its_config_is_read(path):
    docstring = path.read_text().split('"""')[1]
    known = runpy.run_path(str(path)).get("VARIANTS", {})  # what `:unknown` lists, without provoking it
    named = set(itertools.chain(*(variant.split(",") for variant in described_variants(path)))) - {""}
    assert named <= set(known)
    assert named == set(known) or "whose variants work here too" in docstring


SHAPES = {}  # of weights, by what the network is made of


@pytest.mark.parametrize("run", [r if not r[1] else pytest.param(r, marks=pytest.mark.slow) for r in RUNS], ids=run_id)
def test_every_run_builds_everything_it_names(run):
    config = read(*run)
    checks.check(config)
    examples = data_of(config, side=1024 if run[1] == "ffhq_1024" else None)
    recipe = make_recipe(config, examples)
    # Variants of a config that differ in how they train have one network.
    made_of = json.dumps([config.to_dict()[name] for name in ("recipe", "model", "sde", "data")], default=str)
    made_of += repr((examples.shape, examples.gray_levels, examples.num_classes))
    shapes = SHAPES[made_of] if made_of in SHAPES else SHAPES.setdefault(made_of, recipe.shapes())
    expected = PARAMETERS.get(f"{run[0].name}:{run[1]}".removesuffix(":"))
    assert expected in (None, sum(leaf.size for leaf in jax.tree.leaves(shapes)))


@functools.cache
def tiny(run) -> configs.Config:
    """The tiny run, to be looked at alone."""
    return read(*run, "tiny")


def network_of(run) -> str:
    """What the network of the tiny run is made of, but for numbers and for what its last lines do."""
    config = tiny(run)
    aside = ("scale_by_sigma", "dtype", "stages")
    model = {key: value for key, value in config.model.own().items() if key not in aside}
    return repr((config.recipe.name, config.model.name, sorted(model.items(), key=str)))


def zero_or_not(setting):
    """A tree of settings without its numbers, but for what zero leaves out."""
    if isinstance(setting, dict):
        return {name: zero_or_not(value) for name, value in setting.items()}
    if isinstance(setting, (tuple, list)) and all(isinstance(each, (int, float)) for each in setting):
        return len(setting) > 0
    return setting != 0 if isinstance(setting, (int, float)) and not isinstance(setting, bool) else setting


def step_of(run) -> str:
    """What the loss of the tiny run is made of: all but its network, the data, and numbers that are constants in it."""
    config = tiny(run).to_dict()
    parts = [zero_or_not(config[section]) for section in ("recipe", "sde", "objective")]
    return json.dumps((parts, config["data"]["dequantize"]), sort_keys=True, default=str)


# Other data, class labels, weights of the loss, or twice the blocks hardly change the tiny step: each network takes it
# once. Of runs whose losses differ in a few constants one is looked at, with any network.
BY_MODES = ("blur", "blurring", "ihdm")  # longer to compile than others
SIMPLE_LAST = sorted(reversed(RUNS), key=lambda run: read(*run).get("sde", {}).get("name") not in BY_MODES)
DISTINCT = list({network_of(run): run for run in SIMPLE_LAST}.values())
STEPS = {step_of(run): run for run in [*reversed(RUNS), *DISTINCT]}
UNTAKEN = [run for run in STEPS.values() if run not in DISTINCT]


def first_step(run, **smaller):
    """A step of the tiny run, and what it takes; with a network that is smaller still, where its model can be."""
    config = read(*run, "tiny")
    config.train.batch = 2
    config.model.update({name: value for name, value in smaller.items() if name in config.model})
    examples = data_of(config, side=8)
    if "shape" in config.sde:  # of a process that is made for examples of one shape
        config.sde.shape = examples.shape
    recipe = make_recipe(config, examples)
    optimizer = recipe.optimizer(assemble.optimizer(config))
    feeder = data.feed(examples, 2, 0, parts=1, local=(0,), sharding=parallel.replicated())
    update = make_update(recipe, optimizer, feeder)
    mapped = jax.vmap(lambda lane, *args: update(*args), axis_name=parallel.AXIS, in_axes=(0, None, None))

    def step(key, payload):
        return mapped(jnp.arange(1), init_state(recipe, optimizer, key), payload)

    return step, (cheap_keys.key(0), feeder.payload(0, 1))


LARGE = 5_000  # operations


def check_forms(after, metrics):
    """The step keeps the state as it is."""
    assert metrics["loss"].shape == (1,)
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype("float32")}
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(jnp.shape, after.ema)


@pytest.mark.slow
@pytest.mark.parametrize("run", UNTAKEN, ids=run_id)
def test_every_run_has_a_step_that_keeps_the_state_as_it_is(run):
    step, inputs = first_step(run, channel_multipliers=(1,), stages=4)
    check_forms(*jax.eval_shape(step, *inputs))


@pytest.mark.slow
@pytest.mark.parametrize("run", DISTINCT, ids=run_id)
def test_every_network_of_a_run_takes_a_step_and_keeps_the_state_as_it_is(run):
    step, inputs = first_step(run)
    traced = jax.jit(step).trace(*inputs)
    if op_by_op.size(traced.jaxpr.jaxpr) > LARGE:
        after, metrics = op_by_op.run(traced, *inputs)
    else:
        after, metrics = traced.lower().compile()(*inputs)
    check_forms(after, metrics)
    assert np.isfinite(metrics["loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
