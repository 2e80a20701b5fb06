"""Kinds of training, one file each: a file of this folder that holds a `Recipe` is found by its name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from scorejax.experiment.recipe import Recipe


def _found() -> dict[str, type[Recipe]]:
    """The recipe of each file, under the file's name."""
    recipes = {}
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Recipe) and kind.__module__ == module.__name__:
                recipes[file.name] = kind
    return recipes


RECIPES = _found()
"""All of them."""
BESIDE = {name: kind for name, kind in RECIPES.items() if kind.section is not None}
"""Those that train something next to a trained model."""
