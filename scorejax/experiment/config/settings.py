"""Every setting of a run, with its default, and the conversion of command-line text to their types."""

from __future__ import annotations

import ast
from typing import Any

from scorejax.runtime.errors import ConfigError

# A bare type stands for "unset": the value is then the default of whatever the section builds, and a setting
# that this does not take is refused. So a schedule's or a network's defaults live in one place, its own.
DEFAULTS: dict[str, Any] = {
    "name": "run",
    "seed": 42,
    "init_from": str,  # published weights: what training starts from, and what is evaluated if nothing was trained
    "data": {
        "name": "digits",  # digits, moons, gaussian, folder, npz, or a prepared tensorflow-datasets image set
        "data_dir": str,  # where prepared sets are
        "path": str,  # of a folder of images or an .npz file
        "crop": int,  # cut the central crop x crop pixels first; unset: the largest square
        "size": int,  # resize images to size x size
        "classes": tuple,  # keep the examples with these labels, numbered anew; unset: all
        "centered": True,  # images in [-1, 1); False: in [0, 1)
        "dequantize": True,  # uniform noise within each grey level; False: the middle of the level
        "flip": False,  # mirror images at random
        "resident_mib": 2048,  # larger sets are streamed from the host
    },
    "sde": {
        "name": "vp",
        "beta_min": float,
        "beta_max": float,
        "sigma_min": float,
        "sigma_max": float,
        "offset": float,
        "gamma_min": float,  # of sde learned: -log SNR next to the data, and at the prior
        "gamma_max": float,
        "schedule": str,
        "n": int,
        "t_min": float,
        "t_max": float,
    },
    "model": {
        "name": "mlp",
        "predicts": "noise",  # noise, data, score, v, edm; on a chain of levels also previous_mean
        "sigma_data": 0.5,  # used by predicts = "edm" alone
        "conditional": False,  # on class labels
        "label_dropout": 0.0,  # chance that training hides an example's label; above 0 the run can be guided
        "learned_range": bool,  # twice the output channels: reverse variances too, for objectives hybrid and vlb
        "features": int,
        "depth": int,
        "channel_multipliers": tuple,
        "blocks_per_level": int,
        "attention_resolutions": tuple,
        "attention_up": str,
        "block": str,
        "fir": bool,
        "progressive": str,
        "progressive_input": str,
        "progressive_combine": str,
        "resample_with_conv": bool,
        "nonlinearity": str,
        "stages": int,
        "interpolation": str,
        "dropout": float,
        "scale_by_sigma": bool,
        "embedding": str,
        "fourier_scale": float,
        "init_scale": float,
        "width": int,
        "standardize": bool,
        "skip_rescale": bool,
        "dtype": str,  # to compute in; parameters are float32
        "remat": bool,
    },
    "objective": {
        # denoising, sliced, implicit (the exact trace); hybrid, vlb (with model.learned_range), continuous_vlb;
        # classification, for classifiers
        "name": "denoising",
        "weighting": "simple",
        "times": "uniform",
        "reduction": "mean",
        "probes": int,
        "projection": str,
        "variance_reduced": bool,
        "lambda_vlb": float,  # of hybrid: weight of the bound
        "label_smoothing": float,
    },
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
        "steps_per_call": 0,  # optimizer steps per compiled call; 0: chosen (1 for a convolutional net on a CPU)
        "log_every": 50,
        "checkpoint_every": 5000,
        "keep": 3,  # newest checkpoints
        "keep_every": 0,  # and one every so many steps for ever; 0: none
        "preview_every": 0,  # sample grid from the averaged weights; 0: none
    },
    "sampler": {
        "stepper": "euler_maruyama",
        "steps": 1000,
        "times": "uniform",  # uniform, quadratic, log_snr, karras, even, ddim_uniform, ddim_quadratic, optimal
        "t_min": float,  # last time of the grid; unset: the process's
        "denoise": True,
        "corrector": "none",
        "corrector_first": False,
        "corrector_steps": int,
        "epsilon": float,
        "steps_per_level": int,
        "snr": float,
        "norm": str,
        "method": str,
        "variance": str,  # posterior, forward; of reverse_chain also analytic, npr, sn, ocm, learned
        "probability_flow": bool,
        "eta": float,
        "clip": bool,  # reverse chains: clip predicted images to their range; unset: yes
        "gamma": str,  # a file of --mode=calibrate; unset: the run's own
        "last_noise": float,  # reverse chains: most noise that the last step may add; 2 / 255 for published distances
        "order": int,
        "kind": str,
        "variant": str,
        "prediction": str,
        "solver_type": str,
        "third": str,
        "lower_order_final": bool,
        "thresholding": float,
        "churn": float,
        "s_min": float,
        "s_max": float,
        "s_noise": float,
        "rtol": float,
        "atol": float,
    },
    # What samples are steered by; `--config.guidance=NAME` is short for `--config.guidance.name=NAME`.
    "guidance": {
        "name": "none",  # none, classifier_free, classifier; of given images: inpaint, restore, edit, translate
        "labels": tuple,  # classes wanted, in turn; unset: all, or those of the given images
        "scale": float,  # how strongly towards the class; 1: the plain conditional law
        "interval": tuple,  # (low, high) of the log SNR between which that acts; unset: everywhere
        "negative": int,  # class to move away from
        "classifier": str,  # workdir of a classifier of noisy images, of their domains for translate
        "input": str,  # folder of images, or .npz file; unset: images of eval.split of the data
        "measured": bool,  # whether the input is what was measured, not what is to be found
        "mask": str,  # a PNG, white where the image is to be drawn anew; or half, centre, random:SHARE
        "operator": str,  # what measures: mask, superresolution:FACTOR, blur:PIXELS, grey, random:SHARE
        "sigma_y": float,  # noise of the measurement, in the units of the data
        "method": str,  # replacement, dps, pigdm, moment_matching, ddrm; what follows belongs to one or two of them
        "rounds": int,  # replacement: how often each step is taken (RePaint)
        "jump": int,  # and over how many steps each round goes back; unset: 1
        "zeta": float,  # dps: the paper's step size; unset: 1
        "steps": int,  # dps: the number of steps that it was chosen for
        "data_std": float,  # pigdm
        "iterations": int,  # pigdm, moment_matching: of conjugate gradients
        "tolerance": float,
        "clip": bool,  # dps, pigdm, moment_matching: clip the posterior mean to the range of images; unset: yes
        "eta": float,  # ddrm
        "eta_b": float,
        "t0": float,  # the time to which a given image is diffused
        "repeats": int,
        "lambda_s": float,  # nats for losing what marks the source's domain
        "lambda_i": float,  # nats for keeping the source's low frequencies
        "low_pass": int,  # which are means over squares of so many pixels
        "target": str,  # folder or .npz of the domain translated to; unset: eval.reference_split of the data
    },
    # A flow for the noise within grey levels, trained by --mode=train_dequantizer for the run's score.
    "dequantizer": {
        "steps": 10_000,
        "batch": 128,  # over all devices
        "times": 1,  # of the likelihood bound, drawn for each example of a batch
        "lr": 1e-3,
        "warmup": 100,
        "clip": 1.0,  # as optim.clip
        "ema_decay": 0.99,
        "log_every": 50,
        "checkpoint_every": 1000,
        "features": int,
        "components": int,
        "blocks": int,
        "heads": int,
        "flows": int,
    },
    # Reverse variances predicted from x_t, trained by --mode=train_head for the run's score, one of each kind.
    "head": {
        "kind": "npr",  # npr (noise residual), sn (squared noise), ocm (curvature of the score)
        "steps": 10_000,
        "batch": 128,  # over all devices
        "lr": 1e-3,
        "warmup": 100,
        "clip": 0.0,  # none: it would bias the mean that is fitted
        "ema_decay": 0.999,
        "log_every": 50,
        "checkpoint_every": 1000,
        "deep": bool,  # images: a residual block before the last convolution
        "features": int,  # vectors: width of the hidden layers
        "depth": int,  # vectors: number of hidden layers
    },
    "eval": {
        "after_training": True,
        "seed": 43,
        "batch": 256,  # examples per call, over all devices
        "split": "test",
        "exact": True,  # bits/dim by the probability-flow ODE; False: leave them out
        "likelihood_examples": 0,  # 0: all
        "likelihood_passes": 1,  # dequantizations per example
        "dequantization": "uniform",  # uniform, variational (after --mode=train_dequantizer)
        # Times drawn for the upper bound of the bits/dim beside the exact ones, with objective continuous_vlb for the
        # bound that it trains; 0: no bound.
        "bound": 0,
        "elbo": 0,  # network evaluations of the variational bound of a reverse chain; 0: no such bound
        "elbo_variance": str,  # as sampler.variance; unset: npr if trained, else analytic
        "elbo_eta": 1.0,
        "elbo_times": "even",  # as sampler.times
        "divergence": "rademacher",
        "probes": 1,
        "rtol": 1e-5,
        "atol": 1e-5,
        "baseline_examples": 0,  # training images the Gaussian baseline is fitted to; 0: all
        "samples": 1000,  # to be measured; 0: none
        "metrics": ("frechet",),  # of the samples: frechet, kid, inception_score, precision_recall
        "features": str,  # random_conv, pixels, inception, mnist_classifier; unset: random_conv, pixels for vectors
        "inception": str,  # weights file; unset: $SCOREJAX_INCEPTION, else the cache, downloaded if need be
        "stats": str,  # .npz of --mode=fid_stats to hold samples against; unset: computed from the data
        "reference_split": "train",  # of the data, to hold samples against
        "reference_examples": 0,  # 0: all
        "grid": 64,  # images in the sample grid
        "calibration_examples": 100,  # of --mode=calibrate; 0: all
        "classifier_examples": 0,  # of the split, for the table of a classifier; 0: all
    },
    "sweep": {  # of --mode=sweep: samplers as name[:key=value[:key=value]], keys of section sampler
        "samplers": (
            "euler_maruyama",
            "ancestral",
            "probability_flow",
            "ddim:times=log_snr",
            "dpm_solver:order=2:times=log_snr",
            "unipc:order=3:times=log_snr",
        ),
        "steps": (5, 10, 25, 50, 100),
        "bits": 0,  # test examples that the bound of every reverse chain is measured on; 0: no bounds
    },
}


def choices(section: dict[str, Any]) -> str:
    """The keys of a section, for an error message."""
    return ", ".join(section)


def full_key(path: str) -> str:
    """The key that a command-line key stands for: a section with a name stands for its name."""
    section = DEFAULTS.get(path)
    return f"{path}.name" if isinstance(section, dict) and "name" in section else path


def lookup(path: str) -> Any:
    """The default of a dotted key (a bare type when unset by default).

    Raises:
      ConfigError: no such key, or a whole section.
    """
    node, seen = DEFAULTS, []
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            where = f"section {'.'.join(seen)!r}" if seen else "the config"
            known = choices(node) if isinstance(node, dict) else "nothing below it"
            raise ConfigError(f"unknown config key {path!r}; {where} has: {known}")
        node, seen = node[key], [*seen, key]
    if isinstance(node, dict):
        raise ConfigError(f"config key {path!r} is a section; give one of its keys: {choices(node)}")
    return node


def convert(path: str, text: str) -> Any:
    """The value of a command-line override, in the type of its key; `none` unsets what has no default.

    Raises:
      ConfigError: an unknown key, or text that is not of its type.
    """
    default = lookup(path)
    unset = isinstance(default, type)
    kind = default if unset else type(default)
    if kind is tuple and not unset and isinstance(default[0], str):
        return tuple(word.strip(" '\"") for word in text.strip("()").split(",") if word.strip(" '\""))
    if unset and text.lower() == "none":
        return None
    try:
        return _PARSERS[kind](text)
    except (KeyError, ValueError, SyntaxError, TypeError):
        raise ConfigError(
            f"config key {path!r} takes {_KINDS[kind]}, got {text!r}"
            + ("" if unset else f"; its default is {default!r}")
        ) from None


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _int(text: str) -> int:
    value = float(text) if "e" in text.lower() else int(text.replace("_", ""))
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _tuple(text: str) -> tuple:
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, list | tuple) else (value,)


_PARSERS = {bool: _bool, int: _int, float: float, str: str, tuple: _tuple}
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "numbers in parentheses, like (1,2,2)",
}
