"""Every config, in every variant that its docstring names, builds its objects and takes an optimizer step."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment import config as configs
from scorejax.experiment.training import train
from scorejax.runtime import parallel

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
BUILT_IN = ("digits", "moons", "gaussian")
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
    "ncsnv2.py": 29_694_083,
    "classifier.py:cifar10_ve": 39_171_802,
}


def read(path: Path, *variants: str) -> configs.Config:
    return configs.load(f"{path}:{','.join(filter(None, variants))}")


def data_of(config, side: int | None = None) -> data.Dataset:
    """Data of the right shape, or of `side` pixels, without the files that real sets need."""
    if config.data.name in BUILT_IN:
        return build.dataset(config)
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
    known = configs._run_config_file(path).get("VARIANTS", {})  # what `:unknown` lists, without provoking it
    named = set(itertools.chain(*(variant.split(",") for variant in described_variants(path)))) - {""}
    assert named <= set(known)
    assert named == set(known) or "whose variants work here too" in docstring


@pytest.mark.parametrize("run", RUNS, ids=run_id)
def test_every_run_builds_everything_it_names(run):
    config = read(*run)
    build.check(config)
    shape = data_of(config).shape if run[1] != "ffhq_1024" else (1024, 1024, 3)
    network = build.network(config, data_of(config))
    shapes = jax.eval_shape(lambda: build.init_params(jax.random.key(0), network, shape))
    expected = PARAMETERS.get(f"{run[0].name}:{run[1]}".removesuffix(":"))
    assert expected in (None, sum(leaf.size for leaf in jax.tree.leaves(shapes)))


def network_of(run) -> str:
    """What the network of the tiny run is made of, but for numbers and for what its last lines do."""
    model = read(*run, "tiny").model.to_dict()
    aside = ("predicts", "scale_by_sigma", "dtype", "stages", "conditional", "label_dropout")
    return repr([model[key] for key in model if key not in aside])


# Other data, class labels, weights of the loss, or twice the blocks hardly change the tiny step: each network takes it
# once.
DISTINCT = list({network_of(run): run for run in reversed(RUNS)}.values())


def first_step(run):
    """A step of the tiny run, and what it takes."""
    config = read(*run, "tiny")
    config.train.batch = 2
    process, examples = build.sde(config), data_of(config, side=8)
    network, optimizer = build.network(config, examples), build.optimizer(config)
    feeder = data.feed(examples, 2, 0, parts=1, local=(0,), sharding=parallel.replicated())
    update = train.make_update(config, process, network, optimizer, feeder)
    mapped = jax.vmap(lambda lane, *args: update(*args), axis_name=parallel.AXIS, in_axes=(0, None, None))

    memory = build.objective(config, process).memory

    def step(key, payload):
        state = train.init_state(network, optimizer, examples.shape, key, process=process, memory=memory)
        return mapped(jnp.arange(1), state, payload)

    return step, (jax.random.key(0), feeder.payload(0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=run_id)
def test_every_run_has_a_step_that_keeps_the_state_as_it_is(run):
    step, inputs = first_step(run)
    after, metrics = jax.eval_shape(step, *inputs)
    assert metrics["loss"].shape == (1,)
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype("float32")}
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(jnp.shape, after.ema)


@pytest.mark.slow
@pytest.mark.parametrize("run", DISTINCT, ids=run_id)
def test_every_network_of_a_run_takes_a_step(run):
    step, inputs = first_step(run)
    # One step is run, so its program need not be fast.
    cheap = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    after, metrics = jax.jit(step).lower(*inputs).compile(compiler_options=cheap)(*inputs)
    assert np.isfinite(metrics["loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
