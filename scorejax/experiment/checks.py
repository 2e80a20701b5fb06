"""What can be known of a config before any data are read and anything is compiled."""

from __future__ import annotations

from scorejax.experiment import assemble
from scorejax.experiment.config import Config, base, chosen, tiny
from scorejax.experiment.config.schema import OF_SOME_RECIPES
from scorejax.experiment.recipe import Recipe, make_recipe
from scorejax.runtime.errors import ConfigError


def check(config: Config, devices: int = 1) -> None:
    """Refuse, in the first second, a config that would fail later.

    Raises:
        ConfigError: unknown names, settings that do not belong together or that nothing reads, numbers that do not
            divide.
    """
    recipe = make_recipe(config)
    check_sections(config, recipe)
    if "sampler" in recipe.uses:
        assemble.needed(config, recipe.process)
    if config.train.preview_every and not recipe.draws:
        raise ConfigError(f"train.preview_every draws samples, which recipe {config.recipe.name!r} cannot; set it to 0")
    assemble.check_numbers(config, devices)


def check_sections(config: Config, recipe: Recipe | None = None) -> None:
    """Refuse settings that nothing would read, in any mode.

    Raises:
        ConfigError: a section that the recipe does not read is set, or a bound next to bits/dim that are left out.
    """
    refuse_unread(config, make_recipe(config) if recipe is None else recipe)
    if config.eval.bound and not config.eval.exact:
        raise ConfigError(
            f"eval.bound = {config.eval.bound} is measured next to the exact bits/dim, which eval.exact=false leaves "
            "out; set eval.exact=true, or eval.bound=0"
        )


def refuse_unread(config: Config, recipe: Recipe) -> None:
    """Refuse sections that are set, although the recipe never reads them.

    Raises:
        ConfigError: one is.
    """
    default, shrunk = base(), base()
    tiny(shrunk)  # what the variant `tiny` sets, nobody asked for
    for section in OF_SOME_RECIPES:
        untouched = [chosen(each, section) for each in (default, shrunk)]
        if section not in recipe.uses and chosen(config, section) not in untouched:
            raise ConfigError(
                f"section {section!r} is set, but recipe {config.recipe.name!r} does not read it; it reads "
                f"{', '.join(recipe.uses) or 'none of these sections'}: leave {section} at its defaults"
            )
