"""Random fields: densities, scores and spectra with the numbers that float64 gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import metrics
from scorejax.objectives.weighting import edm
from scorejax.scores.random_field import random_field

# largest, smallest and lowest-wave variance; log density per number of zero and of one wave; entropy per number;
# log density of zero at t = .1 and .5 under vp(.1, 20)
FIELDS = {
    (1, 64, 2): (10.607418, 0.041274, 8.485934, -0.230823, -0.260283, 0.730823, -0.463311, -0.913510),
    (2, 32, 3): (45.876752, 0.031312, 32.826732, -0.214475, -0.222091, 0.714475, -0.429547, -0.909670),
    (3, 16, 4): (69.894945, 0.029111, 44.732765, -0.356030, -0.361619, 0.856030, -0.512780, -0.910978),
}


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_densities_of_random_fields(field):
    dimensions, side, power = field
    largest, smallest, first, of_zero, of_wave, entropy, early, late = FIELDS[field]
    with jax.enable_x64():
        law, sde = random_field(side, dimensions, power=power), sj.vp(0.1, 20.0)
        wave = np.cos(2 * np.pi * np.arange(side) / side).reshape(side, *[1] * dimensions)
        x = jnp.stack([jnp.zeros(law.shape), jnp.broadcast_to(wave, law.shape)])
        size = law.spectrum.size
        assert (law.spectrum.max(), law.spectrum.min()) == pytest.approx((largest, smallest), abs=1e-6)
        assert law.spectrum.ravel()[1] == pytest.approx(first, abs=1e-6)
        assert law.log_prob(x) / size == pytest.approx([of_zero, of_wave], abs=1e-6)
        assert law.entropy() / size == pytest.approx(entropy, abs=1e-6)
        for t, value in ((0.1, early), (0.5, late)):
            assert law.log_prob_at(sde, x[:1], t) / size == pytest.approx(value, abs=1e-6)


def test_the_score_is_the_gradient_of_the_density():
    with jax.enable_x64():
        law, sde = random_field(6, 2, power=3.0), sj.vp()
        x = jax.random.normal(jax.random.key(0), (3, *law.shape))
        for t in (0.02, 0.5):
            gradient = jax.vmap(jax.grad(lambda one, t=t: law.log_prob_at(sde, one[None], t)[0]))(x)
            np.testing.assert_allclose(law.score_at(sde, x, t), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_exact_score_gives_the_exact_likelihood():
    law, sde = random_field(16, 1), sj.vp()
    x = law.sample(jax.random.key(0), 3)
    found = sj.log_prob(jax.random.key(1), sde, law.score(sde), x, divergence="exact", rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.value / 16, law.log_prob(x) / 16, atol=1e-3)


LEVELS = (0.1, 1.0, 10.0)  # sigma
FLOORS = {(1, 64, 2): (0.937953, 0.529661, 0.958297), (2, 32, 3): (0.944873, 0.488450, 0.905616)}
FLOORS[3, 16, 4] = (0.961797, 0.564544, 0.917271)


@pytest.mark.parametrize("field", FLOORS, ids=str)
def test_the_loss_of_edm_of_the_exact_score_is_its_floor(field):
    """`(1 + r^2) mean lam / (lam + r^2)` at each level: what no network of EDM's preconditioning can go below."""
    dimensions, side, power = field
    law, sde, each = random_field(side, dimensions, power=power), sj.edm(), 300_000 // side**dimensions
    t = jnp.repeat(jnp.array(LEVELS), each)
    weighting = functools.partial(edm, sigma_data=1.0)

    @jax.jit
    def losses(key):
        x = law.sample(key, len(t))
        own = sj.objectives.denoising(jax.random.fold_in(key, 1), sde, law.score(sde), x, t=t, weighting=weighting)
        return own.reshape(len(LEVELS), each)

    found = losses(jax.random.key(0))
    error = found.std(axis=1) / np.sqrt(each)
    assert np.all(np.abs(found.mean(axis=1) - np.array(FLOORS[field])) < 4 * error) and error.max() < 0.02


def test_samples_have_the_spectrum():
    law = random_field(32, 1)
    drawn = metrics.spectrum(np.asarray(law.sample(jax.random.key(0), 4000)), periodic=True)
    ratio = drawn.power[:, 0] / law.spectrum[: len(drawn.power)]
    assert np.all(np.abs(ratio - 1) < 5 * np.sqrt(2 / (drawn.n * drawn.degrees)))


@pytest.mark.parametrize("sde", [sj.vp(), sj.edm()], ids=["vp", "edm"])
def test_samples_of_the_exact_score_have_the_spectrum_but_for_the_prior(sde):
    """The prior leaves out what is left of the data at the end: each mode comes back with that share less."""
    law, count = random_field(64, 1), 3000
    times = sj.times.karras(sde, 40)
    drawn = sj.sample(
        jax.random.key(2), sde, law.score(sde), (count, *law.shape), stepper=sj.samplers.heun(), times=times
    )
    found = metrics.spectrum(np.asarray(drawn.x), periodic=True)
    variances = law.spectrum[: len(found.power)]
    left, noise = sde.alpha(sde.t_max) ** 2 * variances, sde.sigma(sde.t_max) ** 2
    ratio, error = found.power[:, 0] / variances, np.sqrt(2 / (found.n * found.degrees))
    assert np.all(np.abs(ratio - noise / (left + noise)) < 4 * error + 0.005)


def test_a_process_by_modes_and_wrong_shapes_are_refused():
    law = random_field(4, 2)
    with pytest.raises(ValueError, match="one for every mode"):
        law.score(sj.blur(shape=(4, 4, 1)))
    with pytest.raises(ValueError, match="shape"):
        law.log_prob(jnp.zeros((2, 4, 1)))
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        random_field(4, 4)
