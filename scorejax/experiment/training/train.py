"""Training, from top to bottom: build, resume, then compiled chunks of optimizer steps until the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jax import Array

from scorejax import data
from scorejax.experiment import assemble, averages, checks
from scorejax.experiment import record as record_lib
from scorejax.experiment import workdir as workdir_lib
from scorejax.experiment.config import Config
from scorejax.experiment.recipe import Batch, Beside, Metrics, Params, Recipe, make_recipe
from scorejax.experiment.training.gradients import Loss, accumulated, measured
from scorejax.experiment.training.loop import Finished, Preview, Validate, advance
from scorejax.experiment.training.prior import warn_of_prior
from scorejax.experiment.training.state import DROPOUT, EXAMPLES, INIT, TIMES, State, checked, descend, first_powers
from scorejax.numerics import keys as keys_lib
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import ConfigError, DivergedError
from scorejax.runtime.progress import patience


def train(
    config: Config,
    workdir: str | Path,
    *,
    beside: Beside | None = None,
    preview: Preview | None = None,
    validate: Validate | None = None,
) -> Finished:
    """Train until `config.train.steps`, going on from the newest checkpoint in `workdir`.

    Args:
        config: the run's.
        workdir: folder of the run, made if need be.
        beside: the trained model next to which something is trained.
        preview: draws a page of samples, `(averaged weights, step)`, every `train.preview_every` steps.
        validate: measures the averaged weights, `(averaged weights, step) -> numbers`, every `train.validate_every`.

    Raises:
        ConfigError: something in the config does not exist or does not fit.
        CheckpointError: checkpoints cannot be read or written.
        DivergedError: the loss or its gradient is not finite.
    """
    # ---- Build everything, so that mistakes show before any work is done.
    checks.check(config, jax.device_count())
    workdir = Path(workdir)
    workdir_lib.check(workdir, config)
    record = None if beside else record_lib.of_run(workdir, config)
    recipe = make_recipe(config, beside=beside, record=record)
    counts = assemble.check_splits(config, recipe.given.examples)
    optimizer = recipe.optimizer(assemble.optimizer(config))

    # ---- Take over the workdir, and go on where a run before left off.
    jax.eval_shape(lambda key: init_state(recipe, optimizer, key), jax.random.key(0))
    with workdir_lib.writing(workdir):
        try:
            return _go_on(recipe, counts, optimizer, workdir, beside, preview, validate)
        except DivergedError as error:
            workdir_lib.note_divergence(workdir)
            section = recipe.section or "optim"
            raise DivergedError(
                f"{error}; lower {section}.lr, lengthen {section}.warmup, or look at the data: these settings may "
                "change when the run goes on from there"
            ) from error


def _go_on(
    recipe: Recipe,
    counts: Mapping[str, int | None],
    optimizer: optax.GradientTransformation,
    workdir: Path,
    beside: Beside | None,
    preview: Preview | None,
    validate: Validate | None,
) -> Finished:
    """Claim the folder, restore or make the first state, and take the steps that are left."""
    config, examples = recipe.config, recipe.given.examples
    workdir_lib.claim(workdir, config)
    if beside is None:
        if not checkpoint.steps(workdir):
            record_lib.write(workdir, dataclasses.replace(recipe.given.record, counts=counts))
        if recipe.draws and "sde" in recipe.uses:
            warn_of_prior(assemble.sde(config), recipe.given.space, examples)
    else:
        workdir_lib.claim_beside(workdir, beside.step, beside.params)
        logging.info("%s: training %s next to the model of step %d", workdir, config.recipe.name, beside.step)
    checkpoints = checkpoint.Checkpoints(workdir, keep=config.train.keep, keep_every=config.train.keep_every)
    state, step = restore_or_init(checkpoints, recipe, optimizer)
    averages.forget(workdir, step)

    # ---- Compiled chunks of steps (data, loss, gradient, update, average) until the end.
    feeder = feed(config, data.sent(examples, recipe.given.space))
    update = make_update(recipe, optimizer, feeder)
    frozen = () if beside is None else (beside.params,)
    return advance(
        config,
        workdir,
        checkpoints,
        feeder,
        update,
        state,
        step,
        convolutions=recipe.has_convolutions,
        carry_is_shared=recipe.carry_is_shared,
        constants=frozen,
        preview=preview,
        validate=validate,
        remark=recipe.remark,
    )


def init_state(recipe: Recipe, optimizer: optax.GradientTransformation, key: Array) -> State:
    """The state before the first step; the average starts as a copy of the parameters."""
    params = recipe.init(jax.random.fold_in(key, INIT))
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ConfigError(
                f"recipe {recipe.config.recipe.name!r}: parameter {jax.tree_util.keystr(path)} is {leaf.dtype}, and "
                "only floating numbers are trained; keep it in the carry"
            )
    carry = recipe.carry(jax.random.fold_in(key, INIT + CARRY))
    if carry is not None and recipe.config.train.accumulate > 1:
        raise ConfigError(
            f"train.accumulate = {recipe.config.train.accumulate}: this training remembers something from batch to "
            "batch (chains, or the history of losses of importance-sampled times), which pieces of a batch cannot: "
            "set train.accumulate=1, or another objective.time_sampling than importance"
        )
    average, powers = jax.tree.map(jnp.copy, params), first_powers(recipe.config, params)
    return State(jnp.int32(0), params, average, optimizer.init(params), key, carry, powers)


CARRY = 2**16  # apart from all other streams of the run's key


def restore_or_init(
    checkpoints: checkpoint.Checkpoints, recipe: Recipe, optimizer: optax.GradientTransformation
) -> tuple[State, int]:
    """Restore the newest state of the run, or make a first one, on every device; also return its step."""
    config, key = recipe.config, jax.random.key(recipe.config.seed)

    def make_state(key: Array) -> State:
        return init_state(recipe, optimizer, key)

    def own_carries() -> Params:
        # One carry for each device of all processes, from a key of its own.
        keys = jax.random.split(jax.random.fold_in(key, INIT + CARRY), jax.device_count())
        return jax.jit(jax.vmap(recipe.carry))(keys)

    target = jax.eval_shape(make_state, key)
    if not recipe.carry_is_shared:
        target = target._replace(carry=jax.eval_shape(own_carries))
    restored = checkpoints.restore(target._asdict(), per_device=() if recipe.carry_is_shared else ("carry",))
    if restored is None:
        logging.info("initializing a new run")
        with patience("compiling the initialization"):
            state, step = jax.jit(make_state)(key), 0
        if config.init_from:
            params, published = recipe.load(config.init_from)
            logging.info("starting from %s, of step %d", config.init_from, published)
            state = state._replace(params=params, ema=jax.tree.map(np.copy, params))
            state = state._replace(powers=first_powers(config, params))
        carry = state.carry if recipe.carry_is_shared else own_carries()
    else:
        logging.info("resuming from the checkpoint of step %d", restored.step)
        fields = {name: jax.tree.map(_typed, getattr(target, name), value) for name, value in restored.fields.items()}
        state, step = State(**{"carry": None, **fields}), restored.step
        carry = state.carry
    if not recipe.carry_is_shared:
        return parallel.replicate(state._replace(carry=None))._replace(carry=parallel.own(carry)), step
    return parallel.replicate(state), step


def _typed(wanted: jax.ShapeDtypeStruct, stored: np.ndarray) -> Array | np.ndarray:
    """What a checkpoint holds of a leaf, as a PRNG key where it was one."""
    is_key = jnp.issubdtype(wanted.dtype, jax.dtypes.prng_key)
    return jax.random.wrap_key_data(jnp.asarray(stored)) if is_key else stored


def feed(config: Config, examples: data.Dataset | data.Sent) -> data.Resident | data.Streamed:
    """The feeder of a run's batches, for all devices."""
    return data.feed(
        examples,
        config.train.batch,
        config.seed,
        parts=jax.device_count(),
        local=parallel.local_parts(),
        sharding=parallel.replicated(),
        budget_bytes=config.data.resident_mib * 2**20,
    )


def make_update(
    recipe: Recipe, optimizer: optax.GradientTransformation, feeder: data.Resident | data.Streamed
) -> Callable[..., tuple[State, dict[str, Array]]]:
    """One optimizer step on one device's part of the batch: `(state, payload, *frozen) -> (state, metrics)`.

    Each example's randomness depends on the key, the step and the example's place in the whole batch, so that any
    number of devices computes the same, and so does any number of pieces that the gradient is accumulated over.
    """
    config, space, parts = recipe.config, recipe.given.space, feeder.parts
    pieces = config.train.accumulate
    unroll = recipe.has_convolutions and jax.default_backend() == "cpu"  # where convolutions in loops are slow

    def update(state: State, payload: data.Payload, *frozen: Params) -> tuple[State, dict[str, Array]]:
        placed = recipe.placed(*frozen) if frozen else recipe
        part = parallel.part()
        stream = [jax.random.fold_in(state.key, name) for name in range(4)]
        raw, labels = feeder.draw(payload, state.step, part)
        own = data.example_keys(stream[EXAMPLES], state.step, config.train.batch, part=part, parts=parts)
        raw, x = data.prepare(keys_lib.fold_in(own, 0), raw, space, mirror=config.data.flip)

        def loss_of(number: Array, piece: tuple[Array, Array, Array | None, Array]) -> Loss:
            """The loss of a piece of the device's part, which is in all things a part of a finer division."""
            x, raw, labels, keys = piece
            batch = make_batch(x, raw, labels, state, stream, part * pieces + number, parts * pieces)

            def loss(params: Params) -> tuple[Array, Params | None, Metrics]:
                return checked(placed.loss(params, state.carry, batch, keys), state.carry, len(x))

            return loss

        whole = x, raw, labels, own
        if pieces == 1:
            found = measured(loss_of(jnp.int32(0), whole), state.params)
        else:
            found = accumulated(loss_of, state.params, whole, pieces, unroll=unroll)
        return descend(config, optimizer, state, found, placed.trusts)

    return update


def make_batch(
    x: Array, raw: Array, labels: Array | None, state: State, stream: list[Array], part: Array, parts: int
) -> Batch:
    """Make the batch that a recipe is given for one step."""
    device_key = jax.random.fold_in(jax.random.fold_in(stream[DROPOUT], state.step), part)
    whole_key = jax.random.fold_in(stream[TIMES], state.step)
    return Batch(x, raw, labels, state.step, device_key, whole_key, part, parts)
