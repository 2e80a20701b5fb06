"""What a run remembers of its data, `data.json` in its folder.

A trained model is restored, drawn from and asked for densities by this record alone. Where its training data are read,
they are compared with it: a model that goes on with other data is another model.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from absl import logging

import scorejax
from scorejax import data
from scorejax.experiment.assemble.data import dataset
from scorejax.experiment.config import Config
from scorejax.experiment.config.values import Values
from scorejax.numerics.conditions import Condition
from scorejax.runtime import checkpoint, parallel
from scorejax.runtime.errors import ConfigError, RunError, user_errors
from scorejax.runtime.files import DamagedError, read_json, write_json

FILE = "data.json"


@dataclass(frozen=True)
class Record:
    """What a run remembers of its data.

    Attributes:
        form: of an example.
        counts: how many examples each split has; None for one that was not read.
        fingerprint: of the training data, wherever they lie.
        vectors: how a run of an older version shifts and scales vectors.
        map: how numbers are brought to model space; None for gray levels that are seen as such, and for a run of an
            older version.
        version: of scorejax, which wrote it.
    """

    form: data.Form
    counts: Mapping[str, int | None]
    fingerprint: str
    vectors: data.Vectors = field(default_factory=data.Vectors)
    map: data.ChannelMap | None = None
    version: str = scorejax.__version__

    @classmethod
    def of(
        cls,
        train: data.Dataset,
        normalize: data.Normalization,
        transform: data.Transform = "none",
        per_channel: bool = True,
    ) -> Self:
        """The record of training data.

        Args:
            train: the data.
            normalize: how they are brought to model space, as setting `data.normalize`.
            transform: as setting `data.transform`.
            per_channel: as setting `data.per_channel`.

        Raises:
            ConfigError: data that cannot be brought there.
        """
        form, found = data.Form.of(train), None
        if form.gray_levels is None or normalize not in ("auto", "none") or transform != "none":
            how = {"normalize": normalize, "transform": transform, "per_channel": per_channel}
            with user_errors("section data"):
                found = data.fit(train.examples, form.levels, **how, name=train.name)
        return cls(form, {"train": len(train)}, data.fingerprint_of(train), map=found)

    @classmethod
    def of_config(cls, train: data.Dataset, config: Config) -> Self:
        """The record of training data, brought to model space as section `data` of a config says."""
        c = config.data
        return cls.of(train, c.normalize, c.transform, c.per_channel)

    def space(self, config: Config) -> data.Space:
        """Model space, as section `data` of a config has it."""
        c = config.data
        if self.map is not None:
            return self.form.channels(self.map, dequantize=c.dequantize)
        if self.form.gray_levels is None:
            return self.vectors
        return data.GrayLevels(self.form.gray_levels, centered=c.centered, dequantize=c.dequantize)

    def check(self, train: data.Dataset) -> None:
        """Refuse training data that are not those of the run.

        Raises:
            ConfigError: they have another form, or hold something else; the message says what was recorded and what
                was found.
        """
        found = Record(data.Form.of(train), {"train": len(train)}, data.fingerprint_of(train))
        if self.fingerprint == found.fingerprint:
            return
        was, now = self.about(), found.about()
        differing = [key for key in was if was[key] != now[key]]
        recorded = ", ".join(f"{key} {was[key]}" for key in differing) or f"fingerprint {self.fingerprint}"
        got = ", ".join(f"{key} {now[key]}" for key in differing) or f"fingerprint {found.fingerprint}"
        raise ConfigError(
            f"this run was trained on other data: data.json in its folder records {recorded}, but section data now "
            f"gives {got}; give the old data (data.path may name another place), or choose another --workdir"
        )

    def about(self) -> dict[str, object]:
        """What can be said of the training data in words."""
        form = self.form
        return {
            "name": form.name,
            "examples": self.counts["train"],
            "shape": form.shape,
            "gray levels": form.gray_levels,
            "levels": form.level_count,
            "classes": form.num_classes,
            "class names": form.label_names,
            "embeddings": form.embedding,
            "conditions": ", ".join(map(str, form.conditions)) or None,
        }

    def to_dict(self) -> Values:
        """The record as plain values, ready for JSON."""
        form, vectors = self.form, self.vectors
        plain = vectors == data.Vectors()
        return {
            "name": form.name,
            "counts": dict(self.counts),
            "shape": list(form.shape),
            "gray_levels": form.gray_levels,
            "num_classes": form.num_classes,
            "label_names": list(form.label_names),
            "embedding": None if form.embedding is None else list(form.embedding),
            "shift": None if plain else list(vectors.shift),
            "scale": None if plain else list(vectors.scale),
            "levels": None if form.levels is None else dataclasses.asdict(form.levels),
            "dtype": form.dtype,
            "missing": form.missing,
            "conditions": [dataclasses.asdict(condition) for condition in form.conditions],
            "map": None if self.map is None else dataclasses.asdict(self.map),
            "fingerprint": self.fingerprint,
            "scorejax": self.version,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        embedding, shift = values["embedding"], values["shift"]
        form = data.Form(
            name=str(values["name"]),
            shape=tuple(map(int, values["shape"])),
            gray_levels=values["gray_levels"],
            num_classes=int(values["num_classes"]),
            label_names=tuple(values["label_names"]),
            embedding=None if embedding is None else tuple(map(int, embedding)),
            levels=_levels(values),
            dtype=str(values.get("dtype", "float32" if values["gray_levels"] is None else "uint8")),
            conditions=_conditions(values),
            missing=bool(values.get("missing", False)),
        )
        vectors = data.Vectors()
        if shift is not None:
            vectors = data.Vectors(tuple(map(float, shift)), tuple(map(float, values["scale"])))
            if not len(vectors.shift) == len(vectors.scale) == form.dimension or not min(vectors.scale) > 0:
                raise ValueError("shift and scale must hold one number for each column, and scales be positive")
        counts, fingerprint, version = dict(values["counts"]), str(values["fingerprint"]), str(values["scorejax"])
        return cls(form, counts, fingerprint, vectors, _map(values.get("map"), form), version)


def _conditions(values: Mapping[str, Any]) -> tuple[Condition, ...]:
    """The named conditions of a stored form; older versions had none."""
    lists: list[dict[str, Any]] = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in each.items()} for each in values.get("conditions", ())
    ]
    return tuple(Condition(**each) for each in lists)


def _levels(values: Mapping[str, Any]) -> data.Levels | None:
    """The levels of a stored form; those of gray levels were not stored by older versions."""
    found, gray = values.get("levels"), values["gray_levels"]
    if found is None:
        return None if gray is None else data.Levels(0.0, gray)
    return data.Levels(float(found["lo"]), int(found["count"]), float(found["quantum"]))


def _map(values: Mapping[str, Any] | None, form: data.Form) -> data.ChannelMap | None:
    """A stored map, checked against the form of the data."""
    if values is None:
        return None
    rows = {key: tuple(tuple(map(float, row)) for row in values[key]) for key in ("knots", "shares")}
    shift, scale = (tuple(map(float, values[key])) for key in ("shift", "scale"))
    if not all(len(each) in (0, 1, form.shape[-1]) for each in (shift, scale, *rows.values())) or not min(scale) > 0:
        raise ValueError("a map must hold one number for each channel, or one for all, and scales be positive")
    if any(not np.all(np.diff(row) > 0) for each in rows.values() for row in each):
        raise ValueError("the knots and shares of a map must ascend")
    return data.ChannelMap(values["mode"], values["transform"], shift, scale, rows["knots"], rows["shares"])


def of_run(workdir: str | Path, config: Config) -> Record | None:
    """What the run in a folder remembers of its data; None where nothing was trained yet.

    A record that was lost is made again of the data, with a warning, as the stored config says. A run that is older
    than such records gets one: its vectors were trained on as they are.

    Args:
        workdir: folder of the run.
        config: its config, by which the data of an old run are read.

    Raises:
        RunError: the record is damaged, or it is missing and the data cannot be read.
    """
    if not checkpoint.steps(workdir):
        return None
    found = read(workdir)
    if found is None:
        normalize = _stored_normalization(workdir, config)
        if normalize is not None:
            logging.warning(
                "%s is missing: it is made again of the data that section data names, which must be those of the run",
                Path(workdir) / FILE,
            )
        train = dataset(config)
        found = Record.of(train, "none") if normalize is None else Record.of_config(train, config)
        with contextlib.suppress(RunError):  # a folder that cannot be written is read all the same
            write(workdir, found)
    return found


def _stored_normalization(workdir: str | Path, config: Config) -> data.Normalization | None:
    """What the stored config of a run says of vectors; None of a run from before there was such a setting."""
    path = Path(workdir) / "config.json"
    if not path.is_file():
        return None
    try:
        return read_json(path, dict, "").get("data", {}).get("normalize")
    except DamagedError:  # the config that is given stands in for it
        return config.data.normalize


def read(workdir: str | Path) -> Record | None:
    """The record in the folder of a run; None if there is none.

    Raises:
        DamagedError: it is damaged.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        return None
    remedy = (
        "put it back from a copy, or train again in another --workdir: it says how the data were brought to the model"
    )
    values = read_json(path, dict, remedy)
    try:
        return Record.from_dict(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedError(path, reason, remedy) from error


def write(workdir: str | Path, record: Record) -> None:
    """Write down what a run remembers of its data.

    Raises:
        RunError: the folder cannot be written.
    """
    if parallel.is_main_process():
        write_json(Path(workdir) / FILE, record.to_dict())
