"""U-Nets of diffusers compute here what they compute there.

`diffusers_small` holds outputs of `UNet2DModel` of diffusers 0.42 with made-up weights, for networks laid out like
`google/ddpm-*` and `google/ncsnpp-*`.
"""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from golden_weights import GOLDEN, rule
from writers import write_safetensors, write_torch

from scorejax.models import DDPM, MLP
from scorejax.models.pretrained import (
    from_diffusers,
    module_from_diffusers_config,
    params_from_diffusers,
    safetensors_file,
)
from scorejax.runtime.errors import CheckpointError, ConfigError

SIDECAR = json.loads((GOLDEN / "diffusers_small.json").read_text())
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
SAFETENSORS, BIN = (f"diffusion_pytorch_model.{end}" for end in ("safetensors", "bin"))


def weights(name):
    return {n: rule(n, s, fourier=n == "time_proj.weight") for n, s in SIDECAR[name]["params"]}


def write_folder(folder, name, file=SAFETENSORS, state=None):
    state = weights(name) if state is None else state
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SIDECAR[name]["config"]))
    (write_safetensors if file == SAFETENSORS else write_torch)(folder / file, state)
    return folder


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddpm", "ncsnpp"])
def test_outputs_equal_those_of_diffusers(tmp_path, name):
    golden = np.load(GOLDEN / "diffusers_small.npz")
    module, params = from_diffusers(write_folder(tmp_path, name))
    x, expected = (golden[f"{name}_{each}"].transpose(0, 2, 3, 1) for each in ("x", "out"))
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(lambda p, x, y: module.apply({"params": p}, x, y))(params, x, golden[f"{name}_labels"])
    for i in range(len(x)):  # at sigma 12 the output is 200 times smaller than at 0.05
        assert np.abs(ours[i] - expected[i]).max() < 1e-4 * expected[i].std()


@pytest.mark.slow
def test_files_of_either_format_and_names_of_any_age_give_the_same(tmp_path):
    module, params = from_diffusers(write_folder(tmp_path / "new", "ncsnpp"))
    old = {}
    for name, value in weights("ncsnpp").items():
        for new, previous in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{previous}.")
        old[name] = value
    old["time_proj.W"] = old["time_proj.weight"]
    folder = write_folder(tmp_path / "pipeline" / "unet", "ncsnpp", BIN, old)
    for path in (tmp_path / "pipeline", folder / BIN):
        again, values = from_diffusers(path)
        assert again == module and same(values, params)


def test_half_precision_weights_become_float32(tmp_path):
    state = {name: value.astype(ml_dtypes.bfloat16) for name, value in weights("ddpm").items()}
    _, params = from_diffusers(write_folder(tmp_path, "ddpm", state=state))
    assert params["conv_out"]["bias"].dtype == np.float32
    np.testing.assert_array_equal(params["conv_out"]["bias"], state["conv_out.bias"].astype(np.float32))


def test_a_tensor_missing_left_over_or_misshapen_is_named():
    state, module = weights("ncsnpp"), module_from_diffusers_config(SIDECAR["ncsnpp"]["config"])
    state["extra.weight"] = state.pop("up_blocks.0.skip_conv.weight")
    state["conv_in.bias"] = state["conv_in.bias"][:-1]
    with pytest.raises(CheckpointError) as error:
        params_from_diffusers(state, module, 8)
    for problem in ("missing: up_blocks.0.skip_conv.weight", "left over: extra.weight", "conv_in.bias is (31,)"):
        assert problem in str(error.value)
    with pytest.raises(CheckpointError, match="left over"):
        params_from_diffusers(weights("ncsnpp"), DDPM(features=32, channel_multipliers=(1, 4, 2)), 8)
    with pytest.raises(TypeError, match="MLP"):
        params_from_diffusers(weights("ncsnpp"), MLP(), 8)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ddpm", {"attention_head_dim": 8}),
        ("ddpm", {"downsample_padding": 1}),
        ("ddpm", {"flip_sin_to_cos": True}),
        ("ddpm", {"norm_eps": 1e-5}),
        ("ddpm", {"time_embedding_type": "fourier"}),
        ("ddpm", {"out_channels": 6}),
        ("ddpm", {"block_out_channels": [64, 96]}),
        ("ddpm", {"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}),
        ("ddpm", {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}),
        ("ddpm", {"sample_size": None}),
        ("ncsnpp", {"mid_block_scale_factor": 1}),
        ("ncsnpp", {"norm_num_groups": 32}),
        ("ncsnpp", {"block_out_channels": [32, 64, 64]}),
    ],
)
def test_what_no_network_of_ours_computes_is_refused_by_name(name, changes):
    [key] = changes
    with pytest.raises(ConfigError, match=key.removesuffix("_types").removeprefix("up_").removeprefix("down_")):
        module_from_diffusers_config(SIDECAR[name]["config"] | changes)


def test_folders_without_a_network_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        from_diffusers(tmp_path)
    folder = write_folder(tmp_path, "ddpm")
    (folder / SAFETENSORS).unlink()
    with pytest.raises(CheckpointError, match=SAFETENSORS):
        from_diffusers(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 40, -1])
def test_a_safetensors_file_that_is_cut_off_is_refused(tmp_path, keep):
    path = write_safetensors(
        tmp_path / "file", {"a": np.arange(4, dtype=np.float32), "b": np.zeros((0, 2), np.float16)}
    )
    assert same(safetensors_file.load(path), {"a": np.arange(4), "b": np.zeros((0, 2))})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError):
        safetensors_file.load(path)


def test_a_safetensors_file_cannot_point_outside_itself(tmp_path):
    path = tmp_path / "file"
    for offsets in ([-4, 0], [2, 6], [4, 0], [0, 3]):
        header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        with pytest.raises(CheckpointError, match="a of shape"):
            safetensors_file.load(path)
