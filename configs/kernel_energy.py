"""A deep kernel exponential family on two interleaved half circles: an energy whose weights are solved for.

    python main.py --config=configs/kernel_energy.py

About a minute of CPU time. Leaves samples of Langevin chains next to data in `samples/`, and bits/dim by quadrature:
0.301 +- 0.013, next to 1.346 of a Gaussian. The other forms of score matching are one setting away:

    python main.py --config=configs/kernel_energy.py --config.recipe.matching=sliced
    python main.py --config=configs/kernel_energy.py --config.recipe.matching=denoising:sigma=0.2
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A hundred inducing points."""
    config = base()
    config.recipe = "kernel_energy"
    config.model = "deep_kernel:points=100"
    config.data.name = "moons"
    config.optim.update({"lr": 1e-2, "warmup": 20, "decay": "cosine", "clip": 100.0})
    config.ema.decay = 0.0
    config.sampler.stepper = "ula:step_size=0.002:steps=20"
    config.sampler.steps = 50
    config.train.update({"steps": 1000, "batch": 100, "log_every": 100, "checkpoint_every": 500})
    config.eval.update({"batch": 500, "samples": 2000})
    return config
