"""Calibration: the statistic of a run's network over its data, in a file that knows its process."""

import numpy as np
import pytest

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import calibrate, evaluate, variances
from scorejax.reverse.gamma import Gamma
from scorejax.runtime.errors import ConfigError
from scorejax.scores import analytic


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The statistic of the exact score of the data, for batches of two sizes."""
    truth = analytic.gaussian(data.GAUSSIAN_MEAN, data.GAUSSIAN_COVARIANCE)
    config = load("configs/vp_gaussian.py:tiny", ["sde.name=ddpm", "sde.schedule=cosine", "sde.n=40"])
    train = build.dataset(config, "train")
    model = evaluate.Model(config, build.sde(config), build.network(config, train), {"w": np.zeros(1)}, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "score", lambda config, process, module, params, **_: truth.score(process))
        results, folder = [], tmp_path_factory.mktemp("calibration")
        for batch in (64, 300):
            model.config.eval.batch = batch
            results.append(calibrate.statistic(model, train, folder, 1000))
    return truth, model, results


def test_the_statistic_of_the_exact_score_is_the_closed_form(found):
    truth, model, (gamma, _) = found
    process = model.process
    assert gamma.count == 1000
    np.testing.assert_allclose(gamma.times, np.arange(1, 41) / 40)
    values = np.linalg.eigvalsh(np.asarray(truth.covariance()))
    alpha2, noise = np.exp(2 * gamma.log_alpha)[:, None], gamma.variance[:, None]
    expected = np.mean(noise / (alpha2 * values + noise), axis=1)
    assert np.all(np.abs(gamma.mean_square - expected) < 4.5 * gamma.stderr)
    gamma.check(process)


def test_the_statistic_does_not_depend_on_the_batch_size(found):
    _, _, (small, large) = found
    np.testing.assert_allclose(small.mean_square, large.mean_square, rtol=1e-5)


def test_a_file_is_read_back_for_its_own_run_alone(found, tmp_path):
    _, model, (gamma, _) = found
    path = variances.gamma_path(tmp_path, 7)
    path.parent.mkdir()
    gamma.save(path)
    read = variances.load(tmp_path, 7, model.process)
    assert isinstance(read, Gamma)
    np.testing.assert_array_equal(read.mean_square, gamma.mean_square)
    with pytest.raises(ConfigError, match="calibrate first"):
        variances.load(tmp_path, 8, model.process)
    with pytest.raises(ConfigError, match="another schedule"):
        variances.load(tmp_path, 7, build.sde(load("configs/vp_gaussian.py:tiny")))
