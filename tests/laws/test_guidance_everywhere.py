"""Guidance reaches every stepper of the library, and no example ever feels another: tables that must stay complete."""

import inspect
import typing
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import component, given
from jax.tree_util import Partial
from stepping import moments, run
from worlds import CORRELATED, TWO_MODES

import scorejax as sj
from scorejax import samplers
from scorejax.guidance import operators
from scorejax.reverse import variance
from scorejax.reverse.gamma import Gamma
from scorejax.samplers import Stepper

SDE = sj.vp(t_min=1e-3, t_max=0.7)
MATRIX, Y = np.array([[1.0, 0.5]]), np.array([0.7])
A = operators.dense(MATRIX, (2,))
POSTERIOR, FIRST = given(CORRELATED, MATRIX, Y, 0.4), component(TWO_MODES, 0)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def first_class(x, t):
    """The exact log probability that a diffused point comes from the first component of the mixture."""
    return FIRST.log_prob_at(SDE, x, t) - TWO_MODES.log_prob_at(SDE, x, t)


def extrapolated(x, t):
    """Twice the conditional score less the unconditional one."""
    return 2.0 * FIRST.score_at(SDE, x, t) - TWO_MODES.score_at(SDE, x, t)


@cache
def scores(kind):
    """A guided score, and the score it must be."""
    if kind == "moment_matching":
        prior = CORRELATED.score(SDE)
        guided = sj.guidance.moment_matching(SDE, prior, A, Y[None], 0.4, iterations=4, tolerance=1e-13)
        return guided, POSTERIOR.score(SDE)
    if kind == "classifier":
        return sj.guidance.classifier(TWO_MODES.score(SDE), first_class), FIRST.score(SDE)
    twice = sj.guidance.interval(2.0, SDE, 0.0, 1.0, by="time")
    return sj.guidance.classifier_free(FIRST.score(SDE), TWO_MODES.score(SDE), twice), Partial(extrapolated)


@cache
def compiled(kind):
    """The same two as programs of their own, which all steppers call."""
    return [jax.jit(lambda x, t, score=score: score(x, t)) for score in scores(kind)]


GUIDED = ("moment_matching", "classifier", "classifier_free")


STEPS = 40


@cache
def grid():
    return np.asarray(sj.times.log_snr(SDE, STEPS))


@cache
def analytic_dpm():
    """With the exact statistic of the posterior."""
    noise = np.asarray(SDE.variance(grid()))[:, None, None]
    total = np.asarray(SDE.alpha(grid()))[:, None, None] ** 2 * POSTERIOR.covariance() + noise * np.eye(2)
    squares = 0.5 * np.trace(noise * np.linalg.inv(total), axis1=1, axis2=2)
    return samplers.reverse_chain(Gamma.of(SDE, grid(), squares[None]))


def noise_left(squared, x, t):
    """The exact variance of the noise given `x_t` under the posterior, or with `squared = 1` its second moment."""
    noise = SDE.variance(t)[:, None, None]
    total = SDE.alpha(t)[:, None, None] ** 2 * POSTERIOR.covariance() + noise * jnp.eye(2)
    left = 1.0 - noise[..., 0] * jnp.diagonal(jnp.linalg.inv(total), axis1=1, axis2=2)
    return left + squared * noise[..., 0] * POSTERIOR.score_at(SDE, x, t) ** 2


# what a configuration calls a reverse chain with a head
HEADS = {
    "npr": variance.NoiseResidual(Partial(noise_left, 0.0)),
    "sn": variance.SquaredNoise(Partial(noise_left, 1.0)),
}


# every stepper by the name of the function that makes it, in the variants that differ in how they use the score
STEPPERS = {
    "adaptive_probability_flow": [lambda: samplers.adaptive_probability_flow(1e-6, 1e-6)],
    "ald": [lambda: samplers.ald(0.1)],
    "analytic_dpm": [analytic_dpm],
    "ancestral": [lambda: samplers.ancestral()],
    "annealed_langevin": [lambda: samplers.annealed_langevin(1e-5, 2)],
    "cold": [lambda: samplers.cold()],
    "ddim": [lambda: samplers.ddim(), lambda: samplers.ddim(0.5)],
    "dpm_solver": [lambda: samplers.dpm_solver(2), lambda: samplers.dpm_solver(3, "singlestep", "noise")],
    "dpm_solver_adaptive": [lambda: samplers.dpm_solver_adaptive(2, rtol=1e-3, atol=1e-3)],
    "euler": [lambda: samplers.euler()],
    "euler_maruyama": [lambda: samplers.euler_maruyama()],
    "heun": [lambda: samplers.heun(), lambda: samplers.heun(3.0)],
    "langevin": [lambda: samplers.langevin(0.1, norm="batch")],
    "npr": [lambda: samplers.npr(fitted=HEADS.get)],
    "probability_flow": [lambda: samplers.probability_flow("rk4")],
    "renoise": [lambda: samplers.renoise()],
    "reverse_chain": [samplers.reverse_chain, *(partial(samplers.reverse_chain, head) for head in HEADS.values())],
    "reverse_diffusion": [lambda: samplers.reverse_diffusion()],
    "sde_dpm_solver": [lambda: samplers.sde_dpm_solver()],
    "sn": [lambda: samplers.sn(fitted=HEADS.get)],
    "ula": [lambda: samplers.ula(1e-3, 2)],
    "unipc": [lambda: samplers.unipc(3)],
}
LOOPS = ("ald", "annealed_langevin", "langevin", "ula", "adaptive_probability_flow", "dpm_solver_adaptive")


def returning(module, wanted):
    """The public functions of a module whose result is annotated as `wanted`."""
    found = set()
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.isfunction(function):
            result = typing.get_type_hints(function)["return"]
            if wanted(result) or any(map(wanted, typing.get_args(result))):
                found.add(name)
    return found


def test_the_table_holds_every_stepper_of_the_library():
    everything = returning(samplers, lambda kind: isinstance(kind, type) and issubclass(kind, Stepper))
    of_energies = {"mala"}  # it asks for the energy behind a score, and a guided score has none
    assert everything - {"analytic"} - of_energies == set(STEPPERS)  # the first is `analytic_dpm`, prepared
    tables = (*samplers.STEPPERS.values(), *samplers.CORRECTORS.values())
    assert {factory.__name__ for factory in tables} == set(STEPPERS) | of_energies


def either(guided, x, t):
    """Both scores in one program, so that it is compiled once."""
    values = [score(x, t) for score in scores("classifier_free")]
    return jnp.where(guided, *values)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPERS)
def test_every_stepper_steps_with_a_guided_score_as_with_the_conditional_laws_own(name):
    times = grid()[20:24]
    x = jax.random.normal(jax.random.key(0), (3, 2))
    keys = jax.random.split(jax.random.key(1), (3, 3))
    if name in LOOPS:  # compiled whole, with the guidance inside
        pairs = [[Partial(either, jnp.asarray(guided)) for guided in (True, False)]]
    else:
        pairs = [compiled(kind) for kind in GUIDED]
    for make in STEPPERS[name]:
        for pair in pairs:
            guided, exact = (run(make(), SDE, score, x, times, noise=keys, compiled=name in LOOPS) for score in pair)
            np.testing.assert_allclose(guided, exact, rtol=1e-6, atol=1e-8)
            assert np.abs(guided - x).max() > 1e-3


# the largest error of the covariance in these steps, relative to the largest variance; Analytic-DPM's variance is one
# number for all directions
ERRORS = {
    "analytic_dpm": 0.02, "ancestral": 0.2, "cold": 0.12, "ddim": 0.12, "dpm_solver": 5e-3, "euler": 0.1,
    "euler_maruyama": 0.1, "heun": 0.02, "npr": 0.2, "probability_flow": 1e-5, "reverse_chain": 0.2,
    "reverse_diffusion": 0.2, "sde_dpm_solver": 0.02, "sn": 0.2, "unipc": 5e-3,
}  # fmt: skip


# `renoise` makes the samples narrower the more steps it takes, and reaches no law
@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in STEPPERS if n not in (*LOOPS, "renoise")])
def test_every_family_of_samplers_reaches_the_posterior_of_gaussian_data(name, given_noise):
    given_noise(lambda noise, _: noise)
    times = grid()
    start, end = (
        (
            float(SDE.alpha(t)) * np.asarray(POSTERIOR.mean()),
            float(SDE.alpha(t)) ** 2 * POSTERIOR.covariance() + float(SDE.variance(jnp.asarray(t))) * np.eye(2),
        )
        for t in (times[0], times[-1])
    )
    for make in STEPPERS[name]:
        mean, covariance = moments(make(), SDE, compiled("moment_matching")[0], times, *start)
        spread = np.asarray(end[1]).max()
        np.testing.assert_allclose(mean, end[0], atol=ERRORS[name] * spread**0.5)
        np.testing.assert_allclose(covariance, end[1], atol=ERRORS[name] * spread)
