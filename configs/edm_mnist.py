"""MNIST by the recipe of EDM (Karras et al. 2022), with the network of `vp_mnist`, its steps and its batch.

    python main.py --config=configs/edm_mnist.py --config.data.data_dir=TFDS_DIR

`python benchmarks/recipes.py mnist --data-dir=TFDS_DIR` holds the two against each other.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """EDM's preconditioning, weighting and time law; a DDPM++ whose embedding takes any noise level."""
    config = base()
    config.data.name = "mnist"
    config.sde = "edm"
    config.recipe.update({"predicts": "edm", "sigma_data": 0.6})
    config.model.update({"name": "ncsnpp", "fir": False, "progressive_input": "none", "scale_by_sigma": False})
    config.model.update({"features": 16, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (7,), "dropout": 0.0})
    config.objective.update({"weighting": "edm", "time_sampling": "lognormal:mean=-0.8:std=1.4"})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1700, "batch": 64, "log_every": 50, "checkpoint_every": 250})
    config.sampler.update({"stepper": "dpm_solver", "steps": 20, "time_grid": "karras"})
    config.eval.update({"batch": 200, "likelihood_examples": 1000, "rtol": 1e-3, "atol": 1e-3})
    config.eval.update({"samples": 400, "grid": 100, "features": "mnist_classifier", "reference_examples": 10_000})
    return config
