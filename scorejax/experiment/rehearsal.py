"""Everything that follows the training of a run, tried before its first step by an untrained network.

What is found: data that cannot be read or do not belong together, files and weights that are missing, metrics that do
not fit the features or the number of examples, pictures that cannot be drawn, folders that cannot be written, room that
is not there, and an evaluation that would measure nothing.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax import Array

from scorejax import data
from scorejax.experiment import assemble
from scorejax.experiment.assemble import network as networks
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import evaluate, trial
from scorejax.experiment.evaluation.compute import Traced
from scorejax.experiment.evaluation.evaluation import Held
from scorejax.experiment.recipe import Params, Recipe, make_recipe
from scorejax.experiment.trained import Trained
from scorejax.experiment.training.state import hardly_averaged
from scorejax.numerics import doors
from scorejax.runtime.errors import ConfigError, asked_by
from scorejax.runtime.writers import Writer

SMALL = 300  # numbers of a parameter that is worth initializing for a rehearsal
MIB = 2**20


def rehearse(config: Config, workdir: str | Path) -> None:
    """Refuse a training that would fail after its last step, or at a preview; nothing is left behind.

    Args:
        config: the run's, as `checks.check` lets it pass.
        workdir: its folder, which need not exist.

    Raises:
        ConfigError: something would fail; the message says which part of what follows, and which setting chooses it.
    """
    evaluate.check(config)
    logging.info("reading data %r", config.data.name)
    train = assemble.dataset(config, "train")
    test = None
    if config.eval.after_training:
        with asked_by("eval.split", config.eval.split):
            test = assemble.dataset(config, config.eval.split, like=train)
    logging.info("%s", data.describe(train, test))
    recipe = make_recipe(config, train)
    if train.missing and not recipe.takes_missing:
        raise ConfigError(f"recipe {config.recipe.name!r} does not take data with missing numbers; set recipe=score")
    if recipe.maps_scores and (network := getattr(recipe, "network", None)) is not None:
        networks.check_own(config, network, train.shape)
    published = recipe.load(config.init_from)[0] if config.init_from else None
    with trial.rehearsing("the network or the log", "change sections recipe and model") as folder:
        params = untrained(recipe) if published is None else published
        with Writer(folder, resume_step=0) as writer:
            writer.scalars(1, {"loss": 1.0})
    count, devices = sum(leaf.size for leaf in jax.tree.leaves(params)), jax.devices()
    of = f" of network {config.model.name!r}" if "model" in recipe.uses else ""
    on = f"{len(devices)} {devices[0].device_kind} device{'s' * (len(devices) > 1)}"
    logging.info("recipe %r: %s parameters%s, on %s", config.recipe.name, f"{count:,}", of, on)
    logging.info("results in %s/eval, pictures in %s/samples, log in %s/metrics.jsonl and tensorboard/", *[workdir] * 3)
    if note := hardly_averaged(config, config.train.steps):
        logging.warning("%s", note)
    check_folder(config, Path(workdir), train, params)
    began = time.perf_counter()
    logging.info("rehearsing what follows the training")
    trained = Trained(trial.shortened(config), recipe, params, 0)
    if config.train.preview_every:
        with trial.rehearsing("a preview", "train.preview_every=0 leaves previews out") as folder:
            evaluate.preview(trained.config, params, 0, folder, Traced())
    if config.train.validate_every:
        with trial.rehearsing("the loss of examples held out", "train.validate_every=0 leaves it out") as folder:
            evaluate.validation(trained.config, folder, Traced())(params, 0)
    if test is not None:
        held = Held(evaluate.steered(trained._replace(config=config)), train, test, Path(workdir))
        evaluate.refuse_nothing(held)
        evaluate.rehearse(held, "after the training, ")
    logging.info("what follows the training can be done (rehearsed in %.1f s)", time.perf_counter() - began)


def untrained(recipe: Recipe) -> Params:
    """Parameters to rehearse with, out of a hat: to initialize them would compile as long as the rehearsal may take.

    Of a process that is learned the small ones, which it is made of, are initialized: it has to be a process.
    """
    shapes, tree = jax.tree.flatten(recipe.shapes())
    hat = np.random.default_rng(0)
    leaves = [0.1 * hat.standard_normal(leaf.shape, np.float32).astype(leaf.dtype) for leaf in shapes]
    if _learns_its_process(recipe):
        small = [i for i, leaf in enumerate(shapes) if math.prod(leaf.shape) <= SMALL]

        def initialize(key: Array) -> list[Array]:
            initial = jax.tree.leaves(recipe.init(key))
            return [initial[i] for i in small]  # what the others need, XLA leaves out

        for i, leaf in zip(small, jax.jit(initialize)(jax.random.key(0)), strict=True):
            leaves[i] = np.asarray(leaf)
    return jax.tree.unflatten(tree, leaves)


def _learns_its_process(recipe: Recipe) -> bool:
    """Whether the parameters decide the forward process."""
    found: list[bool] = []

    def look(params: Params) -> None:
        found.append(not doors.known(recipe.model(params).sde))

    jax.eval_shape(look, recipe.shapes())
    return any(found)


def check_folder(config: Config, workdir: Path, train: data.Dataset, params: Params) -> None:
    """Refuse a folder that cannot be written, or that has no room for what will be written.

    Raises:
        ConfigError: it is.
    """
    for folder in (workdir, *(workdir / name for name in ("checkpoints", "samples", "eval", "tensorboard"))):
        there = _existing(folder)
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise ConfigError(
                f"{there} {'cannot be written' if there.is_dir() else 'is no folder'}; choose another --workdir"
            )
    c, weights = config.eval, sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    drawn = max(c.samples, c.grid) * math.prod(train.shape) * train.examples.dtype.itemsize if c.after_training else 0
    # Weights, their average and the two moments of Adam; one more than are kept while the newest is written.
    wanted = {"train.keep": 4 * weights * (config.train.keep + 1), "eval.samples": drawn}
    free = shutil.disk_usage(_existing(workdir)).free
    if sum(wanted.values()) > free:
        key = max(wanted, key=lambda name: wanted[name])
        raise ConfigError(
            f"the run would write {sum(wanted.values()) / MIB:,.0f} MiB to {workdir}, where {free / MIB:,.0f} MiB are "
            f"free, most of them for {key}: lower it, or choose another --workdir"
        )


def _existing(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
