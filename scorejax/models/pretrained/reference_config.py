"""Reading the nested configurations of score_sde."""

from collections.abc import Mapping
from typing import Any, TypeVar

from scorejax.runtime.errors import ConfigError

Value = TypeVar("Value")

# Name there -> name in `models.layers.NONLINEARITIES`.
NONLINEARITIES = {"swish": "silu", "elu": "elu", "relu": "relu", "lrelu": "leaky_relu"}


def setting(config: object, path: str) -> Any:
    """The setting at a dotted path.

    Args:
        config: nested dicts, or objects with attributes.
        path: for example "model.nf".

    Raises:
        ConfigError: there is no such setting.
    """
    node = config
    for key in path.split("."):
        try:
            node = node[key] if isinstance(node, Mapping) else getattr(node, key)
        except (KeyError, AttributeError):
            raise ConfigError(
                f"the configuration of score_sde lacks '{path}': give the whole nested configuration that the "
                "network was trained with"
            ) from None
    return node


def choice(config: object, path: str, table: Mapping[str, Value]) -> Value:
    """Our name for the value of the setting at a dotted path.

    Raises:
        ConfigError: there is no such setting, or it is not in the table.
    """
    name = setting(config, path)
    if name not in table:
        raise ConfigError(f"'{path}' = {name!r} of score_sde is none of those known here: {', '.join(table)}")
    return table[name]


def noise_levels(config: object) -> tuple[float, float, int]:
    """The sigmas that the reference looks labels up in: its own list, from the largest down."""
    largest, smallest, count = (setting(config, f"model.{key}") for key in ("sigma_max", "sigma_min", "num_scales"))
    return float(largest), float(smallest), int(count)
