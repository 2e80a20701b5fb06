"""Guidance from a config of models whose scores are known exactly.

Images are the 8x8 digits. The model is `exact_recipes:Pixels`, the score of independent pixels; so results have
closed forms and compile in a second.
"""

from pathlib import Path

import numpy as np

from scorejax.experiment.config import load
from scorejax.experiment.evaluation import controlled

QUICK = ("sampler.stepper=ancestral", "sampler.time_grid=log_snr", "sampler.steps=8", "eval.samples=4", "eval.batch=4")
CONDITIONAL = ("recipe.conditional=true", "recipe.label_dropout=0.1")
MIXTURE = ("recipe.mixture=true",)


def config_of(*overrides):
    known = ("recipe=exact_recipes:Pixels", "init_from=known", "eval.features=pixels")
    return load("vp_digits:tiny", [*known, *QUICK, "eval.reference_examples=50", *overrides])


def control(tmp_path, *overrides):
    """The report and the arrays of one story."""
    report = controlled.control(config_of(*overrides), tmp_path)
    return report, {file.stem: np.load(file) for file in Path(report["folder"]).glob("*.npy")}
