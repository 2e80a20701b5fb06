"""A correlated Gaussian in 4 dimensions, whose bits/dim is known: the measuring rod for the whole pipeline.

    python main.py --config=configs/vp_gaussian.py

About 1 minute on 2 CPU cores. The evaluation ends by printing |bits/dim - truth|, which should be below 0.01.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, small MLP."""
    config = base()
    config.data.name = "gaussian"
    config.model.update({"name": "mlp", "features": 128, "depth": 3})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.objective.time_sampling = "stratified"
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 4000, "batch": 512, "log_every": 200, "checkpoint_every": 1000})
    config.sampler.update({"steps": 200, "t_min": 1e-3})
    config.eval.update({"batch": 500, "divergence": "exact", "samples": 2000})
    return config
