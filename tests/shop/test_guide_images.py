"""What is done with given images, from a config, under exactly known scores."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from guided import MIXTURE, config_of, control
from PIL import Image

from scorejax import data
from scorejax.experiment import assemble, steering
from scorejax.experiment.evaluation import controlled
from scorejax.experiment.trained import restore


@pytest.mark.slow
def test_inpainting_keeps_what_is_known_and_draws_the_rest(tmp_path, train):
    report, rows = control(tmp_path, "guidance=inpaint")
    test = assemble.dataset(config_of(), "test")
    truth = test.examples[data.spread(len(test), 4)]
    np.testing.assert_array_equal(rows["x"][:, :, :4], truth[:, :, :4])
    assert np.all(rows["measured"][:, :, 4:] == 8) and rows["x"][:, :, 4:].std() > 2
    assert report["n"] == 4 and report["of"] == 297 and report["nfe"] == 9 and report["residual"]["mean"] == 0.0
    assert report["ssim_window"] == 7 and report["restored"]["psnr"]["mean"] < 20
    assert json.loads((tmp_path / "eval/guidance-inpaint-half-replacement-step-7.json").read_text())["seed"] == 43
    assert np.asarray(Image.open(tmp_path / "samples/inpaint-half-replacement-step-7.png")).shape[1] > 4 * 64


@pytest.mark.parametrize(
    "method",
    [
        "pigdm",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("dps", "moment_matching", "ddrm", "smc", "gibbs", "mala")),
    ],
)
def test_every_method_fills_a_mask(tmp_path, method):
    report, _ = control(tmp_path, "guidance=inpaint", f"guidance.method={method}", "guidance.sigma_y=0.05")
    assert np.isfinite(report["restored"]["l2"]["mean"]) and report["residual"]["mean"] < 0.5


def test_an_exact_measurement_is_met_and_its_blind_part_is_the_models(tmp_path):
    # given block means, pixels of a Gaussian are the pseudo-inverse plus noise without block means
    report, rows = control(tmp_path, "guidance=restore", "guidance.method=pigdm:data_std=0.5", "sampler.steps=40")
    assert report["residual"]["mean"] < 0.02
    means = rows["x"].astype(float).reshape(4, 4, 2, 4, 2, 1).mean((2, 4))
    measured = rows["measured"].astype(float)[:, ::2, ::2]
    assert np.abs(means - measured).mean() < 1.5
    assert rows["x"].reshape(4, 4, 2, 4, 2).std((2, 4)).mean() > 1.0


@pytest.mark.slow
def test_results_depend_neither_on_the_batch_nor_on_its_other_images(tmp_path, folder):
    asked = ("guidance=restore", "guidance.sigma_y=0.1", f"guidance.input={folder}")
    _, four = control(tmp_path / "4", *asked)
    _, three = control(tmp_path / "3", *asked, "eval.batch=3")
    assert np.abs(four["x"].astype(int) - three["x"]).max() <= 1 and np.mean(four["x"] != three["x"]) < 0.02


@pytest.mark.slow
def test_a_network_that_leaves_out_noise_is_kept_in_the_range_of_the_images(tmp_path):
    asked = ("recipe.lean=0.1", "guidance=inpaint", "guidance.method=pigdm", "sampler.steps=30")
    free, _ = control(tmp_path, *asked, "guidance.method.clip=false")
    held, _ = control(tmp_path, *asked)
    assert held["residual"]["mean"] < 0.01 < 0.1 < free["residual"]["mean"]


def test_a_measurement_is_as_noisy_as_it_was_said_to_be_and_each_image_by_its_own_key(train, tmp_path):
    config = config_of("guidance=restore", "guidance.sigma_y=0.3")
    task, x0 = steering.task(config, restore(config, tmp_path)), jnp.zeros((100, 8, 8, 1))
    keys = jax.random.split(jax.random.key(0), 100)
    y = task.measure(keys, x0)
    np.testing.assert_allclose(y.std(), 0.3, rtol=0.05)
    np.testing.assert_array_equal(y[50:], task.measure(keys[50:], x0[50:]))


def test_every_round_over_a_jump_costs_its_evaluations(tmp_path):
    report, _ = control(tmp_path, "guidance=inpaint", "guidance.method=replacement:rounds=3:jump=2")
    assert report["nfe"] == 3 * 8 + 1


def test_images_of_a_folder_come_in_the_form_of_the_data(tmp_path, folder, train):
    report, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.01", f"guidance.input={folder}")
    found = data.given(folder, (8, 8, 1), 17)
    assert np.abs(found[np.arange(4)].astype(int) - train.examples[:4]).max() <= 2  # Lanczos rings
    assert report["n"] == report["of"] == 4 and report["input"]["path"] == str(folder)


@pytest.mark.slow
def test_measured_images_are_restored_without_a_truth_to_compare_with(tmp_path, train):
    small = train.examples[:4].reshape(4, 4, 2, 4, 2).mean((2, 4)).astype(np.uint8)
    for i, image in enumerate(data.to_bytes(small, 17)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    asked = ("guidance=restore", "guidance.measured=true", f"guidance.input={tmp_path}", "sampler.steps=40")
    report, rows = control(tmp_path / "run", *asked)
    assert "restored" not in report and report["residual"]["mean"] < 0.02
    np.testing.assert_array_equal(rows["measured"][:, ::2, ::2, 0], small)


@pytest.mark.slow
def test_an_edit_keeps_the_more_the_shorter_it_is_and_what_the_mask_holds(tmp_path):
    short, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.002")
    long, _ = control(tmp_path, "guidance=edit", "guidance.t0=0.9")
    assert short["to_source"]["l2"]["mean"] < 0.5 < 2 < long["to_source"]["l2"]["mean"]
    realism = long["realism"]
    assert realism["n_target"] == 50 and realism["frechet_distance_of_source"] > 0
    _, rows = control(tmp_path, "guidance=edit", "guidance.t0=0.9", "guidance.mask=half")
    test = assemble.dataset(config_of(), "test")
    np.testing.assert_array_equal(rows["x"][:, :, :4], test.examples[data.spread(len(test), 4)][:, :, :4])


@pytest.mark.slow
def test_a_translation_without_its_experts_is_an_edit_and_with_them_is_faithful(tmp_path, classifier):
    weights = ("guidance.lambda_s=0", "guidance.lambda_i=0", "guidance.low_pass=2", f"guidance.classifier={classifier}")
    far = (*MIXTURE, "guidance.t0=0.9", "sampler.steps=30")
    _, edited = control(tmp_path, "guidance=edit", *far)
    plain, translated = control(tmp_path, "guidance=translate", *far, *weights)
    np.testing.assert_array_equal(edited["x"], translated["x"])
    held, _ = control(tmp_path, "guidance=translate", *far, *weights, "guidance.lambda_i=1")
    assert held["to_source"]["l2"]["mean"] < 0.8 * plain["to_source"]["l2"]["mean"]
    away, _ = control(tmp_path, "guidance=translate", *far, *weights, "guidance.lambda_s=300")
    assert away["to_source"]["l2"]["mean"] > plain["to_source"]["l2"]["mean"]


def test_a_perceptual_distance_is_reported_where_one_is_given(tmp_path):
    report = controlled.control(
        config_of("guidance=inpaint"), tmp_path, perceptual=lambda x, y: jnp.abs(x - y).mean((1, 2, 3))
    )
    assert 0 < report["restored"]["lpips"]["mean"] < 2


@pytest.mark.slow
def test_several_draws_have_a_mean_a_spread_and_hold_the_truth_as_often_as_they_say(tmp_path):
    # pixels of an exactly known Gaussian law, and the exact score of their posterior
    asked = ("guidance=restore", "guidance.sigma_y=0.2", "guidance.method=moment_matching", "sampler.steps=30")
    report, rows = control(tmp_path, *asked, "sampler.stepper=sde_dpm_solver", "guidance.draws=9", "eval.samples=16")
    own = report["posterior"]
    assert own["draws"] == 9 and own["nominal_coverage"] == 0.8
    assert rows["mean"].shape == rows["x"].shape == rows["spread"].shape == rows["rank"].shape
    assert own["mean"]["psnr"]["mean"] > report["restored"]["psnr"]["mean"]
    assert own["spread"]["mean"] > 0.5 and 0 <= rows["rank"][rows["rank"] >= 0].max() <= 9
    single, alone = control(tmp_path / "one", *asked, "sampler.stepper=sde_dpm_solver", "eval.samples=16")
    np.testing.assert_array_equal(alone["x"], rows["x"])
    assert report["nfe"] == 9 * single["nfe"]
    assert len(list((tmp_path / "samples").glob("*-ranks.png"))) == 1
