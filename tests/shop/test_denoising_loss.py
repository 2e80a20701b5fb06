"""The denoising loss of examples held out: in the log while a run trains, and in its report level by level."""

import json
import shutil

import numpy as np
import pytest
from runs import toy

from scorejax.experiment import averages, modes
from scorejax.experiment.config import override
from scorejax.experiment.trained import restore
from scorejax.experiment.workdir import saved_config
from scorejax.runtime.errors import CheckpointError, ConfigError
from scorejax.runtime.writers import read_log


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The exact score of correlated vectors, from which training moves away."""
    folder = tmp_path_factory.mktemp("run")
    settings = ("data.normalize=none", "train.validate_every=4", "eval.denoising=400", "eval.exact=false")
    config = toy("Fading", *settings, "eval.samples=0", "eval.after_training=true", "eval.batch=200")
    assert modes.train(config, folder) is None
    return folder


def test_the_log_and_a_picture_hold_the_validation_curve(run):
    values = [record["validation_loss"] for record in read_log(run) if "validation_loss" in record]
    assert len(values) == 2 and values[0] < values[1] < 1.5
    assert (run / "samples/validation.png").stat().st_size > 1000


def test_the_weights_of_the_least_loss_are_kept_and_evaluated(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config = override(saved_config(run), ["eval.best=true"])
    at = [restore(each, tmp_path / "run").params["w"] for each in (config, saved_config(run))]
    assert restore(config, tmp_path / "run").step == 4 and np.sum(at[0]) > np.sum(at[1])
    modes.run("eval", config, tmp_path / "run")
    assert json.loads((tmp_path / "run/eval/step-4.json").read_text())["step"] == 4
    averages.keep_best(tmp_path / "run", 9, {"w": np.zeros_like(at[0])}, 1e9)  # worse: the better one stays
    assert restore(config, tmp_path / "run").step == 4
    (tmp_path / "run/averages/best.npz").unlink()
    with pytest.raises(CheckpointError, match=r"train with it, or leave eval\.best at false"):
        restore(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [(["eval.best=true"], "set train.validate_every"), (["eval.best=true", "eval.average=0.1"], "two choices")],
)
def test_weights_that_a_run_does_not_keep_are_refused_before_it(overrides, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        modes.train(toy("Fading", *overrides), tmp_path)


def test_the_report_holds_the_loss_of_every_level_next_to_that_of_a_gaussian(run):
    found = json.loads((run / "eval/step-8.json").read_text())["denoising"]
    assert np.diff(found["noise_to_signal"]).min() > 0 and len(found["held_out"]) == 16
    assert found["examples"] == 400 and (run / "samples/denoising-8.png").exists()
    # the score was exact before the training, so no more than its steps parts it from the best one
    assert found["gaussian_loss"] == pytest.approx(found["training_loss"], rel=0.15)
    assert found["loss"] == pytest.approx(found["training_loss"], abs=4 * found["loss_error"] + 0.01)


def test_a_model_without_levels_of_noise_says_so_before_the_training(tmp_path):
    with pytest.raises(ConfigError, match="validate_every measures a score over levels of noise"):
        modes.train(toy("Drawn", "train.validate_every=4"), tmp_path)
    assert not (tmp_path / "checkpoints").exists()
