"""Checkpoints of score_sde_pytorch: the averaged weights come as a list, whose names have to be found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from scorejax.models.pretrained import torch_file
from scorejax.models.pretrained.layout import StateDictError
from scorejax.runtime.errors import CheckpointError

WEIGHTS = ("ema", "model")
# Last part of the names of buffers, which are in the state dict but are no parameters.
BUFFERS = ("sigmas", "running_mean", "running_var", "num_batches_tracked")


def read_score_sde_torch(path: str | Path, weights: str = "ema") -> tuple[dict[str, np.ndarray], int]:
    """Weights by name, and the step, of a checkpoint of score_sde_pytorch.

    The file holds `model`, a state dict; `ema`, whose `shadow_params` are the averages of the parameters that are
    trained, in their order; `step`; and the optimizer's state, which is not read.

    Args:
        path: of the file.
        weights: "ema" for the averages, "model" for the weights as they were trained.

    Returns:
        arrays by name, without a leading "module."; buffers and frozen parameters are those of `model` in either
        case. Optimizer steps taken.

    Raises:
        CheckpointError: the file cannot be read, or is no checkpoint of score_sde_pytorch.
        StateDictError: the averages do not fit the names; the message says which first.
    """
    return weights_by_name(torch_file.load(path), path, weights)


def weights_by_name(saved: object, path: str | Path, weights: str = "ema") -> tuple[dict[str, np.ndarray], int]:
    """Weights by name, and the step, from the content of a checkpoint that was read already."""
    check_weights(weights)
    if not is_checkpoint(saved):
        keys = ", ".join(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
        raise CheckpointError(f"{path}: no checkpoint of score_sde_pytorch (model, ema, step); it holds {keys}")
    model = {name.removeprefix("module."): np.asarray(value) for name, value in saved["model"].items()}
    if weights == "ema":
        model |= _named(saved["ema"]["shadow_params"], model, path)
    return model, int(saved["step"])


def is_checkpoint(saved: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the content of a file has the fields of a checkpoint of score_sde_pytorch."""
    return isinstance(saved, Mapping) and {"model", "ema", "step"} <= saved.keys()


def check_weights(weights: str) -> None:
    """Refuse a choice of weights that does not exist.

    Raises:
        ValueError: it does not.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {WEIGHTS}, got {weights!r}")


def _named(averages: Sequence[np.ndarray], model: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """The averages by name: a module's parameters come in the order of its state dict, where its buffers follow."""
    names = [name for name, value in model.items() if _is_trained(name, value)]
    for name, average in zip(names, averages, strict=False):
        if average.shape != model[name].shape:
            raise StateDictError(
                f"{path}: the averages do not follow the order of the model: {name} has shape {model[name].shape}, "
                f"but the average in its place {average.shape}"
            )
    if len(names) != len(averages):
        raise StateDictError(
            f"{path}: {len(averages)} averages, but {len(names)} trained parameters in the model; the first without "
            f"partner: {[*names, 'an average'][min(len(averages), len(names))]}"
        )
    return dict(zip(names, averages, strict=True))


def _is_trained(name: str, value: np.ndarray) -> bool:
    """Neither a buffer nor the frozen frequencies of Fourier features; the `W` of other layers is a matrix."""
    last = name.rpartition(".")[2]
    return last not in BUFFERS and not (last == "W" and value.ndim == 1)
