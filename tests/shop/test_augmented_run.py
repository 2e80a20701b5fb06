"""Augmentation with labels does not leak into samples; without labels it does."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from runs import small

import scorejax
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.training.train import train
from scorejax.models.augment import with_augmentation
from scorejax.runtime.errors import ConfigError

SERIES = (
    "data.normalize=none", "sampler.t_min=none", "model=test_augmented_run:Around", "sde=edm", "recipe.predicts=data",
    "objective.weighting=edm", "recipe.sigma_data=1", "objective.time_sampling=lognormal:mean=-0.5",
)  # fmt: skip


class Around(nn.Module):
    """The mean of the data given noisy ones, where they are normal around a mean that the labels shift."""

    role = "scores"
    ranks = (2,)
    augment_dim: int = 0

    @nn.compact
    def __call__(self, x, labels, condition=None, train=False):
        mean = self.param("mean", nn.initializers.zeros, (2,))
        mean = with_augmentation(self, jnp.broadcast_to(mean, (len(x), 2)), 2, len(x))[..., None]
        return mean + 0.01 / (0.01 + labels[:, None, None] ** 2) * (x - mean)


def series(folder, *overrides):
    """Series of two numbers `z` and `-z`, `z ~ N(1, 0.1^2)`, whose mirror image is another law."""
    z = 1.0 + 0.1 * np.random.default_rng(0).standard_normal((2000, 1))
    np.savez(folder / "x.npz", x=np.stack([z, -z], axis=1).astype(np.float32))
    return small(f"data=npz:path={folder / 'x.npz'}", *SERIES, *overrides)


@pytest.mark.slow
@pytest.mark.parametrize(("labeled", "mean", "within"), [("true", 1.0, 0.02), ("false", 0.0, 0.05)])
def test_samples_are_mirrored_only_if_the_network_is_not_told(labeled, mean, within, tmp_path):
    config = series(
        tmp_path, f"recipe.augment=edm:probability=0:labeled={labeled}", "train.steps=400", "train.batch=128",
        "train.steps_per_call=200", "train.log_every=400", "train.checkpoint_every=400",
        "ema.decay=0.99", "optim.lr=0.02", "optim.warmup=0",
    )  # fmt: skip
    train(config, tmp_path / "run")
    found = scorejax.load(tmp_path / "run").sample(4000, stepper="heun:time_grid=karras", steps=12, batch=4000)
    print(found.mean(axis=0).ravel())
    assert abs(found[:, 0].mean() - mean) < within and abs(found[:, 1].mean() + mean) < within


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["recipe.augment=edm"], ["recipe.augment", "no sides"]),
        (["recipe.augment=rolls"], ["recipe.augment", "0 sides"]),
        (["recipe.augment=edm:probability=2"], ["probability", "at most 1"]),
        (["recipe.augment=edm", "objective=continuous_vlb"], ["is a bound", "recipe.augment=none"]),
    ],
)
def test_what_cannot_be_augmented_is_refused(overrides, words):
    with pytest.raises(ConfigError) as refused:
        make_recipe(small(*overrides)).shapes()
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=edm2:features=16"], ["takes no such labels", "ddpmpp", "labeled=false"]),
        (["model=dit:augment_dim=9"], ["model.augment_dim = 9", "3 labels"]),
    ],
)
def test_a_network_that_is_not_given_the_labels_is_refused(overrides, words, tmp_path):
    with pytest.raises(ConfigError) as refused:
        make_recipe(series(tmp_path, "recipe.augment=edm", *overrides)).shapes()
    assert all(word in str(refused.value) for word in words), refused.value
