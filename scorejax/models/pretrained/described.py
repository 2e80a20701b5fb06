"""What a file says of itself, as settings of a config: its network, process and preconditioning."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from scorejax.models.pretrained import edm_networks, edm_pickle, guided_diffusion, safetensors_file, torch_file
from scorejax.runtime.errors import CheckpointError


class Found(NamedTuple):
    """What a file says.

    Attributes:
        name: of the network, as in `models.NETWORKS`.
        settings: `key=value`, in the order in which they are to be set.
        unsaid: what the file does not say: of each, the settings one of which has to be given.
    """

    name: str
    settings: list[str]
    unsaid: list[tuple[str, ...]]


def describe(path: Path) -> Found | None:
    """What a file says of itself; None if that is nothing: its network is the one of the config.

    Raises:
        CheckpointError: it says what no network of ours computes.
    """
    if edm_pickle.is_pickle(path):
        return _of_edm(path)
    try:
        if safetensors_file.is_safetensors_file(path):
            state = safetensors_file.load(path)
        elif torch_file.is_torch_file(path):
            state = torch_file.load(path)
        else:
            return None
    except (OSError, CheckpointError):
        return None  # whoever reads the weights says what is wrong
    return _of_guided_diffusion(path) if guided_diffusion.is_state_dict(state) else None


def network(name: str, fields: dict[str, object]) -> list[str]:
    """The settings of a network."""
    return [f"model={name}", *(f"model.{key}={value}" for key, value in fields.items())]


def _of_guided_diffusion(path: Path) -> Found:
    try:
        found = guided_diffusion.describe(guided_diffusion.state_dict(path))
    except (CheckpointError, KeyError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path}: a file of guided diffusion, but {said}") from None
    settings = network(found.name, found.fields)
    if found.name == "adm_classifier":
        settings = ["recipe=classifier", *settings]
    else:
        settings += ["recipe=score:predicts=noise", f"recipe.conditional={found.num_classes is not None}"]
        if found.fields["learned_range"]:
            settings.append("objective=hybrid")
        settings.append("sampler.t_min=None")  # the first level of the chain
    if found.schedule is not None:
        settings.append(f"sde=ddpm:schedule={found.schedule}")
    unsaid = [tuple(f"model.{part.removeprefix('model.')}" for part in each.split(" or ")) for each in found.unsaid]
    return Found(found.name, [*settings, "data.centered=True"], unsaid)


def _of_edm(path: Path) -> Found:
    network_there = edm_pickle.load(path)
    try:
        found = edm_networks.describe(network_there)
    except (CheckpointError, KeyError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path}: a pickle of EDM, but {said}") from None
    settings = [
        *network(found.name, found.fields),
        *found.settings,
        f"recipe.conditional={found.num_classes is not None}",
    ]
    return Found(found.name, [*settings, "data.centered=True"], [])
