"""The unconditional U-Nets of diffusers (`UNet2DModel`), as in `google/ddpm-*` and `google/ncsnpp-*`."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from jax.typing import ArrayLike

from scorejax.models import DDPM, NCSNpp
from scorejax.models.pretrained import safetensors_file, torch_file
from scorejax.models.pretrained.layout import LAYERS, Entry, Naming, Params, StateDictError, convert, shape_tree
from scorejax.runtime.errors import CheckpointError, ConfigError, RunError
from scorejax.runtime.files import read_json

CONFIG = "config.json"
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def from_diffusers(path: str | Path) -> tuple[nn.Module, Params]:
    """The network and parameters of an unconditional U-Net of diffusers.

    `module.apply({"params": params}, x, labels)` is `model(x, labels).sample`, with channels last: the noise for
    labels 0..999 (`google/ddpm-*`), the score for labels sigma (`google/ncsnpp-*`).

    Args:
        path: a folder with `config.json` and weights (or a pipeline's folder, with these in `unet/`), or the file of
            the weights, with `config.json` next to it.

    Raises:
        CheckpointError: a file is missing or cannot be read.
        ConfigError: the configuration has a setting that no network of ours computes.
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    path = Path(path)
    folder = config_folder(path)
    config = read_config(folder)
    module = module_from_diffusers_config(config)
    state = read_state_dict(path if path.is_file() else weights_file(folder))
    return module, params_from_diffusers(state, module, config["sample_size"], config["in_channels"])


def params_from_diffusers(
    state_dict: Mapping[str, ArrayLike], module: nn.Module, image_size: int, channels: int = 3
) -> Params:
    """A state dict of `UNet2DModel` as parameters of a network of ours.

    Args:
        state_dict: arrays by name.
        module: the network, like those of `module_from_diffusers_config`.
        image_size: pixels on a side of the images, which say where attention sits.
        channels: of the images.

    Returns:
        parameters, float32 numpy arrays.

    Raises:
        StateDictError: with every tensor that is missing, left over, or of another shape.
        TypeError: diffusers has no such network.
    """
    state = {_current(name): np.asarray(value) for name, value in state_dict.items()}
    # The frequencies were once saved under two names.
    twice = state.pop("time_proj.W", None)
    if twice is not None and not np.array_equal(state.setdefault("time_proj.weight", twice), twice):
        raise StateDictError("time_proj.W and time_proj.weight differ: two names of the same frequencies")
    entries = list(diffusers_entries(module))
    return convert(state, entries, shape_tree(module, (image_size, image_size, channels)), naming=DIFFUSERS)


# ---- files -----------------------------------------------------------------------------------------------------


def config_folder(path: Path) -> Path:
    """Where the configuration of a folder, a pipeline's folder or a file is.

    Raises:
        CheckpointError: nowhere.
    """
    parent = path if path.is_dir() else path.parent
    for folder in (parent, parent / "unet"):
        if (folder / CONFIG).is_file() and "_class_name" in read_config(folder):
            return folder
    raise CheckpointError(f"{path}: no {CONFIG} of a UNet2DModel in {parent} or its folder unet")


def weights_file(folder: Path) -> Path:
    """The file of the weights in a folder.

    Raises:
        CheckpointError: there is none.
    """
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: no weights; one of these is wanted: {', '.join(FILES)}")


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in a folder's `config.json`.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return read_json(folder / CONFIG, dict, "download it again")
    except RunError as error:
        raise CheckpointError(str(error)) from error


def read_state_dict(file: str | Path) -> Mapping[str, np.ndarray]:
    """Tensors by name, of a safetensors file or one of `torch.save`.

    Raises:
        CheckpointError: it is neither.
    """
    return safetensors_file.load(file) if safetensors_file.is_safetensors_file(file) else torch_file.load(file)


# ---- networks --------------------------------------------------------------------------------------------------

Setting = tuple[object, tuple[object, ...]]  # the default of diffusers, and the values that our networks compute
_COMMON: dict[str, Setting] = {
    "act_fn": ("silu", ("silu", "swish")),
    "add_attention": (True, (True,)),
    "attention_head_dim": (8, (None,)),  # one head
    "attn_norm_num_groups": (None, (None,)),
    "class_embed_type": (None, (None,)),
    "downsample_type": ("conv", ("conv",)),
    "norm_eps": (1e-5, (1e-6,)),
    "num_class_embeds": (None, (None,)),
    "resnet_time_scale_shift": ("default", ("default",)),
    "upsample_type": ("conv", ("conv",)),
}
_DDPM: dict[str, Setting] = {
    "downsample_padding": (1, (0,)),  # none in front, one pixel behind
    "flip_sin_to_cos": (True, (False,)),
    "freq_shift": (0, (1,)),
    "mid_block_scale_factor": (1, (1,)),
    "norm_num_groups": (32, (32,)),
    "time_embedding_type": ("positional", ("positional",)),
}
_NCSNPP: dict[str, Setting] = {
    "mid_block_scale_factor": (1, (math.sqrt(2),)),
    "norm_num_groups": (32, (None,)),  # a quarter of the channels, at most 32
    "time_embedding_type": ("positional", ("fourier",)),
}


def module_from_diffusers_config(config: Mapping[str, Any]) -> NCSNpp:
    """The network that a configuration of `UNet2DModel` describes.

    Raises:
        ConfigError: if it lacks a setting or has one that no network of ours computes.
    """
    skip = "Skip" if any("Skip" in block for block in _given(config, "down_block_types")) else ""
    for key, (default, values) in (_COMMON | (_NCSNPP if skip else _DDPM)).items():
        value = config.get(key, default)
        if not any(_equal(value, each) for each in values):
            raise ConfigError(
                f"{key!r} = {value!r} of diffusers: no network of ours computes that, only {key} = "
                f"{' or '.join(map(repr, values))}"
            )
    channels = _given(config, "block_out_channels")
    if any(c % channels[0] for c in channels) or _given(config, "in_channels") != _given(config, "out_channels"):
        raise ConfigError(
            f"diffusers' block_out_channels = {channels} must be multiples of the first, and its in_channels = "
            f"{config['in_channels']} and out_channels = {config['out_channels']} equal"
        )
    attention = _attention(config, skip)
    size = _given(config, "sample_size")
    fields = {
        "features": channels[0],
        "channel_multipliers": tuple(c // channels[0] for c in channels),
        "blocks_per_level": _given(config, "layers_per_block"),
        "attention_resolutions": tuple(-(-size // 2**i) for i, here in enumerate(attention) if here),
        "dropout": float(config.get("dropout", 0.0)),
        "centered_input": not config.get("center_input_sample", False),
    }
    if not skip:
        return DDPM(**fields)
    if any(here and c < 128 for here, c in zip(attention, channels, strict=True)):
        raise ConfigError(
            f"block_out_channels = {channels} of diffusers: its norms in front of attention have 32 groups, ours a "
            "quarter of the channels; 128 or more are needed where there is attention"
        )
    return NCSNpp(**fields, progressive_input="input_skip", progressive="output_skip")


def _attention(config: Mapping[str, Any], skip: str) -> list[bool]:
    """Whether each level has attention, the same on both ways."""
    down, up = _given(config, "down_block_types"), _given(config, "up_block_types")
    attention = ["Attn" in block for block in down]
    wanted = [["Attn" * here + skip + name for here in attention] for name in ("DownBlock2D", "UpBlock2D")]
    if [list(down), list(up)[::-1]] != wanted:
        raise ConfigError(
            f"blocks of diffusers {down} and {up}: ours are all with Skip or all without, with Attn at the same levels "
            "of both lists"
        )
    return attention


def _given(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise ConfigError(f"the configuration of diffusers lacks {key!r}: give the config.json next to the weights")
    return config[key]


def _equal(value: object, wanted: object) -> bool:
    if isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=1e-6)
    return value == wanted


# ---- names -----------------------------------------------------------------------------------------------------

_KINDS = {
    "block": (
        ("norm1", "norm_0", "group_norm"),
        ("conv1", "conv_0", "conv"),
        ("time_emb_proj", "embedding", "dense"),
        ("norm2", "norm_1", "group_norm"),
        ("conv2", "conv_1", "conv"),
        ("conv_shortcut", "shortcut", "conv1x1"),
    ),
    "attention": (
        ("group_norm", "norm", "group_norm"),
        ("to_q", "query", "dense"),
        ("to_k", "key", "dense"),
        ("to_v", "value", "dense"),
        ("to_out.0", "out", "dense"),
    ),
    "time_embedding": (("linear_1", "dense_0", "dense"), ("linear_2", "dense_1", "dense")),
}
DIFFUSERS = Naming(_KINDS, {**LAYERS, "fourier": (("weight", "W", lambda value: value),)})
# Attention's names in older files.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _current(name: str) -> str:
    *parents, layer, tensor = name.split(".")
    return ".".join((*parents, _RENAMED[layer], tensor)) if layer in _RENAMED and "attentions" in parents else name


def diffusers_entries(module: nn.Module) -> Iterator[Entry]:
    """Every module that either family may have; those that `module` has no parameters for do not count."""
    if not isinstance(module, NCSNpp):
        raise TypeError(f"diffusers has no network like {type(module).__name__}; choose one of NCSNpp, DDPM")
    yield Entry("time_proj", "embedding/fourier", "fourier")
    yield Entry("time_embedding", "embedding", "time_embedding")
    yield Entry("conv_in", "conv_in", "conv")
    top = len(module.channel_multipliers) - 1
    for i in range(top + 1):
        for j in range(module.blocks_per_level):
            yield Entry(f"down_blocks.{i}.resnets.{j}", f"down_{i}_block_{j}", "block")
            yield Entry(f"down_blocks.{i}.attentions.{j}", f"down_{i}_attention_{j}", "attention")
        yield Entry(f"down_blocks.{i}.resnet_down", f"down_{i}_resample", "block")
        yield Entry(f"down_blocks.{i}.downsamplers.0.conv", f"down_{i}_resample/conv", "conv")
        yield Entry(f"down_blocks.{i}.skip_conv", f"down_{i}_input", "conv1x1")
    yield Entry("mid_block.resnets.0", "mid_block_0", "block")
    yield Entry("mid_block.attentions.0", "mid_attention", "attention")
    yield Entry("mid_block.resnets.1", "mid_block_1", "block")
    for i in range(top + 1):
        there = f"up_blocks.{top - i}"
        for j in range(module.blocks_per_level + 1):
            yield Entry(f"{there}.resnets.{j}", f"up_{i}_block_{j}", "block")
            yield Entry(f"{there}.attentions.{j}", f"up_{i}_attention_{j}", "attention")
        yield Entry(f"{there}.attentions.0", f"up_{i}_attention", "attention")
        yield Entry(f"{there}.resnet_up", f"up_{i}_resample", "block")
        yield Entry(f"{there}.upsamplers.0.conv", f"up_{i}_resample/conv", "conv")
        # The last image of the pyramid is that of `conv_out`.
        norm, conv = (f"{there}.skip_norm", f"{there}.skip_conv") if i else ("conv_norm_out", "conv_out")
        yield from (Entry(norm, f"up_{i}_output_norm", "group_norm"), Entry(conv, f"up_{i}_output", "conv"))
    yield from (Entry("conv_norm_out", "norm_out", "group_norm"), Entry("conv_out", "conv_out", "conv"))
