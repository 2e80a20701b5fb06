"""Through main.py: published weights are evaluated as they are, and training starts from them."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from golden_weights import load as golden
from test_diffusers import weights, write_folder
from test_load import checkpoint, same
from test_score_sde_flax import CLASSES, to_flax
from test_score_sde_flax import write as write_flax
from writers import write_torch

from scorejax import build, config, evaluate, train
from scorejax.errors import RunError
from scorejax.models import DDPM
from scorejax.pretrained import params_from_diffusers

ROOT = Path(__file__).parents[2]
# The golden networks, on two images; everything else as small as it can be.
OVERRIDES = [
    "data.name=npz",
    "model.name=ddpmpp",
    "model.features=32",
    "model.channel_multipliers=(1,2)",
    "model.blocks_per_level=1",
    "model.dropout=0",
    "sampler.steps=2",
    "eval.batch=2",
    "eval.samples=2",
    "eval.grid=2",
    "eval.features=pixels",
    "eval.likelihood_examples=2",
    "eval.rtol=0.1",
    "eval.atol=0.1",
    "train.batch=2",
    "train.steps=1",
    "train.checkpoint_every=1",
]


def overrides(tmp_path, size, attention):
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", train=images, test=images)
    return [*OVERRIDES, f"data.path={tmp_path / 'images.npz'}", f"model.attention_resolutions=({attention},)"]


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("scorejax_main", ROOT / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.errors.show_log", lambda: None)


def write(path, kind):
    if kind == "diffusers":
        return write_folder(path, "ddpm")
    _, state, _ = golden("ncsnpp_vp_small")
    if kind == "torch":
        return write_torch(path, checkpoint(state))
    return write_flax(path, to_flax(state, CLASSES["ncsnpp_vp_small"], True))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "step", "size"), [("torch", 5, 16), ("flax", 12, 16), ("diffusers", 0, 8)])
def test_bits_per_dim_and_samples_of_a_published_file(main, tmp_path, monkeypatch, kind, step, size):
    if kind == "diffusers":
        monkeypatch.setitem(build.NETWORKS, "ddpmpp", DDPM)
    path = write(tmp_path / "weights", kind)
    given = [f"--config.{text}" for text in overrides(tmp_path, size, size // 2)]
    arguments = [f"--config={ROOT / 'configs/vp_digits.py'}", f"--workdir={tmp_path / 'run'}", *given]
    assert main.main([*arguments, "--mode=eval", f"--config.init_from={path}"]) == 0
    report = json.loads((tmp_path / "run" / "eval" / f"step-{step}.json").read_text())
    assert np.isfinite(report["likelihood"]["bits_per_dim"])
    assert np.load(tmp_path / "run" / "samples" / f"step-{step}.npz")["x"].shape == (2, size, size, 3)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose network is that of a folder of diffusers."""
    monkeypatch.setitem(build.NETWORKS, "ddpmpp", DDPM)
    given = [*overrides(tmp_path, 8, 4), f"init_from={write_folder(tmp_path / 'weights', 'ddpm')}"]
    return config.load(str(ROOT / "configs/vp_digits.py"), given)


def test_a_run_without_checkpoints_is_evaluated_with_the_published_weights(run, tmp_path):
    model = evaluate.restore(run, tmp_path / "run", build.dataset(run))
    assert model.step == 0
    assert same(model.params, params_from_diffusers(weights("ddpm"), model.module, 8))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["init_from"] == run.init_from


def test_training_starts_from_the_published_weights_and_their_average(run):
    class NoCheckpoints:
        def restore(self, target):
            return None

    examples = build.dataset(run)
    network, optimizer = build.network(run, examples), build.optimizer(run)
    params = params_from_diffusers(weights("ddpm"), network, 8)
    state, step = train._restore_or_init(
        NoCheckpoints(),
        lambda key: train.State(jax.numpy.int32(0), {}, {}, optimizer.init({}), key),
        0,
        lambda: train._published(run.init_from, network, examples.shape),
    )
    assert step == 0 and same(state.params, params) and same(state.ema, params)


@pytest.mark.slow
def test_a_trained_run_is_evaluated_with_its_own_weights(run, tmp_path):
    train.train(run, tmp_path / "run")
    model = evaluate.restore(run, tmp_path / "run", build.dataset(run))
    published = params_from_diffusers(weights("ddpm"), model.module, 8)
    assert model.step == 1 and not same(model.params, published)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-2), model.params, published))


def test_weights_of_another_network_are_refused(run, tmp_path):
    run.model.features = 16
    with pytest.raises(RunError, match="features = 32"):
        evaluate.restore(run, tmp_path / "run", build.dataset(run))
