"""Every setting of every section and of every registered part, with what must be set before it can be."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scorejax.experiment.config.parts import Seam
from scorejax.experiment.config.schema import METRIC, schema
from scorejax.experiment.config.settings import Setting, declared
from scorejax.experiment.config.values import Kind


class Found(NamedTuple):
    """A setting of the tree.

    Attributes:
        given: overrides that name the parts above it.
        key: of the setting, as an override begins.
        setting: what it takes.
    """

    given: tuple[str, ...]
    key: str
    setting: Setting

    @property
    def kind(self) -> Kind:
        assert isinstance(self.setting.kind, Kind)
        return self.setting.kind

    def __str__(self) -> str:
        return "|".join([*self.given, self.key])


def _of_section(section: Mapping, path: str) -> Iterator[Found]:
    for key, value in section.items():
        where = f"{path}.{key}".strip(".")
        if isinstance(value, Seam):
            yield from _of_seam(value, where, ())
        elif isinstance(value, Mapping):
            yield from _of_section(value, where)
        else:
            yield Found((), where, declared(value))


def _of_seam(seam: Seam, path: str, above: tuple[str, ...]) -> Iterator[Found]:
    for key, value in seam.common.items():
        yield Found(above, f"{path}.{key}", declared(value))
    for name in seam.entries():
        for key, setting in seam.settings(name).items():
            given = (*above, f"{path}={name}")
            if isinstance(setting.kind, Seam):
                yield from _of_seam(setting.kind, f"{path}.{key}", given)
            elif key not in seam.common:
                yield Found(given, f"{path}.{key}", setting)


def _of_metrics() -> Iterator[Found]:
    for name in METRIC.entries():
        for key, setting in METRIC.settings(name).items():
            yield Found((), f"eval.metrics={name}:{key}", setting)


EVERY = [*_of_section(schema(), ""), *_of_metrics()]


def bare(kind: Kind) -> list[type]:
    """The types that a setting takes all values of."""
    if kind.each is not None:
        return bare(kind.each)
    chosen = {type(choice) for choice in kind.choices}
    free = [each for each in kind.types if each in (int, float, tuple) and not kind.limits and each not in chosen]
    return free + [str for each in kind.types if each is str and str not in chosen and kind.part is None]
