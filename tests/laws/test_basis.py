"""A process with its own coefficients for every mode of a rotated basis is the unrotated process on rotated data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import PerMode, rotation

import scorejax as sj
from scorejax.scores.predictions import PREDICTIONS, convert

U = rotation(3)
RATES = np.array([2.0, 5.0, 9.0])
PLAIN = PerMode(rates=RATES, t_min=1e-3, t_max=1.0)
ROTATED = PLAIN.replace(basis=sj.sdes.Rotation(U))
_FACTOR = np.random.default_rng(1).standard_normal((2, 3, 3)) / 2
COVARIANCES = _FACTOR @ _FACTOR.swapaxes(1, 2) + 0.1 * np.eye(3)
MEANS = np.random.default_rng(2).standard_normal((2, 3))
LAW = sj.analytic.mixture([0.4, 0.6], MEANS, covariances=COVARIANCES)
TURNED = sj.analytic.mixture([0.4, 0.6], MEANS @ U.T, covariances=U @ COVARIANCES @ U.T)
X = np.random.default_rng(3).standard_normal((5, 3)).astype(np.float32)
T = jnp.array([0.01, 0.1, 0.3, 0.7, 1.0])


def turn(x):
    return np.float32(np.asarray(x) @ U.T)


@jax.jit
def exact(law, sde, x, t):
    return law.score_at(sde, x, t), law.log_prob_at(sde, x, t), law.posterior_mean(sde, x, t)


@jax.jit
def step_of(stepper, law, sde, keys, x):
    return stepper.step(keys, sde, lambda x, t: law.score_at(sde, x, t), x, jnp.float32(0.5), jnp.float32(0.45), ()).x


def test_score_and_density_turn_with_the_basis():
    (score, density, mean), (score_turned, density_turned, mean_turned) = (
        exact(LAW, PLAIN, X, T), exact(TURNED, ROTATED, turn(X), T)
    )  # fmt: skip
    # a dense 3x3 solve in float32 with condition numbers up to 1e2
    np.testing.assert_allclose(score_turned, turn(score), rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(density_turned, density, rtol=1e-4)
    np.testing.assert_allclose(mean_turned, turn(mean), rtol=1e-3, atol=1e-3)


def test_equal_rates_in_any_basis_are_the_isotropic_process():
    per_mode = ROTATED.replace(rates=np.full(3, 4.0))
    sde = sj.vp(4.0, 4.0, t_min=1e-3)
    np.testing.assert_allclose(exact(LAW, per_mode, X, T)[0], exact(LAW, sde, X, T)[0], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(per_mode.drift(X, T), sde.drift(X, T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(per_mode.prior_logp(X), sde.prior_logp(X), rtol=1e-5)


STEPPERS = [
    sj.samplers.euler_maruyama(),
    sj.samplers.reverse_diffusion(),
    sj.samplers.ancestral(),
    sj.samplers.ancestral("forward"),
    sj.samplers.probability_flow("heun"),
    sj.samplers.langevin(0.2),
    sj.samplers.ald(0.2),
]


@pytest.mark.slow
@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
def test_every_sampler_step_turns_with_the_basis(stepper, given_noise):
    noise = np.random.default_rng(4).standard_normal((5, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 5)
    given_noise(lambda *_: noise)
    plain = step_of(stepper, LAW, PLAIN, keys, X)
    given_noise(lambda *_: turn(noise))  # another type of basis: another program
    rotated = step_of(stepper, TURNED, ROTATED, keys, turn(X))
    np.testing.assert_allclose(rotated, turn(plain), rtol=1e-3, atol=1e-3)  # float32 solves, as above
    assert np.abs(rotated - turn(X)).max() > 1e-2


@pytest.mark.slow
def test_log_prob_is_exact_for_rotated_coefficients_per_mode():
    law = sj.analytic.gaussian([0.3, -0.2, 0.1], COVARIANCES[0])
    prior = jax.tree_util.Partial(lambda x: law.log_prob_at(ROTATED, x, 1.0))
    x = jnp.asarray(X)
    result = sj.log_prob(jax.random.key(0), ROTATED, law.score(ROTATED), x, divergence="exact", prior_logp=prior)
    np.testing.assert_allclose(result.value, law.log_prob_at(ROTATED, x, 1e-3), atol=1e-3)  # 100 rtol, 12 nats


@pytest.mark.parametrize("source", PREDICTIONS)
@pytest.mark.parametrize("target", PREDICTIONS)
def test_conversions_turn_with_the_basis(source, target):
    value = np.random.default_rng(5).standard_normal((5, 3)).astype(np.float32)
    plain = convert(PLAIN, jnp.asarray(X), T, jnp.asarray(value), source, target)
    rotated = convert(ROTATED, turn(X), T, turn(value), source, target)
    np.testing.assert_allclose(rotated, turn(plain), rtol=1e-4, atol=1e-4 * float(jnp.abs(plain).max()))


@pytest.mark.slow
def test_the_denoising_loss_does_not_depend_on_the_basis(given_noise):
    noise = jnp.asarray(np.random.default_rng(6).standard_normal((5, 3)), jnp.float32)
    losses = []
    for sde, law, x0, z in ((PLAIN, LAW, jnp.asarray(X), noise), (ROTATED, TURNED, turn(X), turn(noise))):
        given_noise(lambda *_, z=z: z)
        for weighting in ("simple", "likelihood"):
            loss = sj.objectives.denoising(jax.random.key(0), sde, law.score(sde), x0, t=T, weighting=weighting)
            losses.append(np.asarray(loss))
    np.testing.assert_allclose(losses[2:], losses[:2], rtol=2e-3)


@pytest.mark.parametrize("sde", [sj.vp(), sj.edm(), sj.ddpm()], ids=lambda s: type(s).__name__)
def test_the_identity_compiles_no_transform(sde):
    def everything(x, t):
        keys = jax.random.split(jax.random.key(0), 4)
        return (
            sde.perturb(x, t, x), sde.drift(x, t), sj.tweedie(sde, x, t, x), sde.prior_logp(x),
            sj.samplers.ancestral().step(keys, sde, lambda x, t: -x, x, t[0], t[1], ()),
        )  # fmt: skip

    program = str(jax.make_jaxpr(everything)(jnp.ones((4, 8, 8, 3)), jnp.linspace(0.9, 0.5, 4)))
    assert "dot_general" not in program
    turned = sj.vp().replace(basis=sj.sdes.Rotation(np.eye(192)))
    assert "dot_general" not in str(jax.make_jaxpr(lambda x: turned.drift(x, 0.5))(jnp.ones((4, 8, 8, 3))))


def test_a_rotation_is_compiled_where_modes_differ():
    assert "dot_general" in str(jax.make_jaxpr(lambda x: ROTATED.drift(x, 0.5))(jnp.ones((4, 3))))


def test_images_take_coefficients_per_mode():
    sde = PerMode(rates=np.linspace(1.0, 3.0, 12), basis=sj.sdes.Rotation(rotation(12)), t_min=1e-3, t_max=1.0)

    class Image(PerMode):
        def log_alpha(self, t):
            return super().log_alpha(t).reshape(*t.shape, 2, 2, 3)

        def variance(self, t):
            return super().variance(t).reshape(*t.shape, 2, 2, 3)

    jax.tree_util.register_dataclass(Image, ["basis", "rates"], ["t_min", "t_max"])
    image = Image(rates=sde.rates, basis=sde.basis, t_min=1e-3, t_max=1.0)
    x = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    for t in (jnp.array(0.3), T):
        flat, shaped = sde.perturb(x, t, x + 1), image.perturb(x.reshape(5, 2, 2, 3), t, x.reshape(5, 2, 2, 3) + 1)
        np.testing.assert_allclose(shaped.reshape(5, 12), flat, rtol=1e-5, atol=1e-5)
