"""Checkpoints of the JAX score_sde give the golden outputs, under the names that flax makes up."""

import collections
import re

import jax
import numpy as np
import pytest
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict
from golden_weights import load

from scorejax.models import NCSNpp
from scorejax.models.pretrained import module_from_score_sde_config, params_from_score_sde, read_score_sde_flax
from scorejax.runtime.errors import CheckpointError

BIGGAN, DDPM = "ResnetBlockBigGANpp", "ResnetBlockDDPM"
# Classes of the modules in the order of the state dict: embedding, down, middle, up, end.
CLASSES = {
    "ncsnpp_vp_small": [
        *("Dense", "Dense", "Conv"),
        *(BIGGAN, BIGGAN, BIGGAN, "AttnBlockpp"),
        *(BIGGAN, "AttnBlockpp", BIGGAN),
        *(BIGGAN, BIGGAN, "AttnBlockpp", BIGGAN, BIGGAN, BIGGAN),
        *("GroupNorm", "Conv"),
    ],
    "ncsnpp_ve_small": [
        *("GaussianFourierProjection", "Dense", "Dense", "Conv"),
        *(BIGGAN, BIGGAN, "Downsample", BIGGAN, "AttnBlockpp"),
        *(BIGGAN, "AttnBlockpp", BIGGAN),
        *(BIGGAN, BIGGAN, "AttnBlockpp", BIGGAN, BIGGAN, BIGGAN),
        *("GroupNorm", "Conv"),
    ],
    "ddpm_small": [
        *("Dense", "Dense", "Conv"),
        *(DDPM, "Downsample", DDPM, "AttnBlock"),
        *(DDPM, "AttnBlock", DDPM),
        *(DDPM, DDPM, "AttnBlock", "Upsample", DDPM, DDPM),
        *("GroupNorm", "Conv"),
    ],
}


def to_flax(state, classes, wide_norms):
    """A state dict as the tree that flax would have made."""
    made, names = collections.Counter(), []
    for each in classes:
        names.append(f"{each}_{made[each]}")
        made[each] += 1
    flat = {}
    for name, value in state.items():
        _, number, *parts, last = name.split(".")
        filtered = "Conv2d_0" in parts
        if last == "weight" and value.ndim == 4:
            last, value = "weight" if filtered else "kernel", value.transpose(2, 3, 1, 0)
        elif last == "weight":
            last, value = ("kernel", value.T) if value.ndim == 2 else ("scale", value)
        path = "/".join((names[int(number)], *parts, last))
        flat[path] = value.reshape(1, 1, 1, -1) if wide_norms and "GroupNorm" in path else value
    return unflatten_dict(flat, sep="/")


def write(path, average, target=None, **changes):
    state = {
        "step": 12,
        "optimizer": {"target": average if target is None else target, "state": {"step": 12, "param_states": {}}},
        "lr": 2e-4,
        "model_state": {},
        "ema_rate": 0.999,
        "params_ema": average,
        "rng": np.uint32([0, 1]),
        **changes,
    }
    path.write_bytes(serialization.to_bytes(state))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_the_network_gives_the_golden_outputs(tmp_path, name):
    config, state, golden = load(name)
    module = module_from_score_sde_config(config)
    tree = to_flax(state, CLASSES[name], wide_norms=name == "ncsnpp_ve_small")
    params, step = read_score_sde_flax(write(tmp_path / "checkpoint_1", tree), module, 16)
    assert step == 12
    labels = golden["labels" if "labels" in golden else "labels_sigma"]
    expected = golden["out_mixed_labels"].transpose(0, 2, 3, 1)
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(lambda p, x, y: module.apply({"params": p}, x, y))(
            params, golden["x"].transpose(0, 2, 3, 1), labels
        )
    assert np.abs(ours - expected).max() < 1e-4 * expected.std()


@pytest.fixture(scope="module")
def ve():
    config, state, _ = load("ncsnpp_ve_small")
    return module_from_score_sde_config(config), state, to_flax(state, CLASSES["ncsnpp_ve_small"], True)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("wide_norms", [True, False])
def test_both_libraries_checkpoints_give_the_same_parameters(tmp_path, name, wide_norms):
    config, state, _ = load(name)
    module = module_from_score_sde_config(config)
    path = write(tmp_path / "c", to_flax(state, CLASSES[name], wide_norms))
    ours, _ = read_score_sde_flax(path, module, 16)
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, params_from_score_sde(state, module, 16)))


def test_averages_and_weights_are_told_apart(tmp_path, ve):
    module, _, tree = ve
    path = write(tmp_path / "c", tree, target=jax.tree.map(np.zeros_like, tree))
    assert np.any(read_score_sde_flax(path, module, 16)[0]["conv_out"]["kernel"])
    assert not np.any(read_score_sde_flax(path, module, 16, "model")[0]["conv_out"]["kernel"])


def test_a_tensor_missing_left_over_or_misshapen_is_named(tmp_path, ve):
    module, _, tree = ve
    flat = flatten_dict(tree, sep="/")
    flat["Conv_7/bias"] = flat.pop("Conv_1/bias")
    flat["Dense_1/kernel"] = flat["Dense_1/kernel"][:-1]
    with pytest.raises(CheckpointError) as error:
        read_score_sde_flax(write(tmp_path / "c", unflatten_dict(flat, sep="/")), module, 16)
    for problem in ("missing: Conv_1/bias", "left over: Conv_7/bias", "of another shape: Dense_1/kernel"):
        assert problem in str(error.value)


def test_modules_without_parameters_are_counted(tmp_path):
    # The image pyramids of input_skip and output_skip share the classes of the layers between the levels.
    module = NCSNpp(
        features=4,
        channel_multipliers=(1, 1, 1),
        blocks_per_level=1,
        attention_resolutions=(),
        block="ddpm",
        progressive_input="input_skip",
        progressive="output_skip",
    )
    with pytest.raises(CheckpointError) as error:  # of an empty file every tensor is missing, and named
        read_score_sde_flax(write(tmp_path / "c", {"Conv_99": {"bias": np.zeros(1)}}), module, 8)
    missing = re.findall(r"missing: (\w+)/\S+, for (\w+)/\S+ of shape", str(error.value))
    names = {path: name for name, path in missing}
    assert [names[f"down_{i}_resample"] for i in (0, 1)] == ["Downsample_0", "Downsample_2"]
    assert [names[f"down_{i}_input"] for i in (0, 1)] == ["Combine_0", "Combine_1"]
    assert [names[f"up_{i}_resample"] for i in (2, 1)] == ["Upsample_0", "Upsample_2"]


def test_other_files_are_refused(tmp_path, ve):
    module, _, tree = ve
    path = tmp_path / "c"
    path.write_bytes(serialization.to_bytes({"params": {"a": np.zeros(1)}}))
    with pytest.raises(CheckpointError, match="it holds params"):
        read_score_sde_flax(path, module, 16)
    path.write_bytes(write(path, tree).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        read_score_sde_flax(path, module, 16)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_score_sde_flax(tmp_path / "none", module, 16)
