"""The networks of EDM's pickles and their preconditioning, as networks and settings of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from scorejax.models import DhariwalUNet, SongUNet
from scorejax.models.pretrained import edm_pickle
from scorejax.models.pretrained.edm_pickle import Record
from scorejax.models.pretrained.guided_diffusion import GUIDED
from scorejax.models.pretrained.layout import Entry, Naming, Params, convert, shape_tree
from scorejax.runtime.errors import CheckpointError

NETWORKS = (SongUNet, DhariwalUNet)
_SIGN = "VEPrecond"  # its network puts out minus the noise


class Described(NamedTuple):
    """A network as a pickle describes it.

    Attributes:
        name: of the network, as in `models.NETWORKS`.
        fields: of the network.
        num_classes: of a conditional network, or None.
        settings: its process and preconditioning, `key=value`.
    """

    name: str
    fields: dict[str, object]
    num_classes: int | None
    settings: list[str]


def read(path: Path, module: nn.Module, image_size: int, channels: int) -> Params:
    """Parameters of a network of ours from a pickle of EDM.

    Args:
        path: of the file.
        module: the network.
        image_size: pixels on a side of the images, after which the layers there are named.
        channels: of the images.

    Raises:
        CheckpointError: it cannot be read, or holds something else.
        StateDictError: with every tensor that is missing, left over, or of another shape.
    """
    network = edm_pickle.load(path)
    state = dict(edm_pickle.tensors(_inner(network)))
    derived = [name for name in state if name.endswith("resample_filter")]
    entries = list(edm_entries(module, image_size))
    tree = shape_tree(module, (image_size, image_size, channels))
    params = convert(state, entries, tree, derived, EDM)
    if network.kind == _SIGN:
        params["conv_out"] = {name: -value for name, value in params["conv_out"].items()}
    return params


def describe(network: Record) -> Described:
    """The network of a pickle, by the arguments that its classes were called with.

    Raises:
        CheckpointError: it is another class, or has an option that no network of ours computes.
    """
    inner = _inner(network)
    given = dict(inner.settings)
    name = {"SongUNet": "song_unet", "DhariwalUNet": "dhariwal_unet"}.get(inner.kind)
    if name is None:
        raise CheckpointError(f"its network is {inner.kind}; only SongUNet and DhariwalUNet can be read")
    song = name == "song_unet"
    fields: dict[str, object] = {
        "features": given.pop("model_channels", 128 if song else 192),
        "channel_multipliers": tuple(given.pop("channel_mult", (1, 2, 2, 2) if song else (1, 2, 3, 4))),
        "blocks_per_level": given.pop("num_blocks", 4 if song else 3),
        "augment_dim": given.pop("augment_dim", 0),
        "dropout": 0.0,
    }
    side, taken, made = given.pop("img_resolution"), given.pop("in_channels"), given.pop("out_channels")
    attention = tuple(given.pop("attn_resolutions", (16,) if song else (32, 16, 8)))
    classes = given.pop("label_dim", 0)
    for free in ("dropout", "label_dropout", "use_fp16"):
        given.pop(free, None)
    if made not in (taken, 2 * taken):
        raise CheckpointError(f"it makes {made} channels of {taken}: neither as many nor twice as many")
    fields["learned_range"] = made == 2 * taken
    fields |= _of_song(given, attention) if song else {"attention_levels": _levels(side, attention, fields)}
    if left := {key: value for key, value in given.items() if key not in ("channel_mult_emb",) or value != 4}:
        raise CheckpointError(f"its network has {left}, which no network of ours computes")
    return Described(name, fields, classes or None, _settings(network, bool(fields["learned_range"])))


def _of_song(given: dict[str, Any], attention: tuple[int, ...]) -> dict[str, object]:
    embedding = given.pop("embedding_type", "positional")
    width = given.pop("channel_mult_noise", 1)
    encoder, decoder = given.pop("encoder_type", "standard"), given.pop("decoder_type", "standard")
    taps = tuple(given.pop("resample_filter", (1, 1)))
    known = {"positional": 1, "fourier": 2}
    if known.get(embedding) != width or encoder not in ("standard", "residual") or decoder != "standard":
        raise CheckpointError(
            f"embedding_type = {embedding!r}, channel_mult_noise = {width}, encoder_type = {encoder!r}, decoder_type = "
            f"{decoder!r}: only DDPM++ (positional, 1, standard) and NCSN++ (fourier, 2, residual) can be read"
        )
    return {
        "embedding": embedding,
        "progressive_input": "none" if encoder == "standard" else "residual",
        "attention_resolutions": attention,
        **({"fir": False} if taps == (1, 1) else {"fir": True, "fir_kernel": taps}),
    }


def _levels(side: int, attention: tuple[int, ...], fields: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(i for i in range(len(fields["channel_multipliers"])) if side >> i in attention)


def _settings(network: Record, learned_range: bool) -> list[str]:
    """Process and preconditioning by the class of the outer object."""
    about = {**network.settings, **{key: v for key, v in network.state.items() if isinstance(v, float | int)}}
    if learned_range != (network.kind == "iDDPMPrecond"):
        raise CheckpointError(f"{network.kind} with a learned range {learned_range}: only iDDPMPrecond has one")
    if network.kind == "EDMPrecond":
        recipe = f"recipe=score:predicts=edm:sigma_data={about.get('sigma_data', 0.5)}:noise_label=log_ratio"
        return [recipe, "sde=edm", "sampler.t_min=None"]
    if network.kind == "VPPrecond":
        low, rise = about.get("beta_min", 0.1), about.get("beta_d", 19.9)
        return ["recipe=score:predicts=noise", f"sde=vp:beta_min={low}:beta_max={low + rise}"]
    if network.kind == _SIGN:
        low, high = about.get("sigma_min", 0.02), about.get("sigma_max", 100.0)
        recipe = "recipe=score:predicts=noise:noise_label=log_half_ratio"
        return [recipe, f"sde=ve:sigma_min={low}:sigma_max={high}"]
    if network.kind == "iDDPMPrecond":
        levels = about.get("M", 1000)
        chain = f"sde=ddpm:schedule=cosine:n={levels}"
        return ["recipe=score:predicts=noise", "objective=hybrid", chain, "sampler.t_min=None"]
    raise CheckpointError(
        f"its preconditioning is {network.kind}; only EDMPrecond, VPPrecond, VEPrecond and iDDPMPrecond can be read"
    )


def _inner(network: Record) -> Record:
    inner = network.children("_modules").get("model")
    if not isinstance(inner, Record):
        raise CheckpointError(f"{network.kind} holds no network 'model'")
    return inner


# ---- names ---------------------------------------------------------------------------------------------------------


def _row(part: int) -> tuple[tuple[str, str, Any], ...]:
    """Queries, keys or values of a projection whose rows are counted by (channel, q|k|v)."""
    return (
        ("weight", "kernel", lambda value: value[part::3].reshape(len(value) // 3, -1).T),
        ("bias", "bias", lambda value: value[part::3]),
    )


_KINDS = {
    "block": (
        ("norm0", "norm_0", "group_norm"),
        ("conv0", "conv_0", "conv"),
        ("affine", "embedding", "dense"),
        ("norm1", "norm_1", "group_norm"),
        ("conv1", "conv_1", "conv"),
        ("skip", "shortcut", "conv1x1"),
    ),
    "one_head": (
        ("norm2", "norm", "group_norm"),
        ("qkv", "query", "row_0"),
        ("qkv", "key", "row_1"),
        ("qkv", "value", "row_2"),
        ("proj", "out", "site"),
    ),
    "many_heads": (("norm2", "norm", "group_norm"), ("qkv", "qkv", "site"), ("proj", "out", "site")),
}
EDM = Naming(
    _KINDS,
    {**GUIDED.layers, **{f"row_{i}": _row(i) for i in range(3)}, "fourier": (("freqs", "W", lambda value: value),)},
)


def edm_entries(module: nn.Module, image_size: int) -> Iterator[Entry]:
    """The layers of EDM's network that `module` is, which are named after the sizes of the image.

    Raises:
        TypeError: EDM has no such network.
    """
    if not isinstance(module, NETWORKS):
        raise TypeError(f"EDM has no network like {type(module).__name__}; choose SongUNet or DhariwalUNet")
    song = isinstance(module, SongUNet)
    kind, top = "one_head" if song else "many_heads", len(module.channel_multipliers) - 1
    names = [f"{image_size >> i}x{image_size >> i}" for i in range(top + 1)]
    yield Entry("map_noise", "fourier", "fourier")
    yield from (Entry("map_layer0", "noise_0", "dense"), Entry("map_layer1", "noise_1", "dense"))
    yield from (Entry("map_label", "classes", "dense"), Entry("map_augment", "augment", "dense"))
    yield Entry(f"enc.{names[0]}_conv", "conv_in", "conv")
    for i, name in enumerate(names):
        for j in range(module.blocks_per_level):
            yield Entry(f"enc.{name}_block{j}", f"down_{i}_block_{j}", "block")
            yield Entry(f"enc.{name}_block{j}", f"down_{i}_attention_{j}", kind)
        if i < top:
            yield Entry(f"enc.{names[i + 1]}_down", f"down_{i}_resample", "block")
            yield Entry(f"enc.{names[i + 1]}_aux_residual", f"down_{i}_input/conv", "conv")
    yield from (
        Entry(f"dec.{names[top]}_in0", "mid_block_0", "block"),
        Entry(f"dec.{names[top]}_in0", "mid_attention", kind),
    )
    yield Entry(f"dec.{names[top]}_in1", "mid_block_1", "block")
    for i, name in enumerate(names):
        for j in range(module.blocks_per_level + 1):
            yield Entry(f"dec.{name}_block{j}", f"up_{i}_block_{j}", "block")
            if not song:
                yield Entry(f"dec.{name}_block{j}", f"up_{i}_attention_{j}", kind)
        if song:
            yield Entry(f"dec.{name}_block{module.blocks_per_level}", f"up_{i}_attention", kind)
        if i > 0:
            yield Entry(f"dec.{names[i - 1]}_up", f"up_{i}_resample", "block")
    norm, out = (f"dec.{names[0]}_aux_norm", f"dec.{names[0]}_aux_conv") if song else ("out_norm", "out_conv")
    yield from (Entry(norm, "norm_out", "group_norm"), Entry(out, "conv_out", "conv"))
