"""Statistics of real images in a file, so that they are computed once and every model is held against the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scorejax.metrics.moments import Moments
from scorejax.numerics import array_files
from scorejax.runtime.files import replacing


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of features, and what they were computed from.

    Attributes:
        mean: `[F]`.
        covariance: `[F, F]`.
        count: number of examples; None where the file does not say.
        network: name of the feature network; None where the file does not say.
        about: all else that is known of the examples.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int | None
    network: str | None
    about: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, moments: Moments, **about: object) -> Statistics:
        """Return the statistics of streamed moments."""
        return cls(moments.mean, moments.covariance, moments.count, moments.network, about)

    @property
    def sha256(self) -> str:
        """Digest of mean and covariance, in hexadecimal; equal for equal numbers, wherever they are kept."""
        both = (np.ascontiguousarray(a, "<f8").tobytes() for a in (self.mean, self.covariance))
        return hashlib.sha256(b"".join(both)).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write an `.npz` with keys mu, sigma (as published files have), n, network and about (JSON)."""
        path = Path(path)
        about = json.dumps(self.about, default=str)
        with replacing(path) as partial:
            named = {"n": self.count or 0, "network": self.network or "", "about": about}
            np.savez(partial, mu=self.mean, sigma=self.covariance, **named)

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read what `save` wrote, or a published file that holds mu and sigma alone.

        Raises:
            ValueError: no such file, or not one of these; the message says which.
        """
        path = Path(path).expanduser()
        try:
            held = array_files.read(path, ("mu", "sigma", "n", "network", "about"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as statistics (.npz with mu and sigma): {error}") from error
        shapes = [np.shape(held.get(name, 0)) for name in ("mu", "sigma")]
        if len(shapes[0]) != 1 or shapes[1] != shapes[0] * 2:
            raise ValueError(
                f"{path} holds mu of shape {shapes[0]} and sigma of shape {shapes[1]}; wanted [F] and [F, F], as "
                "--mode=fid_stats writes them."
            )
        mean, covariance = (np.asarray(held[name], np.float64) for name in ("mu", "sigma"))
        try:
            count, about = np.asarray(held.get("n", 0)).item(), json.loads(str(held.get("about", "{}")))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: its n or about cannot be read: {error}; write it again.") from error
        return cls(mean, covariance, int(count) or None, str(held.get("network", "")) or None, about)
