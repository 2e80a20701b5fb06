"""A variational autoencoder of 8x8 handwritten digits.

    python main.py --config=configs/autoencoder.py
    python main.py --config=configs/autoencoder.py:mnist,implicit --config.data.data_dir=TFDS_DIR

Half a minute of CPU time for the first. Leaves samples in `samples/` and a bound of the bits/dim of 297 test images,
by 256 draws of the encoder for each: 1.90, next to 2.95 of a Gaussian and 2.08 of `flow.py:digits`.

    :moons       two interleaved half circles, two latent numbers and a Gaussian decoder: at most 0.62 bits/dim, far
                 above the 0.24 of the flow, for a thin curve asks for a decoder that follows it closely
    :mnist       28x28 handwritten digits in black and white, drawn anew from the gray levels at every step
    :implicit    any function of example and noise for the encoder, whose entropy is followed by the score of `z`, from
                 a network that sliced score matching trains; also `--config.recipe.entropy=stein` or `spectral`; at
                 most 1.95 bits/dim on digits, by annealed importance sampling, which takes longer than the training
    :wae         such an encoder, and the law of `z` over all examples is held against the prior, not that of each: at
                 most 1.92 bits/dim on digits
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """Two perceptrons, eight latent numbers, and a logistic law of each gray level."""
    config = base()
    config.recipe = "autoencoder"
    config.model = "autoencoder_mlp"
    config.data.name = "digits"
    config.optim.update({"lr": 1e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"steps": 3000, "batch": 128, "log_every": 250, "checkpoint_every": 1000})
    config.eval.update({"batch": 150, "samples": 297, "grid": 64, "evidence": 256})
    return config


def moons(config: Config) -> None:
    """Vectors have densities."""
    config.recipe.update({"latents": 2, "decoder": "gaussian"})
    config.data.name = "moons"


def mnist(config: Config) -> None:
    """As in the published comparison of entropies."""
    config.recipe.decoder = "bernoulli"
    config.data.name = "mnist"
    config.eval.update({"batch": 100, "likelihood_examples": 200, "samples": 1000, "grid": 100})
    config.eval.update({"features": "mnist_classifier", "reference_examples": 10_000})


def implicit(config: Config) -> None:
    """No density of `z` is known; neither is it needed."""
    config.recipe.posterior = "implicit"
    config.eval.update({"evidence": 16, "evidence_temperatures": 50})


def wae(config: Config) -> None:
    """A Wasserstein autoencoder, with the weight of its prior."""
    implicit(config)
    config.recipe.update({"penalty": "wae", "weight": 10.0})


VARIANTS = {"moons": moons, "mnist": mnist, "implicit": implicit, "wae": wae}
