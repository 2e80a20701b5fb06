import numpy as np
import pytest

from scorejax.data import gaussian_entropy, load
from scorejax.metrics import fit_gaussian, gaussian_bits_per_dim, mixture_bits_per_dim, uniform_bits_per_dim


def test_the_uniform_density_costs_the_logarithm_of_the_levels():
    assert uniform_bits_per_dim(256) == 8.0
    assert uniform_bits_per_dim(17) == pytest.approx(4.08746, abs=1e-5)


def test_on_gaussian_vectors_the_baseline_is_the_entropy():
    train, test = load("gaussian").examples, load("gaussian", "test").examples
    bits = fit_gaussian(train).bits_per_dim(test)
    expected = gaussian_entropy() / (4 * np.log(2))
    assert abs(bits.mean() - expected) < 5 * bits.std() / np.sqrt(len(test))


def test_independent_uniform_levels_cost_their_gaussian_entropy():
    """z is uniform on [0, L): variance L^2 / 12 exactly, so bits/dim = log2(2 pi e L^2 / 12) / 2."""
    x = np.random.default_rng(0).integers(0, 256, (20_000, 2, 2, 1), np.uint8)
    expected = 0.5 * np.log2(2 * np.pi * np.e * 256**2 / 12)
    assert gaussian_bits_per_dim(x[:10_000], x[10_000:]) == pytest.approx(expected, abs=0.01)


def test_constant_images_cost_the_gaussian_of_the_dequantization_noise():
    """Nothing varies but u: variance 1/12, bits/dim = log2(2 pi e / 12) / 2, and the fit is regular."""
    x = np.full((5, 3, 3, 1), 7, np.uint8)
    assert gaussian_bits_per_dim(x, x) == pytest.approx(0.5 * np.log2(2 * np.pi * np.e / 12), rel=1e-12)


def test_the_average_over_dequantization_noise_is_exact():
    train = load("digits").examples
    fit, one = fit_gaussian(train), load("digits", "test").examples[:1]
    rng = np.random.default_rng(0)
    z = one.reshape(1, -1) + rng.uniform(size=(40_000, 64)) - fit.mean
    inverse, log_det = np.linalg.inv(fit.covariance), np.linalg.slogdet(2 * np.pi * fit.covariance)[1]
    bits = 0.5 * (np.einsum("ni,ij,nj->n", z, inverse, z) + log_det) / (64 * np.log(2))
    assert abs(fit.bits_per_dim(one)[0] - bits.mean()) < 5 * bits.std() / np.sqrt(len(z))


def test_the_fit_is_the_best_gaussian_for_its_own_data():
    train = load("digits").examples
    fit = fit_gaussian(train)
    best = fit.bits_per_dim(train).mean()
    for other in (
        type(fit)(fit.mean + 0.05, fit.covariance, True),
        type(fit)(fit.mean, 1.1 * fit.covariance, True),
        type(fit)(fit.mean, 0.9 * fit.covariance, True),
    ):
        assert other.bits_per_dim(train).mean() > best


def test_digits_have_their_baseline():
    """The number to beat on the 8x8 digits, to four figures; the uniform density costs 4.087."""
    assert gaussian_bits_per_dim(load("digits").examples, load("digits", "test").examples) == pytest.approx(
        2.952, abs=1e-3
    )


def test_vectors_in_a_subspace_have_no_density():
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    with pytest.raises(ValueError, match="no density"):
        fit_gaussian(np.concatenate([x, x], axis=1))


def test_the_baseline_does_not_depend_on_the_units_of_columns():
    """Scaling column i by s_i adds mean log2 s_i; ten thousand and a hundred thousandth are no loss of rank."""
    x, units = np.random.default_rng(0).standard_normal((400, 3)), np.array([1e4, 1.0, 1e-5])
    plain, scaled = (gaussian_bits_per_dim(y[:200], y[200:]) for y in (x, x * units))
    assert scaled == pytest.approx(plain + np.log2(units).mean(), abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6])
def test_a_constant_column_has_no_density_and_is_named(value):
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    x[:, 1] = value
    with pytest.raises(ValueError, match="column 1 is constant"):
        fit_gaussian(x)


def test_a_mixture_of_gaussians_is_found_again_and_its_bits_are_its_entropy():
    """Two clusters far apart: the entropy is that of one and a bit for which it is."""
    hat = np.random.default_rng(0)
    x = hat.standard_normal((4000, 2)) * [1.0, 100.0] + np.where(hat.random((4000, 1)) < 0.5, -8.0, 8.0) * [1.0, 100.0]
    found = mixture_bits_per_dim(x[:3000], x[3000:], 4)
    expected = 0.5 * np.log2(2 * np.pi * np.e) + 0.5 * np.log2(100.0) + 0.5
    assert found.components >= 2
    assert abs(found.bits_per_dim - expected) < 5 * found.standard_error + 0.02
    assert found.bits_per_dim < gaussian_bits_per_dim(x[:3000], x[3000:]) - 0.3


def test_a_mixture_of_one_is_the_gaussian_of_dequantized_levels():
    x = np.random.default_rng(1).binomial(200, 0.5, (3000, 2)).astype(np.uint8)
    found = mixture_bits_per_dim(x[:2000], x[2000:], 1)
    assert found.bits_per_dim == pytest.approx(gaussian_bits_per_dim(x[:2000], x[2000:]), abs=2e-3)
    with pytest.raises(ValueError, match="column 1 is constant"):
        mixture_bits_per_dim(np.ones((20, 3)) * [[1, 2, 3]] + np.eye(20, 3) * [[1, 0, 1]], x, 1)
    with pytest.raises(ValueError, match="at least 10 training examples, got 4"):
        mixture_bits_per_dim(x[:4], x, 1)
