"""Weightings by name with settings of their own, and one that is trained with the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import small

from scorejax.experiment import config as configs
from scorejax.experiment.assemble.objective import weighting_by
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import train
from scorejax.runtime.errors import ConfigError
from scorejax.sdes import vp

TRAINED = ("objective.weighting=uncertainty", "objective.weighting.base=min_snr:gamma=2")


@pytest.mark.parametrize(
    ("text", "of_snr"),
    [
        ("min_snr:gamma=3", lambda snr: np.minimum(1.0, 3.0 / snr)),
        ("soft_min_snr:2", lambda snr: 2.0 / (2.0 + snr)),
        ("p2:k=2:gamma=0.5", lambda snr: (2.0 + snr) ** -0.5),
        ("edm", lambda snr: 1.0 + 1.0 / snr / 0.3**2),  # the deviation is a setting of the recipe
    ],
)
def test_a_weighting_has_settings_of_its_own(text, of_snr):
    config = configs.override(configs.base(), [f"objective.weighting={text}"])
    snr = np.exp([-3.0, 0.0, 3.0])
    weights = weighting_by(config.objective.weighting, 0.3)(vp(), vp().inverse_log_snr(jnp.log(snr)))
    np.testing.assert_allclose(weights, of_snr(snr), rtol=1e-3)


def test_a_config_of_plain_names_is_read():
    config = configs.from_dict({"objective": {"name": "denoising", "weighting": "edm"}})
    assert config.objective.weighting.name == "edm"
    assert configs.to_dict(config) == configs.to_dict(
        configs.override(configs.base(), ["objective=denoising:weighting=edm"])
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective.weighting=min_snr:gamma=-1"], ["gamma", "more than 0"]),
        (["objective.weighting=uncertainty:base=uncertainty"], ["'uncertainty'", "choose one of simple"]),
        (["objective=sliced:weighting=uncertainty"], ["may be negative", "denoising"]),
        (
            ["sde=double_well", "recipe.predicts=score", "objective=sliced:weighting=edm"],
            ["the weighting 'edm'", "a Gaussian process in closed form"],
        ),
    ],
)
def test_a_weighting_that_does_not_fit_is_refused(overrides, words):
    with pytest.raises(ConfigError) as refused:
        make_recipe(small(*overrides))
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.slow
def test_what_a_weighting_trains_moves_with_the_network_and_is_no_part_of_the_model(tmp_path):
    config = small(*TRAINED, "train.steps=4", "ema.decay=0.5")
    train(config, tmp_path)
    trained = restore(config, tmp_path)
    assert np.all(trained.params["weighting"] != 0.0)
    x, t = jnp.ones((2, *trained.form.shape)), jnp.array([0.3, 0.6])
    other = trained.params | {"weighting": jnp.full(128, jnp.nan)}
    scores = [jax.jit(trained.recipe.model(params).score)(x, t, None) for params in (trained.params, other)]
    assert bool(jnp.all(scores[0] == scores[1]))
