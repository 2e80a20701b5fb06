"""CIFAR-10, VP, DDPM++ with continuous times (Song et al. 2021): published FID 2.55, IS 9.58, bits/dim 3.16.

    python main.py --config=configs/vp_cifar10.py --config.data.data_dir=TFDS_DIR

Variants, which combine (`:ncsnpp,deep`), with the published FID / IS / bits per dimension:

    :deep                   twice the blocks, 950,000 steps                       2.41 / 9.68 / 3.13
    :discrete               the DDPM chain of 1,000 levels, ancestral sampling    2.78 / 9.64 / -
    :ddpm                   Ho et al.'s network, one attention per upward level   3.69 (ODE) / - / 3.21
    :ddpm,discrete          the same on the DDPM chain                            3.24 / - / 3.28
    :ddpm,discrete,unconditional   the same network without noise labels          -
    :ncsnpp                 FIR filters and residual input pyramid                -
    :likelihood             likelihood weighting (Song et al., NeurIPS 2021)      -
    :likelihood,importance  and times drawn by importance                         -
    :conditional            with class labels, a tenth of them hidden, for classifier-free guidance
    :bf16                   computes in bfloat16; parameters and norms stay float32

The published hyperparameters: 61.8 million parameters, 1.3 million steps of batch 128 with horizontal flips and
without dequantization. That is days on several GPUs. The FID is of 50,000 samples by Euler-Maruyama with 1,000
steps (the ODE's for `:ddpm`) in Inception features (`--config.eval.features=inception`); the bits/dim are means
of 5 dequantizations.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VP, DDPM++."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "dequantize": False})
    config.sde.name = "vp"
    config.model.update({"name": "ddpmpp", "features": 128, "channel_multipliers": (1, 2, 2, 2)})
    config.model.update({"blocks_per_level": 4, "attention_resolutions": (16,), "dropout": 0.1})
    config.optim.update({"lr": 2e-4, "warmup": 5000, "clip": 1.0})
    config.ema.decay = 0.9999
    config.train.update({"steps": 1_300_000, "batch": 128, "log_every": 50, "checkpoint_every": 10_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "euler_maruyama", "steps": 1000, "t_min": 1e-3})
    config.sampler.clip = "none"  # as published
    config.eval.update({"batch": 512, "likelihood_passes": 5, "samples": 50_000})
    return config


def deep(config: Config) -> None:
    """Twice the blocks."""
    config.model.blocks_per_level = 8
    config.train.steps = 950_000


def ddpm(config: Config) -> None:
    """The network of Ho et al. in the form that Score-SDE trained."""
    config.model.update({"name": "ddpm", "blocks_per_level": 2, "attention_up": "level"})


def ncsnpp(config: Config) -> None:
    """NCSN++ with the positional embedding."""
    config.model.update({"name": "ncsnpp", "embedding": "positional", "scale_by_sigma": False})
    if config.sde.name == "ddpm":
        config.sampler.stepper = "reverse_diffusion"


def discrete(config: Config) -> None:
    """The DDPM chain; a grid of 999 steps visits every level, and the last one is denoised."""
    config.sde = "ddpm:schedule=linear:n=1000"
    config.sampler.update({"stepper": "ancestral:variance=forward", "steps": 999, "t_min": None})
    if config.model.name == "ncsnpp":
        ncsnpp(config)


def unconditional(config: Config) -> None:
    """A network that does not see the noise level."""
    config.model.embedding = "none"


def conditional(config: Config) -> None:
    """Classes, and none, in one network."""
    config.recipe.update({"conditional": True, "label_dropout": 0.1})


def likelihood(config: Config) -> None:
    """Weight the loss by g^2, which bounds the likelihood."""
    config.objective.weighting = "likelihood"


def importance(config: Config) -> None:
    """Draw times in proportion to g^2 / sigma^2."""
    config.objective.time_sampling = "importance"


def bf16(config: Config) -> None:
    """Compute in bfloat16."""
    config.model.dtype = "bfloat16"


VARIANTS = {
    variant.__name__: variant
    for variant in (deep, ddpm, ncsnpp, discrete, unconditional, conditional, likelihood, importance, bf16)
}
