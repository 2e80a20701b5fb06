"""Samples that are clean by default: which clip and which grid a config gives every stepper, and what is warned of."""

import logging

import numpy as np
import pytest
from guided import config_of as config_of_images
from known import config_of, subject_of

import scorejax as sj
from scorejax import samplers
from scorejax.experiment import assemble
from scorejax.experiment.config import load
from scorejax.experiment.evaluation import bits, evaluate, saturation, sweep
from scorejax.runtime.errors import ConfigError
from scorejax.scores.clipping import Range

IMAGES = (-1.0, 1.0)
THEIR_GRIDS = dict.fromkeys(
    ("dpm_solver", "dpm_solver_adaptive", "sde_dpm_solver", "unipc"), "log_snr"
)  # whatever the process
STEPPERS = {name: name for name in samplers.STEPPERS} | {"annealed_langevin": "annealed_langevin:epsilon=1e-9"}
THEIR_OWN = ("reverse_chain", "analytic", "npr", "sn")


def made(*settings, sde="vp", data_range=IMAGES):
    """The sampler of a config of images, with stand-ins for what is fitted."""
    config = load("vp_digits:tiny", [f"sde={sde}", "sampler.t_min=none", "sampler.steps=8", *settings])
    process = assemble.sde(config)
    fitted = lambda name: assemble.stand_in_for(name, process)  # noqa: E731
    return assemble.sampler(config, process, fitted, data_range), process


@pytest.mark.parametrize(("sde", "grid"), [("vp", "uniform"), ("edm", "karras"), ("ddpm", "uniform")])
def test_every_stepper_is_given_the_grid_that_suits_it_and_its_process_unless_another_is_named(sde, grid):
    for name in samplers.STEPPERS:
        sampler, process = made(f"sampler.stepper={STEPPERS[name]}", sde=sde)
        expected = samplers.GRIDS[THEIR_GRIDS.get(name, grid)](process, 8)
        np.testing.assert_array_equal(sampler["times"], expected, err_msg=name)
        assert np.all(np.diff(sampler["times"]) < 0) and len(sampler["times"]) == 9
    sampler, process = made("sampler.stepper=unipc", "sampler.time_grid=quadratic", sde=sde)
    np.testing.assert_array_equal(sampler["times"], samplers.GRIDS["quadratic"](process, 8))


def test_where_every_mode_has_its_own_noise_level_the_grid_is_that_of_the_process():
    assert assemble.fitting_grid(samplers.dpm_solver(), sj.blur(shape=(2,))) == "uniform"


@pytest.mark.parametrize("name", samplers.STEPPERS)
def test_images_are_clipped_once_by_every_stepper_unless_the_config_says_no(name):
    sampler, _ = made(f"sampler.stepper={STEPPERS[name]}")
    if name in THEIR_OWN:
        assert sampler["clip"] is None and sampler["stepper"].table.clip == IMAGES
    else:
        assert sampler["clip"] == Range(*IMAGES)
    for settings, expected in (
        (["sampler.clip=none"], None),
        (["sampler.clip=range:high=0.5"], Range(-1.0, 0.5)),
        (["sampler.clip=dynamic:quantile=0.9"], samplers.dynamic_threshold(IMAGES, quantile=0.9)),
    ):
        sampler, _ = made(f"sampler.stepper={STEPPERS[name]}", *settings)
        assert sampler["clip"] == expected
        if name in THEIR_OWN:
            assert sampler["stepper"].table.clip is None
    assert made(f"sampler.stepper={STEPPERS[name]}", data_range=None)[0]["clip"] is None  # vectors


@pytest.mark.parametrize(
    "stepper", ["reverse_chain:clip=false", "ddim:clip=0.5", "dpm_solver:thresholding=0.9", "unipc:thresholding=0.9"]
)
def test_a_setting_of_the_stepper_for_the_same_goes_before_and_is_never_doubled(stepper):
    assert made(f"sampler.stepper={stepper}")[0]["clip"] is None
    with pytest.raises(ConfigError, match="leave out one of them"):
        made(f"sampler.stepper={stepper}", "sampler.clip=range")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["sampler.clip=yes"], "unknown clip 'yes'; choose one of auto, none, range, dynamic"),
        (["sampler.clip=range:low=1:high=-1"], "low must be below high, got low = 1 and high = -1"),
        (["sampler.clip=dynamic:quantile=99.5"], "takes a number of more than 0 and at most 1"),
        (["sampler.clip=range"], "range of vectors is not known; set low and high"),
    ],
)
def test_a_clip_that_cannot_be_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        made(*settings, data_range=None if "vectors" in words else IMAGES)


def test_a_sweep_names_the_clip_of_its_samplers_as_it_names_their_grid():
    config = load("vp_digits:tiny")
    found = sweep.with_sampler(config, "ddim:clip=dynamic:clip.quantile=0.9", 5).sampler
    assert (found.stepper.name, found.clip.name, found.clip.quantile) == ("ddim", "dynamic", 0.9)
    assert sweep.with_sampler(config, "reverse_chain:clip=none", 5).sampler.clip.name == "none"


@pytest.mark.slow
def test_a_clip_touches_samples_and_never_a_likelihood(tmp_path):
    numbers, drawn = [], []
    for settings in ([], ["sampler.clip=range:low=-0.01:high=0.01"]):
        config = config_of("Gaussian", "eval.likelihood_examples=5", "eval.samples=9", "sampler.steps=8", *settings)
        model, train = subject_of(config)
        numbers.append(bits.bits_per_dim(model, train, assemble.dataset(config, "test"), tmp_path, None))
        drawn.append(evaluate.sample(config, tmp_path))
    assert numbers[0] == numbers[1]
    assert np.abs(drawn[1]).max() < 0.02 < np.abs(drawn[0]).max()


# ---- Saturation ------------------------------------------------------------------------------------------------------


def images(share, n):
    """Random images of 17 gray levels with this share of black and white pixels."""
    rng = np.random.default_rng(n)
    inner = rng.integers(1, 16, (n, 8, 8, 1), np.uint8)
    return np.where(rng.random(inner.shape) < share, 16 * rng.integers(0, 2, inner.shape, np.uint8), inner)


def warned(caplog, share, n=64, config=None):
    """What is said of images, where a third of the pixels of the data are black or white."""
    drawn, real = (saturation.shares(images(*each), 17) for each in ((share, n), (1 / 3, 500)))
    assert abs(drawn.mean() - share) < 0.1 and abs(real.mean() - 1 / 3) < 0.01
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="absl"):
        saturation.warn(config or load("vp_digits:tiny"), drawn, real)
    return caplog.text


def test_saturation_is_warned_of_where_more_than_a_twentieth_of_what_would_lie_inside_went_to_the_ends(caplog):
    few, many = 1 / 3 + 0.03 * 2 / 3, 1 / 3 + 0.1 * 2 / 3
    assert not warned(caplog, 1 / 3) and not warned(caplog, 0.1) and not warned(caplog, few)
    text = warned(caplog, many)
    assert "41 % of the pixels of the samples lie at the ends of the range, of the data 33.1 %" in text
    assert "sampler.clip" not in text and "sampler.clip=auto" in warned(
        caplog, many, config=load("vp_digits:tiny", ["sampler.clip=none"])
    )
    assert not warned(caplog, many, n=4)  # so few images may well differ by as much


@pytest.mark.slow
def test_the_share_of_saturated_pixels_stands_in_the_report_and_vectors_have_none(tmp_path):
    config = config_of_images("eval.samples=40", "eval.exact=false")
    result = evaluate.evaluate(config, tmp_path)["samples"]
    x = np.load(f"{result['folder']}/x.npy")
    assert result["saturated"] == pytest.approx(np.mean((x == 0) | (x == 16)))
    assert 0.5 < result["saturated_data"] < 0.65
    assert saturation.saturation(subject_of(config_of("Gaussian"))[0], np.zeros((3, 4))) == {}
