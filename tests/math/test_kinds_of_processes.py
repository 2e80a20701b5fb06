"""What a process without `alpha_t` and `sigma_t` is taken by, and what refuses it with the reason.

Every public function that takes a process, and every part by its name, stands in one of the two lists.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import guidance, likelihood, objectives, posterior, reverse, samplers
from scorejax.guidance import operators
from scorejax.objectives.weighting import WEIGHTINGS
from scorejax.scores.predictions import PREDICTIONS

KEY, VP, WELL = jax.random.key(0), sj.vp(), sj.double_well(steps=3)
DATA = np.array([[0.1, 0.2], [0.5, -1.0], [2.0, 1.0]], np.float32)
TIMES = np.array([1.0, 0.5, 0.1])
CHAIN = reverse.chain(VP, TIMES)
ENERGY = sj.score_from_energy(lambda x, t: 0.5 * jnp.sum(x**2, axis=1))
EYE = operators.dense(np.eye(2), (2,))
IMAGES = np.zeros((3, 2, 2, 1), np.float32)
LABELS = np.array([0, 1, 1])
STEPPER = samplers.euler_maruyama()
SETTINGS = {"head": lambda x, t: x**2, "chain": CHAIN, "labels": LABELS}


def score(x, t):
    return -x


def drawn(sde, stepper=STEPPER, draw=sj.sample, **options):
    return draw(KEY, sde, ENERGY, (3, 2), stepper=stepper, times=sj.times.uniform(sde, 2), **options)


def objective(name, **settings):
    function = getattr(objectives, name)
    taken = {key: value for key, value in SETTINGS.items() if key in inspect.signature(function).parameters}
    return lambda sde: function(KEY, sde, score, DATA, **taken, **settings)


CALLS = {
    "sample": drawn,
    "trajectory": lambda sde: drawn(sde, draw=sj.trajectory),
    "sample with denoise": lambda sde: drawn(sde, denoise=True),
    "sample with clip": lambda sde: drawn(sde, clip=(-1.0, 1.0)),
    "encode": lambda sde: sj.encode(sde, score, DATA),
    "decode": lambda sde: sj.decode(sde, score, DATA),
    "log_prob": lambda sde: sj.log_prob(KEY, sde, score, DATA).value,
    "log_prob with a standard prior": lambda sde: sj.log_prob(KEY, sde, score, DATA, prior="standard").value,
    "dequantized_bits": lambda sde: likelihood.dequantized_bits(KEY, sde, score, LABELS[:, None], 2),
    "bound_bits": lambda sde: likelihood.bound_bits(KEY, sde, score, LABELS[:, None], 2, samples=10),
    "denoising_levels": lambda sde: likelihood.denoising_levels(sde),
    "denoising_errors": lambda sde: likelihood.denoising_errors(KEY, sde, score, DATA, jnp.zeros(2)),
    "likelihood_bound": lambda sde: likelihood.likelihood_bound(KEY, sde, score, DATA, samples=10),
    "elbo": lambda sde: sj.elbo(KEY, sde, score, DATA, CHAIN),
    "make_score": lambda sde: sj.make_score(sde, lambda p, x, t: -x, (), "score")(DATA, 0.5),
    "make_conditional_score": lambda sde: sj.make_conditional_score(sde, lambda p, x, t, c: -x, (), "score")(
        DATA, 0.5, LABELS
    ),
    "tweedie": lambda sde: sj.tweedie(sde, DATA, 0.5, -DATA),
    "analytic": lambda sde: samplers.analytic(sde, TIMES, sj.gamma.Gamma.of(VP, TIMES, np.full((1, 3), 0.5))),
    **{f"the prediction {name}": lambda sde, name=name: sj.make_score(sde, lambda p, x, t: -x, (), name)
       for name in (*PREDICTIONS, "edm", "previous_mean")},
    **{f"the stepper {name}": lambda sde, make=make: drawn(sde, make()) for name, make in samplers.STEPPERS.items()},
    **{f"the corrector {name}": lambda sde, make=make, own=own: drawn(sde, corrector=make(**own))
       for (name, make), own in zip(samplers.CORRECTORS.items(), ({"norm": "batch"}, {}), strict=True)},
    **{f"the grid {name}": lambda sde, make=make: make(sde, 2) for name, make in samplers.GRIDS.items()},
    "singlestep": lambda sde: sj.times.singlestep(sde, 4, 2),
    **{name: objective(name) for name in objectives.OBJECTIVES if name != "classification"},
    "classification": lambda sde: objectives.classification(KEY, sde, score, DATA, LABELS),
    "variance_head": objective("variance_head"),
    **{f"the weighting {name}": objective("sliced", weighting=name) for name in WEIGHTINGS},
    **{f"the times {name}": objective("sliced", time_sampling=make()) for name, make in objectives.TIMES.items()
       if name != "stratified"},
    "stratified times": lambda sde: objectives.draw_times(KEY, sde, 3, "stratified"),
    "time_density": lambda sde: objectives.time_density(sde, jnp.ones(3)),
    "draw_times": lambda sde: objectives.draw_times(KEY, sde, 3),
    "clipped": lambda sde: guidance.clipped(sde, score),
    "colorize": lambda sde: guidance.colorize(KEY, sde, score, IMAGES, stepper=STEPPER, times=TIMES),
    "inpaint": lambda sde: guidance.inpaint(
        KEY, sde, score, DATA, np.array([True, False]), stepper=STEPPER, times=TIMES
    ),
    "ddrm": lambda sde: guidance.ddrm(KEY, sde, score, EYE, DATA, 0.1, shape=(3, 2), times=TIMES),
    "dps": lambda sde: guidance.dps(sde, score, EYE, DATA, sigma_y=0.1),
    "pigdm": lambda sde: guidance.pigdm(sde, score, EYE, DATA, 0.1),
    "moment_matching": lambda sde: guidance.moment_matching(sde, score, EYE, DATA, 0.1),
    "potential": lambda sde: guidance.potential(sde, score, guidance.likelihoods.gaussian(EYE, DATA, 0.1)),
    "smc": lambda sde: posterior.smc(KEY, sde, score, (3, 2), particles=2, potential=ENERGY, times=TIMES),
    "refine": lambda sde: posterior.refine(KEY, sde, score, DATA, lambda x: x[:, 0]),
    "split_gibbs": lambda sde: posterior.split_gibbs(
        KEY, sde, score, (3, 2), likelihood=lambda x: x[:, 0], rho=0.1, sweeps=1
    ),
    "daps": lambda sde: posterior.daps(KEY, sde, score, (3, 2), likelihood=lambda x: x[:, 0], times=TIMES),
    "diffpir": lambda sde: posterior.diffpir(
        KEY, sde, score, (3, 2), likelihood=guidance.likelihoods.gaussian(EYE, DATA, 0.1), times=TIMES
    ),
    "faithful": lambda sde: guidance.faithful(sde, lambda x: x, DATA),
    "realistic": lambda sde: guidance.realistic(sde, lambda x, t: x, DATA, DATA),
    "sdedit": lambda sde: guidance.sdedit(KEY, sde, score, DATA, 0.5, stepper=STEPPER, steps=2),
    "interval": lambda sde: guidance.interval(2.0, sde, -1.0, 1.0),
    "interval of times": lambda sde: guidance.interval(2.0, sde, 0.2, 0.5, by="time")(jnp.ones(2)),
    "replacement": lambda sde: drawn(sde, guidance.replacement(STEPPER, guidance.known(DATA, np.array([True, False])))),
    "transition": lambda sde: reverse.transition(sde, 0.1, 0.5, 1.0),
    "chain": lambda sde: reverse.chain(sde, TIMES),
    "gamma.grid": lambda sde: sj.gamma.grid(sde),
    "estimate": lambda sde: sj.gamma.estimate(KEY, sde, score, DATA, TIMES),
    "Gamma.of": lambda sde: sj.gamma.Gamma.of(sde, TIMES, np.full((1, 3), 0.5)),
    "optimal": lambda sde: sj.trajectories.optimal(sde, sj.gamma.Gamma.of(VP, TIMES, np.full((1, 3), 0.5)), 2),
    "trajectories.even": lambda sde: sj.trajectories.even(sde, 3),
    "a mixture": lambda sde: sj.analytic.gaussian([0.0], [1.0]).score(sde),
    "a mixture's density": lambda sde: sj.analytic.gaussian([0.0], [1.0]).log_prob_at(sde, DATA[:, :1], 0.5),
    "on_grid": lambda sde: sj.analytic.on_grid(sde, lambda x: -x[:, 0] ** 2, -1.0, 1.0, points=30, times=4).score(),
}  # fmt: skip
TAKEN = {
    "sample", "trajectory", "encode", "decode", "log_prob", "dequantized_bits", "make_score", "make_conditional_score",
    "the prediction score", "the stepper euler_maruyama", "the stepper probability_flow",
    "the stepper adaptive_probability_flow", "the stepper ula", "the stepper mala", "the corrector langevin",
    "the grid uniform", "the grid quadratic", "the grid even", "trajectories.even", "sliced", "implicit",
    "finite_difference", "the weighting simple", "the weighting likelihood", "the times uniform", "stratified times",
    "time_density", "draw_times", "interval of times", "on_grid",
}  # fmt: skip
LEVELS = {
    "the grid levels",
    "the grid respaced",
    "the grid ddim_uniform",
    "the grid ddim_quadratic",
}  # a Gaussian process may lack them too


@pytest.mark.parametrize("name", [name for name in CALLS if name not in TAKEN])
def test_what_needs_a_gaussian_process_refuses_another_with_the_reason(name):
    reason = "a Gaussian process in closed form.* got Drifting, a diffusion with any drift"
    with pytest.raises(ValueError, match="visits levels of a d" if name in LEVELS else reason):
        CALLS[name](WELL)


SOLVED = {"encode", "decode", "dequantized_bits", "on_grid", "the stepper adaptive_probability_flow"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SOLVED)) for name in sorted(TAKEN)]
)
def test_what_needs_a_drift_and_a_score_takes_it(name):
    if name == "on_grid":
        CALLS[name](WELL)  # on the host
    else:
        jax.eval_shape(lambda: CALLS[name](WELL))


def test_every_public_function_that_takes_a_process_is_asked():
    rooms = (sj, samplers, objectives, likelihood, guidance, posterior, reverse, sj.times, sj.gamma)
    functions = {
        name
        for room in rooms
        for name, value in vars(room).items()
        if inspect.isfunction(value) and "sde" in inspect.signature(value).parameters and not name.startswith("_")
        and (name in getattr(room, "__all__", ()) or value.__module__ == room.__name__)
    }  # fmt: skip
    asked = {name.rpartition(" ")[2].rpartition(".")[2] for name in CALLS}
    assert functions - asked == set()
