"""What can be known of a config before any data are read and anything is compiled."""

from __future__ import annotations

from scorejax.experiment import assemble
from scorejax.experiment.config import Config, base, chosen
from scorejax.experiment.config.schema import OF_SOME_RECIPES
from scorejax.experiment.recipe import make_recipe
from scorejax.runtime.errors import ConfigError


def check(config: Config, devices: int = 1) -> None:
    """Refuse, in the first second, a config that would fail later.

    Raises:
        ConfigError: unknown names, settings that do not belong together or that nothing reads, numbers that do not
            divide.
    """
    recipe = make_recipe(config)
    default = base()
    for section in OF_SOME_RECIPES:
        if section not in recipe.uses and chosen(config, section) != chosen(default, section):
            raise ConfigError(
                f"section {section!r} is set, but recipe {config.recipe.name!r} does not read it; it reads "
                f"{', '.join(recipe.uses) or 'none of these sections'}: leave {section} at its defaults"
            )
    if "sampler" in recipe.uses:
        assemble.needed(config)
    if config.train.preview_every and not recipe.draws:
        raise ConfigError(f"train.preview_every draws samples, which recipe {config.recipe.name!r} cannot; set it to 0")
    assemble.check_numbers(config, devices)
