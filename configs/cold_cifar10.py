"""Cold diffusion on CIFAR-10 (Bansal et al., arXiv 2208.09392): published degradations, network and training for a GPU.

    python main.py --config=configs/cold_cifar10.py --config.data.data_dir=TFDS_DIR

The published Frechet distances, in Inception features (`--config.eval.features=inception`), of algorithm 2 / of direct
restoration:

    :blur       50 blurs by a kernel of 11 pixels that grows from 0.35 to 0.84 pixels         80.08 / 83.69
    :inpaint    50 masks around a random pixel                                                8.92 / 9.97
    :pixelate   super-resolution from 4 x 4 pixels, 3 levels                                  -
    :decolor    color from gray images, 20 levels                                             -
    :snow       snow, 200 levels                                                              -
    :noise      hot diffusion with estimated noise, 200 levels                                -
    :small      a network and a training for a few minutes of 2 CPU cores

The paper trains 700,000 steps of batch 32, two of them at a time, and averages weights with the decay 0.995.
"""

from scorejax.config import Config, base

from scorejax.degradations import PUBLISHED


def get_config() -> Config:
    """Blurs."""
    config = base()
    config.data.update({"name": "cifar10", "dequantize": False, "flip": True})
    config.model.update({"name": "ddpmpp", "features": 64, "channel_multipliers": (1, 2, 4, 8), "blocks_per_level": 2})
    config.model.update({"attention_resolutions": (), "dropout": 0.0})
    config.optim.update({"lr": 2e-5, "warmup": 0})
    config.ema.decay = 0.995
    config.train.update({"steps": 700_000, "batch": 64, "log_every": 100, "checkpoint_every": 10_000})
    config.eval.update({"batch": 256, "restored": 10_000, "samples": 10_000})
    config.sampler.stepper = "cold"
    blur(config)
    return config


def _of(config: Config, name: str, data: str = "") -> None:
    """Degrade as published for this data set, in as many steps as there are levels."""
    settings = PUBLISHED[name][data] if data else {}
    config.recipe = {"name": "restoration", "degradation": {"name": name, **settings}}
    config.sampler.steps = config.recipe.degradation.levels


def blur(config: Config) -> None:
    """The published blurs."""
    _of(config, "blur", "cifar10")


def inpaint(config: Config) -> None:
    """The published holes."""
    _of(config, "inpaint", "cifar10")


def pixelate(config: Config) -> None:
    """The published halvings."""
    _of(config, "pixelate", "cifar10")


def decolor(config: Config) -> None:
    """Color that fades."""
    _of(config, "decolor")


def snow(config: Config) -> None:
    """The published snow."""
    _of(config, "snow", "cifar10")


def noise(config: Config) -> None:
    """Estimated noise."""
    _of(config, "noise")


def small(config: Config) -> None:
    """For a CPU."""
    config.model.update({"features": 16, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.warmup = True
    config.train.update({"steps": 1000, "batch": 32, "checkpoint_every": 500})
    config.eval.update({"restored": 500, "samples": 500, "reference_examples": 10_000})


VARIANTS = {variant.__name__: variant for variant in (blur, inpaint, pixelate, decolor, snow, noise, small)}
