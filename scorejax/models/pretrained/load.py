"""Published weights from a file of any kind that can be read, recognized by what is in it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import flax.linen as nn

from scorejax.models import no_condition
from scorejax.models.pretrained import (
    diffusers,
    edm_networks,
    edm_pickle,
    guided_diffusion,
    safetensors_file,
    score_sde_torch,
    torch_file,
)
from scorejax.models.pretrained.layout import Params
from scorejax.models.pretrained.score_sde import entries, params_from_score_sde
from scorejax.models.pretrained.score_sde_flax import read_score_sde_flax
from scorejax.numerics.trees import PyTree
from scorejax.runtime.errors import CheckpointError, ConfigError, user_errors

KINDS = (
    "a checkpoint of score_sde_pytorch or of score_sde (flax), a state dict of either score_sde_pytorch or diffusers "
    "(torch.save or safetensors), or a folder of diffusers"
)
# Fields of a network that its output does not depend on once its parameters are given.
_FREE = ("attention_resolutions", "dropout", "dtype", "fourier_scale", "init_scale", "name", "parent", "remat")


def load(
    path: str | Path, module: nn.Module, image_size: int, weights: str = "ema", channels: int = 3
) -> tuple[Params, int]:
    """Parameters for a network of ours, and the step they were taken at.

    Args:
        path: a checkpoint of score_sde_pytorch or of score_sde (flax); a state dict of score_sde_pytorch or of
            diffusers, written by torch.save or as safetensors; or a folder of diffusers.
        module: the network.
        image_size: pixels on a side of the images, which say where attention sits.
        weights: "ema" for the averages, "model" for the weights as they were trained; of a file that holds both.
        channels: of the images.

    Returns:
        parameters, float32 numpy arrays. Optimizer steps taken; 0 if the file does not say.

    Raises:
        CheckpointError: there is no such file, or it is none of these, is damaged, or is of a network that computes
            something else.
        StateDictError: with every tensor that is missing, left over, or of another shape.
        ConfigError: there are no files for such a network.
    """
    score_sde_torch.check_weights(weights)
    path = Path(path)
    if isinstance(module, edm_networks.NETWORKS) and path.is_file() and edm_pickle.is_pickle(path):
        return edm_networks.read(path, module, image_size, channels), 0
    if isinstance(module, guided_diffusion.NETWORKS):
        return guided_diffusion.read(path, module, image_size, channels), 0
    with user_errors(str(path)):
        entries(module, image_size)  # refuses networks that are not published
    if no_condition(module) is not None:
        raise ConfigError(f"{path}: published networks take no class labels; build this one without (num_classes=None)")
    try:
        if path.is_dir():
            _check_config(path, module)
            state: PyTree = diffusers.read_state_dict(diffusers.weights_file(diffusers.config_folder(path)))
        elif safetensors_file.is_safetensors_file(path):
            state = safetensors_file.load(path)
        elif torch_file.is_torch_file(path):
            state = torch_file.load(path)
        elif _is_msgpack_map(path):
            return read_score_sde_flax(path, module, image_size, weights, channels)
        else:
            raise CheckpointError(f"{path}: not a file that can be read; give {KINDS}")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}; give {KINDS}") from error

    if score_sde_torch.is_checkpoint(state):
        state, step = score_sde_torch.weights_by_name(state, path, weights)
        return params_from_score_sde(state, module, image_size, channels), step
    names = list(state) if isinstance(state, Mapping) else []
    if any("all_modules." in name for name in names):
        return params_from_score_sde(state, module, image_size, channels), 0
    if "conv_in.weight" in names:
        return diffusers.params_from_diffusers(state, module, image_size, channels), 0
    raise CheckpointError(f"{path}: it holds {', '.join(map(str, names[:5])) or type(state).__name__}; give {KINDS}")


def _is_msgpack_map(path: Path) -> bool:
    """Whether a file begins with a map of at least one entry whose key is text."""
    with path.open("rb") as file:
        head = file.read(4).ljust(4, b"\0")
    # A map of up to 15 entries is one byte; of up to 65535, three.
    key = head[1] if 0x81 <= head[0] <= 0x8F else head[3] if head[0] == 0xDE else 0
    return 0xA0 <= key <= 0xBF or key == 0xD9


def _check_config(path: Path, module: nn.Module) -> None:
    """Refuse a network of the same parameters that computes something else with them.

    Raises:
        CheckpointError: it does.
    """
    theirs = diffusers.module_from_diffusers_config(diffusers.read_config(diffusers.config_folder(path)))
    for field in dataclasses.fields(theirs):
        wanted, got = (_plain(getattr(each, field.name, None)) for each in (theirs, module))
        if field.name not in _FREE and wanted != got:
            raise CheckpointError(f"{path}: the network there has {field.name} = {wanted!r}, the one here {got!r}")


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value
