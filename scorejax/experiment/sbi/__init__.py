"""Inference of parameters from simulations: the posterior `p(theta | x)` as a conditional score (NPSE).

    posterior = scorejax.sbi.fit(key, theta, x, prior=scorejax.sbi.uniform([-1, -1], [1, 1]))
    posterior.sample(key, x_observed, 1000)        # [1000, D]
    posterior.log_prob(key, theta, x_observed)     # nats [B]

`theta [N, D]` are parameters that were drawn from the prior, `x [N, K]` what the simulator made of each (Sharrock et
al., arXiv 2210.04872). The training is that of any run, and its folder holds all that the posterior needs.
"""

from scorejax.experiment.sbi.fitting import fit, load
from scorejax.experiment.sbi.posterior import Posterior
from scorejax.posterior.priors import Prior, lognormal, normal, uniform

__all__ = ["Posterior", "Prior", "fit", "load", "lognormal", "normal", "uniform"]
