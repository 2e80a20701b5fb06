"""From a config to the objects of a run."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from scorejax import data, models, objectives, probes, samplers, sdes, times
from scorejax.config import Config
from scorejax.errors import ConfigError, user_errors
from scorejax.gamma import Gamma
from scorejax.score import PREDICTIONS, Score, make_score
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import SMLD
from scorejax.settings import DEFAULTS, choices

SDES: dict[str, Callable[..., LinearSDE]] = {
    name: getattr(sdes, name) for name in ("vp", "subvp", "ve", "edm", "cosine", "flow", "ddpm", "smld")
}
VECTOR_NETWORKS: dict[str, type[nn.Module]] = {"mlp": models.MLP}
IMAGE_NETWORKS: dict[str, type[nn.Module]] = {
    "ddpmpp": models.DDPMpp,
    "ncsnpp": models.NCSNpp,
    "ddpm": models.DDPM,
    "ncsn": models.NCSN,
    "ncsnv2": models.NCSNv2,
}
NETWORKS = VECTOR_NETWORKS | IMAGE_NETWORKS


def _annealed_langevin(epsilon: float, steps_per_level: int) -> samplers.Stepper:
    """`steps` of the config are those of the time grid."""
    return samplers.annealed_langevin(epsilon, steps_per_level)


STEPPERS: dict[str, Callable[..., samplers.Stepper]] = {
    name: getattr(samplers, name)
    for name in (
        "euler_maruyama",
        "reverse_diffusion",
        "ancestral",
        "probability_flow",
        "adaptive_probability_flow",
        "ddim",
        "dpm_solver",
        "dpm_solver_adaptive",
        "unipc",
        "euler",
        "heun",
        "analytic",
    )
}
STEPPERS["annealed_langevin"] = _annealed_langevin
OBJECTIVES: dict[str, Callable[..., jax.Array]] = {
    name: getattr(objectives, name) for name in ("denoising", "sliced", "implicit")
}
CORRECTORS: dict[str, Callable[..., samplers.Stepper]] = {"langevin": samplers.langevin, "ald": samplers.ald}
GRIDS = {name: getattr(times, name) for name in ("uniform", "quadratic", "log_snr", "karras")}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
OPTIMIZERS = ("adam", "adamw")
DECAYS = ("none", "cosine")
STEPS_PER_CALL = 10


def pick(section: str, name: str, table: dict[str, Any]) -> Any:
    """The entry of a table by name.

    Raises:
      ConfigError: no such entry.
    """
    if name not in table:
        raise ConfigError(f"unknown {section} {name!r}; choose one of {choices(table)}")
    return table[name]


def _settings(config: Config, section: str, factory: Callable[..., Any], unset: Sequence[str]) -> dict:
    """The settings among `unset` that were set, as keyword arguments of a factory, which must take them all."""
    given = {key: config[section][key] for key in unset if config[section][key] is not None}
    fields = (
        [f.name for f in dataclasses.fields(factory)]
        if isinstance(factory, type)
        else inspect.signature(factory).parameters
    )
    takes = [key for key in unset if key in fields]
    for key in given:
        if key not in takes:
            name = factory.__name__
            raise ConfigError(
                f"config key '{section}.{key}' = {given[key]!r} does not belong to {name}, which takes: "
                f"{', '.join(takes) or 'nothing'}"
            )
    return given


def _unset(section: str) -> list[str]:
    return [key for key, default in DEFAULTS[section].items() if isinstance(default, type)]


# ---- objects -------------------------------------------------------------------------------------------------


def sde(config: Config) -> LinearSDE:
    """The forward process."""
    factory = pick("sde.name", config.sde.name, SDES)
    with user_errors("section sde"):
        return factory(**_settings(config, "sde", factory, _unset("sde")))


def dataset(config: Config, split: str = "train") -> data.Dataset:
    """One split of the data."""
    c = config.data
    with user_errors("section data"):
        examples = data.load(c.name, split, data_dir=c.data_dir, path=c.path, size=c.size, crop=c.crop)
    if c.flip and examples.levels is None:
        raise ConfigError(f"data.flip mirrors images, but {c.name!r} holds vectors of {examples.shape[0]} numbers")
    return examples


def network(config: Config, examples: data.Dataset) -> nn.Module:
    """The network for this data."""
    c = config.model
    kind = pick("model.name", c.name, NETWORKS)
    images = len(examples.shape) == 3
    fitting = IMAGE_NETWORKS if images else VECTOR_NETWORKS
    if c.name not in fitting:
        raise ConfigError(
            f"model.name = {c.name!r} does not fit data.name = {config.data.name!r}, whose examples have shape "
            f"{examples.shape}; choose one of {choices(fitting)}"
        )
    given = _settings(config, "model", kind, _unset("model"))
    if c.predicts not in (*PREDICTIONS, "edm"):
        raise ConfigError(f"unknown model.predicts {c.predicts!r}; choose one of {', '.join(PREDICTIONS)}, edm")
    if "dtype" in given:
        given["dtype"] = pick("model.dtype", given["dtype"], DTYPES)
    if images:
        given["centered_input"] = config.data.centered
    if c.conditional:
        if not examples.num_classes:
            raise ConfigError(f"model.conditional needs class labels; {config.data.name!r} has none")
        given["num_classes"] = examples.num_classes
    return kind(**given, **_noise_levels(sde(config), kind))


def _noise_levels(process: LinearSDE, kind: type[nn.Module]) -> dict[str, Any]:
    """The sigma behind each label of an SMLD chain, for networks that need to know it."""
    fields = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(process, SMLD):
        if "num_levels" in fields:
            raise ConfigError(f"model.name = {kind.__name__.lower()!r} knows noise by its level; set sde.name = 'smld'")
        return {}
    first, last = (float(process.sigma(jnp.float32(t))) for t in (process.t_max, process.t_min))
    known = {"noise_levels": (first, last, process.levels), "num_levels": process.levels}
    return {name: value for name, value in known.items() if name in fields}


def init_params(key: jax.Array, module: nn.Module, shape: tuple[int, ...]) -> Any:
    """Initial parameters for examples of the given shape."""
    classes = jnp.zeros(1, jnp.int32) if getattr(module, "num_classes", None) is not None else None
    return module.init(key, jnp.zeros((1, *shape)), jnp.ones(1), classes)["params"]


@dataclasses.dataclass(frozen=True)
class _Apply:
    """`apply_fn` of a linen network; equal for equal networks, so that compiled programs are found again."""

    module: nn.Module

    def __call__(self, carried: tuple, x: jax.Array, label: jax.Array) -> jax.Array:
        params, class_labels, dropout_key = carried
        train = dropout_key is not None
        rngs = {"dropout": dropout_key} if train else None
        out = self.module.apply({"params": params}, x, label, class_labels, train, rngs=rngs)
        return jnp.asarray(out)


def score(
    config: Config,
    process: LinearSDE,
    module: nn.Module,
    params: Any,
    *,
    class_labels: jax.Array | None = None,
    dropout_key: jax.Array | None = None,
) -> Score:
    """The network as a score; a pytree, so that other parameters do not compile anything again.

    Args:
      config: the run's.
      process: from `sde(config)`; pass one object to all calls.
      module: from `network`.
      params: its parameters.
      class_labels: `[B]`, for a conditional network.
      dropout_key: turns dropout on.
    """
    c = config.model
    carried = (params, class_labels, dropout_key)
    return make_score(process, _Apply(module), carried, c.predicts, label=process.label, sigma_data=c.sigma_data)


def learning_rate(config: Config) -> Callable[[Any], Any]:
    """`lr min((n + 1) / warmup, 1)` at step n, times half a cosine over the run if asked."""
    c, steps = config.optim, config.train.steps
    if c.decay not in DECAYS:
        raise ConfigError(f"unknown optim.decay {c.decay!r}; choose one of {', '.join(DECAYS)}")

    def rate(step: Any) -> Any:
        warm = jnp.minimum((step + 1) / max(c.warmup, 1), 1.0)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0))) if c.decay == "cosine" else 1.0
        return c.lr * warm * fall

    return rate


def optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam or AdamW; for gradients that are already averaged over devices."""
    c = config.optim
    if c.name not in OPTIMIZERS:
        raise ConfigError(f"unknown optim.name {c.name!r}; choose one of {', '.join(OPTIMIZERS)}")
    if c.weight_decay and c.name == "adam":
        raise ConfigError(f"optim.weight_decay = {c.weight_decay} needs optim.name = 'adamw', got 'adam'")
    steps = [optax.clip_by_global_norm(c.clip)] if c.clip > 0 else []
    steps.append(optax.scale_by_adam(c.beta1, c.beta2, c.eps))
    if c.weight_decay:
        # Matrices and kernels alone: biases, norms and fixed Fourier frequencies are vectors.
        mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
        steps.append(optax.add_decayed_weights(c.weight_decay, mask))
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate(config)))


def objective(config: Config, process: LinearSDE) -> Callable[..., jax.Array]:
    """`(keys, score, x0, t) -> loss [B]`."""
    c = config.objective
    with user_errors("section objective"):  # found out here, not inside the compiled step
        function = pick("objective.name", c.name, OBJECTIVES)
        pick("objective.weighting", c.weighting, objectives.WEIGHTINGS)
        pick("objective.reduction", c.reduction, dict.fromkeys(objectives.REDUCTIONS))
        objectives.time_density(process, jnp.full(1, process.t_max), c.times)
        options = _settings(config, "objective", function, _unset("objective"))
        pick("objective.projection", options.get("projection", "rademacher"), dict.fromkeys(probes.PROJECTIONS))
        if options.get("probes", 1) < 1:
            raise ConfigError(f"objective.probes = {options['probes']}; it must be at least 1")
    options |= {"times": c.times, "weighting": c.weighting, "reduction": c.reduction}

    def loss(keys: jax.Array, score: Score, x0: jax.Array, t: jax.Array) -> jax.Array:
        return function(keys, process, score, x0, t=t, **options)

    return loss


def sampler(config: Config, process: LinearSDE) -> dict[str, Any]:
    """Keyword arguments of `scorejax.sample`: stepper, times, corrector, corrector_first, denoise."""
    c = config.sampler
    factory = pick("sampler.stepper", c.stepper, STEPPERS)
    grid = pick("sampler.times", c.times, GRIDS)
    corrector = pick("sampler.corrector", c.corrector, {"none": None, **CORRECTORS})
    of_corrector = {"corrector_steps": "steps", "snr": "snr", "norm": "norm"}
    of_stepper = [key for key in _unset("sampler") if key not in (*of_corrector, "t_min")]
    with user_errors("section sampler"):
        times_ = grid(process, c.steps, t_min=c.t_min)
        given = _settings(config, "sampler", factory, of_stepper)
        chosen = _analytic(process, times_, **given) if factory is samplers.analytic else factory(**given)
        correct = None
        given = {new: c[key] for key, new in of_corrector.items() if c[key] is not None}
        if corrector is not None:
            correct = corrector(**given)
        elif given:
            raise ConfigError(
                f"sampler.{next(iter(given))} is set but sampler.corrector is 'none'; "
                f"choose one of {choices(CORRECTORS)}"
            )
        return {
            "stepper": chosen,
            "times": times_,
            "corrector": correct,
            "corrector_first": c.corrector_first,
            "denoise": c.denoise,
        }


def _analytic(process: LinearSDE, grid: jax.Array, gamma: str | None = None, **options: Any) -> samplers.Stepper:
    """Analytic-DPM by the statistic in a file."""
    if gamma is None:
        raise ConfigError("sampler.stepper = 'analytic' needs sampler.gamma, the file that --mode=calibrate writes")
    return samplers.analytic(process, grid, Gamma.load(gamma, process), **options)


# ---- checks --------------------------------------------------------------------------------------------------


def check(config: Config, devices: int = 1) -> None:
    """Refuse, in the first second, a config that would fail later.

    Raises:
      ConfigError: unknown names, settings that do not belong together, numbers that do not divide.
    """
    process = sde(config)
    objective(config, process)
    sampler(config, process)
    optimizer(config)
    steps_per_call(config)
    pick("model.name", config.model.name, NETWORKS)
    if config.train.batch < 1 or config.train.batch % devices:
        raise ConfigError(
            f"train.batch = {config.train.batch} cannot be shared equally by {devices} devices; choose a multiple "
            f"of {devices}"
        )
    for key in ("train.steps", "train.log_every", "train.checkpoint_every", "train.keep", "eval.batch"):
        section, name = key.split(".")
        if config[section][name] < 1:
            raise ConfigError(f"{key} = {config[section][name]}; it must be at least 1")


def steps_per_call(config: Config, start: int = 0) -> int:
    """Optimizer steps in one compiled call; the run's start and all its intervals are multiples of it.

    XLA runs the weight gradients of convolutions some 30 times slower inside a loop on a CPU (and dispatch
    costs nothing there), so a convolutional network takes one step per call on a CPU.

    Raises:
      ConfigError: a number of steps that does not divide the intervals.
    """
    c = config.train
    names = ("steps", "log_every", "checkpoint_every", "keep_every", "preview_every")
    intervals = {**{f"train.{name}": c[name] for name in names}, "the step to go on from": start}
    if c.steps_per_call:
        for name, value in intervals.items():
            if value % c.steps_per_call:
                raise ConfigError(
                    f"{name} = {value} is not a multiple of train.steps_per_call = {c.steps_per_call}; change "
                    "either, or let train.steps_per_call=0 choose"
                )
        return c.steps_per_call
    wanted = 1 if config.model.name != "mlp" and jax.default_backend() == "cpu" else STEPS_PER_CALL
    common = math.gcd(*intervals.values())
    return max(n for n in range(1, wanted + 1) if common % n == 0)
