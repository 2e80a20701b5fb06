"""Every process with every sampler, and with every corrector, carries the exact law at `t_max` to the law of the data.

So does every sampler with every corrector, in either order, on a process in continuous time and on a chain: a sampler
and a corrector meet in the driver, which asks for no process. Most of the cost of such a table is compilation, so one
program per process holds all fixed-step samplers and all correctors, and a traced number picks one.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import at_end

import scorejax as sj
from scorejax.samplers import Step, Stepper

pytestmark = pytest.mark.optimized

# shorter ranges than the defaults: `x_init` is exact at any t_max, and the samplers need fewer steps
PROCESSES = {
    "vp": sj.vp(t_min=1e-3, t_max=0.7),
    "subvp": sj.subvp(t_min=1e-2, t_max=0.7),
    "ve": sj.ve(0.02, 10.0),
    "edm": sj.edm(0.02, 10.0),
    "cosine": sj.cosine(t_min=1e-2, t_max=0.9),
    "flow": sj.flow(t_min=1e-2, t_max=0.9),
    "ddpm": sj.ddpm("linear", 150).replace(t_max=0.7),
    "smld": sj.smld(0.02, 10.0, 150),
}
SAMPLERS = {
    "euler_maruyama": sj.samplers.euler_maruyama(),
    "reverse_diffusion": sj.samplers.reverse_diffusion(),
    "reverse_diffusion_ode": sj.samplers.reverse_diffusion(probability_flow=True),
    "ancestral": sj.samplers.ancestral(),
    "ancestral_forward": sj.samplers.ancestral("forward"),
    "euler": sj.samplers.probability_flow("euler"),
    "heun": sj.samplers.probability_flow("heun"),
    "rk4": sj.samplers.probability_flow("rk4"),
}
CORRECTORS = {"none": None, "langevin": sj.samplers.langevin(0.1, norm="batch"), "ald": sj.samplers.ald(0.1)}

COMPONENT = np.array([[0.20, 0.08], [0.08, 0.15]])
GAUSSIAN = sj.analytic.mixture([0.3, 0.7], [[0.3, -0.2]] * 2, covariances=[COMPONENT] * 2)
MIXTURE = sj.analytic.mixture([0.3, 0.7], [[-1.2, 0.9], [1.2, -0.9]], covariances=[COMPONENT / 2] * 2)
B, STEPS = 4000, 149


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Menu(Stepper):
    """The stepper at position `which` of a fixed list; None is no step."""

    which: jax.Array
    choices: tuple = field(metadata={"static": True})

    def step(self, keys, sde, score, x, t, s, memory):
        def branch(stepper):
            def run(x):
                calls = 0

                def counted(x, t):
                    nonlocal calls
                    calls += 1
                    return score(x, t)

                y = x if stepper is None else stepper.step(keys, sde, counted, x, t, s, ()).x
                return y, jnp.int32(calls)

            return run

        y, nfe = jax.lax.switch(self.which, [branch(c) for c in self.choices], x)
        return Step(y, (), nfe)


def draw(name, law, sampler, corrector, first, times=None):
    sde = PROCESSES[name]
    return sj.sample(
        jax.random.key(7), sde, law.score(sde), (B, 2),
        stepper=Menu(jnp.int32(list(SAMPLERS).index(sampler)), tuple(SAMPLERS.values())),
        corrector=Menu(jnp.int32(list(CORRECTORS).index(corrector)), tuple(CORRECTORS.values())),
        corrector_first=first, x_init=at_end(law, sde, jax.random.key(3), B),
        times=sj.times.log_snr(sde, STEPS) if times is None else times,
    )  # fmt: skip


def error_of(sampler, corrector):
    """Largest step error of the covariance, relative to the largest variance, in these 149 steps.

    Measured: ancestral 0.08, Euler for the exploding processes 0.12, the published discretisation of the
    probability-flow ODE, whose `2 - a` stands for `1 / a`, 0.25, other methods of order 1 0.06; orders 2 and 4 show
    none. A corrector takes errors away and adds a bias of order snr^2 = 0.01.
    """
    error = {"heun": 0.0, "rk4": 0.0, "reverse_diffusion_ode": 0.26, "euler": 0.1, "ancestral": 0.06}.get(sampler, 0.03)
    return error + {"none": 0.0, "langevin": 0.02, "ald": 0.02}[corrector]


def check(x, law, error):
    covariance, spread = np.asarray(law.covariance()), np.asarray(law.covariance()).max()
    noise = 5 / B**0.5  # five standard errors
    np.testing.assert_allclose(x.mean(0), law.mean(), atol=(noise + 0.4 * error) * spread**0.5)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=(1.5 * noise + error) * spread)


WHOLE = ("vp", "smld")  # with every pair of a sampler and a corrector
ORDERS = [pytest.param(n, False, id=f"{n}-corrector_last") for n in PROCESSES]
ORDERS += [pytest.param(n, True, id=f"{n}-corrector_first") for n in WHOLE]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), ORDERS)
def test_every_sampler_and_corrector_reaches_the_law_of_the_data(name, first):
    pairs = [(sampler, "none") for sampler in SAMPLERS if not first]
    pairs += [
        (sampler, corrector)
        for sampler in (SAMPLERS if name in WHOLE else ("reverse_diffusion",))
        for corrector in CORRECTORS
        if corrector != "none"
    ]
    failures = []
    for sampler, corrector in pairs:
        found = draw(name, GAUSSIAN, sampler, corrector, first)
        try:
            check(np.asarray(found.x), GAUSSIAN, error_of(sampler, corrector))
        except AssertionError as wrong:
            failures.append(f"{sampler} with {corrector}: {wrong}")
        per_step = {"heun": 2, "rk4": 4}.get(sampler, 1) + (corrector != "none")
        assert int(found.nfe) == STEPS * per_step + 1
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_every_family_of_samplers_keeps_the_weights_of_a_mixture(name):
    for sampler in ("reverse_diffusion", "ancestral", "euler", "rk4"):  # whose noise and slopes the others share
        x = np.asarray(draw(name, MIXTURE, sampler, "none", False).x)
        share = np.mean(x[:, 0] < x[:, 1])
        # five standard errors; a first-order method moves the boundary by up to 2 % more
        assert abs(share - 0.3) < 5 * np.sqrt(0.21 / B) + (0.02 if sampler not in ("heun", "rk4") else 0.0), sampler
        low = x[x[:, 0] < x[:, 1]]
        np.testing.assert_allclose(low.mean(0), [-1.2, 0.9], atol=0.05 + error_of(sampler, "none") / 2, err_msg=sampler)


ADAPTIVE = [pytest.param(n, "none", marks=() if n == "vp" else pytest.mark.slow) for n in PROCESSES]
ADAPTIVE += [pytest.param(n, "langevin", marks=pytest.mark.slow) for n in WHOLE]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "corrector"), ADAPTIVE)
def test_the_adaptive_sampler_reaches_the_law_of_the_data(name, corrector):
    sde = PROCESSES[name]
    found = sj.sample(
        jax.random.key(7), sde, GAUSSIAN.score(sde), (B, 2),
        stepper=sj.samplers.adaptive_probability_flow(1e-3, 1e-3), times=sj.times.log_snr(sde, 4),
        corrector=CORRECTORS[corrector], x_init=at_end(GAUSSIAN, sde, jax.random.key(3), B),
    )  # fmt: skip
    check(np.asarray(found.x), GAUSSIAN, error_of("rk4", corrector) + 0.01)
