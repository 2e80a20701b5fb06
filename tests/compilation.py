"""How tests compile, set before JAX is imported: programs are kept between sessions, and quick to compile.

Most programs of the tests run once or twice. LLVM's optimizations and XLA's newer way to emit loops, by MLIR, are three
quarters of the time to compile them, and no law depends on them. With JAX_DISABLE_MOST_OPTIMIZATIONS=0 tests run the
code that users run.
"""

import importlib.util
import mmap
import os
from pathlib import Path

# Subprocesses inherit all of it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("~/.cache/scorejax/test-xla").expanduser()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # no operation carries the lines that it came from
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait by spinning

# Loops are emitted by the older way, and a program by one thread: the processes of the tests keep all cores busy.
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def _knows(flag: str) -> bool:
    """Whether this XLA has the flag: one that it does not know ends the process."""
    package = importlib.util.find_spec("jaxlib")
    library = Path(package.origin).with_name("libjax_common.so") if package and package.origin else None
    if library is None or not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(flag.strip("-").partition("=")[0].encode()) >= 0


FLAGS = os.environ.get("XLA_FLAGS", "")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1":
    FLAGS = " ".join([FLAGS, *(flag for flag in QUICK if flag.partition("=")[0] not in FLAGS and _knows(flag))]).strip()
    os.environ["XLA_FLAGS"] = FLAGS
