"""How well a classifier recognizes noisy examples: accuracy, cross entropy, calibration, from the prior to the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax.experiment import assemble
from scorejax.experiment.config import to_dict
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import CLASSIFICATION, Subject, carried, settings
from scorejax.numerics import keys
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.ledger import Ledger
from scorejax.sdes import LinearSDE, times

BINS = 15  # of confidence, for the calibration error
STEPS = 10  # equal ones in the log signal-to-noise ratio, from `t_max` to the clean end `t_min`


def classification(model: Subject, test: data_lib.Dataset, workdir: str | Path) -> Result:
    """Accuracy and cross entropy in nats on test examples, at each of 11 noise levels, with standard errors.

    With the expected calibration error, how far confidence and accuracy are apart, and what a guess by the frequencies
    of the classes gets. Each example is counted once at each level, and draws its noise from its number alone.

    Raises:
        ConfigError: the split has no labels.
    """
    c = model.config.eval
    if test.labels is None:
        raise ConfigError(f"split {c.split!r} of {test.name!r} has no labels; choose another eval.split")
    chosen = data_lib.spread(len(test), c.classifier_examples)
    arrays = model.sent(test, chosen), test.labels[chosen]
    levels = noise_levels(model)
    asked = {"split": c.split, "seed": c.seed, "of": test.name, "levels": np.asarray(levels).tolist()}
    ledger = Ledger(Path(workdir) / "eval", "classification", len(chosen), {**settings(model), "eval": asked})
    batches = model.compute.rows(
        "classification",
        _classify(model, levels),
        carried(model, CLASSIFICATION),
        arrays,
        stop=len(chosen),
        batch_size=min(c.batch, len(chosen)),
        start=ledger.done,
    )
    rows = ledger.fill(batches)
    frequencies = np.bincount(arrays[1], minlength=test.num_classes) / len(chosen)
    ratios = _ratios(model, levels)
    result = {
        "levels": [
            {
                "t": float(t),
                "log_snr": ratio,
                **_mean("accuracy", right),
                **_mean("cross_entropy", nats),
                "calibration_error": calibration_error(right, sure),
            }
            for t, ratio, right, nats, sure in zip(
                levels, ratios, rows["right"].T, rows["nats"].T, rows["confidence"].T, strict=True
            )
        ],
        "examples": len(chosen),
        "of": len(test),
        "classes": to_dict(model.config)["data"]["classes"] or test.num_classes,
        "guess_accuracy": float(frequencies.max()),
        "guess_cross_entropy": float(-sum(f * math.log(f) for f in frequencies if f)),
    }
    ledger.remove()
    return result


def calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    """The expected calibration error (Naeini et al. 2015; Guo et al., arXiv 1706.04599), of 15 equal bins.

        sum_b (n_b / n) |accuracy of bin b - mean confidence of bin b|

    Args:
        right: whether each example was recognized, `[N]`.
        confidence: the probability of the class that was chosen, `[N]`.
    """
    places = np.minimum((np.asarray(confidence, np.float64) * BINS).astype(int), BINS - 1)
    gaps = np.bincount(places, np.asarray(right, np.float64) - np.asarray(confidence, np.float64), BINS)
    return float(np.abs(gaps).sum() / len(places))


def noise_levels(model: Subject) -> Array:
    """Times equally far apart in the log SNR; of a model without a process the clean data alone, at time 0."""
    sde = _process(model)
    return jnp.zeros(1) if sde is None else times.log_snr(sde, STEPS)


def _process(model: Subject) -> LinearSDE | None:
    """The process that makes data noisy; None where there is none, or one that does not move."""
    sde = model.model.sde
    return None if sde is None or not sde.moves else assemble.gaussian(sde, "a classifier of noisy data")


def _ratios(model: Subject, levels: Array) -> list[float | None]:
    """The log SNR of each level, the mean over modes where each has its own; None for clean data."""
    sde = _process(model)
    return [None] if sde is None else np.asarray(sde.mean_log_snr(levels)).tolist()


def _classify(model: Subject, levels: Array) -> Callable[..., dict[str, Array]]:
    """The function of one batch: at each level, whether an example is classified correctly and what its class costs."""
    space, sde = model.space, _process(model)

    def fn(held: tuple, index: Array, examples: Array, labels: Array) -> dict[str, Array]:
        params, key = held
        logits = model.at(params).logits
        assert logits is not None  # `EVALUATION` asks for it
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x0 = space.to_model(keys.fold_in(each, 0), examples)

        def one(level: tuple[Array, Array]) -> dict[str, Array]:
            i, t = level
            t = jnp.broadcast_to(t, index.shape)
            noise = keys.normal(keys.fold_in(keys.fold_in(each, 1), i), x0.shape, x0.dtype)
            x = x0 if sde is None else sde.perturb(x0, t, noise)
            log_p = jax.nn.log_softmax(logits(x, t), axis=-1)
            nats = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
            confidence = jnp.exp(jnp.max(log_p, axis=-1))
            return {"right": jnp.argmax(log_p, axis=-1) == labels, "nats": nats, "confidence": confidence}

        return jax.tree.map(jnp.transpose, jax.lax.map(one, (jnp.arange(len(levels)), levels)))

    return fn


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    values = values.astype(np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: float(values.mean()), f"{name}_error": float(error)}


def _prepare(held: Held) -> Work:
    return lambda workdir: classification(held.subject, held.test, workdir)


def _lines(c: Result) -> list[str]:
    """A row for each noise level, from the prior to the data."""
    guess = f"  {'a guess':>8}{c['guess_accuracy']:12.2%}{'':10}{c['guess_cross_entropy']:13.4f} nats"
    return [
        f"  {'log SNR':>8}{'accuracy':>12}{'':10}{'cross entropy':>13}{'':10}{'calibration error':>18}",
        guess,
        *(
            f"  {_level(level['log_snr'])}{level['accuracy']:12.2%} +- {level['accuracy_error']:<6.2%}"
            f"{level['cross_entropy']:13.4f} +- {level['cross_entropy_error']:.4f}{level['calibration_error']:18.2%}"
            for level in c["levels"]
        ),
    ]


def _level(log_snr: float | None) -> str:
    return f"{'clean':>8}" if log_snr is None else f"{log_snr:8.2f}"


EVALUATION = Evaluation(
    "classification",
    ("logits",),
    lambda config: True,
    _prepare,
    _lines,
    without="eval.after_training=false",
    units={
        **dict.fromkeys(("accuracy", "accuracy_error", "guess_accuracy"), "share of the examples"),
        **dict.fromkeys(("cross_entropy", "cross_entropy_error", "guess_cross_entropy"), "nats"),
        "calibration_error": "share of the examples",
        "log_snr": "nats",
    },
    reads=("eval.seed", "eval.split", "eval.classifier_examples"),
)
