"""An energy on two interleaved half circles, by persistent contrastive divergence.

    python main.py --config=configs/energy.py

About a minute of CPU time. Leaves samples of Langevin chains next to data in `samples/`, and in `metrics.jsonl` the
mean energies of data and of chains, which stay close to each other. An energy has no normalized density, so there are
no bits/dim; by quadrature in the plane they are 0.228, next to 1.346 of a Gaussian and 0.226 of the score model of
`vp_moons.py`, and the upper half circle has 50.1 % of the mass, and 49.6 % of 2,000 samples.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A small network, and as many chains as a batch has examples."""
    config = base()
    config.recipe = "energy:chains=256:langevin_steps=20:step_size=1e-3"
    config.model = "energy_mlp:features=128:depth=3"
    config.data.name = "moons"
    # No momentum: the chains answer late to what the energy did, and momentum would make the two swing.
    config.optim.update({"lr": 1e-3, "beta1": 0.0, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.998, "warmup": True})
    config.train.update({"steps": 3000, "batch": 256, "log_every": 250, "checkpoint_every": 1000})
    config.eval.update({"batch": 500, "exact": False, "samples": 2000})
    return config
