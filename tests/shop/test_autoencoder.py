"""Laws of the losses of autoencoders, and of the bound that they are measured by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import out_of_a_hat, store
from scorejax.config import base

from scorejax.data import Dataset
from scorejax.experiment import checks
from scorejax.experiment import config as configs
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError

B = 8
POINTS = Dataset("points", np.random.default_rng(0).standard_normal((B, 2)).astype(np.float32))
IMAGES = Dataset("images", np.random.default_rng(0).integers(0, 5, (B, 2, 2, 1)).astype(np.uint8), gray_levels=5)
KEYS = jax.random.split(jax.random.key(3), B)


def made(settings="", examples=POINTS):
    config = base()
    config.recipe, config.model = f"autoencoder:latents=2{settings}", "autoencoder_mlp:features=8:depth=1"
    recipe = make_recipe(config, examples)
    return recipe, out_of_a_hat(recipe.shapes())


def batch(examples=POINTS, part=0, parts=1):
    raw = jnp.asarray(examples.examples).reshape(parts, -1, *examples.shape)[part]
    key = jax.random.key(0)
    return Batch(raw.astype(jnp.float32), raw, None, jnp.int32(0), key, key, jnp.int32(part), parts)


def gradient(recipe, params, loss=lambda found: jnp.mean(found[0])):
    return jax.jit(jax.grad(lambda p: loss(recipe.loss(p, None, batch(recipe.given.examples), KEYS))))(params)


@pytest.mark.parametrize("examples", [POINTS, pytest.param(IMAGES, marks=pytest.mark.slow)], ids=lambda each: each.name)
def test_the_loss_is_minus_a_bound_that_one_draw_of_the_evidence_has_the_mean_of(examples):
    recipe, params = made(examples=examples)
    raw = jnp.asarray(examples.examples)
    many = jax.vmap(lambda keys: -recipe.loss(params, None, batch(examples), keys)[0])
    keys = jax.vmap(lambda key: jax.random.split(key, B))(jax.random.split(jax.random.key(1), 500))
    elbo = np.asarray(jax.jit(many)(keys), np.float64)
    evidence = recipe.model(params).evidence
    bounds = {n: jax.jit(jax.vmap(lambda k, n=n: evidence(k, raw, samples=n).value))(keys[:500]) for n in (1, 12)}
    one, more = (np.asarray(bounds[n], np.float64) for n in (1, 12))
    error = np.hypot(one.std(0), elbo.std(0)) / 500**0.5
    assert np.all(np.abs(one.mean(0) - elbo.mean(0)) < 4 * error)
    assert np.all(more.mean(0) > elbo.mean(0))


@pytest.mark.slow
@pytest.mark.parametrize("entropy", ["stein", "spectral"])
def test_an_estimated_score_of_a_gaussian_posterior_gives_nearly_the_gradient_of_its_known_entropy(entropy):
    """The reconstruction has the same draws, so that all of the difference is the entropy's."""
    (exact, params), (estimated, _) = made(), made(f":entropy={entropy}:estimated_from=60")
    keys = jax.vmap(lambda key: jax.random.split(key, B))(jax.random.split(jax.random.key(1), 40))

    def mean(recipe, **settings):
        loss = lambda p: jnp.mean(jax.vmap(lambda k: recipe.loss(p, None, batch(), k)[0])(keys))  # noqa: E731
        return jax.tree.leaves(jax.jit(jax.grad(loss))(params)["autoencoder"]["encoder"])

    wanted, got = (np.concatenate([np.ravel(leaf) for leaf in mean(recipe)]) for recipe in (exact, estimated))
    assert wanted @ got / np.linalg.norm(wanted) / np.linalg.norm(got) > 0.97
    assert np.linalg.norm(got) == pytest.approx(np.linalg.norm(wanted), rel=0.15)


@pytest.mark.parametrize("penalty", ["elbo", pytest.param("wae", marks=pytest.mark.slow)])
def test_the_score_network_learns_from_draws_that_stand_still_and_the_encoder_from_a_score_that_does(penalty):
    recipe, params = made(f":posterior=implicit:penalty={penalty}")
    whole = gradient(recipe, params)
    own = gradient(recipe, params, lambda found: jnp.mean(found[2]["score_loss"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole["score"], own["score"])
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(own["score"])) > 0
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(own["autoencoder"]))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(whole["autoencoder"]))


@pytest.mark.slow
@pytest.mark.parametrize("entropy", ["stein", "spectral"])
def test_the_law_of_z_over_all_examples_is_estimated_from_the_batch_of_all_devices(entropy):
    recipe, params = made(f":penalty=wae:posterior=implicit:entropy={entropy}")

    def losses(parts):
        keys = jnp.stack(jnp.split(KEYS, parts))
        parted = [batch(part=part, parts=parts)._replace(parts=0) for part in range(parts)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parted)
        one = lambda b, k: recipe.loss(params, None, b._replace(parts=parts), k)[0]  # noqa: E731
        return jax.jit(jax.vmap(one, axis_name=parallel.AXIS))(stacked, keys).reshape(-1)

    np.testing.assert_allclose(losses(2), losses(1), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "examples", "message"),
    [
        (":posterior=implicit:entropy=exact", POINTS, "entropy of an implicit posterior is unknown; choose sliced"),
        (":penalty=wae:entropy=exact", POINTS, r"the law of z over all examples \(penalty=wae\) is unknown"),
        (":decoder=bernoulli", POINTS, "'bernoulli' is for pixels, but .* vectors; choose gaussian or logistic"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings, examples, message):
    with pytest.raises(ConfigError, match=message):
        made(settings, examples)


def test_another_network_is_refused_with_those_that_fit():
    config = base()
    config.recipe, config.model = "autoencoder", "mlp"
    with pytest.raises(ConfigError, match="needs one for autoencoders; choose one of autoencoder_mlp"):
        checks.check(config)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["tiny", "moons,implicit,tiny"])
def test_an_evaluation_has_the_bound_next_to_the_baselines(variant, tmp_path, capsys):
    config = configs.load(f"autoencoder:{variant}", ["eval.samples=0", "eval.likelihood_examples=8"])
    store(out_of_a_hat(make_recipe(config).shapes()), tmp_path)
    found = evaluate.evaluate(config, tmp_path)["evidence"]
    dimension = 2 if "moons" in variant else 64
    assert found["bits_per_dim"] == pytest.approx(found["nats"] / dimension / np.log(2), rel=1e-5)
    assert found["gaussian_baseline"] > 0 and "worse than the Gaussian baseline" in found["verdict"]
    assert (found["accepted"] is not None) == ("implicit" in variant)
    said = capsys.readouterr().out
    assert ("bits/dim at most" in said) and ("annealed through 2 laws" in said) == ("implicit" in variant)


@pytest.mark.slow
def test_binary_pixels_are_measured_as_such(tmp_path, capsys):
    config = configs.load(
        "autoencoder:tiny", ["recipe.decoder=bernoulli", "eval.samples=0", "eval.likelihood_examples=8"]
    )
    shapes = make_recipe(config).shapes()
    store(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes), tmp_path)
    found = evaluate.evaluate(config, tmp_path)["evidence"]
    assert found["nats"] == pytest.approx(64 * np.log(2), rel=1e-5)  # a coin for each pixel, at all latent numbers
    assert found["bits_per_dim"] == pytest.approx(1.0, rel=1e-5) and found["gaussian_baseline"] is None
    assert found["effective_samples"] == pytest.approx(found["samples"], rel=1e-4)
    assert "of black and white pixels" in capsys.readouterr().out
