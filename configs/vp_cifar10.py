"""CIFAR-10, VP, DDPM++ with continuous times (Song et al. 2021): published FID 2.55, bits/dim 3.16.

    python main.py --config=configs/vp_cifar10.py --config.data.data_dir=TFDS_DIR

The published hyper-parameters: 61.8 million parameters, 1.3 million steps of batch 128 with horizontal flips and
without dequantization. That is days on several GPUs. The FID is of 50,000 samples by Euler-Maruyama with
1,000 steps, in the features of Inception (ours are those of `eval.features`, to be compared with the floor beside
them); the bits/dim are means of 5 dequantizations.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, DDPM++."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "dequantize": False})
    config.sde.name = "vp"
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
    """Twice the blocks: published FID 2.41, bits/dim 3.13, 950,000 steps."""
    config.model.blocks_per_level = 8
    config.train.steps = 950_000


VARIANTS = {"deep": deep}
