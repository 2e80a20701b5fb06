"""Checkpoints of score_sde_pytorch: every average finds its name, or is refused with one.

`score_sde_checkpoint.pt` was written by torch 2.13: a parameter `i` holds `100 i, 100 i + 1, ...`, its average 1000
more; parameter 0 is frozen.
"""

from pathlib import Path

import numpy as np
import pytest
from writers import write_torch

from scorejax.models.pretrained import read_score_sde_torch
from scorejax.runtime.errors import CheckpointError

FILE = Path(__file__).parents[1] / "golden" / "torch_files" / "score_sde_checkpoint.pt"
TRAINED = {
    "all_modules.1.weight": (2, 6),
    "all_modules.1.bias": (2,),
    "all_modules.2.bn.weight": (2,),
    "all_modules.2.bn.bias": (2,),
    "all_modules.3.W": (2, 2),
    "all_modules.3.b": (2,),
}


def values(number, shape, more=0):
    return (np.arange(np.prod(shape)).reshape(shape) + 100 * number + more).astype(np.float32)


@pytest.mark.parametrize(("weights", "more"), [("ema", 1000), ("model", 0)])
def test_weights_are_found_by_name(weights, more):
    state, step = read_score_sde_torch(FILE, weights)
    assert step == 7
    for number, (name, shape) in enumerate(TRAINED.items(), start=1):
        np.testing.assert_array_equal(state.pop(name), values(number, shape, more))
    np.testing.assert_array_equal(state.pop("all_modules.0.W"), np.arange(3))  # frozen: not averaged
    np.testing.assert_allclose(state.pop("sigmas"), [1, 2 / 3, 1 / 3, 0], rtol=1e-6)
    assert set(state) == {f"all_modules.2.bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


def checkpoint(**changes):
    model = {f"module.all_modules.0.{n}": np.zeros(s, np.float32) for n, s in (("weight", (3, 2)), ("bias", (3,)))}
    averages = [np.ones((3, 2), np.float32), np.ones(3, np.float32)]
    return {"model": model, "ema": {"shadow_params": averages}, "step": 1, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ema": {"shadow_params": checkpoint()["ema"]["shadow_params"][::-1]}}, r"all_modules\.0\.weight.*\(3, 2\)"),
        ({"ema": {"shadow_params": checkpoint()["ema"]["shadow_params"][:1]}}, r"1 averages.*2.*all_modules\.0\.bias"),
        ({"ema": {"shadow_params": [*checkpoint()["ema"]["shadow_params"], np.ones(1, np.float32)]}}, "3 averages.*2"),
    ],
)
def test_averages_that_do_not_fit_are_refused_by_name(tmp_path, changes, words):
    path = write_torch(tmp_path / "c.pth", checkpoint(**changes))
    assert read_score_sde_torch(path, "model")[1] == 1
    with pytest.raises(CheckpointError, match=words):
        read_score_sde_torch(path)


def test_other_files_and_other_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="it holds state_dict, epoch"):
        read_score_sde_torch(write_torch(tmp_path / "c.pth", {"state_dict": {}, "epoch": 1}))
    with pytest.raises(ValueError, match="'ema', 'model'"):
        read_score_sde_torch(FILE, "average")
