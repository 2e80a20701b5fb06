"""Checkpoints: the only file that says orbax.

A checkpoint is plain: numpy arrays without a device axis, by field of the training state, so that any number of
devices reads it and one field (`ema`) can be read alone. Next to the arrays lie the version of this layout and a
checksum of every field, since a flipped bit inside an array would otherwise go unnoticed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from scorejax.numerics.trees import PyTree
from scorejax.runtime import parallel
from scorejax.runtime.errors import CheckpointError, advice, explained, reason
from scorejax.runtime.snapshot import Snapshot, checksum, present

SCHEMA = 1  # raise it when the meaning of a saved field changes
FOLDER = "checkpoints"
BROKEN = "checkpoints-broken"


class Restored(NamedTuple):
    """The content of a checkpoint that was read.

    Attributes:
        step: of the checkpoint.
        fields: numpy arrays by field of the state, in the structure of the target.
    """

    step: int
    fields: dict[str, PyTree]


class Checkpoints:
    """Writes the checkpoints of one run, in the background, and reads the newest that is whole."""

    def __init__(self, workdir: str | Path, *, keep: int = 3, keep_every: int = 0) -> None:
        """Open a run's folder for writing.

        Args:
            workdir: folder of the run.
            keep: how many of the newest checkpoints to keep.
            keep_every: keep one every so many steps for ever; 0: none.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        self._root = Path(workdir).absolute() / FOLDER
        self._writing: int | None = None  # step of the newest save
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every or None,
            cleanup_tmp_directories=True,  # left by a run that was killed while saving
            # Where a folder cannot be made, threads that wait for it would keep a program from ending for minutes.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self._root, options=self._options)
        except OSError as error:
            raise CheckpointError(f"cannot write checkpoints to {explained(error, self._root)}") from error

    def save(self, step: int, state: PyTree | Snapshot, *, per_device: tuple[str, ...] = ()) -> None:
        """Copy the state and write it in the background; does nothing if this step is saved already.

        Args:
            step: number of optimizer steps taken.
            state: a NamedTuple of replicated arrays, or the copy of one.
            per_device: the fields that differ between devices, each device having its own.

        Raises:
            CheckpointError: this or the save before it could not be written.
            RuntimeError: the devices hold different states.
        """
        if step in self.steps():
            return
        self.wait()  # orbax would; here a failure is known to be of the save before
        fields = (state if isinstance(state, Snapshot) else Snapshot.of(state, per_device)).fields
        record = {"schema": SCHEMA, "step": step, "checksums": {k: checksum(v) for k, v in fields.items()}}
        try:
            saved = self._manager.save(
                step, args=ocp.args.Composite(state=ocp.args.StandardSave(fields), record=ocp.args.JsonSave(record))
            )
        except Exception as error:
            raise self._failed(step, error) from error
        self._writing = step
        if not saved:
            raise CheckpointError(
                f"checkpoint of step {step} was not written to {self._root}: it is not newer than the newest there, "
                f"{self.steps()}"
            )

    def wait(self) -> None:
        """Return when every save has reached the disk.

        Raises:
            CheckpointError: one did not.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(self._writing, error) from error

    def restore(self, target: dict[str, PyTree], *, per_device: tuple[str, ...] = ()) -> Restored | None:
        """Read the newest whole checkpoint; None if there is none at all.

        Unreadable newer ones are moved to `checkpoints-broken/`, saying so: training writes those steps again.

        Args:
            target: shapes and types by field, as `jax.eval_shape` gives them.
            per_device: the fields that differ between devices, `[devices, ...]`.

        Raises:
            CheckpointError: there are checkpoints, but none can be read, or they hold something of each device, for
                another number of devices.
        """
        restored, broken = _newest(self._root, target, per_device=per_device)
        if broken and parallel.is_main_process():
            for step in broken:
                _set_aside(self._root, step)
        if broken:
            self._manager.reload()
        return restored

    def discard(self, step: int) -> None:
        """Move a checkpoint to `checkpoints-broken/`: its weights are not good."""
        self.wait()
        if parallel.is_main_process():
            _set_aside(self._root, step)
        self._manager.reload()

    def steps(self) -> list[int]:
        """Return the steps of all complete checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def close(self) -> None:
        """Stop the background threads; what is being written is finished first, errors are not raised again."""
        try:
            self._manager.close()
        except Exception as error:
            logging.error("checkpoint: %s", reason(error))

    def _failed(self, step: int | None, error: Exception) -> CheckpointError:
        whole = ", ".join(str(s) for s in steps(self._root.parent)) or "none"
        return CheckpointError(
            f"the checkpoint of step {step} could not be written to {self._root}{advice(error)}: {reason(error)}; "
            f"earlier checkpoints are intact: {whole}"
        )


def steps(workdir: str | Path) -> list[int]:
    """Return the steps of the complete checkpoints of a run, in order; this reads names only."""
    root = Path(workdir) / FOLDER
    # Digits of other scripts and superscripts are digits too, but no steps.
    names = [p.name for p in root.iterdir()] if root.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def restore_ema(workdir: str | Path, params: PyTree, step: int | None = None) -> Restored:
    """Read the averaged weights alone, without opening the run for writing.

    Args:
        workdir: folder of the run.
        params: shapes and types, as `jax.eval_shape` gives them.
        step: which checkpoint; the newest whole one if not given.

    Returns:
        the step, and `fields["ema"]` as numpy arrays.

    Raises:
        CheckpointError: no checkpoints, no such step, or none that can be read.
    """
    root = Path(workdir).absolute() / FOLDER
    there = steps(workdir)
    if not there:
        raise CheckpointError(
            f"no checkpoints in {root}: train first, without --mode, or give the --workdir of a trained run"
        )
    if step is not None and step not in there:
        raise CheckpointError(f"no checkpoint of step {step} in {root}; choose one of {', '.join(map(str, there))}")
    restored, _ = _newest(root, {"ema": params}, None if step is None else [step])
    assert restored is not None
    return restored


def _newest(
    root: Path, target: dict[str, PyTree], candidates: list[int] | None = None, per_device: tuple[str, ...] = ()
) -> tuple[Restored | None, list[int]]:
    """The newest checkpoint that can be read, and the steps of newer ones that cannot."""
    candidates = steps(root.parent) if candidates is None else candidates
    target = present(target)
    broken: list[int] = []
    reasons: list[str] = []
    for step in reversed(candidates):
        try:
            restored = Restored(step, _read(root / str(step), target, per_device))
        except CheckpointError:
            raise
        except Exception as error:  # orbax and tensorstore raise all kinds for damaged files
            broken.append(step)
            reasons.append(f"{step} ({reason(error)})")
            continue
        if broken:
            logging.warning("checkpoints %s cannot be read; falling back to %d", "; ".join(reasons), step)
        return restored, broken
    if broken:
        raise CheckpointError(
            f"no checkpoint in {root} can be read: {'; '.join(reasons)}; put one back from a copy, or train again "
            "in another --workdir"
        )
    return None, []


def _read(folder: Path, target: dict[str, PyTree], per_device: tuple[str, ...] = ()) -> dict[str, PyTree]:
    """The fields of one checkpoint, with its version, shapes and checksums verified."""
    record = _restore(folder / "record", ocp.JsonCheckpointHandler(), ocp.args.JsonRestore())
    if record["schema"] > SCHEMA:
        raise CheckpointError(
            f"{folder} has layout {record['schema']}, this version of scorejax reads up to {SCHEMA}: update scorejax"
        )
    if record["step"] != int(folder.name):
        raise ValueError(f"damaged: it holds step {record['step']}")
    shapes = jax.tree.map(_plain, target)
    arguments = ocp.args.PyTreeRestore(
        item=shapes,
        restore_args=jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype), shapes),
        partial_restore=True,
    )
    fields = _restore(folder / "state", ocp.PyTreeCheckpointHandler(), arguments)
    _check_devices(folder, fields, shapes, per_device)
    _check_shapes(folder, fields, shapes)
    different = [name for name, value in fields.items() if checksum(value) != record["checksums"][name]]
    if different:
        raise ValueError(f"damaged: the checksum of {', '.join(different)} is wrong")
    return fields


def _check_devices(
    folder: Path, fields: dict[str, PyTree], shapes: dict[str, PyTree], per_device: tuple[str, ...]
) -> None:
    """What each device had for itself cannot be shared out anew among another number of devices."""
    for name in per_device:
        got, wanted = jax.tree.leaves(fields[name])[0].shape[0], jax.tree.leaves(shapes[name])[0].shape[0]
        if got != wanted:
            raise CheckpointError(
                f"{folder} was saved by {got} devices, each with a {name} of its own, and cannot go on with {wanted}: "
                f"resume on {got} devices, or begin again in another --workdir"
            )


def _check_shapes(folder: Path, fields: dict[str, PyTree], shapes: dict[str, PyTree]) -> None:
    got, wanted = jax.tree.leaves_with_path(fields), jax.tree.leaves(shapes)
    for (path, leaf), shape in zip(got, wanted, strict=True):
        if leaf.shape != shape.shape:
            raise CheckpointError(
                f"{folder}: {jax.tree_util.keystr(path)} has shape {leaf.shape}, but this config makes it "
                f"{shape.shape}: use the config in the config.json of that run"
            )


def _restore(folder: Path, handler: ocp.CheckpointHandler, arguments: ocp.args.CheckpointArgs) -> PyTree:
    with ocp.Checkpointer(handler) as reader:
        return reader.restore(folder, args=arguments)


def _plain(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Shape and type of a leaf as it is stored: PRNG keys as their data."""
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _set_aside(root: Path, step: int) -> None:
    target = root.parent / BROKEN / str(step)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    os.replace(root / str(step), target)
