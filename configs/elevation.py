"""Squares of a map of heights in whole meters: 16-bit fields, on a CPU in minutes, without a download.

    python main.py --config=configs/elevation.py

The data come with matplotlib. The likelihood is in bits for each pixel of one meter, next to that of a Gaussian with
the mean and covariance of the map.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """DDPM++, the recipe of EDM."""
    config = base()
    config.data = "elevation"
    config.sde = "edm"
    config.recipe.update({"predicts": "edm", "sigma_data": 1.0})
    config.model.update({"name": "ncsnpp", "fir": False, "progressive_input": "none", "scale_by_sigma": False})
    config.model.update({"features": 16, "channel_multipliers": (1, 2, 2), "blocks_per_level": 1, "dropout": 0.0})
    config.model.update({"attention_resolutions": (), "fourier_scale": 2.0})
    # wide: the mean height of a square varies most, and a thousand times as much as the finest waves
    config.objective.update({"weighting": "edm", "time_sampling": "lognormal:mean=-1.5:std=2.4"})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1200, "batch": 64, "log_every": 100, "checkpoint_every": 250})
    config.sampler.update({"stepper": "heun", "steps": 30, "time_grid": "karras", "clip": "none"})
    config.eval.update({"batch": 100, "likelihood_examples": 100, "rtol": 1e-3, "atol": 1e-3, "samples": 500})
    config.eval.update({"denoising": 200, "grid": 16, "metrics": ("frechet", "spectrum", "energy_distance")})
    config.eval.update({"mixture": 4, "baseline_examples": 4000})
    return config
