"""Degradations for cold diffusion: forward processes that need not be noise, each a family of levels `D(x_0, s)`.

    degradation = scorejax.degradations.blur()
    x_t = degradation.corrupt(key, x_0, t)
    x_0 = scorejax.sample(key, degradation, restore, shape, stepper=scorejax.samplers.cold(), x_init=x_t, ...)

(Bansal et al., "Cold Diffusion: Inverting Arbitrary Image Transforms Without Noise", arXiv 2208.09392.)
"""

from collections.abc import Callable, Mapping

from scorejax.degradations.base import Degradation, Drawn, Held
from scorejax.degradations.blur import blur
from scorejax.degradations.channel_means import ChannelMeans
from scorejax.degradations.decolor import decolor
from scorejax.degradations.inpaint import inpaint
from scorejax.degradations.levels import levels
from scorejax.degradations.mixing import animorph, noise
from scorejax.degradations.pixelate import pixelate
from scorejax.degradations.snow import snow

__all__ = [
    "DEGRADATIONS",
    "PUBLISHED",
    "ChannelMeans",
    "Degradation",
    "Drawn",
    "Held",
    "animorph",
    "blur",
    "decolor",
    "inpaint",
    "levels",
    "noise",
    "pixelate",
    "snow",
]

DEGRADATIONS: dict[str, Callable[..., Degradation]] = {
    "blur": blur,
    "inpaint": inpaint,
    "pixelate": pixelate,
    "decolor": decolor,
    "snow": snow,
    "animorph": animorph,
    "noise": noise,
}
"""The degradations by name; the parameters of each with their defaults are its settings, but for `data_range`, which
the program supplies."""

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "blur": {
        "mnist": {"levels": 20, "kernel": 11, "std": 7.0, "growth": "constant", "boundary": "circular"},
        "cifar10": {"levels": 50, "kernel": 11, "std": 0.35, "growth": "linear", "rate": 0.01, "boundary": "reflect"},
        "celeba": {
            "levels": 200, "kernel": 15, "std": 1.0, "growth": "exponential", "rate": 0.01, "boundary": "reflect"
        },
        "generation": {
            "levels": 300, "kernel": 27, "std": 1.0, "growth": "exponential", "rate": 0.01, "boundary": "circular",
            "last": "mean", "symmetry_noise": 0.002,
        },
    },
    "inpaint": {
        "mnist": {"levels": 50, "width": 0.1, "center": "random"},
        "cifar10": {"levels": 50, "width": 0.1, "center": "random"},
        "celeba": {"levels": 100, "width": 0.2, "center": "image"},
        "generation": {"levels": 750, "width": 0.05, "center": "image", "fill": "color"},
    },
    "pixelate": {"mnist": {"levels": 3}, "cifar10": {"levels": 3}, "celeba": {"levels": 4}},
    "snow": {
        "cifar10": {"levels": 200, "threshold": 0.7, "std": 16.0},
        "celeba": {"levels": 200, "threshold": 0.55, "std": 20.0},
    },
    "animorph": {"generation": {"levels": 200}},
}  # fmt: skip
"""The settings of the paper by degradation and data; `generation` is for images from nothing (CelebA and AFHQ, 128)."""
