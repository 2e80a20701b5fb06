"""A forward process whose drift is not affine: points of two half circles roll into the wells of a potential.

    python main.py --config=configs/double_well.py
    python main.py --config=configs/double_well.py:reflected

There is no formula for the law of a noisy point given the clean one, so the process is simulated, and its score is
learned by sliced score matching from noisy points alone. Variants:

    :reflected    Brownian motion in a box with reflecting walls, which no sample leaves
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """The double well, small MLP, sliced score matching."""
    config = base()
    config.sde = "double_well"
    config.recipe.predicts = "score"
    config.objective = "sliced:weighting=likelihood"
    config.objective.time_sampling = "stratified"
    config.data.name = "moons"
    config.model.update({"name": "mlp", "features": 128, "depth": 3})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 3000, "batch": 512, "log_every": 250, "checkpoint_every": 1000})
    config.sampler.update({"steps": 200})
    config.eval.update({"batch": 500, "divergence": "exact", "samples": 2000})
    return config


def reflected(config: Config) -> None:
    """A box that holds all the data, which are of unit deviation."""
    config.sde = "reflected:low=-2.5:high=2.5:sigma_max=7"


VARIANTS = {"reflected": reflected}
