"""A part of each seam from outside the package: the examples of docs/extending.md, as the command line runs them."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from scorejax.experiment import assemble, checks, modes
from scorejax.experiment import config as configs
from scorejax.experiment.evaluation import quality
from scorejax.experiment.trained import restore
from scorejax.experiment.workdir import saved_config
from scorejax.runtime.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page):
    return re.findall(r"^```(\w*)\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def files_of(blocks):
    return {
        name.group(1): text
        for kind, text in blocks
        if kind == "python" and (name := re.match(r"# (my_\w+)\.py\n", text))
    }


BLOCKS = blocks_of("extending.md")
FILES = files_of(BLOCKS)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
SEAMS = {
    "sde", "model", "recipe", "objective", "sampler.stepper", "sampler.corrector", "sampler.time_grid", "guidance",
    "eval.metrics", "eval.features", "data",
}  # fmt: skip
# `recipe` is named by the config file of its section, all others by their commands.
NAMED = {
    key: (part, settings)
    for line in [*COMMANDS, "--config.recipe=my_recipe:Independent:start=0.5"]
    for key, part, settings in re.findall(r"--config\.([\w.]+)=(?:\w+,)?(my_\w+:\w+):(\S+)", line)
}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A working directory with the files of the page, which the program finds as a user's."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    importlib.invalidate_caches()  # the folder is younger than the last look for modules
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def asked(command):
    """The config of a command."""
    program, config, *overrides = shlex.split(command)
    assert program == "scorejax" and all(text.startswith("--config.") for text in overrides)
    return configs.load(config.removeprefix("--config="), [text.removeprefix("--config.") for text in overrides])


def test_the_page_has_an_example_of_every_seam():
    assert set(NAMED) == SEAMS
    assert {part.partition(":")[0] for part, _ in NAMED.values()} | {"my_config"} == set(FILES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: re.sub(r".*config[.=]", "", c))
def test_every_command_names_parts_that_exist_and_fit(command, outside):
    config = asked(command)
    checks.check(config)
    again = configs.from_dict(json.loads(json.dumps(configs.to_dict(config))))
    assert configs.to_dict(again) == configs.to_dict(config)


@pytest.mark.parametrize("key", sorted(NAMED))
def test_a_wrong_setting_is_refused_by_an_error_that_lists_the_settings(key, outside):
    part, settings = NAMED[key]
    known = [each.partition("=")[0] for each in settings.split(":")]
    with pytest.raises(ConfigError) as refused:
        if key == "eval.metrics":  # a list of texts, read when the evaluation is prepared
            quality.metric(f"{part}:no_such_setting=1")
        else:
            configs.load("vp_moons:tiny", [f"{key}={part}:no_such_setting=1"])
    said = str(refused.value)
    assert "no_such_setting" in said and part in said
    listed = said.partition("takes: ")[2].split(", ")
    assert set(known) <= set(listed)
    # What the program supplies is no setting, so it is not offered as one; data.split says which examples are held out.
    supplied = {"t", "t_min", "key", "sde", "given", "name", "parent"} | ({"split"} if key != "data" else set())
    assert not set(listed) & supplied


def test_the_settings_reach_the_parts(outside):
    texts = [f"{key}={part}:{settings}" for key, (part, settings) in NAMED.items() if key != "recipe"]
    config = configs.load("vp_moons:tiny", texts)
    sde, arguments = assemble.sde(config), assemble.sampler(config, assemble.sde(config))
    assert sde.exponent == 1.5 and arguments["stepper"].place == 0.5 and arguments["corrector"].size == 0.05
    assert config.guidance.make().power == 2 and config.eval.features.make().count == 4
    assert quality.metric(config.eval.metrics[-1]).quantile == 0.5
    # The middle of four steps lies at a quarter of the way, as the square of one half.
    middle = (arguments["times"][2] - arguments["times"][-1]) / (arguments["times"][0] - arguments["times"][-1])
    np.testing.assert_allclose(middle, 0.25, rtol=1e-5)


def test_a_value_of_the_wrong_type_and_a_missing_name_are_refused(outside):
    with pytest.raises(ConfigError, match=r"sde\.exponent.*a number.*'high'"):
        configs.load("vp_moons:tiny", ["sde=my_sde:power:exponent=high"])
    with pytest.raises(ConfigError, match="'my_sde' has no 'absent'"):
        configs.load("vp_moons:tiny", ["sde=my_sde:absent"])
    with pytest.raises(ConfigError, match="'nowhere' cannot be imported"):
        configs.load("vp_moons:tiny", ["sde=nowhere:power"])
    with pytest.raises(ConfigError, match="section sde: exponent must be positive, got -1"):
        checks.check(configs.load("vp_moons:tiny", ["sde=my_sde:power:exponent=-1"]))
    with pytest.raises(ConfigError, match=r"model\.features.*at least 1, got '0'"):
        configs.load("vp_moons:tiny", ["model=my_network:TwoLayers:features=0"])


@pytest.mark.slow
def test_one_run_of_all_of_them_trains_goes_on_and_is_evaluated(outside, capsys):
    texts = [f"{key}={part}:{settings}" for key, (part, settings) in NAMED.items() if key != "recipe"]
    config = configs.load("vp_moons:tiny", [*texts, "train.steps=2", "train.batch=8", "eval.samples=8"])
    config.eval.likelihood_examples = 8
    checks.check(config)
    modes.run("train", config, outside / "run")
    shown = capsys.readouterr().out
    assert "reach" in shown and "waves-4-1.0" in shown and "test examples of ring" in shown
    (report,) = (outside / "run/eval").glob("step-2*.json")
    assert json.loads(report.read_text())["samples"]["reach"] > 0
    assert configs.to_dict(saved_config(outside / "run")) == configs.to_dict(config)
    assert modes.run("sample", saved_config(outside / "run"), outside / "run") is None


@pytest.mark.slow
def test_a_recipe_of_ones_own_learns_the_moments_of_the_data(outside):
    config = configs.load("my_config.py:tiny", ["optim.lr=0.05", "optim.warmup=0", "ema.decay=0.9"])
    config.train.update({"steps": 400, "batch": 256, "log_every": 400, "checkpoint_every": 400})
    modes.run("train", config, outside / "run")
    points = assemble.dataset(config).examples
    trained = restore(config, outside / "run")
    mean, scale = trained.params["mean"], np.exp(trained.params["log_std"])
    np.testing.assert_allclose(trained.space.from_model(mean), points.mean(0), atol=0.05)
    np.testing.assert_allclose(trained.space.from_model(mean + scale), points.mean(0) + points.std(0), rtol=0.1)


def test_parts_are_ordinary_objects_in_python(outside, monkeypatch):
    monkeypatch.syspath_prepend(str(outside))
    code = next(text for kind, text in BLOCKS if kind == "python" and "sj.sample" in text)
    names: dict = {}
    exec(code, names)
    draw = names["draw"]
    assert draw.nfe == 2 * 50 + 1
    assert np.abs(np.abs(draw.x) - 2).max() < 1.5


@pytest.mark.slow
def test_a_process_of_ones_own_drift_is_found_and_fits(tmp_path, monkeypatch):
    """The example of docs/processes.md: its objective is traced, its prior is what its drift leaves as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "my_drift.py").write_text(files_of(blocks_of("processes.md"))["my_drift"])
    importlib.invalidate_caches()
    (command,) = re.findall(r"^scorejax .*my_drift.*$", (DOCS / "processes.md").read_text(), re.MULTILINE)
    config = asked(command)
    checks.check(config)
    sde = assemble.sde(config)
    x = np.linspace(-2.0, 2.0, 9, dtype=np.float32)[:, None]
    slope = jax.grad(lambda x: sde.prior_logp(x).sum())(x)
    np.testing.assert_allclose(sde.drift(x, 0.5), 0.5 * sde.diffusion_squared(0.5) * slope, rtol=1e-3, atol=1e-3)
    sys.modules.pop("my_drift", None)
