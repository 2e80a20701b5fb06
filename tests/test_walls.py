"""The walls between the rooms, and the code of the README."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scorejax"
ROOMS = {  # which folders make up each part of the house; a folder that is in none of them fails a test
    "mathematics": ("numerics", "sdes", "scores", "objectives", "reverse", "samplers", "guidance", "likelihood"),
    "networks": ("models",),
    "workshop": ("data", "metrics", "pictures", "runtime", "experiment"),
}
MATHEMATICS = [p for room in ROOMS["mathematics"] for p in (PACKAGE / room).rglob("*.py")]
README = ROOT / "README.md"


def code(path):
    """A module's source without comments and docstrings: what it does, not what it says."""
    text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"#.*", "", text)


def run(source, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=300)


def test_importing_the_mathematics_imports_nothing_heavy():
    done = run("import sys, scorejax; print(*sorted({name.split('.')[0] for name in sys.modules}))")
    assert done.returncode == 0, done.stderr
    heavy = {
        "flax",
        "optax",
        "orbax",
        "ml_collections",
        "tensorflow",
        "tensorflow_datasets",
        "diffrax",
        "equinox",
        "torch",
    }
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("word", ["pmap", "orbax", "ml_collections"])
def test_each_of_these_lives_in_one_file(word):
    files = [str(p.relative_to(ROOT)) for p in PACKAGE.rglob("*.py") if re.search(rf"\b{word}\b", code(p))]
    assert len(files) <= 1, files


@pytest.mark.parametrize("path", MATHEMATICS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_mathematics_knows_neither_configs_nor_devices_nor_networks(path):
    found = re.findall(
        r"\bconfigs?\b|device_count|local_devices|jax\.devices|axis_name|pmean|process_index|flax|optax|scorejax\.models",
        code(path),
    )
    assert not found, found


def test_there_is_no_drawer_for_everything():
    assert not [p for p in PACKAGE.rglob("*.py") if p.stem in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.slow
def test_the_code_of_the_readme_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 2
    done = run("\n".join(blocks))
    assert done.returncode == 0, done.stderr[-2000:]
