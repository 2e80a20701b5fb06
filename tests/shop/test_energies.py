"""Energies in the shop: divergence that is survived, densities with an interval, joint energies, what is refused."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known import config_of
from runs import out_of_a_hat, same_bits, store, stored, toy

import scorejax as sj
from scorejax.data import Dataset
from scorejax.experiment import config as configs
from scorejax.experiment import record, workdir
from scorejax.experiment.assemble import energies
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.evaluation.classification import calibration_error
from scorejax.experiment.recipe import Batch, make_recipe
from scorejax.experiment.training.train import train
from scorejax.runtime import checkpoint
from scorejax.runtime.errors import ConfigError, DivergedError
from scorejax.runtime.writers import read_log

B = 6
KEYS = jax.random.split(jax.random.key(3), B)
HAT, LABELS = np.random.default_rng(0), np.arange(6, dtype=np.int32) % 3
IMAGES = Dataset("images", HAT.integers(0, 16, (B, 4, 4, 1)).astype(np.uint8), LABELS, gray_levels=16, num_classes=3)
POINTS = Dataset("points", HAT.standard_normal((B, 2)).astype(np.float32), LABELS, num_classes=3)


def made(recipe, model, examples=POINTS):
    config = configs.base()
    config.recipe, config.model = recipe, model
    return make_recipe(config, examples)


def batch(x, labels=None, step=0):
    key = jax.random.key(0)
    return Batch(jnp.asarray(x), jnp.asarray(x), labels, jnp.int32(step), key, key, jnp.int32(0), 1)


# ---- Divergence


def test_a_step_that_is_not_to_be_trusted_leads_back_to_the_average_and_is_said(tmp_path, caplog):
    """One is no number, and one is what the recipe does not trust; the run arrives all the same."""
    with caplog.at_level(logging.WARNING):
        train(toy("Wary", "ema.decay=0.5"), tmp_path)
    state = stored(toy("Wary"), tmp_path)
    assert state.step == 8 and np.isfinite(state.fields["params"]["at"]).all()
    log = read_log(tmp_path)
    assert [record["went_back"] for record in log] == [0.25, 0.25]
    assert all(np.isfinite(record["loss"]) for record in log)
    assert "step 4: 0.25 of the steps went back" in caplog.text


def test_going_back_is_to_the_averaged_weights_and_leaves_the_average_alone(tmp_path):
    given = ("ema.decay=0.5", "train.log_every=1", "train.checkpoint_every=1", "train.keep=10")
    for steps in (5, 6):
        train(toy("Wary", *given, f"train.steps={steps}"), tmp_path / str(steps))
    before, after = (stored(toy("Wary"), tmp_path / str(steps)).fields for steps in (5, 6))
    assert not same_bits(before["params"], before["ema"])
    assert same_bits(after["params"], before["ema"]) and same_bits(after["ema"], before["ema"])


def test_a_run_that_can_only_go_back_has_diverged(tmp_path):
    with pytest.raises(DivergedError, match=r"each of the last 5\d steps led back to the averaged weights"):
        train(toy("Wary:from_now_on=true", "train.steps=80"), tmp_path)
    log = read_log(tmp_path)
    assert [record["went_back"] for record in log[:2]] == [0.25, 1.0] and "loss" not in log[1] and len(log) < 16


def test_energies_that_run_apart_and_chains_that_run_away_are_not_trusted_and_are_named():
    def trusted(of_data, of_chains, rescued):
        metrics = {"energy_of_data": of_data, "energy_of_chains": of_chains, "rescued_chains": rescued}
        return bool(energies.trusted({name: jnp.float32(value) for name, value in metrics.items()}, 10.0))

    assert trusted(3.0, -5.0, 0.1)
    assert not any(
        (trusted(3.0, -8.0, 0.0), trusted(-8.0, 3.0, 0.0), trusted(0.0, 0.0, 0.6), trusted(np.nan, 0.0, 0.0))
    )
    assert energies.remark({"went_back": 0.0, "rescued_chains": 0.0}, 10.0) is None
    assert "the energy diverged: in 50% of the last steps" in energies.remark({"went_back": 0.5}, 10.0)
    assert "2.0% of the chains ran away" in energies.remark({"went_back": 0.0, "rescued_chains": 0.02}, 10.0)


@pytest.mark.slow
def test_chains_that_run_away_never_enter_the_gradient():
    recipe = made("energy:chains=6:langevin_steps=1:step_size=0.01", "energy_mlp:features=4:depth=1")
    params = recipe.init(jax.random.key(0))
    carry = recipe.carry(jax.random.key(1)).at[2].set(jnp.nan)

    def total(params):
        losses, after, metrics = recipe.loss(params, carry, batch(POINTS.examples), KEYS)
        return jnp.mean(losses), (losses, after, metrics)

    (_, (losses, after, metrics)), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((losses, after, gradient)))
    np.testing.assert_array_equal(metrics["rescued_chains"], np.arange(B) == 2)
    assert losses[2] == 0 and np.all(losses[:2] != 0)


# ---- Buffers


@pytest.mark.slow
def test_a_buffer_is_resumed_bit_for_bit_and_one_of_another_size_is_refused(tmp_path):
    given = ["recipe.negatives=buffer", "recipe.chains=12", "train.batch=8", "eval.after_training=false"]
    given += ["train.steps=4", "train.checkpoint_every=2", "train.log_every=2", "optim.decay=none"]
    config = configs.load("energy:tiny", given)
    train(config, tmp_path / "whole")
    half = configs.load("energy:tiny", [*given, "train.steps=2"])
    train(half, tmp_path / "half")
    with pytest.raises(ConfigError, match=r"recipe.chains: 12 there, 16 now"):
        train(configs.load("energy:tiny", [*given, "recipe.chains=16"]), tmp_path / "half")
    train(config, tmp_path / "half")
    of = [checkpoint_of(config, tmp_path / name) for name in ("whole", "half")]
    assert same_bits(*of) and of[0]["carry"].shape == (1, 12, 2)


def checkpoint_of(config, workdir):
    recipe = make_recipe(config)
    one = jax.eval_shape(recipe.carry, jax.random.key(0))
    target = {"params": recipe.shapes(), "carry": jax.ShapeDtypeStruct((1, *one.shape), one.dtype)}
    checkpoints = checkpoint.Checkpoints(workdir)
    found = checkpoints.restore(target, per_device=("carry",))
    checkpoints.close()
    return found.fields


def test_what_chains_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"recipe.chains = 4 are fewer than the 6 examples"):
        recipe = made("energy:negatives=buffer:chains=4", "energy_mlp:features=4:depth=1")
        recipe.loss(recipe.init(KEYS[0]), recipe.carry(KEYS[0]), batch(POINTS.examples), KEYS)
    with pytest.raises(ConfigError, match="vectors have none"):
        _ = made("energy:clip_chains=true", "energy_mlp").law
    with pytest.raises(ConfigError, match="two classes or more"):
        _ = made("joint_energy", "energy_mlp", Dataset("points", POINTS.examples)).law


# ---- Score matching


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "warned"), [("silu", False), ("relu", True)])
def test_an_energy_without_curvature_is_warned_of_where_score_matching_trains_it(activation, warned, caplog):
    recipe = made("energy:matching=sliced", f"energy_mlp:features=4:depth=2:activation={activation}")
    with caplog.at_level(logging.WARNING):
        losses, carry, _ = jax.eval_shape(
            lambda p: recipe.loss(p, None, batch(POINTS.examples), KEYS), jax.eval_shape(recipe.init, KEYS[0])
        )
    assert losses.shape == (B,) and carry is None
    assert ("score matching cannot see its shape" in caplog.text) == warned


def test_the_loss_of_an_energy_by_score_matching_is_that_of_its_score():
    """Exact score matching of the untrained energy `|x|^2 / 2` is `|x|^2 / 2 - D`."""
    recipe = made("energy:matching=exact", "energy_mlp:features=4:depth=1")
    losses, *_ = recipe.loss(recipe.init(KEYS[0]), None, batch(POINTS.examples), KEYS)
    np.testing.assert_allclose(losses, 0.5 * np.sum(POINTS.examples**2, axis=1) - 2, rtol=1e-5)
    assert recipe.carry_is_shared and recipe.model(recipe.init(KEYS[0])).energy is not None


# ---- Densities


@pytest.fixture(scope="module")
def unnormalized(tmp_path_factory):
    """The report on an energy of four dimensions that is known exactly, and its folder."""
    folder = tmp_path_factory.mktemp("unnormalized")
    given = ["data=gaussian", "init_from=none", "eval.partition=annealed:chains=32:levels=200", "eval.samples=0"]
    config = config_of("Unnormalized", *given, "objective.time_sampling=uniform", *UNREAD)
    recipe = make_recipe(config)
    workdir.claim(folder, config)
    record.write(folder, recipe.given.record)
    store({"w": np.zeros(1, np.float32)}, folder, 7)
    return evaluate.evaluate(config, folder), folder


UNREAD = ("sampler.steps=1000", "sampler.t_min=none", "eval.likelihood_examples=64")


@pytest.mark.slow
def test_an_energy_has_bits_per_dim_with_an_interval_that_holds_the_truth(unnormalized, capsys):
    report = unnormalized[0]["partition"]
    assert abs(report["log_z"] + 3) < 4 * report["log_z_standard_error"] < 0.8
    assert report["log_z_low"] < report["log_z"] < report["log_z_high"]
    assert report["temperature"] == 0.5 and 0.4 < report["acceptance"] < 0.9 and report["ess"] > 16
    assert report["low"] < report["gaussian_baseline"] < report["high"]  # the truth is a Gaussian
    of_z = report["log_z_standard_error"] / 4 / np.log(2)
    assert report["standard_error"] == pytest.approx(np.hypot(of_z, report["standard_error_of_examples"]))


def test_a_loaded_energy_has_a_density_whose_error_is_that_of_its_partition_function(unnormalized):
    report, folder = unnormalized
    run = sj.load(folder)
    x = run._trained.recipe.given.examples.examples[:5]
    found = run.log_prob(x)
    truth = np.asarray(sj.scores.analytic.gaussian(sj.data.GAUSSIAN_MEAN, sj.data.GAUSSIAN_COVARIANCE).log_prob(x))
    np.testing.assert_allclose(found.stderr, report["partition"]["log_z_standard_error"], rtol=1e-5)
    np.testing.assert_allclose(found.value, truth - 3 - report["partition"]["log_z"], rtol=1e-4, atol=1e-4)


def test_the_density_of_an_energy_needs_a_partition_function_of_these_weights(unnormalized, tmp_path):
    _, folder = unnormalized
    for name in ("config.json", "data.json", "checkpoints"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(ConfigError, match=r"needs its partition function, .* estimate it by --mode=eval"):
        sj.load(tmp_path).log_prob(np.zeros((1, 4), np.float32))
    (tmp_path / "eval").mkdir()
    kept = json.loads((folder / "eval/partition-step-7.json").read_text())
    for wrong, words in (({"weights": "other"}, "of other weights"), ({"log_z": float("nan")}, "is not finite")):
        (tmp_path / "eval/partition-step-7.json").write_text(json.dumps({**kept, **wrong}))
        with pytest.raises(ConfigError, match=words):
            sj.load(tmp_path).log_prob(np.zeros((1, 4), np.float32))


def test_a_quadrature_is_refused_where_it_does_not_serve(unnormalized):
    with pytest.raises(ConfigError, match="serves vectors of one or two numbers, and those of 'gaussian' are of 4"):
        given = ["data=gaussian", "init_from=none", "eval.partition=quadrature", "eval.samples=0"]
        config = config_of("Unnormalized", *given, "objective.time_sampling=uniform", *UNREAD)
        evaluate.evaluate(config, unnormalized[1])


# ---- Joint energies


@pytest.mark.parametrize(
    ("model", "examples"), [("energy_mlp:features=4:depth=1", POINTS), ("energy_conv:features=(4,):hidden=4", IMAGES)]
)
def test_the_softmax_of_joint_energies_is_the_law_of_the_class(model, examples):
    """`p(y | x) = p(x, y) / p(x)` with `p(x, y) ~ exp(f_y(x))` and `p(x) ~ exp(-E(x))`."""
    recipe = made("joint_energy:chains=6", model, examples)
    params = out_of_a_hat(recipe.shapes())
    found = recipe.model(params)
    x = recipe.given.space.middle(jnp.asarray(examples.examples))
    logits, energy = found.logits(x, jnp.zeros(B)), found.energy(x)
    assert logits.shape == (B, 3) and float(jnp.std(logits)) > 1e-2
    joint = np.exp(np.asarray(logits, np.float64)) / np.exp(-np.asarray(energy, np.float64))[:, None]
    np.testing.assert_allclose(joint, jax.nn.softmax(logits), rtol=2e-4)
    np.testing.assert_allclose(joint.sum(axis=1), 1, rtol=2e-4)


def test_the_loss_of_a_joint_energy_is_the_cross_entropy_and_the_contrast():
    moves = "langevin_steps=1:step_size=0.01"
    recipe = made(f"joint_energy:chains=6:generative=0.5:data_noise=0:{moves}", "energy_mlp:features=4:depth=1")
    params, carry, labels = out_of_a_hat(recipe.shapes()), recipe.carry(KEYS[0]), jnp.asarray(POINTS.labels)
    losses, _, metrics = recipe.loss(params, carry, batch(POINTS.examples, labels), KEYS)
    of_data, of_chains = metrics["energy_of_data"], metrics["energy_of_chains"]
    contrast = of_data - of_chains + 1e-4 * (of_data**2 + of_chains**2)
    log_p = jax.nn.log_softmax(recipe.model(params).logits(POINTS.examples, None))
    np.testing.assert_allclose(losses, 0.5 * contrast - log_p[jnp.arange(B), labels], rtol=1e-4, atol=1e-5)


def test_the_calibration_error_is_the_mean_gap_of_confidence_and_accuracy():
    """Two of four right at 0.9, a gap of 0.4; one of one right at 0.55, one of 0.45; and one that is sure."""
    right = np.array([True, False, True, False, True, True])
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.55, 1.0])
    assert calibration_error(right, confidence) == pytest.approx((4 * 0.4 + 0.45) / 6)


def test_the_level_of_noise_is_that_of_the_recipe_or_of_its_denoising_and_never_of_both():
    """One level in a tuple is one; of several there is none."""
    for matching, level in (
        ("denoising:sigma=0.3", 0.3),
        ("denoising:sigma=(0.3,)", 0.3),
        ("denoising:sigma=(0.1,0.3)", 0),
    ):
        for config, recipe in (("energy:tiny", "energy"), ("score_matching:tiny", "score_matching")):
            chosen = configs.load(config, [f"recipe={recipe}", f"recipe.matching={matching}"])
            assert make_recipe(chosen).level == level
            chosen.recipe.data_noise = 0.1
            with pytest.raises(ConfigError, match=r"set recipe\.data_noise=0"):
                make_recipe(chosen)
