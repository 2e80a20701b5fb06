"""Reverse chains from the shell: which chain a config means, and the bound of exactly that chain."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_recipes import TRUTH, Watch
from jax.tree_util import Partial
from known import DISCRETE, config_of, subject_of
from runs import stand_in

from scorejax import data, likelihood, reverse
from scorejax.experiment import assemble, checks, modes
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import calibrate, draw, evaluate, report, sweep_pages, variances, variational
from scorejax.experiment.evaluation.subject import ELBO
from scorejax.reverse import gamma, variance
from scorejax.reverse import optimal_times as trajectories
from scorejax.runtime.errors import ConfigError

NETWORK = "vp_gaussian:tiny"  # for what is refused before any weights are read


@pytest.fixture(scope="module")
def exact():
    """The exact score on a chain of 40 levels, its data, and its statistic."""
    model, train = subject_of(config_of("Gaussian", *DISCRETE))
    known = gamma.grid(model.sde)
    squares = gamma.estimate(
        jax.random.key(0), model.sde, TRUTH.score(model.sde), jnp.asarray(train.examples[:500]), known
    )
    return model, train, gamma.Gamma.of(model.sde, known, squares)


@pytest.fixture
def calibrated(exact, tmp_path):
    """The same in a folder with its calibration."""
    model, train, statistic = exact
    path = variances.gamma_path(tmp_path, 7)
    path.parent.mkdir()
    statistic.save(path)
    return set_to(model, "eval.likelihood_examples=23", "eval.elbo=8"), train, tmp_path


def set_to(model, *settings):
    """The model, to be drawn from or measured with these settings."""
    return model._replace(own_config=config_of("Gaussian", *DISCRETE, *settings))


def chain_of(model, train, workdir, *settings):
    """The stepper's chain for sampler settings."""
    model = variances.with_fitted(set_to(model, *(f"sampler.{each}" for each in settings)), workdir)
    return assemble.sampler(model.config, model.sde, model.fitted)["stepper"].table


def test_without_a_file_every_mode_takes_the_calibration_of_the_run(calibrated, exact):
    """Stepper `analytic` is `reverse_chain` with that variance, and both are the chain of the run's own statistic."""
    model, train, workdir = calibrated
    times = trajectories.even(model.sde, 5)
    expected = reverse.chain(model.sde, times, variance=exact[2])
    for stepper in ("analytic", "reverse_chain:variance=analytic"):
        found = chain_of(model, train, workdir, f"stepper={stepper}", "time_grid=even", "steps=4")
        np.testing.assert_allclose(found.steps.variance, expected.steps.variance)
    file = workdir / "other.npz"
    replace(exact[2], mean_square=0.5 * exact[2].mean_square).save(file)
    found = chain_of(model, train, workdir, "stepper=analytic", f"gamma={file}", "time_grid=even", "steps=4")
    assert np.all(found.steps.variance > expected.steps.variance)


@pytest.mark.parametrize("name", ["even", "ddim_uniform", "ddim_quadratic"])
def test_a_trajectory_of_a_config_visits_the_levels_of_its_name(calibrated, name):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=reverse_chain", f"time_grid={name}", "steps=4")
    np.testing.assert_allclose(found.times, getattr(trajectories, name)(model.sde, 5))


def test_an_optimal_trajectory_is_of_the_statistic_and_may_end_earlier(calibrated, exact):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=analytic", "time_grid=optimal", "steps=4")
    np.testing.assert_allclose(found.times, trajectories.optimal(model.sde, exact[2], 5))
    late = chain_of(model, train, workdir, "stepper=analytic", "time_grid=optimal", "steps=4", "t_min=0.2")
    assert late.times[-1] == pytest.approx(0.2) and len(late.times) == 5


def test_settings_reach_the_chain_and_images_are_clipped(calibrated):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=reverse_chain:variance=forward:eta=0.5", "steps=4")
    np.testing.assert_array_equal(found.steps.variance, found.steps.forward)
    assert found.clip is None and found.half_range is None and not found.rederive_noise
    images = load("vp_digits:tiny", ["sampler.stepper=reverse_chain:last_noise=0.01"])

    def stepper():
        return assemble.sampler(images, assemble.sde(images), data_range=(-1.0, 1.0))["stepper"]

    assert stepper().table.clip == (-1.0, 1.0) and stepper().table.half_range == 1.0
    assert stepper().last_noise == 0.01
    images.sampler.stepper.clip = False
    assert stepper().table.clip is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["sampler.stepper=analytic"], "calibrate"),
        (["sampler.stepper=ancestral", "sampler.time_grid=optimal"], "calibrate"),
        (["sampler.stepper=npr"], "--mode=train_head"),
        (["sampler.stepper=reverse_chain:variance=learned"], "learned_range"),
        (["sampler.stepper=reverse_chain:variance=best"], "posterior, forward, analytic, npr"),
        (["sampler.stepper=npr:variance=sn"], "'sampler.stepper.variance' does not belong to stepper 'npr'"),
        (["sampler.stepper=ddim:clip=true"], "'sampler.stepper.clip' takes a number of more than 0 or none"),
        (["sampler.stepper=ancestral", "sampler.gamma=x.npz"], "does not use it"),
        (["sampler.stepper=ancestral", "sampler.time_grid=even", "sampler.t_min=0.1"], "ends at the first level"),
        (
            ["sampler.stepper=ancestral", "sampler.time_grid=even", "sampler.steps=40"],
            "41 levels, but this chain has 40; take fewer",
        ),
        (["sde=vp", "sampler.time_grid=ddim_uniform"], "levels of a discrete chain"),
    ],
)
def test_a_sampler_that_cannot_be_says_what_to_do(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        model, _ = subject_of(config_of("Gaussian", *DISCRETE, *settings))
        model = variances.with_fitted(model, tmp_path)
        assemble.sampler(model.config, model.sde, model.fitted)


@pytest.mark.parametrize("stepper", ["analytic", "npr", "reverse_chain"])
def test_a_run_may_name_a_sampler_whose_variance_is_fitted_later(stepper):
    checks.check(load(NETWORK, [f"sampler.stepper={stepper}", "eval.after_training=false"]))
    if stepper != "reverse_chain":
        with pytest.raises(ConfigError, match="after_training=false"):
            evaluate.check(load(NETWORK, [f"sampler.stepper={stepper}"]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["eval.elbo_eta=0"], "infinite"),
        (["eval.elbo=41"], "has 40 levels"),
        (["eval.elbo=1"], "at least 2"),
        (["eval.elbo_variance=best"], "posterior, forward"),
        ([], "--mode=calibrate"),
        (["eval.elbo_variance=sn"], "kind=sn"),
    ],
)
def test_a_bound_that_cannot_be_is_refused_before_any_work(exact, tmp_path, settings, words):
    model, *_ = exact
    with pytest.raises(ConfigError, match=words):
        variational.asked(set_to(model, "eval.elbo=8", *settings), tmp_path)
    if settings not in ([], ["eval.elbo_variance=sn"]):
        with pytest.raises(ConfigError, match=words):
            evaluate.check(load(NETWORK, [*DISCRETE, "eval.elbo=8", *settings]))


@pytest.mark.slow
def test_the_bound_of_an_evaluation_is_the_bound_of_its_chain_in_batches_of_any_size(calibrated, exact):
    """Equal to `likelihood.elbo` on the same keys; a calibrated run takes Analytic-DPM's variance."""
    model, _, workdir = calibrated
    test = assemble.dataset(model.config, "test")
    results = []
    for batch in (5, 64):
        model.config.eval.batch = batch
        bound = variational.asked(model, workdir)
        result, ledger = variational.bits_per_dim(bound, test, 23, workdir)
        results.append(np.stack([np.array(ledger.fill([])[part]) for part in variational.PARTS]))
        ledger.remove()
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
    assert (result["variance"], result["evaluations"], result["times"]) == ("analytic", 8, "even")
    chain = reverse.chain(model.sde, trajectories.even(model.sde, 8), variance=exact[2])
    key = jax.random.fold_in(jax.random.key(model.config.eval.seed), ELBO)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(23))
    examples = jnp.asarray(test.examples[data.spread(len(test), 23)])
    direct = likelihood.elbo(keys, model.sde, TRUTH.score(model.sde), examples, chain)
    np.testing.assert_allclose(results[0], [direct.prior, direct.kl.sum(1), direct.decoder], rtol=1e-4, atol=1e-5)
    total = np.asarray(direct.total, np.float64)
    assert result["bits_per_dim"] == pytest.approx(total.mean(), rel=1e-5)
    assert result["standard_error"] == pytest.approx(total.std(ddof=1) / 23**0.5, rel=1e-4)
    assert sum(result[part] for part in variational.PARTS) == pytest.approx(result["bits_per_dim"])


@pytest.mark.slow
def test_a_cut_off_bound_and_a_cut_off_calibration_go_on_where_they_stopped(calibrated):
    """A batch calls the score once for each of its levels; cut off in its second batch, the rest is two batches."""
    _, _, workdir = calibrated
    settings = (
        "eval.batch=10",
        "eval.elbo=4",
        "recipe.watch=true",
        f"sampler.gamma={variances.gamma_path(workdir, 7)}",
    )
    model, train = subject_of(config_of("Gaussian", *DISCRETE, *settings))
    test = assemble.dataset(model.config, "test")
    bound = variational.asked(model, workdir)
    works = {
        "bound": lambda folder: variational.bits_per_dim(bound, test, 23, folder)[0],
        "calibration": lambda folder: calibrate.statistic(model, train, folder, 23).mean_square.tolist(),
    }
    for name, work in works.items():
        Watch.start()
        whole = work(workdir / "whole")
        calls = len(Watch.rows)
        assert calls % 3 == 0, name
        Watch.start(limit=calls // 3 + 1)
        with pytest.raises(Exception, match="cut off here"):
            work(workdir / "cut")
        Watch.start()
        assert work(workdir / "cut") == whole, name
        assert len(Watch.rows) == 2 * calls // 3, name


def one_residual(value, sde, score):
    """A trained head that predicts one residual everywhere."""
    return variance.NoiseResidual(Partial(residual, value))


def residual(value, x, t):
    return jnp.full_like(x, value)


@pytest.mark.slow
def test_a_head_that_predicts_one_residual_everywhere_is_analytic_dpm(exact, tmp_path):
    """Its samples and its bound, drawn through the shell, are those of a statistic of that residual."""
    model, _, statistic = exact
    test = assemble.dataset(model.config, "test")
    found = []

    def drawn_by(name, **fitted):
        settings = (f"sampler.stepper={name}", "sampler.time_grid=even", "eval.samples=6", "eval.grid=4")
        own = set_to(model, *settings)._replace(fitted=assemble.Fitted(**fitted))
        return own, draw.draw(own, tmp_path)

    for name, fitted in (
        ("npr", {"head": Partial(one_residual, jnp.float32(0.3))}),
        ("analytic", {"gamma": replace(statistic, mean_square=np.full(40, 0.7))}),
    ):
        own, samples = drawn_by(name, **fitted)
        bits, _ = variational.bits_per_dim(variational.of_sampler(own), test, 6, tmp_path)
        found.append((np.array(samples.x), bits["bits_per_dim"], samples.folder))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)
    _, others = drawn_by("npr", head=Partial(one_residual, jnp.float32(0.2)))
    assert others.folder != found[0][2], "samples of another head lie elsewhere"


def test_a_report_shows_the_bound_and_its_parts_beside_or_without_the_exact_bits():
    bound = {"bits_per_dim": 2.75, "standard_error": 0.02, "prior": 0.25, "kl": 2.0, "decoder": 0.5, "of": 10}
    bound |= {"variance": "npr", "times": "even", "evaluations": 50, "examples": 9}
    text = report.summary({"step": 3, "split": "test", "data": "digits", "elbo": bound}, evaluate.EVALUATIONS)
    for fragment in ("9 of 10 test", "2.7500 +- 0.0200", "npr variance", "50 evaluations", "KL 2.0000, decoder 0.5"):
        assert fragment in text
    json.dumps(bound)


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("npr", "npr"),
        ("reverse_chain:variance=ocm:time_grid=log_snr", "reverse_chain, ocm variance, log_snr grid"),
        ("dpm_solver:order=2", "dpm_solver, order 2"),
    ],
)
def test_a_sampler_of_a_table_has_a_readable_name(text, called):
    assert sweep_pages.label(text) == called


@pytest.mark.slow
def test_a_trained_head_is_found_by_the_bound_the_sampler_and_the_sweep(tmp_path, capsys):
    """From a checkpoint of images over its head to its bound, whose parts sum to it, its samples and its row."""

    def run(mode, *settings):
        common = ("eval.exact=false", "eval.samples=12", "eval.grid=4", "eval.likelihood_examples=4")
        modes.run(mode, load("vp_digits:tiny", [*network, *common, *settings]), tmp_path)
        return capsys.readouterr().out

    network = ("model.features=8", "model.channel_multipliers=(1,)", "model.attention_resolutions=()")
    stand_in(load("vp_digits:tiny", network), tmp_path)
    run("train_head", "head.kind=npr")
    run("calibrate", "eval.calibration_examples=8")
    assert "npr variance, even times, 3 evaluations" in run("eval", "eval.samples=0", "eval.elbo=3")
    saved = json.loads((tmp_path / "eval" / "step-1.json").read_text())["elbo"]
    assert sum(saved[part] for part in variational.PARTS) == pytest.approx(saved["bits_per_dim"])
    assert saved["clip"] == [-1.0, 1.0]
    told = run("sweep", "sweep.samplers=npr:time_grid=optimal", "sweep.steps=(2,)", "sweep.bits=4")
    assert told.count("| npr, optimal grid |") == 2
