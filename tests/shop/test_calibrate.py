"""Calibration: the statistic of a run's network over its data, in a file that knows its process."""

import numpy as np
import pytest
from runs import ROOT, store
from toy_recipes import VECTORS

from scorejax.experiment import assemble, modes
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import variances
from scorejax.experiment.evaluation.calibrate import statistic
from scorejax.experiment.evaluation.subject import Subject
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import Trained
from scorejax.reverse.gamma import Gamma
from scorejax.runtime.errors import ConfigError

TINY = str(ROOT / "configs/vp_gaussian.py") + ":tiny"
CHAIN = ("recipe=toy_recipes:Exact", "data.normalize=none", "sde=ddpm:schedule=cosine:n=40")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The statistic of the exact score of the data, for batches of two sizes."""
    config = load(TINY, CHAIN)
    recipe, results = make_recipe(config), []
    model = Subject(Trained(config, recipe, {"w": np.ones(3, np.float32)}, 7))
    for batch in (64, 300):
        config.eval.batch = batch
        results.append(statistic(model, recipe.given.examples, tmp_path_factory.mktemp("calibration"), 1000))
    return model, results


def test_the_statistic_of_the_exact_score_is_the_closed_form(found):
    model, (gamma, _) = found
    assert gamma.count == 1000
    np.testing.assert_allclose(gamma.times, np.arange(1, 41) / 40)
    values = np.linalg.eigvalsh(np.asarray(VECTORS.covariance()))
    alpha2, noise = np.exp(2 * gamma.log_alpha)[:, None], gamma.variance[:, None]
    expected = np.mean(noise / (alpha2 * values + noise), axis=1)
    assert np.all(np.abs(gamma.mean_square - expected) < 4.5 * gamma.stderr)
    gamma.check(model.sde)


def test_the_statistic_does_not_depend_on_the_batch_size(found):
    _, (small, large) = found
    np.testing.assert_allclose(small.mean_square, large.mean_square, rtol=1e-5)


def test_a_file_is_written_by_its_mode_and_read_back_for_its_own_run_alone(found, tmp_path, capsys):
    model, (gamma, _) = found
    store({"w": np.ones(3, np.float32)}, tmp_path, step=7)
    modes.run("calibrate", load(TINY, [*CHAIN, "eval.calibration_examples=1000", "eval.batch=300"]), tmp_path)
    assert str(variances.gamma_path(tmp_path, 7)) in capsys.readouterr().out
    read = variances.load(tmp_path, 7, model.sde)
    assert isinstance(read, Gamma)
    np.testing.assert_allclose(read.mean_square, gamma.mean_square, rtol=1e-5)
    with pytest.raises(ConfigError, match="calibrate first"):
        variances.load(tmp_path, 8, model.sde)
    with pytest.raises(ConfigError, match="another schedule"):
        variances.load(tmp_path, 7, assemble.sde(load(TINY)))
