"""Scores given a class, by a classifier or without one, against mixtures where both are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conditionals import component
from worlds import TWO_MODES, interior

import scorejax as sj
from scorejax.scores import predictions

SDE = sj.vp()
LAW = TWO_MODES
T = jnp.asarray(interior(SDE))
NOISE = jax.random.normal(jax.random.key(1), (7, 2))
X = jax.jit(lambda t, noise: SDE.perturb(LAW.sample(jax.random.key(0), 7), t, noise))(T, NOISE)
COND, UNCOND = component(LAW, 0).score(SDE), LAW.score(SDE)


def logits(x, t):
    """The exact classifier of the components: log joint densities."""
    each = [component(LAW, k).log_prob_at(SDE, x, t) for k in (0, 1)]
    return jnp.stack(each, 1) + LAW.log_weights


def first_class(x, t):
    return jax.nn.log_softmax(logits(x, t))[:, 0]


def energy(x, t):
    return -first_class(x, t)


@jax.jit
def value(score):
    return score(X, T)


class Counted:
    """A score that counts how often it is traced."""

    def __init__(self, score):
        self.score, self.calls = score, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.score(*arguments)


def test_the_exact_classifier_turns_the_unconditional_score_into_the_conditional_one():
    found = value(sj.guidance.classifier(UNCOND, first_class))
    np.testing.assert_allclose(found, value(COND), rtol=1e-3, atol=1e-3)
    labelled = sj.guidance.class_log_prob(logits, jnp.zeros(7, int), num_classes=2)
    np.testing.assert_array_equal(value(sj.guidance.classifier(UNCOND, labelled)), found)


@pytest.mark.slow
def test_the_gradients_of_all_classes_balance():
    # sum_c p(c | x) grad log p(c | x) = 0
    gradients = [
        value(sj.guidance.classifier(UNCOND, sj.guidance.class_log_prob(logits, jnp.int32(c)))) - value(UNCOND)
        for c in (0, 1)
    ]
    p = jax.nn.softmax(logits(X, T))
    total = p[:, :1] * gradients[0] + p[:, 1:] * gradients[1]
    np.testing.assert_allclose(total, 0.0, atol=1e-4 * float(jnp.abs(jnp.stack(gradients)).max()))


def test_the_scale_multiplies_the_gradient_and_may_depend_on_time_and_example():
    base, once = value(UNCOND), value(sj.guidance.classifier(UNCOND, first_class)) - value(UNCOND)
    for scale, expected in {
        "a number": (2.0, 2.0),
        "one per example": (jnp.arange(7.0), jnp.arange(7.0)[:, None]),
        "a schedule": (lambda t: 3.0 * t, 3.0 * T[:, None]),
    }.values():
        found = value(sj.guidance.classifier(UNCOND, first_class, scale))
        np.testing.assert_allclose(found, base + expected * once, rtol=1e-4, atol=1e-4)


def test_an_energy_that_is_minus_a_log_probability_is_classifier_guidance_bit_for_bit():
    np.testing.assert_array_equal(
        value(sj.guidance.experts(UNCOND, [energy], [1.7])), value(sj.guidance.classifier(UNCOND, first_class, 1.7))
    )


def test_experts_of_no_weight_are_not_there():
    np.testing.assert_array_equal(value(sj.guidance.experts(UNCOND, [energy], [jnp.float32(0.0)])), value(UNCOND))
    silent = sj.guidance.experts(UNCOND, [energy, energy], [0.0, 0])
    assert silent is UNCOND
    assert sj.guidance.classifier(UNCOND, first_class, 0.0) is UNCOND


def test_experts_multiply_densities():
    # N(m, 1) tilted by exp(-w |x|^2 / 2) is a Gaussian of precision 1 + w
    score = sj.guidance.experts(
        lambda x, t: 1.0 - x, [lambda x, t: 0.5 * jnp.sum(x**2, 1), lambda x, t: jnp.sum(x, 1)], [3.0, 2.0]
    )
    np.testing.assert_allclose(score(X, T), -4.0 * (X - (1.0 - 2.0) / 4.0), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_step_with_an_expert_is_the_product_of_both_to_second_order(monkeypatch):
    """`N(m, S) exp(-|P x - y|^2)` has the mean `(1/S + 2 P^T P)^{-1} (m / S + 2 P^T y)`; a linear energy is exact."""
    monkeypatch.setattr("scorejax.numerics.keys.normal", lambda keys, shape, *_: jnp.zeros(shape))  # the mean
    with jax.enable_x64(True):
        p, y, x, t = np.array([[1.0, 0.5]]), 0.7, np.array([[0.8, -0.4]]), 0.5
        prior = sj.analytic.gaussian([0.3, -0.2], [0.5, 0.3]).score(SDE)

        def mean(score, h):
            keys = jax.random.split(jax.random.key(0), 1)
            each = lambda x, t: score(x, jnp.broadcast_to(t, 1))  # noqa: E731
            return sj.samplers.euler_maruyama().step(keys, SDE, each, x, jnp.asarray(t), jnp.asarray(t - h), ()).x[0]

        quadratic = sj.guidance.experts(prior, [lambda x, t: jnp.sum((x @ p.T - y) ** 2, 1)])
        linear = sj.guidance.experts(prior, [lambda x, t: x @ np.array([1.0, -2.0])])
        gaps = []
        for h in (0.002, 0.001):
            m, s = mean(prior, h), h * SDE.diffusion_squared(t)
            exact = np.linalg.solve(np.eye(2) / s + 2 * p.T @ p, m / s + 2 * p[0] * y)
            gaps.append(np.abs(mean(quadratic, h) - exact).max())
            np.testing.assert_allclose(mean(linear, h), m - s * np.array([1.0, -2.0]), rtol=1e-12)
    np.testing.assert_allclose(gaps[0] / gaps[1], 4.0, atol=0.1)


def test_classifier_free_guidance_extrapolates_and_agrees_with_the_papers_w():
    cond, uncond = value(COND), value(UNCOND)
    for w in (-1.0, -0.5, 0.0, 0.7, 3.0):
        found = value(sj.guidance.classifier_free(COND, UNCOND, guidance_scale=sj.guidance.from_w(w)))
        np.testing.assert_allclose(found, (1 + w) * cond - w * uncond, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", predictions.PREDICTIONS)
def test_guidance_is_the_same_in_every_prediction(kind):
    """Noise, data and v are affine in the score at a fixed point, and the weights `1 + w` and `-w` sum to one."""
    w = 1.5

    def converted(score, source="score", target=kind):
        return predictions.convert(SDE, X, T, score, source, target)

    cond, uncond = converted(value(COND)), converted(value(UNCOND))
    found = converted(value(sj.guidance.classifier_free(COND, UNCOND, 1.0 + w)))
    np.testing.assert_allclose(found, (1 + w) * cond - w * uncond, rtol=1e-3, atol=1e-3)
    if kind == "noise":  # noise - scale sigma grad log p(y | x)
        tilted = converted(value(sj.guidance.classifier(UNCOND, first_class, 2.0)))
        gradient = value(COND) - value(UNCOND)
        np.testing.assert_allclose(tilted, uncond - 2.0 * SDE.sigma(T)[:, None] * gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("scale", "calls"), [(1, (1, 0)), (1.0, (1, 0)), (0.0, (0, 1)), (2.0, (1, 1))])
def test_a_plain_scale_of_one_or_zero_spares_the_second_evaluation(scale, calls):
    cond, uncond = Counted(COND), Counted(UNCOND)
    sj.guidance.classifier_free(cond, uncond, scale)(X, T)
    assert (cond.calls, uncond.calls) == calls


def test_a_schedule_guides_inside_its_interval_and_is_exactly_conditional_outside():
    cond, full = value(COND), value(sj.guidance.classifier_free(COND, UNCOND, 3.0))
    ratio = SDE.log_snr(T)
    for by, low, high, position in (("log_snr", -2.0, 2.0, ratio), ("time", 0.2, 0.6, T)):
        inside = np.asarray((low <= position) & (position <= high))
        assert 0 < inside.sum() < 7
        found = value(sj.guidance.classifier_free(COND, UNCOND, sj.guidance.interval(3.0, SDE, low, high, by=by)))
        np.testing.assert_array_equal(found[~inside], cond[~inside])
        np.testing.assert_allclose(found[inside], full[inside], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["two scores", "one network"])
def test_outside_its_interval_the_second_evaluation_is_not_made(form):
    def network(x, t, label):
        jax.debug.callback(lambda: ran.append(len(x)))
        return x * label[:, None]

    def calls(t):
        ran.clear()
        jax.block_until_ready(score(X, jnp.full(7, t)))
        jax.effects_barrier()
        return ran

    ran = []
    schedule = sj.guidance.interval(3.0, SDE, 0.9, 1.0, by="time")
    if form == "two scores":
        cond, uncond = (lambda x, t, label=label: network(x, t, jnp.full(7, label)) for label in (0, 1))
        score = sj.guidance.classifier_free(cond, uncond, schedule)
    else:
        score = sj.guidance.classifier_free_batched(network, jnp.zeros(7, int), 1, schedule)
    assert calls(0.5) == [7]
    assert calls(0.95) == [7, 7]


def test_a_scale_of_one_is_the_conditional_score_to_the_last_bit():
    cond = value(COND)
    np.testing.assert_array_equal(value(sj.guidance.classifier_free(COND, UNCOND, 1.0)), cond)
    label = jnp.zeros(7, int)
    np.testing.assert_array_equal(labelled(X, T, label), sj.guidance.classifier_free_batched(labelled, label, 2)(X, T))
    # an array is not looked at before it is used: here the second evaluation is made, and multiplied by zero
    always = sj.guidance.classifier_free(lambda x, t: cond, UNCOND, jnp.ones(7))
    np.testing.assert_array_equal(value(always), cond)


def labelled(x, t, label):
    """Component 0 for label 0, the whole mixture for label 2."""
    return jnp.where((label == 2)[:, None], UNCOND(x, t), COND(x, t))


@pytest.mark.parametrize("scale", [1.0, 0.0, 2.5])
def test_one_call_on_the_doubled_batch_is_the_same_guidance(scale):
    network = Counted(labelled)
    found = sj.guidance.classifier_free_batched(network, jnp.zeros(7, int), 2, scale, num_classes=3)(X, T)
    assert network.calls == 1
    np.testing.assert_allclose(found, value(sj.guidance.classifier_free(COND, UNCOND, scale)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
def test_embeddings_are_guided_as_labels_are(scale):
    def network(x, t, tokens):
        return x * jnp.sum(tokens, axis=(1, 2))[:, None]

    tokens = jax.random.normal(jax.random.key(2), (7, 3, 4))
    found = sj.guidance.classifier_free_batched(network, tokens, 0.0, scale)(X, T)
    np.testing.assert_allclose(found, scale * network(X, T, tokens), rtol=1e-4, atol=1e-4)


def test_the_null_label_may_be_a_negative_condition_of_each_example():
    negative = jnp.arange(7) % 2 * 2
    found = sj.guidance.classifier_free_batched(labelled, jnp.int32(0), negative, 2.0)(X, T)
    expected = 2.0 * value(COND) - labelled(X, T, negative)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_labels_are_dropped_as_often_as_asked_and_never_at_probability_zero():
    label, null, n = jnp.ones(20000, int), 7, 20000
    for p in (0.0, 0.1, 1.0):
        share = np.mean(np.asarray(sj.guidance.drop_labels(jax.random.key(3), label, null, p)) == null)
        assert abs(share - p) <= 4 * np.sqrt(p * (1 - p) / n)
    table = jnp.eye(8)

    def loss(table, p):
        dropped = sj.guidance.drop_labels(jax.random.key(3), label[:64], null, p)
        return jnp.sum(table[dropped] ** 2)

    assert not jax.grad(loss)(table, 0.0)[null].any()
    assert jax.grad(loss)(table, 0.5)[null].any()


def test_dropping_labels_follows_the_example_and_leaves_vectors_whole():
    key, label = jax.random.key(0), jax.random.normal(jax.random.key(1), (16, 3))
    whole = sj.guidance.drop_labels(key, label, 0.0, 0.5)
    rows = np.asarray(whole == 0).all(1)
    assert 0 < rows.sum() < 16
    np.testing.assert_array_equal(whole[~rows], label[~rows])
    np.testing.assert_array_equal(sj.guidance.drop_labels(key, label[:5], 0.0, 0.5), whole[:5])


def test_a_label_that_no_class_has_gives_nan_not_another_class():
    for label in (2, -1):
        assert jnp.isnan(sj.guidance.class_log_prob(logits, label)(X, T)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sj.guidance.class_log_prob(logits, 2, num_classes=2), r"labels must lie in 0 \.\. 1.*got 2"),
        (lambda: sj.guidance.classifier_free_batched(labelled, jnp.array([0, -3]), 2, num_classes=3), "got -3"),
        (lambda: sj.guidance.classifier_free_batched(labelled, 0, 3, num_classes=3), "null_condition.*got 3"),
        (lambda: sj.guidance.classifier(UNCOND, logits)(X, T), r"one number per example \(7,\), got \(7, 2\)"),
        (lambda: sj.guidance.experts(UNCOND, [energy], [1.0, 2.0]), "1 energies, 2 weights"),
        (lambda: sj.guidance.interval(2.0, SDE, 0.0, 1.0, by="sigma"), "choose one of log_snr, time"),
        (lambda: sj.guidance.interval(2.0, SDE, 1.0, 0.0), "low must not exceed high"),
        (lambda: sj.guidance.drop_labels(jax.random.key(0), jnp.zeros(2), 0, 1.5), r"\[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "deviation"), [(1.0, 1.0), (2.0, 0.66673), (3.0, 0.44453)])
def test_a_normal_law_led_away_from_a_wider_one_is_narrower_than_the_product_of_densities(scale, deviation):
    # d log x / d sigma = sigma (c / (1 + sigma^2) + (1 - c) / (2.25 + sigma^2)); the product has .80178 and .68825
    sde = sj.edm()
    good, bad = (sj.analytic.gaussian(jnp.zeros(1), variance * jnp.eye(1)).score(sde) for variance in (1.0, 2.25))
    guided = sj.guidance.autoguidance(good, bad, scale)
    found = sj.decode(sde, guided, jnp.sqrt(6401.0) * jnp.ones((1, 1))).x
    np.testing.assert_allclose(found, deviation, rtol=1e-3)
