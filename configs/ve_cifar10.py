"""CIFAR-10, VE, NCSN++ with continuous noise levels from 0.01 to 50 (Song et al. 2021): published FID 2.38, IS 9.83.

    python main.py --config=configs/ve_cifar10.py --config.data.data_dir=TFDS_DIR

Variants, which combine, with the published FID / IS (no bits/dim of VE was ever published):

    :deep        twice the blocks, 950,000 steps                            2.20 / 9.89
    :discrete    the SMLD chain of 1,000 levels, positional embedding       2.45 / 9.73
    :ddpm        Ho et al.'s network on the SMLD chain                      3.60 / -
    :bf16        computes in bfloat16; parameters and norms stay float32

The published hyperparameters: 62.8 million parameters, images in [0, 1], half the sum over pixels as loss, averages
that decay by 0.999; reverse diffusion with one Langevin step a level, 2,000 network evaluations a sample. Days on
several GPUs.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VE, NCSN++."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "dequantize": False, "centered": False})
    config.sde.update({"name": "ve", "sigma_min": 0.01, "sigma_max": 50.0})
    config.model.update({"name": "ncsnpp", "features": 128, "channel_multipliers": (1, 2, 2, 2)})
    config.model.update({"blocks_per_level": 4, "attention_resolutions": (16,), "dropout": 0.1})
    config.model.update({"scale_by_sigma": True, "embedding": "fourier", "fourier_scale": 16.0})
    config.recipe.predicts = "score"
    config.objective.reduction = "half_sum"
    config.optim.update({"lr": 2e-4, "warmup": 5000, "clip": 1.0})
    config.ema.decay = 0.999
    config.train.update({"steps": 1_300_000, "batch": 128, "log_every": 50, "checkpoint_every": 10_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "reverse_diffusion", "steps": 1000, "t_min": 1e-5})
    config.sampler.update({"corrector": "langevin:snr=0.16", "corrector_first": True})
    config.sampler.clip = "none"  # as published
    config.eval.update({"batch": 512, "likelihood_passes": 5, "samples": 50_000})
    return config


def deep(config: Config) -> None:
    """Twice the blocks."""
    config.model.blocks_per_level = 8
    config.train.steps = 950_000


def discrete(config: Config) -> None:
    """The SMLD chain; a grid of 999 steps visits every level, and the last one is denoised."""
    config.sde.update({"name": "smld", "n": 1000})
    config.model.update({"embedding": "positional", "fourier_scale": None})
    config.sampler.update({"steps": 999, "t_min": None})


def ddpm(config: Config) -> None:
    """The network of Ho et al. in the form that Score-SDE trained."""
    discrete(config)
    config.model.update({"name": "ddpm", "blocks_per_level": 2, "attention_up": "level"})


def bf16(config: Config) -> None:
    """Compute in bfloat16."""
    config.model.dtype = "bfloat16"


VARIANTS = {variant.__name__: variant for variant in (deep, discrete, ddpm, bf16)}
