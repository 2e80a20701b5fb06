"""Windows of a recording of brain waves, four channels: series, on a CPU in minutes, without a download.

    python main.py --config=configs/eeg.py

The data come with matplotlib. With 577 overlapping windows a network soon knows them by heart, so the training is
short: with `--config.train.steps=1000` the loss of windows from later in the recording rises while that of the training
windows falls (`samples/validation.png`), and the report warns that samples lean on training data. A warning
that values are repeated is of the windows, which overlap.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """DDPM++ in one dimension, the recipe of EDM."""
    config = base()
    config.data = "eeg"
    config.sde = "edm"
    config.recipe.update({"predicts": "edm", "sigma_data": 1.0})
    config.model.update({"name": "ncsnpp", "fir": False, "progressive_input": "none", "scale_by_sigma": False})
    config.model.update({"features": 16, "channel_multipliers": (1, 2, 2), "blocks_per_level": 1, "dropout": 0.1})
    config.model.update({"attention_resolutions": (16,), "fourier_scale": 2.0})
    config.objective.update({"weighting": "edm", "time_sampling": "lognormal:mean=-0.6:std=1.4"})
    config.optim.update({"lr": 2e-3, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 200, "batch": 64, "log_every": 50, "checkpoint_every": 50, "validate_every": 50})
    config.sampler.update({"stepper": "heun", "steps": 30, "time_grid": "karras", "clip": "none"})
    config.eval.update({"batch": 97, "likelihood_examples": 97, "rtol": 1e-3, "atol": 1e-3, "samples": 500})
    config.eval.update({"denoising": 97, "grid": 16})
    config.eval.metrics = ("energy_distance", "spectrum", "marginals", "memorization")
    return config
