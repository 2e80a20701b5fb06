"""Gaussian random fields around a circle, whose density is known: what a network of series, images or volumes is worth.

    python main.py --config=configs/random_field.py

The report holds the bits/dim next to those of the truth, the power spectrum of the samples over that of the data, and
the denoising loss level by level. The recipe is that of EDM (Karras et al. 2022), its noise set to this data.

    :line       series of 64 numbers (the default)
    :plane      images of 32 x 32
    :volume     volumes of 16 x 16 x 16
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A line, a U-Net that goes around the circle."""
    config = base()
    config.data = "random_field"
    config.sde = "edm"
    config.recipe.update({"predicts": "edm", "sigma_data": 1.0})
    config.model.update({"name": "ncsnpp", "fir": False, "progressive_input": "none", "scale_by_sigma": False})
    config.model.update({"features": 16, "channel_multipliers": (1, 2, 2), "blocks_per_level": 1, "dropout": 0.0})
    config.model.update({"attention_resolutions": (16,), "fourier_scale": 2.0, "padding": ("circular",)})
    config.objective.update({"weighting": "edm", "time_sampling": "lognormal:mean=-0.765:std=1.163"})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 4000, "batch": 256, "log_every": 200, "checkpoint_every": 1000})
    config.sampler.update({"stepper": "heun", "steps": 40, "time_grid": "karras", "clip": "none"})
    config.eval.update({"batch": 1000, "likelihood_examples": 200, "rtol": 1e-4, "atol": 1e-4, "samples": 20_000})
    config.eval.update({"denoising": 500, "grid": 16, "metrics": ("frechet", "spectrum:periodic=true")})
    return config


def line(config: Config) -> None:
    """The default."""


def plane(config: Config) -> None:
    """Images."""
    config.data.update({"side": 32, "dimensions": 2, "power": 3.0, "count": 8000})
    config.model.update({"features": 16, "attention_resolutions": (8,)})
    config.objective.time_sampling = "lognormal:mean=-0.767:std=1.093"
    config.train.update({"steps": 1600, "batch": 32})
    config.eval.update({"batch": 50, "likelihood_examples": 100, "samples": 500, "denoising": 200})


def volume(config: Config) -> None:
    """Volumes."""
    config.data.update({"side": 16, "dimensions": 3, "power": 4.0, "count": 2000})
    config.model.update({"features": 8, "attention_resolutions": ()})
    config.objective.time_sampling = "lognormal:mean=-0.605:std=1.059"
    config.train.update({"steps": 1500, "batch": 16})
    config.eval.update({"batch": 20, "likelihood_examples": 40, "samples": 200, "denoising": 100})


VARIANTS = {"line": line, "plane": plane, "volume": volume}
