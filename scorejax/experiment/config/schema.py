"""Every section of a config. What belongs to a part is not here: its signature is its schema.

A setting is what it takes, its default, and what it is for; the last is what `--config.SECTION=help` shows.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Literal, TypeAlias

from annotated_types import MinLen

from scorejax.data.arrays import HeldOut
from scorejax.data.maps import Normalization, Transform
from scorejax.data.picture import Alpha
from scorejax.experiment.config.parts import Seam
from scorejax.experiment.config.settings import Setting
from scorejax.experiment.config.values import Kind, Values
from scorejax.numerics.ranges import Below1, Count, Natural, NonNegative, Positive, RelativeLength, Seed, Share
from scorejax.samplers.reverse_chain import VarianceName

_Labels: TypeAlias = Annotated[tuple[Natural, ...], MinLen(1)]
_DATA: Values = {
    "size": Setting(Count | None, None, "resize images to size x size pixels"),
    "crop": Setting(Count | None, None, "cut the central square of so many pixels first; none: the largest square"),
    "alpha": Setting(
        Alpha | None,
        None,
        "what shows through transparent pixels; keep: a channel of its own; none: such pictures are refused",
    ),
    "classes": Setting(_Labels | None, None, "keep the examples with these labels, numbered anew; none: all"),
    "normalize": Setting(
        Normalization,
        "auto",
        "what is done to every channel: standard: to mean 0 and deviation 1 of the training split; range: to [-1, 1]; "
        "quantile: to a normal law; none: nothing; auto: nothing to gray levels, else standard",
    ),
    "transform": Setting(Transform, "none", "what is taken of every number before that"),
    "per_channel": Setting(bool, True, "false: one scale for all channels, such as those of a field of vectors"),
    "split": Setting(
        HeldOut, "every", "of data without splits of their own, the test split: every k-th example, or the last ones"
    ),
    "centered": Setting(bool, True, "images in [-1, 1); false: in [0, 1)"),
    "dequantize": Setting(bool, True, "uniform noise within each gray level; false: the middle of the level"),
    "flip": Setting(bool, False, "mirror images at random"),
    "resident_mib": Setting(Natural, 2048, "MiB of the device for the data; larger sets are streamed from the host"),
}
# What a network is given by the data, by the process, and by flax.
_OF_THE_DATA = (
    "num_classes", "condition", "condition_dim", "centered_input", "noise_levels", "num_levels", "label_range",
    "example_shape", "conditions",
)  # fmt: skip
_OF_THE_RUN = ("t", "time_sampling", "gray_levels", "levels", "centered", "chain", "terms", "proposal", "diffuse")

STEPPER = Seam(
    "scorejax.samplers:STEPPERS",
    "stepper",
    "euler_maruyama",
    supplied=frozenset({"fitted", "data_range", "energy"}),
    makes="scorejax.samplers:Stepper",
)
TIME_GRID = Seam(
    "scorejax.experiment.assemble:GRIDS", "time grid", "auto", supplied=frozenset({"t_min", "fitted", "stepper"})
)
TIME_SAMPLING = Seam(
    "scorejax.objectives:TIMES",
    "law of times",
    "uniform",
    by_data=frozenset({"lognormal.mean", "lognormal.std"}),
)
_FOR_WEIGHTINGS = frozenset({"sigma_data", "coefficients"})
_BASE = Seam("scorejax.objectives:FIXED_WEIGHTINGS", "weighting", "edm", supplied=_FOR_WEIGHTINGS)
WEIGHTING = Seam(
    "scorejax.objectives:WEIGHTINGS", "weighting", "simple", supplied=_FOR_WEIGHTINGS, nested={"base": _BASE}
)
METRIC = Seam("scorejax.metrics:METRICS", "metric", "frechet", makes="scorejax.metrics:Metric")

SCHEMA: Values = {
    "name": Setting(str, "run", "of the run, after which its folder is called"),
    "seed": Setting(Seed, 42, "of everything random in training"),
    "init_from": Setting(
        str | None, None, "published weights: what training starts from, and what is evaluated if nothing was trained"
    ),
    # What kind of training this is, with its own settings.
    "recipe": Seam(
        "scorejax.experiment.recipes:RECIPES",
        "recipe",
        "score",
        makes="scorejax.experiment.recipe:Recipe",
        by_data=frozenset({"score.sigma_data"}),
    ),
    "data": Seam(
        "scorejax.data:SOURCES",
        "data source",
        "digits",
        supplied=frozenset({"cache_dir", "held_out"}),
        common=_DATA,
        fallback="tfds",
    ),
    "sde": Seam(
        "scorejax.experiment.assemble.processes:SDES",
        "forward process",
        "vp",
        supplied=frozenset({"key"}),
        makes="scorejax.sdes:SDE",
        by_data=frozenset({"edm.sigma_min", "edm.sigma_max", "ve.sigma_min", "ve.sigma_max"}),
    ),
    "model": Seam(
        "scorejax.models:NETWORKS",
        "network",
        "mlp",
        supplied=frozenset(_OF_THE_DATA),
        makes="scorejax.models:Network",
    ),
    "objective": Seam(
        "scorejax.objectives:OBJECTIVES",
        "objective",
        "denoising",
        supplied=frozenset(_OF_THE_RUN),
        common={
            "time_sampling": Setting(
                Kind((str,), part=TIME_SAMPLING),
                "uniform",
                "how the times of training are drawn: NAME or NAME:key=value; laws, such as lognormal, are not divided "
                "out",
            )
        },
        nested={"weighting": WEIGHTING},
    ),
    "optim": {
        "name": Setting(Literal["adam", "adamw"], "adam", "the optimizer"),
        "lr": Setting(Positive, 2e-4, "learning rate, after the warm-up"),
        "beta1": Setting(Below1, 0.9, "decay of the mean of the gradients"),
        "beta2": Setting(Below1, 0.999, "decay of the mean of their squares"),
        "eps": Setting(NonNegative, 1e-8, "added to the root of that mean, by which steps are divided"),
        "weight_decay": Setting(NonNegative, 0.0, "adamw alone; on matrices and kernels, not on biases and norms"),
        "warmup": Setting(Natural, 5000, "steps of linear warm-up"),
        "decay": Setting(Literal["none", "cosine"], "none", "of the learning rate; cosine: to zero at train.steps"),
        "clip": Setting(NonNegative, 1.0, "largest global norm of the gradient; 0: no clipping"),
    },
    "ema": {
        "decay": Setting(Below1, 0.9999, "of the average of the weights; 0: no average"),
        "warmup": Setting(bool, False, "at step n the decay is min(decay, (1 + n) / (10 + n))"),
        "lengths": Setting(
            tuple[RelativeLength, ...],
            (),
            "of averages by power functions of time, each relative to the length of the training, such as 0.05,0.10; "
            "from their snapshots --mode=ema makes the average of any length",
        ),
        "snapshot_every": Setting(Natural, 0, "steps between snapshots of these averages, kept for ever; 0: none"),
    },
    "train": {
        "steps": Setting(Count, 100_000, "optimizer steps"),
        "batch": Setting(Count, 128, "examples in a step, over all devices"),
        "accumulate": Setting(
            Count, 1, "pieces of a batch, one after the other, whose gradients are averaged: for batches beyond memory"
        ),
        "steps_per_call": Setting(Natural, 0, "steps in a compiled call; 0: chosen (1 for images on a CPU)"),
        "log_every": Setting(Count, 50, "steps between lines of the log"),
        "checkpoint_every": Setting(Count, 5000, "steps between checkpoints"),
        "keep": Setting(Count, 3, "newest checkpoints that are kept"),
        "keep_every": Setting(Natural, 0, "and one every so many steps for ever; 0: none"),
        "preview_every": Setting(Natural, 0, "steps between pages of samples from the averaged weights; 0: none"),
        "validate_every": Setting(
            Natural, 0, "steps between denoising losses of examples held out, of the averaged weights; 0: none"
        ),
    },
    "sampler": {
        "stepper": STEPPER,
        "steps": Setting(Count, 1000, "steps of the time grid"),
        "time_grid": TIME_GRID,
        "t_min": Setting(Positive | None, None, "last time of the grid; none: the process's"),
        "denoise": Setting(
            bool | None,
            None,
            "end with the mean of the data given the last sample; none: where the process has a formula for it",
        ),
        "corrector": Seam(
            "scorejax.experiment.assemble:CORRECTORS", "corrector", "none", makes="scorejax.samplers:Stepper"
        ),
        "corrector_first": Setting(bool, False, "correct before each step, not after it"),
        # Where predicted data are held at every evaluation.
        "clip": Seam("scorejax.experiment.assemble:CLIPS", "clip", "auto", supplied=frozenset({"data_range"})),
        "gamma": Setting(str | None, None, "a file of --mode=calibrate; none: the run's own"),
    },
    # What samples are steered by.
    "guidance": Seam(
        "scorejax.experiment.steering:GUIDANCE",
        "guidance",
        "none",
        makes="scorejax.experiment.steering:Guidance",
    ),
    "eval": {
        "after_training": Setting(bool, True, "evaluate when training ends"),
        "condition": Setting(
            tuple[str, ...],
            (),
            "what samples are given, of data with named conditions: NAME=VALUE, where VALUE is a number, a class, "
            "(1,2,3), a file .npy or none; what is not named is absent; unset: as the first examples of the data",
        ),
        "seed": Setting(Seed, 43, "of everything random in evaluation"),
        "batch": Setting(Count, 256, "examples in a call, over all devices"),
        "split": Setting(str, "test", "of the data, whose examples are measured"),
        "average": Setting(
            RelativeLength | None,
            None,
            "length of the average of weights that is evaluated, relative to the training, made of the snapshots of "
            "ema.lengths; none: the average of ema.decay",
        ),
        "best": Setting(bool, False, "evaluate the weights of the least denoising loss of train.validate_every"),
        "exact": Setting(bool, True, "measure bits/dim; false: leave them out"),
        "likelihood_examples": Setting(Natural, 0, "examples whose bits/dim are measured; 0: all"),
        "likelihood_passes": Setting(Count, 1, "dequantizations of each example"),
        "dequantization": Setting(
            Literal["uniform", "variational"], "uniform", "variational: after --mode=train_dequantizer"
        ),
        "bound": Setting(
            Natural,
            0,
            "times drawn for the upper bound of the bits/dim next to the exact ones, with objective continuous_vlb for "
            "the bound that it trains; 0: no bound",
        ),
        "evidence": Setting(
            Natural,
            100,
            "draws of the latent variables of each example, for the bound of its likelihood; 0: no such bound",
        ),
        "evidence_temperatures": Setting(
            Natural,
            0,
            "laws between encoder and posterior through which these are annealed; 0: importance sampling (IWAE)",
        ),
        # How the density of an energy is normalized.
        "partition": Seam("scorejax.experiment.evaluation.normalized:PARTITIONS", "partition function", "auto"),
        "elbo": Setting(
            Natural, 0, "network evaluations of the variational bound of a reverse chain, at least 2; 0: no such bound"
        ),
        "elbo_variance": Setting(
            VarianceName | None,
            None,
            "as of the stepper reverse_chain; none: npr if trained, else analytic",
        ),
        "elbo_eta": Setting(Share, 1.0, "forward family of that chain, above 0; 1: DDPM"),
        "elbo_time_grid": Setting(Kind((str,), part=TIME_GRID), "even", "as sampler.time_grid"),
        "divergence": Setting(
            Literal["exact", "rademacher", "gaussian", "hutchinson"],
            "rademacher",
            "trace of the score's Jacobian: exact, or estimated with such vectors",
        ),
        "probes": Setting(Count, 1, "such vectors for each example"),
        "rtol": Setting(Positive, 1e-5, "relative tolerance of the solver"),
        "atol": Setting(Positive, 1e-5, "absolute tolerance of the solver"),
        "denoising": Setting(
            Natural, 0, "examples held out whose denoising errors are measured level by level of noise; 0: none"
        ),
        "baseline_examples": Setting(Natural, 0, "training examples that the baselines are fitted to; 0: all"),
        "mixture": Setting(Natural, 0, "components at most of a Gaussian mixture as a second baseline; 0: none"),
        "samples": Setting(Natural, 1000, "to be measured; 0: none"),
        "restored": Setting(Natural, 1000, "test examples that a model which restores is tried on; 0: none"),
        "metrics": Setting(
            Annotated[tuple[Annotated[str, METRIC], ...], MinLen(1)],
            ("frechet",),
            "of the samples, each NAME or NAME:key=value",
        ),
        "features": Seam(
            "scorejax.experiment.evaluation.quality:FEATURES",
            "feature network",
            "auto",
            supplied=frozenset({"gray_levels"}),
        ),
        "stats": Setting(
            str | None, None, ".npz of --mode=fid_stats to hold samples against; none: computed from the data"
        ),
        "reference_split": Setting(str, "train", "of the data, to hold samples against"),
        "reference_examples": Setting(Natural, 0, "examples of that split; 0: all"),
        "grid": Setting(Count, 64, "images in the page of samples"),
        "calibration_examples": Setting(Natural, 100, "of --mode=calibrate; 0: all"),
        "classifier_examples": Setting(Natural, 0, "of the split, for the table of a classifier; 0: all"),
    },
    "sweep": {  # of --mode=sweep
        "samplers": Setting(
            Annotated[tuple[str, ...], MinLen(1)],
            (
                "euler_maruyama",
                "ancestral",
                "probability_flow",
                "ddim",
                "dpm_solver:order=2",
                "unipc:order=3",
            ),
            "each STEPPER:key=value, with keys of the stepper or of section sampler",
        ),
        "steps": Setting(
            Annotated[tuple[Count, ...], MinLen(1)], (5, 10, 25, 50, 100), "numbers of steps, each for every sampler"
        ),
        "bits": Setting(Natural, 0, "test examples that the bound of every reverse chain is measured on; 0: no bounds"),
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
