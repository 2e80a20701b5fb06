"""Pickles of EDM: what they say of themselves, that nothing of theirs runs, and a network through main.py."""

import importlib.util
import json
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from edm_writer import Call, Persistent, network, write
from made_up import song_unet

from scorejax.experiment.assemble import score as scores
from scorejax.models import SongUNet
from scorejax.models.pretrained import described, edm_pickle, load
from scorejax.runtime.errors import CheckpointError
from scorejax.sdes import edm, ve

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def around(monkeypatch):
    """Neither signals nor logging change."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call("os", "system", "touch {}"), "os.system"),
        (Call("posix", "system", "touch {}"), "posix.system"),
        (Call("builtins", "eval", "open('{}', 'w')"), "builtins.eval"),
        (Call("builtins", "getattr", "a", "b"), "builtins.getattr"),
        (Call("torch_utils.persistence", "import_class", "x"), "torch_utils.persistence.import_class"),
        (Call("numpy.testing", "measure", "x"), "numpy.testing.measure"),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused_by_name_and_not_run(tmp_path, call, name):
    mark = tmp_path / "mark"
    call = Call(call.module, call.name, *(arg.format(mark) for arg in call.args))
    path = write(tmp_path / "bad.pkl", {"ema": Persistent("EDMPrecond", {"_modules": {"model": call}})})
    with pytest.raises(CheckpointError, match=f"asks for {name}"):
        edm_pickle.load(path)
    with pytest.raises(CheckpointError, match=name):
        described.describe(path)
    assert not mark.exists()


def test_the_source_in_a_file_is_never_run(tmp_path):
    source = f"open({str(tmp_path / 'mark')!r}, 'w'); raise RuntimeError"
    path = write(tmp_path / "good.pkl", {"ema": Persistent("EDMPrecond", {"sigma_data": 0.5}, source)})
    record = edm_pickle.load(path)
    assert record.kind == "EDMPrecond" and record.state["sigma_data"] == 0.5
    assert os.listdir(tmp_path) == ["good.pkl"]


def test_files_that_are_not_edm_s_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="version 7"):
        edm_pickle.load(write(tmp_path / "new.pkl", {"ema": Persistent("EDMPrecond", {}, version=7)}))
    with pytest.raises(CheckpointError, match="holds weights"):
        edm_pickle.load(write(tmp_path / "other.pkl", {"weights": 3}))
    (tmp_path / "cut.pkl").write_bytes(write(tmp_path / "whole.pkl", {"ema": [1, 2]}).read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged pickle"):
        edm_pickle.load(tmp_path / "cut.pkl")


@pytest.mark.parametrize(
    ("precond", "about", "wanted"),
    [
        ("EDMPrecond", {}, {"recipe=score:predicts=edm:sigma_data=0.5:noise_label=log_ratio", "sde=edm"}),
        ("VPPrecond", {}, {"recipe=score:predicts=noise", "sde=vp:beta_min=0.1:beta_max=20.0"}),
        ("VEPrecond", {"sigma_max": 90.0}, {
            "recipe=score:predicts=noise:noise_label=log_half_ratio", "sde=ve:sigma_min=0.02:sigma_max=90.0"
        }),
    ],
)  # fmt: skip
def test_a_file_says_network_process_and_preconditioning(tmp_path, precond, about, wanted):
    state, settings = song_unet()
    found = described.describe(write(tmp_path / "net.pkl", network(precond, "SongUNet", state, settings, **about)))
    assert found is not None and wanted <= set(found.settings) and not found.unsaid
    assert {"model=song_unet", "model.fir=True", "model.attention_resolutions=(4,)"} <= set(found.settings)


@pytest.mark.slow
def test_the_score_of_a_file_under_each_preconditioning(tmp_path):
    """D = c_skip x + c_out F(c_in x; c_noise), and the score is (D - x) / sigma^2."""
    state, settings = song_unet()
    fields = {
        "features": 8, "channel_multipliers": (1, 1), "blocks_per_level": 1, "attention_resolutions": (4,), "fir": True,
        "embedding": "fourier", "progressive_input": "residual", "augment_dim": 9, "num_classes": 10,
    }  # fmt: skip
    module, x, s = SongUNet(**fields), jnp.ones((2, 8, 8, 1)), jnp.asarray([0.3, 5.0])
    x = x * jnp.arange(8.0)[:, None, None] / 8
    of = {}
    for kind in ("EDMPrecond", "VEPrecond"):
        path = write(tmp_path / kind, network(kind, "SongUNet", state, settings))
        of[kind] = load(path, module, 8, channels=1)[0]
    np.testing.assert_array_equal(
        of["EDMPrecond"]["mid_attention"]["query"]["bias"], state["dec.4x4_in0.qkv.bias"][::3]
    )
    classes = jnp.asarray([3, 10])

    @jax.jit
    def both(params, other, x):
        raw = lambda x, label: module.apply({"params": params}, x, label, classes)  # noqa: E731
        wide = s[:, None, None, None]
        total = jnp.sqrt(wide**2 + 0.25)
        denoised = 0.25 / total**2 * x + wide * 0.5 / total * raw(x / total, jnp.log(s) / 4)
        of_edm = scores.score(edm(), module, params, "edm", sigma_data=0.5, noise_label="log_ratio")(x, s, classes)
        process = ve(sigma_min=0.02, sigma_max=100.0)
        t = jnp.log(s / 0.02) / math.log(100 / 0.02)
        of_ve = scores.score(process, module, other, "noise", noise_label="log_half_ratio")(x, t, classes)
        return of_edm, (denoised - x) / wide**2, of_ve, raw(x, jnp.log(s / 2)) / wide

    got, wanted, of_ve, raw = both(of["EDMPrecond"], of["VEPrecond"], x)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_ve, raw, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_file_is_evaluated_as_it_is(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("scorejax_main", ROOT / "main.py")
    assert spec is not None and spec.loader is not None
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    path = write(tmp_path / "net.pkl", network("EDMPrecond", "SongUNet", *song_unet()))
    given = [f"--config={ROOT / 'configs/vp_digits.py'}:tiny", "--mode=eval", f"--config.init_from={path}"]
    given += ["--config.eval.features=pixels", "--config.eval.exact=false", f"--workdir={tmp_path / 'run'}"]
    assert main.main(given) == 0, capsys.readouterr().err
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["model"]["name"] == "song_unet" and saved["sde"]["name"] == "edm"
    assert np.isfinite(np.load(next((tmp_path / "run/samples").glob("step-0-*/x.npy")))).all()
