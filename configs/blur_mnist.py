"""MNIST by progressive deblurring (Lee et al. 2022), with the network and the budget of `vp_mnist`, small.

    python main.py --config=configs/blur_mnist.py --config.data.data_dir=TFDS_DIR

Each variant is a forward process of its own; all else is the same, so that they can be compared.

    :quartic      blur that grows with the fourth power of the level, published f(N) = 0.14 (the default)
    :none         no blur: the plain chain of DDPM
    :log          strong blur from the first levels on, published f(N) = 0.6
    :fine         fine to coarse: the eigenvalues 1 - D, as published
    :mirrored     fine to coarse, in the mirrored order of the default
    :digits       8 x 8 digits, the embedded data, 800 steps
    :quick        a narrower network, 400 steps: some minutes of one CPU core
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Quartic blur, DDPM++ of a size for CPUs, images in [0, 1] as published."""
    config = base()
    config.data.update({"name": "mnist", "centered": False})
    config.sde = "blur:shape=28,28,1"
    config.model.update({"name": "ddpmpp", "features": 16, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (7,), "dropout": 0.0})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1700, "batch": 64, "log_every": 50, "checkpoint_every": 250})
    config.sampler.update({"stepper": "ancestral", "steps": 150, "clip": "none"})
    config.eval.update({"batch": 200, "likelihood_examples": 200, "rtol": 1e-3, "atol": 1e-3})
    config.eval.update({"samples": 400, "grid": 100, "features": "mnist_classifier", "reference_examples": 10_000})
    return config


def quartic(config: Config) -> None:
    """The default."""
    config.sde.growth = "quartic"


def none(config: Config) -> None:
    """No blur."""
    config.sde.growth = "none"


def log(config: Config) -> None:
    """As published."""
    config.sde.update({"growth": "log", "most": 0.6})


def fine(config: Config) -> None:
    """As published."""
    config.sde.order = "fine_to_coarse"


def mirrored(config: Config) -> None:
    """In the mirrored order."""
    config.sde.order = "fine_to_coarse_mirrored"


def digits(config: Config) -> None:
    """The embedded data."""
    config.data.name = "digits"
    config.sde.shape = (8, 8, 1)
    config.model.update({"channel_multipliers": (1, 2), "attention_resolutions": (4,)})
    config.train.update({"steps": 800, "log_every": 100})
    config.eval.update({"features": "auto", "reference_examples": 0, "likelihood_examples": 100, "samples": 300})


def quick(config: Config) -> None:
    """Minutes of one core."""
    config.model.features = 8
    config.train.update({"steps": 400, "log_every": 100})
    config.sampler.steps = 100
    config.eval.update({"likelihood_examples": 64, "samples": 256})


VARIANTS = {
    "quartic": quartic,
    "none": none,
    "log": log,
    "fine": fine,
    "mirrored": mirrored,
    "digits": digits,
    "quick": quick,
}
