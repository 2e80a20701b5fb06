"""What is handed in is converted by one rule or refused by one rule, at every public function that takes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scorejax as sj
from scorejax import guidance, likelihood, objectives, samplers
from scorejax.scores.predictions import convert

SDE, KEY = sj.vp(), jax.random.key(0)
LAW = sj.analytic.gaussian([0.3, -0.2], [0.5, 0.3])
DATA = np.array([[0.125, 0.25], [0.5, -1.0], [2.0, 1.0]])  # exact in every floating type
TIMES = np.array([1.0, 0.5, 0.1])
CHAIN = sj.reverse.chain(SDE, TIMES)
MASK = np.array([True, False])
EYE = guidance.operators.dense(np.eye(2), (2,))


def score(x, t):
    return -x


STEPPER = samplers.ancestral()


def drawn(score=score, key=KEY, times=TIMES, stepper=STEPPER, draw=sj.sample, **options):
    return draw(key, SDE, score, (3, 2), stepper=stepper, times=times, **options).x


def steered(score, x=DATA, key=KEY, times=TIMES):
    return guidance.inpaint(key, SDE, score, x, MASK, stepper=STEPPER, times=times).x


# Every public function that takes points: `(x) -> result`.
POINTS = {
    "sample": lambda x: drawn(x_init=x),
    "trajectory": lambda x: drawn(x_init=x, draw=sj.trajectory),
    "encode": lambda x: sj.encode(SDE, score, x).x,
    "decode": lambda x: sj.decode(SDE, score, x).x,
    "interpolate": lambda x: sj.interpolate(x, x, 3),
    "log_prob": lambda x: sj.log_prob(KEY, SDE, score, x).value,
    "likelihood_bound": lambda x: likelihood.likelihood_bound(KEY, SDE, score, x, samples=10).value,
    "elbo": lambda x: sj.elbo(KEY, SDE, score, x, CHAIN).total,
    "denoising": lambda x: objectives.denoising(KEY, SDE, score, x),
    "sliced": lambda x: objectives.sliced(KEY, SDE, score, x),
    "implicit": lambda x: objectives.implicit(KEY, SDE, score, x),
    "vlb": lambda x: objectives.vlb(KEY, SDE, score, x, chain=CHAIN),
    "continuous_vlb": lambda x: objectives.continuous_vlb(KEY, SDE, score, x),
    "variance_head": lambda x: objectives.variance_head(KEY, SDE, score, x, head=lambda x, t: x**2),
    "classification": lambda x: objectives.classification(KEY, SDE, lambda x, t: x, x, np.array([0, 1, 1])),
    "gamma.estimate": lambda x: sj.gamma.estimate(KEY, SDE, score, x, TIMES),
    "sdedit": lambda x: guidance.sdedit(KEY, SDE, score, x, 0.5, stepper=STEPPER, steps=3).x,
    "inpaint": lambda x: steered(score, x),
    "ddrm": lambda x: guidance.ddrm(KEY, SDE, score, EYE, x, 0.1, shape=(3, 2), times=TIMES).x,
    "cold": lambda x: guidance.cold(lambda x, s: x, lambda x, s: x, x, [1.0, 0.0]),
    "dps": lambda x: guidance.dps(SDE, score, EYE, x, sigma_y=0.1).args[3],
    "tweedie": lambda x: sj.tweedie(SDE, x, 0.5, jnp.ones((3, 2))),
    "perturb": lambda x: SDE.perturb(x, 0.5, jnp.ones((3, 2))),
    "prior_logp": lambda x: SDE.prior_logp(x),
    "an exact law": lambda x: LAW.log_prob(x),
}
# Arithmetic alone, and of a solve that may fail: NaN goes in, and NaN comes out.
PASS_NAN, NOT_FINITE = {"dps", "tweedie", "perturb", "prior_logp", "an exact law"}, {"nan", "infinity"}

WRONG_POINTS = {
    "int32": (DATA.astype(np.int32), "int32; points of model space are floating numbers|integer data need levels"),
    "bool": (DATA > 0, "bool; points of model space are floating numbers"),
    "complex": (DATA + 0j, "complex128; points of model space are floating numbers"),
    "integers in lists": ([[1, 2], [3, 4], [5, 6]], "int64; points|integer data need levels"),
    "no examples": (np.zeros((0, 2)), r"at least one example, got shape \(0, 2\)"),
    "a number": (np.float32(1.0), r"at least one example, got shape \(\)"),
    "nan": (np.where(DATA == 2.0, np.nan, DATA), r"finite, got nan at \[2, 0\]"),
    "infinity": (np.where(DATA == 2.0, np.inf, DATA), r"finite, got inf at \[2, 0\]"),
}


REFUSALS = [(call, kind) for kind in WRONG_POINTS for call in POINTS if not (call in PASS_NAN and kind in NOT_FINITE)]


@pytest.mark.parametrize(("call", "kind"), REFUSALS)
def test_points_of_another_kind_are_refused(call, kind):
    x, message = WRONG_POINTS[kind]
    with pytest.raises(ValueError, match=message):
        POINTS[call](x)


RIGHT_POINTS = {
    "float16": DATA.astype(np.float16),
    "bfloat16": jnp.asarray(DATA, jnp.bfloat16),
    "float64": DATA,
    "lists": DATA.tolist(),
}
TYPED = {
    **{name: POINTS[name] for name in ("log_prob", "elbo", "denoising", "interpolate")},
    "adaptive sample": lambda x: drawn(x_init=x, stepper=samplers.adaptive_probability_flow()),
    "adaptive DPM-Solver": lambda x: drawn(x_init=x, stepper=samplers.dpm_solver_adaptive()),
    "half-precision network": lambda x: objectives.denoising(
        KEY, SDE, sj.make_score(SDE, lambda p, x, t: jnp.asarray(-x, jnp.bfloat16), ()), x
    ),
}


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("call", TYPED)
@pytest.mark.slow
def test_floating_points_of_any_width_are_points_of_the_working_type(call, wide):
    with jax.enable_x64(wide):
        wanted = TYPED[call](DATA.astype(np.float32))
        assert wanted.dtype == (jnp.float64 if wide else jnp.float32)
        for x in RIGHT_POINTS.values():
            np.testing.assert_array_equal(TYPED[call](x), wanted)


# Every public function that takes times: `(times) -> result`; grids first.
GRIDS = {
    "sample": lambda t: drawn(times=t),
    "trajectory": lambda t: drawn(times=t, draw=sj.trajectory),
    "inpaint": lambda t: steered(score, times=t),
    "colorize": lambda t: guidance.colorize(KEY, SDE, score, np.ones((3, 2, 2, 1)), stepper=STEPPER, times=t),
    "ddrm": lambda t: guidance.ddrm(KEY, SDE, score, EYE, DATA, 0.1, shape=(3, 2), times=t),
    "reverse.chain": lambda t: sj.reverse.chain(SDE, t),
    "analytic": lambda t: samplers.reverse_chain().prepare(SDE, t),
}
SINGLE_TIMES = {
    "denoising": lambda t: objectives.denoising(KEY, SDE, score, DATA, t=t),
    "sliced": lambda t: objectives.sliced(KEY, SDE, score, DATA, t=t),
    "continuous_vlb": lambda t: objectives.continuous_vlb(KEY, SDE, score, DATA, t=t),
    "variance_head": lambda t: objectives.variance_head(KEY, SDE, score, DATA, head=score, t=t),
    "classification": lambda t: objectives.classification(KEY, SDE, score, DATA, np.array([0, 1, 1]), t=t),
    "tweedie": lambda t: sj.tweedie(SDE, DATA, t, jnp.ones((3, 2))),
    "perturb": lambda t: SDE.perturb(DATA, t, DATA),
    "gamma.estimate": lambda t: sj.gamma.estimate(KEY, SDE, score, DATA, t),
    "sdedit": lambda t: guidance.sdedit(KEY, SDE, score, DATA, float(t[0]), stepper=STEPPER),
}
WRONG_GRIDS = {
    "levels for times": (np.arange(999, -1, -1), r"times=999 lies outside .* in \[1e-05, 1\]"),
    "below zero": (np.linspace(1, -0.5, 200), "lies outside"),
    "above the last": (jnp.linspace(2, 1e-3, 200), "lies outside"),
    "increasing": (TIMES[::-1], r"decrease strictly, got times\[0\]=0.1"),
    "nan": (np.array([1.0, np.nan, 0.1]), "decrease strictly"),
    "one": (TIMES[:1], "at least"),
    "a column": (TIMES[:, None], r"a vector of at least .*, got shape \(3, 1\)"),
}


@pytest.mark.parametrize("call", GRIDS)
@pytest.mark.parametrize("kind", WRONG_GRIDS)
def test_grids_that_leave_the_times_of_the_process_are_refused(call, kind):
    times, message = WRONG_GRIDS[kind]
    with pytest.raises(ValueError, match=message):
        GRIDS[call](times)


@pytest.mark.parametrize("call", SINGLE_TIMES)
@pytest.mark.parametrize("time", [-0.5, 1.5, 999, np.nan])
def test_times_outside_the_process_are_refused(call, time):
    with pytest.raises(ValueError, match="lies outside"):
        SINGLE_TIMES[call](np.full(3, time))


# Every public function of points at times that takes one time for all or one per example: `(x, t) -> result`.
AT_TIMES = {
    "perturb": lambda x, t: SDE.perturb(x, t, jnp.ones(np.shape(x))),
    "marginal": lambda x, t: SDE.marginal(x, t)[0],
    "drift": SDE.drift,
    "tweedie": lambda x, t: sj.tweedie(SDE, x, t, jnp.ones(np.shape(x))),
    "convert": lambda x, t: convert(SDE, x, t, jnp.ones(np.shape(x)), "noise", "data"),
    "make_score": sj.make_score(SDE, lambda p, x, label: -x * label[:, None], ()),
    "make_score of edm": sj.make_score(SDE, lambda p, x, label: -x * label[:, None], (), "edm"),
    "a law's score": LAW.score(SDE),
    "a law's density": lambda x, t: LAW.log_prob_at(SDE, x, t),
}


@pytest.mark.parametrize("call", AT_TIMES)
def test_points_have_one_time_or_one_each(call):
    for x, t in ((DATA, 0.5), (DATA, np.full(3, 0.5)), (DATA[:1], np.full(1, 0.5))):
        np.testing.assert_allclose(AT_TIMES[call](x, t)[0], AT_TIMES[call](DATA[:1], 0.5)[0], rtol=1e-5)
    for x, t in ((DATA, np.full(2, 0.5)), (DATA, np.full((3, 1), 0.5)), (DATA[:1], np.full(3, 0.5))):
        message = rf"points of shape \({len(x)}, 2\) have times of shape \(\) or \({len(x)},\), got \({len(t)},"
        with pytest.raises(ValueError, match=message):
            AT_TIMES[call](x, t)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(AT_TIMES[call], x, t)
    for outside in (1.5, -0.5, np.nan):
        with pytest.raises(ValueError, match="lies outside"):
            AT_TIMES[call](DATA, outside)


def test_one_point_takes_the_noise_and_the_times_of_many():
    for t in (0.5, np.full(3, 0.5)):
        np.testing.assert_array_equal(SDE.perturb(DATA[:1], t, DATA)[0], SDE.perturb(DATA[:1], 0.5, DATA[:1])[0])


def test_one_time_per_example_is_that_many():
    with pytest.raises(ValueError, match=r"one time per example, shape \(3,\), got \(2,\)"):
        objectives.denoising(KEY, SDE, score, DATA, t=np.array([0.5, 0.5]))


def test_a_grid_may_be_rounded_at_its_ends_and_that_of_a_chain_end_at_the_data():
    drawn(times=np.nextafter(np.float32([1.0, 0.5, 1e-5]), np.float32([2.0, 0.5, 0.0])))
    chain = sj.ddpm(n=100, schedule="cosine")
    grid = np.array([0.02, 0.01, 0.0])
    found = sj.sample(
        KEY, chain, LAW.score(chain), (3, 2), stepper=samplers.euler_maruyama(), times=grid, denoise=False
    )
    assert np.all(np.isfinite(found.x))
    with pytest.raises(ValueError, match="lies outside"):  # where nothing is left to denoise
        sj.sample(KEY, chain, LAW.score(chain), (3, 2), stepper=samplers.euler_maruyama(), times=grid)


# Every public function that takes a score: `(score) -> result`.
SCORES = {
    "sample": drawn,
    "adaptive": lambda s: drawn(s, stepper=samplers.adaptive_probability_flow()),
    "corrector": lambda s: drawn(s, corrector=samplers.ald(0.1)),
    "trajectory": lambda s: drawn(s, draw=sj.trajectory),
    "encode": lambda s: sj.encode(SDE, s, DATA),
    "decode": lambda s: sj.decode(SDE, s, DATA),
    "log_prob": lambda s: sj.log_prob(KEY, SDE, s, DATA),
    "likelihood_bound": lambda s: likelihood.likelihood_bound(KEY, SDE, s, DATA, samples=10),
    "dequantized_bits": lambda s: likelihood.dequantized_bits(KEY, SDE, s, np.ones((3, 2), int), 8),
    "elbo": lambda s: sj.elbo(KEY, SDE, s, DATA, CHAIN),
    "denoising": lambda s: objectives.denoising(KEY, SDE, s, DATA),
    "sliced": lambda s: objectives.sliced(KEY, SDE, s, DATA),
    "implicit": lambda s: objectives.implicit(KEY, SDE, s, DATA),
    "vlb": lambda s: objectives.vlb(KEY, SDE, s, DATA, chain=CHAIN),
    "continuous_vlb": lambda s: objectives.continuous_vlb(KEY, SDE, s, DATA),
    "variance_head": lambda s: objectives.variance_head(KEY, SDE, s, DATA, head=score),
    "a variance head": lambda s: objectives.variance_head(KEY, SDE, score, DATA, head=s),
    "gamma.estimate": lambda s: sj.gamma.estimate(KEY, SDE, s, DATA, TIMES),
    "inpaint": steered,
    "sdedit": lambda s: guidance.sdedit(KEY, SDE, s, DATA, 0.5, stepper=STEPPER, steps=3),
    "clipped": lambda s: drawn(guidance.clipped(SDE, s)),
    "classifier_free": lambda s: drawn(guidance.classifier_free(score, s, 2.0)),
    "classifier_free_batched": lambda s: drawn(
        guidance.classifier_free_batched(lambda x, t, c: s(x, t), jnp.ones(3), 0.0, 2.0)
    ),
    "experts": lambda s: drawn(guidance.experts(s, [lambda x, t: jnp.sum(x, 1)])),
    "dps": lambda s: drawn(guidance.dps(SDE, s, EYE, DATA, sigma_y=0.1)),
    "make_score": lambda s: drawn(sj.make_score(SDE, lambda p, x, t: s(x, t), ())),
    "make_score of edm": lambda s: drawn(sj.make_score(SDE, lambda p, x, t: s(x, t), (), "edm")),
    "make_conditional_score": lambda s: sj.make_conditional_score(SDE, lambda p, x, t, c: s(x, t), ())(
        jnp.asarray(DATA, float), jnp.full(3, 0.5), None
    ),
}
WRONG_SCORES = {
    "[B]": (lambda x, t: -x[:, 0], r"one for each of x \(\d, 2\), got \(\d,\) of float32"),
    "[B, 1]": (lambda x, t: -x[:, :1], r"one for each of x \(\d, 2\), got \(\d, 1\) of float32"),
    "integers": (lambda x, t: jnp.zeros(x.shape, int), r"got \(\d, 2\) of int32"),
    "a pair": (lambda x, t: (-x, x), "got a tuple"),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", SCORES)
@pytest.mark.parametrize("kind", WRONG_SCORES)
def test_a_score_of_another_shape_is_refused_and_not_broadcast(call, kind):
    wrong, message = WRONG_SCORES[kind]
    with pytest.raises(ValueError, match=message):
        SCORES[call](wrong)


NOT_PER_EXAMPLE = {
    "an energy": lambda f: drawn(sj.score_from_energy(f)),
    "a classifier's log_prob": lambda f: drawn(guidance.classifier(score, f)),
    "an expert": lambda f: drawn(guidance.experts(score, [f])),
    "prior_logp": lambda f: sj.log_prob(KEY, SDE, score, DATA, prior_logp=lambda x: f(x, 1.0)),
    "prior_logp of the bound": lambda f: likelihood.likelihood_bound(
        KEY, SDE, score, DATA, samples=10, prior_logp=lambda x: f(x, 1.0)
    ),
    "a density": lambda f: likelihood.density_bits(KEY, lambda k, x: f(x, 1.0), np.ones((3, 2), int), 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", NOT_PER_EXAMPLE)
def test_a_density_is_one_number_per_example(call):
    for wrong in (lambda x, t: jnp.sum(x, 1, keepdims=True), lambda x, t: jnp.sum(x), lambda x, t: x):
        with pytest.raises(ValueError, match=r"one number per example \(\d,\), got"):
            NOT_PER_EXAMPLE[call](wrong)


@pytest.mark.parametrize("logits", [lambda x, t: x[:, 0], lambda x, t: x[:1], lambda x, t: x[:, None]])
def test_logits_are_one_number_for_each_class(logits):
    label = jnp.array([0, 1, 1])
    with pytest.raises(ValueError, match="one number for each class"):
        objectives.classification(KEY, SDE, logits, DATA, label)
    with pytest.raises(ValueError, match="one number for each class"):
        drawn(guidance.classifier(score, guidance.class_log_prob(logits, label)))


# Every public function that takes a key: `(key) -> result`, for three examples.
KEYS = {
    **{name: lambda k, f=f: f(k) for name, f in {
        "sample": lambda k: drawn(key=k),
        "trajectory": lambda k: drawn(key=k, draw=sj.trajectory),
        "log_prob": lambda k: sj.log_prob(k, SDE, score, DATA),
        "likelihood_bound": lambda k: likelihood.likelihood_bound(k, SDE, score, DATA, samples=10),
        "dequantize_uniform": lambda k: likelihood.dequantize_uniform(k, np.ones((3, 2), int), 8),
        "elbo": lambda k: sj.elbo(k, SDE, score, DATA, CHAIN),
        "denoising": lambda k: objectives.denoising(k, SDE, score, DATA),
        "denoising at times": lambda k: objectives.denoising(k, SDE, score, DATA, t=np.full(3, 0.5)),
        "sliced": lambda k: objectives.sliced(k, SDE, score, DATA),
        "vlb": lambda k: objectives.vlb(k, SDE, score, DATA, chain=CHAIN),
        "continuous_vlb": lambda k: objectives.continuous_vlb(k, SDE, score, DATA),
        "classification": lambda k: objectives.classification(k, SDE, score, DATA, np.array([0, 1, 1])),
        "draw_times": lambda k: objectives.draw_times(k, SDE, 3),
        "stratified times": lambda k: objectives.draw_times(k, SDE, 3, "stratified"),
        "gamma.estimate": lambda k: sj.gamma.estimate(k, SDE, score, DATA, TIMES),
        "inpaint": lambda k: steered(score, key=k),
        "sdedit": lambda k: guidance.sdedit(k, SDE, score, DATA, 0.5, stepper=STEPPER, steps=3),
        "an exact law": lambda k: LAW.sample(k, 3),
        "prior_sample": lambda k: SDE.prior_sample(k, (3, 2)),
    }.items()},
}  # fmt: skip


@pytest.mark.parametrize("call", KEYS)
def test_keys_are_typed_and_one_or_as_many_as_examples(call):
    wrong = [jax.random.PRNGKey(0), jax.random.split(KEY, 2), jax.random.split(KEY, (3, 2)), 0]
    for key, message in zip(wrong, ["uint32", "2 keys for 3", r"shape \(3, 2\)", "got int"], strict=True):
        with pytest.raises(ValueError, match=message):
            KEYS[call](key)


def test_keys_of_their_own_follow_no_start():
    with pytest.raises(ValueError, match="start counts examples under one key"):
        drawn(key=jax.random.split(KEY, 3), start=4)


@pytest.mark.parametrize("x", [DATA, np.full((3, 2), 8), np.full((3, 2), -1), np.zeros((0, 2), int)])
def test_gray_levels_are_the_integers_that_there_are(x):
    for call in (
        lambda: likelihood.dequantize_uniform(KEY, x, 8),
        lambda: likelihood.dequantized_bits(KEY, SDE, score, x, 8),
        lambda: likelihood.bound_bits(KEY, SDE, score, x, 8, samples=10),
        lambda: likelihood.density_bits(KEY, lambda k, x: x[:, 0], x, 8),
        lambda: sj.elbo(KEY, SDE, score, x, CHAIN, levels=8),
    ):
        with pytest.raises(ValueError, match=r"gray levels, integers|in 0 \.\. 7|at least one example"):
            call()


def test_the_numbers_of_processes_and_steppers_may_be_traced():
    made = {
        sj.vp: {"beta_max": 20.0}, sj.subvp: {"beta_min": 0.1}, sj.ve: {"sigma_max": 50.0},
        samplers.ald: {"snr": 0.1}, samplers.langevin: {"snr": 0.1}, samplers.ddim: {"eta": 0.5},
        samplers.heun: {"churn": 1.0}, samplers.adaptive_probability_flow: {"rtol": 0.1},
        samplers.dpm_solver_adaptive: {"atol": 0.1}, samplers.annealed_langevin: {"epsilon": 1e-5},
    }  # fmt: skip
    for make, numbers in made.items():
        (name, value), *_ = numbers.items()

        def build(number, make=make, name=name):
            return getattr(make(**{name: number}), name)

        np.testing.assert_array_equal(jax.vmap(build)(jnp.array([value, value])), np.float32([value, value]))
    sigmas = jax.vmap(lambda b: sj.vp(beta_max=b).sigma(0.5))(jnp.array([5.0, 20.0]))
    np.testing.assert_allclose(sigmas, [sj.vp(beta_max=b).sigma(0.5) for b in (5.0, 20.0)], rtol=1e-6)


@pytest.mark.parametrize("make", [sj.edm, sj.smld, sj.ddpm, sj.cosine, sj.learned])
def test_what_is_part_of_the_program_cannot_be_traced(make):
    with pytest.raises(ValueError, match="part of a compiled program"):
        jax.jit(lambda number: make(number).t_max)(0.5)


def test_interpolation_is_finite_and_keeps_its_norms_where_no_circle_is_singled_out():
    first = np.float32([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0], [1.0, 2.0], [1e30, 0.0], [1.0, 1e-7]])
    second = np.float32([[-3.0, -4.0], [0.0, -6.0], [5.0, 0.0], [1.0, 2.0], [-1e30, 0.0], [-1.0, 0.0]])
    points = np.asarray(sj.interpolate(first, second, 5), np.float64)
    ends = np.linalg.norm(np.float64([first, second]), axis=2)
    norms = np.linalg.norm(points, axis=2)
    np.testing.assert_allclose(norms, np.linspace(*ends, 5), rtol=1e-6)
    np.testing.assert_allclose(points[0], first, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        points[-1] / np.maximum(ends[1, :, None], 1), second / np.maximum(ends[1, :, None], 1), atol=1e-6
    )
    np.testing.assert_array_equal(sj.interpolate(np.zeros((1, 2)), np.zeros((1, 2)), 3), 0.0)


@pytest.mark.slow
def test_a_standard_prior_is_the_published_one():
    sde = sj.subvp(beta_max=8.0)  # ends further from N(0, 1) than published processes do
    of = [sj.log_prob(KEY, sde, LAW.score(sde), DATA, prior=prior) for prior in ("marginal", "standard")]
    variance = float(sde.sigma(1.0)) ** 2
    apart = 0.5 * np.sum(np.log(variance) + np.asarray(of[0].latent) ** 2 * (1.0 / variance - 1.0), axis=1)
    np.testing.assert_allclose(of[1].value - of[0].value, apart, atol=5e-6)
    assert np.max(np.abs(apart)) > 1e-3
    for wrong, message in (("normal", "marginal, standard"), ("standard", "noise scale 50")):
        for call in (sj.log_prob, likelihood.likelihood_bound):
            with pytest.raises(ValueError, match=message):
                call(KEY, sj.ve(), score, DATA, prior=wrong)


def test_respaced_levels_are_the_published_ones():
    chain = sj.ddpm()

    def visited(times):
        return np.round(np.asarray(times)[::-1] * 1000).astype(int) - 1

    found = visited(sj.trajectories.respaced(chain, "10,15,20"))
    assert len(found) == 45
    np.testing.assert_array_equal(found[[0, 1, 8, 9, 10, 24, 25, 44]], [0, 37, 296, 333, 334, 666, 667, 999])
    # strides of 41.625: 166.5, 499.5 and 832.5 go to the even level, counted from 0, and `even` counts from 1
    one, even = visited(sj.times.respaced(chain, 24)), visited(sj.times.even(chain, 24))
    np.testing.assert_array_equal(one[[4, 12, 20]], [166, 500, 832])
    np.testing.assert_array_equal(even[[4, 12, 20]], [167, 499, 833])
    assert np.sum(one != even) == 3
    for sections, n, message in (("10,x", 9, "whole numbers"), ("10,15", 23, "24 steps"), ("600,1", 600, "500 levels")):
        with pytest.raises(ValueError, match=message):
            sj.times.respaced(chain, n, sections=sections)
