"""Checkpoints of the JAX score_sde: a msgpack file of nested dicts, read without the classes that wrote it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import flax.linen as nn
import numpy as np
from flax import serialization
from flax.traverse_util import flatten_dict

from scorejax.models import NCSNpp
from scorejax.models.pretrained.layout import KINDS, Entry, Naming, Params, Relayout, convert, shape_tree
from scorejax.models.pretrained.score_sde import entries
from scorejax.models.pretrained.score_sde_torch import check_weights
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import CheckpointError


def read_score_sde_flax(
    path: str | Path, module: nn.Module, image_size: int, weights: str = "ema", channels: int = 3
) -> tuple[Params, int]:
    """Parameters and step of a checkpoint of the JAX score_sde.

    What this relies on: the file is the msgpack of a state with the fields `step`, `optimizer` (`target` are the
    weights), `params_ema`, and others that are not read. In the trees of weights a module is called after its
    class and the number of modules of this class that its parent made before: `Conv_0`, `ResnetBlockBigGANpp_3`.
    The classes and the order in which they are made are those of score_sde_pytorch, except that modules without
    parameters are counted too. Layouts are those of flax, but the kernel of a filtered convolution is called
    `weight`, and the scale and bias of a group norm may have axes of length 1 in front.

    Args:
        path: of the file.
        module: the network, an `NCSNpp` or one of its descendants.
        image_size: pixels on a side of the images that it was trained on.
        weights: "ema" for the averages, "model" for the weights as they were trained.
        channels: of those images.

    Returns:
        parameters, float32 numpy arrays. Optimizer steps taken.

    Raises:
        CheckpointError: the file cannot be read, or is no checkpoint of score_sde.
        StateDictError: with every tensor that is missing, left over, or of another shape.
        TypeError: score_sde has no such network.
    """
    check_weights(weights)
    state = _restore(path)
    tree = state["params_ema"] if weights == "ema" else state["optimizer"]["target"]
    flat: dict[str, PyTree] = flatten_dict(tree, sep="/")
    names = list(flax_entries(module, image_size))
    shapes = shape_tree(module, (image_size, image_size, channels))
    return convert(flat, names, shapes, naming=FLAX), int(state["step"])


def _restore(path: str | Path) -> dict[str, PyTree]:
    try:
        state = serialization.msgpack_restore(Path(path).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # msgpack and numpy raise all kinds for damaged files
        raise CheckpointError(f"{path}: damaged file, or not msgpack: {type(error).__name__}: {error}") from error
    wanted = {"step", "params_ema", "optimizer"}
    if not (isinstance(state, dict) and wanted <= state.keys() and "target" in state["optimizer"]):
        keys = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: no checkpoint of score_sde ({', '.join(sorted(wanted))}); it holds {keys}")
    return state


# ---- names -----------------------------------------------------------------------------------------------------

# Kind -> class.
_CLASSES = {
    "conv": "Conv",
    "dense": "Dense",
    "group_norm": "GroupNorm",
    "fourier": "GaussianFourierProjection",
    "ddpm_block": "ResnetBlockDDPM",
    "ddpmpp_block": "ResnetBlockDDPMpp",
    "biggan_block": "ResnetBlockBigGANpp",
    "attention": "AttnBlock",
    "attentionpp": "AttnBlockpp",
    "combine": "Combine",
    **{f"{how}downsample": "Downsample" for how in ("", "fir_", "plain_")},
    **{f"{how}upsample": "Upsample" for how in ("", "fir_", "plain_")},
}


def flax_entries(module: nn.Module, image_size: int) -> Iterator[Entry]:
    """The modules of the network by their names in flax."""
    made: Counter[str] = Counter()
    for _, path, kind in entries(module, image_size):
        if kind not in _CLASSES:
            raise TypeError(f"checkpoints of score_sde in flax are read for NCSNpp, not for {type(module).__name__}")
        yield Entry(f"{_CLASSES[kind]}_{made[_CLASSES[kind]]}", path, kind)
        made[_CLASSES[kind]] += 1
        made.update(_without_parameters(module, path, kind))


def _without_parameters(module: nn.Module, path: str, kind: str) -> Iterable[str]:
    """Classes that are made right after a module and hold nothing: what resizes the images of a pyramid.

    One that shrinks the image belongs to each `combine`. One that doubles it belongs to each output of
    "output_skip" but the first; it is made before that convolution, in a place where nothing else of its class is.
    """
    if kind == "combine":
        return ("Downsample",)
    top = len(module.channel_multipliers) - 1 if isinstance(module, NCSNpp) else 0
    if kind == "conv" and re.fullmatch(r"up_\d+_output", path) and path != f"up_{top}_output":
        return ("Upsample",)
    return ()


# ---- layouts ---------------------------------------------------------------------------------------------------


def _same(value: np.ndarray) -> np.ndarray:
    return value


def _pixelwise(value: np.ndarray) -> np.ndarray:
    return value[0, 0] if value.shape[:2] == (1, 1) else value


def _vector(value: np.ndarray) -> np.ndarray:
    return value.reshape(-1) if value.shape[:-1] == (1,) * (value.ndim - 1) else value


_LAYERS: Mapping[str, tuple[tuple[str, str, Relayout], ...]] = {
    "conv": (("kernel", "kernel", _same), ("bias", "bias", _same)),
    "filtered_conv": (("weight", "kernel", _same), ("bias", "bias", _same)),
    "conv1x1": (("kernel", "kernel", _pixelwise), ("bias", "bias", _same)),
    "dense": (("kernel", "kernel", _same), ("bias", "bias", _same)),
    "nin": (("W", "kernel", _same), ("b", "bias", _same)),
    "group_norm": (("scale", "scale", _vector), ("bias", "bias", _vector)),
    "fourier": (("W", "W", _same),),
}
_FILTERED = (("Conv2d_0", "conv", "filtered_conv"),)
FLAX = Naming({**KINDS, "fir_downsample": _FILTERED, "fir_upsample": _FILTERED}, _LAYERS, separator="/")
