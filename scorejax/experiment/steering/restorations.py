"""Images found again from linear measurements of them, by one method or another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from scorejax import data as data_lib
from scorejax import guidance, samplers
from scorejax.experiment import assemble as build
from scorejax.experiment.assemble.chains import data_range
from scorejax.experiment.config import Config
from scorejax.experiment.steering import measurement
from scorejax.experiment.steering.task import NOISE, Task, key
from scorejax.guidance.ddrm import Spectrum, spectrum_of
from scorejax.guidance.operators import Operator
from scorejax.guidance.operators.selections import Channels, Mask
from scorejax.numerics import keys as keys_lib
from scorejax.runtime.errors import ConfigError
from scorejax.scores.predictions import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.linear import static

SCORES = {name: getattr(guidance, name) for name in ("dps", "pigdm", "moment_matching")}
METHODS = {"replacement": guidance.inpaint, **SCORES, "ddrm": guidance.ddrm}
# of the methods themselves
OPTIONS = ("rounds", "jump", "zeta", "steps", "data_std", "iterations", "tolerance", "eta", "eta_b")


@dataclass(frozen=True, kw_only=True)
class Restore(Task):
    """Samples given `y = A x_0 + sigma_y n`.

    Attributes:
        operator: `A`.
        sigma_y: in the units of the data.
        measured: whether the given images are the measurements, not what is to be found.
        options: what the method was given beside that.
    """

    operator: Operator
    sigma_y: float = static()
    measured: bool = static()
    options: tuple[tuple[str, Any], ...] = static()

    def measure(self, keys: Array, x0: Array) -> Array:
        """Return `y` for the images `x0 [B, H, W, C]`, the noise of each by its own key."""
        y = self.operator.forward(x0)
        noise = keys_lib.normal(keys_lib.fold_in(keys, NOISE), y.shape, y.dtype)
        return self.operator.clean(y + self.sigma_y * noise)

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the measurement of one image of this shape."""
        return jax.eval_shape(self.operator.forward, jax.ShapeDtypeStruct((1, *shape), jnp.float32)).shape[1:]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByPosteriorScore(Restore):
    """By the score given the measurement, under any sampler.

    Attributes:
        method: one of `SCORES`.
        bounds: of the posterior mean, see `guidance.clipped`; None: none.
    """

    method: str = static()
    bounds: tuple[float, float] | None = static()

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        noise = {} if self.method == "dps" else {"sigma_y": self.sigma_y}
        guided = SCORES[self.method](process, score, self.operator, y, **noise, **dict(self.options))
        if self.bounds is not None:
            guided = guidance.clipped(process, guided, self.bounds)
        return samplers.sample(keys, process, guided, shape, **sampler)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByModes(Restore):
    """Mode by mode (DDRM), with steps of its own: of the sampler, the times and the last denoising.

    Attributes:
        spectrum: the operator's modes.
    """

    spectrum: Spectrum

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        own = {"times": sampler["times"], "denoise": sampler["denoise"], **dict(self.options)}
        return guidance.ddrm(keys, process, score, self.spectrum, y, self.sigma_y, shape=shape, **own)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ByReplacement(Restore):
    """By putting what is known, as noisy as the sample, in its place after each step of any sampler."""

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        if isinstance(self.operator, Mask):
            return guidance.inpaint(keys, process, score, y, self.operator.mask, **sampler, **dict(self.options))
        return guidance.colorize(keys, process, score, y, **sampler, **dict(self.options))


def inpaint(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, mask: str = "half", sigma_y: float = 0.0,
    method: str = "replacement", measured: bool = False,
) -> Restore:  # fmt: skip
    """Fill in what the mask leaves out."""
    return _restoration(config, examples, "mask", mask, sigma_y, method, measured)


def restore(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, operator: str = "superresolution:2",
    mask: str | None = None, sigma_y: float = 0.0, method: str = "ddrm", measured: bool = False,
) -> Restore:  # fmt: skip
    """Find the image behind a linear measurement."""
    return _restoration(config, examples, operator, mask, sigma_y, method, measured)


def _restoration(
    config: Config, examples: data_lib.Dataset, operator: str, mask: str | None, sigma_y: float, method: str,
    measured: bool,
) -> Restore:  # fmt: skip
    function = build.pick("guidance.method", method, METHODS)
    options = build.options(config, "guidance", function, OPTIONS)
    found = measurement.operator(operator, mask, examples.shape, key(config))
    if not sigma_y >= 0:
        raise ConfigError(f"guidance.sigma_y = {sigma_y}; it must not be negative")
    clip = config.guidance.clip
    if clip is not None and method not in SCORES:
        raise ConfigError(f"guidance.clip belongs to guidance.method = {', '.join(SCORES)}, not to {method!r}")
    if method == "dps":
        options.setdefault("zeta", 1.0)
    common = {"operator": found, "sigma_y": sigma_y, "measured": measured, "options": tuple(sorted(options.items()))}
    if method in SCORES:
        bounds = None if clip is False else data_range(config)
        return ByPosteriorScore(method=method, bounds=bounds, **common)
    if method == "ddrm":
        if config.sampler.corrector != "none":
            raise ConfigError(
                f"guidance.method = 'ddrm' brings its own steps, but sampler.corrector = {config.sampler.corrector!r}: "
                f"set sampler.corrector=none, or choose one of {_others(method)}"
            )
        return ByModes(spectrum=spectrum_of(found, examples.shape), **common)
    if not isinstance(found, Mask | Channels):
        raise ConfigError(
            f"guidance.method = 'replacement' takes known pixels or grey values, not {operator!r}; choose one of "
            f"{_others(method)}"
        )
    if sigma_y:
        raise ConfigError(
            f"guidance.method = 'replacement' takes what is known as exact, but guidance.sigma_y = {sigma_y}; "
            f"choose one of {_others(method)}"
        )
    return ByReplacement(**common)


def _others(method: str) -> str:
    return ", ".join(other for other in METHODS if other != method)
