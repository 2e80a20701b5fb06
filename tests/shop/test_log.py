"""The log that a person at a terminal sees."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import logging
import numpy as np
from scorejax.data.cache import cached
from scorejax.runtime import errors

errors.show_log()
cached(lambda allocate: allocate((1,), np.uint8), "some-images", [], (), cache_dir={cache!r})
logging.getLogger("another library").info("chatter")
logging.getLogger("another library").warning("a warning")
"""


def test_the_log_shows_every_room_of_the_package_and_of_other_libraries_warnings_alone(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = SCRIPT.format(cache=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "decoding some-images once" in done.stderr and "a warning" in done.stderr
    assert "chatter" not in done.stderr
