"""Every config, in every variant that its docstring names, builds its objects and takes an optimizer step."""

import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorejax import build, data, parallel, train
from scorejax import config as configs

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
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
}


def read(path: Path, *variants: str) -> configs.Config:
    return configs.load(f"{path}:{','.join(filter(None, variants))}")


def data_of(config) -> data.Dataset:
    """Data of the right shape without the files that real sets need."""
    if config.data.name in data.BUILT_IN:
        return build.dataset(config)
    side, channels = SIDES.get(config.data.name, (config.data.size, 3))
    examples = np.zeros((config.train.batch, side, side, channels), np.uint8)
    return data.Dataset(config.data.name, examples, np.zeros(len(examples), np.int32), levels=256, num_classes=10)


def run_id(run) -> str:
    return f"{run[0].name}:{run[1]}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_variant_is_described_where_its_config_is_read(path):
    docstring = path.read_text().split('"""')[1]
    known = configs._run_config_file(path).get("VARIANTS", {})  # what `:unknown` lists, without provoking it
    assert all(f":{name}" in docstring or f",{name}" in docstring for name in known if "vp_cifar10.py`" not in docstring)
    named = set(itertools.chain(*(variant.split(",") for variant in described_variants(path)))) - {""}
    assert named <= set(known)


@pytest.mark.parametrize("run", RUNS, ids=run_id)
def test_every_run_builds_everything_it_names(run):
    config = read(*run)
    build.check(config)
    shape = data_of(config).shape if run[1] != "ffhq_1024" else (1024, 1024, 3)
    network = build.network(config, data_of(config))
    shapes = jax.eval_shape(lambda: build.init_params(jax.random.key(0), network, shape))
    expected = PARAMETERS.get(f"{run[0].name}:{run[1]}".removesuffix(":"))
    assert expected in (None, sum(leaf.size for leaf in jax.tree.leaves(shapes)))


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=run_id)
def test_every_run_takes_a_step(run):
    config = read(*run, "tiny")
    config.train.batch = 2
    process, examples = build.sde(config), data_of(config)
    network, optimizer = build.network(config, examples), build.optimizer(config)
    state = train.init_state(network, optimizer, examples.shape, jax.random.key(0))
    feeder = data.feed(examples, 2, 0, parts=1, local=(0,), sharding=parallel.replicated())
    update = train.make_update(config, process, network, optimizer, feeder)
    # Step by step instead of compiled: the configs share their primitives, not their programs.
    mapped = jax.vmap(lambda lane, *args: update(*args), axis_name=parallel.AXIS, in_axes=(0, None, None))
    after, metrics = mapped(jnp.arange(1), state, feeder.payload(0, 1))
    feeder.close()
    assert np.isfinite(metrics["loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
