"""Examples of any shape and type are trained on, drawn and pictured, or refused with the reason.

One is drawn out of a hat. SHAPES=200 python -m pytest -n 2 tests/shop/test_every_shape.py draws as many.
"""

import os

import numpy as np
import pytest
from PIL import Image
from runs import ROOT

from scorejax.experiment import config as configs
from scorejax.experiment import modes
from scorejax.experiment.workdir import saved_config
from scorejax.models import NETWORKS
from scorejax.runtime.errors import ConfigError

TYPES = (np.uint8, np.int8, np.uint16, np.int32, bool, np.float32, np.float64)
SIDES = {1: (), 2: (40,), 3: (24, 24), 4: (9, 9, 9)}  # the longest, by the rank of an example
PATCHED = ("dit", "uvit")  # which cut examples into patches, and refuse sides that these do not divide
FEW = (
    "train.steps=2", "train.batch=4", "train.log_every=1", "train.checkpoint_every=2", "eval.after_training=false",
    "sampler.steps=2", "eval.samples=4", "eval.grid=4", "eval.batch=4", "optim.warmup=1",
)  # fmt: skip


def out_of_the_hat(seed):
    """Examples, and a network of scores that says it takes as many axes."""
    hat = np.random.default_rng(11 + seed)
    rank = int(hat.integers(1, 5))
    shape = (*(int(hat.integers(1, longest + 1)) for longest in SIDES[rank]), int(hat.integers(1, 14)))
    kind = np.dtype(TYPES[hat.integers(len(TYPES))])
    if kind.kind == "f":
        x = hat.standard_normal((24, *shape)) * 10.0 ** hat.integers(-3, 4)
    else:
        low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min // 4, np.iinfo(kind).max // 4)
        x = hat.integers(low, high, (24, *shape), endpoint=True)
        x[0].flat[0], x[0].flat[-1] = low, high  # training examples have all levels
    names = [name for name, network in NETWORKS.items() if network.role == "scores" and rank in network.ranks]
    return x.astype(kind), names[hat.integers(len(names))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("SHAPES", "1"))))
def test_any_array_is_trained_on_drawn_and_pictured_or_refused_with_the_reason(seed, tmp_path):
    x, name = out_of_the_hat(seed)
    axes = {1: "NC", 2: "NLC", 3: "NHWC", 4: "NDHWC"}[x.ndim - 1]
    np.savez(tmp_path / "x.npz", x=x)
    network = [f"model={name}", *(f"model.{key}={value}" for key, value in NETWORKS[name].tiny.items())]
    config = configs.load(
        str(ROOT / "configs/vp_gaussian.py"), [*FEW, *network, f"data=npz:path={tmp_path / 'x.npz'}:axes={axes}"]
    )
    if name in ("ncsn", "ncsnv2", "multiscale_conv"):
        config = configs.override(config, ["sde=smld:sigma_max=1:n=4", "sampler.t_min=none"])
    folder = tmp_path / "run"
    try:
        modes.run("train", config, folder)
    except ConfigError as refused:
        assert "divide" in str(refused) and name in PATCHED, refused
        return
    modes.run("sample", saved_config(folder), folder)
    drawn = np.load(next(folder.glob("samples/*/x.npy")))
    # levels of int32 are more than float32 has integers, and are taken for floating numbers
    kind = {np.dtype(np.int32): np.float64, np.dtype(bool): np.uint8}.get(x.dtype, x.dtype)
    assert drawn.dtype == kind and drawn.shape == (4, *x.shape[1:])
    with Image.open(next(folder.glob("samples/*.png"))) as page:
        assert page.width * page.height > 900
