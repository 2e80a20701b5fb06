"""One object serves float32 and float64, whichever comes first, though JAX remembers NumPy arrays by identity."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from worlds import PerMode, rotation

import scorejax as sj

SDE = sj.vp()
# whatever of the library holds NumPy arrays, and a process that a user wrote
HOLDERS = {
    "law": lambda: sj.analytic.mixture([0.3, 0.7], [[-1.2, 0.6], [0.9, -0.5]], [0.3, 0.2]),
    "table": lambda: sj.smld(n=5).log_sigma,
    "basis": lambda: sj.sdes.Rotation(rotation(2)),
    "transitions": lambda: sj.reverse.chain(SDE, np.array([0.9, 0.4, 0.1])).steps,
    "process": lambda: PerMode(rates=np.array([1.1, 6.3]), t_min=1e-3, t_max=1.0),
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
