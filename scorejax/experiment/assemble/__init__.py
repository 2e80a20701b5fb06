"""From a config to the objects of a run."""

from scorejax.experiment.assemble.clipping import CLIPS
from scorejax.experiment.assemble.data import check_splits, dataset
from scorejax.experiment.assemble.network import gaussian, sde
from scorejax.experiment.assemble.sampling import (
    CORRECTORS,
    GRIDS,
    STATISTIC,
    Fitted,
    SamplerArguments,
    at_defaults,
    fitting_grid,
    grid_name,
    make_stepper,
    needed,
    sampler,
    stand_in_for,
    time_grid,
)
from scorejax.experiment.assemble.training import check_numbers, learning_rate, optimizer, steps_per_call

__all__ = [
    "CLIPS",
    "CORRECTORS",
    "GRIDS",
    "STATISTIC",
    "Fitted",
    "SamplerArguments",
    "at_defaults",
    "check_numbers",
    "check_splits",
    "dataset",
    "fitting_grid",
    "gaussian",
    "grid_name",
    "learning_rate",
    "make_stepper",
    "needed",
    "optimizer",
    "sampler",
    "sde",
    "stand_in_for",
    "steps_per_call",
    "time_grid",
]
