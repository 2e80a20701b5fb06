"""Files of guided diffusion: what their shapes say, what has to be added, and both networks through main.py."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from made_up import adm, adm_classifier
from writers import write_torch

from scorejax.models import ADM
from scorejax.models.pretrained import described, guided_diffusion, layout
from scorejax.runtime.errors import CheckpointError

ROOT = Path(__file__).parents[2]
UNSAID = {"heads": 2, "qkv_order": "legacy"}


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("scorejax_main", ROOT / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(autouse=True)
def around(monkeypatch):
    """Neither signals nor logging change."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("scorejax.runtime.errors.show_log", lambda: None)


def shapes_of(module, side=8, channels=1):
    """What guided diffusion would save of a network of ours: names and shapes alone."""
    tree = layout.shape_tree(module, (side, side, channels))
    flat = {"/".join(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    state = {}
    for name, path, relayout in layout.tensors(guided_diffusion.entries(module), guided_diffusion.GUIDED):
        if path not in flat:
            continue
        shape, width = flat[path].shape, len(flat[path].shape)
        sites = {"qkv": 1, "proj_out": 1, "skip_connection": 2}.get(name.split(".")[-2], 0)
        if name.startswith("label_emb") or width == 1:
            state[name] = shape
        else:
            state[name] = (*shape[:-3:-1], *(shape[:-2] or (1,) * sites))
        value = relayout(np.lib.stride_tricks.as_strided(np.zeros(1), state[name], (0,) * len(state[name])))
        assert value.shape == shape, name
    return {n: np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), s, (0,) * len(s)) for n, s in state.items()}


@pytest.mark.slow
def test_a_published_network_is_recognized_by_its_number_of_parameters():
    fields = {
        "features": 192, "channel_multipliers": (1, 2, 3, 4), "blocks_per_level": 3, "attention_levels": (1, 2, 3),
        "heads": 0, "qkv_order": "new", "learned_range": True, "given_channels": 0, "dropout": 0.0,
    }  # fmt: skip
    found = guided_diffusion.describe(shapes_of(ADM(**fields, num_classes=1000), 64, 3))
    assert found.fields == fields and found.num_classes == 1000 and not found.unsaid and found.schedule == "cosine"
    fields |= {"channel_multipliers": (0.5, 1, 1, 2, 2, 4, 4), "features": 256, "blocks_per_level": 2}
    fields |= {"attention_levels": (4, 5, 6), "qkv_order": "legacy"}
    found = guided_diffusion.describe(shapes_of(ADM(**fields, num_classes=1000), 64, 3))
    assert found.fields == fields and found.schedule == "linear"


def test_the_shapes_say_the_network_but_for_heads_and_the_order_of_rows(tmp_path):
    found = described.describe(write_torch(tmp_path / "adm.pt", adm(classes=10)))
    assert found is not None and found.name == "adm"
    assert found.unsaid == [("model.heads", "model.head_channels"), ("model.qkv_order",)]
    wanted = {"model.channel_multipliers=(1, 2)", "model.blocks_per_level=1", "model.attention_levels=(1,)"}
    wanted |= {"model.learned_range=True", "objective=hybrid", "recipe.conditional=True", "data.centered=True"}
    assert wanted <= set(found.settings)
    found = described.describe(write_torch(tmp_path / "classifier.pt", adm_classifier()))
    assert found is not None and {"recipe=classifier", "model=adm_classifier"} <= set(found.settings)
    assert {"model.channel_multipliers=(1, 2)", "model.blocks_per_level=1"} <= set(found.settings)


def test_blocks_that_no_network_of_ours_has_are_refused():
    state = adm()
    with pytest.raises(CheckpointError, match="resblock_updown"):
        guided_diffusion.describe(state | {"input_blocks.2.0.op.weight": np.zeros((8, 8, 3, 3))})
    name = "middle_block.0.emb_layers.1.weight"
    with pytest.raises(CheckpointError, match="shifted and not scaled"):
        guided_diffusion.describe(state | {name: state[name][:16]})


@pytest.mark.slow
def test_a_file_is_evaluated_as_it_is_and_what_it_does_not_say_is_asked_for(main, tmp_path, capsys):
    path = write_torch(tmp_path / "adm.pt", adm(classes=10))
    given = [f"--config={ROOT / 'configs/vp_digits.py'}:tiny", "--mode=eval", f"--config.init_from={path}"]
    given += ["--config.eval.features=pixels", "--config.eval.exact=false", f"--workdir={tmp_path / 'run'}"]
    assert main(given) == 1
    assert "add --config.model.heads=... or --config.model.head_channels=..." in capsys.readouterr().err
    given += [f"--config.model.{key}={value}" for key, value in UNSAID.items()]
    assert main([*given, "--config.sde=ddpm:schedule=cosine:n=20"]) == 0, capsys.readouterr().err
    assert (tmp_path / "run/eval/step-0.json").is_file()
    assert np.isfinite(np.load(next((tmp_path / "run/samples").glob("step-0-*/x.npy")))).all()
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["model"]["name"] == "adm" and saved["model"]["attention_levels"] == [1]


@pytest.mark.slow
def test_a_classifier_is_evaluated_as_it_is(main, tmp_path, capsys):
    path = write_torch(tmp_path / "classifier.pt", adm_classifier())
    given = [f"--config={ROOT / 'configs/classifier.py'}:tiny", "--mode=eval", f"--config.init_from={path}"]
    given += ["--config.model.head_channels=4", "--config.model.qkv_order=legacy", f"--workdir={tmp_path / 'run'}"]
    assert main(given) == 0, capsys.readouterr().err
