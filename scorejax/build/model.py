"""Process, data, network and score of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorejax import data, models, sdes
from scorejax.build.arguments import options, pick, unset
from scorejax.build.classifier import CLASSIFIERS, IMAGE_CLASSIFIERS, VECTOR_CLASSIFIERS, is_classifier
from scorejax.config import Config
from scorejax.errors import ConfigError, user_errors
from scorejax.score import PREDICTIONS, LabelledScore, Score, make_labelled_score
from scorejax.sdes import LinearSDE
from scorejax.sdes.discrete import SMLD
from scorejax.settings import choices

SDES: dict[str, Callable[..., LinearSDE]] = {
    name: getattr(sdes, name) for name in ("vp", "subvp", "ve", "edm", "cosine", "flow", "ddpm", "smld")
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
    """The forward process."""
    factory = pick("sde.name", config.sde.name, SDES)
    with user_errors("section sde"):
        return factory(**options(config, "sde", factory, unset("sde")))


def dataset(config: Config, split: str = "train") -> data.Dataset:
    """One split of the data."""
    c = config.data
    with user_errors("section data"):
        where = {"data_dir": c.data_dir, "path": c.path}
        examples = data.load(c.name, split, **where, size=c.size, crop=c.crop, classes=c.classes)
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
    given = options(config, "model", kind, unset("model"))
    if c.predicts not in (*PREDICTIONS, "edm"):
        raise ConfigError(f"unknown model.predicts {c.predicts!r}; choose one of {', '.join(PREDICTIONS)}, edm")
    if "dtype" in given:
        given["dtype"] = pick("model.dtype", given["dtype"], DTYPES)
    if is_classifier(config) and c.conditional:
        raise ConfigError(f"model.name = {c.name!r} tells the class and is not told it; set model.conditional=False")
    if is_classifier(config) and examples.num_classes < 2:
        raise ConfigError(f"model.name = {c.name!r} needs two classes or more; {examples.name!r} has none or one")
    if c.conditional and not examples.num_classes:
        raise ConfigError(f"model.conditional needs class labels; {config.data.name!r} has none")
    if images and not is_classifier(config):
        given["centered_input"] = config.data.centered
    if c.conditional or is_classifier(config):
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


def null_label(config: Config, examples: data.Dataset) -> int:
    """The label that means "no class", for guidance without a classifier.

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
    return examples.num_classes


def init_params(key: jax.Array, module: nn.Module, shape: tuple[int, ...]) -> Any:
    """Initial parameters for examples of the given shape."""
    told = not isinstance(module, tuple(CLASSIFIERS.values())) and getattr(module, "num_classes", None) is not None
    classes = [jnp.zeros(1, jnp.int32)] if told else []
    return module.init(key, jnp.zeros((1, *shape)), jnp.ones(1), *classes)["params"]


@dataclasses.dataclass(frozen=True)
class _Apply:
    """`apply_fn` of a linen network; equal for equal networks, so that compiled programs are found again."""

    module: nn.Module

    def __call__(self, carried: tuple, x: jax.Array, label: jax.Array, class_labels: jax.Array | None) -> jax.Array:
        params, dropout_key = carried
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
    return Partial(_given, _open_score(config, process, module, (params, dropout_key)), class_labels)


def labelled_score(config: Config, process: LinearSDE, module: nn.Module, params: Any) -> LabelledScore:
    """A conditional network as `(x, t, class labels [B]) -> score`; a pytree, like `score`.

    Guided by its own null label, it is a score again:
    `guidance.classifier_free_batched(labelled, labels, build.null_label(config, examples), guidance_scale)`.

    Raises:
      ConfigError: the network takes no labels.
    """
    check_takes_labels(config)
    return _open_score(config, process, module, (params, None))


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


def _open_score(config: Config, process: LinearSDE, module: nn.Module, carried: tuple) -> LabelledScore:
    c = config.model
    return make_labelled_score(
        process, _Apply(module), carried, c.predicts, label=process.label, sigma_data=c.sigma_data
    )


def _given(score: LabelledScore, labels: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    return score(x, t, labels)
