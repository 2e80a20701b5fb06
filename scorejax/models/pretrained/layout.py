"""Where each tensor of a PyTorch state dict goes in a parameter tree of flax, and in which layout.

A network is a list of `Entry`: a module there, the one here, and its kind. A kind is a list of parts, a part is a
layer, and a layer is a list of tensors. The tree of our network decides which parts exist (a shortcut, a bias).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from scorejax.models.condition import no_condition
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import CheckpointError

Params: TypeAlias = dict[str, PyTree]
"""The parameters of a flax module by the name of its layers, nested."""


class Entry(NamedTuple):
    """One module of a reference network.

    Attributes:
        prefix: its name in the state dict, e.g. "all_modules.3".
        path: ours, in the parameter tree, joined by "/", e.g. "down_0_block_0".
        kind: key of `KINDS`, or of `LAYERS`.
    """

    prefix: str
    path: str
    kind: str


class StateDictError(CheckpointError, ValueError):
    """Tensors are missing, left over, or of another shape; the message names all of them."""


# Changes of layout. A tensor of another rank stays as it is, and is then found to have another shape.


def _same(value: np.ndarray) -> np.ndarray:
    return value


def _transposed(value: np.ndarray) -> np.ndarray:
    return value.T if value.ndim == 2 else value


def _conv(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _pixelwise(value: np.ndarray) -> np.ndarray:
    return value[:, :, 0, 0].T if value.shape[2:] == (1, 1) else value


Relayout = Callable[[np.ndarray], np.ndarray]

# Layer -> (tensor there, tensor here, change of layout).
LAYERS: dict[str, tuple[tuple[str, str, Relayout], ...]] = {
    "conv": (("weight", "kernel", _conv), ("bias", "bias", _same)),
    "conv1x1": (("weight", "kernel", _pixelwise), ("bias", "bias", _same)),  # to a dense layer over channels
    "dense": (("weight", "kernel", _transposed), ("bias", "bias", _same)),
    "nin": (("W", "kernel", _same), ("b", "bias", _same)),  # a dense layer over channels, kept as [in, out]
    "group_norm": (("weight", "scale", _same), ("bias", "bias", _same)),
    "fourier": (("W", "W", _same),),
    # InstanceNorm++: of the network, or of each noise level (columns gamma, alpha, beta).
    "instance_norm": (
        ("gamma", "gamma", _same),
        ("alpha", "alpha", _same),
        ("beta", "beta", _same),
        ("embed.weight", "embedding", _same),
    ),
}

_BLOCK = (
    ("GroupNorm_0", "norm_0", "group_norm"),
    ("Conv_0", "conv_0", "conv"),
    ("Dense_0", "embedding", "dense"),
    ("GroupNorm_1", "norm_1", "group_norm"),
    ("Conv_1", "conv_1", "conv"),
)
_ATTENTION = (
    ("GroupNorm_0", "norm", "group_norm"),
    ("NIN_0", "query", "nin"),
    ("NIN_1", "key", "nin"),
    ("NIN_2", "value", "nin"),
    ("NIN_3", "out", "nin"),
)

# Kind -> (part there, part here, layer). Each kind is one class of the reference.
KINDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "ddpm_block": (*_BLOCK, ("NIN_0", "shortcut", "nin")),  # ResnetBlockDDPM
    "ddpmpp_block": (*_BLOCK, ("NIN_0", "shortcut", "nin")),  # ResnetBlockDDPMpp
    "biggan_block": (*_BLOCK, ("Conv_2", "shortcut", "conv1x1")),  # ResnetBlockBigGANpp
    "attention": _ATTENTION,  # AttnBlock
    "attentionpp": _ATTENTION,  # AttnBlockpp
    "downsample": (("Conv_0", "conv", "conv"),),  # Downsample, with a convolution
    "upsample": (("Conv_0", "conv", "conv"),),
    "fir_downsample": (("Conv2d_0", "conv", "conv"),),  # Downsample, with a filter and a convolution
    "fir_upsample": (("Conv2d_0", "conv", "conv"),),
    "plain_downsample": (),  # Downsample, without parameters
    "plain_upsample": (),
    "combine": (("Conv_0", "", "conv1x1"),),  # Combine
}


class Naming(NamedTuple):
    """How a library names and lays out the tensors of a network.

    Attributes:
        kinds: kind -> (part there, part here, layer).
        layers: layer -> (tensor there, tensor here, change of layout).
        separator: what stands between the parts of a name.
    """

    kinds: Mapping[str, tuple[tuple[str, str, str], ...]]
    layers: Mapping[str, tuple[tuple[str, str, Relayout], ...]]
    separator: str = "."


SCORE_SDE_TORCH = Naming(KINDS, LAYERS)


def convert(
    state_dict: Mapping[str, ArrayLike],
    entries: Iterable[Entry],
    tree: Mapping[str, PyTree],
    derived: Iterable[str] = (),
    naming: Naming = SCORE_SDE_TORCH,
) -> Params:
    """Lay a state dict out as a parameter tree.

    Args:
        state_dict: arrays by name, without a leading "module.".
        entries: the network.
        tree: nested dict of what our network's parameters look like (arrays or shapes).
        derived: names in the state dict that hold no weights.
        naming: of the library that wrote it.

    Returns:
        parameters, float32 numpy arrays.

    Raises:
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    state = {name: np.asarray(value) for name, value in state_dict.items()}
    leaves: dict[str, PyTree] = flatten_dict(dict(tree), sep="/")
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    left = set(state) - set(derived)
    params, problems = {}, []
    for name, path, relayout in tensors(entries, naming):
        if path not in shapes:
            continue
        if name not in state:
            problems.append(f"missing: {name}, for {path} of shape {shapes[path]}")
        else:
            left.discard(name)
            value = np.array(relayout(state[name]), np.float32)
            if value.shape != shapes[path]:
                there = f"{name} is {state[name].shape}, which is {value.shape} here"
                problems.append(f"of another shape: {there}; {path} takes {shapes[path]}")
            params[path] = value
        del shapes[path]
    problems += [f"left over: {name} of shape {state[name].shape}" for name in sorted(left)]
    problems += [f"no tensor is meant for {path} of shape {shape}" for path, shape in shapes.items()]
    if problems:
        raise StateDictError(
            f"the state dict does not fit this network, in {len(problems)} places; check the configuration that it "
            "was trained with:\n  " + "\n  ".join(problems)
        )
    return unflatten_dict(params, sep="/")


def tensors(entries: Iterable[Entry], naming: Naming = SCORE_SDE_TORCH) -> Iterator[tuple[str, str, Relayout]]:
    """Name there, path here and change of layout of every tensor that the entries may have, in order."""
    for prefix, path, kind in entries:
        for part_there, part_here, layer in naming.kinds.get(kind, (("", "", kind),)):
            for there, here, relayout in naming.layers[layer]:
                name = _join(naming.separator, prefix, part_there, there)
                yield name, _join("/", path, part_here, here), relayout


def _join(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)


def shape_tree(module: nn.Module, image_shape: tuple[int, int, int]) -> PyTree:
    """Shapes of a network's parameters for images `[H, W, C]`, without computing any."""
    x = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    labels = jax.ShapeDtypeStruct((1,), np.float32)
    none = no_condition(module) if getattr(module, "role", None) == "scores" else None
    given = () if none is None else (jax.ShapeDtypeStruct(none.shape, none.dtype),)
    return jax.eval_shape(module.init, jax.random.key(0), x, labels, *given)["params"]
