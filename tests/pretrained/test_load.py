"""A file is known by what is in it, not by its name."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import serialization
from golden_weights import load as golden
from test_diffusers import SIDECAR, same, weights, write_folder
from test_score_sde_flax import CLASSES, to_flax
from test_score_sde_flax import write as write_flax
from writers import write_safetensors, write_torch

from scorejax.models import MLP, pretrained
from scorejax.models.pretrained import module_from_diffusers_config, module_from_score_sde_config
from scorejax.runtime.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def ddpm():
    config, state, _ = golden("ddpm_small")
    return module_from_score_sde_config(config), state


def checkpoint(state):
    model = {f"module.{name}": np.zeros_like(value) for name, value in state.items()}
    return {"model": model, "ema": {"shadow_params": list(state.values())}, "step": 5, "optimizer": {}}


FILES = {
    "torch": (lambda path, state: write_torch(path, checkpoint(state)), 5),
    "torch state dict": (write_torch, 0),
    "safetensors": (write_safetensors, 0),
    "flax": (lambda path, state: write_flax(path, to_flax(state, CLASSES["ddpm_small"], True)), 12),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_score_sde_file_gives_the_same_weights(tmp_path, ddpm, kind):
    module, state = ddpm
    write, step = FILES[kind]
    path = tmp_path / "weights"
    write(path, state)
    params, got = pretrained.load(path, module, 16)
    assert got == step
    assert same(params, pretrained.params_from_score_sde(state, module, 16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("ddpm"), "ddpm")


def test_folders_and_files_of_diffusers_are_known(folder):
    module = module_from_diffusers_config(SIDECAR["ddpm"]["config"])
    expected = pretrained.params_from_diffusers(weights("ddpm"), module, 8)
    for path in (folder, folder / "diffusion_pytorch_model.safetensors"):
        params, step = pretrained.load(path, module, 8)
        assert step == 0 and same(params, expected)


@pytest.mark.parametrize("change", [{"skip_rescale": True}, {"centered_input": False}, {"group_size": 4}])
def test_a_network_that_computes_something_else_with_the_weights_is_refused(folder, change):
    module = dataclasses.replace(module_from_diffusers_config(SIDECAR["ddpm"]["config"]), **change)
    with pytest.raises(CheckpointError, match=f"{next(iter(change))} = "):
        pretrained.load(folder, module, 8)


def test_what_is_none_of_these_is_refused_with_the_choices(tmp_path, ddpm):
    module, _ = ddpm
    path = tmp_path / "weights"
    for content in (b"", b"\x81", b"some text", b"PK\x05\x06" + bytes(18), json.dumps({"a": 1}).encode()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"weights: not a file.*score_sde_pytorch.*flax.*diffusers"):
            pretrained.load(path, module, 16)
    for saved in ({"layer.weight": np.zeros(1, np.float32)}, [1, 2]):
        with pytest.raises(CheckpointError, match=r"it holds (layer\.weight|list); give"):
            pretrained.load(write_torch(path, saved), module, 16)
    path.write_bytes(serialization.to_bytes({"x": jax.numpy.zeros(1)}))
    with pytest.raises(CheckpointError, match="no checkpoint of score_sde"):
        pretrained.load(path, module, 16)
    with pytest.raises(CheckpointError, match="No such file"):
        pretrained.load(tmp_path / "none", module, 16)
    with pytest.raises(ConfigError, match="MLP"):
        pretrained.load(path, MLP(), 2)
    with pytest.raises(ConfigError, match="class labels"):
        pretrained.load(path, dataclasses.replace(module, num_classes=10), 16)
    with pytest.raises(ValueError, match="'ema'"):
        pretrained.load(path, module, 16, "averages")
