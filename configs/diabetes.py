"""Six measurements of patients given the progress of their disease: a table with a number as the condition.

    python main.py --config=configs/diabetes.py

The data come with scikit-learn. Half a minute on 2 CPU cores; samples for a progress of one deviation above the mean:

    scorejax.load("runs/diabetes").sample(100, condition=[1.0])
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """MLP, stopped early: there are 398 patients to learn from."""
    config = base()
    config.data = "diabetes"
    config.recipe.update({"conditional": True, "label_dropout": 0.1})
    config.model.update({"name": "mlp", "features": 64, "depth": 2, "dropout": 0.1})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 1e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 1500, "batch": 128, "log_every": 100, "checkpoint_every": 500, "validate_every": 250})
    config.sampler.update({"steps": 200, "t_min": 1e-3})
    config.eval.update({"batch": 44, "divergence": "exact", "likelihood_examples": 0, "samples": 398})
    config.eval.update({"denoising": 44, "metrics": ("energy_distance", "marginals", "two_sample:epochs=50")})
    return config
