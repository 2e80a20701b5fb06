"""NCSN (Song & Ermon 2019) on CIFAR-10: ten noise levels, RefineNet, annealed Langevin: published FID 25.32, IS 8.87.

    python main.py --config=configs/ncsn.py --config.data.data_dir=TFDS_DIR

Levels from 1 down to 0.01, 100 Langevin steps of size 2e-5 sigma^2 / 0.01^2 at each, no averaging of weights. Variants,
which combine:

    :celeba           CelebA at 64 x 64 pixels (put it first)
    :techniques124    levels chosen as NCSNv2 does: the largest distance of two images, many close levels, few steps
    :technique5       averaged weights, decay 0.999
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """CIFAR-10."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "centered": False})
    config.sde.update({"name": "smld", "sigma_min": 0.01, "sigma_max": 1.0, "n": 10})
    config.model.update({"name": "ncsn", "features": 128})
    config.recipe.predicts = "score"
    config.objective.reduction = "half_sum"
    config.optim.update({"lr": 1e-3, "warmup": 0, "clip": 0.0})
    config.ema.decay = 0.0
    config.train.update({"steps": 200_000, "batch": 128, "log_every": 50, "checkpoint_every": 5_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "annealed_langevin:epsilon=2e-5:steps=100", "steps": 9})
    config.sampler.update({"denoise": False, "clip": "none"})  # as published
    config.eval.update({"batch": 512, "samples": 50_000})
    return config


def celeba(config: Config) -> None:
    """CelebA, its central 140 pixels."""
    config.data.update({"name": "celeb_a", "crop": 140, "size": 64})


def techniques124(config: Config) -> None:
    """First level, number of levels, and steps at each by NCSNv2's rules."""
    sigma_max, n, epsilon = (90.0, 500, 3.3e-6) if config.data.name == "celeb_a" else (50.0, 232, 6.2e-6)
    config.sde.update({"sigma_max": sigma_max, "n": n})
    config.sampler.steps = n - 1
    config.sampler.stepper.update({"epsilon": epsilon, "steps": 5})


def technique5(config: Config) -> None:
    """Averaged weights."""
    config.ema.decay = 0.999


VARIANTS = {"celeba": celeba, "techniques124": techniques124, "technique5": technique5}
