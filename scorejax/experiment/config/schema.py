"""Every section of a config. What belongs to a part is not here: its signature is its schema."""

from __future__ import annotations

import importlib

from scorejax.experiment.config.parts import Seam
from scorejax.experiment.config.values import Values

# A bare type stands for a setting that is unset by default.
_DATA: Values = {
    "size": int,  # resize images to size x size pixels
    "crop": int,  # cut the central square of so many pixels first; unset: the largest square
    "alpha": str,  # what shows through transparent pixels: white, black, gray; or keep; unset: they are refused
    "classes": tuple,  # keep the examples with these labels, numbered anew; unset: all
    "normalize": "standard",  # vectors: every column to mean 0 and deviation 1 of the training split; none: as they are
    "centered": True,  # images in [-1, 1); False: in [0, 1)
    "dequantize": True,  # uniform noise within each gray level; False: the middle of the level
    "flip": False,  # mirror images at random
    "resident_mib": 2048,  # larger sets are streamed from the host
}
# What a network is given by the data, by the process, and by flax.
_OF_THE_DATA = ("num_classes", "condition", "condition_dim", "centered_input", "noise_levels", "num_levels")
_OF_THE_RUN = ("t", "time_sampling", "gray_levels", "levels", "centered", "chain", "terms", "proposal", "diffuse")

STEPPER = Seam(
    "scorejax.samplers:STEPPERS",
    "stepper",
    "euler_maruyama",
    supplied=frozenset({"fitted", "data_range"}),
    makes="scorejax.samplers:Stepper",
)
TIME_GRID = Seam(
    "scorejax.experiment.assemble:GRIDS", "time grid", "auto", supplied=frozenset({"t_min", "fitted", "stepper"})
)

SCHEMA: Values = {
    "name": "run",
    "seed": 42,
    "init_from": str,  # published weights: what training starts from, and what is evaluated if nothing was trained
    # What kind of training this is, with its own settings.
    "recipe": Seam("scorejax.experiment.recipes:RECIPES", "recipe", "score", makes="scorejax.experiment.recipe:Recipe"),
    "data": Seam(
        "scorejax.data:SOURCES",
        "data source",
        "digits",
        supplied=frozenset({"cache_dir"}),
        common=_DATA,
        fallback="tfds",
    ),
    "sde": Seam(
        "scorejax.sdes:SDES",
        "forward process",
        "vp",
        supplied=frozenset({"key"}),
        makes="scorejax.sdes:LinearSDE",
    ),
    "model": Seam(
        "scorejax.models:NETWORKS",
        "network",
        "mlp",
        supplied=frozenset(_OF_THE_DATA),
        makes="flax.linen:Module",
    ),
    "objective": Seam(
        "scorejax.objectives:OBJECTIVES",
        "objective",
        "denoising",
        supplied=frozenset(_OF_THE_RUN),
        common={"time_sampling": "uniform"},  # uniform, stratified, importance
    ),
    "optim": {
        "name": "adam",
        "lr": 2e-4,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,  # adamw alone; on matrices and kernels, not on biases and norms
        "warmup": 5000,  # steps of linear warm-up
        "decay": "none",  # none, cosine (to zero at train.steps)
        "clip": 1.0,  # largest global norm of the gradient; 0: no clipping
    },
    "ema": {"decay": 0.9999, "warmup": False},  # warmup: min(decay, (1 + n) / (10 + n)) at step n
    "train": {
        "steps": 100_000,
        "batch": 128,  # over all devices
        "steps_per_call": 0,  # optimizer steps per compiled call; 0: chosen (1 for images on a CPU)
        "log_every": 50,
        "checkpoint_every": 5000,
        "keep": 3,  # newest checkpoints
        "keep_every": 0,  # and one every so many steps for ever; 0: none
        "preview_every": 0,  # a page of samples from the averaged weights; 0: none
    },
    "sampler": {
        "stepper": STEPPER,
        "steps": 1000,
        "time_grid": TIME_GRID,
        "t_min": float,  # last time of the grid; unset: the process's
        "denoise": True,
        "corrector": Seam(
            "scorejax.experiment.assemble:CORRECTORS", "corrector", "none", makes="scorejax.samplers:Stepper"
        ),
        "corrector_first": False,
        # Where predicted data are held at every evaluation.
        "clip": Seam("scorejax.experiment.assemble:CLIPS", "clip", "auto", supplied=frozenset({"data_range"})),
        "gamma": str,  # a file of --mode=calibrate; unset: the run's own
    },
    # What samples are steered by.
    "guidance": Seam(
        "scorejax.experiment.steering:GUIDANCE",
        "guidance",
        "none",
        makes="scorejax.experiment.steering:Guidance",
    ),
    "eval": {
        "after_training": True,
        "seed": 43,
        "batch": 256,  # examples per call, over all devices
        "split": "test",
        "exact": True,  # bits/dim; False: leave them out
        "likelihood_examples": 0,  # 0: all
        "likelihood_passes": 1,  # dequantizations per example
        "dequantization": "uniform",  # uniform, variational (after --mode=train_dequantizer)
        # Times drawn for the upper bound of the bits/dim next to the exact ones, with objective continuous_vlb for the
        # bound that it trains; 0: no bound.
        "bound": 0,
        "elbo": 0,  # network evaluations of the variational bound of a reverse chain; 0: no such bound
        "elbo_variance": str,  # as of the stepper reverse_chain; unset: npr if trained, else analytic
        "elbo_eta": 1.0,
        "elbo_time_grid": "even",  # as sampler.time_grid
        "divergence": "rademacher",
        "probes": 1,
        "rtol": 1e-5,
        "atol": 1e-5,
        "baseline_examples": 0,  # training images the Gaussian baseline is fitted to; 0: all
        "samples": 1000,  # to be measured; 0: none
        "metrics": ("frechet",),  # of the samples, each NAME or NAME:key=value
        "features": Seam(
            "scorejax.experiment.evaluation.quality:FEATURES",
            "feature network",
            "auto",
            supplied=frozenset({"gray_levels"}),
        ),
        "stats": str,  # .npz of --mode=fid_stats to hold samples against; unset: computed from the data
        "reference_split": "train",  # of the data, to hold samples against
        "reference_examples": 0,  # 0: all
        "grid": 64,  # images in the page of samples
        "calibration_examples": 100,  # of --mode=calibrate; 0: all
        "classifier_examples": 0,  # of the split, for the table of a classifier; 0: all
    },
    "sweep": {  # of --mode=sweep: samplers as STEPPER:key=value, keys of the stepper or of section sampler
        "samplers": (
            "euler_maruyama",
            "ancestral",
            "probability_flow",
            "ddim",
            "dpm_solver:order=2",
            "unipc:order=3",
        ),
        "steps": (5, 10, 25, 50, 100),
        "bits": 0,  # test examples that the bound of every reverse chain is measured on; 0: no bounds
    },
}


OF_SOME_RECIPES = ("sde", "model", "objective", "sampler", "guidance", "sweep")
"""Sections that a recipe reads only if it says so; for others they stay at their defaults."""


def schema() -> Values:
    """The sections of every config, and one for each recipe that trains something next to a trained model."""
    beside = importlib.import_module("scorejax.experiment.recipes").BESIDE
    return SCHEMA | {
        recipe.section: Seam({name: recipe}, "recipe", name, common=recipe.training, closed=True)
        for name, recipe in beside.items()
    }
