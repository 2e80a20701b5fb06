"""An energy on two interleaved half circles, by persistent contrastive divergence.

    python main.py --config=configs/energy.py

About a minute of CPU time. Leaves samples of Langevin chains next to data in `samples/`, and in `metrics.jsonl` the
mean energies of data and of chains, which stay close to each other. A quadrature in the plane gives the partition
function, and with it 0.228 bits/dim, next to 1.346 of a Gaussian and 0.226 of the score model of `vp_moons.py`; the
upper half circle has 50.1 % of the mass, and 49.6 % of 2,000 samples.

    :matching   the same energy by sliced score matching, without a single chain in training
    :digits     8x8 handwritten digits, by a convolutional network and a replay buffer; three minutes of CPU time
    :mnist      MNIST with noise, which the last step of a sample removes; three minutes of CPU time
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


def matching(config: Config) -> None:
    """Four derivatives of the energy instead of twenty moves of chains; momentum does no harm here."""
    config.recipe = "energy:matching=sliced"
    config.optim.beta1 = 0.9


def digits(config: Config) -> None:
    """A buffer, from which a twentieth begins anew in each step."""
    config.data.name = "digits"
    config.model = "energy_conv:features=(32,64):hidden=128"
    config.recipe = "energy:negatives=buffer:chains=1024:langevin_steps=20:step_size=2e-3:data_noise=0.05"
    config.recipe.update({"start_scale": 1.0, "sample_steps": 1000})
    config.optim.lr = 1e-3
    config.ema.decay = 0.99
    config.train.update({"steps": 600, "batch": 64, "log_every": 50, "checkpoint_every": 200})
    config.eval.update({"batch": 100, "samples": 200, "grid": 64, "partition": "annealed:chains=16:levels=2000"})


def mnist(config: Config) -> None:
    """Noise widens the narrow directions of the data, so that chains may take long steps."""
    config.data.name = "mnist"
    config.model = "energy_conv:features=(16,32,64):hidden=128:stem_stride=2"
    config.recipe = "energy:negatives=buffer:chains=1024:langevin_steps=15:step_size=0.02:data_noise=0.25"
    config.recipe.update({"start_scale": 1.0, "sample_steps": 400})
    config.optim.lr = 1e-3
    config.ema.decay = 0.99
    config.train.update({"steps": 1000, "batch": 32, "log_every": 50, "checkpoint_every": 100})
    config.eval.update({"batch": 100, "samples": 200, "grid": 64, "features": "mnist_classifier"})
    config.eval.update({"likelihood_examples": 500, "partition": "annealed:chains=16:levels=300"})


VARIANTS = {"matching": matching, "digits": digits, "mnist": mnist}
