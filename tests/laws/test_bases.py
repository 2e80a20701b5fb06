"""Orthogonal bases, and which blur each of them makes diagonal."""

import inspect
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import bases
from scorejax.numerics.trees import register_dataclass
from scorejax.sdes.axes import Axis, blur_eigenvalues, sampled_kernel

N = 16
NAMES = ("dct", "dst", "dft", "gray", "field")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def blur_matrix(n, std, at_the_edge):
    """The matrix of a Gaussian blur at whole pixels, by what it sees beyond the edge."""
    wide = np.pad(np.eye(n), ((n - 1, n - 1), (0, 0)), mode=at_the_edge)
    return np.stack([sampled_kernel(n, std) @ wide[i : i + 2 * n - 1] for i in range(n)])


def one(name, n=N):
    return Axis(name).matrix(n)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6, 3), (5, 6, 3), (2, 4, 5, 3)], ids=["series", "images", "volumes"])
def test_every_basis_is_orthogonal_in_one_two_and_three_dimensions(name, shape):
    basis = bases.BASES[name](shape)
    x = jax.random.normal(jax.random.key(0), (2, *shape))
    modes = basis.to_modes(x)
    np.testing.assert_allclose(basis.from_modes(modes), x, atol=1e-13)
    np.testing.assert_allclose(jnp.sum(modes**2), jnp.sum(x**2), rtol=1e-13)  # Parseval
    assert np.abs(modes - x).max() > 0.1


def test_the_matrices_are_the_transforms_of_their_names():
    x = np.random.default_rng(0).standard_normal((3, N))
    np.testing.assert_allclose(x @ one("dct"), jax.scipy.fft.dct(x, norm="ortho"), atol=1e-13)
    waves = np.fft.rfft(x, norm="ortho")
    found = x @ one("dft")
    np.testing.assert_allclose(found[:, 0], waves[:, 0].real, atol=1e-13)
    np.testing.assert_allclose(found[:, 1:-1:2], 2**0.5 * waves[:, 1:-1].real, atol=1e-13)
    np.testing.assert_allclose(found[:, 2::2], -(2**0.5) * waves[:, 1:-1].imag, atol=1e-13)
    odd = one("dst", 5)
    np.testing.assert_allclose(odd.T @ odd, np.eye(5), atol=1e-14)
    gray = np.full((1, 2, 2, 3), 0.7)
    np.testing.assert_allclose(bases.gray((2, 2, 3)).to_modes(jnp.asarray(gray))[..., 1:], 0.0, atol=1e-15)


CASES = {"dct": ("symmetric", 1e-13), "dft": ("wrap", 1e-13), "dst": ("constant", 3e-7)}


@pytest.mark.parametrize("name", CASES)
def test_each_basis_makes_the_blur_of_its_edge_diagonal(name):
    """Zeros outside leave next neighbors of a narrow blur diagonal in sines, up to the taps beyond."""
    edge, error = CASES[name]
    u, w = one(name, 64), blur_matrix(64, 0.4, edge)
    np.testing.assert_allclose(u.T @ w @ u, np.diag(blur_eigenvalues(Axis(name), 64, "sampled", 0.4)), atol=error)


def test_the_modes_of_zeros_outside_are_exact_and_those_of_another_reflection_are_not():
    axis = Axis("zero_blur", (1.5,))
    w = blur_matrix(N, 1.5, "constant")
    np.testing.assert_allclose(axis.matrix(N).T @ w @ axis.matrix(N), np.diag(axis.spectrum(N)), atol=1e-13)
    # a reflection that does not repeat the edge makes no symmetric matrix, so no orthogonal basis serves it
    w = blur_matrix(N, 1.5, "reflect")
    assert np.abs(w - w.T).max() > 0.1
    off = one("dct").T @ w @ one("dct")
    assert np.abs(off - np.diag(np.diag(off))).max() > 0.03


def test_the_modes_of_data_are_those_of_their_covariance_and_color_the_noise():
    x = np.random.default_rng(0).standard_normal((400, 4)) @ np.diag([3.0, 1.0, 0.5, 0.1]) @ one("dct", 4)
    sde = sj.colored(sj.vp(), bases.karhunen_loeve((4,)))
    assert sde.asks_for_data
    with pytest.raises(ValueError, match=r"sde.fitted\(sde.fit"):
        sde.perturb(jnp.ones((1, 4)), 0.5, jnp.ones((1, 4)))
    found, sde = sde.fit(x), sde.fitted(sde.fit(x))
    traced = jax.jit(lambda found: sj.colored(sj.vp(), bases.karhunen_loeve((4,))).fitted(found).variance(0.5))(found)
    np.testing.assert_allclose(traced, sde.variance(jnp.asarray(0.5)), rtol=1e-12)  # as weights of a run are
    modes = np.asarray(sde.basis.to_modes(jnp.asarray(x)))
    covariance = np.cov(modes.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    np.testing.assert_allclose(sde.spectrum / sde.spectrum[0], np.diag(covariance) / covariance[0, 0], rtol=1e-5)
    ratio = np.diag(covariance) * np.asarray(sde.alpha(0.5)) ** 2 / np.asarray(sde.variance(jnp.asarray(0.5)))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)  # all modes drown at one time


@pytest.mark.slow
def test_the_prior_of_heat_dissipation_is_the_law_of_the_blurred_data():
    sde = sj.ihdm(shape=(4, 4, 1), blur_max=3.0, std=0.05, n=10)
    x = np.random.default_rng(0).standard_normal((3000, 4, 4, 1)).cumsum(1) + 1.0
    with pytest.raises(ValueError, match=r"sde.fitted\(sde.fit"):
        sde.prior_sample(jax.random.key(0), (1, 4, 4, 1))
    sde = sde.fitted(sde.fit(x))
    blurred = np.asarray(sde.corrupt(jax.random.key(0), x, sde.t_max)).reshape(3000, -1)
    drawn = np.asarray(sde.prior_sample(jax.random.key(1), (3000, 4, 4, 1))).reshape(3000, -1)
    spread = np.cov(blurred.T)
    np.testing.assert_allclose(drawn.mean(0), blurred.mean(0), atol=5 * (spread.max() / 1500) ** 0.5)
    np.testing.assert_allclose(np.cov(drawn.T), spread, atol=0.15 * spread.max())
    # the density is that Gaussian
    modes = np.asarray(sde.basis.to_modes(jnp.asarray(drawn[:3].reshape(3, 4, 4, 1)))).reshape(3, -1)
    covariance = np.eye(16) * 0.05**2
    covariance[np.ix_(sde.kept, sde.kept)] = np.asarray(sde.factor) @ np.asarray(sde.factor).T
    off = modes - _whole(sde)
    exact = -0.5 * np.sum(off @ np.linalg.inv(covariance) * off, 1) - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    np.testing.assert_allclose(sde.prior_logp(drawn[:3].reshape(3, 4, 4, 1)), exact, rtol=1e-10)


@register_dataclass
@dataclass(frozen=True, kw_only=True)
class Rising(sj.LinearSDE):
    """The second of two modes gets clearer again."""

    def log_alpha(self, t):
        return jnp.stack([-t, 0.0 * t], axis=-1)

    def variance(self, t):
        return jnp.stack([t, t * (1.5 - t)], axis=-1)

    def inverse_log_snr(self, log_snr):
        return sj.sdes.inverse_mean_log_snr(self, log_snr)


def test_every_process_of_the_library_is_one():
    for make in sj.sdes.SDES.values():
        sde = make(**({"shape": (4, 4, 1)} if "shape" in inspect.signature(make).parameters else {}))
        if isinstance(sde, sj.LinearSDE):
            sj.sdes.check_process(sde)


def _whole(sde):
    return np.zeros(16) + np.bincount(np.asarray(sde.kept), np.asarray(sde.mean), 16)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sj.blur(shape=(8, 8, 1)).drift(jnp.ones((2, 9, 9, 1)), 0.5), "9,9,1"),
        (lambda: sj.blur(shape=(8, 8, 1), order="fine_to_coarse", boundary="reflect", floor=0.0), "eigenvalue 0"),
        (lambda: sj.blur(shape=(8, 8, 1), least=0.3, most=0.2), "least"),
        (lambda: sj.blur(shape=()), "axes of space"),
        (lambda: sj.blur(shape=(8, 8, 1), growth="cubed"), "quartic"),
        (lambda: sj.blurring(shape=(8,), log_snr_min=3.0, log_snr_max=2.0), "log_snr_min < log_snr_max"),
        (lambda: sj.ihdm(shape=(8,), blur_min=3.0, blur_max=2.0), "blur_min < blur_max"),
        (lambda: bases.gray((4, 4, 1)), "three colors"),
        (lambda: bases.karhunen_loeve((128, 128, 3)), "4096"),
        (lambda: bases.rotation(np.ones((3, 3))), "orthogonal"),
        (lambda: bases.rotation(np.eye(3), (2, 2)), r"\[4, 4\]"),
        (lambda: sj.colored(sj.blur(shape=(2,)), bases.dct((2,))), "one signal-to-noise ratio"),
        (lambda: sj.colored(sj.vp(), bases.gray((2, 2, 3))), "spectrum"),
        (lambda: sj.colored(sj.vp(), bases.dct((2,)), spectrum=[1.0, 0.0]), "positive"),
        (lambda: sj.sdes.check_process(Rising(t_min=0.01, t_max=1.0)), "mode 1 rises"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()
