"""NCSNv2 (Song & Ermon 2020) on CIFAR-10: 232 levels from 50 to 0.01, RefineNet: published FID 10.87, IS 8.40.

    python main.py --config=configs/ncsnv2.py --config.data.data_dir=TFDS_DIR

29.7 million parameters, the score divided by sigma, averaged weights, five Langevin steps a level and a last
denoising. Other sets, with levels, steps at each, and epsilon as published:

    :celeba     CelebA, 64 pixels, sigma up to 90: 500 levels, 5, 3.3e-6
    :church     LSUN church, 96 pixels, sigma up to 140: 788 levels, 4, 4.9e-6
    :bedroom    LSUN bedroom, 128 pixels, sigma up to 190: 1086 levels, 3, 1.8e-6
    :tower      LSUN tower, as bedroom
    :ffhq       FFHQ, 256 pixels, sigma up to 348: 2311 levels, 3, 9e-7; from a folder: --config.data.path=DIR

For a set of your own, `scorejax.ncsnv2_levels` chooses the levels from the largest distance of two images.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """CIFAR-10."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "centered": False})
    config.model.update({"name": "ncsnv2", "features": 128, "stages": 4})
    config.recipe.predicts = "score"
    config.objective.reduction = "half_sum"
    config.optim.update({"lr": 1e-4, "warmup": 0, "clip": 0.0})
    config.ema.decay = 0.999
    config.train.update({"steps": 300_000, "batch": 128, "log_every": 50, "checkpoint_every": 5_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.eval.update({"batch": 512, "samples": 50_000})
    config.sampler.clip = "none"  # as published
    _levels(config, sigma_max=50.0, n=232, steps=5, epsilon=6.2e-6)
    return config


def celeba(config: Config) -> None:
    """CelebA, its central 140 pixels."""
    config.data.update({"name": "celeb_a", "crop": 140, "size": 64})
    _levels(config, sigma_max=90.0, n=500, steps=5, epsilon=3.3e-6)


def church(config: Config) -> None:
    """LSUN church."""
    _lsun(config, "church_outdoor", size=96)
    _levels(config, sigma_max=140.0, n=788, steps=4, epsilon=4.9e-6)


def bedroom(config: Config) -> None:
    """LSUN bedroom."""
    _lsun(config, "bedroom", size=128)
    _levels(config, sigma_max=190.0, n=1086, steps=3, epsilon=1.8e-6)


def tower(config: Config) -> None:
    """LSUN tower."""
    _lsun(config, "tower", size=128)
    _levels(config, sigma_max=190.0, n=1086, steps=3, epsilon=1.8e-6)


def ffhq(config: Config) -> None:
    """FFHQ."""
    config.data.update({"name": "folder", "size": 256})
    config.model.stages = 6
    config.optim.eps = 1e-3
    _levels(config, sigma_max=348.0, n=2311, steps=3, epsilon=9e-7)


def _lsun(config: Config, name: str, size: int) -> None:
    config.data.update({"name": f"lsun/{name}", "size": size})
    config.model.stages = 5
    config.eval.split = "validation"


def _levels(config: Config, sigma_max: float, n: int, steps: int, epsilon: float) -> None:
    config.sde.update({"name": "smld", "sigma_min": 0.01, "sigma_max": sigma_max, "n": n})
    config.sampler.update({"stepper": "annealed_langevin", "steps": n - 1})
    config.sampler.stepper.update({"epsilon": epsilon, "steps": steps})


VARIANTS = {variant.__name__: variant for variant in (celeba, church, bedroom, tower, ffhq)}
