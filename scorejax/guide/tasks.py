"""What is done with given images: what is measured of them, how that is shown, and how samples are drawn by it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from scorejax import build, guidance, samplers
from scorejax import data as data_lib
from scorejax import keys as keys_lib
from scorejax.config import Config
from scorejax.errors import ConfigError, user_errors
from scorejax.guidance.ddrm import Spectrum, spectrum_of
from scorejax.guidance.operators import Operator
from scorejax.guidance.operators.selections import Channels, Mask
from scorejax.guide import by_class, measurement
from scorejax.score import Score
from scorejax.sdes import LinearSDE
from scorejax.sdes.linear import static

SCORES = {name: getattr(guidance, name) for name in ("dps", "pigdm", "moment_matching")}
METHODS = {"replacement": guidance.inpaint, **SCORES, "ddrm": guidance.ddrm}
METHOD_KEYS = ("rounds", "zeta", "steps", "data_std", "iterations", "tolerance", "eta", "eta_b")
_NOISE = 2**31 + 1  # a stream apart from those of the samplers


class Task(abc.ABC):
    """One thing to do with images. A pytree: its arrays are arguments of compiled programs."""

    @abc.abstractmethod
    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        """Draw images by the model's score.

        Args:
            keys: one per image, `[B]`.
            process: the forward process.
            score: the model's, perhaps steered towards classes.
            y: the given images `[B, H, W, C]`, or the measurement of them, in the units of the data.
            shape: of what is drawn, `(B, H, W, C)`.
            sampler: keyword arguments of `build.sampler`.
        """


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Restore(Task):
    """Samples given `y = A x_0 + sigma_y n`.

    Attributes:
        operator: `A`.
        spectrum: its modes, for `ddrm`.
        sigma_y: in the units of the data.
        method: one of `METHODS`.
        options: what the method was given beside that.
        measured: whether the given images are the measurements, not what is to be found.
    """

    operator: Operator
    spectrum: Spectrum | None
    sigma_y: float = static()
    method: str = static()
    options: tuple[tuple[str, Any], ...] = static()
    measured: bool = static()

    def measure(self, keys: Array, x0: Array) -> Array:
        """Return `y` for the images `x0 [B, H, W, C]`, the noise of each by its own key."""
        y = self.operator.forward(x0)
        noise = keys_lib.normal(keys_lib.fold_in(keys, _NOISE), y.shape, y.dtype)
        return self.operator.clean(y + self.sigma_y * noise)

    def measured_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the measurement of one image of this shape."""
        return jax.eval_shape(self.operator.forward, jax.ShapeDtypeStruct((1, *shape), jnp.float32)).shape[1:]

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        options = dict(self.options)
        if self.method in SCORES:
            score = SCORES[self.method](process, score, self.operator, y, **self._noise(), **options)
            return samplers.sample(keys, process, score, shape, **sampler)
        if self.method == "ddrm":
            assert self.spectrum is not None
            times, denoise = sampler["times"], sampler["denoise"]
            return guidance.ddrm(
                keys,
                process,
                score,
                self.spectrum,
                y,
                self.sigma_y,
                shape=shape,
                times=times,
                denoise=denoise,
                **options,
            )
        if isinstance(self.operator, Mask):
            return guidance.inpaint(keys, process, score, y, self.operator.mask, **sampler, **options)
        return guidance.colorize(keys, process, score, y, **sampler, **options)

    def _noise(self) -> dict[str, float]:
        return {} if self.method == "dps" else {"sigma_y": self.sigma_y}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Edit(Task):
    """Images diffused to `t0` and sampled back (SDEdit).

    Attributes:
        editable: `[H, W, 1]`, where they may change; None: everywhere.
        times: the grid from `t0` down.
        t0: a time of the process.
        repeats: how often.
    """

    editable: Array | None
    times: Array
    t0: float = static()
    repeats: int = static()

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        sampler = {**sampler, "steps": len(self.times) - 1, "grid": lambda *_: self.times}
        del sampler["times"]
        return guidance.sdedit(keys, process, score, y, self.t0, repeats=self.repeats, mask=self.editable, **sampler)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Translate(Task):
    """The same, led away from what marks the source's domain and held to its low frequencies (EGSDE).

    Attributes:
        edit: how far and how often.
        features: of a classifier of domains that knows the noise.
        low_pass: of which `A^+ A` keeps the low frequencies.
        lambda_s: nats for losing the domain.
        lambda_i: nats for keeping the frequencies.
    """

    edit: Edit
    features: Partial
    low_pass: Operator
    lambda_s: float = static()
    lambda_i: float = static()

    def sample(
        self, keys: Array, process: LinearSDE, score: Score, y: Array, shape: tuple[int, ...], **sampler: Any
    ) -> samplers.Sample:
        noise = keys_lib.normal(keys_lib.fold_in(keys, _NOISE), shape)
        energies = (
            guidance.realistic(process, self.features, y, noise),
            guidance.faithful(process, Partial(_low_frequencies, self.low_pass), y),
        )
        score = guidance.experts(score, energies, (self.lambda_s, self.lambda_i))
        return self.edit.sample(keys, process, score, y, shape, **sampler)


def task(config: Config, process: LinearSDE, examples: data_lib.Dataset) -> Task:
    """What section `guidance` asks to be done with given images, for a model of images like `examples`.

    Raises:
        ConfigError: no such task, settings that it does not take or that do not fit, or vectors instead of images.
    """
    factory = build.pick("guidance", config.guidance.name, TASKS)
    if not examples.levels:
        raise ConfigError(f"guidance = {config.guidance.name!r} is for images; {examples.name!r} holds vectors")
    elsewhere = (*by_class.KEYS, "input", *(METHOD_KEYS if factory in (inpaint, restore) else ("target",)))
    keys = [key for key in build.unset("guidance") if key not in elsewhere]
    given = build.options(config, "guidance", factory, keys)
    with user_errors(f"guidance = {config.guidance.name!r}"):
        return factory(config, process, examples, **given)


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


def edit(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, t0: float = 0.5, repeats: int = 1,
    mask: str | None = None,
) -> Edit:  # fmt: skip
    """Make images likely under the model: diffuse them part of the way and come back."""
    if not process.t_min < t0 <= process.t_max:
        raise ConfigError(
            f"guidance.t0 = {t0} lies outside ({process.t_min}, {process.t_max}], the times of the process"
        )
    if repeats < 1:
        raise ConfigError(f"guidance.repeats = {repeats}; it must be at least 1")
    if build.plan(config) and config.sampler.stepper != "ancestral":
        raise ConfigError(
            f"sampler.stepper = {config.sampler.stepper!r} is made for a grid from {process.t_max}, and this "
            f"one starts at guidance.t0 = {t0}; choose another stepper"
        )
    known = None if mask is None else measurement.known_part(mask, examples.shape, _key(config))
    editable = None if known is None else jnp.asarray(~known)
    c = config.sampler
    times = jnp.asarray(build.grid(process.replace(t_max=t0), c.times, c.steps, t_min=c.t_min))
    return Edit(editable, times, t0, repeats)


def translate(
    config: Config, process: LinearSDE, examples: data_lib.Dataset, *, classifier: str | None = None,
    t0: float = 0.5, repeats: int = 1, lambda_s: float = 500.0, lambda_i: float = 2.0, low_pass: int = 4,
) -> Translate:  # fmt: skip
    """Carry images of another domain into the model's."""
    features = by_class.trained_classifier(config, process, examples, classifier).features
    means = measurement.operator(f"superresolution:{low_pass}", None, examples.shape, _key(config))
    return Translate(edit(config, process, examples, t0=t0, repeats=repeats), features, means, lambda_s, lambda_i)


TASKS: dict[str, Callable[..., Task]] = {"inpaint": inpaint, "restore": restore, "edit": edit, "translate": translate}


def _restoration(
    config: Config, examples: data_lib.Dataset, operator: str, mask: str | None, sigma_y: float, method: str,
    measured: bool,
) -> Restore:  # fmt: skip
    function = build.pick("guidance.method", method, METHODS)
    options = build.options(config, "guidance", function, METHOD_KEYS)
    found = measurement.operator(operator, mask, examples.shape, _key(config))
    if not sigma_y >= 0:
        raise ConfigError(f"guidance.sigma_y = {sigma_y}; it must not be negative")
    if method == "dps":
        options.setdefault("zeta", 1.0)
    if method == "replacement":
        if not isinstance(found, Mask | Channels):
            raise ConfigError(
                f"guidance.method = 'replacement' takes known pixels or grey values, not {operator!r}; choose one of "
                f"{', '.join(m for m in METHODS if m != method)}"
            )
        if sigma_y:
            raise ConfigError(
                f"guidance.method = 'replacement' takes what is known as exact, but guidance.sigma_y = {sigma_y}; "
                f"choose one of {', '.join(m for m in METHODS if m != method)}"
            )
    spectrum = spectrum_of(found, examples.shape) if method == "ddrm" else None
    return Restore(found, spectrum, sigma_y, method, tuple(sorted(options.items())), measured)


def _key(config: Config) -> Array:
    """What is random about a measurement follows the evaluation's seed, not the samples."""
    return jax.random.fold_in(jax.random.key(config.eval.seed), _NOISE)


def _low_frequencies(means: Operator, x: Array) -> Array:
    return means.pinv(means.forward(x))
