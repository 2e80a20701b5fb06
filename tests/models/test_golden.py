"""The U-Nets compute what the public reference implementation computes: outputs, scores, losses and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from reference_networks import evaluate, reference

import scorejax as sj
from scorejax.models.pretrained import params_from_score_sde
from scorejax.models.pretrained.layout import tensors
from scorejax.models.pretrained.score_sde import entries

OPTIONS = ["ncsnpp_skipskip", "ncsnpp_catskip", "ncsnpp_ddpmres"]
NETWORKS = ["ddpm", "ncsnpp_vp", "ncsnpp_ve", *(pytest.param(name, marks=pytest.mark.slow) for name in OPTIONS)]
SDES = {"vp": sj.vp(), "subvp": sj.subvp(), "ve": sj.ve()}
PROCESSES = [("ddpm", "vp"), ("ddpm", "subvp"), ("ncsnpp_vp", "vp"), ("ncsnpp_vp", "subvp"), ("ncsnpp_ve", "ve")]
CHAIN = sj.ddpm("linear", 1000)


def assert_close(ours, expected, tolerance=1e-4):
    """By the largest error relative to the standard deviation."""
    error = np.abs(np.asarray(ours) - expected).max() / np.std(expected)
    assert error < tolerance, f"{error:.2g} of the standard deviation"


def predicts(sde):
    return "score" if sde == "ve" else "noise"


def score(network, sde, params=None, apply=None):
    r = reference(network)
    params = r.params if params is None else params
    return sj.make_score(SDES[sde], apply or r.apply, params, predicts(sde), label=SDES[sde].label)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_equal_those_of_the_reference(network):
    r = reference(network)
    if network == "ncsnpp_ve":
        labels, each = r.golden["labels_sigma"], r.golden["labels_sigma"]
    else:
        labels, each = r.golden["labels"], 999 * r.golden.get("t", np.zeros(0))
    cases = {f"out_t{i}": np.full(2, label, np.float32) for i, label in enumerate(each)} | {"out_mixed_labels": labels}
    for key, labels in cases.items():
        # One standard deviation for each image: under scale_by_sigma they are of very different size.
        for ours, expected in zip(r.apply(r.params, r.golden["x"], labels), r.golden[key], strict=True):
            assert_close(ours, expected)


@pytest.mark.parametrize(("network", "sde"), PROCESSES)
def test_scores_equal_those_of_the_reference(network, sde):
    golden = reference(network).golden
    for i, t in enumerate(golden["t"]):
        assert_close(score(network, sde)(golden["x"], jnp.full(2, t)), golden[f"score_{sde}_t{i}"])


def test_scores_of_a_chain_equal_those_of_the_reference():
    # Between two levels the reference takes sigma of the lower one, but tells the network where between them it is.
    r = reference("ddpm")
    for i, t in enumerate(r.golden["t"]):
        noise = r.apply(r.params, r.golden["x"], np.full(2, 999 * t, np.float32))
        sigma = CHAIN.sigma((jnp.floor(999 * t) + 1) / 1000)
        assert_close(-noise / sigma, r.golden[f"score_vp_discrete_t{i}"])


@pytest.mark.parametrize(("network", "sde"), PROCESSES)
@pytest.mark.parametrize("weighting", ["simple", "likelihood"])
@pytest.mark.parametrize("reduction", ["half_sum", "mean"])
def test_losses_equal_those_of_the_reference(network, sde, weighting, reduction, given_noise):
    golden = reference(network).golden
    given_noise(lambda *_: jnp.asarray(golden["loss_z"]))
    losses = sj.objectives.denoising(
        jax.random.key(0),
        SDES[sde],
        score(network, sde),
        jnp.asarray(golden["loss_batch"]),
        t=jnp.asarray(golden["loss_t"]),
        weighting=weighting,
        reduction=reduction,
    )
    key = f"loss_{sde}_lw{int(weighting == 'likelihood')}_rm{int(reduction == 'mean')}"
    np.testing.assert_allclose(losses.mean(), golden[key], rtol=1e-5)


def test_the_loss_of_a_chain_equals_that_of_the_reference(given_noise):
    r = reference("ddpm")
    given_noise(lambda *_: jnp.asarray(r.golden["loss_z"]))
    chain_score = sj.make_score(CHAIN, r.apply, r.params, label=CHAIN.label)
    t = (jnp.asarray(r.golden["loss_ddpm_discrete_labels"]) + 1) / CHAIN.levels
    losses = sj.objectives.denoising(jax.random.key(0), CHAIN, chain_score, jnp.asarray(r.golden["loss_batch"]), t=t)
    np.testing.assert_allclose(losses.mean(), r.golden["loss_ddpm_discrete"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "sde", "reduction", "key"),
    [
        ("ddpm", "vp", "mean", "grad_loss_vp_lw0_rm1"),
        ("ncsnpp_vp", "vp", "mean", "grad_loss_vp_lw0_rm1"),
        ("ncsnpp_ve", "ve", "half_sum", "grad_loss_ve_lw0_rm0"),
    ],
)
def test_gradients_equal_those_of_the_reference(network, sde, reduction, key, given_noise):
    r = reference(network)
    given_noise(lambda *_: jnp.asarray(r.golden["loss_z"]))
    batch, t = (jnp.asarray(r.golden[name]) for name in ("loss_batch", "loss_t"))

    def loss(params):
        law = score(network, sde, params, functools.partial(evaluate, r.module))
        return sj.objectives.denoising(jax.random.key(0), SDES[sde], law, batch, t=t, reduction=reduction).mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(r.params)
    np.testing.assert_allclose(value, r.golden[key], rtol=1e-5)

    places = {name: (path, relayout) for name, path, relayout in tensors(entries(r.module, 16))}
    grads = flatten_dict(grads, sep="/")
    for name, expected in r.golden.items():
        if name.startswith("grad__"):
            path, relayout = places[name.removeprefix("grad__")]
            assert_close(grads[path], relayout(expected))
    norms = r.sidecar["grad_l2_norms"]
    assert len(norms) >= len(grads) - 1  # the frequencies of Fourier features have none
    for name, expected in norms.items():
        path, _ = places[name]
        # Some biases do nothing (the next norm takes them out, or they shift all logits alike): pure rounding.
        nothing = expected < 1e-7 * max(norms.values())
        tolerance = {"atol": 1e-6 * max(norms.values())} if nothing else {"rtol": 1e-4}
        np.testing.assert_allclose(np.linalg.norm(grads[path]), expected, err_msg=name, **tolerance)


def test_a_network_built_beforehand_takes_the_same_state_dict():
    r = reference("ncsnpp_vp")
    again = params_from_score_sde(r.state, r.module, 16)
    jax.tree.map(np.testing.assert_array_equal, again, r.params)
