"""CIFAR-10, sub-VP, DDPM++ with continuous times (Song et al. 2021): published FID 2.61, bits/dim 3.02.

    python main.py --config=configs/subvp_cifar10.py --config.data.data_dir=TFDS_DIR

All else as in `vp_cifar10.py`: the published hyper-parameters, days on several GPUs.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Sub-VP, DDPM++."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "dequantize": False})
    config.sde.name = "subvp"
    config.model.update({"name": "ddpmpp", "features": 128, "channel_multipliers": (1, 2, 2, 2)})
    config.model.update({"blocks_per_level": 4, "attention_resolutions": (16,), "dropout": 0.1})
    config.optim.update({"lr": 2e-4, "warmup": 5000, "clip": 1.0})
    config.ema.decay = 0.9999
    config.train.update({"steps": 1_300_000, "batch": 128, "log_every": 50, "checkpoint_every": 10_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "euler_maruyama", "steps": 1000, "t_min": 1e-3})
    config.eval.update({"batch": 512, "likelihood_passes": 5, "samples": 50_000})
    return config


def deep(config: Config) -> None:
    """Twice the blocks: published FID 2.41, bits/dim 2.99, 950,000 steps."""
    config.model.blocks_per_level = 8
    config.train.steps = 950_000


VARIANTS = {"deep": deep}
