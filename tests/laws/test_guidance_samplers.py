"""A guided score is a score: every sampler, corrector and the likelihood take it, and end at the conditional law."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import component, given
from test_sampler_moments import CORRECTORS, MIXTURE, SAMPLERS, Menu
from worlds import CORRELATED, at_end

import scorejax as sj
from scorejax.guidance import operators

SDE = sj.vp(t_min=1e-3, t_max=0.7)
MATRIX, Y = np.array([[1.0, 0.5]]), np.array([0.7])
A = operators.dense(MATRIX, (2,))
B, STEPS = 2000, 150


def first_class(x, t):
    """The exact log probability that a diffused point comes from the first component of the mixture."""
    return component(MIXTURE, 0).log_prob_at(SDE, x, t) + np.log(0.3) - MIXTURE.log_prob_at(SDE, x, t)


POSTERIOR = given(CORRELATED, MATRIX, Y, 0.4)
FIRST = component(MIXTURE, 0)
GUIDED = {
    "moment_matching": (
        sj.guidance.moment_matching(SDE, CORRELATED.score(SDE), A, Y[None], 0.4, iterations=4), POSTERIOR,
    ),
    "classifier": (sj.guidance.classifier(MIXTURE.score(SDE), first_class), FIRST),
    "classifier_free": (
        sj.guidance.classifier_free(FIRST.score(SDE), MIXTURE.score(SDE), jnp.float32(1.0)), FIRST,
    ),
}  # fmt: skip


def draw(score, law, sampler, corrector):
    return sj.sample(
        jax.random.key(7), SDE, score, (B, 2),
        stepper=Menu(jnp.int32(list(SAMPLERS).index(sampler)), tuple(SAMPLERS.values())),
        corrector=Menu(jnp.int32(list(CORRECTORS).index(corrector)), tuple(CORRECTORS.values())),
        x_init=at_end(law, SDE, jax.random.key(3), B), times=sj.times.log_snr(SDE, STEPS),
    ).x  # fmt: skip


@pytest.mark.slow  # `test_guidance_everywhere.py` says the same of every stepper, without drawing samples
@pytest.mark.parametrize("name", GUIDED)
def test_every_sampler_and_corrector_reaches_the_conditional_law(name):
    score, law = GUIDED[name]
    spread = np.asarray(law.covariance()).max()
    failures = []
    pairs = {(each, "none") for each in SAMPLERS} | {("reverse_diffusion", each) for each in CORRECTORS}
    for sampler, corrector in sorted(pairs):  # of all pairs, `test_sampler_moments.py` takes unguided steps
        x = np.asarray(draw(score, law, sampler, corrector))
        # five standard errors; methods of order one miss the variance by up to a tenth in these steps
        error = 0.25 if sampler == "reverse_diffusion_ode" else 0.1
        try:
            np.testing.assert_allclose(x.mean(0), law.mean(), atol=(5 / B**0.5 + 0.05) * spread**0.5)
            np.testing.assert_allclose(np.cov(x.T), law.covariance(), atol=(7 / B**0.5 + error) * spread)
        except AssertionError as wrong:
            failures.append(f"{sampler} with {corrector}: {wrong}")
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moment_matching"])
def test_the_adaptive_sampler_takes_a_guided_score_as_it_takes_the_exact_one(name):
    score, law = GUIDED[name]
    start = at_end(law, SDE, jax.random.key(3), 5)
    found, exact = (sj.samplers.decode(SDE, s, start, rtol=1e-4, atol=1e-4).x for s in (score, law.score(SDE)))
    np.testing.assert_allclose(found, exact, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "divergence"),
    [
        ("classifier", "exact"), ("classifier_free", "exact"), ("moment_matching", "exact"),
        ("moment_matching", "hutchinson"),
    ],
)  # fmt: skip
def test_the_conditional_likelihood_is_the_closed_form(name, divergence):
    score, law = GUIDED[name]
    x = law.sample(jax.random.key(5), 5)
    found = sj.log_prob(
        jax.random.key(0), SDE, score, x, divergence=divergence, probes=64, rtol=1e-4, atol=1e-4,
        prior_logp=lambda latent: law.log_prob_at(SDE, latent, SDE.t_max),
    )  # fmt: skip
    assert found.ok.all()
    error = 0.01 + 5 * np.nan_to_num(found.stderr)
    np.testing.assert_array_less(np.abs(found.value - law.log_prob_at(SDE, x, SDE.t_min)), error)


def integral(v_c, v_u, w):
    """The variance at which the reverse SDE of classifier-free guidance ends: data `N(0, v_c)` and `N(0, v_u)`."""
    q = np.concatenate([[0.0], np.logspace(-7, 7, 200001)])
    return np.trapezoid(((v_c / (v_c + q)) ** (1 + w) * ((v_u + q) / v_u) ** w) ** 2, q)


@partial(jax.jit, static_argnames="stepper")
def variance_after(stepper, sde, score, times):
    """The variance of the samples: with a linear score each step has a gain and a noise, read off three points."""

    def body(variance, pair):
        step = stepper.step(None, sde, lambda x, t: score(x, jnp.full(3, t)), UNITS, *pair, ())
        y = step.x[:, 0]
        return (y[1] - y[0]) ** 2 * variance + (y[2] - y[0]) ** 2, None

    return jax.lax.scan(body, sde.variance(times[0]), (times[:-1], times[1:]))[0]


UNITS = np.array([[0.0], [1.0], [0.0]], np.float32)


@pytest.mark.parametrize(("w", "ode", "reverse", "tilted"), [(1, 0.25, 0.29167, 1 / 3), (3, 0.0625, 0.14174, 0.2)])
def test_beyond_scale_one_three_readings_of_the_guided_score_give_three_laws(w, ode, reverse, tilted, given_noise):
    # zero-mean Gaussians of variance 1/2 and 1: v_c^{1 + w} v_u^{-w}, an integral, 1 / ((1 + w) / v_c - w / v_u)
    given_noise(lambda *_: UNITS[[0, 0, 1]])
    sde = sj.edm(1e-3, 300.0)
    cond, uncond = (sj.analytic.gaussian([0.0], [[v]]).score(sde) for v in (0.5, 1.0))
    score = sj.guidance.classifier_free(cond, uncond, jnp.float32(sj.guidance.from_w(w)))
    coarse, fine = (sj.times.karras(sde, n) for n in (400, 800))
    flow = variance_after(sj.samplers.probability_flow("heun"), sde, score, coarse)
    assert float(flow) == pytest.approx(ode, rel=2e-3)
    assert integral(0.5, 1.0, w) == pytest.approx(reverse, rel=1e-4)
    first, second = (float(variance_after(sj.samplers.ancestral(), sde, score, times)) for times in (coarse, fine))
    assert 2.0 * second - first == pytest.approx(reverse, rel=2e-3)  # of the first order, extrapolated to no step
    slope = score(jnp.ones((1, 1)), jnp.full(1, sde.t_min))
    assert float(-1.0 / slope[0, 0]) == pytest.approx(tilted, rel=1e-3)


@pytest.mark.slow
def test_new_measurements_and_scales_do_not_compile_again():
    seen = []
    prior = CORRELATED.score(SDE)

    def counted(x, t):
        seen.append(1)
        return prior(x, t)

    def call(y, sigma_y, scale):
        score = sj.guidance.moment_matching(SDE, counted, A, jnp.array([[y]]), sigma_y)
        score = sj.guidance.classifier_free(score, counted, scale)
        return sj.sample(
            jax.random.key(0), SDE, score, (2, 2), stepper=sj.samplers.ancestral(), times=sj.times.log_snr(SDE, 2)
        ).x

    first = call(0.3, 0.1, 2.0)
    seen.clear()
    assert not np.array_equal(call(0.5, 0.2, 3.0), first)
    assert not seen
