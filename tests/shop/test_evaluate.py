"""Evaluation: exact where the score is exact, the same for any batch size, and resumable half-way."""

import json

import jax
import numpy as np
import pytest

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import draw, evaluate, quality, report
from scorejax.runtime import parallel
from scorejax.runtime.ledger import Ledger
from scorejax.scores import analytic

CONFIG = "configs/vp_gaussian.py:tiny"


@pytest.fixture(scope="module")
def truth():
    return analytic.gaussian(data.GAUSSIAN_MEAN, data.GAUSSIAN_COVARIANCE)


@pytest.fixture
def exact(monkeypatch, truth):
    """An evaluation whose network is the exact score of the data: it has closed-form answers."""
    monkeypatch.setattr(build, "score", lambda config, process, module, params, **_: truth.score(process))
    config = load(CONFIG, ["eval.likelihood_examples=37", "eval.rtol=1e-5", "eval.atol=1e-5", "eval.divergence=exact"])
    train = build.dataset(config, "train")
    return evaluate.Model(config, build.sde(config), build.network(config, train), {"w": np.zeros(1)}, 7), train


def test_bits_per_dim_of_the_exact_score_is_the_truth(exact, tmp_path):
    model, train = exact
    result = evaluate.bits_per_dim(model, train, build.dataset(model.config, "test"), tmp_path)
    # the prior is not the diffused law at t_max: alpha(1)^2 = 4e-5 of the mean's square
    assert abs(result["bits_per_dim"] - result["truth"]) < 1e-3
    assert result["examples"] == 37 and result["failed"] == 0


@pytest.mark.parametrize("batch", [5, 64])
def test_every_example_counts_once_whatever_the_batch_size(exact, tmp_path, batch):
    model, train = exact
    model.config.eval.batch = batch
    test = build.dataset(model.config, "test")
    seen = []
    real = parallel.map_batches

    def recording(*args, **kwargs):
        for first, end, rows in real(*args, **kwargs):
            seen.append((first, end, rows["bits"]))
            yield first, end, rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "map_batches", recording)
        evaluate.bits_per_dim(model, train, test, tmp_path)
    assert [s[0] for s in seen] == list(range(0, 37, batch)) and seen[-1][1] == 37
    together = np.concatenate([s[2] for s in seen])
    assert together.shape == (37,)
    reference = tmp_path.parent / "bits-of-any-batch-size.npy"
    if reference.exists():
        np.testing.assert_allclose(together, np.load(reference), rtol=0, atol=1e-5)
    np.save(reference, together)


def test_a_cut_off_evaluation_goes_on_where_it_stopped(exact, tmp_path):
    model, train = exact
    model.config.eval.batch = 10
    test = build.dataset(model.config, "test")
    whole = evaluate.bits_per_dim(model, train, test, tmp_path / "whole")
    real, starts = parallel.map_batches, []

    def cut(*args, **kwargs):
        starts.append(kwargs["start"])
        for i, batch in enumerate(real(*args, **kwargs)):
            if len(starts) == 1 and i == 2:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "map_batches", cut)
        with pytest.raises(KeyboardInterrupt):
            evaluate.bits_per_dim(model, train, test, tmp_path / "cut")
        resumed = evaluate.bits_per_dim(model, train, test, tmp_path / "cut")
    assert starts == [0, 20]
    assert resumed == whole


def test_samples_of_the_exact_score_lie_at_the_floor(exact, tmp_path):
    model, train = exact
    model.config.sampler.steps = 200
    model.config.eval.update({"samples": 2000, "batch": 500, "reference_examples": 0})
    result = evaluate.draw_and_measure(model, train, quality.judge(model.config, train), tmp_path)
    assert result["n"] == 2000 and result["nfe"] == 201
    # the trace of the covariance is 5.3: both numbers are sampling noise of 2,000 points
    assert result["frechet_distance"] < 0.05 and result["frechet_floor"] < 0.05
    assert np.load(f"{result['folder']}/x.npy").shape == (2000, 4)
    assert (tmp_path / "samples" / "step-7.png").stat().st_size > 1000
    assert not list((tmp_path / "eval").iterdir())  # the features are gone


@pytest.fixture
def starts(monkeypatch):
    """Samples that are their own numbers, and the first one of every drawing; the first drawing is cut off."""
    seen = []

    def numbers(fn, held, *, stop, batch_size, start):
        seen.append(start)
        for first in range(start, stop, batch_size):
            if len(seen) == 1 and first >= 2 * batch_size:
                raise KeyboardInterrupt
            index = np.arange(first, min(first + batch_size, stop))
            x = np.broadcast_to(np.float32(index)[:, None], (len(index), 4))
            yield first, first + len(index), {"x": x, "nfe": np.full(len(index), 3)}

    monkeypatch.setattr(parallel, "map_batches", numbers)
    return seen


def test_samples_lie_on_the_disk_and_are_never_drawn_twice(exact, tmp_path, starts):
    """Not after a cut, not when more of them are wanted, nor fewer; other weights, seeds and samplers draw others."""
    model, train = exact

    def drawn(count, batch, params=model.params):
        model.config.eval.update({"samples": count, "batch": batch, "grid": 1})
        samples = draw.draw(model._replace(params=params), train, tmp_path)
        np.testing.assert_array_equal(samples.x[:, 0], np.arange(count))
        assert isinstance(samples.x, np.memmap) and samples.nfe == 3
        return samples.folder

    with pytest.raises(KeyboardInterrupt):
        drawn(9, 3)
    folders = [drawn(9, 3), drawn(14, 4), drawn(4, 2)]
    assert starts == [0, 6, 9, 14] and len(set(folders)) == 1
    folders.append(drawn(1, 1, params={"w": np.ones(1)}))
    for section, key in (("eval", "seed"), ("sampler", "steps")):
        model.config[section][key] += 1
        folders.append(drawn(1, 1))
    assert starts[4:] == [0, 0, 0] and len(set(folders)) == 4


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
    likelihood = {"bits_per_dim": 2.5, "standard_error": 0.1, "examples": 9, "of": 10, "failed": 1}
    likelihood |= {"gaussian_baseline": 3.0, "uniform_baseline": 4.1, "levels": 17}
    text = report.summary({"step": 3, "split": "test", "data": "digits", "likelihood": likelihood})
    for fragment in ("9 of 10 test", "2.5000 +- 0.1000", "3.0000", "17 gray levels", "1 examples left out"):
        assert fragment in text
    json.dumps(likelihood)


@pytest.mark.slow
def test_a_conditional_image_model_is_evaluated_with_its_labels(tmp_path):
    overrides = [
        "model.conditional=true",
        "eval.likelihood_examples=4",
        "eval.samples=4",
        "eval.grid=4",
        "eval.batch=4",
    ]
    config = load("configs/vp_digits.py:tiny", overrides)
    train, test = build.dataset(config, "train"), build.dataset(config, "test")
    network = build.network(config, train)
    params = build.init_params(jax.random.key(0), network, train.shape)
    model = evaluate.steered(evaluate.Model(config, build.sde(config), network, params, 0), train)
    result = evaluate.bits_per_dim(model, train, test, tmp_path)
    assert np.isfinite(result["bits_per_dim"]) and result["levels"] == 17
    result = evaluate.draw_and_measure(model, train, quality.judge(config, train), tmp_path)
    assert np.isfinite(result["frechet_distance"])
    folder = tmp_path / "samples"
    assert {p.name for p in folder.glob("*.png")} == {"step-0.png", "trajectory-0.png"}
    assert np.load(next(folder.glob("step-0-*/x.npy"))).shape == (4, 8, 8, 1)
