"""One object serves float32 and float64, whichever comes first, though JAX remembers NumPy arrays by identity."""

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import PerMode, rotation

import scorejax as sj

SDE = sj.vp()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Slower(PerMode):
    """A process that a user derived from another one, with one more array."""

    factors: np.ndarray

    def log_alpha(self, t):
        return super().log_alpha(t) * self.factors

    def variance(self, t):
        return -jnp.expm1(2.0 * self.log_alpha(t))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Weighted(sj.guidance.operators.Operator):
    """An operator that a user wrote."""

    weights: np.ndarray

    def forward(self, x):
        return x * self.weights

    def adjoint(self, y):
        return y * self.weights


# whatever of the library holds NumPy arrays, and a process that a user wrote
HOLDERS = {
    "law": lambda: sj.analytic.mixture([0.3, 0.7], [[-1.2, 0.6], [0.9, -0.5]], [0.3, 0.2]),
    "table": lambda: sj.smld(n=5).log_sigma,
    "basis": lambda: sj.sdes.Rotation(rotation(2)),
    "transitions": lambda: sj.reverse.chain(SDE, np.array([0.9, 0.4, 0.1])).steps,
    "process": lambda: PerMode(rates=np.array([1.1, 6.3]), t_min=1e-3, t_max=1.0),
    "derived process": lambda: Slower(rates=np.array([1.1, 6.3]), factors=np.array([0.3, 0.7]), t_min=1e-3, t_max=1.0),
    "operator": lambda: Weighted(np.array([0.1, 1.7])),
}


def constants(holder, names):
    """A program that holds the arrays of `holder` as constants, by themselves and as arguments of another program."""

    def half(holder):
        return {name: jnp.asarray(getattr(holder, name)) / 2 for name in names}

    return jax.jit(lambda: (half(holder), jax.jit(half)(holder)))


@pytest.mark.parametrize("double_first", [False, True])
@pytest.mark.parametrize("name", HOLDERS)
def test_every_program_takes_an_array_in_its_own_precision(name, double_first):
    holder = HOLDERS[name]()
    names = [f.name for f in fields(holder) if isinstance(getattr(holder, f.name), np.ndarray)]
    assert names
    alive = []  # JAX remembers an array for as long as a program holds it
    for double in (double_first, not double_first):
        kind = np.float64 if double else np.float32
        wanted = {name: getattr(holder, name).astype(kind) / 2 for name in names}
        with jax.enable_x64(double):
            alive.append(constants(holder, names))
            for found in alive[-1]():
                assert {array.dtype for array in found.values()} == {np.dtype(kind)}
                jax.tree.map(np.testing.assert_array_equal, found, wanted)


def draw(law):
    def score(x, t):
        return law.score_at(SDE, x, t)

    times = sj.times.uniform(SDE, 2)
    drawn = sj.sample(jax.random.key(0), SDE, score, (3, 2), stepper=sj.samplers.euler(), times=times, denoise=False)
    return drawn.x, law.mean()


@pytest.mark.parametrize("double_first", [False, True])
def test_a_law_that_a_sampler_closed_over_serves_the_other_precision_too(double_first):
    law = HOLDERS["law"]()
    for double in (double_first, not double_first):
        with jax.enable_x64(double):
            jax.tree.map(np.testing.assert_array_equal, draw(law), draw(HOLDERS["law"]()))


def table_drawn(stepper, times):
    return sj.sample(jax.random.key(0), SDE, lambda x, t: -x, (3, 2), stepper=stepper, times=times).x


@pytest.mark.parametrize("double_first", [False, True])
def test_a_prepared_stepper_and_a_grid_serve_the_other_precision_too(double_first):
    times = np.array([0.9, 0.4, 0.1])
    stepper = sj.samplers.reverse_chain("forward").prepare(SDE, times)
    alive = []
    for double in (double_first, not double_first):
        with jax.enable_x64(double):
            alive.append(jax.jit(lambda: table_drawn(stepper, times)))
            fresh = table_drawn(sj.samplers.reverse_chain("forward"), times.copy())
            assert fresh.dtype == (np.float64 if double else np.float32)
            np.testing.assert_allclose(alive[-1](), fresh, rtol=1e-12 if double else 1e-5)


def test_a_field_without_an_array_is_what_was_put_there():
    slow = Slower(rates=jnp.ones(2), factors=np.ones(2), t_min=1e-3, t_max=1.0)
    assert slow.rates is slow.rates and slow.factors is not slow.factors
    assert slow.replace(t_max=2.0).t_max == 2.0
    with pytest.raises(TypeError, match="rates"):
        PerMode(t_min=1e-3, t_max=1.0)
