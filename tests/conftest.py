"""What all tests share: compiled programs kept between sessions, and a way to run code on eight made-up devices."""

import gc
import importlib.util
import mmap
import os
import subprocess
import sys
from pathlib import Path

# Before JAX is imported. Compiling is most of the time of these tests; subprocesses inherit the folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("~/.cache/scorejax/test-xla").expanduser()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Most programs run once or twice. LLVM's optimizations and XLA's newer way to emit loops (MLIR) take three quarters of the
# time to compile them, and change no law. JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests the code that users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

QUICK_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"


def knows(flag):
    """Whether this XLA has the flag: one that it does not know ends the process."""
    library = Path(importlib.util.find_spec("jaxlib").origin).with_name("libjax_common.so")
    if not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(flag.strip("-").partition("=")[0].encode()) >= 0


FLAGS = os.environ.get("XLA_FLAGS", "")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and "fusion_emitters" not in FLAGS and knows(QUICK_TO_COMPILE):
    FLAGS = os.environ["XLA_FLAGS"] = f"{FLAGS} {QUICK_TO_COMPILE}".strip()

import jax
import pytest

from scorejax.numerics import keys

ROOT = Path(__file__).parents[1]
DEVICES = 8


def pytest_configure(config):
    config.addinivalue_line("markers", "fake_devices: runs code in a subprocess with eight made-up CPU devices")


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    """After each file: every program takes memory maps, and Linux lets a process have 65,530, too few for all tests."""
    yield
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
            "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count={DEVICES}",
            # More devices than cores: with a thread for each, a collective cannot wait for one that never runs.
            "NPROC": "32",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-c", source, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
