"""The loop around optimizer steps: calls, logs, checkpoints, previews, and the signals that end it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from absl import logging

from scorejax import data
from scorejax.experiment import assemble, averages
from scorejax.experiment.config import Config
from scorejax.experiment.recipe import Metrics, Params
from scorejax.experiment.training.state import WENT_BACK, State, repeat
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import DivergedError
from scorejax.runtime.interruption import Interruption
from scorejax.runtime.progress import Progress, patience
from scorejax.runtime.writers import Writer

Preview: TypeAlias = Callable[[Params, int], None]
Validate: TypeAlias = Callable[[Params, int], Mapping[str, float]]
VALIDATION_LOSS = "validation_loss"
"""Of the numbers that `Validate` returns, the one whose least value says which weights are best."""
IN_VAIN = 50
"""Steps in a row that lead back to the averaged weights, after which there is no hope."""
Remark: TypeAlias = Callable[[Mapping[str, float]], str | None]


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
    validate: Validate | None = None,
    remark: Remark = lambda means: None,
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
        preview: draws a page of samples.
        validate: measures the averaged weights, for the log.
        remark: of the recipe, see `Recipe.remark`.
    """
    count = assemble.steps_per_call(config, step, convolutions=convolutions)
    own = () if carry_is_shared else ("carry",)
    chunk = parallel.train_map(repeat(update, count), feeder.payload_axis, constants, own=own)
    with (
        Interruption() as interruption,
        Writer(workdir, resume_step=step, active=parallel.is_main_process()) as writer,
    ):
        try:
            kind = feeder.data.examples
            examples = {4: "images", 2: "vectors"}.get(len(kind.shape), "examples")
            books = Bookkeeper(config, workdir, checkpoints, writer, step, own, preview, examples, remark, validate)
            books.preview(state, step)  # before the first step, so that a broken sampler shows in the first minute
            logging.info("compiling the step of training")
            while step < config.train.steps and not interruption.requested:
                with patience("compiling the step of training") if books.first else contextlib.nullcontext():
                    state, metrics = chunk(state, feeder.payload(step, count))
                    step += count
                    books.after_call(state, step, metrics, stopping=bool(interruption.requested))
            books.save(state, step)
            if books.held and not interruption.requested:
                # What the last step made is as good as its loss, which is the first of one more call.
                books.confirm(step, chunk(state, feeder.payload(step, count))[1])
            books.finish()
        finally:
            feeder.close()
            checkpoints.close()
    return Finished(step, interruption.requested if step < config.train.steps else None)


class Bookkeeper:
    """The work between compiled calls; it reads numbers one call late, so that the device never waits for the host.

    A state is copied when its checkpoint is due, and saved when the loss of the next step has confirmed it: a step may
    have ruined the parameters though its own loss was finite. Only a state that a signal cuts off is saved without.
    """

    def __init__(
        self,
        config: Config,
        workdir: Path,
        checkpoints: checkpoint.Checkpoints,
        writer: Writer,
        step: int,
        own: tuple[str, ...] = (),
        preview: Preview | None = None,
        examples: str = "images",
        remark: Remark = lambda means: None,
        validate: Validate | None = None,
    ) -> None:
        self.remark, self.measure = remark, validate
        self.config, self.workdir, self.checkpoints, self.writer = config, workdir, checkpoints, writer
        self.own, self.draw, self.examples = own, preview, examples
        self.began = step
        self.held: tuple[int, checkpoint.Snapshot] | None = None
        self.rate = assemble.learning_rate(config)
        self.progress = Progress(
            config.train.steps, start=step, what="step", examples_per_step=config.train.batch, examples=examples
        )
        self.pending: tuple[int, Metrics] | None = None
        self.recent: list[dict[str, np.ndarray]] = []
        self.first = True
        self.in_vain = 0

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
        if step % (self.config.ema.snapshot_every or step + 1) == 0:
            self.flush()
            averages.save(self.workdir, step, self.config.ema.lengths, parallel.to_host(state.powers))
        if step % (self.config.train.preview_every or step + 1) == 0:
            self.preview(state, step)
        if step % (self.config.train.validate_every or step + 1) == 0:
            self.validate(state, step)

    def flush(self) -> None:
        """Wait for the numbers of the last call, refuse infinite ones, log them when it is time."""
        if self.pending is None:
            return
        step, metrics = self.pending
        self.pending = None
        values = {name: np.asarray(value) for name, value in metrics.items()}
        self._check_finite(step, values)
        if self.held and self.held[0] < step:
            self._write()
        for back in values.get(WENT_BACK, ()):
            self.in_vain = self.in_vain + 1 if back else 0
        if self.in_vain >= IN_VAIN:
            why = self.remark({WENT_BACK: 1.0}) or "lower optim.lr"
            raise self._diverged(step, f"each of the last {self.in_vain} steps led back to the averaged weights: {why}")
        self.recent.append(values)
        if step % self.config.train.log_every == 0 or step >= self.config.train.steps:
            self._log(step)
        self.progress.update(step, {"loss": values["loss"].mean()})

    def save(self, state: State, step: int) -> None:
        """Copy a state whose numbers are finite, to be written when the next loss has confirmed it.

        Raises:
            DivergedError: they are not.
        """
        self.flush()
        if (self.held and self.held[0] == step) or step in self.checkpoints.steps():
            return
        snapshot = checkpoint.Snapshot.of(state, self.own)
        if not snapshot.is_finite("params", "ema"):
            raise self._diverged(step, f"the parameters are not finite after step {step - 1}")
        self.held = step, snapshot

    def preview(self, state: State, step: int) -> None:
        """Draw a page of samples from the averaged weights, if previews are asked for."""
        if self.config.train.preview_every and self.draw is not None:
            self.flush()
            self.draw(parallel.to_host(state.ema), step)

    def validate(self, state: State, step: int) -> None:
        """Measure the averaged weights, log the numbers and keep the best, if there is something to measure them by."""
        if self.measure is not None:
            self.flush()
            params = parallel.to_host(state.ema)
            found = self.measure(params, step)
            self.writer.scalars(step, found)
            averages.keep_best(self.workdir, step, params, found[VALIDATION_LOSS])

    def confirm(self, step: int, metrics: Metrics) -> None:
        """Refuse the last state if the first of these losses, which is its own, is not finite."""
        values = {name: np.asarray(value)[:1] for name, value in metrics.items()}
        self._check_finite(step + 1, values)

    def finish(self) -> None:
        """Write the last state and wait until it is on the disk."""
        self._write()
        self.checkpoints.wait()

    def _write(self) -> None:
        if self.held:
            self.checkpoints.save(*self.held)
            self.held = None

    def _log(self, step: int) -> None:
        every = {name: np.concatenate([values[name] for values in self.recent]) for name in self.recent[0]}
        followed = every.get(WENT_BACK, np.zeros(len(every["loss"]))) == 0
        means = {name: values[followed].mean() for name, values in every.items() if followed.any()}
        if WENT_BACK in every:
            means[WENT_BACK] = 1 - followed.mean()
        if said := self.remark({name: float(mean) for name, mean in means.items()}):
            logging.warning("step %d: %s", step, said)
        speed = self.progress.steps_per_second
        timing = {"steps_per_s": speed, f"{self.examples}_per_s": speed * self.config.train.batch} if speed else {}
        self.writer.scalars(step, {**means, "lr": self.rate(step - 1), **timing})
        self.recent = []

    def _check_finite(self, step: int, values: dict[str, np.ndarray]) -> None:
        bad = ~(np.isfinite(values["loss"]) & np.isfinite(values["grad_norm"]))
        bad &= values.get(WENT_BACK, np.zeros(len(bad))) == 0  # such a step was not followed
        if not bad.any():
            return
        at, count = int(np.argmax(bad)), len(bad)
        if self.held and self.held[0] < step - count + at:
            self._write()
        raise self._diverged(
            step - count + at,
            f"loss or gradient is not finite at step {step - count + at} (call of steps {step - count}..{step - 1}): "
            f"loss {values['loss'][at]}, gradient norm {values['grad_norm'][at]}",
        )

    def _diverged(self, step: int, what: str) -> DivergedError:
        """What happened, and which checkpoint is good."""
        self.checkpoints.wait()
        if step == self.began and step in self.checkpoints.steps():
            self.checkpoints.discard(step)  # saved at a signal, before its loss was known
        whole = self.checkpoints.steps()
        kept = f"the last good checkpoint is that of step {whole[-1]}" if whole else "no checkpoint was saved yet"
        return DivergedError(f"{what}; {kept}")


def shared(state: State, own: tuple[str, ...]) -> State:
    """The state without what each device has for itself."""
    return state._replace(**dict.fromkeys(own))
