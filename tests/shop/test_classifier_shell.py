"""Classifiers of noisy data: trained by the loop of every model, measured, read back, refused where they do not fit."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guided import config_of
from runs import same_bits, stored

import scorejax as sj
from scorejax import data
from scorejax.experiment import assemble, checks, modes, workdir
from scorejax.experiment import config as configs
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.model import Model
from scorejax.experiment.recipe import Given, make_recipe
from scorejax.experiment.steering import classifiers
from scorejax.experiment.steering.guidance import About
from scorejax.experiment.training.train import train
from scorejax.runtime.errors import ConfigError

MOONS = "classifier:moons"
WEIGHTS, MEANS, SPREADS = np.array([0.3, 0.7]), np.array([[-1.0, 0.5], [0.8, -0.4]]), np.array([0.3, 0.6])
SMALL = (
    "eval.after_training=false",
    "data.normalize=none",
    "model.features=32",
    "model.depth=1",
    "train.steps=600",
    "train.batch=256",
    "train.checkpoint_every=300",
    "train.log_every=300",
    "train.keep=10",
    "eval.batch=1000",
)


def small(folder, *overrides):
    """A classifier of the two components, on the points in `folder`."""
    return configs.load(MOONS, [*SMALL, f"data=npz:path={folder / 'points.npz'}", *overrides])


def read(folder, sde, examples, *overrides):
    """The classifier of a run, to guide a score of this process and these examples."""
    return classifiers.restore(folder, about(configs.load(MOONS, ["data.normalize=none", *overrides]), sde, examples))


def about(config, sde, examples):
    """A score of this process and these examples."""
    given = Given(config, examples)
    return About(config, Model(sde=sde), given.form, given.space)


def write_points(folder, shuffled=False):
    """Labelled points of the mixture, or points whose labels mean nothing."""
    rng = np.random.default_rng(0)
    labels = rng.choice(2, 20_000, p=WEIGHTS)
    x = (MEANS[labels] + SPREADS[labels, None] * rng.standard_normal((len(labels), 2))).astype(np.float32)
    np.savez(folder / "points.npz", x=x, labels=rng.permutation(labels) if shuffled else labels)


def log_odds(sde, x, t):
    """`log p(1 | x_t) - log p(0 | x_t)` of the mixture."""
    parts = [sj.analytic.gaussian(m, [s**2, s**2]) for m, s in zip(MEANS, SPREADS, strict=True)]
    first, second = (np.log(w) + part.log_prob_at(sde, x, t) for w, part in zip(WEIGHTS, parts, strict=True))
    return second - first


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained classifier: its folder, config and data."""
    folder = tmp_path_factory.mktemp("classifier")
    write_points(folder)
    config = small(folder)
    assert train(config, folder / "run").step == 600
    return folder / "run", config, assemble.dataset(config, "test")


def error(workdir, config, test):
    """Mean distance of the probability from the exact one, over examples at random times."""
    sde = assemble.sde(config)
    t = sj.objectives.draw_times(jax.random.key(0), sde, len(test))
    x = sde.perturb(jnp.asarray(test.examples), t, jax.random.normal(jax.random.key(1), test.examples.shape))
    logits = jax.jit(read(workdir, sde, test).logits)(x, t)
    found, exact = (jax.nn.sigmoid(odds) for odds in (logits[:, 1] - logits[:, 0], log_odds(sde, x, t)))
    return float(jnp.abs(found - exact).mean())


@pytest.mark.slow
def test_the_trained_classifier_nears_the_exact_posterior(run):
    assert error(*run) < 0.03


@pytest.mark.slow
def test_labels_that_mean_nothing_teach_nothing(run, tmp_path):
    write_points(tmp_path, shuffled=True)
    config = small(tmp_path)
    train(config, tmp_path / "run")
    assert error(tmp_path / "run", config, run[2]) > 0.1


@pytest.mark.slow
def test_accuracy_and_cross_entropy_are_those_of_the_exact_posterior_at_every_noise_level(run):
    workdir, config, test = run
    evaluate.evaluate(config, workdir)
    [path] = (workdir / "eval").glob("step-*.json")
    measured = json.loads(path.read_text())["classification"]
    sde, labels = assemble.sde(config), test.labels
    assert measured["examples"] == len(test) and len(measured["levels"]) == 11
    assert measured["guess_accuracy"] == pytest.approx(np.mean(labels == 1))
    for level in measured["levels"]:
        x = sde.perturb(jnp.asarray(test.examples), level["t"], jax.random.normal(jax.random.key(2), (len(test), 2)))
        odds = np.asarray(log_odds(sde, x, level["t"]))
        right = (odds > 0) == labels
        nats = np.logaddexp(0, np.where(labels == 1, -odds, odds))
        # two draws of the same noise: an error each; and the network is not the exact posterior
        assert abs(level["accuracy"] - right.mean()) < 6 * level["accuracy_error"] + 0.01
        assert abs(level["cross_entropy"] - nats.mean()) < 6 * level["cross_entropy_error"] + 0.02
    assert measured["levels"][0]["log_snr"] < -9 and measured["levels"][-1]["t"] == pytest.approx(sde.t_min)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(run, tmp_path):
    workdir, config, _ = run
    again = shutil.copytree(workdir, tmp_path / "run")
    shutil.rmtree(again / "checkpoints" / "600")
    train(config, again)
    assert same_bits(stored(config, again).fields, stored(config, workdir).fields)


@pytest.mark.slow
def test_what_is_learnt_of_one_process_holds_for_every_other(run):
    workdir, _, test = run
    points = jnp.asarray(test.examples[:20])
    noise = jax.random.normal(jax.random.key(3), points.shape)

    def answers(sde, log_snr):
        bound = read(workdir, sde, test)
        t = jnp.broadcast_to(sde.inverse_log_snr(jnp.float32(log_snr)), 20)
        return jax.jit(lambda logits, features, x: (logits(x, t), features(x, t)))(
            bound.logits, bound.features, sde.perturb(points, t, noise)
        )

    logits, features = answers(sj.vp(), 1.0)
    assert features.shape == (20, 32)
    for sde in (sj.ve(), sj.subvp()):
        other, _ = answers(sde, 1.0)
        np.testing.assert_allclose(other, logits, rtol=1e-2, atol=1e-2)
    # sub-VP comes nearer to the data than VP, which the classifier was trained on: it is told VP's clean end
    np.testing.assert_allclose(answers(sj.subvp(), 20.0)[0], answers(sj.vp(), 13.8)[0], rtol=0.05, atol=0.05)


@pytest.mark.slow
def test_a_classifier_of_another_run_of_things_is_refused(run, tmp_path):
    folder, config, test = run
    sde = assemble.sde(config)
    with pytest.raises(ConfigError, match=r"ratios from -10.05 up; the score's EDM has noisier data, from -18.42 up"):
        read(folder, sj.edm(sigma_max=1e4), test)
    with pytest.raises(ConfigError, match="centered=True, the score with centered=False"):
        read(folder, sde, test, "data.centered=false")
    wide = dataclasses.replace(test, examples=np.zeros((len(test), 3), np.float32))
    with pytest.raises(ConfigError, match=r"shape \(2,\) with None gray levels, the score on \(3,\)"):
        read(folder, sde, wide)
    with pytest.raises(ConfigError, match="no config"):
        read(tmp_path, sde, test)


def test_a_run_that_does_not_classify_noisy_data_is_refused(train, tmp_path):
    for recipe, name in (("Pixels", "Pixels"), ("PixelClasses:features=false", "PixelClasses")):
        config = config_of(f"recipe=exact_recipes:{recipe}")
        workdir.claim(tmp_path, config)
        with pytest.raises(ConfigError, match=f"'exact_recipes:{name}', which does not classify noisy data"):
            classifiers.restore(tmp_path, about(config, assemble.sde(config), train))


def test_a_network_that_is_told_sigma_serves_its_own_process_alone(train, tmp_path):
    labels = np.arange(10, dtype=np.int32)
    ten = data.Dataset("ten", np.zeros((10, 8, 8, 3), np.uint8), labels=labels, gray_levels=256, num_classes=10)
    recipe = make_recipe(configs.load("classifier:cifar10_ve"), ten)
    assert recipe.model(recipe.shapes()).of_process is None
    config = config_of("recipe=exact_recipes:PixelClasses", "sde=ve")  # nor does this one serve any other
    workdir.claim(tmp_path, config)
    for sde in (sj.vp(), sj.ve(sigma_max=10.0)):
        with pytest.raises(
            ConfigError, match=f"trained for VE of another schedule than the score's {type(sde).__name__}"
        ):
            classifiers.restore(tmp_path, about(config, sde, train))
    own = classifiers.restore(tmp_path, about(config, sj.ve(), train))
    assert own.logits(jnp.zeros((2, 8, 8, 1)), jnp.ones(2)).shape == (2, 10)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.weighting=likelihood"], "section 'objective' is set, but recipe 'classifier' does not read it"),
        (["recipe.weighting=likelihood"], "one of simple, log_snr, got 'likelihood'"),
        (["sde=ddpm", "recipe.time_sampling=uniform"], "recipe.weighting = 'log_snr'.*a continuous-time process"),
        (["recipe.label_smoothing=1"], "'recipe.label_smoothing' takes a number of at least 0 and less than 1"),
        (["recipe.probes=3"], "'recipe.probes' does not belong to recipe 'classifier'.*label_smoothing"),
        (["recipe.conditional=true"], "'recipe.conditional' does not belong to recipe 'classifier'"),
        (["train.preview_every=10"], "train.preview_every draws samples"),
        (["model=mlp"], "'mlp' is made for scores, recipe 'classifier' needs one for classes.*mlp_classifier"),
        (["model=unet"], "unknown network 'unet'.*mlp_classifier"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        checks.check(configs.load(MOONS, overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=gaussian"], "needs two classes or more; 'gaussian' has none or one"),
        (["data.classes=1"], r"'moons\[1\]' has none or one"),
        (["model=wide_resnet"], "does not fit data = 'moons'.*mlp_classifier"),
    ],
)
def test_data_that_no_classifier_can_be_built_for_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        make_recipe(configs.load(MOONS, overrides)).shapes()


@pytest.mark.parametrize("mode", ["sample", "sweep", "calibrate", "train_dequantizer", "train_head"])
def test_a_classifier_draws_nothing_and_nothing_is_trained_next_to_it(mode, run):
    folder, config, _ = run
    with pytest.raises(ConfigError, match=f"--mode={mode} needs a model with .*score.*; recipe 'classifier'.*logits"):
        modes.run(mode, config, folder)


@pytest.mark.slow
def test_images_are_told_by_a_run_of_the_command_line(tmp_path):
    config = configs.load("classifier:tiny", ["data.classes=(3,8)"])
    modes.run("train", config, tmp_path)
    [path] = (tmp_path / "eval").glob("step-*.json")
    assert json.loads(path.read_text())["classification"]["classes"] == [3, 8]
    examples, sde = assemble.dataset(config), assemble.sde(config)
    bound = classifiers.restore(tmp_path, about(config, sde, examples))
    assert (bound.num_classes, bound.label_names) == (2, ("3", "8"))
    assert bound.features(jnp.zeros((2, 8, 8, 1)), jnp.full(2, 0.1)).shape == (2, 2, 2, 64)
