"""What a part of the slides is, how it is computed once, and how the page is made of all of them.

A part is a file `parts/NAME.py` of the same name:

    @part(title="Plain and annealed Langevin dynamics", slides="Two panels of samples ...", order=30,
          pictures={"langevin": "Samples of both"})
    def langevin(given: Given, *, chains: int = 4000) -> dict:
        figure = draw.panels(1, 2)
        ...
        draw.save(figure, given.picture("langevin"))
        return {"weight": 0.508}

    @langevin.says
    def text(numbers: dict) -> str:
        return f"The slides print 0.5; here it is {numbers['weight']:.3f}. The two agree."

The keyword parameters of the function are its settings. What it returns is JSON, and what `says` makes of it is the
text of the page, so that words can be changed without computing anything again.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scorejax.runtime.files import read_json, replacing, write_json

ROOT = Path(__file__).resolve().parents[2]
FLAGS = {"data_dir": "--data-dir", "uci": "--uci"}
"""What a part can need, and the flag that gives it."""


class Refused(Exception):
    """A part cannot be computed: the message says why, and what to do."""


@dataclass(frozen=True)
class Places:
    """Where results, pictures and the page lie."""

    results: Path = ROOT / "benchmarks/slides/results"
    images: Path = ROOT / "docs/images"
    page: Path = ROOT / "docs/slides.md"

    @classmethod
    def under(cls, folder: Path) -> Places:
        """All three below one folder, laid out so that the links of the page hold."""
        return cls(folder / "results", folder / "images", folder / "slides.md")

    def result(self, name: str) -> Path:
        return self.results / f"{name}.json"

    def picture(self, name: str) -> Path:
        return self.images / f"slides-{name}.png"


@dataclass(frozen=True)
class Given:
    """What a part is handed when it is computed.

    Attributes:
        work: a folder of its own for runs, which stays between calls: what lies there is gone on with.
        data_dir: where tensorflow-datasets lie, as in `data.data_dir`.
        uci: the folder of the UCI tables.
        settings: those of the part.
        allowed: names of the pictures that it has declared.
        again: whether what is there is made again.
        found: what was there already, so that the time of the part is not that of its command.
    """

    work: Path
    places: Places
    settings: Mapping[str, Any] = field(default_factory=dict)
    allowed: Sequence[str] = ()
    data_dir: str | None = None
    uci: str | None = None
    again: bool = False
    found: list[str] = field(default_factory=list)

    def picture(self, name: str) -> Path:
        """Where a declared picture is to be written: `docs/images/slides-NAME.png`."""
        if name not in self.allowed:
            raise Refused(f"picture {name!r} is not declared; the part declares {', '.join(self.allowed)}")
        self.places.images.mkdir(parents=True, exist_ok=True)
        return self.places.picture(name)

    def say(self, text: str) -> None:
        """Say how far it is."""
        print(f"  {text}", flush=True)

    def kept(self, name: str, make: Callable[[], Any], settings: Mapping[str, Any] | None = None) -> Any:
        """What `make` returns, as JSON, computed once for these settings (those of the part if none are given).

        For a row of a table that takes minutes: a part that was interrupted goes on with the next one.
        """
        where, settings = self.work / f"{name}.json", _plain(self.settings if settings is None else settings)
        if where.exists() and not self.again:
            there = read_json(where, dict, "delete it")
            if there.get("settings") == settings:
                self.found.append(name)
                return there["value"]
        value = _plain(make())
        write_json(where, {"settings": settings, "value": value})
        return value

    def main(self, *arguments: str) -> str:
        """Run `python main.py ARGUMENTS` and return what it prints; a run that is trained already trains no more."""
        command = [sys.executable, str(ROOT / "main.py"), *arguments]
        self.say(f"python main.py {' '.join(arguments)}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"main.py {' '.join(arguments)} ended with code {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def run(self, config: str, name: str, *settings: str, shared: bool = False) -> Path:
        """The folder of a run of this config, trained (or gone on with) if it is not yet; settings are `key=value`.

        One that several parts share lies next to their own folders.
        """
        folder = (self.work.parent if shared else self.work) / name
        data = [f"data.data_dir={self.data_dir}"] if self.data_dir else []
        given = [*data, "eval.after_training=false", *settings]
        # a finished run is recognized by its own record, so that nothing is rehearsed or compiled a second time
        ended = folder / "trained.json"
        wanted = {"config": config, "settings": list(given)}
        if ended.exists() and not self.again and read_json(ended, dict, "delete it") == wanted:
            self.found.extend([] if shared else [name])
        else:
            self.main(f"--config={config}", f"--workdir={folder}", *(f"--config.{text}" for text in given))
            write_json(ended, wanted)
        return folder


@dataclass
class Part:
    """A part: a function, its settings, and the text that its numbers make.

    Attributes:
        title: of its section of the page.
        slides: what the slides show or print, in a sentence.
        order: of the sections.
        pictures: caption of each picture `docs/images/slides-NAME.png`, by NAME.
        needs: what must be given, of `FLAGS`.
    """

    compute: Callable[..., dict[str, Any]]
    title: str
    slides: str
    order: float
    pictures: Mapping[str, str]
    needs: Sequence[str] = ()
    text: Callable[[dict[str, Any]], str] | None = None

    @property
    def name(self) -> str:
        return self.compute.__name__

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword parameters of the function with their defaults."""
        parameters = list(inspect.signature(self.compute).parameters.values())[1:]
        return {each.name: each.default for each in parameters}

    def says(self, text: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
        """Register the function that makes Markdown of the numbers: each next to the printed one, with a verdict."""
        self.text = text
        return text


_PARTS: dict[str, Part] = {}


def part(
    *, title: str, slides: str, order: float, pictures: Mapping[str, str], needs: Sequence[str] = ()
) -> Callable[[Callable[..., dict[str, Any]]], Part]:
    """Register a function `(given, *, settings) -> numbers` as the part of its name; see `Part`."""
    if unknown := set(needs) - set(FLAGS):
        raise ValueError(f"a part needs {unknown}; it can need {', '.join(FLAGS)}")

    def register(compute: Callable[..., dict[str, Any]]) -> Part:
        _PARTS[compute.__name__] = made = Part(compute, title, slides, order, pictures, needs)
        return made

    return register


def parts() -> dict[str, Part]:
    """All parts by name, in the order of the page; each is found by its file."""
    from benchmarks.slides import parts as folder

    for found in pkgutil.iter_modules(folder.__path__):
        if not found.name.startswith("_"):
            importlib.import_module(f"{folder.__name__}.{found.name}")
    return dict(sorted(_PARTS.items(), key=lambda item: (item[1].order, item[0])))


def compute(
    each: Part,
    places: Places,
    work: Path,
    *,
    changed: Mapping[str, Any] | None = None,
    again: bool = False,
    data_dir: str | None = None,
    uci: str | None = None,
) -> bool:
    """Compute a part, unless its result and its pictures are there with the same settings; whether it was.

    Raises:
        Refused: a setting that it does not have, or something that it needs and was not given.
    """
    settings = each.settings
    if unknown := set(changed or {}) - set(settings):
        raise Refused(f"{each.name} has no setting {', '.join(sorted(unknown))}; its settings: {', '.join(settings)}")
    settings = _plain(settings | dict(changed or {}))
    where = places.result(each.name)
    drawn = where.exists() and all(places.picture(name).exists() for name in each.pictures)
    if drawn and not again and read_json(where, dict, "delete it").get("settings") == settings:
        return False
    handed = {need: path for need, path in {"data_dir": data_dir, "uci": uci}.items() if need in each.needs}
    if missing := [FLAGS[need] for need in each.needs if not handed.get(need)]:
        raise Refused(f"{each.name} needs {' and '.join(missing)}")
    (work / each.name).mkdir(parents=True, exist_ok=True)
    given = Given(work / each.name, places, settings, list(each.pictures), again=again, **handed)
    began = time.perf_counter()
    numbers = _plain(each.compute(given, **{key: settings[key] for key in each.settings}))
    if absent := [name for name in each.pictures if not places.picture(name).exists()]:
        raise Refused(f"{each.name} declares pictures that it did not write: {', '.join(absent)}")
    kind = jax.devices()[0].device_kind
    device = {"cpu": "two cores of a CPU" if os.cpu_count() == 2 else "a CPU"}.get(kind, kind)
    seconds = None if given.found else round(time.perf_counter() - began)
    made = {"settings": settings, "numbers": numbers, "seconds": seconds, "device": device}
    write_json(where, made)
    return True


def page(places: Places) -> str:
    """The page of all parts whose results lie on the disk."""
    sections = []
    for name, each in parts().items():
        where = places.result(name)
        if not where.exists():
            continue
        result = read_json(where, dict, f"compute it: python -m benchmarks.slides {name} --again")
        if each.text is None:
            raise Refused(f"{name} has no text: give it one with @{name}.says")
        try:
            words = each.text(result["numbers"]).strip()
        except KeyError as missing:
            raise Refused(
                f"the result of {name} has no {missing}: python -m benchmarks.slides {name} --again"
            ) from None
        sections += [f"## {each.title}", f"*The slides:* {each.slides}", words]
        folder = places.images.relative_to(places.page.parent)
        sections += [f"![{caption}]({folder}/slides-{picture}.png)" for picture, caption in each.pictures.items()]
        flags = "".join(f" {FLAGS[need]}=DIR" for need in each.needs)
        sections.append(f"`python -m benchmarks.slides {name}{flags}`: {_cost(result)}")
        if "note" in result:
            sections.append(result["note"])
    return "\n\n".join([HEAD.strip(), *sections]) + "\n"


def write_page(places: Places) -> Path:
    """Write the page, and return where."""
    with replacing(places.page) as partial:
        partial.write_text(page(places))
    return places.page


HEAD = """
# The slides, redrawn

Lectures on score-based models show the same figures and tables again and again: a mixture of two Gaussians and its
score, Langevin dynamics that finds the wrong weights, a table of samplers. This page has them as the library draws
them, from data that fit a small machine. Where the slides print a number it stands next to the one that was measured
here, with a sentence on whether the two agree. One command makes them all, goes on where it was stopped, and writes
this page:

```bash
python -m benchmarks.slides --list
python -m benchmarks.slides --data-dir=TFDS_DIR --uci=DIR
python -m benchmarks.slides mixture langevin
```

A result that lies in `benchmarks/slides/results/` with the same settings is not computed again unless `--again` asks
for it, and `--set langevin.chains=1000` changes a setting. `--out=DIR` writes everything there and leaves this page
alone. The times are those of a machine with other work to do.
"""


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers that are no text yet are shown with four significant digits."""

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def _cost(result: dict[str, Any]) -> str:
    """How long the command took, if one command made the result."""
    seconds = result["seconds"]
    if seconds is None:
        return "made in several runs, whose time as one was not measured."
    return (
        f"{seconds:.0f} s on {result['device']}." if seconds < 120 else f"{seconds / 60:.0f} min on {result['device']}."
    )


def _plain(value: Any) -> Any:
    """The same as JSON gives it back; floats with six significant digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (np.ndarray, jax.Array)):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return json.loads(json.dumps(value))
