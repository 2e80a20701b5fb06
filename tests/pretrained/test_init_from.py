"""Through main.py: published weights are evaluated as they are, and training starts from them."""

import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from test_score_sde_flax import write as write_flax
from writers import write_safetensors, write_torch

from scorejax.experiment import assemble, config
from scorejax.experiment.recipe import make_recipe
from scorejax.experiment.trained import restore
from scorejax.experiment.training.train import restore_or_init
from scorejax.models import DDPM
from scorejax.models.pretrained import diffusers, layout, score_sde, score_sde_flax
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


def other_way(params, entries, naming):
    """Parameters as tensors of another library: of each, the layout that is read as ours."""
    flat, state = flatten_dict(params, sep="/"), {}
    for name, path, relayout in layout.tensors(entries, naming):
        if path not in flat or name in state:
            continue
        value = flat[path]
        layouts = [value, value.T, value.T[..., None, None]]
        layouts += [value.transpose(3, 2, 0, 1)] if value.ndim == 4 else []
        state[name] = next(each for each in layouts if np.array_equal(relayout(each), value)).copy()
    return state


def write_torch_checkpoint(path, params):
    state = other_way(params, score_sde.entries(MODULE, 8), layout.SCORE_SDE_TORCH)
    return write_torch(path, {"model": state, "ema": {"shadow_params": list(state.values())}, "step": 5})


def write_flax_checkpoint(path, params):
    state = other_way(params, score_sde_flax.flax_entries(MODULE, 8), score_sde_flax.FLAX)
    return write_flax(path, unflatten_dict(state, sep="/"))


def write_diffusers_folder(path, params):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(DIFFUSERS))
    write_safetensors(
        path / diffusers.FILES[0], other_way(params, diffusers.diffusers_entries(MODULE), diffusers.DIFFUSERS)
    )
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


def test_training_starts_from_the_weights_of_the_file_and_goes_on_from_its_own(run, tmp_path, params):
    class Unprepared(type(make_recipe(run))):
        """Its network is not initialized, which takes long to compile."""

        def init(self, key):
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), layout.shape_tree(MODULE, (8, 8, 1)))

    recipe = Unprepared(make_recipe(run).given)
    optimizer, checkpoints = assemble.optimizer(run), checkpoint.Checkpoints(tmp_path / "run")
    first, step = restore_or_init(checkpoints, recipe, optimizer)
    assert step == 0 and same(first.params, params) and same(first.ema, params)
    own = jax.tree.map(lambda leaf: leaf + 1, params)
    checkpoints.save(3, parallel.replicate(first._replace(ema=own)))
    checkpoints.wait()
    again, step = restore_or_init(checkpoints, recipe, optimizer)
    assert step == 3 and same(again.ema, own) and same(again.params, params)
    checkpoints.close()
    trained = restore(run, tmp_path / "run")
    assert trained.step == 3 and same(trained.params, own)


def test_a_run_that_was_not_trained_is_evaluated_with_the_weights_of_the_file(run, tmp_path, params):
    trained = restore(run, tmp_path / "run")
    assert trained.step == 5 and same(trained.params, params)


def test_weights_of_another_network_are_refused(run, tmp_path):
    run.model.features = 16
    with pytest.raises(RunError, match=r"conv_in"):
        restore(run, tmp_path / "run")


def test_a_kind_of_training_without_published_weights_says_so(run, tmp_path):
    config.override(run, ["recipe=classifier", "model=wide_resnet:depth=10:width=1"])
    with pytest.raises(RunError, match=r"recipe 'classifier' has no published weights"):
        restore(run, tmp_path / "run")
