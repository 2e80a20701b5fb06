"""Reverse chains from the shell: which chain a config means, and the bound of exactly that chain."""

import json
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import stand_in

from scorejax import data, likelihood, reverse
from scorejax.experiment import assemble as build
from scorejax.experiment import modes
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import calibrate, draw, evaluate, report, sweep, variances, variational
from scorejax.experiment.model import ELBO
from scorejax.reverse import gamma, variance
from scorejax.reverse import optimal_times as trajectories
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError
from scorejax.scores import analytic

CONFIG = "configs/vp_gaussian.py:tiny"
DISCRETE = ["sde.name=ddpm", "sde.schedule=cosine", "sde.n=40", "sampler.t_min=none"]


@pytest.fixture(scope="module")
def truth():
    return analytic.gaussian(data.GAUSSIAN_MEAN, data.GAUSSIAN_COVARIANCE)


@pytest.fixture(scope="module")
def made(truth):
    """A model on a chain of 40 levels, its data, and the statistic of the exact score of the data."""
    config = load(CONFIG, DISCRETE)
    train = build.dataset(config, "train")
    model = evaluate.Model(config, build.sde(config), build.network(config, train), {"w": np.zeros(1)}, 7)
    known = gamma.grid(model.process)
    score = truth.score(model.process)
    squares = gamma.estimate(jax.random.key(0), model.process, score, jnp.asarray(train.examples[:500]), known)
    return model, train, gamma.Gamma.of(model.process, known, squares)


@pytest.fixture
def exact(made, monkeypatch, truth):
    """The same, with that score for a network."""
    monkeypatch.setattr(build, "score", lambda config, process, module, params, **_: truth.score(process))
    return made


@pytest.fixture
def calibrated(exact, tmp_path):
    """The same in a folder with its calibration."""
    model, train, statistic = exact
    path = variances.gamma_path(tmp_path, 7)
    path.parent.mkdir()
    statistic.save(path)
    return (
        model._replace(config=load(CONFIG, [*DISCRETE, "eval.likelihood_examples=23", "eval.elbo=8"])),
        train,
        tmp_path,
    )


def chain_of(model, train, workdir, *settings):
    """The stepper's chain for sampler settings."""
    config = load(CONFIG, [*DISCRETE, *(f"sampler.{each}" for each in settings)])
    model = variances.with_fitted(model._replace(config=config), train, workdir)
    return build.sampler(config, model.process, model.fitted)["stepper"].table


def test_without_a_file_every_mode_takes_the_calibration_of_the_run(calibrated, exact):
    """Stepper `analytic` is `reverse_chain` with that variance, and both are the chain of the run's own statistic."""
    model, train, workdir = calibrated
    times = trajectories.even(model.process, 5)
    expected = reverse.chain(model.process, times, variance=exact[2])
    for settings in (["stepper=analytic"], ["stepper=reverse_chain", "variance=analytic"]):
        found = chain_of(model, train, workdir, *settings, "times=even", "steps=4")
        np.testing.assert_allclose(found.steps.variance, expected.steps.variance)
    file = workdir / "other.npz"
    replace(exact[2], mean_square=0.5 * exact[2].mean_square).save(file)
    found = chain_of(model, train, workdir, "stepper=analytic", f"gamma={file}", "times=even", "steps=4")
    assert np.all(found.steps.variance > expected.steps.variance)


@pytest.mark.parametrize("name", ["even", "ddim_uniform", "ddim_quadratic"])
def test_a_trajectory_of_a_config_visits_the_levels_of_its_name(calibrated, name):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=reverse_chain", f"times={name}", "steps=4")
    np.testing.assert_allclose(found.times, getattr(trajectories, name)(model.process, 5))


def test_an_optimal_trajectory_is_of_the_statistic_and_may_end_earlier(calibrated, exact):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=analytic", "times=optimal", "steps=4")
    np.testing.assert_allclose(found.times, trajectories.optimal(model.process, exact[2], 5))
    late = chain_of(model, train, workdir, "stepper=analytic", "times=optimal", "steps=4", "t_min=0.2")
    assert late.times[-1] == pytest.approx(0.2) and len(late.times) == 5


def test_settings_reach_the_chain_and_images_are_clipped(calibrated):
    model, train, workdir = calibrated
    found = chain_of(model, train, workdir, "stepper=reverse_chain", "variance=forward", "eta=0.5", "steps=4")
    np.testing.assert_array_equal(found.steps.variance, found.steps.forward)
    assert found.clip is None and found.half_range is None and not found.rederive_noise
    images = load("configs/vp_digits.py:tiny", ["sampler.stepper=reverse_chain", "sampler.last_noise=0.01"])
    stepper = build.sampler(images, build.sde(images))["stepper"]
    assert stepper.table.clip == (-1.0, 1.0) and stepper.table.half_range == 1.0
    assert stepper.last_noise == 0.01
    images.sampler.clip = False
    assert build.sampler(images, build.sde(images))["stepper"].table.clip is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["sampler.stepper=analytic"], "calibrate"),
        (["sampler.stepper=ancestral", "sampler.times=optimal"], "calibrate"),
        (["sampler.stepper=npr"], "--mode=train_head"),
        (["sampler.stepper=reverse_chain", "sampler.variance=learned"], "learned_range"),
        (["sampler.stepper=reverse_chain", "sampler.variance=best"], "posterior, forward, analytic, npr"),
        (["sampler.stepper=npr", "sampler.variance=sn"], "does not belong to npr"),
        (["sampler.stepper=ddim", "sampler.clip=true"], "reverse_chain with sampler.eta = 0"),
        (["sampler.stepper=ancestral", "sampler.gamma=x.npz"], "does not use it"),
        (["sampler.stepper=ancestral", "sampler.times=even", "sampler.t_min=0.1"], "ends at the first level"),
        (["sampler.stepper=ancestral", "sampler.times=even", "sampler.steps=40"], "at most the 40"),
        (
            ["sde.name=vp", "sde.schedule=none", "sde.n=none", "sampler.times=ddim_uniform"],
            "levels of a discrete chain",
        ),
    ],
)
def test_a_sampler_that_cannot_be_says_what_to_do(exact, tmp_path, settings, words):
    model, train, _ = exact
    config = load(CONFIG, [*DISCRETE, *settings])
    with pytest.raises(ConfigError, match=words):
        process = build.sde(config) if "sde.name=vp" in settings else model.process
        model = variances.with_fitted(model._replace(config=config, process=process), train, tmp_path)
        build.sampler(config, process, model.fitted)


@pytest.mark.parametrize("stepper", ["analytic", "npr", "reverse_chain"])
def test_a_run_may_name_a_sampler_whose_variance_is_fitted_later(stepper):
    build.check(load(CONFIG, [f"sampler.stepper={stepper}", "eval.after_training=false"]))
    if stepper != "reverse_chain":
        with pytest.raises(ConfigError, match="after_training=false"):
            evaluate.check(load(CONFIG, [f"sampler.stepper={stepper}"]))


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
    model, train, _ = exact
    config = load(CONFIG, [*DISCRETE, "eval.elbo=8", *settings])
    with pytest.raises(ConfigError, match=words):
        variational.asked(model._replace(config=config), train, tmp_path)
    if settings not in ([], ["eval.elbo_variance=sn"]):
        with pytest.raises(ConfigError, match=words):
            evaluate.check(config)


def test_the_bound_of_an_evaluation_is_the_bound_of_its_chain_in_batches_of_any_size(calibrated, exact, truth):
    """Equal to `likelihood.elbo` on the same keys; a calibrated run takes Analytic-DPM's variance."""
    model, train, workdir = calibrated
    test = build.dataset(model.config, "test")
    results = []
    for batch in (5, 64):
        model.config.eval.batch = batch
        bound = variational.asked(model, train, workdir)
        result, ledger = variational.bits_per_dim(bound, test, 23, workdir)
        results.append(np.stack([np.array(ledger.fill([])[part]) for part in variational.PARTS]))
        ledger.remove()
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
    assert (result["variance"], result["evaluations"], result["times"]) == ("analytic", 8, "even")
    chain = reverse.chain(model.process, trajectories.even(model.process, 8), variance=exact[2])
    key = jax.random.fold_in(jax.random.key(model.config.eval.seed), ELBO)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(23))
    examples = jnp.asarray(test.examples[data.spread(len(test), 23)])
    direct = likelihood.elbo(keys, model.process, truth.score(model.process), examples, chain)
    np.testing.assert_allclose(results[0], [direct.prior, direct.kl.sum(1), direct.decoder], rtol=1e-4, atol=1e-5)
    total = np.asarray(direct.total, np.float64)
    assert result["bits_per_dim"] == pytest.approx(total.mean(), rel=1e-5)
    assert result["standard_error"] == pytest.approx(total.std(ddof=1) / 23**0.5, rel=1e-4)
    assert sum(result[part] for part in variational.PARTS) == pytest.approx(result["bits_per_dim"])


def test_a_cut_off_bound_and_a_cut_off_calibration_go_on_where_they_stopped(calibrated):
    model, train, workdir = calibrated
    model.config.eval.batch = 10
    test = build.dataset(model.config, "test")
    bound = variational.asked(model, train, workdir)
    works = {
        "bound": lambda folder: variational.bits_per_dim(bound, test, 23, folder)[0],
        "calibration": lambda folder: calibrate.statistic(model, train, folder, 23).mean_square.tolist(),
    }
    real = parallel.map_batches
    for name, work in works.items():
        starts = []

        def cut(*args, starts=starts, **kwargs):
            starts.append(kwargs["start"])
            for i, batch in enumerate(real(*args, **kwargs)):
                if len(starts) == 1 and i == 1:
                    raise KeyboardInterrupt
                yield batch

        whole = work(workdir / "whole")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parallel, "map_batches", cut)
            with pytest.raises(KeyboardInterrupt):
                work(workdir / "cut")
            assert work(workdir / "cut") == whole, name
        assert starts == [0, 10], name


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Known:
    """A trained head that predicts one residual everywhere."""

    value: jax.Array

    def on(self, process, score):
        return variance.NoiseResidual(jax.tree_util.Partial(residual, self.value))


def residual(value, x, t):
    return jnp.full_like(x, value)


def test_a_head_that_predicts_one_residual_everywhere_is_analytic_dpm(exact, tmp_path):
    """Its samples and its bound, drawn through the shell, are those of a statistic of that residual."""
    model, train, statistic = exact
    config = load(CONFIG, [*DISCRETE, "sampler.times=even", "eval.samples=6", "eval.grid=4"])
    test = build.dataset(config, "test")
    found = []
    for name, fitted in (
        ("npr", build.Fitted(head=Known(jnp.float32(0.3)))),
        ("analytic", build.Fitted(gamma=replace(statistic, mean_square=np.full(40, 0.7)))),
    ):
        config.sampler.stepper = name
        own = model._replace(config=config, fitted=fitted)
        samples = draw.draw(own, train, tmp_path)
        plan = build.plan(config)
        bits, _ = variational.bits_per_dim(variational.of_plan(plan, own), test, 6, tmp_path)
        found.append((np.array(samples.x), bits["bits_per_dim"], samples.folder))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)
    config.sampler.stepper = "npr"
    other = model._replace(config=config, fitted=build.Fitted(head=Known(jnp.float32(0.2))))
    assert draw.draw(other, train, tmp_path).folder != found[0][2]  # samples of another head lie elsewhere


def test_a_report_shows_the_bound_and_its_parts_beside_or_without_the_exact_bits():
    bound = {"bits_per_dim": 2.75, "standard_error": 0.02, "prior": 0.25, "kl": 2.0, "decoder": 0.5, "of": 10}
    bound |= {"variance": "npr", "times": "even", "evaluations": 50, "examples": 9}
    text = report.summary({"step": 3, "split": "test", "data": "digits", "elbo": bound})
    for fragment in ("9 of 10 test", "2.7500 +- 0.0200", "npr variance", "50 evaluations", "KL 2.0000, decoder 0.5"):
        assert fragment in text
    json.dumps(bound)


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("npr", "npr"),
        ("reverse_chain:variance=ocm:times=log_snr", "reverse_chain, ocm variance, log_snr times"),
        ("dpm_solver:order=2", "dpm_solver, order 2"),
    ],
)
def test_a_sampler_of_a_table_has_a_readable_name(text, called):
    assert sweep.label(text) == called


@pytest.mark.slow
def test_a_trained_head_is_found_by_the_bound_the_sampler_and_the_sweep(tmp_path, capsys):
    """From a checkpoint of images over its head to its bound, whose parts sum to it, its samples and its row."""

    def run(mode, *settings):
        common = ("eval.exact=false", "eval.samples=12", "eval.grid=4", "eval.likelihood_examples=4")
        modes.run(mode, load("configs/vp_digits.py:tiny", [*common, *settings]), tmp_path)
        return capsys.readouterr().out

    stand_in(load("configs/vp_digits.py:tiny"), tmp_path)
    run("train_head", "head.kind=npr")
    run("calibrate", "eval.calibration_examples=8")
    assert "npr variance, even times, 3 evaluations" in run("eval", "eval.samples=0", "eval.elbo=3")
    saved = json.loads((tmp_path / "eval" / "step-1.json").read_text())["elbo"]
    assert sum(saved[part] for part in variational.PARTS) == pytest.approx(saved["bits_per_dim"])
    assert saved["clip"] == [-1.0, 1.0]
    told = run("sweep", "sweep.samplers=npr:times=optimal", "sweep.steps=(2,)", "sweep.bits=4")
    assert told.count("| npr, optimal times |") == 2
