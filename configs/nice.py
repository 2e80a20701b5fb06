"""NICE, a flow of additive couplings, by maximum likelihood or by score matching of its density.

    python main.py --config=configs/nice.py

8x8 handwritten digits, about half a minute of CPU time. Leaves samples next to data in `samples/` and the exact
bits/dim of the 297 test images: 2.609, next to 2.952 of a Gaussian (2.731 with sliced score matching). The same flow
as if its constant were unknown, from nothing but its score:

    python main.py --config=configs/nice.py --config.recipe.matching=sliced
    python main.py --config=configs/nice.py --config.recipe.matching=sliced:variance_reduced=false
    python main.py --config=configs/nice.py --config.recipe.matching=finite_difference:radius=0.1
    python main.py --config=configs/nice.py --config.recipe.matching=denoising:sigma=0.3
    python main.py --config=configs/nice.py --config.recipe.matching=exact

What is learned is then the density of the logits with normal noise of deviation 0.3, which score matching needs here:
the density of dequantized gray levels has jumps, at which its loss has no lowest value.

    :mnist    MNIST with couplings of width 200; some minutes of CPU time
    :full     the published size, width 1000 and 15 million parameters, on MNIST, for a GPU
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Four couplings of width 100 on digits."""
    config = base()
    config.recipe = "flow:data_noise=0.3"
    config.model = "nice:features=100:depth=3"
    config.data.name = "digits"
    config.optim.update({"lr": 1e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.99, "warmup": True})
    config.train.update({"steps": 1000, "batch": 128, "log_every": 100, "checkpoint_every": 500})
    config.eval.update({"batch": 150, "samples": 150, "grid": 64})
    return config


def mnist(config: Config) -> None:
    """The number of layers of the published experiment."""
    config.data.name = "mnist"
    config.model = "nice:features=200:depth=4"
    config.train.update({"steps": 5000, "log_every": 100, "checkpoint_every": 1000})
    config.eval.update({"batch": 500, "samples": 256})


def full(config: Config) -> None:
    """The published network and number of steps, 100 epochs."""
    mnist(config)
    config.model = "nice:features=1000:depth=4"
    config.train.update({"log_every": 200, "checkpoint_every": 2000, "steps": 42_000})


VARIANTS = {"mnist": mnist, "full": full}
