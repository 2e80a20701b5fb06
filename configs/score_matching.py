"""The score of two interleaved half circles with a little noise, by sliced score matching, without a time.

    python main.py --config=configs/score_matching.py

About a minute of CPU time. Leaves samples of Langevin chains next to data in `samples/`. Chains do not cross from one
half circle to the other, so each keeps the share of starts that fell into it. The objective is a setting:

    python main.py --config=configs/score_matching.py --config.recipe.matching=finite_difference:radius=0.05
    python main.py --config=configs/score_matching.py --config.recipe=score_matching:matching=exact:data_noise=0.2
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A small network; noise of a tenth of the data's deviation."""
    config = base()
    config.recipe = "score_matching:matching=sliced:data_noise=0.1:start_scale=1.5"
    config.model = "mlp:features=128:depth=3"
    config.data.name = "moons"
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.999, "warmup": True})
    config.train.update({"steps": 3000, "batch": 512, "log_every": 250, "checkpoint_every": 1000})
    config.sampler.update({"stepper": "ula:step_size=1e-3:steps=10", "steps": 100})
    config.eval.update({"batch": 500, "exact": False, "samples": 2000})
    return config
