"""A generator and a discriminator on two interleaved half circles.

    python main.py --config=configs/adversarial.py

Half a minute of CPU time. Leaves samples next to data in `samples/`: both moons are covered, and a few samples lie
between them. There is no density, so there are no bits/dim; the Frechet distance of 2,000 samples is 0.0022 in
features that are the values themselves, where 2,000 points of the data have 0.0004.

    :digits    8x8 handwritten digits by convolutions: the Frechet distance of 297 samples is 4.10 in features of random
               convolutions, where as many images of the data have 0.61
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Two small networks, the non-saturating loss, and a penalty of the discriminator's slope at the data."""
    config = base()
    config.recipe = "adversarial:gradient_penalty=0.02:discriminator_rate=1.5"
    config.model = "generator_mlp:features=128"
    config.data.name = "moons"
    config.optim.update({"lr": 1e-3, "beta1": 0.5, "beta2": 0.99, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 5000, "batch": 256, "log_every": 250, "checkpoint_every": 1000})
    config.eval.update({"batch": 500, "exact": False, "samples": 2000})
    return config


def digits(config: Config) -> None:
    """Convolutions."""
    config.recipe.update({"latents": 32, "discriminator": "conv:features=32", "gradient_penalty": 1.0})
    config.recipe.discriminator_rate = 1.0
    config.model = "generator_conv:features=32"
    config.data.name = "digits"
    config.optim.beta1 = 0.0
    config.ema.decay = 0.995
    config.train.update({"steps": 1500, "batch": 64, "log_every": 100, "checkpoint_every": 500})
    config.eval.update({"batch": 150, "samples": 297, "grid": 64})


VARIANTS = {"digits": digits}
