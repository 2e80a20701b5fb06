"""CIFAR-10, sub-VP, DDPM++ with continuous times (Song et al. 2021): published FID 2.61, bits/dim 3.02.

    python main.py --config=configs/subvp_cifar10.py --config.data.data_dir=TFDS_DIR

All else as in `vp_cifar10.py`: the published hyper-parameters, days on several GPUs. `:deep` doubles the blocks:
published FID 2.41, bits/dim 2.99.
"""

from pathlib import Path

from scorejax.config import Config, load


def get_config() -> Config:
    """The run of VP with another process."""
    config = load(str(Path(__file__).with_name("vp_cifar10.py")))
    config.sde.name = "subvp"
    return config


def deep(config: Config) -> None:
    """Twice the blocks, 950,000 steps."""
    config.model.blocks_per_level = 8
    config.train.steps = 950_000


VARIANTS = {"deep": deep}
