"""Files of guided diffusion (ADM and its classifier): state dicts of torch, whose shapes say what network they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import numpy as np

from scorejax.models import ADM, ADMClassifier
from scorejax.models.adm_layers import Levels, Order, places_down, places_up
from scorejax.models.pretrained import safetensors_file, torch_file
from scorejax.models.pretrained.layout import LAYERS, Entry, Naming, Params, convert, shape_tree
from scorejax.runtime.errors import CheckpointError

NETWORKS = (ADM, ADMClassifier)


class Released(NamedTuple):
    """What the shapes of a published file do not say.

    Attributes:
        heads: of attention; 0: one for each 64 channels.
        order: of the rows of attention's projection.
        schedule: of the chain of 1,000 levels.
        given_channels: of the input, which are not predicted.
    """

    heads: int = 0
    order: Order = "legacy"
    schedule: str = "linear"
    given_channels: int = 0


RELEASED = {
    295_904_454: Released(order="new", schedule="cosine"),  # ImageNet 64, by class
    421_529_606: Released(heads=4),  # ImageNet 128, by class
    553_838_086: Released(),  # ImageNet 256, by class
    552_814_086: Released(),  # ImageNet 256 and LSUN
    558_997_638: Released(),  # ImageNet 512, by class
    311_795_910: Released(heads=4, given_channels=3),  # 64 to 256
    93_563_910: Released(),  # FFHQ 256, of others
}
"""The published networks by their number of parameters."""


def read(path: Path, module: nn.Module, image_size: int, channels: int) -> Params:
    """Parameters of ADM or of its classifier, from a state dict written by torch.save or as safetensors.

    Args:
        path: of the file.
        module: the network.
        image_size: pixels on a side of the images.
        channels: of the images.

    Raises:
        CheckpointError: it cannot be read, or holds something else.
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    state = state_dict(path)
    tree = shape_tree(module, (image_size, image_size, channels))
    return convert(state, list(entries(module)), tree, naming=GUIDED)


def state_dict(path: Path) -> Mapping[str, np.ndarray]:
    """The tensors of a file by name.

    Raises:
        CheckpointError: it cannot be read, or is no state dict of guided diffusion.
    """
    try:
        read = safetensors_file.load if safetensors_file.is_safetensors_file(path) else torch_file.load
        state = read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not is_state_dict(state):
        found = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        raise CheckpointError(
            f"{path}: no state dict of guided diffusion, which has time_embed, input_blocks and middle_block; it "
            f"holds {found}"
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def is_state_dict(state: object) -> bool:
    """Whether a file holds what guided diffusion saves."""
    if not isinstance(state, Mapping):
        return False
    names = {str(name).removeprefix("module.") for name in state}
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight"} <= names


# ---- what the shapes say -------------------------------------------------------------------------------------------


class Described(NamedTuple):
    """A network as a file describes it.

    Attributes:
        name: of the network, as in `models.NETWORKS`.
        fields: of the network.
        num_classes: of a conditional network, or None.
        unsaid: fields that the file does not say.
        schedule: of the chain of 1,000 levels that it was trained for, or None: not said.
    """

    name: str
    fields: dict[str, object]
    num_classes: int | None
    unsaid: tuple[str, ...]
    schedule: str | None


def describe(state: Mapping[str, np.ndarray]) -> Described:
    """The network of a state dict, as far as shapes say it and the table of published ones knows it.

    Raises:
        CheckpointError: it has layers that no network of ours computes.
    """
    if any(re.fullmatch(r"input_blocks\.\d+\.0\.op\.(weight|bias)", name) for name in state):
        raise CheckpointError(
            "its sizes change by layers of their own, not by residual blocks (resblock_updown): no network of ours "
            "computes that"
        )
    features = state["time_embed.0.weight"].shape[1]
    widths = [state["input_blocks.0.0.weight"].shape[0]]
    while (name := f"input_blocks.{len(widths)}.0.in_layers.2.weight") in state:
        widths.append(state[name].shape[0])
    first = state["middle_block.0.emb_layers.1.weight"].shape[0]
    if first != 2 * state["middle_block.0.in_layers.2.weight"].shape[0]:
        raise CheckpointError("its blocks are shifted and not scaled by the noise: no network of ours computes that")
    blocks = _blocks_per_level(state, len(widths) - 1)
    starts = range(1, len(widths), blocks + 1)
    attention = [i for i, start in enumerate(starts) if f"input_blocks.{start}.1.qkv.weight" in state]
    classifies = "out.2.positional_embedding" in state
    released = RELEASED.get(sum(math.prod(value.shape) for value in state.values()))
    fields: dict[str, object] = {
        "features": features,
        "channel_multipliers": tuple(_plain(widths[start] / features) for start in starts),
        "blocks_per_level": blocks,
        "attention_levels": tuple(attention),
        "dropout": 0.0,
    }
    if classifies:
        return Described("adm_classifier", fields, None, ("head_channels", "qkv_order"), None)
    given = released.given_channels if released else 0
    predicted = state["input_blocks.0.0.weight"].shape[1] - given
    put_out = state["out.2.weight"].shape[0]
    if put_out not in (predicted, 2 * predicted):
        raise CheckpointError(f"it makes {put_out} channels of {predicted}: neither as many nor twice as many")
    fields |= {"learned_range": put_out == 2 * predicted, "given_channels": given}
    if released:
        fields |= {"heads": released.heads, "qkv_order": released.order}
    classes = state["label_emb.weight"].shape[0] if "label_emb.weight" in state else None
    unsaid = () if released else ("heads or model.head_channels", "qkv_order")
    return Described("adm", fields, classes, unsaid, released.schedule if released else None)


def _blocks_per_level(state: Mapping[str, np.ndarray], total: int) -> int:
    """Residual blocks of a level, from where the way up first doubles; all of them if it never does.

    Of a classifier, which has no way up, from where attention or the width first changes.
    """
    doubles = [
        int(found[1])
        for name in state
        if (found := re.fullmatch(r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight", name))
    ]
    if doubles:
        return min(doubles)
    if "out.2.positional_embedding" not in state:
        return total
    # the last level has no block that halves: `levels (blocks + 1) - 1` in all, of which `levels - 1` halve; those have
    # no attention where their level has it, and never change the width
    for blocks in range(1, total + 1):
        levels, rest = divmod(total + 1, blocks + 1)
        if not rest and all(_halves(state, i * (blocks + 1)) for i in range(1, levels)):
            starts = [1 + i * (blocks + 1) for i in range(levels)]
            if all(_alike(state, range(start, start + blocks)) for start in starts):
                return blocks
    raise CheckpointError("the blocks of its way down make no levels of equal length")


def _halves(state: Mapping[str, np.ndarray], index: int) -> bool:
    """Whether a block may be one that halves: it keeps the width, and no attention follows it."""
    return not {f"input_blocks.{index}.{part}.weight" for part in ("0.skip_connection", "1.qkv")} & state.keys()


def _alike(state: Mapping[str, np.ndarray], places: range) -> bool:
    """Whether these blocks have one width, and attention all or none."""
    widths = {state[f"input_blocks.{i}.0.in_layers.2.weight"].shape[0] for i in places}
    return len(widths) == 1 == len({f"input_blocks.{i}.1.qkv.weight" in state for i in places})


def _plain(ratio: float) -> float:
    return int(ratio) if ratio == int(ratio) else ratio


# ---- names ---------------------------------------------------------------------------------------------------------

_KINDS = {
    "block": (
        ("in_layers.0", "norm_0", "group_norm"),
        ("in_layers.2", "conv_0", "conv"),
        ("emb_layers.1", "embedding", "dense"),
        ("out_layers.0", "norm_1", "group_norm"),
        ("out_layers.3", "conv_1", "conv"),
        ("skip_connection", "shortcut", "conv1x1"),
    ),
    "attention": (("norm", "norm", "group_norm"), ("qkv", "qkv", "site"), ("proj_out", "out", "site")),
    "pool": (("", "", "positions"), ("qkv_proj", "qkv", "site"), ("c_proj", "out", "site")),
}


def _site(value: np.ndarray) -> np.ndarray:
    """A convolution of one site `[out, in, 1]` or `[out, in, 1, 1]` as a dense layer."""
    return value.reshape(value.shape[:2]).T if math.prod(value.shape[2:]) == 1 else value


GUIDED = Naming(
    _KINDS,
    {
        **LAYERS,
        "site": (("weight", "kernel", _site), ("bias", "bias", lambda value: value)),
        "table": (("weight", "kernel", lambda value: value),),
        "positions": (("positional_embedding", "positions", lambda value: value.T),),
    },
)


def entries(module: nn.Module) -> Iterator[Entry]:
    """The layers of the network of guided diffusion that `module` is.

    Raises:
        TypeError: guided diffusion has no such network.
    """
    if not isinstance(module, NETWORKS):
        raise TypeError(f"guided diffusion has no network like {type(module).__name__}; choose ADM or ADMClassifier")
    yield from (Entry("time_embed.0", "noise_0", "dense"), Entry("time_embed.2", "noise_1", "dense"))
    yield Entry("label_emb", "classes", "table")
    yield from _down(module)
    yield from (Entry("middle_block.0", "mid_block_0", "block"), Entry("middle_block.1", "mid_attention", "attention"))
    yield from (Entry("middle_block.2", "mid_block_1", "block"), Entry("out.0", "norm_out", "group_norm"))
    if isinstance(module, ADMClassifier):
        yield Entry("out.2", "pool", "pool")
        return
    yield Entry("out.2", "conv_out", "conv")
    index, part = -1, 0  # of a block, and what already stands in it
    for place in places_up(module):
        index, part = (index, part) if place.change else (index + 1, 0)
        yield Entry(f"output_blocks.{index}.{part}", place.name, "block")
        if place.attention:
            yield Entry(f"output_blocks.{index}.{part + 1}", place.attention, "attention")
        part += 2 if place.attention else 1


def _down(module: Levels) -> Iterator[Entry]:
    yield Entry("input_blocks.0.0", "conv_in", "conv")
    for i, place in enumerate(places_down(module), start=1):
        yield Entry(f"input_blocks.{i}.0", place.name, "block")
        if place.attention:
            yield Entry(f"input_blocks.{i}.1", place.attention, "attention")
