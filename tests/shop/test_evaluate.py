"""Evaluation: exact where the score is exact, the same for any batch size, and resumable half-way."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from exact_recipes import TRUTH, VARIANCE, Watch, class_mean
from guided import CONDITIONAL
from guided import config_of as config_of_images
from known import config_of, subject_of, with_weight

from scorejax import data, likelihood
from scorejax.experiment import assemble
from scorejax.experiment.evaluation import bits, draw, evaluate, quality, report, samples
from scorejax.runtime.ledger import Ledger


@pytest.mark.slow
def test_bits_per_dim_of_the_exact_score_is_the_truth_and_every_example_counts_once_in_batches_of_any_size(tmp_path):
    config = config_of("Gaussian", "eval.likelihood_examples=37", "eval.rtol=1e-5", "eval.atol=1e-5")
    model, train = subject_of(config)
    test, results = assemble.dataset(config, "test"), []
    for batch in (5, 64):
        config.eval.batch = batch
        results.append(bits.bits_per_dim(model, train, test, tmp_path, None))
    examples = jnp.asarray(test.examples[data.spread(len(test), 37)])
    truth = np.asarray(likelihood.bits_per_dim(TRUTH.log_prob(examples), 4, 1.0), np.float64)
    for result in results:
        # the prior is not the diffused law at t_max: alpha(1)^2 = 4e-5 of the mean's square
        assert abs(result["bits_per_dim"] - result["truth"]) < 1e-3
        assert result["standard_error"] == pytest.approx(truth.std(ddof=1) / 37**0.5, rel=1e-2)
        assert result["examples"] == 37 and result["failed"] == 0
    for number in ("bits_per_dim", "standard_error"):
        assert results[0][number] == pytest.approx(results[1][number], abs=1e-5)
    assert not list((tmp_path / "eval").iterdir())


def test_a_cut_off_evaluation_goes_on_where_it_stopped(tmp_path):
    config = config_of("Density", "eval.likelihood_examples=37", "eval.batch=10")
    model, train = subject_of(config)
    test = assemble.dataset(config, "test")
    Watch.start()
    whole = bits.bits_per_dim(model, train, test, tmp_path / "whole", None)
    assert Watch.rows == [10] * 4
    Watch.start(limit=2)
    with pytest.raises(Exception, match="cut off here"):
        bits.bits_per_dim(model, train, test, tmp_path / "cut", None)
    Watch.start()
    resumed = bits.bits_per_dim(model, train, test, tmp_path / "cut", None)
    assert Watch.rows == [10] * 2
    assert resumed == whole
    assert whole["bits_per_dim"] == pytest.approx(whole["truth"], abs=1e-5)


@pytest.mark.slow
def test_samples_of_the_exact_score_lie_at_the_floor(tmp_path):
    config = config_of("Gaussian", "sampler.steps=200", "eval.samples=2000", "eval.batch=500")
    config.eval.reference_examples = 0
    model, train = subject_of(config)
    result = samples.draw_and_measure(model, quality.judge(config, train), tmp_path)
    assert result["n"] == 2000 and result["nfe"] == 201
    # the trace of the covariance is 5.3: both numbers are sampling noise of 2,000 points
    assert result["frechet_distance"] < 0.05 and result["frechet_floor"] < 0.05
    assert np.load(f"{result['folder']}/x.npy").shape == (2000, 4)
    assert draw.save_pictures(model, tmp_path, np.load(f"{result['folder']}/x.npy")).stat().st_size > 1000
    assert not list((tmp_path / "eval").iterdir())  # the features are gone


def test_samples_lie_on_the_disk_and_are_never_drawn_twice(tmp_path):
    """Not after a cut, not when more of them are wanted, nor fewer; other weights and seeds draw others."""
    config = config_of("Density")
    model, _ = subject_of(config)

    def drawn(count, batch, model=model, limit=None):
        config.eval.update({"samples": count, "batch": batch, "grid": 1})
        Watch.start(limit)
        found = draw.draw(model, tmp_path)
        assert isinstance(found.x, np.memmap) and found.nfe == 1 and len(found.x) == count
        return found, len(Watch.rows)

    with pytest.raises(Exception, match="cut off here"):
        drawn(9, 3, limit=2)
    (nine, calls), (more, again), (fewer, never) = drawn(9, 3), drawn(14, 4), drawn(4, 2)
    assert (calls, again, never) == (1, 2, 0)
    assert nine.folder == more.folder == fewer.folder
    np.testing.assert_array_equal(more.x[:9], nine.x)
    np.testing.assert_array_equal(fewer.x, nine.x[:4])
    assert len(np.unique(more.x[:, 0])) == 14
    folders = [nine.folder, drawn(1, 1, with_weight(model, 1.0))[0].folder]
    config.eval.seed += 1
    folders.append(drawn(1, 1)[0].folder)
    assert len(set(folders)) == 3


def test_samples_of_another_sampler_lie_elsewhere(tmp_path):
    folders = set()
    for steps in (1, 2):
        model, _ = subject_of(config_of("Gaussian", f"sampler.steps={steps}", "eval.samples=1", "eval.grid=1"))
        folders.add(draw.draw(model, tmp_path).folder)
    assert len(folders) == 2


def test_a_ledger_continues_only_its_own_settings(tmp_path):
    first = Ledger(tmp_path, "x", 5, {"a": 1})
    first.write(0, 3, {"y": np.arange(3.0)})
    again = Ledger(tmp_path, "x", 5, {"a": 1})
    assert again.done == 3
    assert Ledger(tmp_path, "x", 5, {"a": 2}).done == 0
    rows = again.fill([(3, 5, {"y": np.arange(3.0, 5.0)})])
    np.testing.assert_array_equal(rows["y"], np.arange(5.0))
    again.remove()
    assert not again.folder.exists()


def test_a_ledger_grows_when_more_rows_are_wanted(tmp_path):
    Ledger(tmp_path, "x", 3, {}).write(0, 3, {"y": np.arange(3.0), "z": np.ones((3, 2), np.uint8)})
    grown = Ledger(tmp_path, "x", 5, {})
    rows = grown.fill([(3, 5, {"y": np.arange(3.0, 5.0), "z": np.zeros((2, 2), np.uint8)})])
    np.testing.assert_array_equal(rows["y"], np.arange(5.0))
    np.testing.assert_array_equal(rows["z"].sum(1), [2, 2, 2, 0, 0])
    fewer = Ledger(tmp_path, "x", 2, {})
    assert fewer.done == 5
    np.testing.assert_array_equal(fewer.fill([])["y"], np.arange(2.0))


def test_reports_say_what_a_number_means():
    numbers = {"bits_per_dim": 2.5, "standard_error": 0.1, "examples": 9, "of": 10, "failed": 1}
    numbers |= {"gaussian_baseline": 3.0, "uniform_baseline": 4.1, "levels": 17}
    found = {"step": 3, "split": "test", "data": "digits", "likelihood": numbers}
    text = report.summary(found, evaluate.EVALUATIONS)
    for fragment in ("9 of 10 test", "2.5000 +- 0.1000", "3.0000", "17 gray levels", "1 examples left out"):
        assert fragment in text
    json.dumps(numbers)


@pytest.mark.slow
def test_a_conditional_image_model_is_evaluated_with_its_labels(tmp_path):
    config = config_of_images(*CONDITIONAL, "eval.likelihood_examples=4", "eval.grid=4")
    train, test = assemble.dataset(config, "train"), assemble.dataset(config, "test")
    model = evaluate.subject(config, tmp_path)
    result = bits.bits_per_dim(model, train, test, tmp_path, None)
    # of pixels N(m_k, 1/4) for each image's own class k, the mean over the noise within gray levels
    chosen = data.spread(len(test), 4)
    middles = (test.examples[chosen] + 0.5) * 2 / 17 - 1
    squares = (middles - np.asarray(class_mean(test.labels[chosen]))) ** 2 + (2 / 17) ** 2 / 12
    nats = 0.5 * np.log(2 * np.pi * VARIANCE) + squares.mean((1, 2, 3)) / (2 * VARIANCE) - np.log(2 / 17)
    expected = nats / np.log(2)
    assert result["bits_per_dim"] == pytest.approx(expected.mean(), abs=0.03) and result["levels"] == 17
    assert result["standard_error"] == pytest.approx(expected.std(ddof=1) / 2, abs=0.01)
    result = samples.draw_and_measure(model, quality.judge(config, train), tmp_path)
    assert np.isfinite(result["frechet_distance"])
    folder = tmp_path / "samples"
    draw.save_pictures(model, tmp_path, np.load(next(folder.glob("step-7-*/x.npy"))))
    assert {p.name for p in folder.glob("*.png")} == {"step-7.png", "trajectory-7.png"}
    assert np.load(next(folder.glob("step-7-*/x.npy"))).shape == (4, 8, 8, 1)
