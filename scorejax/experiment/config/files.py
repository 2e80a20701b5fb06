"""Config files: Python that is run, whose mistakes are named with their file and line."""

from __future__ import annotations

import contextlib
import functools
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from scorejax.experiment.config.section import Help
from scorejax.experiment.config.tree import Config
from scorejax.runtime.errors import ConfigError

Variant: TypeAlias = Callable[[Config], None]
"""What changes a config in place."""


class ConfigFile:
    """A Python file that defines `get_config()` and may define `VARIANTS`, functions that change a config in place."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path

    def read(self) -> tuple[Config, dict[str, Variant]]:
        """Run the file; return its config and its variants.

        Raises:
            ConfigError: the file cannot be read, is no Python, stops with an error, or returns no config.
        """
        if self.path.is_dir():
            found = ", ".join(str(file) for file in sorted(self.path.glob("*.py")))
            raise ConfigError(f"{self.path} is a folder, not a config file; choose one of {found or 'another folder'}")
        if not self.path.is_file() or self.path.suffix != ".py":
            run = f"; to go on with a run: --workdir={self.path.parent}" if self.path.name == "config.json" else ""
            raise ConfigError(f"{self.path} is no config file: a config is a file of Python, NAME.py{run}")
        with self._located():
            module = runpy.run_path(str(self.path))
        make, variants = module.get("get_config"), module.get("VARIANTS", {})
        if not callable(make):
            raise ConfigError(f"{self.path} defines no get_config(); see configs/vp_digits.py for one that does")
        if not isinstance(variants, Mapping) or not all(callable(each) for each in variants.values()):
            raise ConfigError(f"VARIANTS of {self.path} must map names to functions that change a config in place")
        with self._located():
            config = make()
        if not isinstance(config, Config):
            code = getattr(make, "__code__", None)
            what = f"{self.path}, line {code.co_firstlineno}" if code else f"{self.path}"
            raise ConfigError(
                f"{what}: get_config() returned {type(config).__name__}, not a config; begin it with "
                "`config = base()` and end it with `return config`"
            )
        return config, {str(name): functools.partial(self._vary, each) for name, each in variants.items()}

    def _vary(self, variant: Variant, config: Config) -> None:
        with self._located():
            variant(config)

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Name the file and the line of an error that is raised inside.

        Raises:
            ConfigError: there was one.
        """
        try:
            yield
        except Help:
            raise
        except (Exception, SystemExit) as error:  # a config may be any program
            line = self._line(error)
            what = f"{self.path}, line {line}" if line else f"{self.path}"
            if isinstance(error, SyntaxError):
                said = error.msg + (f": {error.text.strip()}" if error.text else "")
            elif isinstance(error, ConfigError):
                said = str(error)
            elif isinstance(error, OSError) and line is None:
                said = f"cannot be read: {error.strerror}"
            else:
                said = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{what}: {' '.join(said.split())}") from error

    def _line(self, error: BaseException) -> int | None:
        """The line of the file where an error came from."""
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            return error.lineno
        frames = traceback.extract_tb(error.__traceback__)
        return next((frame.lineno for frame in reversed(frames) if frame.filename == str(self.path)), None)
