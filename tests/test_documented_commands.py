"""Every command and every setting that the documentation shows can be read: configs load, parts exist and fit.

Nothing is trained, and no data are read.
"""

import functools
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from scorejax.__main__ import parse
from scorejax.experiment import by_data, checks, modes
from scorejax.experiment import config as configs
from scorejax.experiment.config import reading
from scorejax.experiment.evaluation import quality, sweep
from scorejax.experiment.evaluation.bits import verdict
from scorejax.experiment.evaluation.evaluate import EVALUATIONS
from scorejax.experiment.evaluation.report import summary
from scorejax.experiment.recipes import RECIPES
from scorejax.metrics.random_conv import RandomConv
from scorejax.runtime.errors import ConfigError

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(
        ROOT / f"docs/{name}.md"
        for name in (
            "choosing",
            "control",
            "data",
            "recipes",
            "runs",
            "benchmarks",
            "energies",
            "slides",
            "processes",
            "checkpoints",
            "metrics",
            "training",
            "networks",
            "posteriors",
            "sbi",
        )
    ),
]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
# The configs of the runs that commands go on with.
RUNS = {
    "RUN": "vp_digits",
    "runs/edm_digits": "edm_digits",
    "runs/vp_digits": "vp_digits",
    "runs/vp_mnist": "vp_mnist",
    "runs/vp_mnist-conditional": "vp_mnist:conditional",
    "runs/eights": "vp_mnist",
    "runs/terrain": "vp_digits",
    "runs/energy": "energy:mnist",
    "runs/cold_mnist": "cold_mnist",
    "runs/averaged": "vp_moons:tiny",
    "runs/eeg_long": "eeg",
    "runs/sbi": "vp_moons:tiny",
}
# What stands for a value of the reader's own.
PLACEHOLDERS = {"K": "10", "N": "10", "FILE": "x.npz", "DIR": "x", "TFDS_DIR": "x"}
# Where a setting that is shown alone belongs.
CONTEXTS = [
    [],
    ["data=mnist"],
    ["model=adm"],
    ["data=folder"],
    ["data=npz"],
    ["sampler.stepper=reverse_chain"],
    ["guidance=classifier_free"],
    ["guidance=restore", "guidance.method=pigdm"],
    ["guidance=restore", "guidance.method=dps"],
    ["guidance=inpaint"],
    ["guidance=translate"],
    ["guidance=undo"],
    ["guidance=autoguidance"],
    ["sde=flow"],
    ["eval.features=inception"],
    ["model=ddpmpp"],
    ["sde=colored"],
    ["sde=edm"],
    *([f"recipe={name}"] for name in RECIPES),
]


def text_of(path):
    text = path.read_text()
    return text.split('"""')[1] if path.suffix == ".py" else text


def commands(path):
    """The lines that start the program, continued lines joined, without what comes before the program."""
    lines = re.sub(r"\\\n\s*", " ", text_of(path)).splitlines()
    variables = dict(re.match(r"(\w)=(\S+)$", line).groups() for line in lines if re.match(r"(\w)=(\S+)$", line))
    for line in lines:
        found = re.search(
            r"(?:^|&& |^    |`)(?:\S*python )?(?:main\.py|\S*scorejax|benchmarks/\w+\.py) (--[^`]*)", line
        )
        if found and "=my_" not in line:  # parts of the reader's own, which other tests run
            yield re.sub(r"\$(\w)", lambda m: variables[m.group(1)], found.group(1))


def shown(path):
    """Overrides `key=value` that are shown outside of commands."""
    text = re.sub(r"^```python\n.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    yield from overrides(re.findall(r"--config\.[\w.]+=[^\s`|\]\"]+", text))
    for key, value in re.findall(r"`([a-z_]+\.[a-z_.]+)(?:=([^`\s]+))?`", text):
        if key.partition(".")[0] in configs.base() and not key.endswith((".py", ".md", ".json", ".npz", ".npy")):
            yield from overrides([f"{key}={value}"]) if value else [key]


def overrides(arguments):
    """Those of a command, with values in the place of placeholders; what is left to the reader is left out."""
    for flag in arguments:
        key, _, value = flag.strip("[]").removeprefix("--config.").partition("=")
        if value not in ("NAME", "VALUE") and not value.startswith("my_") and key not in ("section.key", "KEY"):
            yield f"{key}={PLACEHOLDERS.get(value, value)}"


COMMANDS = [(path, command) for path in [*PAGES, *CONFIGS] for command in commands(path)]
SETTINGS = sorted({(path.name, text) for path in [*PAGES, *CONFIGS, ROOT / "CONTRIBUTING.md"] for text in shown(path)})


def test_the_pages_show_commands():
    assert len(COMMANDS) > 30 and {path.name for path, _ in COMMANDS} >= {*(p.name for p in PAGES[:3])}
    assert {path for path, _ in COMMANDS} >= set(CONFIGS)
    assert len(SETTINGS) > 40


def test_configs_are_found_by_name_where_a_wheel_puts_them(tmp_path, monkeypatch):
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    for folder, patterns in data.items():
        (tmp_path / "prefix" / folder).mkdir(parents=True)
        for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
            (tmp_path / "prefix" / folder / path.name).write_text(path.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "__file__", str(tmp_path / "site/scorejax/experiment/config/reading.py"))
    with pytest.raises(ConfigError, match="no config file 'vp_moons'"):
        configs.load("vp_moons")
    monkeypatch.setattr(reading.sysconfig, "get_path", lambda *_: str(tmp_path / "prefix"))
    for path in CONFIGS:
        assert configs.load(path.stem).name == path.stem  # one config reads another from its folder


def test_the_readme_shows_what_the_first_command_prints():
    """The numbers of the page, printed by the program, are the page."""
    (shown,) = re.findall(r"^```\n(step 240.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)

    def numbers(label):
        return [float(text) for text in re.findall(r"[\d.]+", re.search(rf"^  {label} +(.*)$", shown, re.MULTILINE)[1])]

    bits = dict(zip(("bits_per_dim", "standard_error"), numbers("bits/dim"), strict=True))
    bits |= {"gaussian_baseline": numbers("Gaussian baseline")[0], "uniform_baseline": numbers("uniform baseline")[0]}
    bits |= {"levels": 17, "failed": 0, "examples": 297, "of": 297, "verdict": verdict(bits)}
    distance, floor = numbers("Frechet distance")[:2]
    drawn = {"metrics": ["frechet"], "n": 150, "nfe": 21, "features": RandomConv().name, "frechet_floor": floor}
    drawn |= {"frechet_called": "Frechet distance", "frechet_distance": distance}
    drawn["notes"] = [re.search(r"^  note: (.*)$", shown, re.MULTILINE)[1]]
    report = {"step": 240, "split": "test", "data": "digits", "likelihood": bits, "samples": drawn}
    *printed, where = shown.splitlines()
    assert summary(report, EVALUATIONS).splitlines() == printed
    assert where == "  results in runs/edm_digits/eval/step-240.json, pictures in runs/edm_digits/samples/"


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=lambda v: v.name if isinstance(v, Path) else v[:90])
def test_a_command_is_read_and_its_parts_fit(path, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(command)
    if any("help" in argument for argument in arguments):
        return  # the command line's own tests ask for help
    own = [each for each in arguments if each.startswith("--") and "=" in each]
    flags = [each for each in own if re.match(r"--(config|workdir|mode)=", each)]
    folder = next((each.partition("=")[2] for each in flags if each.startswith("--workdir=")), "RUN")
    if not any(each.startswith("--config=") for each in flags):
        flags.append(f"--config={RUNS[folder]}")
    args, _ = parse(flags, "scorejax")
    assert args.mode in modes.MODES
    config = configs.load(args.config)
    given = [each for each in own if each.startswith("--config.")]
    configs.override(config, overrides(given))
    if "conditional" not in config.name and config.guidance.name == "classifier_free":
        config.recipe.update({"conditional": True, "label_dropout": 0.1})
    checks.check(by_data.settled(config))
    config.guidance.make()
    for metric in config.eval.metrics:
        quality.metric(metric)
    for sampler in config.sweep.samplers if args.mode == "sweep" else []:
        checks.check(sweep.with_sampler(config, sampler, 10))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "text"), SETTINGS)
def test_a_setting_is_one_of_a_config(page, text):
    """A key alone is asked for; a value is set."""
    key, equals, value = text.partition("=")
    refusals = []
    for context in CONTEXTS:
        config = configs.load("vp_digits", context)
        try:
            if value == "help" or key == "help":
                with pytest.raises(configs.Help):
                    configs.override(config, [text])
            elif equals:
                configs.override(config, [text])
            else:
                functools.reduce(lambda node, name: node[name], key.split("."), config)
            return
        except ConfigError as refusal:
            refusals.append(str(refusal))
    pytest.fail("; ".join(refusals))
