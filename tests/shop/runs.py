"""Small runs that the tests of this folder share."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.experiment import assemble as build
from scorejax.experiment import config as configs
from scorejax.experiment.training import train
from scorejax.runtime import checkpoint

ROOT = Path(__file__).parents[2]
SMALL = (
    "eval.after_training=false",
    "train.steps=8",
    "train.log_every=4",
    "train.checkpoint_every=4",
    "train.keep=10",
    "train.batch=16",
    "optim.lr=0.01",
    "model.features=16",
    "model.depth=1",
)


def small(*overrides: str):
    """A run of 8 steps on vectors; its network has a few hundred parameters."""
    return configs.load(str(ROOT / "configs/vp_gaussian.py"), [*SMALL, *overrides])


def conditional_run(folder, x, labels, *overrides):
    """A small run on examples of one's own with these labels."""
    np.savez(folder / "x.npz", x=x, labels=labels)
    overrides += ("data.name=npz", f"data.path={folder / 'x.npz'}", "train.batch=4", "train.steps=2")
    overrides += ("train.log_every=2", "train.checkpoint_every=2", "sampler.steps=2", "eval.samples=5", "eval.grid=4")
    return small(*overrides, "model.conditional=true", "model.label_dropout=0.5")


def stored(config, workdir, step=None):
    """The whole state of a checkpoint, as numpy arrays by field."""
    examples = build.dataset(config)
    network, optimizer = build.network(config, examples), build.optimizer(config)
    process = build.sde(config)
    memory = build.objective(config, process).memory
    target = jax.eval_shape(
        lambda key: train.init_state(network, optimizer, examples.shape, key, process=process, memory=memory),
        jax.random.key(0),
    )
    newest, broken = checkpoint._newest(
        Path(workdir).absolute() / "checkpoints", target._asdict(), None if step is None else [step]
    )
    assert newest is not None and not broken
    return newest


class Averaged(NamedTuple):
    """All that is read of a score's checkpoint."""

    ema: Any


def stand_in(config, workdir):
    """Save a checkpoint of step 1 with weights out of a hat, neither initialised nor trained, which takes long."""
    examples = build.dataset(config)
    network = build.network(config, examples)
    shapes = jax.eval_shape(lambda: build.init_params(jax.random.key(0), network, examples.shape))
    saved = checkpoint.Checkpoints(workdir)
    hat = np.random.default_rng(0)
    saved.save(1, Averaged(jax.tree.map(lambda leaf: jnp.float32(0.3 * hat.standard_normal(leaf.shape)), shapes)))
    saved.close()


def same_bits(a, b) -> bool:
    """Whether two trees of numpy arrays agree in every bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)
