"""What a training leaves in `averages/`: weights of the least validation loss, and averages of any length.

A snapshot `STEP.npz` holds the averages by power functions of the lengths of `ema.lengths`, as float32. The average
that `--mode=ema` makes of them after the training is `length-LENGTH.npz`, which no longer needs the snapshots.
`best.npz` holds the averaged weights of the step whose denoising loss of examples held out was the least of the run.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging

from scorejax.experiment.config import Config
from scorejax.numerics import power_averages
from scorejax.numerics.trees import PyTree
from scorejax.runtime import parallel
from scorejax.runtime.errors import CheckpointError, ConfigError, os_errors, reason
from scorejax.runtime.files import replacing

FOLDER = "averages"
BEST = "best.npz"
_LENGTHS, _STEP, _LOSS = "lengths", "step", "loss"
_FAR = 0.1  # a misfit of windows that is worth a warning


def save(workdir: str | Path, step: int, lengths: Sequence[float], trees: Sequence[PyTree]) -> None:
    """Write the averages of these lengths after so many steps.

    Raises:
        RunError: the folder cannot be written.
    """
    if parallel.is_main_process():
        named = {f"{i}{path}": leaf for i, tree in enumerate(trees) for path, leaf in _leaves(tree)}
        _write(_folder(workdir) / f"{step}.npz", {_LENGTHS: np.asarray(lengths, np.float64), **named})


def forget(workdir: str | Path, step: int) -> None:
    """Delete snapshots of later steps than the one that a run goes on from."""
    if parallel.is_main_process():
        for later in [each for each in steps(workdir) if each > step]:
            (_folder(workdir) / f"{later}.npz").unlink()


def steps(workdir: str | Path) -> list[int]:
    """The steps of the snapshots of a run, in order."""
    names = [path.stem for path in _folder(workdir).glob("*.npz")]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def check(config: Config) -> None:
    """Refuse averaged weights that a run does not keep.

    Raises:
        ConfigError: it keeps none.
    """
    if config.eval.best and config.eval.average is not None:
        raise ConfigError(f"eval.best and eval.average = {config.eval.average} are two choices; set one of them")
    if config.eval.best and not config.train.validate_every:
        raise ConfigError(
            "eval.best takes the weights of the least validation loss: set train.validate_every, such as a twentieth "
            "of train.steps, or leave eval.best at false"
        )
    if config.eval.average is not None and not config.ema.lengths:
        raise ConfigError(
            f"eval.average = {config.eval.average} is made of snapshots, and this run keeps none: train with "
            "ema.lengths=0.05,0.10 and ema.snapshot_every, or leave eval.average at none"
        )


def write(config: Config, workdir: str | Path, shapes: PyTree) -> None:
    """Make the average of length `eval.average` and keep it, for every later evaluation with that setting.

    Args:
        config: the run's.
        workdir: its folder.
        shapes: shapes and types of the weights.

    Raises:
        ConfigError: no length is set.
        CheckpointError: no snapshots, or none that can be read.
    """
    length = config.eval.average
    if length is None:
        raise ConfigError(
            "--mode=ema makes an average of weights of a length that is chosen after the training: set one, such as "
            "--config.eval.average=0.1"
        )
    check(config)
    params, step = _combined(workdir, shapes, length)
    path = _kept(workdir, length)
    _write(path, {_STEP: np.asarray(step), **dict(_leaves(params))})
    logging.info(
        "%s: the average of relative length %g at step %d; --mode=eval and --mode=sample take it with "
        "--config.eval.average=%g", path, length, step, length,
    )  # fmt: skip


def read(workdir: str | Path, shapes: PyTree, length: float) -> tuple[PyTree, int]:
    """Return the average of this length and the step at which it ends: kept, or made of the snapshots.

    Raises:
        CheckpointError: neither is there, or cannot be read.
    """
    path, there = _kept(workdir, length), steps(workdir)
    if path.is_file():
        arrays = _arrays(path, [_STEP])
        if not there or int(arrays[_STEP]) == there[-1]:
            arrays = _arrays(path, [name for name, _ in _leaves(shapes)])
            return _tree(path, shapes, arrays), int(_arrays(path, [_STEP])[_STEP])
    return _combined(workdir, shapes, length)


def keep_best(workdir: str | Path, step: int, params: PyTree, loss: float) -> None:
    """Keep the averaged weights of a step if its validation loss is less than all before, also of an earlier start.

    Raises:
        RunError: the folder cannot be written.
    """
    path = _folder(workdir) / BEST
    if not parallel.is_main_process() or (path.is_file() and float(_arrays(path, [_LOSS])[_LOSS]) <= loss):
        return
    _write(path, {_STEP: np.asarray(step), _LOSS: np.asarray(loss, np.float64), **dict(_leaves(params))})


def read_best(workdir: str | Path, shapes: PyTree) -> tuple[PyTree, int]:
    """Return the averaged weights of the least validation loss, and their step.

    Raises:
        CheckpointError: there are none, or they cannot be read.
    """
    path = _folder(workdir) / BEST
    if not path.is_file():
        raise CheckpointError(
            f"no {path}: eval.best takes the weights of the least validation loss, which a training with "
            "train.validate_every keeps; train with it, or leave eval.best at false"
        )
    arrays = _arrays(path, [_STEP, *(name for name, _ in _leaves(shapes))])
    return _tree(path, shapes, arrays), int(arrays[_STEP])


def _combined(workdir: str | Path, shapes: PyTree, length: float) -> tuple[PyTree, int]:
    """The average of this length at the last snapshot, and its step."""
    there = steps(workdir)
    if not there:
        raise CheckpointError(
            f"no snapshots in {_folder(workdir)}: an average of another length is made of those that a training with "
            "ema.lengths and ema.snapshot_every leaves; leave eval.average at none, or train again"
        )
    lengths = [_arrays(_folder(workdir) / f"{step}.npz", [_LENGTHS])[_LENGTHS].tolist() for step in there]
    known = [value for each in lengths for value in each]
    times = [float(step) for step, each in zip(there, lengths, strict=True) for _ in each]
    factors = power_averages.combination(known, times, length)
    off = power_averages.misfit(known, times, factors, length, there[-1])
    say = logging.warning if off > _FAR else logging.info
    say(
        "an average of relative length %g of %d snapshots of lengths %s: its window is off by %.2g of its norm%s",
        length, len(there), ", ".join(f"{value:g}" for value in sorted({*known})), off,
        "; more snapshots, or a length between these, would come nearer" if off > _FAR else "",
    )  # fmt: skip
    names = [name for name, _ in _leaves(shapes)]
    sums = {name: np.zeros(leaf.shape, np.float64) for name, leaf in _leaves(shapes)}
    for name, factor, leaf in _terms(workdir, there, lengths, factors, names):
        if leaf.shape != sums[name].shape:
            raise _unfit(_folder(workdir), name, leaf.shape, sums[name].shape)
        sums[name] += factor * leaf
    return _tree(_folder(workdir), shapes, sums), there[-1]


def _terms(
    workdir: str | Path, there: Sequence[int], lengths: Sequence[Sequence[float]], factors: np.ndarray,
    names: Sequence[str],
) -> Iterator[tuple[str, float, np.ndarray]]:  # fmt: skip
    """Every array of every snapshot with its factor, one file in memory at a time."""
    left = iter(factors)
    for step, own in zip(there, lengths, strict=True):
        mine = [float(next(left)) for _ in own]
        arrays = _arrays(_folder(workdir) / f"{step}.npz", [f"{i}{name}" for i in range(len(own)) for name in names])
        for i, factor in enumerate(mine):
            for name in names:
                yield name, factor, arrays[f"{i}{name}"]


def _tree(path: Path, shapes: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    for name, leaf in _leaves(shapes):
        if arrays[name].shape != leaf.shape:
            raise _unfit(path, name, arrays[name].shape, leaf.shape)
    leaves = [arrays[name].astype(leaf.dtype) for name, leaf in _leaves(shapes)]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _unfit(path: Path, name: str, got: tuple[int, ...], wanted: tuple[int, ...]) -> CheckpointError:
    return CheckpointError(
        f"{path}: {name} has shape {got}, but this config makes it {wanted}: use the config in the config.json of "
        "that run"
    )


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a file by name."""
    with os_errors(path):
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in names}
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
            raise CheckpointError(
                f"{path} is damaged or of another network: {reason(error)}; delete it to do without"
            ) from error


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path) as partial:
        np.savez(partial, **arrays)  # pyright: ignore[reportArgumentType]


def _leaves(tree: PyTree) -> list[tuple[str, PyTree]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _folder(workdir: str | Path) -> Path:
    return Path(workdir) / FOLDER


def _kept(workdir: str | Path, length: float) -> Path:
    return _folder(workdir) / f"length-{length:g}.npz"
