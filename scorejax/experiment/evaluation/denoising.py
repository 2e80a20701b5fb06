"""Denoising errors of examples held out, level by level of noise: the validation curve of a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from scorejax import data as data_lib
from scorejax import likelihood, pictures
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import places
from scorejax.experiment.evaluation.bits import labels_of
from scorejax.experiment.evaluation.compute import COMPILED, Compiled, report_progress
from scorejax.experiment.evaluation.density import volumes
from scorejax.experiment.evaluation.evaluation import Evaluation, Held, Result, Work
from scorejax.experiment.evaluation.subject import DENOISING, Subject, carried
from scorejax.experiment.recipe import Params, Recipe
from scorejax.experiment.trained import Trained
from scorejax.experiment.training.loop import VALIDATION_LOSS
from scorejax.numerics import keys
from scorejax.runtime import parallel
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.writers import read_log
from scorejax.sdes import SDE, LinearSDE

VALIDATED = 256  # examples of each split, in the middle of training
_MODES = 1024  # numbers of an example beyond which no covariance is fitted


class Denoising:
    """Denoising errors under a recipe, by a program that is compiled once for all weights.

    Args:
        subject: a model of the recipe, with untrained weights for instance.
        train: its training data.
        test: examples held out.
        count: examples of each; 0: all of `test`, and as many of `train`.
    """

    def __init__(self, subject: Subject, train: data_lib.Dataset, test: data_lib.Dataset, count: int) -> None:
        self._fn, chosen = _errors(subject), data_lib.spread(len(test), count)
        of_train = data_lib.spread(len(train), len(chosen))
        self.splits = [_chosen(subject, test, chosen), _chosen(subject, train, of_train)]
        x = in_model_space(subject, train, of_train)
        self.deviation = float(np.sqrt(np.mean(np.square(x - x.mean(axis=0)))))

    def levels(self, sde: LinearSDE) -> Array:
        """Return `log(sigma / alpha)` of the levels of the process."""
        return likelihood.denoising_levels(sde, deviation=self.deviation)

    def of(self, subject: Subject, *, silent: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the levels `[T]`, and the errors `[N, T]` of examples held out and of training examples."""
        levels = self.levels(_process(subject.model.sde))
        found = []
        for name, arrays in zip(("held-out examples", "training examples"), self.splits, strict=True):
            count, given = len(arrays[0]), (*carried(subject, DENOISING), levels)
            batch = min(subject.config.eval.batch, count)
            batches = subject.compute.batches(self._fn, given, arrays, stop=count, batch_size=batch, start=0)
            if not silent:
                batches = report_progress(batches, f"denoising of {name}", 0, count)
            found.append(np.concatenate([rows["error"] for _, _, rows in batches]).astype(np.float64))
        return np.asarray(levels, np.float64), found


def of_gaussian(subject: Subject, train: data_lib.Dataset, levels: np.ndarray) -> np.ndarray | None:
    """Return the errors of a Gaussian with the covariance of the data, `[T]`; None if it cannot be fitted.

    `mean lam r^2 / (lam + r^2)` over the eigenvalues `lam`: what the best linear denoiser reaches.
    """
    dimension = subject.form.dimension
    rows = data_lib.spread(len(train), 4 * _MODES)
    if dimension > _MODES or len(rows) < 2 * dimension:
        return None
    x = in_model_space(subject, train, rows)
    covariance = np.cov(x, rowvar=False, ddof=0).reshape(dimension, dimension)
    eigenvalues, r2 = np.maximum(np.linalg.eigvalsh(covariance), 0.0), np.exp(2.0 * levels)[:, None]
    return np.mean(eigenvalues * r2 / (eigenvalues + r2), axis=1)


def in_model_space(subject: Subject, split: data_lib.Dataset, rows: np.ndarray) -> np.ndarray:
    """Return examples where the model sees them, flattened, float64 `[N, D]`."""
    each = jax.random.split(jax.random.key(0), len(rows))
    return np.asarray(jax.jit(subject.space.to_model)(each, subject.sent(split, rows)), np.float64).reshape(
        len(rows), -1
    )


class Validation:
    """Measures averaged weights in the middle of training, and keeps the curve of it, `samples/validation.png`.

    Args:
        config: the run's.
        recipe: of the model.
        train: its training data.
        test: examples held out.
        workdir: folder of the run.
        compute: how the program is run.
    """

    def __init__(
        self,
        config: Config,
        recipe: Recipe,
        train: data_lib.Dataset,
        test: data_lib.Dataset,
        workdir: str | Path,
        compute: Compiled = COMPILED,
    ) -> None:
        self.config, self.recipe, self.held, self.workdir = config, recipe, (train, test), workdir
        self.compute = compute
        self._errors: Denoising | None = None
        self._curve: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, params: Params, step: int) -> Mapping[str, float]:
        """Return the mean error of the predicted noise, held out and of training examples, for the log.

        Raises:
            ConfigError: the model has no score over levels of noise.
        """
        subject = Subject(Trained(self.config, self.recipe, params, step), compute=self.compute)
        if not fits(subject):
            raise ConfigError(
                "train.validate_every measures a score over levels of noise, which this model does not have; set "
                "train.validate_every=0"
            )
        self._errors = self._errors or Denoising(subject, *self.held, VALIDATED)
        levels, errors = self._errors.of(subject, silent=True)
        held_out, training = (float(np.mean(each / np.exp(2.0 * levels))) for each in errors)
        found = {VALIDATION_LOSS: held_out, "validation_training_loss": training}
        before = read_log(self.workdir) if not self._curve else []  # of a run that goes on
        for name, key in (("held out", VALIDATION_LOSS), ("training", "validation_training_loss")):
            points = self._curve.setdefault(name, [(each["step"], each[key]) for each in before if key in each])
            points.append((step, found[key]))
        if parallel.is_main_process():
            labels = ("step", "mean squared error of the predicted noise")
            pictures.save_curves(Path(self.workdir) / "samples" / "validation.png", self._curve, labels=labels)
        return found


def measure(held: Held, workdir: str | Path) -> Result:
    """Denoising errors and what they amount to, and the picture of the levels."""
    model = held.subject
    errors = Denoising(model, held.train, held.test, held.config.eval.denoising)
    levels, (held_out, training) = errors.of(model)
    noise, count, dimension = np.exp(2.0 * levels), len(held_out), model.form.dimension
    gaussian = of_gaussian(model, held.train, levels)
    loss, training_loss = np.mean(held_out / noise, axis=1), np.mean(training / noise, axis=1)
    found = likelihood.DenoisingErrors(jnp.asarray(levels), jnp.asarray(held_out))
    nats = np.asarray(likelihood.density_of_errors(found), np.float64)
    bits = -nats / math.log(2.0) - volumes(model.space, errors.splits[0][0]) / (dimension * math.log(2.0))
    if parallel.is_main_process():
        curves = {"held out": held_out.mean(0) / noise, "training": training.mean(0) / noise}
        curves |= {} if gaussian is None else {"Gaussian of the data": gaussian / noise}
        where = Path(workdir) / "samples" / f"denoising-{model.step}{places.title(model.config, workdir)}.png"
        pictures.save_curves(
            where, {name: list(zip(np.exp(levels), curve, strict=True)) for name, curve in curves.items()},
            labels=("noise to signal, sigma / alpha", "mean squared error of the predicted noise"),
        )  # fmt: skip
    return {
        "noise_to_signal": np.exp(levels).tolist(),
        "held_out": held_out.mean(axis=0).tolist(),
        "held_out_error": _error(held_out).tolist(),
        "training": training.mean(axis=0).tolist(),
        "gaussian": None if gaussian is None else gaussian.tolist(),
        "loss": float(loss.mean()),
        "loss_error": float(_error(loss)),
        "training_loss": float(training_loss.mean()),
        "training_loss_error": float(_error(training_loss)),
        "gaussian_loss": None if gaussian is None else float(np.mean(gaussian / noise)),
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(_error(bits)),
        "examples": count,
        "of": len(held.test),
    }


def _error(values: np.ndarray) -> np.ndarray:
    """Standard errors of the means over the first axis; NaN of a single one."""
    return values.std(axis=0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def _chosen(subject: Subject, split: data_lib.Dataset, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Examples of a split, with their labels for a model that takes some."""
    arrays = (subject.sent(split, rows),)
    return (*arrays, labels_of(split)[rows]) if subject.model.conditional else arrays


def _errors(subject: Subject) -> Callable[..., dict[str, Array]]:
    """The function of one batch: errors of its examples, under keys by their numbers."""
    space = subject.space

    def fn(held: tuple, index: Array, examples: Array, labels: Array | None = None) -> dict[str, Array]:
        params, key, levels = held
        of = subject.at(params)
        sde = _process(of.sde)
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x = space.to_model(keys.fold_in(each, 0), examples)
        score = of.score_given(labels if of.conditional else None)
        return {"error": likelihood.denoising_errors(keys.fold_in(each, 1), sde, score, x, levels).error}

    return fn


def fits(subject: Subject) -> bool:
    """Whether a model has a score, along a process with one level of noise at a time."""
    sde = subject.model.sde
    return subject.model.offers("score") and isinstance(sde, LinearSDE) and sde.moves and not sde.by_modes


def _process(sde: SDE | None) -> LinearSDE:
    assert isinstance(sde, LinearSDE)  # of models that fit
    return sde


def _prepare(held: Held) -> Work:
    return lambda workdir: measure(held, workdir)


def _lines(found: Result) -> list[str]:
    """The loss next to those of training examples and of a Gaussian, and the density."""
    gaussian = "" if found["gaussian_loss"] is None else f", Gaussian of the data {found['gaussian_loss']:.4f}"
    training = f"training examples {found['training_loss']:.4f} +- {found['training_loss_error']:.2g}"
    return [
        f"  denoising loss      {found['loss']:.4f} +- {found['loss_error']:.2g} held out ({training}{gaussian})",
        f"    amounts to        {found['bits_per_dim']:.4f} +- {found['standard_error']:.2g} bits/dim, by "
        f"{len(found['noise_to_signal'])} levels of noise and {found['examples']} examples",
    ]


EVALUATION = Evaluation(
    "denoising",
    ("score",),
    lambda config: config.eval.denoising > 0,
    _prepare,
    _lines,
    without="eval.denoising=0",
    units={
        **dict.fromkeys(("bits_per_dim", "standard_error"), "bits/dim"),
        **dict.fromkeys(("held_out", "held_out_error", "training", "gaussian"), "squared units of model space"),
        **dict.fromkeys(
            ("loss", "loss_error", "training_loss", "training_loss_error", "gaussian_loss"), "variance of the noise"
        ),
    },
    reads=("eval.denoising", "eval.seed", "eval.split"),
    fits=fits,
)
