"""MNIST by seven kinds of generative models, from the variational autoencoder to the score SDE, at one budget.

    python main.py --config=configs/history.py:gan --config.data.data_dir=TFDS_DIR

Each variant is trained for about the same CPU time, one to three minutes, with a network of the kind that its authors
took, of a size that such a budget can train. What comes out is no more than what each idea makes of that; all of them
go further with more (`--config.train.steps`). All at once, with a table and a picture:
`python -m benchmarks.slides history --data-dir=TFDS_DIR`.

    :vae          a variational autoencoder (Kingma & Welling 2014), two perceptrons
    :gan          a generator against a discriminator (Goodfellow et al. 2014), both convolutional
    :flow         affine couplings, an exact likelihood (RealNVP, Dinh et al. 2017), dense
    :ebm          an energy against Langevin chains from a buffer (Du & Mordatch 2019), convolutional
    :dpm          the first diffusion model (Sohl-Dickstein et al. 2015), both branches of its network
    :ddpm         denoising diffusion, a chain of 1,000 levels (Ho et al. 2020), a small U-Net
    :score_sde    the same U-Net for the VP SDE in continuous time (Song et al. 2021), and its ODE
"""

from scorejax.config import Config, base


def get_config() -> Config:
    """What all of them share; without a variant the last one."""
    config = base()
    config.data.name = "mnist"
    config.optim.update({"lr": 1e-3, "warmup": 50, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"log_every": 50, "checkpoint_every": 200})
    config.eval.update({"batch": 64, "likelihood_examples": 64, "rtol": 1e-3, "atol": 1e-3})
    config.eval.update({"samples": 256, "grid": 64, "features": "mnist_classifier", "reference_examples": 10_000})
    score_sde(config)
    return config


def vae(config: Config) -> None:
    """Twenty latent numbers, and a logistic law of each gray level."""
    config.recipe = "autoencoder:latents=20"
    config.model = "autoencoder_mlp"
    config.optim.lr = 1e-3
    config.train.update({"steps": 6500, "batch": 128})
    config.eval.update({"likelihood_examples": 500, "evidence": 64})
    _without_score(config)


def gan(config: Config) -> None:
    """The non-saturating loss with R1."""
    config.recipe = "adversarial:latents=64:gradient_penalty=1.0"
    config.recipe.discriminator = "conv:features=16"
    config.model = "generator_conv:features=16"
    config.optim.update({"lr": 1e-3, "beta1": 0.0, "beta2": 0.99})
    config.train.update({"steps": 900, "batch": 64})
    config.eval.exact = False
    _without_score(config)


def flow(config: Config) -> None:
    """Couplings between halves of the pixels."""
    config.recipe = "flow"
    config.optim.lr = 1e-3
    config.model = "coupling_flow:features=256:couplings=8"
    config.train.update({"steps": 1200, "batch": 128})
    config.eval.likelihood_examples = 1000
    _without_score(config)


def ebm(config: Config) -> None:
    """As `configs/energy.py:mnist`: trained on data with noise, which the last step of a sample removes."""
    config.recipe = "energy:negatives=buffer:chains=256:langevin_steps=15:step_size=0.02:data_noise=0.25"
    config.recipe.update({"start_scale": 1.0, "sample_steps": 400})
    config.model = "energy_conv:features=(16,32,64):hidden=128:stem_stride=2"
    config.optim.update({"lr": 1e-3, "beta1": 0.0})
    config.train.update({"steps": 700, "batch": 32})
    config.eval.update({"partition": "annealed:chains=16:levels=200"})
    _without_score(config)


def dpm(config: Config) -> None:
    """A chain of 200 levels, and reverse steps around the forward ones."""
    config.recipe = "score:predicts=mean_shift:reverse_variance=around_forward"
    config.sde = "ddpm:schedule=cosine:n=200"
    config.model = "multiscale_conv:features=16:depth=2:dense_features=256:dense_depth=2:learned_range=true"
    config.optim.lr = 2e-3
    config.objective.update({"name": "vlb", "time_sampling": "importance"})
    config.train.update({"steps": 700, "batch": 64})
    config.sampler = {"stepper": "reverse_chain:variance=learned", "steps": 199, "t_min": None}
    config.eval.update({"exact": False, "elbo": 200, "elbo_variance": "learned"})


def ddpm(config: Config) -> None:
    """Levels, and the mean squared error of the noise."""
    config.sde = "ddpm:n=1000"
    config.sampler.update({"stepper": "reverse_chain:variance=forward", "steps": 100, "t_min": None})
    config.eval.update({"exact": False, "elbo": 100, "elbo_variance": "posterior"})


def score_sde(config: Config) -> None:
    """Any time of a process without levels."""
    config.model.update({"name": "ddpmpp", "features": 8, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (), "dropout": 0.0})
    config.objective.time_sampling = "stratified"
    config.optim.lr = 3e-3
    config.train.update({"steps": 350, "batch": 32})
    config.sampler.update({"stepper": "dpm_solver:order=2", "steps": 25, "t_min": 1e-3})


def _without_score(config: Config) -> None:
    """Sections that are for scores alone at their defaults."""
    fresh = base()
    config.update({key: fresh[key].to_dict() for key in ("sampler", "objective")})


VARIANTS = {"vae": vae, "gan": gan, "flow": flow, "ebm": ebm, "dpm": dpm, "ddpm": ddpm, "score_sde": score_sde}
