"""The runs that the parts about samples share: 8x8 digits by a network of dense layers.

    python main.py --config=benchmarks/slides/digits.py

Diffusion with the VP process, with classes, a tenth of them hidden. The variant

    :ncsn    is a noise conditional score network: ten levels of noise, and annealed Langevin dynamics
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, conditional."""
    config = base()
    config.data.name = "digits"
    config.model = "benchmarks.slides.flat:FlatMLP"
    config.recipe.update({"conditional": True, "label_dropout": 0.1})
    config.objective.time_sampling = "stratified"
    config.optim.update({"lr": 1e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 4000, "batch": 128, "log_every": 250, "checkpoint_every": 1000})
    config.sampler.update({"steps": 200, "t_min": 1e-3})
    config.eval.update({"batch": 500, "samples": 500, "grid": 100, "rtol": 1e-3, "atol": 1e-3})
    return config


def ncsn(config: Config) -> None:
    """Levels and steps of the publication."""
    config.data.centered = False
    config.recipe = "score:predicts=score"
    config.sde = "smld:sigma_min=0.01:sigma_max=1:n=10"
    config.objective.update({"reduction": "half_sum", "time_sampling": "uniform"})
    config.sampler.update({"stepper": "annealed_langevin:epsilon=2e-5:steps=100", "steps": 9, "t_min": None})
    config.sampler.update({"denoise": False, "clip": "none"})


VARIANTS = {"ncsn": ncsn}
