"""Steppers that need a table of the grid: made before compilation, counted through, bound to a network inside."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_chains import gamma_of
from jax.tree_util import Partial

import scorejax as sj
from scorejax import reverse, samplers
from scorejax.reverse import variance

SDE = sj.vp(t_min=1e-3)
TIMES = np.asarray(sj.times.log_snr(SDE, 6), np.float64)
LAW = sj.analytic.gaussian([0.5, -0.3], [0.3, 0.8])
SCORE = LAW.score(SDE)
KEY = jax.random.key(0)
GAMMA = gamma_of(SDE, TIMES[::-1], 0.4)


def draw(stepper, times=TIMES, sde=SDE):
    return sj.sample(KEY, sde, SCORE, (5, 2), stepper=stepper, times=times).x


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Constant(variance.UnboundHead):
    """A head that is fitted to `value` everywhere, before it is on its network."""

    value: float | jax.Array


def residual(value, x, t):
    return jnp.full_like(x, value)


def on_network(head):
    return variance.NoiseResidual(Partial(residual, head.value))


FITTED = {"analytic": GAMMA, "npr": Constant(0.6)}


def test_a_part_draws_what_the_chain_built_by_hand_draws():
    for part, chain in (
        (samplers.reverse_chain("forward", eta=0.5), dict(variance="forward", eta=0.5, rederive_noise=False)),
        (
            samplers.reverse_chain(GAMMA, data_range=(-1, 1)),
            {"variance": GAMMA, "clip": (-1, 1), "data_range": (-1, 1)},
        ),
        (samplers.analytic_dpm(clip=False, fitted=FITTED.get), dict(variance=GAMMA)),
    ):
        by_hand = samplers.reverse_chain(reverse.chain(SDE, TIMES, **chain))
        np.testing.assert_array_equal(draw(part), draw(by_hand))
        table = part.chain(SDE, TIMES)
        jax.tree.map(np.testing.assert_array_equal, table, by_hand.table)
        assert (table.clip, table.rederive_noise) == (by_hand.table.clip, by_hand.table.rederive_noise)
    np.testing.assert_array_equal(
        draw(samplers.analytic_dpm(fitted=FITTED.get)), draw(samplers.analytic(SDE, TIMES, GAMMA))
    )


def test_preparing_again_changes_nothing_and_another_grid_is_refused():
    prepared = samplers.reverse_chain().prepare(SDE, TIMES)
    assert prepared.prepare(SDE, TIMES) is prepared
    assert prepared.prepare(SDE, jnp.asarray(TIMES, jnp.float32)) is prepared
    for other in (TIMES[1:], TIMES - 1e-4):
        with pytest.raises(ValueError, match="was made for 7 times from 1 to"):
            prepared.prepare(SDE, other)
    with pytest.raises(ValueError, match="has 6 steps, got a grid of 5"):
        jax.eval_shape(lambda times: draw(prepared, times), jnp.asarray(TIMES[1:]))


def test_inside_a_program_that_takes_the_grid_a_prepared_stepper_is_needed():
    part = samplers.reverse_chain()
    programs = (lambda stepper, times: draw(stepper, times), lambda stepper, sde: draw(stepper, sde=sde))
    for program, argument in zip(programs, (jnp.asarray(TIMES), SDE), strict=True):
        with pytest.raises(ValueError, match=r"prepare it outside, stepper = stepper.prepare\(sde, times\)"):
            jax.jit(lambda a, program=program: program(part, a))(argument)
        found = jax.jit(program)(part.prepare(SDE, TIMES), argument)
        np.testing.assert_allclose(found, draw(part), rtol=1e-5, atol=1e-6)
    # where both are constants of the program nothing need be prepared
    np.testing.assert_allclose(jax.jit(lambda: draw(part))(), draw(part), rtol=1e-5, atol=1e-6)


PROCESSES = {"vp": sj.vp, "ve": sj.ve, "learned": lambda: sj.learned(bends=2), "ddpm": lambda: sj.ddpm("cosine", 40)}


@pytest.mark.parametrize("name", PROCESSES)
def test_grids_and_chains_of_a_known_process_are_numbers_inside_a_compiled_program_too(name):
    make, sde = PROCESSES[name], PROCESSES[name]()
    grids = {**sj.times.GRIDS, "singlestep": lambda sde, n: sj.times.singlestep(sde, n, 2)}
    chains_alone = {"respaced", "ddim_uniform", "ddim_quadratic"}
    for grid in (grid for name, grid in grids.items() if hasattr(sde, "levels") or name not in chains_alone):
        found = []

        def program(k, grid=grid, found=found):
            found.append(grid(sde, 4))
            found.append(grid(make(), 4))
            found.append(reverse.chain(sde, found[0]).times)
            return k

        jax.eval_shape(program, 0.0)
        for inside in found:
            np.testing.assert_allclose(np.asarray(inside), grid(sde, 4), rtol=1e-6)


def test_times_whose_numbers_are_unknown_are_refused_in_words():
    def times():
        return jnp.linspace(1.0, 0.1, 3)

    with pytest.raises(ValueError, match=r"made by jax\.numpy inside it. Make the times by scorejax\.times or numpy"):
        jax.eval_shape(lambda: draw(samplers.reverse_chain(), times()))
    for call in (reverse.chain, samplers.reverse_chain().prepare, samplers.reverse_chain().prepare(SDE, TIMES).prepare):
        with pytest.raises(ValueError, match="tables in float64 need times whose numbers are known"):
            jax.eval_shape(lambda call=call: call(SDE, times()))
    with pytest.raises(ValueError, match="the chain is an argument of a compiled program"):
        jax.eval_shape(lambda chain: sj.elbo(KEY, SDE, SCORE, jnp.ones((3, 2)), chain), reverse.chain(SDE, TIMES))
    with pytest.raises(ValueError, match="tables in float64 need"):
        jax.eval_shape(lambda sde: sj.times.even(sde, 4), SDE)


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "jump"), [(1, 1), (2, 1), (3, 2), (2, 4)])
def test_steps_that_go_back_up_the_grid_find_their_table_again(rounds, jump, monkeypatch):
    """Without noise a chain with `eta = 0` is DDIM, which is given its times and counts nothing."""
    monkeypatch.setattr("scorejax.numerics.keys.normal", lambda keys, shape, *_: jnp.ones(shape))
    parts = samplers.reverse_chain(eta=0.0), samplers.ddim()
    chain, ddim = (draw(sj.guidance.resampling(part, rounds, jump)) for part in parts)
    np.testing.assert_allclose(chain, ddim, rtol=1e-4, atol=1e-5)
    part = sj.guidance.known(jnp.array([[0.5, np.nan]]), np.array([True, False]))
    chain, ddim = (draw(sj.guidance.resampling(sj.guidance.replacement(p, part), rounds, jump)) for p in parts)
    np.testing.assert_allclose(chain, ddim, rtol=1e-4, atol=1e-5)


def test_an_edit_prepares_its_own_grid_inside_a_compiled_program_too():
    def edit(stepper):
        return sj.guidance.sdedit(KEY, SDE, SCORE, jnp.ones((3, 2)), 0.5, stepper=stepper, steps=4).x

    expected = edit(samplers.reverse_chain("forward"))
    np.testing.assert_allclose(jax.jit(lambda: edit(samplers.reverse_chain("forward")))(), expected, rtol=1e-5)
    times = sj.times.log_snr(SDE.replace(t_max=0.5), 4)
    np.testing.assert_allclose(edit(samplers.reverse_chain(reverse.chain(SDE, times, variance="forward"))), expected)


def test_a_head_is_bound_before_or_after_the_table_is_made():
    part = samplers.npr(fitted=FITTED.get)
    expected = draw(samplers.analytic(SDE, TIMES, replace(GAMMA, mean_square=np.full(7, 0.4))))  # a residual of 0.6
    with pytest.raises(ValueError, match="Constant, which is not on its network yet; call `bind`"):
        draw(part)
    prepared = part.prepare(SDE, TIMES)
    assert jax.tree.leaves(prepared.table.variance_head) == [0.6]  # an argument of compiled programs
    for bound in (part.bind(on_network), prepared.bind(on_network), prepared.bind(on_network).bind(on_network)):
        np.testing.assert_allclose(draw(bound), expected, rtol=1e-5, atol=1e-6)
    wrapped = sj.guidance.resampling(sj.guidance.replacement(part, sj.guidance.known(jnp.ones((1, 2)), np.zeros(2))), 1)
    np.testing.assert_allclose(draw(wrapped.bind(on_network)), expected, rtol=1e-5, atol=1e-6)


def test_the_chain_of_a_stepper_is_the_one_it_draws_from():
    for variance_ in ("posterior", "forward"):
        chain = samplers.ancestral(variance_).chain(SDE, TIMES)
        np.testing.assert_allclose(
            draw(samplers.reverse_chain(chain)), draw(samplers.ancestral(variance_)), rtol=1e-3, atol=1e-4
        )
    with_chains = {"ancestral", "reverse_chain", "analytic", "npr", "sn"}
    for name in set(samplers.STEPPERS) - with_chains:
        assert samplers.STEPPERS[name]().chain(SDE, TIMES) is None


REFUSED = {
    "an unknown variance": (lambda: samplers.reverse_chain("beta"), "posterior, forward, analytic, npr"),
    "nothing fitted": (lambda: samplers.npr().prepare(SDE, TIMES), "'npr' is fitted to a network"),
    "settings beside a chain": (
        lambda: samplers.reverse_chain(reverse.chain(SDE, TIMES), eta=0.5), "give them to scorejax.reverse.chain",
    ),
    "no noise allowed": (lambda: samplers.reverse_chain(last_noise=0.0), "last_noise must be positive"),
    "Langevin steps that diverge": (lambda: draw(samplers.annealed_langevin(3e-3, 2)), "take epsilon below"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()
