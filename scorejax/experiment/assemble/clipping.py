"""What `sampler.clip` may be: where the sampler holds predicted data. Likelihoods are of the score as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from annotated_types import Gt, Le

from scorejax import samplers
from scorejax.numerics.ranges import Finite
from scorejax.scores.clipping import Clip, Interval, Range


def auto(*, data_range: Interval | None = None) -> Clip | None:
    """Clip to the range of images; leave vectors, and steppers with a clip of their own, alone."""
    return None if data_range is None else Range(*data_range)


def none() -> None:
    """Do not clip."""
    return


def of_range(*, low: Finite | None = None, high: Finite | None = None, data_range: Interval | None = None) -> Clip:
    """Clip to [low, high], in the units that the model sees; unset: to the range of images."""
    return Range(*_bounds(low, high, data_range))


def dynamic(
    *,
    quantile: Annotated[float, Gt(0), Le(1)] = 0.995,
    low: Finite | None = None,
    high: Finite | None = None,
    data_range: Interval | None = None,
) -> Clip:
    """Shrink an example when more than 1 - quantile of it leaves the range (Imagen's dynamic thresholding)."""
    return samplers.dynamic_threshold(_bounds(low, high, data_range), quantile=quantile)


CLIPS: Mapping[str, Callable[..., Clip | None]] = {"auto": auto, "none": none, "range": of_range, "dynamic": dynamic}


def _bounds(low: float | None, high: float | None, data_range: Interval | None) -> Interval:
    """The bounds that are set, else those of the data.

    Raises:
        ValueError: a bound that is not known, or an empty interval.
    """
    known = data_range or (None, None)
    low, high = known[0] if low is None else low, known[1] if high is None else high
    if low is None or high is None:
        raise ValueError("the range of vectors is not known; set low and high, in the units that the model sees")
    if not low < high:
        raise ValueError(f"low must be below high, got low = {low:g} and high = {high:g}")
    return low, high
