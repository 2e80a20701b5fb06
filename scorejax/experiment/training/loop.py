"""The loop around optimizer steps: calls, logs, checkpoints, previews, and the signals that end it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from scorejax import data
from scorejax.experiment import assemble
from scorejax.experiment.config import Config
from scorejax.experiment.recipe import Metrics, Params
from scorejax.experiment.training.state import State, repeat
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import DivergedError
from scorejax.runtime.interruption import Interruption
from scorejax.runtime.progress import Progress
from scorejax.runtime.writers import Writer

Preview: TypeAlias = Callable[[Params, int], None]


class Finished(NamedTuple):
    """How training ended.

    Attributes:
        step: optimizer steps taken.
        interrupted: name of the signal that ended it early, or None.
    """

    step: int
    interrupted: str | None


def advance(
    config: Config,
    workdir: Path,
    checkpoints: checkpoint.Checkpoints,
    feeder: data.Resident | data.Streamed,
    update: Callable[..., tuple[State, Metrics]],
    state: State,
    step: int,
    *,
    convolutions: bool,
    carry_is_shared: bool,
    constants: tuple[Params, ...] = (),
    preview: Preview | None = None,
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
    count = assemble.steps_per_call(config, step, convolutions=convolutions)
    own = () if carry_is_shared else ("carry",)
    chunk = parallel.train_map(repeat(update, count), feeder.payload_axis, constants, own=own)
    with (
        Interruption() as interruption,
        Writer(workdir, resume_step=step, active=parallel.is_main_process()) as writer,
    ):
        try:
            run = Run(config, checkpoints, writer, step, own, preview)
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


class Run:
    """The work between compiled calls; it reads numbers one call late, so that the device never waits for the host."""

    def __init__(
        self,
        config: Config,
        checkpoints: checkpoint.Checkpoints,
        writer: Writer,
        step: int,
        own: tuple[str, ...] = (),
        preview: Preview | None = None,
    ) -> None:
        self.config, self.checkpoints, self.writer = config, checkpoints, writer
        self.own, self.draw = own, preview
        self.rate = assemble.learning_rate(config)
        self.progress = Progress(config.train.steps, start=step, images_per_step=config.train.batch)
        self.pending: tuple[int, Metrics] | None = None
        self.recent: list[dict[str, np.ndarray]] = []
        self.first = True

    def after_call(self, state: State, step: int, metrics: Metrics, stopping: bool) -> None:
        """Read the numbers of the call before; at its times save and preview."""
        self.flush()
        self.pending = (step, metrics)
        if self.first:
            self.flush()
            parallel.to_host(shared(state, self.own))  # do the devices agree?
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
        self.checkpoints.save(step, state, per_device=self.own)

    def preview(self, state: State, step: int) -> None:
        """Draw a page of samples from the averaged weights, if previews are asked for."""
        if self.config.train.preview_every and self.draw is not None:
            self.flush()
            self.draw(parallel.to_host(state.ema), step)

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


def shared(state: State, own: tuple[str, ...]) -> State:
    """The state without what each device has for itself."""
    return state._replace(**dict.fromkeys(own))
