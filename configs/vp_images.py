"""Images of 256 x 256 pixels, the DDPM chain, Ho et al.'s network (Ho et al. 2020, as trained by Score-SDE).

    python main.py --config=configs/vp_images.py --config.data.data_dir=TFDS_DIR

LSUN bedroom without a variant. About 114 million parameters, 2.4 million steps of batch 64. Score-SDE gives no FID.

    :church      LSUN church
    :celebahq    CelebA-HQ
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """LSUN bedroom."""
    config = base()
    config.data.update({"name": "lsun/bedroom", "size": 256, "flip": True, "dequantize": False})
    config.sde = "ddpm:schedule=linear:n=1000"
    config.model.update({"name": "ddpm", "features": 128, "channel_multipliers": (1, 1, 2, 2, 4, 4)})
    config.model.update({"blocks_per_level": 2, "attention_resolutions": (16,), "dropout": 0.0})
    config.model.attention_up = "level"
    config.optim.update({"lr": 2e-5, "warmup": 5000, "clip": 1.0})
    config.ema.decay = 0.9999
    config.train.update({"steps": 2_400_000, "batch": 64, "log_every": 50, "checkpoint_every": 5_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "ancestral:variance=forward", "steps": 999})
    config.eval.update({"batch": 64, "split": "validation", "samples": 50_000})
    return config


def church(config: Config) -> None:
    """LSUN church."""
    config.data.name = "lsun/church_outdoor"


def celebahq(config: Config) -> None:
    """CelebA-HQ; the prepared set has no test split, so a part of the training images is held against."""
    config.data.name = "celeb_a_hq/256"
    config.eval.split = "train[:10%]"


VARIANTS = {"church": church, "celebahq": celebahq}
