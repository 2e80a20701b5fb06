"""Evaluation: exact where the score is exact, the same for any batch size, and resumable half-way."""

import json

import jax
import numpy as np
import pytest

from scorejax import analytic, build, data, evaluate, parallel, report
from scorejax.config import load
from scorejax.ledger import Ledger

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
    model.config.eval.update({"samples": 2000, "batch": 500})
    result = evaluate.draw_and_compare(model, train, tmp_path)
    assert result["n"] == 2000 and result["nfe"] == 201
    # the trace of the covariance is 5.3: both numbers are sampling noise of 2,000 points
    assert result["frechet_distance"] < 0.05 and result["frechet_floor"] < 0.05
    assert np.load(tmp_path / "samples" / "step-7.npz")["x"].shape == (2000, 4)
    assert (tmp_path / "samples" / "step-7.png").stat().st_size > 1000


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


def test_reports_say_what_a_number_means():
    likelihood = {"bits_per_dim": 2.5, "standard_error": 0.1, "examples": 9, "of": 10, "failed": 1}
    likelihood |= {"gaussian_baseline": 3.0, "uniform_baseline": 4.1, "levels": 17}
    text = report.summary({"step": 3, "split": "test", "data": "digits", "likelihood": likelihood})
    for fragment in ("9 of 10 test", "2.5000 +- 0.1000", "3.0000", "17 grey levels", "1 examples left out"):
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
    model = evaluate.Model(config, build.sde(config), network, params, 0)
    result = evaluate.bits_per_dim(model, train, test, tmp_path)
    assert np.isfinite(result["bits_per_dim"]) and result["levels"] == 17
    result = evaluate.draw_and_compare(model, train, tmp_path)
    assert np.isfinite(result["frechet_distance"])
    assert {p.name for p in (tmp_path / "samples").iterdir()} == {"step-0.npz", "step-0.png", "trajectory-0.png"}
