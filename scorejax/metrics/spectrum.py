"""Power spectra of series, images and volumes: how much structure there is at every length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from scorejax.metrics.features import Examples, FeatureNetwork
from scorejax.metrics.floor import floor
from scorejax.metrics.metric import Metric, Reference, Result
from scorejax.pictures import save_ratio

ENOUGH = 8000  # real numbers in a shell, over all samples, below which its ratio is not judged: errors above 1.6 %
_BLOCK = 256


class Spectrum(NamedTuple):
    """The mean power of examples in shells of wave numbers.

    Attributes:
        wave_number: middle of each shell, in waves over the longest side, `[K]`.
        power: `E |FFT x|^2 / D` of each channel, `[K, C]`; the shell 0 holds the mean.
        degrees: independent real numbers in a shell of one example, `[K]`.
        n: number of examples.
    """

    wave_number: np.ndarray
    power: np.ndarray
    degrees: np.ndarray
    n: int


@dataclass(frozen=True)
class SpectrumMetric(Metric):
    """Power spectrum of samples over that of the data, shell by shell; of series, images and volumes.

    Attributes:
        periodic: the sides of an example meet, as those of a simulation in a box; else a window hides the seam.
    """

    periodic: bool = False
    reads = "examples"
    units: ClassVar[Mapping[str, str]] = {
        "spectrum_worst": "largest |ratio - 1| of a judged shell and channel",
        "spectrum_worst_floor": "the same between real examples",
    }

    def check(self, shape: Sequence[int]) -> None:
        """Refuse examples without axes of space."""
        if len(shape) < 2:
            raise ValueError(
                f"the metric spectrum is of series [L, C], images [H, W, C] and volumes [D, H, W, C]; got examples of "
                f"shape {list(shape)}: leave it out of eval.metrics."
            )

    def measure(self, real: Reference, samples: np.ndarray, network: FeatureNetwork, *, seed: int = 0) -> Result:
        """Measure the ratio in every shell, and how far it is from 1 where that can be judged."""
        self.check(np.shape(samples)[1:])
        examples = real.of_raw_examples()
        data, drawn = self._of(examples), self._of(samples)
        if data.power.shape != drawn.power.shape:
            raise ValueError(
                f"real examples have {data.power.shape} shells and channels, samples {drawn.power.shape}; wanted "
                "examples of one shape."
            )
        ratio, error = compared(drawn, data)
        judged = drawn.n * drawn.degrees >= ENOUGH
        notes = []
        if not judged.any():
            most = int(np.argmax(drawn.degrees))
            judged[most] = True
            notes.append(
                f"spectrum: no shell holds {ENOUGH:,} numbers over {drawn.n} samples; the fullest one is judged, whose "
                f"error is {error[most]:.2g}"
            )
        gaps = np.abs(ratio - 1.0)[judged]
        shell, channel = np.unravel_index(int(np.argmax(gaps)), gaps.shape)

        def worst(x: np.ndarray, y: np.ndarray) -> float:
            return float(np.abs(compared(self._of(y), self._of(x))[0] - 1.0)[judged].max())

        lowest = floor(worst, examples, len(samples), seed)
        return {
            "spectrum_wave_number": data.wave_number.tolist(),
            "spectrum_ratio": ratio.mean(axis=1).tolist(),
            "spectrum_ratio_error": error.tolist(),
            "spectrum_judged": judged.tolist(),
            "spectrum_worst": float(gaps.max()),
            "spectrum_worst_error": float(error[judged][shell]),
            "spectrum_worst_at": [float(data.wave_number[judged][shell]), int(channel)],
            "spectrum_worst_floor": lowest.value,
            "spectrum_worst_floor_deviation": lowest.deviation,
            "notes": notes,
        }

    def lines(self, result: Result) -> list[tuple[str, str]]:
        """Return the worst shell."""
        wave, channel = result["spectrum_worst_at"]
        below = f"floor {result['spectrum_worst_floor']:.2g} +- {result['spectrum_worst_floor_deviation']:.2g}"
        judged = sum(result["spectrum_judged"])
        return [
            (
                "power spectrum",
                f"off by {result['spectrum_worst']:.1%} +- {result['spectrum_worst_error']:.2g} at worst, {below} (at "
                f"{wave:.3g} waves, channel {channel}; {judged} of {len(result['spectrum_judged'])} shells judged)",
            )
        ]

    def draw(self, result: Result, folder: Path, name: str) -> None:
        """Draw the ratio over the wave numbers: `spectrum-NAME.png`."""
        series = (result[f"spectrum_{key}"] for key in ("wave_number", "ratio", "ratio_error"))
        labels = ("waves over the longest side", "power of samples / power of data")
        save_ratio(folder / f"spectrum-{name}.png", *series, labels=labels)

    def _of(self, examples: Examples) -> Spectrum:
        return spectrum(examples, periodic=self.periodic)


def spectrum(examples: Examples, *, periodic: bool = False, spacing: Sequence[float] | None = None) -> Spectrum:
    """Return the mean of `|FFT x|^2 / D` over shells of wave numbers, channel by channel.

    A shell holds the wave vectors `k` with `|k|` within 1/2 of its number, counted in waves over the longest side, so
    that sides of unequal length are treated alike. Where the sides do not meet, a Hann window along every axis keeps
    the seam out of the spectrum; it leaves the power of white noise as it is.

    Args:
        examples: `[N, L, C]`, `[N, H, W, C]` or `[N, D, H, W, C]`; they may lie on a disk.
        periodic: the sides meet.
        spacing: distance between neighbors along every axis of space; None: 1.

    Raises:
        ValueError: examples without axes of space.
    """
    first = np.asarray(examples[np.arange(min(1, len(examples)))])
    if first.ndim < 3 or not len(first):
        raise ValueError(f"examples have shape {first.shape}; wanted [N, L, C], [N, H, W, C] or [N, D, H, W, C].")
    sides, axes = first.shape[1:-1], tuple(range(1, first.ndim - 1))
    steps = np.ones(len(sides)) if spacing is None else np.asarray(spacing, np.float64)
    longest = float(np.max(np.array(sides) * steps))
    waves = [np.fft.fftfreq(side, step) * longest for side, step in zip(sides, steps, strict=True)]
    length = np.sqrt(sum(np.square(each) for each in np.meshgrid(*waves, indexing="ij")))
    shell = np.round(length).astype(int).reshape(-1)
    kept = shell <= round(max(float(np.abs(each).max()) for each in waves))  # beyond it are corners alone
    count = np.bincount(shell[kept])
    window = np.ones(sides)
    for axis, side in enumerate(sides):
        if not periodic and side > 2:
            one = np.hanning(side + 2)[1:-1]
            window = window * np.expand_dims(
                one / np.sqrt(np.mean(one**2)), tuple(i for i in range(len(sides)) if i != axis)
            )
    total = np.zeros((shell.size, first.shape[-1]))
    for start in range(0, len(examples), _BLOCK):
        block = np.asarray(examples[np.arange(start, min(start + _BLOCK, len(examples)))], np.float64)
        power = np.abs(np.fft.fftn(block * window[..., None], axes=axes)) ** 2
        total += power.sum(axis=0).reshape(total.shape)
    total = total[kept] / (len(examples) * shell.size)
    power = np.stack([np.bincount(shell[kept], channel) for channel in total.T], axis=1)
    present = count > 0
    return Spectrum(
        np.flatnonzero(present).astype(float), power[present] / count[present, None], count[present], len(examples)
    )


def compared(samples: Spectrum, data: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratio of powers `[K, C]`, and its standard error `[K]` where the numbers of a shell are independent.

    A mean of `n` squares of normal numbers has the relative error `sqrt(2 / n)`.
    """
    error = np.sqrt(2.0 / (samples.n * samples.degrees) + 2.0 / (data.n * data.degrees))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(data.power > 0.0, samples.power / data.power, np.where(samples.power > 0.0, np.inf, 1.0))
    return ratio, error
