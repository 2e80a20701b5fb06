"""CIFAR-10, sub-VP, DDPM++ with continuous times (Song et al. 2021): published FID 2.61, IS 9.56, bits/dim 3.02.

    python main.py --config=configs/subvp_cifar10.py --config.data.data_dir=TFDS_DIR

All else as in `vp_cifar10.py`, whose variants work here too, but for those of the discrete chain. With the
published FID / IS / bits per dimension:

    :deep            twice the blocks, 950,000 steps                       2.41 / 9.57 / 2.99
    :ddpm            Ho et al.'s network, one attention per upward level   3.56 (ODE) / - / 3.05
    :ncsnpp          FIR filters and residual input pyramid                -
"""

import runpy
from pathlib import Path

from scorejax.config import Config

_vp = runpy.run_path(str(Path(__file__).with_name("vp_cifar10.py")))


def get_config() -> Config:
    """The run of VP with another process."""
    config = _vp["get_config"]()
    config.sde.name = "subvp"
    return config


VARIANTS = {name: change for name, change in _vp["VARIANTS"].items() if name not in ("discrete", "unconditional")}
