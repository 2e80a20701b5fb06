"""Ways to the partition function of an energy, by name, and energies that have theirs."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MultipleOf
from jax import Array
from jax.tree_util import Partial

from scorejax import data
from scorejax.experiment.evaluation.evaluation import Result
from scorejax.experiment.evaluation.subject import PARTITION, Subject, carried, fingerprint, settings
from scorejax.experiment.model import Model
from scorejax.likelihood import partition as partitions
from scorejax.numerics import keys as keys_lib
from scorejax.numerics.ranges import Count, Inside01, Positive
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.files import read_json, write_json
from scorejax.runtime.ledger import Ledger

_PILOT = 2**20  # stream of the key, beyond the numbers of chains


class Estimate(NamedTuple):
    """A log partition function in nats.

    Attributes:
        log_z: of the energy in model space.
        stderr: its standard error; of a quadrature its error.
        method: in words.
        chains: how many chains it is made of; 0: none.
        ess: their effective number.
        acceptance: share of their moves that were accepted.
    """

    log_z: float
    stderr: float
    method: str
    chains: int = 0
    ess: float = math.nan
    acceptance: float = math.nan

    @classmethod
    def of(cls, found: partitions.Partition, method: str, chains: int = 0) -> Estimate:
        """What the mathematics has found."""
        return cls(float(found.log_z), float(found.stderr), method, chains, float(found.ess), float(found.acceptance))

    def report(self) -> Result:
        """Its numbers by name."""
        width = (partitions.quantile_95(self.chains) if self.chains else 1.0) * self.stderr
        return {
            "log_z": self.log_z,
            "log_z_standard_error": self.stderr,
            "log_z_low": self.log_z - width,
            "log_z_high": self.log_z + width,
            "method": self.method,
            "chains": self.chains,
            # of a quadrature there are none, and JSON has no NaN
            **({"ess": self.ess, "acceptance": self.acceptance} if self.chains else {"ess": None, "acceptance": None}),
        }


class Estimator(abc.ABC):
    """A way to the partition function."""

    def check(self, form: data.Form) -> None:  # noqa: B027 (most serve all data)
        """Refuse data that it does not serve."""

    @abc.abstractmethod
    def estimate(self, model: Subject, x: np.ndarray, workdir: str | Path) -> Estimate:
        """The partition function of a model with an energy; `x` are data of model space, where its law is."""


@dataclass(frozen=True)
class _Quadrature(Estimator):
    points: int
    reach: float

    def check(self, form: data.Form) -> None:
        if form.gray_levels or form.dimension > 2:
            raise ConfigError(
                f"eval.partition=quadrature serves vectors of one or two numbers, and those of {form.name!r} are "
                f"{'images' if form.gray_levels else f'of {form.dimension}'}; take eval.partition=annealed"
            )

    def estimate(self, model: Subject, x: np.ndarray, workdir: str | Path) -> Estimate:
        mean, width = x.mean(axis=0), self.reach * np.maximum(x.std(axis=0), 1e-6)
        corners = tuple(mean - width), tuple(mean + width)

        def fn(params: object) -> partitions.Partition:
            return partitions.quadrature(_energy(model.at(params)), *corners, points=self.points)

        return Estimate.of(model.compute.once(jax.jit(fn), model.trained.params), "quadrature")


@dataclass(frozen=True)
class _Annealed(Estimator):
    chains: int
    levels: int
    leapfrog_steps: int
    acceptance: float
    base_scale: float | None

    def estimate(self, model: Subject, x: np.ndarray, workdir: str | Path) -> Estimate:
        shape, moves = model.form.shape, self.leapfrog_steps
        mean = x.mean(axis=0).astype(np.float32)
        scale = np.float32(self.base_scale or max(math.sqrt(float(x.var(axis=0).mean())), 1e-6))
        params, key = carried(model, PARTITION)

        def pilot(params: object, key: Array) -> partitions.Path:
            return partitions.find_path(
                key,
                _energy(model.at(params)),
                shape,
                mean=mean,
                scale=scale,
                chains=max(8, self.chains // 4),
                levels=self.levels,
                leapfrog_steps=moves,
                acceptance=self.acceptance,
            )

        def fn(held: tuple, index: Array) -> dict[str, Array]:
            params, key, path = held
            each = keys_lib.fold_in(jnp.broadcast_to(key, index.shape), index)
            found = partitions.anneal(each, _energy(model.at(params)), shape, path, leapfrog_steps=moves)
            return {"log_weights": found.log_weights, "acceptance": found.acceptance}

        depends = {**settings(model), "seed": model.config.eval.seed, **dataclasses.asdict(self), "chains": 0}
        ledger = Ledger(Path(workdir) / "eval", "partition", self.chains, {**depends, "scale": float(scale)})
        path = model.compute.once(jax.jit(pilot), params, jax.random.fold_in(key, _PILOT))
        batch = min(self.chains, model.config.eval.batch)
        rows = ledger.fill(
            model.compute.rows(
                "chains of the partition function",
                fn,
                (params, key, path),
                stop=self.chains,
                batch_size=batch,
                start=ledger.done,
            )
        )
        found = partitions.of_weights(jnp.asarray(rows["log_weights"]), jnp.asarray(rows["acceptance"]))
        ledger.remove()
        return Estimate.of(found, "annealed importance sampling", self.chains)


@dataclass(frozen=True)
class _Auto(Estimator):
    def estimate(self, model: Subject, x: np.ndarray, workdir: str | Path) -> Estimate:
        few = model.form.gray_levels is None and model.form.dimension <= 2
        return (quadrature() if few else annealed()).estimate(model, x, workdir)


def none() -> None:
    """Nothing is said of it."""


def auto() -> Estimator:
    """Quadrature of vectors of one or two numbers, annealed importance sampling of all others."""
    return _Auto()


def quadrature(*, points: Annotated[int, Ge(4), MultipleOf(2)] = 512, reach: Positive = 10.0) -> Estimator:
    """A sum over a grid around the data, for vectors of one or two numbers.

    Args:
        points: intervals along each axis.
        reach: deviations of the data from their mean to each side of the grid.
    """
    return _Quadrature(points, reach)


def annealed(
    *,
    chains: Annotated[int, Ge(2)] = 64,
    levels: Count = 1000,
    leapfrog_steps: Count = 5,
    acceptance: Inside01 = 0.65,
    base_scale: Positive | None = None,
) -> Estimator:
    """Annealed importance sampling with Hamiltonian moves, from a normal law around the mean of the data.

    Args:
        chains: how many are measured; a quarter of them go ahead to find step sizes.
        levels: between the normal law and that of the energy, one move at each.
        leapfrog_steps: of a move.
        acceptance: share of moves that the step sizes aim at.
        base_scale: deviation of the normal law, in model space; unset: of the data from their mean.
    """
    return _Annealed(chains, levels, leapfrog_steps, acceptance, base_scale)


PARTITIONS: Mapping[str, Callable[..., Estimator | None]] = {
    "auto": auto,
    "quadrature": quadrature,
    "annealed": annealed,
    "none": none,
}


def with_log_z(model: Model, log_z: Array) -> Model:
    """The model with the density that its energy and a log partition function make."""
    return dataclasses.replace(model, log_prob=Partial(_log_prob, _energy(model), log_z))


def _log_prob(energy: Partial, log_z: Array, keys: Array, x: Array) -> Array:
    return -energy(x) - log_z


def _energy(model: Model) -> Partial:
    assert model.energy is not None  # `EVALUATION` asks for it
    return model.energy


def keep(found: Estimate, model: Subject, workdir: str | Path) -> None:
    """Write a partition function down, where loaded runs look for it."""
    write_json(_place(workdir, model.step), {**found._asdict(), "weights": fingerprint(model.trained.params)})


def kept(model: Subject, workdir: str | Path) -> Estimate:
    """The partition function that an evaluation of these weights has left.

    Raises:
        ConfigError: none has, or it is of other weights or not finite.
    """
    where = _place(workdir, model.step)
    remedy = "estimate it by --mode=eval, with eval.partition other than none"
    if not where.is_file():
        raise ConfigError(f"the density of an energy needs its partition function, and there is no {where}; {remedy}")
    found = read_json(where, dict, remedy)
    if found.pop("weights", None) != fingerprint(model.trained.params):
        raise ConfigError(f"{where} is the partition function of other weights; {remedy}")
    estimate = Estimate(**found)
    if not math.isfinite(estimate.log_z):
        raise ConfigError(f"the partition function in {where} is not finite: this energy has no density")
    return estimate


def _place(workdir: str | Path, step: int) -> Path:
    return Path(workdir) / "eval" / f"partition-step-{step}.json"
