"""Inference of parameters from simulations: the posterior `p(theta | x)` as a conditional score (NPSE).

    posterior = scorejax.sbi.fit(key, theta, x, prior=scorejax.sbi.uniform([-1, -1], [1, 1]))
    posterior.sample(key, x_observed, 1000)        # [1000, D]
    posterior.log_prob(key, theta, x_observed)     # nats [B]

`theta [N, D]` are parameters that were drawn from the prior, `x [N, K]` what the simulator made of each (Sharrock et
al., arXiv 2210.04872; Geffner et al., arXiv 2209.14249, for several observations). The training is that of any run, and
its folder holds all that the posterior needs.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from scorejax import likelihood, samplers
from scorejax.experiment import config as configs
from scorejax.experiment import run as runs
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.training.train import train
from scorejax.metrics import calibration
from scorejax.numerics import doors
from scorejax.numerics import keys as keys_lib
from scorejax.posterior.priors import Normal, Prior, Uniform, lognormal, normal, uniform
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.files import read_json, write_json
from scorejax.samplers import Stepper
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE, times

__all__ = ["Posterior", "Prior", "fit", "load", "lognormal", "normal", "uniform"]

FILE = "sbi.json"
_FEWEST = 40  # simulations
_CLIMB, _STARTS = 300, 64  # steps uphill, and where they begin
_NOISE = (0.5, 0.02)  # noise to signal at the first of them, where the score is smooth, and at the last


@dataclasses.dataclass(frozen=True)
class Posterior:
    """The law of parameters given what a simulator made of them. Its methods may be called in compiled programs.

    Attributes:
        run: the trained run, whose model space is that of `prior.to_normal`, or of standardized parameters.
        prior: of the parameters; without bounds, and of no known law, if none was given.
        known: whether a prior was given, whose law the composition of several observations needs.
        x_mean: of the training data, `[K]`.
        x_std: theirs.
    """

    run: runs.Run
    prior: Prior
    known: bool
    x_mean: np.ndarray
    x_std: np.ndarray

    def sample(
        self, key: Array, x: ArrayLike, n: int, *, steps: int = 64, stepper: Stepper | None = None,
        corrections: int = 2,
    ) -> Array:  # fmt: skip
        """Draw `n` parameters of the posterior, `[n, D]`.

        Several independent observations of the same parameters are composed at every level of noise,

            sum_i s(y, t | x_i) - (n - 1) s_prior(y, t),

        which is the score of the posterior at the data alone, so that Langevin steps follow each step of the sampler.

        Args:
            key: a typed PRNG key; draw i uses `fold_in(key, i)`.
            x: what was observed, `[K]`; several independent observations `[M, K]`.
            n: how many.
            steps: of the time grid.
            stepper: from `scorejax.samplers`; unset: DPM-Solver++, and `ancestral` for several observations.
            corrections: Langevin steps of each step, for several observations.

        Raises:
            ValueError: observations of another shape, or several of them without a prior.
        """
        score, several = self._score(x, n)
        corrector = samplers.langevin(0.16, steps=corrections) if several and corrections else None
        stepper = stepper or (samplers.ancestral() if several else samplers.dpm_solver())
        drawn = samplers.sample(
            key, self._sde, score, (n, self.prior.dimension), stepper=stepper,
            times=times.log_snr(self._sde, steps), corrector=corrector,
        )  # fmt: skip
        return self.prior.from_normal(drawn.x)

    def log_prob(self, key: Array, theta: ArrayLike, x: ArrayLike, **solver: Any) -> Array:
        """Return the log density of parameters `theta [B, D]` given one observation `x [K]`, in nats `[B]`.

        Minus infinity outside of the support of the prior.

        Args:
            key: a typed PRNG key, of the trace estimate, if `divergence` asks for one.
            theta: the parameters.
            x: what was observed.
            **solver: of `scorejax.log_prob`; unset: the exact divergence.

        Raises:
            ValueError: another shape, or several observations, whose composed score has no normalized density.
        """
        theta = jnp.asarray(theta, jnp.float32)
        if theta.ndim != 2 or theta.shape[1] != self.prior.dimension:
            raise ValueError(f"theta must have shape (B, {self.prior.dimension}), got {theta.shape}")
        score, several = self._score(x, len(theta))
        if several:
            raise ValueError("log_prob takes one observation [K]; the composition of several has no normalized density")
        slope = self.prior.log_slope(theta)
        inside = jnp.isfinite(slope)
        y = jnp.where(inside[:, None], self.prior.to_normal(jnp.where(inside[:, None], theta, self._middle)), 0.0)
        found = likelihood.log_prob(key, self._sde, score, y, **{"divergence": "exact", **solver}).value
        return jnp.where(inside, found + slope, -jnp.inf)

    def map(self, key: Array, x: ArrayLike) -> Array:
        """Return the parameters of the largest posterior density, `[D]`, of one observation or several.

        Uphill of 64 draws by Adam, along the score at less and less noise; of one observation the best of the ends by
        its log density.

        Args:
            key: a typed PRNG key.
            x: as of `sample`.

        Raises:
            ValueError: as `sample`.
        """
        score, several = self._score(x, _STARTS)
        start = self.prior.to_normal(self.sample(key, x, _STARTS))
        ends = self.prior.from_normal(_uphill(self._sde, score, self.prior, start))
        if several:
            return jnp.median(ends, axis=0)
        return ends[jnp.argmax(jnp.nan_to_num(self.log_prob(key, ends, x), nan=-jnp.inf))]

    def calibrate(
        self, key: Array, simulate: Callable[[Array], tuple[Array, Array]], replicates: int = 500, **how: Any
    ) -> calibration.Calibration:
        """Measure whether draws are draws of the posterior, over parameters and data of the simulator.

        Args:
            key: a typed PRNG key.
            simulate: `key -> (theta [D], x [K])`, a draw of prior and simulator, in functions of JAX.
            replicates: how many pairs.
            **how: of `scorejax.calibration.run`.

        Raises:
            ValueError: as `scorejax.calibration.run`.
        """

        def draw(key: Array, x: Array, n: int) -> Array:
            return self.sample(key, x, n)

        return calibration.run(key, simulate, draw, replicates=replicates, **how)

    @property
    def _sde(self) -> LinearSDE:
        sde = self.run.sde
        assert isinstance(sde, LinearSDE)  # `fit` makes no others
        return sde

    @property
    def _middle(self) -> Array:
        return self.prior.from_normal(jnp.zeros((1, self.prior.dimension)))

    def _score(self, x: ArrayLike, n: int) -> tuple[Score, bool]:
        """The score of `n` points given the observations, and whether there are several."""
        x, wide = jnp.asarray(x, jnp.float32), len(self.x_mean)
        if x.ndim not in (1, 2) or x.shape[-1] != wide or not x.size:
            raise ValueError(
                f"x must be an observation of shape ({wide},), or several independent ones of shape (M, {wide}), got "
                f"{x.shape}"
            )
        rows = jnp.atleast_2d((x - self.x_mean) / self.x_std)
        if len(rows) == 1:
            return self.run.model.score_given(jnp.broadcast_to(rows, (n, wide))), False
        if not self.known:
            raise ValueError(f"{len(rows)} observations can be composed if the prior is known: give fit one by prior=")
        return Partial(_composed, self._sde, self.run.model.score, rows), True


def fit(
    key: Array,
    theta: ArrayLike,
    x: ArrayLike,
    *,
    prior: Prior | None = None,
    workdir: str | Path | None = None,
    settings: tuple[str, ...] = (),
) -> Posterior:
    """Train the posterior of parameters given data, and return it with the weights of the least validation loss.

    Args:
        key: a typed PRNG key, of the training.
        theta: parameters `[N, D]`, drawn from the prior.
        x: data `[N, K]`, one row for each row of parameters; summaries or networks of larger data are yours.
        prior: what the parameters were drawn from, of `uniform`, `normal` or `lognormal`, whose bounds the posterior
            keeps. None: unbounded, and several observations cannot be composed.
        workdir: folder of the run, which `load` reads again; a new temporary one if not given.
        settings: of the run, as the shell takes them: ("train.steps=8000", "model.features=256").

    Raises:
        ValueError: arrays of other shapes, too few, not finite, or parameters outside of the support of the prior.
        ConfigError: settings that do not fit, or a folder that holds another run.
    """
    theta, x = _rows("theta", theta), _rows("x", x)
    if len(theta) != len(x) or len(x) < _FEWEST:
        raise ValueError(f"theta and x must have as many rows, {_FEWEST} at least; got {len(theta)} and {len(x)}")
    if prior is not None:
        if prior.dimension != theta.shape[1]:
            raise ValueError(f"the prior is of {prior.dimension} parameters, but theta has shape {theta.shape}")
        outside = ~np.isfinite(np.asarray(prior.log_slope(jnp.asarray(theta, jnp.float32))))
        if outside.any():
            first = int(np.argmax(outside))
            raise ValueError(
                f"{outside.sum()} rows of theta lie outside of the prior, the first is {first}: {theta[first]}"
            )
    chosen = normal(theta.mean(axis=0), _spread(theta)) if prior is None else prior
    mean, std = x.mean(axis=0), _spread(x)
    folder = Path(tempfile.mkdtemp(prefix="sbi-") if workdir is None else workdir)
    folder.mkdir(parents=True, exist_ok=True)
    y = np.asarray(chosen.to_normal(jnp.asarray(theta, jnp.float32)))
    np.savez(folder / "simulations.npz", x=y, labels=((x - mean) / std).astype(np.float32))
    about = {"prior": _written(chosen), "known": prior is not None, "x_mean": mean.tolist(), "x_std": std.tolist()}
    write_json(folder / FILE, about)
    seed = int(jax.random.randint(keys_lib.per_example(key, 1)[0], (), 0, 2**31 - 1))
    config = configs.override(_config(folder, len(y), seed), list(settings))
    train(config, folder, validate=evaluate.validation(config, folder))
    return load(folder)


def load(workdir: str | Path) -> Posterior:
    """Return the posterior that `fit` left in a folder.

    Raises:
        ConfigError: none was trained there.
    """
    folder = Path(workdir).expanduser()
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder} holds no {FILE}: give the workdir of a posterior that scorejax.sbi.fit trained")
    about = read_json(folder / FILE, dict, "train again")
    mean, std = (np.asarray(about[name], np.float32) for name in ("x_mean", "x_std"))
    return Posterior(runs.load(folder), _read(about["prior"]), about["known"], mean, std)


def _config(folder: Path, count: int, seed: int) -> configs.Config:
    """A training for so many simulations."""
    config = configs.base()
    config.seed = seed
    config.data = f"npz:path={folder / 'simulations.npz'}:axes=NC"
    config.data.normalize = "none"
    config.recipe.conditional = True
    config.model.update({"name": "mlp", "features": 128, "depth": 4})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 1e-3, "warmup": 200, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 6000, "batch": int(np.clip(count // 10, 16, 512)), "log_every": 1000})
    config.train.update({"checkpoint_every": 6000, "validate_every": 300})
    config.eval.update({"best": True, "after_training": False, "batch": 256})
    return config


def _composed(sde: LinearSDE, score: Callable[..., Array], rows: Array, y: Array, t: Array) -> Array:
    """The composition of the scores given each of several observations, one after the other."""
    each = jax.lax.map(lambda row: score(y, t, jnp.broadcast_to(row, (len(y), len(row)))), rows)
    spread = sde.alpha(t) ** 2 + sde.variance(t)
    prior = -sde.scale(1.0 / spread, t, y)  # a standard normal law at every level of noise
    return jnp.sum(each, axis=0) - (len(rows) - 1) * prior


@jax.jit
def _uphill(sde: LinearSDE, score: Score, prior: Prior, y: Array) -> Array:
    """Points of large density of the parameters, from points of the map of the prior."""
    ratios = jnp.geomspace(*_NOISE, _CLIMB)
    levels = sde.inverse_log_snr(-2.0 * jnp.log(ratios))

    def slope(y: Array) -> Array:
        return jnp.sum(prior.log_slope(prior.from_normal(y)))

    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, _CLIMB))

    def body(carry: tuple[Array, Any], t: Array) -> tuple[tuple[Array, Any], None]:
        y, state = carry
        alpha, times = sde.alpha(t), jnp.broadcast_to(t, y.shape[:1])
        gradient = alpha * score(alpha * y, times) + jax.grad(slope)(y)
        updates, state = optimizer.update(-gradient, state)
        return (y + jnp.asarray(updates), state), None

    return jax.lax.scan(body, (y, optimizer.init(y)), levels)[0][0]


def _rows(name: str, given: ArrayLike) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"{name} must be numbers of shape [N, D], got {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64)
    doors.check_finite(array, name)
    return array


def _spread(rows: np.ndarray) -> np.ndarray:
    """Standard deviations of the columns; 1 for constant ones."""
    found = rows.std(axis=0)
    return np.where(found > 0, found, 1.0)


_KINDS: dict[str, type[Prior]] = {"uniform": Uniform, "normal": Normal}


def _written(prior: Prior) -> dict[str, Any]:
    """A prior for a file of JSON."""
    kind = next((name for name, each in _KINDS.items() if isinstance(prior, each)), None)
    if kind is None:
        raise ValueError(f"{type(prior).__name__} is no prior of scorejax.sbi; take uniform, normal or lognormal")
    fields = {each.name: np.asarray(getattr(prior, each.name)).tolist() for each in dataclasses.fields(prior)}
    return {"kind": kind, **json.loads(json.dumps(fields))}


def _read(about: dict[str, Any]) -> Prior:
    fields = {name: jnp.asarray(value) for name, value in about.items() if name != "kind"}
    return _KINDS[about["kind"]](**fields)
