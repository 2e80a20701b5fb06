"""EDM's samplers: the published runs, churn as a forward transition, orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import GOLDEN, PLANE, order, run
from worlds import PROCESSES, interior

import scorejax as sj
from scorejax import samplers

EDM = sj.edm()
STORED = np.load(GOLDEN / "edm_sampler_gmm1.npz")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def assert_equal(found, key, tolerance=1e-9):
    expected = STORED[key]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=key)


def karras():
    return sj.times.karras(EDM, 17)


def denoised(sde, x, t):
    return PLANE.posterior_mean(sde, x, t)


def test_the_noise_levels_are_the_published_ones():
    np.testing.assert_allclose(np.append(karras(), 0.0), STORED["edm_t_steps|18"], rtol=1e-9)


def test_the_deterministic_sampler_is_the_published_one():
    """18 levels are 17 steps and the driver's denoising, 35 evaluations."""
    x = jnp.asarray(STORED["latents"]) * 80.0
    found = sj.sample(
        jax.random.key(0), EDM, PLANE.score(EDM), x.shape, stepper=samplers.heun(), times=karras(), x_init=x
    )
    assert_equal(found.x, "edm_sampler|steps18|heun|churn0")
    assert int(found.nfe) == 35


def test_the_churned_sampler_is_the_published_one(given_noise):
    given_noise(lambda noise, _: noise)
    stepper = samplers.heun(40.0, s_min=0.05, s_max=50.0, s_noise=1.003)
    x = jnp.asarray(STORED["latents"]) * 80.0
    x = run(stepper, EDM, PLANE.score(EDM), x, karras(), noise=jnp.asarray(STORED["churn_noise"]))
    assert_equal(denoised(EDM, x, 0.002), "edm_sampler|steps18|heun|churn40")


def raised(stepper, keys, sde, x, t, gamma):
    """Where a step begins after its noise: the points and the time of its first evaluation."""
    seen = []

    def score(x, t):
        seen.append((x, t))
        return jnp.zeros_like(x)

    stepper.step(keys, sde, score, x, t, t, gamma)
    return seen[0]


@pytest.mark.parametrize(
    "sde",
    [pytest.param(s, marks=() if n in ("vp", "edm") else pytest.mark.slow) for n, s in PROCESSES.items()],
    ids=PROCESSES,
)
def test_churn_is_a_step_of_the_forward_process(sde, given_noise):
    """Raised from `r` to `(1 + gamma) r`, samples are those of `q(x_later | x_t)`; a table ends at its last level."""
    given_noise(lambda noise, _: noise)
    stepper, gamma = samplers.heun(3.0), jnp.asarray(0.3)
    for t in (jnp.asarray(interior(sde)[3]), jnp.asarray(sde.t_max)):
        point = jnp.array([[0.0], [1.0], [0.0]])
        moved, later = raised(stepper, jnp.array([[0.0], [0.0], [1.0]]), sde, point, t, gamma)
        a, v = sde.transition(t, later)
        np.testing.assert_allclose(moved[:, 0], [0.0, a, jnp.sqrt(v)], rtol=1e-6, atol=1e-9)
        growth = np.exp(0.5 * float(sde.log_snr(t) - sde.log_snr(later)))
        ends = hasattr(sde, "levels") and t == sde.t_max
        np.testing.assert_allclose(growth, 1.0 if ends else 1.3, rtol=1e-7)


def test_churn_acts_between_its_levels_and_is_bounded():
    times = jnp.linspace(80.0, 1.0, 18)
    for churn, expected in ((9.0, 0.5), (3.6, 0.2), (1000.0, 2**0.5 - 1.0)):
        gamma = samplers.heun(churn).init(EDM, None, times)
        np.testing.assert_allclose(gamma, min(expected, 2**0.5 - 1.0), rtol=1e-12)
    stepper, x, keys = (
        samplers.heun(3.6, s_min=0.1, s_max=10.0),
        jnp.zeros((2, 1)),
        jax.random.split(jax.random.key(0), 2),
    )
    for t, acts in ((0.09, False), (0.11, True), (9.9, True), (10.1, False)):
        moved, later = raised(stepper, keys, EDM, x, jnp.asarray(t), jnp.asarray(0.2))
        np.testing.assert_allclose(later, t * (1.2 if acts else 1.0), rtol=1e-12)
        assert bool(jnp.any(moved != 0)) is acts


@pytest.mark.parametrize("churn", [pytest.param(0.0, marks=pytest.mark.slow), 10.0])
def test_a_sample_does_not_depend_on_its_batch_mates(churn):
    def draw(n, start=0):
        return sj.sample(
            jax.random.key(3), EDM, lambda x, t: -x / (1.0 + t[:, None] ** 2), (n, 2), stepper=samplers.euler(churn),
            times=karras(), start=start,
        ).x  # fmt: skip

    whole = draw(5)
    np.testing.assert_array_equal(draw(2, start=3), whole[3:])
    assert len(np.unique(np.asarray(whole))) == 10


@pytest.mark.slow
def test_heun_is_of_the_second_order_and_euler_of_the_first():
    sde = sj.vp()
    for stepper, expected in ((samplers.heun(), 2), (samplers.euler(), 1)):
        found = order(stepper, sde, lambda n: sj.times.log_snr(sde, n, t_min=1e-3))
        np.testing.assert_allclose(found, expected, atol=0.25)


class Root(type(EDM)):
    """The schedule `sigma = sqrt(t)` that EDM calls VE."""

    def variance(self, t):
        return t

    def inverse_log_snr(self, log_snr):
        return jnp.exp(-log_snr)


jax.tree_util.register_dataclass(Root)


ENDS = {"vp": [np.sqrt(np.expm1(0.1 * t + 9.95 * t**2)) for t in (1e-3, 1.0)], "ve": (0.02, 100.0),
        "iddpm": (0.002, 81.0), "edm": (0.002, 80.0)}  # fmt: skip


def vp_of_edm(discretization):
    """The VP schedule whose noise-to-signal ratios at `t = 1e-3` and `t = 1` are the ends of a discretisation."""
    low, high = (np.log1p(np.square(end)) for end in ENDS[discretization])
    slope = 2.0 * (low / 1e-3 - high) / (1e-3 - 1.0)
    # not by `sj.vp(...)`: the slope of two of them is so steep that beta(0) is a little below zero
    return sj.vp().replace(beta_min=high - 0.5 * slope, beta_max=high + 0.5 * slope)


def levels_of_edm(discretization):
    """The 18 noise levels of the four discretisations (EDM, table 1)."""
    i = np.arange(18) / 17
    if discretization == "vp":
        times = 1.0 + i * (1e-3 - 1.0)
        return np.exp(-0.5 * np.asarray(sj.vp().log_snr(times)))
    if discretization == "ve":
        return np.sqrt(100.0**2 * (0.02**2 / 100.0**2) ** i)
    if discretization == "edm":
        return np.asarray(karras())
    chain = sj.ddpm("cosine", 1000)
    table = np.exp(-0.5 * np.asarray(chain.log_snr(np.arange(1000, 0, -1) / 1000)))
    table = table[(table >= 0.002) & (table <= 81.0)]
    return table[np.rint((len(table) - 1) * i).astype(int)]


SCHEDULES = {
    "schedule=linear|scaling=none": lambda _: EDM,
    "schedule=vp|scaling=vp": vp_of_edm,
    "schedule=ve|scaling=none": lambda _: Root(t_min=1e-8, t_max=1e5),
}


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["heun", "euler"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_runge_kutta_in_time_is_the_published_ablation(schedule, solver):
    """`probability_flow(solver)` steps in `t`, as the ablation does; its last step is Euler's, to `t = 0`."""
    for discretization in ENDS:
        sde = SCHEDULES[schedule](discretization)
        times = sde.inverse_log_snr(-2.0 * jnp.log(jnp.asarray(levels_of_edm(discretization))))
        x = jnp.asarray(STORED["latents"]) * sde.sigma(times[0])
        x = run(samplers.probability_flow(solver), sde, PLANE.score(sde), x, times)
        x = run(samplers.probability_flow("euler"), sde, PLANE.score(sde), x, jnp.append(times[-1], 0.0))
        # The reference goes from sigma(t) back to t before each step and takes what rounding adds to sigma^2 for churn:
        # on the levels `ve` and `iddpm` the square root of 1e-15 times random noise, which nobody can repeat.
        noisy = "schedule=vp" in schedule and discretization in ("ve", "iddpm")
        key = f"ablation|disc={discretization}|solver={solver}|{schedule}|steps18"
        assert_equal(x, key, 2e-7 if noisy else 1e-9)
