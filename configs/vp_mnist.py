"""MNIST with a small DDPM++ (744 thousand parameters), sized for 20 minutes of training on 2 CPU cores.

    python main.py --config=configs/vp_mnist.py --config.data.data_dir=TFDS_DIR

Readable digits, about 1.8 bits/dim. The likelihood is measured on 1,000 of the 10,000 test images
(`--config.eval.likelihood_examples=0` for all).

    :full           for one GPU: features 64, two blocks per level, 200,000 steps, all test images
    :conditional    with class labels, a tenth of them hidden, so that samples can be guided
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, DDPM++ of a size for CPUs."""
    config = base()
    config.data.name = "mnist"
    config.model.update({"name": "ddpmpp", "features": 16, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (7,), "dropout": 0.0})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1700, "batch": 64, "log_every": 50, "checkpoint_every": 250})
    config.sampler.update({"steps": 150, "t_min": 1e-3})
    config.eval.update({"batch": 200, "likelihood_examples": 1000, "rtol": 1e-3, "atol": 1e-3})
    config.eval.update({"samples": 400, "grid": 100, "features": "mnist_classifier", "reference_examples": 10_000})
    return config


def full(config: Config) -> None:
    """For a GPU."""
    config.model.update({"features": 64, "channel_multipliers": (1, 2, 2), "blocks_per_level": 2, "dropout": 0.1})
    config.model.attention_resolutions = (14,)
    config.optim.update({"lr": 2e-4, "warmup": 5000, "decay": "none"})
    config.ema.update({"decay": 0.9999, "warmup": True})
    config.train.update({"steps": 200_000, "batch": 128, "checkpoint_every": 10_000, "preview_every": 10_000})
    config.sampler.steps = 1000
    config.eval.update({"batch": 500, "likelihood_examples": 0, "samples": 10_000, "rtol": 1e-5, "atol": 1e-5})
    config.eval.reference_examples = 0


def conditional(config: Config) -> None:
    """Classes, and none, in one network."""
    config.recipe.update({"conditional": True, "label_dropout": 0.1})


VARIANTS = {"full": full, "conditional": conditional}
