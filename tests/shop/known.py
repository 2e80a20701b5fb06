"""Configs and subjects of the models of `exact_recipes.py` that several files of this folder evaluate."""

import numpy as np

from scorejax.experiment import assemble
from scorejax.experiment.config import load
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import Trained

DISCRETE = ("sde=ddpm:schedule=cosine:n=40", "sampler.t_min=none")


def config_of(recipe, *overrides):
    """A config of vectors whose model is this one."""
    return load(
        "vp_gaussian:tiny", [f"recipe=exact_recipes:{recipe}", "init_from=known", "data.normalize=none", *overrides]
    )


def subject_of(config):
    """The model of a config, with its training data."""
    train = assemble.dataset(config)
    recipe = make_recipe(config, train)
    return Subject(Trained(config, recipe, *recipe.load("known"))), train


def with_weight(subject, value):
    """The same model with another weight."""
    return subject._replace(trained=subject.trained._replace(params={"w": np.full(1, value, np.float32)}))
