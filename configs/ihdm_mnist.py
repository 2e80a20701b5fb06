"""MNIST by inverse heat dissipation (Rissanen et al. 2022): images cool down, with a little noise that stays the same.

    python main.py --config=configs/ihdm_mnist.py --config.data.data_dir=TFDS_DIR

The network learns what sharpening by one level adds; its prior, the blurred data, is a Gaussian that is fitted to them.
As published, noise of 0.01 in training and 1.3 times as much in sampling, images in [0, 1].

    :digits     8 x 8 digits, the embedded data, 800 steps
    :cifar10    CIFAR-10 with the published process (200 levels, blur from 0.5 to 24 pixels) and a network for one GPU
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """100 levels, DDPM++ of a size for CPUs."""
    config = base()
    config.data.update({"name": "mnist", "centered": False})
    config.sde = "ihdm:shape=28,28,1"
    config.recipe.predicts = "sharpening"
    config.model.update({"name": "ddpmpp", "features": 16, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (7,), "dropout": 0.0})
    config.objective.update({"time_sampling": "stratified", "weighting": "sharpening", "reduction": "sum"})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1700, "batch": 64, "log_every": 50, "checkpoint_every": 250})
    config.sampler.update({"stepper": "renoise:noise=1.3", "steps": 99, "clip": "none"})
    config.eval.update({"batch": 200, "likelihood_examples": 100, "rtol": 1e-3, "atol": 1e-3})
    config.eval.update({"samples": 400, "grid": 100, "features": "mnist_classifier", "reference_examples": 10_000})
    return config


def digits(config: Config) -> None:
    """The embedded data; 8 pixels take a quarter of the blur."""
    config.data.name = "digits"
    config.sde.update({"shape": (8, 8, 1), "blur_max": 5.0})
    config.model.update({"channel_multipliers": (1, 2), "attention_resolutions": (4,)})
    config.train.update({"steps": 800, "log_every": 100})
    config.eval.update({"features": "auto", "reference_examples": 0, "likelihood_examples": 50, "samples": 300})


def cifar10(config: Config) -> None:
    """For a GPU."""
    config.data.update({"name": "cifar10", "flip": True})
    config.sde.update({"shape": (32, 32, 3), "blur_max": 24.0, "n": 200})
    config.model.update({"features": 128, "channel_multipliers": (1, 2, 2, 2), "blocks_per_level": 4})
    config.model.update({"attention_resolutions": (16,), "dropout": 0.1})
    config.optim.update({"lr": 2e-4, "warmup": 5000, "decay": "none"})
    config.ema.update({"decay": 0.9999, "warmup": False})
    config.train.update({"steps": 400_000, "batch": 128, "checkpoint_every": 10_000, "preview_every": 10_000})
    config.sampler.steps = 199
    config.eval.update({"batch": 500, "likelihood_examples": 1000, "samples": 50_000, "rtol": 1e-5, "atol": 1e-5})
    config.eval.update({"features": "auto", "reference_examples": 0})


VARIANTS = {"digits": digits, "cifar10": cifar10}
