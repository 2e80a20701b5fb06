"""The mapping between the user's units and model space, and the form of a data set."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scorejax.data import Dataset, Form, GrayLevels, Vectors, load, moments, standardizing

FAR = np.random.default_rng(0).normal([1000.0, -3.0, 0.0], [5.0, 0.01, 2e4], (4000, 3)).astype(np.float32)


def test_standardized_columns_have_mean_0_and_deviation_1_wherever_they_lie():
    x = np.asarray(standardizing(FAR).to_model(None, jnp.asarray(FAR)), np.float64)
    np.testing.assert_allclose(x.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(x.std(0), 1.0, rtol=1e-4)


def test_moments_are_those_of_float64_in_blocks():
    many = np.tile(FAR, (40, 1))
    mean, variance = moments(many)
    np.testing.assert_allclose(mean, FAR.mean(0, np.float64), rtol=1e-12)
    np.testing.assert_allclose(variance, FAR.var(0, np.float64), rtol=1e-9)


def test_a_constant_column_keeps_its_scale():
    flat = np.stack([np.full(3001, 1000.1), np.arange(3001.0)], axis=1).astype(np.float32)
    space = standardizing(flat)
    assert space.scale[0] == 1.0 and space.scale[1] > 800
    np.testing.assert_array_equal(space.to_model(None, jnp.asarray(flat))[:, 0], 0.0)
    assert standardizing(flat[:1]).scale == (1.0, 1.0)


def test_vectors_come_back_and_an_identity_changes_no_bit():
    space = standardizing(FAR)
    back = np.asarray(space.from_model(space.to_model(None, jnp.asarray(FAR))))
    np.testing.assert_allclose(back, FAR, rtol=3e-7, atol=3e-7 * np.abs(FAR).max(0).max())
    np.testing.assert_array_equal(Vectors().to_model(None, jnp.asarray(FAR)), FAR)
    assert Vectors().log_volume(3) == 0.0 and Vectors().bin_width(3) == 1.0


def test_a_density_of_model_space_times_the_volume_is_one_of_the_users_units():
    space = Vectors((3.0, -1.0), (5.0, 0.25))
    x = np.array([[7.0, -1.1]])
    of_model = stats.norm.logpdf(np.asarray(space.to_model(None, jnp.asarray(x)))).sum(1)
    of_user = stats.norm.logpdf(x, [3.0, -1.0], [5.0, 0.25]).sum(1)
    np.testing.assert_allclose(of_model + space.log_volume(2), of_user, rtol=1e-5)
    # a uniform density of images is 1 / L in every pixel
    for centered, density in ((True, 0.5), (False, 1.0)):
        assert 64 * np.log(density) + GrayLevels(17, centered).log_volume(64) == pytest.approx(-64 * np.log(17))


def test_gray_levels_come_back_from_the_middle_and_from_anywhere_in_their_bin():
    levels, keys = jnp.arange(17, dtype=jnp.uint8).reshape(17, 1, 1, 1), None
    for space in (GrayLevels(17), GrayLevels(17, centered=False)):
        np.testing.assert_array_equal(space.from_model(space.middle(levels)), levels)
        np.testing.assert_array_equal(
            GrayLevels(17, space.centered, False).to_model(keys, levels), space.middle(levels)
        )


def test_a_form_is_all_that_examples_have_in_common():
    digits = Form.of(load("digits"))
    assert (digits.shape, digits.gray_levels, digits.num_classes) == ((8, 8, 1), 17, 10)
    assert digits == Form.of(load("digits", "test")) and digits.labeled and digits.dimension == 64
    x = np.zeros((3, 2), np.float32)
    assert not Form.of(Dataset("x", x)).labeled
    assert Form.of(Dataset("x", x, np.zeros((3, 4, 5), np.float32))).embedding == (4, 5)
