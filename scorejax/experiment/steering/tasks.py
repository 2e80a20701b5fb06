"""What is done with given images, by name."""

from __future__ import annotations

from collections.abc import Callable

from scorejax import data as data_lib
from scorejax.experiment import assemble as build
from scorejax.experiment.config import Config
from scorejax.experiment.steering import by_class
from scorejax.experiment.steering.edits import edit, translate
from scorejax.experiment.steering.restorations import OPTIONS, inpaint, restore
from scorejax.experiment.steering.task import Task
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.sdes import LinearSDE

TASKS: dict[str, Callable[..., Task]] = {"inpaint": inpaint, "restore": restore, "edit": edit, "translate": translate}


def task(config: Config, process: LinearSDE, examples: data_lib.Dataset) -> Task:
    """What section `guidance` asks to be done with given images, for a model of images like `examples`.

    Raises:
        ConfigError: no such task, settings that it does not take or that do not fit, or vectors instead of images.
    """
    factory = build.pick("guidance", config.guidance.name, TASKS)
    if not examples.gray_levels:
        raise ConfigError(f"guidance = {config.guidance.name!r} is for images; {examples.name!r} holds vectors")
    elsewhere = (*by_class.KEYS, "input", *((*OPTIONS, "clip") if factory in (inpaint, restore) else ("target",)))
    keys = [key for key in build.unset("guidance") if key not in elsewhere]
    given = build.options(config, "guidance", factory, keys)
    with user_errors(f"guidance = {config.guidance.name!r}"):
        return factory(config, process, examples, **given)
