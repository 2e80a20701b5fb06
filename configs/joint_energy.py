"""A classifier of 8x8 digits that is an energy as well: it classifies, says how sure it is, scores and samples (JEM).

    python main.py --config=configs/joint_energy.py

A few minutes of CPU time. Prints accuracy, cross entropy and calibration error on the test digits, bits/dim by annealed
importance sampling, and leaves samples of Langevin chains in `samples/`.

    :alone   the same network without the generative part: a classifier
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A small convolutional network and a replay buffer."""
    config = base()
    config.recipe = "joint_energy:generative=0.1:chains=1024:langevin_steps=20:step_size=2e-3:data_noise=0.05"
    config.recipe.sample_steps = 1000
    config.model = "energy_conv:features=(32,64):hidden=128"
    config.data.name = "digits"
    config.optim.update({"lr": 1e-3, "beta1": 0.0, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.99, "warmup": True})
    config.train.update({"steps": 600, "batch": 64, "log_every": 50, "checkpoint_every": 200})
    config.eval.update({"batch": 100, "exact": False, "samples": 200, "grid": 64})
    config.eval.partition = "annealed:chains=32:levels=500"
    return config


def alone(config: Config) -> None:
    """No chains."""
    config.recipe = "joint_energy:generative=0:negatives=data:langevin_steps=1:data_noise=0.05"
    config.eval.update({"partition": "none", "samples": 0})


VARIANTS = {"alone": alone}
