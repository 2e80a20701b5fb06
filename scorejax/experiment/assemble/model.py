"""Process, data, network and score of a config."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorejax import data, models, sdes
from scorejax.experiment.assemble.arguments import options, pick, unset
from scorejax.experiment.assemble.classifier import IMAGE_CLASSIFIERS, VECTOR_CLASSIFIERS, is_classifier
from scorejax.experiment.config import Config
from scorejax.experiment.config.settings import choices
from scorejax.reverse.variance import LearnedRange
from scorejax.runtime.errors import ConfigError, user_errors
from scorejax.scores.predictions import LabelledScore, Score, check_prediction, make_labelled_score
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import SMLD
from scorejax.sdes.learned import Learned

SDES: dict[str, Callable[..., LinearSDE]] = {
    name: getattr(sdes, name) for name in ("vp", "subvp", "ve", "edm", "cosine", "flow", "ddpm", "smld", "learned")
}
VECTOR_NETWORKS: dict[str, type[nn.Module]] = {"mlp": models.MLP, **VECTOR_CLASSIFIERS}
IMAGE_NETWORKS: dict[str, type[nn.Module]] = {
    "ddpmpp": models.DDPMpp,
    "ncsnpp": models.NCSNpp,
    "ddpm": models.DDPM,
    "ncsn": models.NCSN,
    "ncsnv2": models.NCSNv2,
    **IMAGE_CLASSIFIERS,
}
NETWORKS = VECTOR_NETWORKS | IMAGE_NETWORKS
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def sde(config: Config) -> LinearSDE:
    """The forward process; where it is learned, as it begins."""
    factory = pick("sde.name", config.sde.name, SDES)
    with user_errors("section sde"):
        return factory(**options(config, "sde", factory, unset("sde")))


def with_process(process: LinearSDE, params: Any) -> Any:
    """All that training changes: the parameters of a network, and of its process if that is learned."""
    if not isinstance(process, Learned):
        return params
    return {"network": params, "process": {"gamma_min": process.gamma_min, "gamma_max": process.gamma_max}}


def process_of(process: LinearSDE, params: Any) -> LinearSDE:
    """The process from `sde`, where it is learned as the parameters have it."""
    return process.replace(**params["process"]) if isinstance(process, Learned) else process


def dataset(config: Config, split: str = "train") -> data.Dataset:
    """One split of the data."""
    c = config.data
    with user_errors("section data"):
        # places may be given for any data: they change with the machine, not with the run
        takes = inspect.signature(data.source(c.name)).parameters
        places = {key: c[key] for key in ("data_dir", "path") if key in takes}
        given = {key: value for key, value in {**places, "size": c.size, "crop": c.crop}.items() if value is not None}
        examples = data.load(c.name, split, classes=c.classes, **given)
    if c.flip and examples.gray_levels is None:
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
    given = options(config, "model", kind, unset("model"))
    process = sde(config)
    with user_errors("model.predicts"):
        check_prediction(process, c.predicts, "edm")
    if c.learned_range and c.predicts == "edm":
        raise ConfigError("model.learned_range does not go with model.predicts = 'edm'; choose noise, data or v")
    if "dtype" in given:
        given["dtype"] = pick("model.dtype", given["dtype"], DTYPES)
    if is_classifier(config) and c.conditional:
        raise ConfigError(f"model.name = {c.name!r} tells the class and is not told it; set model.conditional=False")
    if is_classifier(config) and examples.num_classes < 2:
        raise ConfigError(f"model.name = {c.name!r} needs two classes or more; {examples.name!r} has none or one")
    if images and not is_classifier(config):
        given["centered_input"] = config.data.centered
    if c.conditional:
        given |= _condition(config, kind, examples)
    elif is_classifier(config):
        given["num_classes"] = examples.num_classes
    return kind(**given, **_noise_levels(process, kind))


def _condition(config: Config, kind: type[nn.Module], examples: data.Dataset) -> dict[str, Any]:
    """What a conditional network is told of its condition."""
    if examples.labels is None:
        raise ConfigError(f"model.conditional needs class labels or embeddings; {config.data.name!r} has none")
    if "condition" not in {field.name for field in dataclasses.fields(kind)}:
        raise ConfigError(f"model.name = {config.model.name!r} knows no conditions; choose mlp, ddpmpp, ncsnpp or ddpm")
    if not examples.embeddings:
        return {"num_classes": examples.num_classes}
    sequences = examples.labels.ndim == 3
    if sequences and kind is models.MLP:
        raise ConfigError("model.name = 'mlp' has no attention for sequences [N, L, D]; give labels of shape [N, D]")
    return {"condition": "sequence" if sequences else "vector", "condition_dim": examples.labels.shape[-1]}


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


def null_label(config: Config, examples: data.Dataset) -> float:
    """The label that means "no class", or 0 for embeddings; for guidance without a classifier.

    Raises:
      ConfigError: training hid no labels, so that the network knows no such label.
    """
    c = config.model
    if not (c.conditional and c.label_dropout):
        raise ConfigError(
            "guidance needs a network that was trained with labels and without; this run has model.conditional = "
            f"{c.conditional} and model.label_dropout = {c.label_dropout}: train one with model.conditional=true and "
            "model.label_dropout=0.1"
        )
    return 0.0 if examples.embeddings else examples.num_classes


def sample_labels(config: Config, examples: data.Dataset) -> jax.Array | None:
    """What samples are drawn for, in turn: each class `[K]`, or the embeddings `[K, ...]` of the first examples."""
    if not config.model.conditional:
        return None
    if examples.labels is None or not examples.embeddings:
        return jnp.arange(examples.num_classes)
    return jnp.asarray(examples.labels[: max(config.eval.samples, config.eval.grid, 1)])


def init_params(key: jax.Array, module: nn.Module, shape: tuple[int, ...]) -> Any:
    """Initial parameters for examples of the given shape."""
    told = models.no_condition(module)
    return module.init(key, jnp.zeros((1, *shape)), jnp.ones(1), *(() if told is None else (told,)))["params"]


def shapes(config: Config, module: nn.Module, shape: tuple[int, ...]) -> Any:
    """Shapes and types of all that training changes, for examples of the given shape."""
    process = sde(config)
    return jax.eval_shape(lambda: with_process(process, init_params(jax.random.key(0), module, shape)))


@dataclasses.dataclass(frozen=True)
class _Apply:
    """`apply_fn` of a linen network; equal for equal networks, so that compiled programs are found again.

    Of a network that puts out a learned range beside its prediction it is one half: 0 the prediction, 1 the range.
    """

    module: nn.Module
    half: int = 0

    def __call__(self, carried: tuple, x: jax.Array, label: jax.Array, class_labels: jax.Array | None) -> jax.Array:
        params, dropout_key = carried
        train = dropout_key is not None
        rngs = {"dropout": dropout_key} if train else None
        out = self.module.apply({"params": params}, x, label, class_labels, train, rngs=rngs)
        out = jnp.asarray(out)
        return jnp.split(out, 2, axis=-1)[self.half] if getattr(self.module, "learned_range", False) else out


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
      process: from `sde(config)`, if it is learned then from `process_of`; pass one object to all calls.
      module: from `network`.
      params: its parameters, as `with_process` made them.
      class_labels: `[B]`, or embeddings, for a conditional network.
      dropout_key: turns dropout on.
    """
    return Partial(_given, _open_score(config, process, module, params, dropout_key), class_labels)


def labelled_score(config: Config, process: LinearSDE, module: nn.Module, params: Any) -> LabelledScore:
    """A conditional network as `(x, t, labels [B, ...]) -> score`; a pytree, like `score`.

    Guided by its own null label, it is a score again:
    `guidance.classifier_free_batched(labelled, labels, build.null_label(config, examples), guidance_scale)`.

    Raises:
      ConfigError: the network takes no labels.
    """
    check_takes_labels(config)
    return _open_score(config, process, module, params)


def check_takes_labels(config: Config) -> None:
    """Refuse a network that takes no labels.

    Raises:
      ConfigError: this is one.
    """
    if not config.model.conditional:
        raise ConfigError(
            "this network takes no class labels (model.conditional = False): train one with model.conditional=true, "
            "and with model.label_dropout=0.1 if it is to be guided"
        )


def _open_score(
    config: Config, process: LinearSDE, module: nn.Module, params: Any, dropout_key: jax.Array | None = None
) -> LabelledScore:
    c, carried = config.model, (_of_network(process, params), dropout_key)
    return make_labelled_score(
        process, _Apply(module), carried, c.predicts, label=process.label, sigma_data=c.sigma_data
    )


def _given(score: LabelledScore, labels: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    return score(x, t, labels)


def learned_range(
    config: Config,
    process: LinearSDE,
    module: nn.Module,
    params: Any,
    class_labels: jax.Array | None = None,
    dropout_key: jax.Array | None = None,
) -> LearnedRange:
    """The reverse variances that the network learned beside its score (`model.learned_range`); arguments as there.

    Where both are evaluated at the same points in one compiled program, the network runs once.

    Raises:
      ConfigError: the network learned none.
    """
    if not config.model.learned_range:
        raise ConfigError(
            "this network learned no variances (model.learned_range is not set): train one with "
            "model.learned_range=true and objective.name = 'hybrid' or 'vlb'"
        )
    carried = (_of_network(process, params), dropout_key)
    return LearnedRange(Partial(_Share(_Apply(module, half=1), process.label), carried, class_labels))


def score_and_range(
    config: Config, process: LinearSDE, module: nn.Module, params: Any, **given: Any
) -> tuple[Score, LearnedRange | None]:
    """The network as a score and, if it learns them, reverse variances, for training; arguments as of both.

    Where both are asked for the same points, one after the other, the network runs once, and so does its derivative.
    """
    if not config.model.learned_range:
        return score(config, process, module, params, **given), None
    once: Any = _Once(module)
    return score(config, process, once, params, **given), learned_range(config, process, once, params, **given)


class _Once:
    """A network that keeps its last result."""

    learned_range = True

    def __init__(self, module: nn.Module) -> None:
        self.module, self.last = module, (None, None)

    def apply(self, variables: Any, x: jax.Array, *rest: Any, **options: Any) -> Any:
        if self.last[0] is not x:
            self.last = x, self.module.apply(variables, x, *rest, **options)
        return self.last[1]


def _of_network(process: LinearSDE, params: Any) -> Any:
    return params["network"] if isinstance(process, Learned) else params


@dataclasses.dataclass(frozen=True)
class _Share:
    """Static part of the learned range: `v` of a network that puts out `2 v - 1`."""

    apply_fn: _Apply
    label: Callable[[jax.Array], jax.Array]

    def __call__(self, carried: tuple, class_labels: jax.Array | None, x: jax.Array, t: jax.Array) -> jax.Array:
        return 0.5 * (1.0 + self.apply_fn(carried, x, self.label(t), class_labels))
