"""Reading configs, and what their settings are."""

from scorejax.experiment.config.reading import (
    Config,
    base,
    chosen,
    flatten,
    from_dict,
    load,
    override,
    tiny,
    to_dict,
)

__all__ = ["Config", "base", "chosen", "flatten", "from_dict", "load", "override", "tiny", "to_dict"]
