"""Steering towards classes, from a config, under exactly known scores."""

import jax.numpy as jnp
import numpy as np
import pytest
from guided import CONDITIONAL, config_of, control

from scorejax.experiment import assemble as build
from scorejax.experiment import steering as guide
from scorejax.experiment.evaluation import controlled, draw, evaluate, sweep
from scorejax.runtime.errors import ConfigError

pytestmark = pytest.mark.usefixtures("known_scores")


def drawn(tmp_path, train, *overrides):
    """Mean pixel of each sample, in model space."""
    config = config_of("eval.samples=20", "eval.grid=20", "eval.batch=20", "sampler.steps=20", *overrides)
    samples = draw.draw(evaluate.steered(evaluate.restore(config, tmp_path, train), train), train, tmp_path)
    return (np.asarray(samples.x, float).mean((1, 2, 3)) + 0.5) / 8.5 - 1, samples.folder


def test_samples_are_of_the_classes_wanted_in_turn(tmp_path, train):
    found, _ = drawn(tmp_path, train, *CONDITIONAL, "guidance=classifier_free", "guidance.labels=(1,8)")
    np.testing.assert_allclose(found[::2].mean(), -0.3, atol=0.06)
    np.testing.assert_allclose(found[1::2].mean(), 0.4, atol=0.06)


@pytest.mark.slow
def test_a_larger_scale_goes_further_from_no_class_and_a_negative_one_away_from_it(tmp_path, train):
    # between Gaussians of one variance the guided score is that of the extrapolated mean
    asked = (*CONDITIONAL, "guidance=classifier_free", "guidance.labels=(5,)")
    (plain, first), (far, second), (away, third) = (
        drawn(tmp_path, train, *asked, f"guidance.scale={scale}", *more)
        for scale, more in ((1, ()), (5, ()), (2, ("guidance.negative=8",)))
    )
    np.testing.assert_allclose(
        [plain.mean(), far.mean(), away.mean()], [0.1, 0.05 + 5 * 0.05, 0.4 - 2 * 0.3], atol=0.06
    )
    assert len({first, second, third}) == 3


@pytest.mark.slow
def test_the_exact_classifier_makes_the_conditional_law(tmp_path, train, classifier):
    asked = ("guidance=classifier", "guidance.classifier=there", "guidance.labels=(8,)")
    found, _ = drawn(tmp_path, train, *asked)
    np.testing.assert_allclose([found.mean(), found.std()], [0.4, 0.0625], atol=0.05)
    off, _ = drawn(tmp_path, train, *asked, "guidance.interval=(90,91)")
    assert abs(off.mean() - 0.05) < 0.2 and off.std() > 0.15


def test_a_sweep_steers_every_sampler(tmp_path):
    asked = ("guidance=classifier_free", "guidance.labels=(8,)", "eval.samples=20", "sweep.steps=(20,)")
    config = config_of(*CONDITIONAL, *asked, "sweep.samplers=ancestral:times=log_snr")
    sweep.sweep(config, tmp_path)
    x = np.load(next(tmp_path.glob("samples/step-7-*/x.npy"))).astype(float)
    np.testing.assert_allclose((x.mean() + 0.5) / 8.5 - 1, 0.4, atol=0.06)
    assert (tmp_path / "eval/sweep-7-classifier_free-labels-8.json").is_file()


def test_without_guidance_the_classes_come_in_turn_and_nothing_else_changes(tmp_path, train):
    config = config_of(*CONDITIONAL)
    classes = guide.classes(config, build.sde(config), train)
    np.testing.assert_array_equal(classes.wanted(jnp.arange(12)), [*range(10), 0, 1])
    assert guide.classes(config_of(), build.sde(config), train).wanted(jnp.arange(3)) is None


def test_a_conditional_network_restores_by_the_labels_of_the_images_or_by_none(folder, train):
    config = config_of(*CONDITIONAL, "guidance=inpaint")
    process = build.sde(config)
    task, classes = guide.task(config, process, train), guide.of_task(config, process, train)
    given = controlled.read(config, task, train)
    np.testing.assert_array_equal(controlled.wanted_labels(config, task, train, classes, given), given.labels)
    config.guidance.input = str(folder)
    given = controlled.read(config, task, train)
    np.testing.assert_array_equal(controlled.wanted_labels(config, task, train, classes, given), [10] * 4)
    config = config_of(*CONDITIONAL, "guidance=edit")
    with pytest.raises(ConfigError, match=r"guidance.labels, the class to arrive at"):
        controlled.wanted_labels(config, guide.task(config, process, train), train, classes, given)


@pytest.mark.slow
def test_an_edit_arrives_at_the_class_wanted(tmp_path):
    _, rows = control(
        tmp_path, *CONDITIONAL, "guidance=edit", "guidance.t0=1", "guidance.labels=(8,)", "sampler.steps=20"
    )
    np.testing.assert_allclose((rows["x"].mean((1, 2, 3)) + 0.5) / 8.5 - 1, 0.4, atol=0.25)
