"""8x8 handwritten digits (17 gray levels, 1,500 for training) by the recipe of EDM (Karras et al. 2022).

    python main.py --config=configs/edm_digits.py

The network, the steps and the batch of `vp_digits`; what differs is the process, the form that the network's output
has, the times at which it learns, and the sampler. Leaves a grid of digits in `samples/` and bits/dim on the 297 test
images, about 2.24 against 2.34 of `vp_digits` and 2.95 of a Gaussian fitted to the training images.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """EDM's preconditioning, weighting and time law; a DDPM++ whose embedding takes any noise level."""
    config = base()
    config.data.name = "digits"
    config.sde = "edm"
    config.recipe.update({"predicts": "edm", "sigma_data": 0.75})
    config.model.update({"name": "ncsnpp", "fir": False, "progressive_input": "none", "scale_by_sigma": False})
    config.model.update({"features": 32, "channel_multipliers": (1, 2), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (4,), "dropout": 0.05})
    config.objective.update({"weighting": "edm", "time_sampling": "lognormal:mean=-0.7:std=1.3"})
    config.optim.update({"lr": 2e-3, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"steps": 240, "batch": 128, "log_every": 40, "checkpoint_every": 120})
    config.sampler.update({"stepper": "dpm_solver", "steps": 20, "time_grid": "karras"})
    config.eval.update({"batch": 150, "samples": 150, "grid": 64, "rtol": 1e-3, "atol": 1e-3})
    return config
