"""The loop around optimizer steps, of a training and of what is trained beside its score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jax import Array, lax

from scorejax import data
from scorejax.experiment import assemble as build
from scorejax.experiment.config import Config
from scorejax.experiment.evaluation import evaluate
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import DivergedError
from scorejax.runtime.interruption import Interruption
from scorejax.runtime.progress import Progress
from scorejax.runtime.writers import Writer

INIT, EXAMPLES, TIMES, DROPOUT = range(4)  # streams of randomness, each folded into the run's key


class State(NamedTuple):
    """Everything training changes, arrays only; the same on every device.

    Attributes:
      step: optimizer steps taken, int32.
      params: parameters of the network, and of the process if that is learned.
      ema: their exponential moving average.
      opt_state: of the optimizer.
      key: the run's PRNG key; constant, all randomness is a function of it and of the step.
      memory: what the objective remembers; None if nothing.
    """

    step: Array
    params: Any
    ema: Any
    opt_state: Any
    key: Array
    memory: Any = None


class Finished(NamedTuple):
    """How training ended.

    Attributes:
      step: optimizer steps taken.
      interrupted: name of the signal that ended it early, or None.
    """

    step: int
    interrupted: str | None


def restore_or_init(
    checkpoints: checkpoint.Checkpoints,
    make_state: Callable[[Array], State],
    seed: int,
    start: Callable[[], Any] | None = None,
) -> tuple[State, int]:
    """The newest state there is, or a first one; on every device, with its step."""
    key = jax.random.key(seed)
    restored = checkpoints.restore(jax.eval_shape(make_state, key)._asdict())
    if restored is None:
        logging.info("initializing a new run")
        state = jax.jit(make_state)(key)
        if start is not None:
            params = start()
            state = state._replace(params=params, ema=jax.tree.map(np.copy, params))
        return parallel.replicate(state), 0
    logging.info("resuming from the checkpoint of step %d", restored.step)
    state = State(**restored.fields)
    return parallel.replicate(state._replace(key=jax.random.wrap_key_data(state.key))), restored.step


def feed(config: Config, examples: data.Dataset) -> Any:
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


def advance(
    config: Config,
    workdir: Path,
    checkpoints: checkpoint.Checkpoints,
    feeder: Any,
    update: Callable[..., tuple[State, dict[str, Array]]],
    state: State,
    step: int,
    constants: tuple[Any, ...] = (),
) -> Finished:
    """Take steps, from `step` to `config.train.steps` or until a signal; feeder and checkpoints are closed then.

    Args:
      config: the run's.
      workdir: its folder.
      checkpoints: of that folder.
      feeder: from `feed`.
      update: one step, `(state, payload, *constants) -> (state, metrics)`.
      state: at the start, on every device; its memory is reused.
      step: its step.
      constants: see `parallel.train_map`.
    """
    count = build.steps_per_call(config, step)
    chunk = parallel.train_map(repeat(update, count), feeder.payload_axis, constants)
    with (
        Interruption() as interruption,
        Writer(workdir, resume_step=step, active=parallel.is_main_process()) as writer,
    ):
        try:
            run = Run(config, workdir, checkpoints, writer, step)
            run.preview(state, step)  # before the first step, so that a broken sampler shows in the first minute
            while step < config.train.steps and not interruption.requested:
                state, metrics = chunk(state, feeder.payload(step, count))
                step += count
                run.after_call(state, step, metrics, stopping=bool(interruption.requested))
            run.finish(state, step)
        finally:
            feeder.close()
            checkpoints.close()
    return Finished(step, interruption.requested if step < config.train.steps else None)


def descend(
    config: Config, optimizer: optax.GradientTransformation, state: State, loss: Callable[[Any], Array]
) -> tuple[State, dict[str, Array], Array]:
    """The state after a step down the gradient of the mean of `loss(params) [b]` over all devices, metrics, losses."""

    def mean(params: Any) -> tuple[Array, Array]:
        losses = loss(params)
        return jnp.mean(losses), losses

    (value, losses), gradient = jax.value_and_grad(mean, has_aux=True)(state.params)
    # Inside the mapped step a gradient is the device's own: average it, once, before it is clipped.
    value, gradient = parallel.mean((value, gradient))
    metrics = {"loss": value, "grad_norm": jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))}
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = average(config, state.ema, params, state.step)
    return state._replace(step=state.step + 1, params=params, ema=ema, opt_state=opt_state), metrics, losses


def average(config: Config, ema: Any, params: Any, step: Array) -> Any:
    """`d ema + (1 - d) params`; with warm-up `d = min(decay, (1 + n) / (10 + n))`, for short runs."""
    decay = jnp.float32(config.ema.decay)
    if config.ema.warmup:
        decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), ema, params)


def repeat(update: Callable, count: int) -> Callable[..., tuple[State, dict[str, Array]]]:
    """`count` steps as one program; metrics are stacked, `[count]`."""
    if count == 1:  # not a loop of length one: XLA for CPU leaves convolutions in loops slow even then

        def once(state: State, payload: Any, *constants: Any) -> tuple[State, dict[str, Array]]:
            state, metrics = update(state, payload, *constants)
            return state, jax.tree.map(lambda m: m[None], metrics)

        return once
    return lambda state, *given: lax.scan(lambda s, _: update(s, *given), state, length=count)


class Run:
    """What happens between calls: numbers are read one call late, so that the device never waits for the host."""

    def __init__(
        self, config: Config, workdir: Path, checkpoints: checkpoint.Checkpoints, writer: Writer, step: int
    ) -> None:
        self.config, self.workdir, self.checkpoints, self.writer = config, workdir, checkpoints, writer
        self.rate = build.learning_rate(config)
        self.progress = Progress(config.train.steps, start=step, images_per_step=config.train.batch)
        self.pending: tuple[int, dict[str, Array]] | None = None
        self.recent: list[dict[str, np.ndarray]] = []
        self.first = True

    def after_call(self, state: State, step: int, metrics: dict[str, Array], stopping: bool) -> None:
        """Read the numbers of the call before; at its times save and preview."""
        self.flush()
        self.pending = (step, metrics)
        if self.first:
            self.flush()
            parallel.to_host(state)  # do the devices agree?
            self.first = False
        if step % self.config.train.checkpoint_every == 0 or stopping:
            self.save(state, step)
        if step % (self.config.train.preview_every or step + 1) == 0:
            self.preview(state, step)

    def flush(self) -> None:
        """Wait for the numbers of the last call, refuse infinite ones, log them when it is time."""
        if self.pending is None:
            return
        step, metrics = self.pending
        self.pending = None
        values = {name: np.asarray(value) for name, value in metrics.items()}
        self._check_finite(step, values)
        self.recent.append(values)
        if step % self.config.train.log_every == 0 or step >= self.config.train.steps:
            self._log(step)
        self.progress.update(step, {"loss": values["loss"].mean()})

    def save(self, state: State, step: int) -> None:
        """Save a state whose numbers are known to be finite."""
        self.flush()
        self.checkpoints.save(step, state)

    def preview(self, state: State, step: int) -> None:
        """Draw a page of samples from the averaged weights, if previews are asked for."""
        if self.config.train.preview_every:
            self.flush()
            evaluate.preview(self.config, parallel.to_host(state.ema), step, self.workdir)

    def finish(self, state: State, step: int) -> None:
        """Save the last state and wait until it is on the disk."""
        self.save(state, step)
        self.checkpoints.wait()

    def _log(self, step: int) -> None:
        means = {name: np.concatenate([values[name] for values in self.recent]).mean() for name in self.recent[0]}
        speed = self.progress.steps_per_second
        timing = {"steps_per_s": speed, "images_per_s": speed * self.config.train.batch} if speed else {}
        self.writer.scalars(step, {**means, "lr": self.rate(step - 1), **timing})
        self.recent = []

    def _check_finite(self, step: int, values: dict[str, np.ndarray]) -> None:
        bad = ~(np.isfinite(values["loss"]) & np.isfinite(values["grad_norm"]))
        if not bad.any():
            return
        first, count = step - len(bad) + int(np.argmax(bad)), len(bad)
        whole = self.checkpoints.steps()
        kept = f"the last good checkpoint is that of step {whole[-1]}" if whole else "no checkpoint was saved yet"
        raise DivergedError(
            f"loss or gradient is not finite at step {first} (call of steps {step - count}..{step - 1}): loss "
            f"{values['loss'][np.argmax(bad)]}, gradient norm {values['grad_norm'][np.argmax(bad)]}; {kept}; lower "
            "optim.lr, lengthen optim.warmup, or look at the data"
        )
