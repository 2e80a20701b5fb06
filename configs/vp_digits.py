"""8x8 handwritten digits (17 gray levels, 1,500 for training): the first run to try.

    python main.py --config=configs/vp_digits.py

Under 4 minutes on 2 CPU cores, compilation and evaluation included. Leaves a grid of digits in `samples/` and
bits/dim on the 297 test images, about 2.33 against 2.95 of a Gaussian fitted to the training images.

    :conditional    with class labels, a tenth of them hidden, so that samples can be guided

and by the variational bound, on images that are not dequantized:

    :hybrid    a DDPM chain of 200 levels with learned variances (improved DDPM): bound 2.75
    :vlb       the same by the bound alone, at times drawn by their losses: 3.59, it learns more slowly
    :vdm       continuous times and a learned noise schedule (variational diffusion models): 2.30, its bound 2.35
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, small DDPM++."""
    config = base()
    config.data.name = "digits"
    config.model.update({"name": "ddpmpp", "features": 32, "channel_multipliers": (1, 2), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (4,), "dropout": 0.05})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 2e-3, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"steps": 240, "batch": 128, "log_every": 40, "checkpoint_every": 120})
    config.sampler.update({"steps": 80, "t_min": 1e-3})
    config.eval.update({"batch": 150, "samples": 150, "grid": 64, "rtol": 1e-3, "atol": 1e-3})
    return config


def conditional(config: Config) -> None:
    """Classes, and none, in one network."""
    config.recipe.update({"conditional": True, "label_dropout": 0.1})


def hybrid(config: Config) -> None:
    """`L_simple` for the score, a little of `L_vlb` for the variances."""
    config.sde = "ddpm:schedule=cosine:n=200"
    config.model.learned_range = True
    config.objective.name = "hybrid"
    config.sampler.update({"stepper": "reverse_chain:variance=learned", "steps": 199, "t_min": None})
    config.eval.update({"elbo": 200, "elbo_variance": "learned", "exact": False})


def vlb(config: Config) -> None:
    """`L_vlb` alone."""
    hybrid(config)
    config.objective.update({"name": "vlb", "time_sampling": "importance"})


def vdm(config: Config) -> None:
    """The bound in continuous time, which moves the ends of the schedule too."""
    config.sde = "learned:gamma_min=-8:gamma_max=5"
    config.objective.name = "continuous_vlb"
    config.sampler.update({"stepper": "ancestral", "t_min": None})
    config.eval.bound = 100


VARIANTS = {"conditional": conditional, "hybrid": hybrid, "vlb": vlb, "vdm": vdm}
