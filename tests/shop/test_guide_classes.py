"""Steering towards classes, from a config, under exactly known scores."""

import jax.numpy as jnp
import numpy as np
import pytest
from guided import CONDITIONAL, MIXTURE, config_of, control

from scorejax.experiment import steering
from scorejax.experiment.evaluation import draw, evaluate, given, sweep
from scorejax.experiment.trained import restore
from scorejax.runtime.errors import ConfigError


def drawn(tmp_path, train, *overrides):
    """Mean pixel of each sample, in model space."""
    config = config_of("eval.samples=20", "eval.grid=20", "eval.batch=20", "sampler.steps=20", *overrides)
    samples = draw.draw(evaluate.subject(config, tmp_path), tmp_path)
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
    asked = (*MIXTURE, "guidance=classifier", f"guidance.classifier={classifier}", "guidance.labels=(8,)")
    found, _ = drawn(tmp_path, train, *asked)
    np.testing.assert_allclose([found.mean(), found.std()], [0.4, 0.0625], atol=0.05)
    off, _ = drawn(tmp_path, train, *asked, "guidance.interval=(90,91)")
    assert abs(off.mean() - 0.05) < 0.2 and off.std() > 0.15


def test_a_sweep_steers_every_sampler(tmp_path):
    asked = ("guidance=classifier_free", "guidance.labels=(8,)", "eval.samples=20", "sweep.steps=(20,)")
    config = config_of(*CONDITIONAL, *asked, "sweep.samplers=ancestral:time_grid=log_snr")
    sweep.sweep(config, tmp_path)
    x = np.load(next(tmp_path.glob("samples/step-7-*/x.npy"))).astype(float)
    np.testing.assert_allclose((x.mean() + 0.5) / 8.5 - 1, 0.4, atol=0.06)
    assert (tmp_path / "eval/sweep-7-classifier_free-labels-8.json").is_file()


def test_without_guidance_the_classes_come_in_turn_and_nothing_else_changes(tmp_path, train):
    def classes(*overrides):
        config = config_of(*overrides)
        return steering.classes(config, restore(config, tmp_path))

    np.testing.assert_array_equal(classes(*CONDITIONAL).wanted(jnp.arange(12)), [*range(10), 0, 1])
    assert classes().wanted(jnp.arange(3)) is None


def test_a_conditional_network_restores_by_the_labels_of_the_images_or_by_none(tmp_path, folder, train):
    def told(*overrides):
        config = config_of(*CONDITIONAL, *overrides)
        trained = restore(config, tmp_path)
        task, classes = steering.task(config, trained), steering.classes(config, trained)
        images = given.read(config, task, trained)
        return given.wanted_labels(config, trained.model, task, train, classes, images), images.labels

    labels, own = told("guidance=inpaint")
    np.testing.assert_array_equal(labels, own)
    labels, _ = told("guidance=inpaint", f"guidance.input={folder}")
    np.testing.assert_array_equal(labels, [10] * 4)
    with pytest.raises(ConfigError, match=r"guidance.labels, the class to arrive at"):
        told("guidance=edit")


@pytest.mark.slow
def test_an_edit_arrives_at_the_class_wanted(tmp_path):
    _, rows = control(
        tmp_path, *CONDITIONAL, "guidance=edit", "guidance.t0=1", "guidance.labels=(8,)", "sampler.steps=20"
    )
    np.testing.assert_allclose((rows["x"].mean((1, 2, 3)) + 0.5) / 8.5 - 1, 0.4, atol=0.25)
