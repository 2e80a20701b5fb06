"""Images found again from linear measurements of them, by one method or another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias, TypedDict, Unpack

from jax import Array
from jax.tree_util import Partial

from scorejax import guidance
from scorejax.experiment.config import Seam
from scorejax.experiment.steering import measurement
from scorejax.experiment.steering.guidance import About, OfImages
from scorejax.experiment.steering.posteriors import gibbs, mala, smc
from scorejax.experiment.steering.restoration_tasks import ByModes, ByPosteriorScore, ByReplacement, Restoration
from scorejax.guidance.ddrm import spectrum_of
from scorejax.guidance.operators import Operator
from scorejax.guidance.operators.selections import Channels, Mask
from scorejax.numerics.ranges import Count, NonNegative, Positive, Share
from scorejax.runtime.errors import ConfigError

Method: TypeAlias = Callable[..., "Restoration"]
"""`(about, operator, sigma_y=..., measured=...) -> Restoration`."""


# ---- Methods: their keyword parameters are their settings -----------------------------------------------------------


def replacement(
    about: About, operator: Operator, *, sigma_y: float, measured: bool, rounds: Count = 1, jump: Count = 1
) -> ByReplacement:
    """Put what is known in its place after each step (RePaint with rounds > 1)."""
    if not isinstance(operator, Mask | Channels):
        raise ConfigError(
            "guidance.method = 'replacement' takes known pixels or gray values, not this operator; choose one of "
            f"{_others('replacement')}"
        )
    if sigma_y:
        raise ConfigError(
            f"guidance.method = 'replacement' takes what is known as exact, but guidance.sigma_y = {sigma_y}; choose "
            f"one of {_others('replacement')}"
        )
    return ByReplacement(operator=operator, sigma_y=sigma_y, measured=measured, rounds=rounds, jump=jump)


def dps(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    zeta: NonNegative = 1.0,
    steps: Count | None = None,
    clip: bool = True,
) -> ByPosteriorScore:
    """Diffusion posterior sampling (Chung et al.): the gradient of the residual, `zeta` steps long."""
    given = {"zeta": zeta} | ({} if steps is None else {"steps": steps})
    guide = Partial(functools.partial(guidance.dps, **given))
    return _by_score(about, guide, clip, operator=operator, sigma_y=sigma_y, measured=measured)


def pigdm(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    data_std: Positive = 1.0,
    iterations: Count | None = None,
    tolerance: Positive | None = None,
    clip: bool = True,
) -> ByPosteriorScore:
    """Pseudo-inverse guidance (Song et al.): a Gaussian posterior of width `data_std` around the denoised point."""
    given = _set(iterations=iterations, tolerance=tolerance) | {"data_std": data_std, "sigma_y": sigma_y}
    guide = Partial(functools.partial(guidance.pigdm, **given))
    return _by_score(about, guide, clip, operator=operator, sigma_y=sigma_y, measured=measured)


def moment_matching(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    iterations: Count | None = None,
    tolerance: Positive | None = None,
    clip: bool = True,
) -> ByPosteriorScore:
    """Tweedie moment projection: the posterior's covariance from the Jacobian of the score."""
    given = _set(iterations=iterations, tolerance=tolerance) | {"sigma_y": sigma_y}
    guide = Partial(functools.partial(guidance.moment_matching, **given))
    return _by_score(about, guide, clip, operator=operator, sigma_y=sigma_y, measured=measured)


def ddrm(
    about: About,
    operator: Operator,
    *,
    sigma_y: float,
    measured: bool,
    eta: Share | None = None,
    eta_b: Share | None = None,
) -> ByModes:
    """Denoising diffusion restoration (Kawar et al.): mode by mode, with steps of its own."""
    corrector = about.config.sampler.corrector.name
    if corrector != "none":
        raise ConfigError(
            f"guidance.method = 'ddrm' brings its own steps, but sampler.corrector = {corrector!r}: set "
            f"sampler.corrector=none, or choose one of {_others('ddrm')}"
        )
    return ByModes(
        operator=operator,
        sigma_y=sigma_y,
        measured=measured,
        spectrum=spectrum_of(operator, about.form.shape),
        options=tuple(_set(eta=eta, eta_b=eta_b).items()),
    )


METHODS: Mapping[str, Method] = {
    "replacement": replacement,
    "dps": dps,
    "pigdm": pigdm,
    "moment_matching": moment_matching,
    "ddrm": ddrm,
    "smc": smc,
    "gibbs": gibbs,
    "mala": mala,
}
_SUPPLIED = frozenset({"sigma_y", "measured"})
METHOD = Seam(METHODS, "method", "ddrm", supplied=_SUPPLIED)
METHOD_OF_MASKS = Seam(METHODS, "method", "replacement", supplied=_SUPPLIED)


# ---- What is done with given images ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Inpaint(OfImages):
    """Fill in what the mask leaves out.

    Attributes:
        mask: where the image is to be drawn anew.
        sigma_y: noise of the measurement, in the units of the data.
        method: how.
        measured: whether the input is what was measured, not what is to be found.
        draws: how often each image is drawn; of several, their mean and spread are shown too, and it is measured how
            often they hold the truth.
    """

    mask: Annotated[str, measurement.MASK] = "half"
    sigma_y: NonNegative = 0.0
    method: Annotated[str, METHOD_OF_MASKS] = "replacement"
    measured: bool = False
    draws: Count = 1

    def image_task(self, about: About) -> Restoration:
        def make(shape: tuple[int, ...], key: Array) -> Operator:
            return measurement.masked(shape, key, mask=self.mask)

        return _restoration(about, make, self.sigma_y, self.method, self.measured, self.draws)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Restore(OfImages):
    """Find the image behind a linear measurement.

    Attributes:
        operator: what measures.
        sigma_y: noise of the measurement, in the units of the data.
        method: how.
        measured: whether the input is what was measured, not what is to be found.
        draws: how often each image is drawn; of several, their mean and spread are shown too, and it is measured how
            often they hold the truth.
    """

    operator: Annotated[str, measurement.OPERATOR] = "superresolution"
    sigma_y: NonNegative = 0.0
    method: Annotated[str, METHOD] = "ddrm"
    measured: bool = False
    draws: Count = 1

    def image_task(self, about: About) -> Restoration:
        return _restoration(about, self.operator, self.sigma_y, self.method, self.measured, self.draws)  # type: ignore[arg-type]


def _restoration(
    about: About, make: measurement.MakeOperator, sigma_y: float, method: Method, measured: bool, draws: int
) -> Restoration:
    found = measurement.operator(make, about.form.shape, about.key)
    if not sigma_y >= 0:
        raise ConfigError(f"guidance.sigma_y = {sigma_y}; it must not be negative")
    return replace(method(about, found, sigma_y=sigma_y, measured=measured), draws=draws)


class Measured(TypedDict):
    """The fields that every restoration has."""

    operator: Operator
    sigma_y: float
    measured: bool


def _by_score(about: About, guide: Partial, clip: bool, **measured: Unpack[Measured]) -> ByPosteriorScore:
    bounds = about.space.interval if clip else None
    return ByPosteriorScore(guide=guide, bounds=bounds, **measured)


def _set(**given: float | None) -> dict[str, float]:
    return {key: value for key, value in given.items() if value is not None}


def _others(method: str) -> str:
    return ", ".join(other for other in METHODS if other != method)
