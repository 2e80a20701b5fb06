"""Settings: how a config is read, which sections it has, and how a part is named with its own settings."""

from scorejax.experiment.config.parts import Seam, takes
from scorejax.experiment.config.reading import (
    base,
    chosen,
    copy,
    flatten,
    from_dict,
    load,
    override,
    tiny,
    to_dict,
)
from scorejax.experiment.config.section import Help
from scorejax.experiment.config.settings import Setting
from scorejax.experiment.config.tree import Config, Part

__all__ = [
    "Config",
    "Help",
    "Part",
    "Seam",
    "Setting",
    "base",
    "chosen",
    "copy",
    "flatten",
    "from_dict",
    "load",
    "override",
    "takes",
    "tiny",
    "to_dict",
]
