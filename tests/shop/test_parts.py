"""The language of named parts: a part is a factory, and its keyword parameters are its settings."""

import json
import re

import pytest

from scorejax import samplers
from scorejax.experiment import config as configs
from scorejax.experiment.config import Config, Help, Part
from scorejax.runtime.errors import ConfigError

OWN = '''
"""Parts of somebody's own."""

from dataclasses import dataclass

import flax.linen as nn

from scorejax import vp


def slow(*, speed: float = 1.0, t_min: float = 1e-3):
    """A process that is slower."""
    return vp(beta_max=20.0 * speed, t_min=t_min)


def strict(*, speed: float):
    return vp(beta_max=speed)


class Net(nn.Module):
    """A network."""

    width: int = 512
    sizes: tuple[int, ...] = (1, 2)
    tiny = {"width": 4}


NUMBER = 3
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working directory; its name."""
    (tmp_path / "parts_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return "parts_of_mine"


def nodes(config: Config) -> list[str]:
    """The dotted keys of all places that take a part."""
    found = []
    for key, value in config.items():
        if isinstance(value, Config):
            found += [key] if isinstance(value, Part) else []
            found += [f"{key}.{below}" for below in nodes(value)]
    return found


SEAMS = [*nodes(configs.base()), "guidance.method", "guidance.operator"]


def at(config: Config, key: str):
    for name in key.split("."):
        config = config[name]
    return config


def asked(config: Config, key: str) -> str:
    with pytest.raises(Help) as caught:
        config.set_text(key, "help")
    return str(caught.value)


# ---- What there is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SEAMS)
def test_help_lists_the_parts_with_the_first_lines_of_their_docstrings_and_their_settings(key):
    config = configs.base()
    if key.startswith("guidance."):
        config.guidance = "restore"
    lines = asked(config, key).splitlines()
    assert lines[0] == f"--config.{key}=NAME[:key=value...] takes"
    listed = [match.groups() for line in lines if (match := re.match(r"  (\S+)  +(\S.*)", line))]
    names = [name for name, _ in listed]
    assert at(config, key).name in names and names[-1] == "package.module:NAME"
    for name in names[:-1]:  # each can be named, and its settings are those that are shown
        config.set_text(key, name)
        doc = next(doc for other, doc in listed if other == name)
        assert doc == at(config, key).find().__doc__.strip().splitlines()[0]
        shown = lines[next(i for i, line in enumerate(lines) if line.startswith(f"  {name} ")) + 1]
        with pytest.raises(ConfigError, match="does not belong to") as caught:
            config.set_text(f"{key}.no_such_key", "1")
        takes = str(caught.value).partition("which takes: ")[2].split(", ")
        for setting in re.findall(r"(?:^|, )(\w+)", re.sub(r"\(.*?\)", "", shown.strip())):
            assert setting in takes or shown.strip() == "no settings"


def test_a_table_of_a_room_is_all_that_a_seam_knows(monkeypatch):
    monkeypatch.setitem(samplers.STEPPERS, "mine", lambda *, pace=1.0: samplers.heun(churn=pace))
    config = configs.override(configs.base(), ["sampler.stepper=mine:pace=2"])
    assert config.sampler.stepper.make() == samplers.heun(churn=2.0)
    assert "mine" in asked(config, "sampler.stepper")


# ---- How a part is named ---------------------------------------------------------------------------------------------


def test_a_part_is_named_with_its_settings_in_one_text_or_key_by_key_or_as_a_mapping():
    text = configs.override(configs.base(), ["sampler.stepper=dpm_solver:order=3:kind=multistep"])
    keys = configs.override(configs.base(), ["sampler.stepper=dpm_solver", "sampler.stepper.order=3"])
    keys = configs.override(keys, ["sampler.stepper.kind=multistep"])
    python, mapping = configs.base(), configs.base()
    python.sampler.stepper = "dpm_solver:order=3:kind=multistep"
    mapping.sampler.update({"stepper": {"kind": "multistep", "order": 3, "name": "dpm_solver"}})
    same = [configs.to_dict(config) for config in (text, keys, python, mapping)]
    assert same == same[:1] * 4
    assert text.sampler.stepper.name == "dpm_solver" and text.sampler.stepper.order == 3


def test_parts_lie_within_parts():
    config = configs.override(configs.base(), ["guidance=restore:method=dps:operator=blur", "guidance.method.zeta=0.3"])
    assert config.guidance.method.name == "dps" and config.guidance.method.zeta == 0.3
    assert config.guidance.operator.name == "blur"
    configs.override(config, ["guidance.method=pigdm"])
    assert "zeta" not in config.guidance.method.to_dict() and config.guidance.operator.name == "blur"
    with pytest.raises(ConfigError, match=r"'guidance\.method\.zeta' does not belong to .*'pigdm'"):
        configs.override(config, ["guidance.method.zeta=1"])


def test_a_word_that_is_no_name_is_the_value_of_the_first_setting():
    config = configs.override(configs.base(), ["guidance=restore", "guidance.operator=superresolution:4"])
    assert config.guidance.operator.own() == {"factor": 4}
    configs.override(config, ["guidance.operator=mask", "guidance.operator.mask=random:0.3"])
    assert config.guidance.operator.mask.own() == {"share": 0.3}
    with pytest.raises(ConfigError, match=r"'4' is no setting; .* a value that holds a colon is set by its own key"):
        configs.override(configs.base(), ["guidance=restore:operator=superresolution:4"])
    with pytest.raises(ConfigError, match=r"'ddim:heun': 'heun' is no setting; write ddim:key=value .* eta"):
        configs.override(config, ["sampler.stepper=ddim:heun"])


def test_naming_a_part_begins_at_its_defaults_and_a_new_name_keeps_what_both_have():
    config = configs.override(configs.base(), ["sde=vp:beta_max=10:t_min=0.01"])
    config.sde.name = "ve"
    assert config.sde.own() == {"t_min": 0.01}  # which has no beta_max
    config.sde = "vp"
    assert config.sde.own() == {} and config.sde.beta_max == 20.0
    configs.override(config, ["sde.beta_max=10", "sde.name=subvp"])
    assert config.sde.own() == {"beta_max": 10.0}
    configs.override(config, ["sde=subvp"])
    assert config.sde.own() == {}
    config.data.flip = True  # of every part here, not of the one that is named
    config.data = "moons"
    assert config.data.flip is True


def test_a_default_that_is_set_once_more_is_no_difference():
    config = configs.override(configs.base(), ["sde.beta_max=20"])
    assert configs.to_dict(config) == configs.to_dict(configs.base())
    config.sde.beta_max = 10
    config.sde.beta_max = None  # back to the default
    assert configs.to_dict(config) == configs.to_dict(configs.base())


# ---- Somebody's own --------------------------------------------------------------------------------------------------


def test_a_part_of_ones_own_lies_in_a_module_of_the_working_directory(own):
    config = configs.override(configs.base(), [f"sde={own}:slow:speed=0.5", f"model={own}:Net:width=8"])
    assert config.sde.speed == 0.5 and config.sde.t_min == 1e-3
    assert config.sde.make().beta_max == 10.0
    configs.override(config, ["sde.speed=0.25", "model.sizes=(3,)"])
    assert config.sde.make().beta_max == 5.0
    assert (config.model.make().width, config.model.make().sizes) == (8, (3,))
    with pytest.raises(ConfigError, match=rf"'sde.pace' does not belong to .*'{own}:slow', which takes: speed, t_min"):
        configs.override(config, ["sde.pace=1"])
    with pytest.raises(ConfigError, match=r"'model.width' takes a whole number, got 'wide'; its default is 512"):
        configs.override(config, ["model.width=wide"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no_such_module:slow", "'no_such_module' cannot be imported .*working directory or be installed"),
        ("parts_of_mine:fast", "module 'parts_of_mine' has no 'fast'"),
        ("parts_of_mine:NUMBER", "is int, which cannot be called"),
        ("slow", "unknown forward process 'slow'; choose one of vp, .*package.module:NAME"),
    ],
)
def test_a_part_of_ones_own_that_cannot_be_found_is_named(own, text, words):
    with pytest.raises(ConfigError, match=words):
        configs.override(configs.base(), [f"sde={text}"])


def test_a_setting_without_a_default_must_be_given(own):
    config = configs.override(configs.base(), [f"sde={own}:strict"])
    with pytest.raises(ConfigError, match=r"sde: parts_of_mine:strict needs speed; set --config.sde.speed=VALUE"):
        config.sde.make()
    assert configs.override(config, ["sde.speed=7"]).sde.make().beta_max == 7.0


# ---- Kept and shrunk -------------------------------------------------------------------------------------------------


def test_parts_survive_their_way_through_json(own):
    config = configs.override(
        configs.base(),
        [
            f"sde={own}:slow:speed=0.5",
            "model=ddpmpp:channel_multipliers=(1,2)",
            "guidance=restore:method=dps:operator=blur",
            "guidance.method.zeta=0.3",
            "data=npz:path=x.npz",
            "data.classes=(0,1)",
            "sampler.corrector=langevin:snr=0.3",
        ],
    )
    back = configs.from_dict(json.loads(json.dumps(configs.to_dict(config))))
    assert configs.to_dict(back) == configs.to_dict(config)
    assert back.sde.make().beta_max == 10.0 and back.guidance.method.zeta == 0.3
    assert back.model.channel_multipliers == (1, 2) and back.data.classes == (0, 1)
    other = configs.copy(config)
    other.guidance.method.zeta = 0.5
    assert config.guidance.method.zeta == 0.3


def test_a_part_says_itself_how_it_is_shrunk(own, tmp_path):
    (tmp_path / "run.py").write_text(
        "from scorejax.config import base\n\n\ndef get_config():\n    config = base()\n"
        f"    config.model = '{own}:Net:width=64:sizes=(5,)'\n    return config\n"
    )
    config = configs.load("run.py:tiny")
    assert config.model.own() == {"width": 4, "sizes": (5,)}
    assert config.train.steps <= 8 and config.train.batch <= 16 and config.sampler.steps <= 8
    assert config.head.steps <= 8 and config.dequantizer.features == 8
