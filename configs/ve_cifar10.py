"""CIFAR-10, VE with continuous noise levels, sigma from 0.01 to 50 (Song et al. 2021).

    python main.py --config=configs/ve_cifar10.py --config.data.data_dir=TFDS_DIR

The published hyper-parameters of NCSN++ (FID 2.38), on the DDPM++ network with NCSN++'s Fourier embedding and
division by sigma: without its FIR filters and residual input pyramid the published figure is not to be expected.
Images lie in [0, 1], the average decays by 0.999, the loss is half the sum over pixels. Days on several GPUs.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """VE, DDPM++ in the manner of NCSN++."""
    config = base()
    config.data.update({"name": "cifar10", "flip": True, "dequantize": False, "centered": False})
    config.sde.update({"name": "ve", "sigma_min": 0.01, "sigma_max": 50.0})
    config.model.update({"name": "ddpmpp", "features": 128, "channel_multipliers": (1, 2, 2, 2)})
    config.model.update({"blocks_per_level": 4, "attention_resolutions": (16,), "dropout": 0.1})
    config.model.update({"predicts": "score", "scale_by_sigma": True, "embedding": "fourier", "fourier_scale": 16.0})
    config.objective.reduction = "half_sum"
    config.optim.update({"lr": 2e-4, "warmup": 5000, "clip": 1.0})
    config.ema.decay = 0.999
    config.train.update({"steps": 1_300_000, "batch": 128, "log_every": 50, "checkpoint_every": 10_000})
    config.train.update({"keep": 2, "keep_every": 50_000, "preview_every": 50_000})
    config.sampler.update({"stepper": "reverse_diffusion", "steps": 1000, "t_min": 1e-5})
    config.sampler.update({"corrector": "langevin", "snr": 0.16, "corrector_first": True})
    config.eval.update({"batch": 512, "likelihood_passes": 5, "samples": 50_000})
    return config
