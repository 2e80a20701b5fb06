"""Classifiers of noisy data, whose gradients guide scores: the 8x8 digits, for the score of `vp_digits.py`.

    python main.py --config=configs/classifier.py

A minute of CPU time. Prints accuracy and cross entropy from pure noise to clean data: 98 % of the test digits are
recognized from a signal-to-noise ratio of 70 up, 94 % at 7. Data and process are those of the score to be guided, so
each variant reads them from the config of that score. The network is given the log signal-to-noise ratio, so it would
serve any other process too.

    :moons       two half circles, for `vp_moons.py`
    :mnist       MNIST, for `vp_mnist.py`, sized for a CPU: 96.8 % of clean test images
    :domains     MNIST's threes and eights as two domains, whose features translate one to the other (EGSDE): 99.0 %
    :cifar10     CIFAR-10, for `vp_cifar10.py`: WideResNet 28-10, for a GPU
    :cifar10_ve  CIFAR-10, for `ve_cifar10.py`: the network of Song et al., given sigma; for a GPU

For domains of your own: `--config.data=folder:path=DIR`, with one sub-folder for each.
"""

from pathlib import Path

from scorejax.config import Config, base, load, to_dict


def _guide(config: Config, score: str) -> None:
    """Take data and process from the config of the score to be guided."""
    run = to_dict(load(str(Path(__file__).with_name(f"{score}.py"))))
    config.data.update(run["data"])
    config.sde.update(run["sde"])


def get_config() -> Config:
    """Digits."""
    config = base()
    _guide(config, "vp_digits")
    config.model.update({"name": "wide_resnet", "depth": 10, "width": 2, "dropout": 0.1, "standardize": False})
    config.recipe = "classifier:time_sampling=importance:weighting=log_snr"
    config.optim.update({"name": "adamw", "lr": 2e-3, "weight_decay": 0.05, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.99, "warmup": True})
    config.train.update({"steps": 400, "batch": 128, "log_every": 50, "checkpoint_every": 200})
    config.eval.batch = 150
    return config


def moons(config: Config) -> None:
    """Vectors."""
    _guide(config, "vp_moons")
    config.model = "mlp_classifier:features=64:depth=2:dropout=0"
    config.train.update({"steps": 2000, "batch": 512, "log_every": 250, "checkpoint_every": 1000})
    config.eval.batch = 500


def mnist(config: Config) -> None:
    """For a CPU."""
    _guide(config, "vp_mnist")
    config.model.width = 1
    config.train.update({"steps": 1500, "batch": 64, "checkpoint_every": 250})
    config.eval.update({"batch": 200, "classifier_examples": 2000})


def domains(config: Config) -> None:
    """Two classes stand for two domains."""
    mnist(config)
    config.data.classes = (3, 8)
    config.train.update({"steps": 200, "checkpoint_every": 100})


def cifar10(config: Config) -> None:
    """For a GPU."""
    _guide(config, "vp_cifar10")
    config.model.update({"depth": 28, "width": 10})
    config.optim.update({"lr": 3e-4, "warmup": 1000})
    config.ema.decay = 0.9999
    config.train.update({"steps": 100_000, "checkpoint_every": 10_000})
    config.eval.batch = 512


def cifar10_ve(config: Config) -> None:
    """For VE alone, as the one that Score-SDE released."""
    cifar10(config)
    _guide(config, "ve_cifar10")
    config.model.update({"embedding": "fourier", "standardize": True})
    config.recipe.update({"time_sampling": "uniform", "weighting": "simple"})


VARIANTS = {variant.__name__: variant for variant in (moons, mnist, domains, cifar10, cifar10_ve)}
