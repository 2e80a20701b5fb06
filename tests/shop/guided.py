"""Guidance from a config under networks whose scores are known exactly; `conftest.py` puts them in place.

Images are the 8x8 digits. The network is the score of independent pixels `N(m, 0.25)`, the mean of class `k` (where it
takes labels) being `(k - 4) / 10`; so results have closed forms and compile in a second.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from scorejax.experiment.config import load
from scorejax.experiment.evaluation import controlled

ROOT = Path(__file__).parents[2]
QUICK = ("sampler.stepper=ancestral", "sampler.times=log_snr", "sampler.steps=8", "eval.samples=4", "eval.batch=4")
VARIANCE = 0.25
CONDITIONAL = ("model.conditional=true", "model.label_dropout=0.1")


def config_of(*overrides):
    config = load(str(ROOT / "configs/vp_digits.py:tiny"), [*QUICK, "eval.features=pixels", *overrides])
    config.eval.reference_examples = 50
    return config


def mean(labels):
    return (jnp.asarray(labels, jnp.float32) - 4.0).reshape(-1, 1, 1, 1) / 10.0


def exact(process, x, t, centre):
    total = process.scale(process.alpha(t) ** 2 * VARIANCE + process.variance(t), t, jnp.ones_like(x))
    return (process.scale(process.alpha(t), t, jnp.broadcast_to(centre, x.shape)) - x) / total


def log_likelihoods(process, x, t):
    """`log N(x; alpha m_k, alpha^2 v + sigma^2)` of every class `[B, 10]`, up to a constant."""
    alpha, total = (
        u[:, None, None] for u in (process.alpha(t), process.alpha(t) ** 2 * VARIANCE + process.variance(t))
    )
    difference = x.reshape(len(x), 1, -1) - alpha * mean(jnp.arange(10)).reshape(1, 10, 1)
    return -jnp.sum(difference**2 / (2 * total), -1)


def control(tmp_path, *overrides):
    """The report and the arrays of one story."""
    report = controlled.control(config_of(*overrides), tmp_path)
    return report, {file.stem: np.load(file) for file in Path(report["folder"]).glob("*.npy")}
