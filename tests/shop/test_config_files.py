"""A config file that is wrong is refused in one line, with its name and the line of the mistake."""

import os

import pytest

from scorejax.experiment import config as configs
from scorejax.runtime.errors import ConfigError

HEAD = "from scorejax.config import base\n\n\ndef get_config():\n    config = base()\n"
TAIL = "    return config\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def get_config(:\n    pass\n", ["line 1", "invalid syntax"]),
        (f"{HEAD}    x = 1 / 0\n{TAIL}", ["line 6", "ZeroDivisionError: division by zero"]),
        ("import no_such_module\n", ["line 1", "ModuleNotFoundError", "no_such_module"]),
        (HEAD, ["line 4", "returned NoneType", "return config"]),
        (f"{HEAD}    config.optim.learning_rate = 1\n{TAIL}", ["line 6", "'optim.learning_rate'", "did you mean 'lr'"]),
        (f"{HEAD}    config.seed = config.train.stpes\n{TAIL}", ["line 6", "'train.stpes'", "did you mean 'steps'"]),
        (f"{HEAD}    config.optim.lr = -1\n{TAIL}", ["line 6", "'optim.lr'", "more than 0", "got -1"]),
        (f"{HEAD}    config.sampler.times = 'uniform'\n{TAIL}", ["line 6", "is now called 'sampler.time_grid'"]),
        (f"{HEAD}    config.sde = 'vq'\n{TAIL}", ["line 6", "'sde'", "'vq'", "subvp"]),
        (f"{HEAD}    config.optim = 3\n{TAIL}", ["line 6", "'optim' is a section"]),
        (f"{HEAD}{TAIL}VARIANTS = 3\n", ["VARIANTS"]),
        (f"{HEAD}{TAIL}\ndef v(config):\n    config.seed = 'x'\n\nVARIANTS = {{'v': v}}\n", ["line 9", "'seed'"]),
        ("import sys\nsys.exit(0)\n", ["line 2", "SystemExit"]),
        ("def get_config():\n    return get_config()\n", ["line 2", "RecursionError"]),
        ("get_config = 3\n", ["defines no get_config()"]),
        ("", ["defines no get_config()"]),
        ("\0\1", ["null bytes"]),
    ],
)
def test_a_mistake_in_a_config_file_is_named_with_its_line(tmp_path, source, words):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError) as refused:
        configs.load(f"{tmp_path / 'mine.py'}:{'v' if 'v(' in source else ''}")
    message = str(refused.value)
    assert "\n" not in message and str(tmp_path / "mine.py") in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("README.md", ["is no config file", "NAME.py"]),
        ("config.json", ["is no config file", "--workdir"]),
        ("folder", ["is a folder", "folder/one.py"]),
        ("pipe.py", ["is no config file"]),
        ("absent.py", ["no config file 'absent.py'", "vp_digits"]),
        ("vp_digit", ["did you mean 'vp_digits'?"]),
        ("folder/one.py:tinny", ["unknown variant 'tinny'", "did you mean 'tiny'?"]),
    ],
)
def test_what_is_no_config_file_is_refused(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.py").write_text(HEAD + TAIL)
    for text in ("README.md", "config.json"):
        (tmp_path / text).write_text("{}")
    os.mkfifo(tmp_path / "pipe.py")  # whoever opens it waits for a writer
    with pytest.raises(ConfigError) as refused:
        configs.load(name)
    assert "\n" not in str(refused.value)
    assert all(word in str(refused.value) for word in words), str(refused.value)
