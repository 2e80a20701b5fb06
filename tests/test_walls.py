"""The walls between the rooms, and the code of the README."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scorejax"
ROOMS = {  # which folders make up each part of the house; a folder that is in none of them fails a test
    "mathematics": (
        "numerics",
        "sdes",
        "degradations",
        "scores",
        "objectives",
        "reverse",
        "samplers",
        "guidance",
        "likelihood",
        "posterior",
    ),
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


@pytest.mark.slow
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


def test_the_folders_are_the_rooms():
    loose = {p.name for p in PACKAGE.glob("*.py")}
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert loose == {"__init__.py", "__main__.py"}
    assert folders == {room for rooms in ROOMS.values() for room in rooms}


def imports():
    """For each module of the package the modules of the package that its file imports, anywhere in it."""
    names = {module_name(p): p for p in PACKAGE.rglob("*.py")}
    graph = {}
    for name, path in names.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scorejax"):
                for alias in node.names:
                    inside = f"{node.module}.{alias.name}"
                    found.add(inside if inside in names else node.module)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name in names}
        graph[name] = found - {name, "scorejax"}
    return graph


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_files_import_each_other_in_a_circle():
    graph, done = imports(), set()

    def visit(name, above):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, [*above, name])
            done.add(name)

    for name in graph:
        visit(name, [])


FLOORS = ["mathematics", "networks", "workshop"]


@pytest.mark.parametrize("floor", FLOORS[:2])
def test_rooms_import_nothing_from_the_floors_above(floor):
    above = {room for other in FLOORS[FLOORS.index(floor) + 1 :] for room in ROOMS[other]}
    # Files of other people end in our errors, whichever floor they are read on.
    above.discard("runtime")
    wrong = [
        f"{name} imports {other}"
        for name, others in imports().items()
        if name.split(".")[1:2] and name.split(".")[1] in ROOMS[floor]
        for other in others
        if other.split(".")[1] in above
    ]
    assert not wrong, wrong


def test_training_knows_nothing_of_evaluation():
    wrong = [
        f"{name} imports {other}"
        for name, others in imports().items()
        if name.startswith("scorejax.experiment.training")
        for other in others
        if other.startswith("scorejax.experiment.evaluation")
    ]
    assert not wrong, wrong


def test_a_kind_of_training_is_known_to_its_own_file_alone():
    wrong = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in others
        if other.startswith("scorejax.experiment.recipes.") and not name.startswith("scorejax.experiment.recipes")
    ]
    asked = [
        f"{module_name(p)}: {found[0]}"
        for p in PACKAGE.rglob("*.py")
        if (found := re.findall(r"\bis_(?:classifier|score|energy|flow|vae|gan|head)\b|recipe\.name *==", code(p)))
    ]
    assert not wrong + asked, wrong + asked


def test_no_file_is_two_things():
    long = {module_name(p): len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > 300 and not name.endswith(".schema")}


@pytest.mark.slow
def test_the_code_of_the_readme_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if "sj.load(" not in block]  # needs a run, see tests/shop/test_loaded_runs.py
    assert len(blocks) >= 2
    done = run("\n".join(blocks))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_recipe_of_the_docs_trains_and_reaches_the_gaussian_that_is_fitted(tmp_path):
    """Written to a file, it runs by the command that the page gives, here for fewer steps and without samples."""
    page = (ROOT / "docs" / "recipes.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^`python main\.py (--config=my_gaussian\.py)` trains it", page, re.MULTILINE)
    (tmp_path / "my_gaussian.py").write_text(block)
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), command, f"--workdir={tmp_path / 'run'}",
         "--config.train.steps=200", "--config.eval.samples=0"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    reached, fitted = (
        float(re.search(rf"{name} +([\d.]+)", done.stdout)[1]) for name in ("bits/dim", "Gaussian baseline")
    )
    assert reached == pytest.approx(fitted, abs=2e-3)
