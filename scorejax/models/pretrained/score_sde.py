"""The networks of score_sde and score_sde_pytorch: their configurations and state dicts, as networks of ours."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from jax.typing import ArrayLike

from scorejax.models import DDPM, NCSN, NCSNpp, NCSNv2
from scorejax.models.pretrained.layout import Entry, Params, StateDictError, convert, shape_tree
from scorejax.models.pretrained.reference_config import NONLINEARITIES, choice, noise_levels, setting
from scorejax.models.pretrained.refinenets import ncsn, ncsnv2, refinenet_entries
from scorejax.models.unet_fields import Embedding

# What the reference computes from its configuration, but saves with the weights.
DERIVED = ("sigmas",)


def from_score_sde(state_dict: Mapping[str, ArrayLike], config: object) -> tuple[nn.Module, Params]:
    """The network and parameters of a PyTorch state dict of score_sde.

    `module.apply({"params": params}, x, labels)` is the reference's `model(x, labels)`, with channels last.

    Args:
        state_dict: arrays by name, of the raw or of the averaged weights; a leading "module." is dropped.
        config: the reference's own nested configuration, a dict or an object with attributes.

    Raises:
        ConfigError: if the configuration lacks a setting or has one that no network of ours computes.
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    module = module_from_score_sde_config(config)
    size, channels = (setting(config, f"data.{key}") for key in ("image_size", "num_channels"))
    return module, params_from_score_sde(state_dict, module, size, channels)


def module_from_score_sde_config(config: object) -> nn.Module:
    """The network that a configuration of score_sde describes.

    Args:
        config: the reference's own nested configuration, a dict or an object with attributes.

    Raises:
        ConfigError: if the configuration lacks a setting or has one that no network of ours computes.
    """
    return choice(config, "model.name", FAMILIES).make(config)


def params_from_score_sde(
    state_dict: Mapping[str, ArrayLike], module: nn.Module, image_size: int, channels: int = 3
) -> Params:
    """A state dict of score_sde as parameters of a network of ours.

    Args:
        state_dict: arrays by name; a leading "module." is dropped.
        module: the network.
        image_size: pixels on a side of the images that it was trained on, which say where attention sits.
        channels: of those images.

    Returns:
        parameters, float32 numpy arrays.

    Raises:
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    state = {name.removeprefix("module."): value for name, value in state_dict.items()}
    _check_sigmas(state.get("sigmas"), module)
    tree = shape_tree(module, (image_size, image_size, channels))
    return convert(state, entries(module, image_size), tree, DERIVED)


def entries(module: nn.Module, image_size: int) -> list[Entry]:
    """The modules of the reference network that `module` is, in the order in which the reference makes them.

    Raises:
        TypeError: if score_sde has no such network.
    """
    for family in FAMILIES.values():
        if isinstance(module, family.module):
            return list(family.entries(module, image_size))
    known = ", ".join(sorted({family.module.__name__ for family in FAMILIES.values()}))
    raise TypeError(f"score_sde has no network like {type(module).__name__}; choose one of {known}")


# ---- U-Nets --------------------------------------------------------------------------------------------------


def _unet_entries(module: NCSNpp, image_size: int) -> Iterator[Entry]:
    """Number the modules: the reference keeps them in one list."""
    for i, (path, kind) in enumerate(_unet_modules(module, image_size)):
        yield Entry(f"all_modules.{i}", path, kind)


class _Kinds(NamedTuple):
    """Kinds of the modules whose class depends on the options."""

    block: str
    attention: str
    level_down: str
    level_up: str
    pyramid_down: str
    pyramid_up: str


def _unet_kinds(module: NCSNpp) -> _Kinds:
    down, up = ("fir_downsample", "fir_upsample") if module.fir else ("downsample", "upsample")
    if module.block == "biggan":
        return _Kinds("biggan_block", "attentionpp", "biggan_block", "biggan_block", down, up)
    block, attention = ("ddpm_block", "attention") if isinstance(module, DDPM) else ("ddpmpp_block", "attentionpp")
    levels = (down, up) if module.resample_with_conv else ("plain_downsample", "plain_upsample")
    return _Kinds(block, attention, levels[0], levels[1], down, up)


def _unet_modules(module: NCSNpp, image_size: int) -> Iterator[tuple[str, str]]:
    """Path and kind of each module."""
    kinds = _unet_kinds(module)
    top = len(module.channel_multipliers) - 1
    # Odd sizes are halved upwards.
    attention = [-(-image_size // 2**i) in module.attention_resolutions for i in range(top + 1)]

    if module.embedding == "fourier":
        yield "embedding/fourier", "fourier"
    if module.embedding != "none":
        yield from (("embedding/dense_0", "dense"), ("embedding/dense_1", "dense"))
    yield "conv_in", "conv"
    for i in range(top + 1):
        for j in range(module.blocks_per_level):
            yield f"down_{i}_block_{j}", kinds.block
            if attention[i]:
                yield f"down_{i}_attention_{j}", kinds.attention
        if i < top:
            yield f"down_{i}_resample", kinds.level_down
            if module.progressive_input != "none":
                yield f"down_{i}_input", "combine" if module.progressive_input == "input_skip" else kinds.pyramid_down
    yield from (("mid_block_0", kinds.block), ("mid_attention", kinds.attention), ("mid_block_1", kinds.block))
    for i in range(top, -1, -1):
        for j in range(module.blocks_per_level + 1):
            yield f"up_{i}_block_{j}", kinds.block
            if attention[i] and module.attention_up == "block":
                yield f"up_{i}_attention_{j}", kinds.attention
        if attention[i] and module.attention_up == "level":
            yield f"up_{i}_attention", kinds.attention
        if module.progressive == "output_skip" or (module.progressive == "residual" and i == top):
            yield from ((f"up_{i}_output_norm", "group_norm"), (f"up_{i}_output", "conv"))
        elif module.progressive == "residual":
            yield f"up_{i}_output", kinds.pyramid_up
        if i > 0:
            yield f"up_{i}_resample", kinds.level_up
    if module.progressive != "output_skip":
        yield from (("norm_out", "group_norm"), ("conv_out", "conv"))


def _unet_fields(config: object) -> dict[str, Any]:
    """The fields of our U-Nets that both of the reference's read from its configuration."""
    choice(config, "model.normalization", {"GroupNorm": None})
    return {
        "features": setting(config, "model.nf"),
        "channel_multipliers": tuple(setting(config, "model.ch_mult")),
        "blocks_per_level": setting(config, "model.num_res_blocks"),
        "attention_resolutions": tuple(setting(config, "model.attn_resolutions")),
        "attention_up": "level",
        "dropout": float(setting(config, "model.dropout")),
        "resample_with_conv": setting(config, "model.resamp_with_conv"),
        "nonlinearity": choice(config, "model.nonlinearity", NONLINEARITIES),
        "scale_by_sigma": setting(config, "model.scale_by_sigma"),
        "centered_input": setting(config, "data.centered"),
    }


def _ddpm(config: object) -> DDPM:
    fields = _unet_fields(config)
    return DDPM(
        **fields,
        embedding="positional" if setting(config, "model.conditional") else "none",
        noise_levels=noise_levels(config) if fields["scale_by_sigma"] else None,
    )


def _ncsnpp(config: object) -> NCSNpp:
    fields = _unet_fields(config)
    kind: Embedding = choice(config, "model.embedding_type", {"fourier": "fourier", "positional": "positional"})
    # Under Fourier features the label is sigma; otherwise it is an index.
    looks_up = fields["scale_by_sigma"] and kind == "positional"
    return NCSNpp(
        **fields,
        embedding=kind if setting(config, "model.conditional") else "none",
        noise_levels=noise_levels(config) if looks_up else None,
        fourier_scale=float(setting(config, "model.fourier_scale")),
        fir=setting(config, "model.fir"),
        fir_kernel=tuple(setting(config, "model.fir_kernel")),
        init_scale=float(setting(config, "model.init_scale")),
        skip_rescale=setting(config, "model.skip_rescale"),
        block=choice(config, "model.resblock_type", {"biggan": "biggan", "ddpm": "ddpm"}),
        progressive=setting(config, "model.progressive").lower(),
        progressive_input=setting(config, "model.progressive_input").lower(),
        progressive_combine=setting(config, "model.progressive_combine").lower(),
    )


# ---- the table ---------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """One network of the reference.

    Attributes:
        make: its configuration to our module.
        module: the class of that module.
        entries: our module and the image size to the reference's modules, in its order.
    """

    make: Callable[[object], nn.Module]
    module: type[nn.Module]
    entries: Callable[[Any, int], Iterator[Entry]]


# By the reference's `model.name`. Another network is one more line.
FAMILIES: dict[str, Family] = {
    "ddpm": Family(_ddpm, DDPM, _unet_entries),
    "ncsnpp": Family(_ncsnpp, NCSNpp, _unet_entries),
    "ncsn": Family(ncsn, NCSN, refinenet_entries),
    "ncsnv2_64": Family(functools.partial(ncsnv2, stages=4), NCSNv2, refinenet_entries),
    "ncsnv2_128": Family(functools.partial(ncsnv2, stages=5), NCSNv2, refinenet_entries),
    "ncsnv2_256": Family(functools.partial(ncsnv2, stages=6), NCSNv2, refinenet_entries),
}


def _check_sigmas(sigmas: ArrayLike | None, module: nn.Module) -> None:
    levels = getattr(module, "noise_levels", None)
    if sigmas is None or levels is None:
        return
    sigmas, (largest, smallest, count) = np.asarray(sigmas), levels
    if sigmas.shape != (count,) or not np.allclose(sigmas[[0, -1]], (largest, smallest), rtol=1e-4):
        raise StateDictError(
            f"the state dict was trained with {sigmas.size} noise levels from {sigmas.flat[0]:.4g} to "
            f"{sigmas.flat[-1]:.4g}, but this network has noise_levels = {levels}: give the configuration it "
            "was trained with"
        )
