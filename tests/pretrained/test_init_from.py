"""Through main.py: published weights are evaluated as they are, and training starts from them."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from test_score_sde_flax import DDPM as DDPM_BLOCK
from test_score_sde_flax import to_flax
from test_score_sde_flax import write as write_flax
from writers import write_safetensors, write_torch

from scorejax.experiment import assemble as build
from scorejax.experiment import config
from scorejax.experiment.evaluation import evaluate
from scorejax.experiment.training import loop
from scorejax.models import DDPM
from scorejax.models.pretrained import diffusers, layout, load, score_sde
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import RunError

ROOT = Path(__file__).parents[2]
MODULE = DDPM(features=32, channel_multipliers=(1,), blocks_per_level=1, attention_resolutions=(), dropout=0.0)
# The same network as the config of a run on 8x8 digits.
CONFIG = f"{ROOT / 'configs/vp_digits.py'}:tiny"
OVERRIDES = [
    "model.name=ddpm",
    "model.features=32",
    "model.channel_multipliers=(1,)",
    "eval.features=pixels",
    "eval.likelihood_examples=8",
]
DIFFUSERS = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [32],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}


def made_up_params():
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.standard_normal(leaf.shape, np.float32) / np.sqrt(np.prod(leaf.shape[:-1]) + 9)  # noqa: E731
    return jax.tree.map(lambda leaf: draw(leaf).astype(np.float32), layout.shape_tree(MODULE, (8, 8, 1)))


# The modules of this network by their classes in flax, and by their names in diffusers.
CLASSES = ["Dense", "Dense", "Conv", DDPM_BLOCK, DDPM_BLOCK, "AttnBlock", *[DDPM_BLOCK] * 3, "GroupNorm", "Conv"]
NAMES = {
    "embedding/dense_0": "time_embedding.linear_1",
    "embedding/dense_1": "time_embedding.linear_2",
    "conv_in": "conv_in",
    "down_0_block_0": "down_blocks.0.resnets.0",
    "mid_block_0": "mid_block.resnets.0",
    "mid_attention": "mid_block.attentions.0",
    "mid_block_1": "mid_block.resnets.1",
    "up_0_block_0": "up_blocks.0.resnets.0",
    "up_0_block_1": "up_blocks.0.resnets.1",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}
PARTS = {
    "norm_0": "norm1", "conv_0": "conv1", "embedding": "time_emb_proj", "norm_1": "norm2", "conv_1": "conv2",
    "shortcut": "conv_shortcut", "norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v",
    "out": "to_out.0",
}  # fmt: skip


def torch_state(params):
    """Parameters as tensors of score_sde_pytorch: of each, the layout that is read as ours."""
    flat, state = flatten_dict(params, sep="/"), {}
    for name, path, relayout in layout.tensors(score_sde.entries(MODULE, 8)):
        if path not in flat or name in state:
            continue
        value = flat[path]
        layouts = [value, value.T, value.T[..., None, None]]
        layouts += [value.transpose(3, 2, 0, 1)] if value.ndim == 4 else []
        state[name] = next(each for each in layouts if np.array_equal(relayout(each), value)).copy()
    return state


def diffusers_state(params):
    state = {}
    for path, value in flatten_dict(params, sep="/").items():
        module = next(name for name in NAMES if path.startswith(f"{name}/"))
        *part, leaf = path.removeprefix(f"{module}/").split("/")
        name = ".".join((NAMES[module], *(PARTS[each] for each in part), "bias" if leaf == "bias" else "weight"))
        state[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        if "conv_shortcut.weight" in name:
            state[name] = state[name][..., None, None]
    return {name: np.ascontiguousarray(value) for name, value in state.items()}


def write_torch_checkpoint(path, params):
    state = torch_state(params)
    return write_torch(path, {"model": state, "ema": {"shadow_params": list(state.values())}, "step": 5})


def write_flax_checkpoint(path, params):
    return write_flax(path, to_flax(torch_state(params), CLASSES, wide_norms=False))


def write_diffusers_folder(path, params):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(DIFFUSERS))
    write_safetensors(path / diffusers.FILES[0], diffusers_state(params))
    return path


KINDS = {
    "torch": (write_torch_checkpoint, 5),
    "flax": (write_flax_checkpoint, 12),
    "diffusers": (write_diffusers_folder, 0),
}


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("scorejax_main", ROOT / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def params():
    return made_up_params()


@pytest.fixture(autouse=True)
def around(monkeypatch):
    """Neither signals nor logging change."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


@pytest.mark.slow
def test_every_kind_of_file_gives_the_same_bits_per_dim_and_samples(main, tmp_path, params):
    bits, samples = [], []
    for kind, (write, step) in KINDS.items():
        path, workdir = write(tmp_path / kind, params), tmp_path / f"run-{kind}"
        given = [f"--config.{text}" for text in (*OVERRIDES, f"init_from={path}")]
        assert main.main([f"--config={CONFIG}", f"--workdir={workdir}", "--mode=eval", *given]) == 0
        report = json.loads((workdir / "eval" / f"step-{step}.json").read_text())
        bits.append(report["likelihood"]["bits_per_dim"])
        samples.append(np.load(next((workdir / "samples").glob(f"step-{step}-*/x.npy"))))
        assert json.loads((workdir / "config.json").read_text())["init_from"] == str(path)
    assert np.isfinite(bits[0]) and bits == [bits[0]] * 3
    assert samples[0].shape == (16, 8, 8, 1) and all(np.array_equal(x, samples[0]) for x in samples)


@pytest.fixture
def run(tmp_path, params):
    path = write_torch_checkpoint(tmp_path / "weights.pth", params)
    return config.load(CONFIG, [*OVERRIDES, f"init_from={path}"])


def initial_state(run, examples, network):
    """Of the run's training, with parameters that are not initialised, which takes long to compile."""
    optimizer, shapes = build.optimizer(run), layout.shape_tree(network, examples.shape)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return loop.State(jax.numpy.int32(0), zeros, zeros, optimizer.init(zeros), jax.random.key(0))


def test_training_starts_from_the_weights_of_the_file_and_goes_on_from_its_own(run, tmp_path, params):
    examples = build.dataset(run)
    network = build.network(run, examples)
    state = initial_state(run, examples, network)
    checkpoints = checkpoint.Checkpoints(tmp_path / "run")

    def begin():
        return loop.restore_or_init(
            checkpoints, lambda key: state, 0, lambda: load(run.init_from, network, 8, channels=1)[0]
        )

    first, step = begin()
    assert step == 0 and same(first.params, params) and same(first.ema, params)
    own = jax.tree.map(lambda leaf: leaf + 1, params)
    checkpoints.save(3, parallel.replicate(first._replace(ema=own)))
    checkpoints.wait()
    again, step = begin()
    assert step == 3 and same(again.ema, own)
    checkpoints.close()
    model = evaluate.restore(run, tmp_path / "run", examples)
    assert model.step == 3 and same(model.params, own)


def test_a_run_that_was_not_trained_is_evaluated_with_the_weights_of_the_file(run, tmp_path, params):
    model = evaluate.restore(run, tmp_path / "run", build.dataset(run))
    assert model.step == 5 and same(model.params, params)


def test_weights_of_another_network_are_refused(run, tmp_path):
    run.model.features = 16
    with pytest.raises(RunError, match=r"conv_in"):
        evaluate.restore(run, tmp_path / "run", build.dataset(run))
