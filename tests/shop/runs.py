"""Small runs that the tests of this folder share."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorejax.experiment import assemble
from scorejax.experiment import config as configs
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.train import init_state
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
    "optim.decay=none",
    "model.features=16",
    "model.depth=1",
)


def small(*overrides: str):
    """A run of 8 steps on vectors; its network has a few hundred parameters."""
    return configs.load(str(ROOT / "configs/vp_gaussian.py"), [*SMALL, *overrides])


def toy(recipe: str, *overrides: str):
    """A run of 8 steps of one of `toy_recipes.py`, which have no network and hardly anything to compile."""
    given = [text for text in SMALL if not text.startswith("model")]
    return configs.override(
        configs.base(), [f"recipe=toy_recipes:{recipe}", "data=gaussian", "optim.warmup=1", *given, *overrides]
    )


def conditional_run(folder, x, labels, *overrides):
    """A small run on examples of one's own with these labels."""
    np.savez(folder / "x.npz", x=x, labels=labels)
    overrides = (f"data=npz:path={folder / 'x.npz'}", "train.batch=4", "train.steps=2", *overrides)
    overrides += ("train.log_every=2", "train.checkpoint_every=2", "sampler.steps=2", "eval.samples=5", "eval.grid=4")
    return small(*overrides, "recipe.conditional=true", "recipe.label_dropout=0.5")


def stored(config, workdir):
    """The whole state of the newest checkpoint, as numpy arrays by field."""
    recipe = make_recipe(config)
    optimizer = recipe.optimizer(assemble.optimizer(config))
    target = jax.eval_shape(lambda key: init_state(recipe, optimizer, key), jax.random.key(0))
    checkpoints = checkpoint.Checkpoints(workdir)
    newest = checkpoints.restore(target._asdict())
    checkpoints.close()
    assert newest is not None and newest.step == checkpoint.steps(workdir)[-1]
    return newest


class Averaged(NamedTuple):
    """All that is read of a trained model's checkpoint."""

    ema: Any


def store(params, workdir, step=1):
    """Save a checkpoint of a model with these weights."""
    saved = checkpoint.Checkpoints(workdir)
    saved.save(step, Averaged(jax.tree.map(jnp.asarray, params)))
    saved.close()


def out_of_a_hat(shapes, seed=0):
    """Weights that are neither initialized nor trained, which takes long to compile."""
    hat = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.float32(0.3 * hat.standard_normal(leaf.shape)), shapes)


def stand_in(config, workdir):
    """Save a checkpoint of step 1 with weights out of a hat."""
    store(out_of_a_hat(make_recipe(config).shapes()), workdir)


def same_bits(a, b) -> bool:
    """Whether two trees of numpy arrays agree in every bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)
