"""CIFAR-10 by progressive deblurring (Lee et al. 2022), with the process as published, for one GPU.

    python main.py --config=configs/blur_cifar10.py --config.data.data_dir=TFDS_DIR

Images in [0, 1], 1000 levels, linear betas, quartic blur to f(N) = 0.14; batch 16, learning rate 5e-5, decay of the
average .9999, 450,000 steps, as for 64 x 64 LSUN, on which the publication measured.

    :log      f(N) = 0.6, logarithmic
    :none     no blur
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Quartic."""
    config = base()
    config.data.update({"name": "cifar10", "centered": False, "flip": True})
    config.sde = "blur:shape=32,32,3"
    config.model.update({"name": "ddpm", "features": 128, "channel_multipliers": (1, 2, 2, 2), "blocks_per_level": 2})
    config.model.update({"attention_resolutions": (16,), "dropout": 0.1})
    config.optim.update({"lr": 5e-5, "warmup": 5000})
    config.train.update({"steps": 450_000, "batch": 16, "checkpoint_every": 10_000, "preview_every": 10_000})
    config.sampler.update({"stepper": "reverse_diffusion", "steps": 998, "clip": "none"})
    config.eval.update({"batch": 500, "likelihood_examples": 1000, "samples": 10_000})
    return config


def log(config: Config) -> None:
    """As published."""
    config.sde.update({"growth": "log", "most": 0.6})


def none(config: Config) -> None:
    """No blur."""
    config.sde.growth = "none"


VARIANTS = {"log": log, "none": none}
