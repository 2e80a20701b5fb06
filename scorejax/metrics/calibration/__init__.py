"""Whether draws of a posterior are draws of the posterior: coverage, ranks, errors and distances, each with its error.

    world = scorejax.worlds.w2()
    found = scorejax.calibration.run(key, world.simulate, draw, replicates=1000, exact=world.exact)
    print(found)

`draw(key, y, n)` is what is judged. Every replicate draws one pair of data and measurement, and `n` points of the
posterior given the measurement. Under the true posterior the data are one more draw of it, from which all laws follow.
"""

from scorejax.metrics.calibration.distances import c2st, mmd, sliced_wasserstein
from scorejax.metrics.calibration.errors import crps, mmse_gap
from scorejax.metrics.calibration.measured import Measured
from scorejax.metrics.calibration.rank_tests import coverage, hpd, pit, ranks, sbc, tarp
from scorejax.metrics.calibration.replicates import replicates_for, replicates_to_see
from scorejax.metrics.calibration.run import Calibration, run

__all__ = [
    "Calibration",
    "Measured",
    "c2st",
    "coverage",
    "crps",
    "hpd",
    "mmd",
    "mmse_gap",
    "pit",
    "ranks",
    "replicates_for",
    "replicates_to_see",
    "run",
    "sbc",
    "sliced_wasserstein",
    "tarp",
]
