"""What all tests share: known noise, and a way to run code on eight made-up devices."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import compilation  # before JAX
import jax
import pytest

from scorejax.numerics import keys

ROOT = Path(__file__).parents[1]
DEVICES = 8


def pytest_configure(config):
    config.addinivalue_line("markers", "fake_devices: runs code in a subprocess with eight made-up CPU devices")
    config.addinivalue_line("markers", "optimized: of a module whose programs run longer than they compile")


def pytest_collection_finish(session):
    gc.freeze()  # what is imported by now stays: collections need not walk it


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
    replaces = any(i.path == request.path and "monkeypatch" in i.fixturenames for i in request.session.items)
    if optimized:
        jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quick and optimized is None)
    yield
    jax.config.update("jax_disable_most_optimizations", quick)
    if optimized or replaces or _close_to_the_limit():
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
