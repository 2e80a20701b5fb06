"""Samples of a model: drawn in batches into a file that grows, and their pictures.

The file is `samples/step-N-DIGEST/x.npy`; no more than a batch of it is ever in memory. Sample `i` depends on its
number and on the settings in the digest (weights, sampler, seed, ...), not on how many there are. So what was cut off
goes on, 50,000 samples begin with the 10,000 that were drawn before, and samples of other settings lie in another
folder.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax import Array

from scorejax import data as data_lib
from scorejax import pictures, samplers
from scorejax.experiment import assemble
from scorejax.experiment.config import chosen
from scorejax.experiment.config.values import Values
from scorejax.experiment.evaluation import places, variances
from scorejax.experiment.evaluation.compute import Batches
from scorejax.experiment.evaluation.subject import (
    SAMPLES,
    TRAJECTORY,
    Subject,
    carried,
    fingerprint,
    settings,
)
from scorejax.numerics import keys
from scorejax.runtime.errors import ConfigError
from scorejax.runtime.files import replacing, write_json
from scorejax.runtime.ledger import Ledger
from scorejax.sdes import LinearSDE

FRAMES = 10  # columns of the trajectory picture
TO_LEVELS = "the gray level whose bin a value lies in"


class Samples(NamedTuple):
    """Samples on a disk.

    Attributes:
        x: gray levels uint8 `[N, H, W, C]`, or numbers of any kind in the user's units; mapped from the file.
        nfe: network evaluations for each.
        folder: where they are.
        lost: how many are not finite.
    """

    x: np.ndarray
    nfe: int
    folder: Path
    lost: int = 0


def draw(model: Subject, workdir: str | Path) -> Samples:
    """Draw the `max(eval.samples, eval.grid)` samples, or those of them that are not on the disk yet."""
    fn, held = batch_function(model)
    ledger = _ledger(model, workdir, held)
    done = min(ledger.done, ledger.rows)
    batch = min(model.config.eval.batch, ledger.rows)
    batches = model.compute.rows("samples", fn, held, stop=ledger.rows, batch_size=batch, start=done)
    rows = ledger.fill(in_units(model.space, batches))
    lost = int(np.sum(~rows["finite"])) if "finite" in rows else 0  # samples of an older version do not say it
    if lost:
        logging.warning(
            "%d of %d samples are not finite, because the sampler diverged: lower sampler.stepper.step_size if there "
            "is one, or take more sampler.steps",
            lost,
            ledger.rows,
        )
    return Samples(rows["x"], int(rows["nfe"].max()), ledger.folder, lost)


def in_units(space: data_lib.Space, batches: Batches) -> Batches:
    """Batches of samples, brought to the user's units on the host."""
    for first, end, rows in batches:
        yield first, end, rows | {"x": space.decode(rows["x"])}


def drawn(model: Subject, workdir: str | Path) -> np.ndarray:
    """The samples that `draw` has left on the disk."""
    _, held = batch_function(model)
    return _ledger(model, workdir, held).fill(())["x"]


def _ledger(model: Subject, workdir: str | Path, held: tuple) -> Ledger:
    """The place of the samples, named by all that they depend on."""
    c = model.config.eval
    sampler = None if by_itself(model) else chosen(model.config, "sampler")
    depends = {**settings(model), "sampler": sampler, "seed": c.seed, **variances.about(model.fitted)}
    if model.config.guidance.name != "none":
        depends["guidance"] = {**chosen(model.config, "guidance"), "held": fingerprint(held[2])}
    if c.condition:
        depends["condition"] = {"given": list(c.condition), "held": fingerprint(model.classes.labels)}
    ledger = Ledger(Path(workdir) / "samples", f"step-{model.step}", max(c.samples, c.grid, 1), depends)
    gray_levels = model.form.gray_levels
    about = {**depends, "to_levels": TO_LEVELS if gray_levels else None, "gray_levels": gray_levels}
    write_json(ledger.folder / "about.json", about)
    return ledger


def by_itself(model: Subject) -> bool:
    """Whether a model draws samples in its own way; one with a process too does unless section `sampler` is set."""
    if model.model.sample is None or model.model.sde is None:
        return model.model.sample is not None
    return assemble.at_defaults(model.config)


def batch_function(model: Subject) -> tuple[Callable[[tuple, Array], dict[str, Array]], tuple]:
    """Return the function that draws the samples with given numbers, and the arguments that it carries."""
    if by_itself(model):
        return _by_itself(model)
    space, shape = model.space, model.form.shape
    arguments, process = assemble.sampler(model.config, model.process, model.fitted, space.interval), model.process

    def fn(held: tuple, index: Array) -> dict[str, Array]:
        params, key, classes, head = held
        of, labels = model.at(params), classes.wanted(index)
        score, along = classes.score(of, process, labels), of.degradation or process
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        stepper = variances.of_stepper(arguments["stepper"], head, of, labels)
        own = {**arguments, "stepper": stepper}
        x, nfe = samplers.sample(each, along, score, (*index.shape, *shape), **own)
        return {"x": space.to_host(x), "nfe": jnp.broadcast_to(nfe, index.shape), "finite": _finite(x)}

    return fn, (*carried(model, SAMPLES), model.classes, model.fitted.head)


def _by_itself(model: Subject) -> tuple[Callable[[tuple, Array], dict[str, Array]], tuple]:
    """The same for a model that draws samples in its own way."""
    space, shape = model.space, model.form.shape

    def fn(held: tuple, index: Array) -> dict[str, Array]:
        params, key, *_ = held
        of = model.at(params)
        assert of.sample is not None  # `batch_function` asks for it
        each = keys.fold_in(jnp.broadcast_to(key, index.shape), index)
        x = of.sample(each, (*index.shape, *shape))
        return {"x": space.to_host(x), "nfe": jnp.full(index.shape, of.sample_nfe), "finite": _finite(x)}

    return fn, (*carried(model, SAMPLES), model.classes, None)


def _finite(x: Array) -> Array:
    return jnp.all(jnp.isfinite(x.reshape(len(x), -1)), axis=1)


def save_pictures(model: Subject, workdir: str | Path, x: np.ndarray) -> Path:
    """Draw the page of samples, and of images the way they came; return the page's path."""
    folder = Path(workdir) / "samples"
    name, gray_levels = f"{model.step}{places.title(model.config, workdir)}", model.form.gray_levels
    labels = model.classes.labels
    columns = len(labels) if labels is not None and labels.ndim == 1 else None
    gray_levels = gray_levels if model.form.pictured else None
    shown = x[: model.config.eval.grid] if gray_levels else x
    where = save_page(folder / f"step-{name}.png", model, shown, columns)
    if gray_levels and not by_itself(model):
        frames = _trajectory(model, rows=min(4, model.config.eval.grid))
        with _signed(folder / f"trajectory-{name}.png", _settings(model)) as path:
            pictures.save_trajectory(path, data_lib.to_bytes(frames, gray_levels))
    return where


def save_page(where: Path, model: Subject, x: np.ndarray, columns: int | None = None) -> Path:
    """A grid of images, such as with a column for each class; of all else a picture next to data, by its kind.

    Returns the page's path, which has another name if a page of other settings lies at `where`.
    """
    own = _settings(model)
    with _signed(where, own) as path:
        if model.form.gray_levels and model.form.pictured:
            pictures.save_grid(path, data_lib.to_bytes(x, model.form.gray_levels), columns)
        else:
            pictures.save_examples(path, _data_next_to(model, x), x)
    return places.page(where, own)


def _data_next_to(model: Subject, x: np.ndarray) -> np.ndarray:
    """As many examples as samples; the samples themselves where the data are not there any more."""
    try:
        found = model.trained.recipe.given.examples
        found = data_lib.complete(found) if found.missing else found
        return found.examples[np.arange(min(len(x), len(found)))]
    except (ConfigError, ValueError) as error:
        logging.warning("samples are drawn without data next to them: %s", error)
        return x


def _settings(model: Subject) -> Values:
    """The settings that a page depends on: those of its samples, and how many are shown."""
    shown = ("eval.grid",) if model.form.pictured else ("eval.grid", "eval.samples")
    return places.settings(model.config, (*places.DRAWN, *shown))


@contextlib.contextmanager
def _signed(where: Path, own: Values) -> Iterator[Path]:
    """A path to draw to: in a place of its own, and with the settings in the file."""
    with replacing(places.page(where, own)) as path:
        yield path
        pictures.sign(path, json.dumps(own))


def _trajectory(model: Subject, rows: int) -> np.ndarray:
    """A few samples on their way, as gray levels `[FRAMES, 2 rows, ...]`: each `x_t` with `E[x_0 | x_t]` below it.

    Where a process has no formula for that mean, there are half as many rows.
    """
    of, sde, shape = model.model, model.process, model.form.shape
    arguments: dict[str, Any] = dict(assemble.sampler(model.config, sde, model.fitted, model.space.interval))
    arguments.pop("denoise")
    key = jax.random.fold_in(jax.random.key(model.config.eval.seed), TRAJECTORY)
    labels = model.classes.wanted(jnp.arange(rows))
    score = model.classes.score(of, sde, labels)
    arguments["stepper"] = variances.of_stepper(arguments["stepper"], model.fitted.head, of, labels)
    path = model.compute.once(lambda key: samplers.trajectory(key, sde, score, (rows, *shape), **arguments), key)
    # equally spaced in log SNR, where the picture changes, and the last one always; without one in steps
    ratios = np.arange(len(path.t))
    if isinstance(sde, LinearSDE) and sde.moves:
        ratios = np.asarray(model.compute.once(jax.vmap(sde.mean_log_snr), path.t))
    shown = np.searchsorted(ratios, np.linspace(ratios[0], ratios[-1], FRAMES)).clip(0, len(ratios) - 1)
    rows_of = [states[shown] for states in (path.x, path.denoised) if states is not None]
    pairs = np.stack(rows_of, axis=2).reshape(len(shown), len(rows_of) * rows, *shape)
    return model.space.decode(np.asarray(model.compute.once(lambda x: model.space.to_host(x), pairs)))
