"""A normalizing flow on two interleaved half circles: exact densities, by maximum likelihood.

    python main.py --config=configs/flow.py

About a minute of CPU time. Leaves samples next to data in `samples/` and the exact bits/dim of the 2,000 test points:
0.239, next to 1.346 of a Gaussian and 0.226 of the score model of `vp_moons.py`. A thin bridge of samples joins the
half circles, because an invertible map cannot tear the one mode of its normal law apart.

    :digits    8x8 handwritten digits, dequantized: 2.077 next to 2.952 of a Gaussian; half a minute of CPU time
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Sixteen affine couplings."""
    config = base()
    config.recipe = "flow"
    config.model = "coupling_flow:features=64:couplings=16:bound=3.0"
    config.data.name = "moons"
    config.optim.update({"lr": 3e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 5000, "batch": 512, "log_every": 250, "checkpoint_every": 1000})
    config.eval.update({"batch": 500, "samples": 2000})
    return config


def digits(config: Config) -> None:
    """Fewer and wider couplings; what keeps 1,500 images from being learned by heart is dropout."""
    config.data.name = "digits"
    config.model = "coupling_flow:features=128:couplings=8:dropout=0.2"
    config.optim.lr = 1e-3
    config.ema.decay = 0.995
    config.train.update({"steps": 1600, "batch": 128, "log_every": 100, "checkpoint_every": 400})
    config.eval.update({"batch": 150, "samples": 150, "grid": 64})


VARIANTS = {"digits": digits}
