"""Two interleaved half circles in the plane.

    python main.py --config=configs/vp_moons.py

About 1 minute on 2 CPU cores; `samples/` then shows samples next to data.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, small MLP."""
    config = base()
    config.data.name = "moons"
    config.model.update({"name": "mlp", "features": 128, "depth": 3})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 5000, "batch": 512, "log_every": 250, "checkpoint_every": 1000})
    config.sampler.update({"steps": 200, "t_min": 1e-3})
    config.eval.update({"batch": 500, "divergence": "exact", "samples": 2000})
    return config
