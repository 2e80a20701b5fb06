"""The first diffusion model (Sohl-Dickstein et al. 2015, arXiv 1503.03585) on 8x8 handwritten digits.

    python main.py --config=configs/dpm.py

A chain of 200 levels whose reverse steps perturb the forward ones, trained by the variational bound alone: 2.863 +-
0.016 bits/dim on the 297 test images, next to 2.952 of a Gaussian. The Frechet distance of 150 samples is 1.60 in
features of random convolutions, where as many images of the data have 1.11. The network, of 47 thousand parameters,
does not see the time: it gives each output of each pixel ten coefficients of bumps in time.

What differs from the paper: the noise schedule is fixed, levels are drawn in proportion to their losses, gray levels
have probabilities (in the paper the last reverse step is fixed, and a density), and the mean is that of the published
code, `sqrt(1 - beta) x + sqrt(beta) z`, where the paper prints `(1 - Sigma) x + Sigma z`; the bumps of that code are
half as wide. MNIST: `configs/history.py:dpm`.
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """A chain of 200 levels, whose reverse steps perturb the forward ones; the variational bound alone."""
    config = base()
    config.recipe = "score:predicts=mean_shift:reverse_variance=around_forward"
    config.data.name = "digits"
    config.sde = "ddpm:schedule=cosine:n=200"
    config.model = "multiscale_conv:features=16:depth=2:scales=2:dense_features=128:dense_depth=2:learned_range=true"
    config.objective.update({"name": "vlb", "time_sampling": "importance"})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"steps": 3000, "batch": 128, "log_every": 200, "checkpoint_every": 1000})
    config.sampler.update({"stepper": "reverse_chain:variance=learned", "steps": 199})
    config.eval.update({"batch": 150, "samples": 150, "grid": 64, "exact": False})
    config.eval.update({"elbo": 200, "elbo_variance": "learned"})
    return config
