"""What all tests share: known noise, and a way to run code on eight made-up devices."""

import functools
import gc
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import compilation  # before JAX
import jax
import pytest
from jax._src.interpreters import mlir

from scorejax.numerics import keys

ROOT = Path(__file__).parents[1]
DEVICES = 8


def pytest_configure(config):
    config.addinivalue_line("markers", "fake_devices: runs code in a subprocess with eight made-up CPU devices")
    config.addinivalue_line("markers", "optimized: of a module whose programs run longer than they compile")
    _lower_many_programs_in_one_context()  # before modules are collected: many draw points


def pytest_collection_finish(session):
    gc.freeze()  # what is imported by now stays: collections need not walk it
    gc.set_threshold(20_000, 20, 20)  # traces of programs are many objects that go without a collection


def _lower_many_programs_in_one_context():
    """To make an MLIR context takes as long as to lower a small program, so a hundred programs share one.

    It keeps the constants of its programs, so it is left in the end. What is lowered while something else is, or by
    another thread, has one of its own. Without this name in JAX all goes on, slower.
    """
    make = getattr(mlir, "make_ir_context", None)
    if make is not None:
        many = (context for make_one in itertools.repeat(make) for context in itertools.repeat(make_one(), 100))
        main = threading.main_thread()

        def share():
            alone = mlir.ir.Context.current is None and threading.current_thread() is main
            return next(many) if alone else make()

        mlir.make_ir_context = share


REPLACED = []  # what tests of this module put something else in the place of


def _noted(replace):
    @functools.wraps(replace)
    def noted(self, of, *given, **named):
        REPLACED.append(of)
        return replace(self, of, *given, **named)

    return noted


for _name in ("setattr", "delattr", "setitem", "delitem"):
    setattr(pytest.MonkeyPatch, _name, _noted(getattr(pytest.MonkeyPatch, _name)))


def _close_to_the_limit() -> bool:
    """Whether programs hold a third of the 65,530 memory maps that Linux lets a process have, too few for all tests."""
    maps = Path("/proc/self/maps")
    return not maps.exists() or maps.read_bytes().count(b"\n") > 22_000


@pytest.fixture(scope="module", autouse=True)
def _compile_and_forget(request):
    """Compile a module's programs as its marker says, and forget them where the next module must not find them.

    Modules share the small programs of array operations. A program that was compiled in another way, or traced while
    something was replaced, stays in its module.
    """
    quick, optimized = jax.config.read("jax_disable_most_optimizations"), request.node.get_closest_marker("optimized")
    REPLACED.clear()
    if optimized:
        jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quick and optimized is None)
    yield
    jax.config.update("jax_disable_most_optimizations", quick)
    if optimized or REPLACED or _close_to_the_limit():
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def given_noise(monkeypatch):
    """Put known numbers in the place of all normal noise: `given_noise(lambda keys, shape: noise)`.

    Programs traced before keep the noise that they were traced with.
    """

    def use(draw):
        monkeypatch.setattr(keys, "normal", lambda own, shape, dtype=float: draw(own, shape))

    return use


@pytest.fixture(scope="session")
def on_eight_devices():
    """Run Python source in a process with eight CPU devices; return what it printed."""

    def run(source: str, *arguments: str) -> str:
        environment = {
            **os.environ,
            "XLA_FLAGS": f"{compilation.FLAGS} --xla_force_host_platform_device_count={DEVICES}",
            # More devices than cores: with a thread for each, a collective cannot wait for one that never runs.
            "NPROC": "32",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-c", source, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
