"""Images freed of the degradation that a model undoes: from a config, from a folder, and from Python."""

import numpy as np
import pytest
from guided import config_of
from PIL import Image

from scorejax import data, degradations
from scorejax.experiment import assemble, steering
from scorejax.experiment.evaluation import controlled
from scorejax.experiment.run import Run
from scorejax.experiment.trained import restore
from scorejax.runtime.errors import ConfigError

COLD = ("recipe=exact_recipes:Degraded:blurred=true", "sampler.stepper=cold", "sampler.time_grid=auto")
BLUR = degradations.blur(levels=3, kernel=3, std=1.0)


def undone(x, rule="corrected", level=3):
    """What becomes of `x` where the restoration is the point itself."""
    for s in range(level, 0, -1):
        lower = BLUR.degrade(x, (s - 1) / 3, ())
        x = lower if rule == "naive" else x - BLUR.degrade(x, s / 3, ()) + lower
    return np.asarray(x)


def space_of(config, tmp_path):
    return restore(config, tmp_path).space


def rows_of(report, name):
    return np.load(f"{report['folder']}/{name}.npy")


@pytest.mark.parametrize("rule", ["corrected", pytest.param("naive", marks=pytest.mark.slow)])
def test_images_of_the_data_are_degraded_and_restored(tmp_path, rule):
    config = config_of(*COLD, "guidance=undo", f"sampler.stepper=cold:rule={rule}")
    report = controlled.control(config, tmp_path)
    space, test = space_of(config, tmp_path), assemble.dataset(config, "test")
    truth = test.examples[data.spread(len(test), 4)]
    blurred = np.asarray(BLUR.degrade(space.middle(truth), 1.0, ()))
    np.testing.assert_array_equal(rows_of(report, "measured"), space.from_model(blurred))
    expected = np.asarray(space.from_model(np.clip(undone(blurred, rule), -1, 1)))
    assert np.abs(rows_of(report, "x").astype(int) - expected).max() <= 1  # restorations are clipped on the way
    assert report["nfe"] == 3 and set(report) >= {"restored", "degraded", "residual"} and "sigma_y" not in report
    assert report["degraded"]["psnr"]["mean"] > 10


def test_degraded_images_of_ones_own_are_restored_from_a_folder_and_from_python(tmp_path):
    given = np.random.default_rng(0).integers(40, 200, (2, 8, 8), np.uint8)
    (tmp_path / "mine").mkdir()
    for i, image in enumerate(given):
        Image.fromarray(image).save(tmp_path / f"mine/{i}.png")
    asked = f"guidance=undo:measured=true:level=2:input={tmp_path / 'mine'}"
    config = config_of(*COLD, asked, "sampler.clip=none")
    report = controlled.control(config, tmp_path / "run")
    assert report["n"] == 2 and report["nfe"] == 2 and "restored" not in report
    run = Run(restore(config, tmp_path / "run"), tmp_path / "run")
    levels = np.stack([data.given(tmp_path / "mine", (8, 8, 1), 17)[np.arange(2)]])[0]
    found = run.restore(levels, level=2, seed=config.eval.seed)
    np.testing.assert_array_equal(found, rows_of(report, "x"))
    expected = run.space.from_model(undone(run.space.middle(levels), level=2))
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1
    with pytest.raises(ValueError, match="score needs a score"):
        run.score(run.to_model(levels))
    for refused in (run.log_prob, run.encode):
        with pytest.raises(ValueError, match="makes a model with restore"):
            refused(levels)


REFUSED = {
    "a level": (("guidance=undo:level=4",), "levels 1 to 3"),
    "another guidance": (("guidance=restore",), "needs a model with score; .* with restore"),
    "classes": (("guidance=undo:scale=2",), "guidance.scale is set"),
    "a stepper of diffusions": (("guidance=undo", "sampler.stepper=ddim"), "ddim' needs a Gaussian .*stepper=cold"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_restoration_cannot_do_is_refused_with_the_reason(tmp_path, case):
    overrides, words = REFUSED[case]
    with pytest.raises(ConfigError, match=words):
        controlled.control(config_of(*COLD, *overrides), tmp_path)


def test_undoing_is_of_models_that_undo(tmp_path):
    with pytest.raises(ConfigError, match=r"needs a model with restore; .* makes one with score"):
        controlled.control(config_of("guidance=undo"), tmp_path)
    about = steering.task(config_of(*COLD, "guidance=undo"), restore(config_of(*COLD, "guidance=undo"), tmp_path))
    assert about.restores and about.level == 3
