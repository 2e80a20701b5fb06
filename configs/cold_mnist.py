"""Cold diffusion on MNIST (Bansal et al., arXiv 2208.09392), with a small network, 1,200 steps.

    python main.py --config=configs/cold_mnist.py --config.data.data_dir=TFDS_DIR

Trains the restoration of blurred digits by the published degradation: 20 blurs by a kernel of 11 pixels with the
standard deviation 7. Its report compares, on test images, the degraded image, the direct restoration, and the samplers
of algorithms 1 and 2. To restore a folder of blurred images of your own:

    python main.py --workdir=runs/cold_mnist --mode=sample --config.guidance=undo:measured=true \\
        --config.guidance.input=DIR

    :blur         blurs, as it is
    :generate     blurs whose last level is the mean color, so that digits are drawn from nothing
    :inpaint      holes that grow around random pixels, 50 levels
    :color        holes that grow in the middle and show a random gray, from which digits are drawn
    :pixelate     super-resolution from 3 x 3 pixels, 3 levels
    :snow         snow, 200 levels
    :animorph     digits that turn into other digits, 200 levels, and are drawn from them; threes from eights with
                  --config.data.classes=(3,) --config.recipe.other_classes=(8,)
    :noise        hot diffusion with estimated noise, 200 levels: DDIM
    :noise_fixed  hot diffusion with the noise of the start
    :digits       on the 8x8 digits that come with the package, without a download
    :moons        two half circles in the plane from noise, by an MLP: seconds
    :full         for a GPU: the network and the training of the paper
"""

from collections.abc import Mapping

from scorejax.config import Config, base

from scorejax.degradations import PUBLISHED


def get_config() -> Config:
    """Blurs."""
    config = base()
    config.data.update({"name": "mnist", "dequantize": False})
    config.model.update({"name": "ddpmpp", "features": 8, "channel_multipliers": (1, 2, 4), "blocks_per_level": 1})
    config.model.update({"attention_resolutions": (), "dropout": 0.0})
    config.optim.update({"lr": 2e-3, "warmup": 100, "decay": "cosine"})
    config.ema.update({"decay": 0.995, "warmup": True})
    config.train.update({"steps": 1200, "batch": 32, "log_every": 100, "checkpoint_every": 300})
    config.eval.update({"batch": 100, "restored": 500, "samples": 500, "grid": 64, "features": "mnist_classifier"})
    config.eval.reference_examples = 10_000
    config.sampler.stepper = "cold"
    blur(config)
    return config


def _of(config: Config, name: str, settings: Mapping[str, object] | None = None) -> None:
    """Degrade by this, in as many steps as it has levels."""
    config.recipe = {"name": "restoration", "degradation": {"name": name, **(settings or {})}}
    config.sampler.steps = config.recipe.degradation.levels


def blur(config: Config) -> None:
    """The published blurs."""
    _of(config, "blur", PUBLISHED["blur"]["mnist"])


def generate(config: Config) -> None:
    """From mean colors."""
    _of(config, "blur", {**PUBLISHED["blur"]["mnist"], "last": "mean", "symmetry_noise": 0.002})


def inpaint(config: Config) -> None:
    """The published holes."""
    _of(config, "inpaint", PUBLISHED["inpaint"]["mnist"])


def color(config: Config) -> None:
    """Holes of one gray, which grow until they are all."""
    _of(config, "inpaint", {"levels": 100, "width": 0.2, "center": "image", "fill": "color"})


def pixelate(config: Config) -> None:
    """The published halvings."""
    _of(config, "pixelate", PUBLISHED["pixelate"]["mnist"])


def snow(config: Config) -> None:
    """The snow that was published for CIFAR-10."""
    _of(config, "snow", PUBLISHED["snow"]["cifar10"])


def animorph(config: Config) -> None:
    """Digits from digits."""
    _of(config, "animorph", PUBLISHED["animorph"]["generation"])


def noise(config: Config) -> None:
    """Estimated noise."""
    _of(config, "noise")


def noise_fixed(config: Config) -> None:
    """The noise of the start."""
    _of(config, "noise", {"estimate": False})


def digits(config: Config) -> None:
    """Small images, and kernels that fit into them."""
    config.data.name = "digits"
    config.model.update({"features": 32, "channel_multipliers": (1, 2)})
    config.train.update({"steps": 400, "batch": 128, "log_every": 100, "checkpoint_every": 200})
    config.eval.update({"batch": 150, "samples": 150, "features": "auto", "reference_examples": 0})
    if config.recipe.degradation.name == "blur":
        config.recipe.degradation.update({"levels": 10, "kernel": 7, "std": 1.0})
        config.sampler.steps = 10
    if config.recipe.degradation.name == "inpaint":
        config.recipe.degradation.update({"levels": 20, "width": 0.1})
        config.sampler.steps = 20


def moons(config: Config) -> None:
    """Vectors, which can turn into noise."""
    config.data = "moons"
    config.model = "mlp:features=64:depth=2"
    noise(config)
    config.recipe.degradation.levels = 50
    config.sampler.steps = 50
    config.train.update({"steps": 2000, "batch": 256, "log_every": 500, "checkpoint_every": 1000})
    config.eval.update({"batch": 500, "samples": 2000, "features": "auto", "reference_examples": 0})


def full(config: Config) -> None:
    """For a GPU."""
    config.model.update({"features": 64, "channel_multipliers": (1, 2, 4), "blocks_per_level": 2})
    config.optim.update({"lr": 2e-5, "warmup": 0, "decay": "none"})
    config.train.update({"steps": 700_000, "batch": 64, "checkpoint_every": 10_000})
    config.eval.update({"restored": 10_000, "samples": 10_000})


VARIANTS = {
    variant.__name__: variant
    for variant in (
        blur, generate, inpaint, color, pixelate, snow, animorph, noise, noise_fixed, digits, moons, full
    )
}  # fmt: skip
